"""Every reading of the recipe that the paper's words allow, crossed, and which choice moves the outcome (section 6.3.1).

A *cell* is one choice of each kind. Results are dicts of a cell's choices and what was counted, one for each cell, as
`book/experiments/multiverse.py` writes them.
"""

from collections.abc import Sequence
from itertools import product

import torch

from dcgan_book.latents import stream
from dcgan_book.measure.intervals import Estimate
from dcgan_book.measure.reading import MeasureError

CHOICES = {
    "layer": ("8x8", "16x16"),
    "negatives": ("anywhere", "outside the boxes"),
    "per positive": (1, 5),
    "penalty": (1.0, 0.1, 0.01, 0.001, 0.0001, "by AUC"),
    "scale": ("standardised", "raw"),
    "reads": ("after ReLU", "before ReLU"),
    "statistics": ("running", "of the batch"),
    "boxes": ("all", "52", "jittered", "masks"),
}


def cells(trainings: Sequence[str], choices: dict = CHOICES) -> list[dict]:
    """All cells of all trainings in a shuffled order, so that the first n of them are a fair sample of all."""
    kinds = {"training": tuple(trainings)} | choices
    found = [dict(zip(kinds, values, strict=True)) for values in product(*kinds.values())]
    order = torch.randperm(len(found), generator=stream(0, "multiverse"))
    return [found[i] for i in order]


def table(results: dict) -> list[dict]:
    """The rows of a results file as dicts, one for each cell."""
    return [dict(zip(results["columns"], row, strict=True)) for row in results["rows"]]


def spread(rows: Sequence[dict], name: str) -> Estimate:
    """The mean of a column over cells, and the range in which 95 % of the cells lie.

    This is no interval of the mean: it holds all that the choices, the draws and the latents change. Raises
    MeasureError for no rows.
    """
    values = torch.tensor([row[name] for row in rows if row[name] is not None]).double()
    if not len(values):
        raise MeasureError(f"no cell has a value of {name!r}")
    low, high = values.quantile(torch.tensor([0.025, 0.975]).double()).tolist()
    return Estimate(values.mean().item(), low, high)


def share_of_variance(
    rows: Sequence[dict], choice: str, name: str = "left", resamples: int = 200
) -> Estimate:
    """How much of a column's variance over cells one choice explains by itself: omega squared, an Estimate.

    It is corrected for what a choice without effect would explain by chance; its interval is a bootstrap over cells.
    What no choice explains by itself lies in combinations of them, in the draws and in the latents.
    """
    values = torch.tensor([row[name] for row in rows]).double()
    options = sorted({str(row[choice]) for row in rows})
    group = torch.tensor([options.index(str(row[choice])) for row in rows])
    random = stream(0, "share of variance")
    value = _omega(values, group)
    again = []
    for _ in range(resamples):
        drawn = torch.randint(len(values), (len(values),), generator=random)
        again.append(_omega(values[drawn], group[drawn]))
    low, high = torch.tensor(again).quantile(torch.tensor([0.025, 0.975])).tolist()
    return Estimate(value, min(low, value), max(high, value))


def _omega(values, group):
    """Omega squared of one choice, no less than 0."""
    counts = group.bincount().double()
    means = group.bincount(values) / counts.clamp(min=1)
    between = (counts * (means - values.mean()) ** 2).sum()
    total = ((values - values.mean()) ** 2).sum()
    levels = int((counts > 0).sum())
    if levels < 2 or total == 0:
        return 0.0
    within = (total - between) / max(len(values) - levels, 1)
    return max(((between - (levels - 1) * within) / (total + within)).item(), 0.0)


def specification(fig, rows: Sequence[dict], units: dict[str, int], choices: dict = CHOICES):
    """Draws a specification curve: outcomes of all cells, sorted, above, and below which choices each one made.

    Arguments: `fig`, an empty figure; `rows`, results with `left`, `low`, `high` and `random`; `units`, how many each
    layer has. Cells that drop as large a share of a layer as the paper's 200 maps are (39 % of 512 or 78 % of 256,
    give or take 4 points) are marked.
    """
    rows = sorted(rows, key=lambda row: row["left"])
    lines = [(kind, option) for kind, options in choices.items() for option in options]
    top, below = fig.subplots(2, 1, sharex=True, height_ratios=(1, 1.35))
    x = range(len(rows))
    top.vlines(x, [r["low"] for r in rows], [r["high"] for r in rows], color="0.75", lw=0.8)
    top.plot(x, [row["random"] for row in rows], ".", color="0.5", ms=3, label="as many random")
    top.plot(x, [row["left"] for row in rows], "-", color="#0072B2", label="the recipe")
    marked = [i for i, row in enumerate(rows) if as_in_the_paper(row, units)]
    for i in marked:
        top.plot(i, -0.06, "|", color="#D55E00", ms=7, clip_on=False)
    top.set(ylabel="windows left", ylim=(-0.1, 1.1))
    top.axhline(0.5, color="0.2", lw=0.8, ls=":")
    top.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=8)
    for line, (kind, option) in enumerate(lines):
        at = [i for i, row in enumerate(rows) if row[kind] == option]
        below.plot(at, [line] * len(at), "|", color="0.15", ms=6, mew=max(0.3, 60 / len(rows)))
    names = [f"{k}: {o}" if i == 0 or lines[i - 1][0] != k else str(o) for i, (k, o) in enumerate(lines)]  # fmt: skip
    below.set_yticks(range(len(lines)), names, fontsize=8)
    below.set(xlabel="readings of the recipe, sorted by what they leave", ylim=(len(lines), -1))
    below.grid(False)


def as_in_the_paper(row: dict, units: dict[str, int], slack: float = 0.04) -> bool:
    """Whether a cell drops about as large a share of its layer as the paper's 200 maps: of 512 at 8x8, of 256 at 16x16."""
    maps = {"8x8": 512, "16x16": 256}[row["layer"]]
    return abs(row["off"] / units[row["layer"]] - 200 / maps) <= slack
