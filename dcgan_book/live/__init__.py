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
from dcgan_book.live.weights import LANES, RUN, bits_of, fold, pack, weights_name, weights_script

__all__ = [
    "DIGITS",
    "HERE",
    "LANES",
    "LOG_POINTS",
    "LiveFigure",
    "RUN",
    "arithmetic",
    "bits_of",
    "edit",
    "film",
    "fold",
    "forgetting",
    "pack",
    "page_script",
    "picker",
    "script",
    "units",
    "walk",
    "weights_name",
    "weights_script",
]
