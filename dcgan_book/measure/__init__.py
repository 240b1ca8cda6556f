"""Instruments that read images, and the statistics that are made of their readings."""

from dcgan_book.measure.distances import (
    COPIES,
    Diversity,
    Memorisation,
    Neighbours,
    diversity,
    frechet,
    frechet_interval,
    memorisation,
    nearest,
)
from dcgan_book.measure.intervals import Estimate, bootstrap, correlation, paired, rates, wilson
from dcgan_book.measure.reading import (
    BATCH,
    DARK,
    FOLDER,
    FOLDERS,
    VISIBLE,
    Instrument,
    MeasureError,
    Reading,
    as_images,
    count_pixels,
    load,
)
from dcgan_book.measure.scores import (
    HELD_OUT,
    co_occurrence,
    numbers,
    rounded,
    sample,
    score,
    scores,
    scores_of,
    world_co_occurrence,
)

__all__ = ['BATCH', 'COPIES', 'DARK', 'Diversity', 'Estimate', 'FOLDER', 'FOLDERS', 'HELD_OUT', 'Instrument', 'MeasureError', 'Memorisation', 'Neighbours', 'Reading', 'VISIBLE', 'as_images', 'bootstrap', 'co_occurrence', 'correlation', 'count_pixels', 'diversity', 'frechet', 'frechet_interval', 'load', 'memorisation', 'nearest', 'numbers', 'paired', 'rates', 'rounded', 'sample', 'score', 'scores', 'scores_of', 'wilson', 'world_co_occurrence']
