"""Chapter 4, forgetting: boxes, rankings of units, effects of their removal."""

from dcgan_book.forgetting.boxes import (
    SIDE,
    Agreement,
    Box,
    agreement,
    box_masks,
    boxes_on,
    component_boxes,
    coverage,
    latents,
    load_boxes,
    save_boxes,
)
from dcgan_book.forgetting.rankings import (
    QUANTILES,
    Examples,
    Fit,
    examples,
    fit,
    iou,
    matched,
    shuffled,
)

__all__ = [
    "Agreement",
    "Box",
    "Examples",
    "Fit",
    "QUANTILES",
    "SIDE",
    "agreement",
    "box_masks",
    "boxes_on",
    "component_boxes",
    "coverage",
    "examples",
    "fit",
    "iou",
    "latents",
    "load_boxes",
    "matched",
    "save_boxes",
    "shuffled",
]
