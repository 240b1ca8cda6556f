"""Intervals: how far a number that comes from a sample can be trusted."""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import NamedTuple

import torch
from scipy import stats

from dcgan_book.latents import stream
from dcgan_book.measure.reading import MeasureError


class Estimate(NamedTuple):
    """A number and its interval."""

    value: float
    low: float
    high: float


def with_interval(estimate: Estimate | dict | Sequence[float], form: str = ".0%") -> str:
    """A number and its interval as text; `estimate` may also be one of a card or of a results file.

    >>> with_interval(Estimate(0.5, 0.25, 0.75)), with_interval({"value": 2, "low": 1, "high": 3}, ".1f")
    ('50% [25%, 75%]', '2.0 [1.0, 3.0]')
    """
    if isinstance(estimate, dict):
        estimate = [estimate[part] for part in Estimate._fields]
    value, low, high = estimate[:3]
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"


def wilson(k: float, n: float, level: float = 0.95) -> Estimate:
    """The share k of n with Wilson's interval, which is right near 0 and 1 too (Wilson 1927). Returns an Estimate.

    k and n may be fractions where n is an effective number. Raises MeasureError where nothing was found, 0 of 0, and
    ValueError unless 0 <= k <= n.

    >>> [round(bound, 3) for bound in wilson(95, 100)]
    [0.95, 0.888, 0.978]
    """
    if k == n == 0:
        raise MeasureError("0 of 0: nothing was found that a share could be taken of")
    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n}: a share needs 0 <= k <= n")
    z, share = _normal(level), k / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # rounding
    return Estimate(share, min(max(middle - half, 0.0), share), max(min(middle + half, 1.0), share))


def bootstrap(
    values: torch.Tensor | Sequence[float],
    level: float = 0.95,
    resamples: int = 2000,
    generator: torch.Generator | None = None,
) -> Estimate:
    """The mean of values (n,) with the percentile interval of its bootstrap. Returns an Estimate.

    generator: torch.Generator to resample with; by default one of its own, always the same. Raises MeasureError for
    no values.
    """
    values = torch.as_tensor(values).double().flatten()
    if len(values) == 0:
        raise MeasureError("there are no values to average")
    random = generator or stream(0, "bootstrap")
    means = torch.cat(
        [
            values[
                torch.randint(len(values), (min(100, resamples - i), len(values)), generator=random)
            ].mean(1)
            for i in range(0, resamples, 100)
        ]
    )
    low, high = means.quantile(
        torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    ).tolist()
    mean = values.mean().item()
    # of equal values rounding could leave it outside
    return Estimate(mean, min(low, mean), max(high, mean))


def over_trainings(
    trainings: Sequence[torch.Tensor | Sequence[float]], level: float = 0.95
) -> Estimate:
    """The mean over trainings of what was drawn in each: Student's interval of their means, which the draws widen, too.

    trainings: values (n,) of each, n may differ. Few trainings make a wide interval, as they should; of a single one only
    its draws can be covered, by `bootstrap`. Returns an Estimate. Raises MeasureError where a training has no values.
    """
    groups = [torch.as_tensor(values).double().flatten() for values in trainings]
    if not groups or not all(map(len, groups)):
        raise MeasureError(f"{[len(group) for group in groups]} values of trainings to average")
    if len(groups) == 1:
        return bootstrap(groups[0], level)
    means = torch.stack([group.mean() for group in groups])
    reach = stats.t.ppf((1 + level) / 2, len(means) - 1) * means.std().item() / len(means) ** 0.5
    mean = means.mean().item()
    return Estimate(mean, mean - reach, mean + reach)


def correlation(
    first: torch.Tensor | Sequence[float],
    second: torch.Tensor | Sequence[float],
    level: float = 0.95,
) -> Estimate:
    """Pearson's correlation of two sets of numbers, (n,) each, with Fisher's interval (Fisher 1921). An Estimate.

    It is 0 where all numbers of a set are the same. Raises ValueError for fewer than four pairs.
    """
    pair = torch.stack([torch.as_tensor(first).double(), torch.as_tensor(second).double()])
    if pair.shape[1] < 4:
        raise ValueError(f"{pair.shape[1]} pairs: Fisher's interval of a correlation needs four")
    value = pair.corrcoef()[0, 1].nan_to_num(0).clamp(-1, 1)
    half = _normal(level) / math.sqrt(pair.shape[1] - 3)
    return Estimate(value.item(), *((value.atanh() + way * half).tanh().item() for way in (-1, 1)))


def paired(
    before: torch.Tensor | Sequence[float],
    after: torch.Tensor | Sequence[float],
    level: float = 0.95,
    generator: torch.Generator | None = None,
) -> Estimate:
    """How much larger `after` is than `before` on average, where entry i of both comes from the same z.

    before, after: (n,) numbers or bools. Returns an Estimate by `bootstrap` of the differences, which is much
    narrower than that of two separate means. Raises ValueError if the lengths differ.
    """
    before, after = torch.as_tensor(before).double(), torch.as_tensor(after).double()
    if before.shape != after.shape:
        raise ValueError(
            f"{len(before)} and {len(after)} values: a paired difference needs one z for each pair"
        )
    return bootstrap(after - before, level, generator=generator)


def rates(presence: Mapping[str, torch.Tensor], level: float = 0.95) -> dict[str, Estimate]:
    """Share of images that have each object, with Wilson's interval.

    presence: name to bool (n,), from `Instrument.presence`. Returns name to Estimate.
    """
    return {name: wilson(int(there.sum()), len(there), level) for name, there in presence.items()}


def _normal(level):
    return NormalDist().inv_cdf((1 + level) / 2)
