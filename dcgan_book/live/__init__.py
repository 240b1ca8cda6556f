"""Figures that run: in Jupyter as widgets, on a page of the book without a kernel."""

from dcgan_book.live.figures import (
    DIGITS,
    HERE,
    LOG_POINTS,
    LiveFigure,
    arithmetic,
    edit,
    film,
    forgetting,
    page_script,
    picker,
    script,
    units,
    walk,
)
from dcgan_book.live.weights import BITS, LANES, RUN, fold, pack, weights_name, weights_script

__all__ = ['BITS', 'DIGITS', 'HERE', 'LANES', 'LOG_POINTS', 'LiveFigure', 'RUN', 'arithmetic', 'edit', 'film', 'fold', 'forgetting', 'pack', 'page_script', 'picker', 'script', 'units', 'walk', 'weights_name', 'weights_script']
