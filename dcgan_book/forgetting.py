"""Forgetting an object: which feature maps draw it (paper, section 6.3.1).

The recipe in order: boxes on samples (`Box`), the cells they cover at a stage (`coverage`), activations inside
and outside (`hooks.activations_of`, `examples`), a logistic regression (`fit`). Then its maps are set to zero
(`hooks.ablate`), and what that does is measured (`effects.scorecard`). Beside the regression stand other rankings
of the maps: `iou`, `matched`, `shuffled`, `effects.direct_effect`, a plain `torch.randperm`, and any from its bottom.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dcgan_book.cache import atomic_write
from dcgan_book.measure import VISIBLE, Estimate, bootstrap, wilson
from dcgan_book.training import draw_z, stream

SIDE = 64  # pixels of an image
QUANTILES = (0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)  # of a map's values, thresholds to choose from


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
        if not (whole and 0 <= self.left < self.right <= SIDE and 0 <= self.top < self.bottom <= SIDE):
            raise ValueError(
                f"a box on sample {self.seed} is {where}; left < right and top < bottom, whole numbers from 0 to {SIDE}"
            )


def save_boxes(path, seeds, boxes):
    """Writes the boxes, and the seeds of all samples looked at (some have no box), as JSON, whole or not at all."""
    rows = [{"seed": b.seed, "box": [b.left, b.top, b.right, b.bottom], "label": b.label} for b in boxes]
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)  # one for each box, for who reads or compares files
    with atomic_write(path) as temporary:
        temporary.write_text(
            f'{{\n "seeds": {json.dumps([int(seed) for seed in seeds])},\n "boxes": [\n{lines}\n ]\n}}\n'
        )


def load_boxes(path):
    """The seeds and the boxes of a file of `save_boxes`, two lists. Raises ValueError if it is not one."""
    try:
        content = json.loads(Path(path).read_text())
        boxes = [Box(row["seed"], *row["box"], row["label"]) for row in content["boxes"]]
        return list(content["seeds"]), boxes
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{Path(path).name} is not a file of boxes: {' '.join(str(error).split())}") from None


def latents(seeds, z_dim=100, prior="uniform"):
    """The latents of samples known by their seeds, (n, z_dim): each has its own, whatever others are drawn."""
    return torch.cat([draw_z(1, z_dim, prior, stream(seed, "boxes")) for seed in seeds])


def box_masks(boxes, seeds):
    """Which pixels of each seed's sample lie in a box: bool (seeds, 64, 64). ValueError for boxes on other samples."""
    if strangers := {box.seed for box in boxes} - set(seeds):
        raise ValueError(f"boxes lie on sample {min(strangers)}, which is not among the {len(seeds)} seeds")
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
    while before is None or not torch.equal(parts, before):  # the largest number of a part spreads over it
        parts, before = F.max_pool2d(parts, 3, 1, 1) * within, parts
    boxes = []
    for seed, part in zip(seeds, parts[:, 0], strict=True):
        for number in part[part > 0].unique():
            rows, columns = (part == number).nonzero().T
            if len(rows) >= smallest:
                (left, right), (top, bottom) = ((at.min().item(), at.max().item() + 1) for at in (columns, rows))
                boxes.append(Box(int(seed), left, top, right, bottom, label))
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
    Wilson's intervals, the mean a bootstrap's. Raises ValueError if one of the sets is empty.
    """
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
    wide, high = min(a.right, b.right) - max(a.left, b.left), min(a.bottom, b.bottom) - max(a.top, b.top)
    if a.seed != b.seed or a.label != b.label or wide <= 0 or high <= 0:
        return 0.0
    both = wide * high
    return both / ((a.right - a.left) * (a.bottom - a.top) + (b.right - b.left) * (b.bottom - b.top) - both)


def coverage(masks, stage):
    """The share of each cell of a stage that a mask covers: bool (n, 64, 64) to (n, h, w).

    A cell is the square of pixels in its place: 8 px wide at 8x8. With kernels of 4 it is also the middle of what
    the cell draws; with kernels of 5 what a cell draws lies up to half a cell further to the top left.
    """
    return F.avg_pool2d(masks[:, None].float(), SIDE // int(stage.split("x")[0]))[:, 0]


@dataclass(frozen=True)
class Examples:
    """Cells to tell apart: `activations` (m, units), `positive` bool (m,), `image`, which one each is from, (m,)."""

    activations: torch.Tensor
    positive: torch.Tensor
    image: torch.Tensor


def examples(activations, covered, negatives="random", overlap=0.5, per_positive=1.0, generator=None):
    """Cells inside boxes, and cells of the same images to hold against them (paper, section 6.3.1).

    Arguments: `activations`, (n, units, h, w); `covered`, (n, h, w), from `coverage`; `negatives`, "random" for any
    cell, which the paper's wording allows, or "outside" for cells that no box touches; `overlap`, the covered share
    from which a cell is positive; `per_positive`, negatives for each positive, as far as there are cells;
    `generator` draws them. Raises ValueError if no cell, or every cell, is covered.
    """
    if negatives not in ("random", "outside"):
        raise ValueError(f'negatives is {negatives!r}; it is "random" or "outside"')
    inside = (covered >= overlap).nonzero()
    candidates = torch.ones_like(covered) if negatives == "random" else covered == 0
    candidates = candidates.nonzero()
    if not len(inside) or not len(candidates):
        few = f"covered to {overlap}: lower `overlap`" if not len(inside) else "free of boxes: use negatives='random'"
        raise ValueError(f"no cell of {tuple(covered.shape)} is {few}, or take a finer stage")
    drawn = torch.randperm(len(candidates), generator=generator)[: round(per_positive * len(inside))]
    cells = torch.cat([inside, candidates[drawn]])
    image, row, column = cells.T
    return Examples(activations[image, :, row, column], torch.arange(len(cells)) < len(inside), image)


def shuffled(cells, generator=None):
    """The same `Examples` with their labels dealt out anew: the control in which there is nothing to learn."""
    return replace(cells, positive=cells.positive[torch.randperm(len(cells.positive), generator=generator)])


@dataclass(frozen=True)
class Fit:
    """A fitted regression: `weights`, (units,), and `auc`, on images it was not fitted to (0.5: chance)."""

    weights: torch.Tensor
    auc: float

    @property
    def ranking(self):
        """All units, the largest weight first."""
        return self.weights.argsort(descending=True, stable=True)

    @property
    def chosen(self):
        """The paper's choice, all units with weight > 0, the largest first."""
        return self.ranking[: (self.weights > 0).sum()]


def fit(cells, strength=1.0, standardise=True, folds=5, seed=0):
    """Logistic regression from a cell's activations to whether it is inside, by scikit-learn; see `Fit`.

    Arguments: `cells`, `Examples`; `strength`, the inverse of the L2 penalty (scikit-learn's C); `standardise`,
    whether each unit is first scaled to mean 0 and deviation 1, and weights are per deviation; `folds` of images
    for the AUC, an image's cells never on both sides. The weights are from all cells, classes balanced.
    Raises ValueError if boxes lie on fewer than two images.
    """
    x, y, image = cells.activations.numpy(), cells.positive.numpy(), cells.image.numpy()
    with_boxes = len(set(image[y]))
    if with_boxes < 2:
        raise ValueError(f"boxes lie on {with_boxes} image(s); to fit and to test it takes 2 or more")
    regression = LogisticRegression(C=strength, class_weight="balanced", max_iter=2000)
    pipeline = make_pipeline(StandardScaler() if standardise else "passthrough", regression)
    split = StratifiedGroupKFold(min(folds, with_boxes), shuffle=True, random_state=seed)
    held_out = cross_val_predict(pipeline, x, y, groups=image, cv=split, method="decision_function")
    weights = pipeline.fit(x, y)[-1].coef_[0]
    return Fit(torch.from_numpy(weights).float(), float(roc_auc_score(y, held_out)))


@torch.no_grad()
def iou(activations, masks, quantiles=QUANTILES, chunk=8):
    """How well each unit's map, thresholded, covers the object: intersection over union, (units,).

    As in GAN Dissection (Bau 2019, section 3.1): maps are scaled up to the masks, and each unit has the threshold
    that tells most about the mask (information quality ratio), out of its own `quantiles`. Arguments:
    `activations`, (n, units, h, w); `masks`, bool (n, 64, 64); `chunk`, units at a time.
    """
    mask = masks.flatten().float()
    found = []
    for part in activations.split(chunk, 1):
        values = part.transpose(0, 1).flatten(1)
        order = (torch.tensor(quantiles) * (values.shape[1] - 1)).round().long()
        thresholds = values.sort(1).values[:, order]
        maps = F.interpolate(part, size=masks.shape[-2:], mode="bilinear").transpose(0, 1).flatten(1)
        on = [(maps > t[:, None]).float() for t in thresholds.T]
        both = torch.stack([m @ mask for m in on], 1) / len(mask)
        fired = torch.stack([m.mean(1) for m in on], 1)
        best = _quality(both, fired, mask.mean()).argmax(1, keepdim=True)
        found.append((both / (fired + mask.mean() - both).clamp(min=1e-12)).gather(1, best)[:, 0])
    return torch.cat(found)


def _quality(both, a, b):
    """Mutual information over joint entropy of two events, from the shares of both, the one and the other."""

    def entropy(*shares):
        return -sum(torch.xlogy(p.clamp(min=0), p.clamp(min=0)) for p in shares)

    joint = entropy(both, a - both, b - both, 1 - a - b + both)
    return ((entropy(a, 1 - a) + entropy(b, 1 - b) - joint) / joint).nan_to_num(0, 0, 0)


def matched(ranking, activity, generator=None, group=8):
    """A random ranking that is as active: each unit's place goes to a random one of the `group` most like it.

    Arguments: `ranking`, all units; `activity`, (units,), their mean activations. The first k of the result come
    from the same groups of activity as the first k of `ranking`, in the same numbers, for every k.
    """
    deal = torch.empty_like(ranking)
    for like in activity.argsort().split(group):
        deal[like] = like[torch.randperm(len(like), generator=generator)]
    return deal[ranking]
