"""Forgetting an object: which feature maps draw it (paper, section 6.3.1).

The recipe in order: boxes on samples (`Box`), the cells they cover at a stage (`coverage`), activations inside
and outside (`hooks.activations_of`, `examples`), a logistic regression (`fit`). Then its maps are set to zero
(`hooks.ablate`), and what that does is measured (`effects.scorecard`). Beside the regression stand other rankings
of the maps: `iou`, `matched`, `shuffled`, `effects.direct_effect`, a plain `torch.randperm`, and any from its bottom.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

QUANTILES = (0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)  # of a map's values, thresholds to choose from


@dataclass(frozen=True)
class Examples:
    """Cells to tell apart: `activations` (m, units), `positive` bool (m,), `image`, which one each is from, (m,)."""

    activations: torch.Tensor
    positive: torch.Tensor
    image: torch.Tensor


def examples(
    activations, covered, negatives="random", overlap=0.5, per_positive=1.0, generator=None
):
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
        few = (
            f"covered to {overlap}: lower `overlap`"
            if not len(inside)
            else "free of boxes: use negatives='random'"
        )
        raise ValueError(f"no cell of {tuple(covered.shape)} is {few}, or take a finer stage")
    drawn = torch.randperm(len(candidates), generator=generator)[
        : round(per_positive * len(inside))
    ]
    cells = torch.cat([inside, candidates[drawn]])
    image, row, column = cells.T
    return Examples(
        activations[image, :, row, column], torch.arange(len(cells)) < len(inside), image
    )


def shuffled(cells, generator=None):
    """The same `Examples` with their labels dealt out anew: the control in which there is nothing to learn."""
    return replace(
        cells, positive=cells.positive[torch.randperm(len(cells.positive), generator=generator)]
    )


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
        raise ValueError(
            f"boxes lie on {with_boxes} image(s); to fit and to test it takes 2 or more"
        )
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
        maps = (
            F.interpolate(part, size=masks.shape[-2:], mode="bilinear").transpose(0, 1).flatten(1)
        )
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
    partner = torch.empty_like(ranking)
    for like in activity.argsort().split(group):
        partner[like] = like[torch.randperm(len(like), generator=generator)]
    return partner[ranking]
