"""Figures that run: in Jupyter as widgets, on a page of the book without a kernel."""

from dcgan_book.live.figures import (
    DIGITS,
    GAME_PRESETS,
    HERE,
    LOG_POINTS,
    LiveFigure,
    arithmetic,
    edit,
    film,
    forgetting,
    game,
    opening,
    page_script,
    picker,
    script,
    units,
    walk,
)
from dcgan_book.live.instrument import pack_instrument
from dcgan_book.live.weights import LANES, RUN, fold, pack, scales, weights_name, weights_script

__all__ = [
    "DIGITS",
    "GAME_PRESETS",
    "HERE",
    "LANES",
    "LOG_POINTS",
    "LiveFigure",
    "RUN",
    "arithmetic",
    "edit",
    "film",
    "fold",
    "forgetting",
    "game",
    "pack",
    "pack_instrument",
    "opening",
    "page_script",
    "picker",
    "scales",
    "script",
    "units",
    "walk",
    "weights_name",
    "weights_script",
]
