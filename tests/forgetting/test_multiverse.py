"""What analyses the crossed readings finds what was planted in them."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from dcgan_book.forgetting import multiverse
from dcgan_book.measure import MeasureError

UNITS = {"8x8": 256, "16x16": 128}


def planted(n=400):
    """Outcomes that hang on the penalty and the layer alone, three to one in variance, without any chance."""
    rows = []
    for cell in multiverse.cells(["rooms"])[:n]:
        left = (cell["penalty"] == 1.0) * 0.6 + (cell["layer"] == "8x8") * 0.1
        edges = {"low": left - 0.05, "high": left + 0.05, "random": 0.9, "off": 100}
        rows.append(cell | {"left": left} | edges)
    return rows


def test_cells_are_all_combinations_once_in_an_order_that_stays():
    found = multiverse.cells(["rooms", "rooms-1"])
    count = 2 * math.prod(map(len, multiverse.CHOICES.values()))
    assert len({tuple(cell.values()) for cell in found}) == len(found) == count
    assert found == multiverse.cells(["rooms", "rooms-1"])
    firsts = {cell["layer"] for cell in found[:20]}, {cell["training"] for cell in found[:20]}
    assert firsts == ({"8x8", "16x16"}, {"rooms", "rooms-1"})


def test_variance_goes_to_the_choices_that_were_planted():
    rows = planted()
    found = {k: multiverse.share_of_variance(rows, k) for k in multiverse.CHOICES}
    assert found["penalty"].value > 0.85 > found["layer"].value > 0.01
    others = [found[k].value for k in found if k not in ("penalty", "layer")]
    assert max(others) < 0.02
    assert all(low <= value <= high for value, low, high in found.values())


def test_chance_alone_explains_nothing():
    random, found = torch.Generator().manual_seed(0), []
    for _ in range(20):
        noise = torch.rand(400, generator=random).tolist()
        rows = [row | {"left": value} for row, value in zip(planted(), noise, strict=True)]
        found.append(multiverse.share_of_variance(rows, "penalty", resamples=1).value)
    assert sum(found) / len(found) < 0.01  # uncorrected it would be 5 in 400, and more


def test_a_spread_is_the_range_of_the_cells_and_skips_what_is_missing():
    rows = [{"left": value} for value in (*range(101), None)]
    expected = np.quantile(range(101), [0.025, 0.975])
    assert multiverse.spread(rows, "left") == pytest.approx((50, *expected))
    with pytest.raises(MeasureError, match="'left'"):
        multiverse.spread(rows[-1:], "left")


@pytest.mark.parametrize(
    ("layer", "off", "marked"),
    [("8x8", 100, True), ("8x8", 128, False), ("8x8", 200, False), ("16x16", 50, False), ("16x16", 100, True), ("16x16", 128, False)],
)  # fmt: skip
def test_what_drops_as_large_a_share_as_the_paper_is_marked(layer, off, marked):
    assert multiverse.as_in_the_paper({"layer": layer, "off": off}, UNITS) == marked


@pytest.mark.parametrize("n", [1, 60])
def test_a_specification_curve_is_sorted_and_has_a_row_for_each_option(n):
    fig = plt.figure()
    multiverse.specification(fig, planted(n), UNITS)
    top, below = fig.axes
    heights = next(line for line in top.lines if line.get_label() == "the recipe").get_ydata()
    assert len(heights) == n and list(heights) == sorted(heights)
    options = sum(map(len, multiverse.CHOICES.values()))
    assert len(below.get_yticks()) == options
    kinds = len(multiverse.CHOICES)  # every cell has one mark for each kind of choice
    assert sum(len(line.get_xdata()) for line in below.lines) == kinds * n
    plt.close(fig)
