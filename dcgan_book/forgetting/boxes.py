"""Boxes around objects, masks, and which cells of a feature map they cover (paper, section 6.3.1)."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from dcgan_book.cache import atomic_write
from dcgan_book.latents import draw_z, stream
from dcgan_book.measure.intervals import Estimate, bootstrap, wilson
from dcgan_book.measure.reading import VISIBLE, MeasureError
from dcgan_book.models import side_of

SIDE = 64  # pixels of an image


@dataclass(frozen=True)
class Box:
    """A box on the sample of a seed, in pixels; `right` and `bottom` are the first ones outside."""

    seed: int
    left: int
    top: int
    right: int
    bottom: int
    label: str = "window"

    def __post_init__(self):
        where = (self.left, self.top, self.right, self.bottom)
        whole = all(isinstance(edge, int) for edge in where)
        if not (
            whole and 0 <= self.left < self.right <= SIDE and 0 <= self.top < self.bottom <= SIDE
        ):
            raise ValueError(
                f"a box on sample {self.seed} is {where}; left < right and top < bottom, whole numbers from 0 to {SIDE}"
            )


def save_boxes(path, seeds, boxes):
    """Writes the boxes, and the seeds of all samples looked at (some have no box), as JSON, whole or not at all."""
    path = Path(path).expanduser()
    rows = [
        {"seed": b.seed, "box": [b.left, b.top, b.right, b.bottom], "label": b.label} for b in boxes
    ]
    # one for each box, for who reads or compares files
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    with atomic_write(path) as temporary:
        text = f'{{\n "seeds": {json.dumps([int(seed) for seed in seeds])},\n "boxes": [\n{lines}\n ]\n}}\n'
        temporary.write_text(text, encoding="utf-8", newline="\n")


def load_boxes(path):
    """The seeds and the boxes of a file of `save_boxes`, two lists. Raises ValueError if it is not one, or not there."""
    try:
        content = json.loads(Path(path).expanduser().read_text(encoding="utf-8"))
        boxes = [Box(row["seed"], *row["box"], row["label"]) for row in content["boxes"]]
        return list(content["seeds"]), boxes
    except FileNotFoundError:
        raise ValueError(
            f"there are no boxes in {path} yet: draw some with live.annotate.Annotator(samples, path, seeds)"
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{Path(path).name} is not a file of boxes: {' '.join(str(error).split())}"
        ) from None


def latents(seeds, z_dim=100, prior="uniform"):
    """The latents of samples known by their seeds, (n, z_dim): each has its own, whatever others are drawn.

    Arguments: `seeds`, ints; `z_dim` and `prior`, those of the generator that draws the samples. Raises ValueError for
    no seeds.
    """
    if not len(seeds):
        raise ValueError("there are no seeds, so there are no samples: give one for each")
    return torch.cat([draw_z(1, z_dim, prior, stream(seed, "boxes")) for seed in seeds])


def box_masks(boxes, seeds):
    """Which pixels of each seed's sample lie in a box: bool (seeds, 64, 64). ValueError for boxes on other samples."""
    if strangers := {box.seed for box in boxes} - set(seeds):
        raise ValueError(
            f"boxes lie on sample {min(strangers)}, which is not among the {len(seeds)} seeds"
        )
    row_of = {seed: i for i, seed in enumerate(seeds)}
    masks = torch.zeros(len(row_of), SIDE, SIDE, dtype=torch.bool)
    for box in boxes:
        masks[row_of[box.seed], box.top : box.bottom, box.left : box.right] = True
    return masks


def component_boxes(masks, seeds, label="window", smallest=VISIBLE):
    """A box around each connected part of bool masks (n, 64, 64), where corners connect: a list of `Box`.

    Parts of fewer than `smallest` pixels are left out.
    """
    within = masks[:, None].float()
    parts, before = within * torch.arange(1.0, masks[0].numel() + 1).view_as(masks[0]), None
    # the largest number of a part spreads over it
    while before is None or not torch.equal(parts, before):
        parts, before = F.max_pool2d(parts, 3, 1, 1) * within, parts
    boxes = []
    for seed, part in zip(seeds, parts[:, 0], strict=True):
        for number in part[part > 0].unique():
            rows, columns = (part == number).nonzero().T
            if len(rows) >= smallest:
                (left, right), (top, bottom) = (
                    (at.min().item(), at.max().item() + 1) for at in (columns, rows)
                )
                boxes.append(Box(int(seed), left, top, right, bottom, label))
    return boxes


def boxes_on(samples, seeds, mine, instrument=None, target="window"):
    """Boxes on samples that come without: those drawn by hand in the file `mine`, or else an instrument's.

    Arguments: `samples`, (n, 3, 64, 64), of `seeds`; `instrument`, None where it does not know what they show, as with
    photographs; `target`, the boxes' label. Returns a list of `Box`. Raises MeasureError, in a line that says how to
    draw some, where boxes lie on fewer than two samples, and ValueError for a file that is none of boxes.
    """
    mine = Path(mine).expanduser()
    if mine.exists():
        boxes, whose = [box for box in load_boxes(mine)[1] if box.label == target], f"in {mine}"
    elif instrument is not None:
        found = instrument.read(samples).mask(target)
        boxes, whose = component_boxes(found, seeds, target), "by the instrument"
    else:
        boxes, whose = [], "by hand, and no instrument knows what they show"
    on = len({box.seed for box in boxes} & set(seeds))
    if on < 2:
        raise MeasureError(
            f"{on} of {len(seeds)} samples have a box around a {target} {whose}, and it takes two: draw some with "
            f"live.annotate.Annotator(samples, {str(mine)!r}, seeds), then run this again"
        )
    return boxes


@dataclass(frozen=True)
class Agreement:
    """How two sets of boxes agree, as Estimates; `matches` are pairs of boxes that lie on each other.

    `precision` is the share of the others that have a match, `recall` that of the first, `presence` the share of
    samples in which both have a box or neither has; `iou` is the mean of the matches', None without any.
    """

    precision: Estimate
    recall: Estimate
    presence: Estimate
    iou: Estimate | None
    matches: list


def agreement(seeds, boxes, others, threshold=0.5):
    """Compares `others`, an instrument's boxes, with `boxes` on the samples of `seeds`; see `Agreement`.

    Boxes match from an intersection over union of `threshold` on, the best pairs first, each box once. Shares have
    Wilson's intervals, the mean a bootstrap's. Raises MeasureError if one of the sets is empty.
    """
    for some, word in ((boxes, "there is no box"), (others, "the others have no box")):
        if not some:
            raise MeasureError(
                f"{word} on any of the {len(seeds)} samples, so there is nothing to compare: "
                "draw some with live.annotate.Annotator, or go on without an instrument's"
            )
    pairs = [(_overlap(box, other), box, other) for box in boxes for other in others]
    pairs = sorted((pair for pair in pairs if pair[0] >= threshold), key=lambda pair: -pair[0])
    matches, taken = [], set()
    for overlap, box, other in pairs:
        if not {("first", box), ("other", other)} & taken:
            taken |= {("first", box), ("other", other)}
            matches.append((overlap, box, other))
    with_box, with_other = ({box.seed for box in some} for some in (boxes, others))
    same = sum((seed in with_box) == (seed in with_other) for seed in seeds)
    return Agreement(
        wilson(len(matches), len(others)),
        wilson(len(matches), len(boxes)),
        wilson(same, len(seeds)),
        bootstrap([overlap for overlap, _, _ in matches]) if matches else None,
        [(box, other) for _, box, other in matches],
    )


def _overlap(a, b):
    """Intersection over union of two boxes, 0 on different samples or with different labels."""
    wide, high = (
        min(a.right, b.right) - max(a.left, b.left),
        min(a.bottom, b.bottom) - max(a.top, b.top),
    )
    if a.seed != b.seed or a.label != b.label or wide <= 0 or high <= 0:
        return 0.0
    both = wide * high
    return both / (
        (a.right - a.left) * (a.bottom - a.top) + (b.right - b.left) * (b.bottom - b.top) - both
    )


def coverage(masks, stage):
    """The share of each cell of a stage that a mask covers: bool (n, 64, 64) to (n, h, w).

    A cell is the square of pixels in its place: 8 px wide at 8x8. With kernels of 4 it is also the middle of what
    the cell draws; with kernels of 5 what a cell draws lies up to half a cell further to the top left.
    Raises ValueError for what names no stage.
    """
    return F.avg_pool2d(masks[:, None].float(), SIDE // side_of(stage, SIDE))[:, 0]
