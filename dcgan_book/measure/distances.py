"""Distances between sets of images, diversity, and the test for memorised ones (paper, section 6)."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from dcgan_book.latents import stream
from dcgan_book.measure.intervals import Estimate, _normal, wilson
from dcgan_book.measure.reading import BATCH, Instrument, MeasureError, as_images, load

COPIES = 0.05  # share of samples that may be copies before a generator is said to memorise
PLANTED = (0.01, 0.02, 0.05)  # shares of copies for which the test's power is measured


def frechet(first: torch.Tensor, second: torch.Tensor) -> float:
    """Squared Frechet distance of two sets of features, each taken as a normal distribution; a float >= 0.

    first, second: (n, d) and (m, d), from `Instrument.features`. It is computed as FID is (Heusel 2017, arXiv
    1706.08500) but in our instrument's features, not Inception's, so that no number here is a FID. Finite sets
    of the same rooms have a distance above 0: compare with `frechet` of two halves of real rooms.
    Raises MeasureError for fewer than two images in a set.
    """
    if min(len(first), len(second)) < 2:
        raise MeasureError(
            f"sets of {len(first)} and {len(second)} images: their distance takes two of each"
        )
    (mean_a, cov_a), (mean_b, cov_b) = _moments(first), _moments(second)
    root = _root(cov_a)
    # The square roots of the eigenvalues of cov_a cov_b, from a symmetric matrix that has the same
    product = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    distance = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * product
    return max(distance.item(), 0.0)


def frechet_interval(
    first: torch.Tensor,
    second: torch.Tensor,
    level: float = 0.95,
    resamples: int = 100,
    generator: torch.Generator | None = None,
) -> Estimate:
    """`frechet` as an Estimate. Resampling makes sets differ more than they do, so the interval is the value
    plus and minus the bootstrap's standard error times the normal quantile, and no percentiles."""
    value, random = frechet(first, second), generator or stream(0, "frechet")
    draws = torch.tensor(
        [frechet(_resample(first, random), _resample(second, random)) for _ in range(resamples)]
    )
    half = _normal(level) * draws.std().item()
    return Estimate(value, max(value - half, 0.0), value + half)


def chessboard(
    images: torch.Tensor, real: torch.Tensor, resamples: int = 1000, level: float = 0.95
) -> Estimate:
    """Power of the finest chessboard in images over that in real ones: 1 without the grid that strided layers leave.

    images, real: (n, 3, s, s) with s even. It is the mean squared spectrum at the Nyquist frequency of both axes
    (Odena 2016, doi 10.23915/distill.00003). Returns an Estimate, bootstrapped over images of both.
    """
    signs = 1 - 2 * (torch.arange(images.shape[-1]) % 2).float()
    ours, theirs = (
        torch.einsum("nhw,h,w->n", part.float().mean(1), signs, signs).double().square()
        for part in (images, real)
    )
    random = stream(0, "chessboard")
    draws = torch.tensor(
        [
            _resample(ours, random).mean() / _resample(theirs, random).mean()
            for _ in range(resamples)
        ]
    )
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=draws.dtype)
    return Estimate((ours.mean() / theirs.mean()).item(), *draws.quantile(tails).tolist())


def _resample(features, random):
    return features[torch.randint(len(features), (len(features),), generator=random)]


def _moments(features):
    features = features.double()
    return features.mean(0), features.T.cov()


def _root(matrix):
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T  # rounding leaves some just below 0


@dataclass(frozen=True)
class Diversity:
    """How different the images of a set are: Estimates of the mean distance of a pair, and of the share of
    near-identical pairs."""

    distance: Estimate
    near_identical: Estimate


def diversity(features: torch.Tensor, threshold: float, level: float = 0.95) -> Diversity:
    """How much the images of a set differ from each other.

    features: (n, d). threshold: distance below which a pair counts as near-identical; the instrument's
    `card["near_identical"]` is the distance below which one in 10,000 pairs of real rooms lies. A distance is the
    root mean square over features, so that unrelated rooms are about 1.4 apart. An image is in n - 1 pairs, so the
    intervals are those of a U-statistic (Hoeffding 1948), wider than for as many separate pairs.
    Returns a Diversity. Raises ValueError for under three images.
    """
    n = len(features)
    if n < 3:
        raise ValueError(f"{n} images: pairs need at least three")
    sums, near = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    for i in range(0, n, 1000):
        distances = _distances(features[i : i + 1000], features)
        rows = torch.arange(len(distances))
        distances[rows, rows + i] = 0  # not an image with itself
        sums[i : i + 1000] = distances.double().sum(1)
        distances[rows, rows + i] = math.inf
        near[i : i + 1000] = (distances < threshold).sum(1)
    sums, near = sums / (n - 1), near / (n - 1)
    half = _normal(level) * 2 * sums.std().item() / math.sqrt(n)
    share, variance = near.mean().item(), 4 * near.var().item() / n
    pairs = n * (n - 1) / 2
    effective = min(share * (1 - share) / variance, pairs) if variance > 0 else pairs
    mean = sums.mean().item()
    return Diversity(
        Estimate(mean, mean - half, mean + half), wilson(share * effective, effective, level)
    )


def _distances(first, second):
    """Root mean square differences: (n, d) and (m, d) to (n, m)."""
    return torch.cdist(first, second) / math.sqrt(first.shape[1])


def among(features: torch.Tensor, real: torch.Tensor, k: int = 3) -> torch.Tensor:
    """Which images lie among real ones: nearer to one of them than its own k-th neighbour is; bool (n,).

    features, real: (n, d) and (m, d), from `Instrument.features`. The share of generated images that do is the precision of
    Kynkaanniemi 2019 (arXiv 1904.06991); compare it with the same share of further real images, which is not 1.
    Raises MeasureError for fewer than k + 1 real images.
    """
    if len(real) <= k:
        raise MeasureError(f"{len(real)} real images have no neighbour number {k}")
    reach = torch.cat(
        [
            _distances(part, real).kthvalue(k + 1).values for part in real.split(1000)
        ]  # the first is itself
    )
    return torch.cat([(_distances(part, real) <= reach).any(1) for part in features.split(1000)])


class Neighbours(NamedTuple):
    """The nearest reference of each query: distance (n,), a root mean square, and index (n,)."""

    distance: torch.Tensor
    index: torch.Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here


def nearest(
    queries: torch.Tensor | np.ndarray,
    references: torch.Tensor | np.ndarray,
    by: str = "features",
    instrument: Instrument | None = None,
) -> Neighbours:
    """The nearest reference image of each query, and how far it is.

    queries, references: images as `Instrument` takes them. by: "features" of the `instrument` (the shipped one by
    default), or "pixels", which a shift by one pixel fools (paper, opening of section 6). A distance is the root
    mean square difference over features or over values of pixels. Returns Neighbours. Raises MeasureError if one of
    the sets is empty.
    """
    if not (len(queries) and len(references)):
        raise MeasureError(f"{len(queries)} images have no neighbours among {len(references)}")
    return _closest(_points(queries, by, instrument), references, *_reader(by, instrument))


def _points(images, by, instrument):
    size, locate = _reader(by, instrument)
    return torch.cat([locate(images[i : i + size]) for i in range(0, len(images), size)])


def _reader(by, instrument=None):
    """Images at a time, and a function from so many to points (n, d)."""
    if by == "pixels":
        return 2000, lambda images: as_images(images).flatten(1).cpu()
    if by == "features":
        instrument = instrument or load()
        return BATCH, instrument.features
    raise ValueError(f"by {by!r}: nearest neighbours go by 'features' or 'pixels'")


def _closest(points, references, size, locate):
    """Blocks of references, so that 60,000 images need not be in memory at once."""
    best = torch.full((len(points),), math.inf)
    index = torch.zeros(len(points), dtype=torch.long)
    for i in range(0, len(references), size):
        distance, j = _distances(points, locate(references[i : i + size])).min(1)
        closer = distance < best
        best[closer], index[closer] = distance[closer], j[closer] + i
    return Neighbours(best, index)


@dataclass(frozen=True)
class Memorisation:
    """Whether samples are copies of training images.

    generated, real: distances to the nearest training image of samples (n,) and of held-out real images (m,).
    nearer: Estimate of the chance that a sample is nearer to the training images than a held-out image is; 0.5
    where they are alike, 1 for a copier, under 0.5 for samples that look like nothing real.
    copies: Estimate of the share of samples that are copies, from what lies nearest to them: see `memorisation`.
    power: of such a share of planted copies, how often the test finds some; empty where none were planted.
    """

    generated: torch.Tensor
    real: torch.Tensor
    nearer: Estimate
    copies: Estimate
    power: dict[float, float] = field(default_factory=dict)

    @property
    def memorised(self) -> bool:
        """Whether even the low end of `copies` is above `COPIES`."""
        return self.copies.low > COPIES


def memorisation(
    generated: torch.Tensor | np.ndarray,
    training: torch.Tensor | np.ndarray,
    held_out: torch.Tensor | np.ndarray,
    by: str = "features",
    instrument: Instrument | None = None,
    level: float = 0.95,
    planted: torch.Tensor | np.ndarray | None = None,
) -> Memorisation:
    """Tests whether samples copy the images that their generator was trained on.

    generated, training, held_out: images as `Instrument` takes them; the last are real and were not trained on.
    by: as in `nearest`. Poor samples lie far from everything, so a distance alone would clear a poor copier.
    Therefore each sample chooses: is its nearest real image, of training and held-out ones together, one that was
    trained on? Without copying the two kinds are alike to it, and it is so with chance c = N / (N + M), their
    share; a copier always says yes. copies = (share - c) / (1 - c), with Wilson's interval at Kish's effective
    number, as a real image may be nearest to many samples. (The idea of Meehan 2020, arXiv 2004.05675.)
    planted: training images, changed as a copier might: in 200 mixtures of samples and so many of these, how often does
    the interval of `copies` lie above zero? A test that would not find them acquits nobody.
    Returns a Memorisation. Raises MeasureError if one of the sets is empty.
    """
    if not (len(generated) and len(training) and len(held_out)):
        raise MeasureError("the memorisation test needs generated, training and held-out images")
    reader = _reader(by, instrument)
    samples, others, known = (
        _points(images, by, instrument) if len(images) else torch.empty(0)
        for images in (generated, held_out[: len(generated)], () if planted is None else planted)
    )
    samples = torch.cat([samples, known.to(samples).view(-1, samples.shape[1])])
    both = _closest(torch.cat([samples, others]), training, *reader)
    own, real = both.distance.split([len(samples), len(others)])
    apart = _closest(samples, held_out, *reader)

    trained_on = own < apart.distance
    nearest_real = torch.where(trained_on, both.index[: len(samples)], apart.index + len(training))
    chance = len(training) / (len(training) + len(held_out))
    n = len(generated)
    effective = n**2 / torch.bincount(nearest_real[:n]).double().square().sum().item()

    def copies(which):
        share = wilson(trained_on[which].double().mean().item() * effective, effective, level)
        return Estimate(*((bound - chance) / (1 - chance) for bound in share))

    power = {}
    for share in PLANTED if len(known) else ():
        mixtures = (_mixture(n, len(known), share, stream(i, "planted")) for i in range(200))
        power[share] = sum(copies(mixture).low > 0 for mixture in mixtures) / 200
    nearer = _nearer(own[:n], real, level)
    return Memorisation(own[:n], real, nearer, copies(torch.arange(n)), power)


def _mixture(n, planted, share, random):
    """Indices of n resampled images, of which a share are planted ones: these stand behind the n samples."""
    which = torch.randint(n, (n,), generator=random)
    count = round(share * n)
    which[:count] = n + torch.randint(planted, (count,), generator=random)
    return which


def _nearer(first, second, level):
    """Chance that a number of `first` is below one of `second`, ties counting half, with its interval."""
    ordered = second.sort().values
    below = torch.searchsorted(ordered, first, right=True) + torch.searchsorted(ordered, first)
    # for each of `first`, the share of `second` above it
    wins = 1 - below.double() / 2 / len(second)
    ordered = first.sort().values
    below = torch.searchsorted(ordered, second, right=True) + torch.searchsorted(ordered, second)
    losses = below.double() / 2 / len(first)
    value = wins.mean().item()
    # DeLong (1988)
    spread = math.sqrt(wins.var().item() / len(first) + losses.var().item() / len(second))
    half = _normal(level) * spread
    return Estimate(value, max(value - half, 0.0), min(value + half, 1.0))
