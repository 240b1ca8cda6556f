"""The instruments: what they see in an image, how sure a number is, how far samples are from real rooms.

Nobody can ask a generator what it drew, so a network looks instead: it says which objects are in an image, which
pixels they cover and which factors the room has, and gives features in which images can be compared. It has
learned from drawn rooms alone, damaged as a generator damages them, and never from a generated image; what it
gets wrong on rooms it has not seen stands in its card. The statistics below turn its readings into numbers with
intervals (paper, opening of section 6: how such models should and should not be judged).

`python -m dcgan_book.measure train` makes the instrument, `... score NAME` writes a generator's scores to its card.
"""

import argparse
import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from torch import nn
from tqdm.auto import tqdm

from dcgan_book import pretrained, rooms
from dcgan_book.cache import atomic_write
from dcgan_book.models import Generator, initialise
from dcgan_book.training import choose_device, draw_z, machine_facts, recalibrate, stream, to_batch

FOLDER = pretrained.WEIGHTS / "instruments"
VISIBLE = 8  # pixels from which on an object counts as present; every object of a drawn room shows that many
BATCH = 250  # images read at a time
FEATURES = 128

# Rooms by seed. The generators have 0 to 59,999; none of these sets meets another.
TRAINING, VALIDATION, TEST = 2_000_000, 2_500_000, 2_600_000
HELD_OUT = 3_000_000  # real rooms that generators are compared with

# What the instrument reads off a room besides the objects in it.
SCALARS = ("daylight", "bed_x", "bed_tone", "wood", "wall_saturation", "wall_brightness", "floor_brightness")
HUES = ("wall_hue", "bed_hue")  # predicted as a point on the circle
CHOICES = {"bed_size": rooms.CHOICES["bed_size"]} | {f"{name}_place": rooms.PLACES for name in rooms.HUNG}
DAMAGE = {"blur": 1.4, "ringing": 1.5, "noise": 0.06, "warp": 2.5}  # the most that training adds; see `damage`
DARK = 0.33  # daylight below which it is night: the middle of the gap that rooms leave
HEADS = (
    {"presence": len(rooms.OBJECTS), "scalars": len(SCALARS), "hues": 2 * len(HUES)}
    | {name: len(options) for name, options in CHOICES.items()}
    | {"damage": len(DAMAGE)}
)
UNKNOWN = 255  # label of a pixel that may be read either way

NEAR_PAIRS = 1e-4  # share of pairs of real rooms that count as near-identical; it fixes the distance
COPIES = 0.05  # share of samples that may be copies before a generator is said to memorise


class MeasureError(ValueError):
    """There is nothing to measure, or nothing to measure it with; the message is one line."""


# ------------------------------------------------------------------------------------------ the instrument


class Network(nn.Module):
    """One encoder for three readings of 64x64 images: labels, factors, features.

    `forward(images)` takes (n, 3, 64, 64) in [-1, 1] and returns the logits of `rooms.LABELS` for each pixel,
    (n, 13, 64, 64), the features (n, 128), each with mean 0 and variance 1 over the training images, and the
    outputs named by `HEADS` in one tensor. Half of the resolution is enough inside, as four pixels leave together.
    """

    def __init__(self, width=24):
        super().__init__()
        w = self.width = width
        self.encoder = nn.ModuleList(
            [
                nn.Sequential(_conv(12, w), _conv(w, w)),  # 32x32
                nn.Sequential(_conv(w, 2 * w), _conv(2 * w, 2 * w)),  # 16x16
                nn.Sequential(_conv(2 * w, 3 * w), _conv(3 * w, 3 * w)),  # 8x8
                nn.Sequential(_conv(3 * w, 4 * w)),  # 4x4
            ]
        )
        self.decoder = nn.ModuleList([_conv(7 * w, 2 * w), _conv(4 * w, 2 * w), _conv(3 * w, w)])
        self.pixels = nn.Conv2d(w, 4 * len(rooms.LABELS), 1)
        self.grid = nn.Conv2d(4 * w, 32, 1)
        self.features = nn.Sequential(
            nn.Linear(32 * 16 + 6 * w, FEATURES, bias=False), nn.BatchNorm1d(FEATURES, affine=False)
        )
        self.head = nn.Linear(FEATURES, sum(HEADS.values()))

    def forward(self, images):
        maps = self.encode(images)
        return (self.decode(maps), *self.describe(maps))

    def encode(self, images):
        """The feature maps of four resolutions, 32x32 first."""
        x = F.pixel_unshuffle(images, 2).contiguous(memory_format=torch.channels_last)
        maps = [self.encoder[0](x)]
        for stage in self.encoder[1:]:
            maps.append(stage(F.max_pool2d(maps[-1], 2)))
        return maps

    def decode(self, maps):
        """Logits of each pixel's label."""
        x = maps[-1]
        for stage, skip in zip(self.decoder, maps[-2::-1], strict=True):
            x = stage(torch.cat([F.interpolate(x, scale_factor=2.0), skip], 1))
        return F.pixel_shuffle(self.pixels(x), 2)

    def describe(self, maps):
        """Features, from the coarsest map and the means of the finer ones, and the heads' outputs."""
        means = [each.mean((2, 3)) for each in maps[:-1]]
        features = self.features(torch.cat([self.grid(maps[-1]).flatten(1), *means], 1))
        return features, self.head(F.relu(features))


def _conv(before, after):
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU())


def _split(outputs):
    """The heads' outputs by name."""
    return dict(zip(HEADS, outputs.split(list(HEADS.values()), dim=1), strict=True))


@dataclass(frozen=True)
class Reading:
    """What the instrument sees in n images, on the CPU.

    probability, presence: object name to float or bool (n,). labels: uint8 (n, 64, 64), indices into
    `rooms.LABELS`. features: (n, 128). factors: name to (n,), see `Instrument.factors`.
    """

    probability: dict
    presence: dict
    labels: torch.Tensor
    features: torch.Tensor
    factors: dict

    def __len__(self):
        return len(self.features)

    def mask(self, name):
        """Pixels of one object: bool (n, 64, 64)."""
        return self.labels == rooms.LABELS.index(name)


class Instrument:
    """Reads images; made by `load`.

    Every method takes images (n, 3, 64, 64) in [-1, 1], or uint8 (n, 64, 64, 3) as `rooms.dataset` gives them,
    and answers on the CPU without gradients. For gradients use `.network`, in eval mode, itself.
    """

    def __init__(self, network, card, device="cpu"):
        self.network, self.card, self.device = network.eval().requires_grad_(False).to(device), card, device

    def read(self, images):
        """Everything at once: a `Reading`."""
        logits, features, outputs = self._run(images, lambda maps: (
            self.network.decode(maps).argmax(1).byte(), *self.network.describe(maps)))  # fmt: skip
        probability = self._probability(logits, outputs)
        presence = {name: value > 0.5 for name, value in probability.items()}
        return Reading(probability, presence, logits, features, _factors(outputs))

    def presence(self, images):
        """Which objects are there: name in `rooms.OBJECTS` to bool (n,)."""
        return self.read(images).presence

    def segment(self, images):
        """What each pixel shows: uint8 (n, 64, 64), indices into `rooms.LABELS`."""
        return self._run(images, lambda maps: (self.network.decode(maps).argmax(1).byte(),))[0]

    def features(self, images):
        """Where images lie among rooms: (n, 128), each feature with about mean 0 and variance 1."""
        return self._run(images, self.network.describe)[0]

    def factors(self, images):
        """The factors of the rooms: name to (n,), in the units and with the names of `rooms.FACTORS`.

        Choices are arrays of str and say something only where their object is present. Added are `night` (bool)
        and the damage that the image seems to have: `blur` (pixels), `ringing`, `noise` (of [-1, 1]), `warp`
        (pixels), 0 for a drawn room.
        """
        return _factors(self._run(images, self.network.describe)[1])

    def _probability(self, labels, outputs):
        counts = count_pixels(labels)
        values = {
            "head": _split(outputs)["presence"].float().sigmoid(),
            "segmenter": counts / (counts + VISIBLE - 0.5),  # above 1/2 from `VISIBLE` pixels on
        }
        values["both"] = torch.minimum(*values.values())
        return dict(zip(rooms.OBJECTS, values[self.card["presence"]].unbind(1), strict=True))

    @torch.no_grad()
    def _run(self, images, see):
        if len(images) == 0:
            raise MeasureError("there are no images to read")
        parts = [
            [part.cpu() for part in see(self.network.encode(as_images(images[i : i + BATCH]).to(self.device)))]
            for i in range(0, len(images), BATCH)
        ]
        return [torch.cat(part) for part in zip(*parts, strict=True)]


def load(folder=FOLDER, device="cpu"):
    """The shipped instrument, or the one that was trained into `folder`. Raises MeasureError if there is none."""
    folder = Path(folder)
    if not (folder / "card.json").exists():
        raise MeasureError(f"there is no instrument in {folder}: python -m dcgan_book.measure train makes one")
    card = json.loads((folder / "card.json").read_text())
    network = Network(card["width"])
    network.load_state_dict(
        {name: value.float() for name, value in load_file(folder / "instrument.safetensors").items()}, strict=False
    )
    return Instrument(network, card, device)


def as_images(images):
    """uint8 (n, 64, 64, 3) to float (n, 3, 64, 64) in [-1, 1]; what is such already stays."""
    return images if isinstance(images, torch.Tensor) else to_batch(np.asarray(images))


def count_pixels(labels):
    """Pixels that each object has in labels (n, 64, 64): (n, 10), in the order of `rooms.OBJECTS`."""
    first = len(rooms.SURFACES)
    return torch.stack([(labels == first + i).sum((1, 2)) for i in range(len(rooms.OBJECTS))], 1)


def _factors(outputs):
    heads = _split(outputs.float())
    factors = {}
    for name, value in zip(SCALARS, heads["scalars"].unbind(1), strict=True):
        low, high = rooms.RANGES[name]
        factors[name] = (low + (high - low) * (value + 1) / 2).clamp(low, high)
    for name, (x, y) in zip(HUES, heads["hues"].view(-1, len(HUES), 2).permute(1, 2, 0), strict=True):
        factors[name] = (torch.atan2(y, x) / (2 * math.pi)) % 1.0
    for name, options in CHOICES.items():
        factors[name] = np.array(options)[heads[name].argmax(1).numpy()]
    for (name, most), value in zip(DAMAGE.items(), heads["damage"].unbind(1), strict=True):
        factors[name] = (value * most).clamp(0, most)
    factors["night"] = factors["daylight"] < DARK
    return factors


# -------------------------------------------------------------------------------------- numbers and intervals


class Estimate(NamedTuple):
    """A number and its interval."""

    value: float
    low: float
    high: float


def wilson(k, n, level=0.95):
    """The share k of n with Wilson's interval, which is right near 0 and 1 too (Wilson 1927). Returns an Estimate.

    k and n may be fractions where n is an effective number. Raises ValueError unless 0 <= k <= n and n > 0.

    >>> [round(bound, 3) for bound in wilson(95, 100)]
    [0.95, 0.888, 0.978]
    """
    if not 0 <= k <= n or n <= 0:
        raise ValueError(f"{k} of {n}: a share needs 0 <= k <= n and n > 0")
    z, share = _normal(level), k / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return Estimate(share, max(middle - half, 0.0), min(middle + half, 1.0))


def bootstrap(values, level=0.95, resamples=2000, generator=None):
    """The mean of values (n,) with the percentile interval of its bootstrap. Returns an Estimate.

    generator: torch.Generator to resample with; by default one of its own, always the same.
    """
    values = torch.as_tensor(values).double().flatten()
    if len(values) == 0:
        raise MeasureError("there are no values to average")
    random = generator or stream(0, "bootstrap")
    means = torch.cat(
        [
            values[torch.randint(len(values), (min(100, resamples - i), len(values)), generator=random)].mean(1)
            for i in range(0, resamples, 100)
        ]
    )
    low, high = means.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)).tolist()
    return Estimate(values.mean().item(), low, high)


def paired(before, after, level=0.95, generator=None):
    """How much larger `after` is than `before` on average, where entry i of both comes from the same z.

    before, after: (n,) numbers or bools. Returns an Estimate by `bootstrap` of the differences, which is much
    narrower than that of two separate means. Raises ValueError if the lengths differ.
    """
    before, after = torch.as_tensor(before).double(), torch.as_tensor(after).double()
    if before.shape != after.shape:
        raise ValueError(f"{len(before)} and {len(after)} values: a paired difference needs one z for each pair")
    return bootstrap(after - before, level, generator=generator)


def rates(presence, level=0.95):
    """Share of images that have each object, with Wilson's interval.

    presence: name to bool (n,), from `Instrument.presence`. Returns name to Estimate.
    """
    return {name: wilson(int(there.sum()), len(there), level) for name, there in presence.items()}


def co_occurrence(presence):
    """Share of images in which two objects are together: float (objects, objects), the rates on its diagonal.

    presence: name to bool (n,); rows and columns are in its order.
    """
    there = torch.stack([torch.as_tensor(values) for values in presence.values()], 1).double()
    return there.T @ there / len(there)


def world_co_occurrence():
    """`co_occurrence` that the bedroom world itself has, in the order of `rooms.OBJECTS`."""
    own = torch.tensor([rooms.PRESENCE.get(name, 1.0) for name in rooms.OBJECTS], dtype=torch.float64)
    window, curtain = rooms.OBJECTS.index("window"), rooms.OBJECTS.index("curtain")
    own[curtain] *= own[window]  # a curtain hangs at a window only
    together = torch.outer(own, own)
    together.diagonal().copy_(own)
    together[window, curtain] = together[curtain, window] = own[curtain]
    return together


def _normal(level):
    return NormalDist().inv_cdf((1 + level) / 2)


# ----------------------------------------------------------------------------------------- sets of images


def frechet(first, second):
    """Squared Frechet distance of two sets of features, each taken as a normal distribution; a float >= 0.

    first, second: (n, d) and (m, d), from `Instrument.features`. It is computed as FID is (Heusel 2017, arXiv
    1706.08500) but in our instrument's features, not Inception's, so that no number here is a FID. Finite sets
    of the same rooms have a distance above 0: compare with `frechet` of two halves of real rooms.
    """
    (mean_a, cov_a), (mean_b, cov_b) = _moments(first), _moments(second)
    root = _root(cov_a)
    # The square roots of the eigenvalues of cov_a cov_b, from a symmetric matrix that has the same
    product = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    distance = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * product
    return max(distance.item(), 0.0)


def frechet_interval(first, second, level=0.95, resamples=100, generator=None):
    """`frechet` as an Estimate. Resampling makes sets differ more than they do, so the interval is the value
    plus and minus the bootstrap's standard error times the normal quantile, and no percentiles."""
    random = generator or stream(0, "frechet")
    draws = torch.tensor([frechet(_resample(first, random), _resample(second, random)) for _ in range(resamples)])
    value, half = frechet(first, second), _normal(level) * draws.std().item()
    return Estimate(value, max(value - half, 0.0), value + half)


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


def diversity(features, threshold, level=0.95):
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
    return Diversity(Estimate(mean, mean - half, mean + half), wilson(share * effective, effective, level))


def _distances(first, second):
    """Root mean square differences: (n, d) and (m, d) to (n, m)."""
    return torch.cdist(first, second) / math.sqrt(first.shape[1])


class Neighbours(NamedTuple):
    """The nearest reference of each query: distance (n,), a root mean square, and index (n,)."""

    distance: torch.Tensor
    index: torch.Tensor


def nearest(queries, references, by="features", instrument=None):
    """The nearest reference image of each query, and how far it is.

    queries, references: images as `Instrument` takes them. by: "features" of the `instrument` (the shipped one by
    default), or "pixels", which a shift by one pixel fools (paper, opening of section 6). A distance is the root
    mean square difference over features or over values of pixels. Returns Neighbours.
    """
    return _closest(_points(queries, by, instrument), *_reader(by, instrument), references)


def _points(images, by, instrument):
    size, see = _reader(by, instrument)
    return torch.cat([see(images[i : i + size]) for i in range(0, len(images), size)])


def _reader(by, instrument=None):
    """Images at a time, and a function from so many to points (n, d)."""
    if by == "pixels":
        return 2000, lambda images: as_images(images).flatten(1).cpu()
    if by == "features":
        instrument = instrument or load()
        return BATCH, instrument.features
    raise ValueError(f"by {by!r}: nearest neighbours go by 'features' or 'pixels'")


def _closest(points, size, see, references):
    """Blocks of references, so that 60,000 images need not be in memory at once."""
    best = torch.full((len(points),), math.inf)
    index = torch.zeros(len(points), dtype=torch.long)
    for i in range(0, len(references), size):
        distance, j = _distances(points, see(references[i : i + size])).min(1)
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
    memorised: whether `copies` is above 0.05 even at the low end of its interval.
    """

    generated: torch.Tensor
    real: torch.Tensor
    nearer: Estimate
    copies: Estimate

    @property
    def memorised(self):
        return self.copies.low > COPIES


def memorisation(generated, training, held_out, by="features", instrument=None, level=0.95):
    """Tests whether samples copy the images that their generator was trained on.

    generated, training, held_out: images as `Instrument` takes them; the last are real and were not trained on.
    by: as in `nearest`. Poor samples lie far from everything, so a distance alone would clear a poor copier.
    Therefore each sample chooses: is its nearest real image, of training and held-out ones together, one that was
    trained on? Without copying the two kinds are alike to it, and it is so with chance c = N / (N + M), their
    share; a copier always says yes. copies = (share - c) / (1 - c), with Wilson's interval at Kish's effective
    number, as a real image may be nearest to many samples. (The idea of Meehan 2020, arXiv 2004.05675.)
    Returns a Memorisation. Raises MeasureError if one of the sets is empty.
    """
    if not (len(generated) and len(training) and len(held_out)):
        raise MeasureError("the memorisation test needs generated, training and held-out images")
    reader = _reader(by, instrument)
    samples, others = _points(generated, by, instrument), _points(held_out[: len(generated)], by, instrument)
    both = _closest(torch.cat([samples, others]), *reader, training)
    own, real = both.distance.split([len(samples), len(others)])
    apart = _closest(samples, *reader, held_out)

    trained_on = own < apart.distance
    nearest_real = torch.where(trained_on, both.index[: len(samples)], apart.index + len(training))
    counts = torch.bincount(nearest_real).double()
    effective = len(samples) ** 2 / counts.square().sum().item()
    chance = len(training) / (len(training) + len(held_out))
    share = wilson(trained_on.double().mean().item() * effective, effective, level)
    copies = Estimate(*((bound - chance) / (1 - chance) for bound in share))
    return Memorisation(own, real, _nearer(own, real, level), copies)


def _nearer(first, second, level):
    """Chance that a number of `first` is below one of `second`, ties counting half, with its interval."""
    ordered = second.sort().values
    below = torch.searchsorted(ordered, first, right=True) + torch.searchsorted(ordered, first)
    wins = 1 - below.double() / 2 / len(second)  # for each of `first`, the share of `second` above it
    ordered = first.sort().values
    below = torch.searchsorted(ordered, second, right=True) + torch.searchsorted(ordered, second)
    losses = below.double() / 2 / len(first)
    value = wins.mean().item()
    spread = math.sqrt(wins.var().item() / len(first) + losses.var().item() / len(second))  # DeLong (1988)
    half = _normal(level) * spread
    return Estimate(value, max(value - half, 0.0), min(value + half, 1.0))


# ---------------------------------------------------------------------------------- scores of a generator


def sample(generator, n, prior="uniform", seed=0, device="cpu", purpose="scores"):
    """n images of a generator in eval mode, (n, 3, 64, 64) on the CPU; the first of a larger n are the same."""
    z = draw_z(n, generator.z_dim, prior, stream(seed, purpose))
    with torch.no_grad():
        return torch.cat([generator(part.to(device)).float().cpu() for part in z.split(BATCH)])


def scores(generator, training, prior="uniform", n=5000, seed=0, held_out=20_000, instrument=None, device="cpu",
           progress=True):  # fmt: skip
    """All that a model card says of a generator of rooms, as a dict for JSON.

    generator: in eval mode. training: the rooms it was trained on, uint8 (N, 64, 64, 3). n: samples. held_out:
    real rooms that it was not trained on, at least 2 n. Pixels are compared for the first 1,000 samples only.
    Distances have beside them the same number for real rooms and for an untrained generator. Takes some minutes
    on a core, most of it for the features of the real rooms.
    """
    if held_out < 2 * n:
        raise ValueError(f"held_out {held_out}: {n} samples need two sets of as many real rooms, {2 * n}")
    instrument = instrument or load(device=device)
    real = rooms.dataset(held_out, HELD_OUT, progress=progress)
    threshold = instrument.card["near_identical"]
    images = sample(generator, n, prior, seed, device)
    reading = instrument.read(images)
    floor, other = (instrument.features(real.images[i * n : (i + 1) * n]) for i in range(2))
    blank = initialise(Generator(generator.width, generator.z_dim, generator.kernel_size), stream(seed, "untrained"))
    recalibrate(blank, prior, 1024, seed).to(device)
    nothing = instrument.features(sample(blank, n, prior, seed, device))

    world = world_co_occurrence()
    pairs = co_occurrence(reading.presence)
    worst = (pairs - world).abs().triu(1).argmax().item()
    first, second = (rooms.OBJECTS[i] for i in divmod(worst, len(rooms.OBJECTS)))
    together = int((reading.presence[first] & reading.presence[second]).sum())
    objects = {
        name: _numbers(rate) | {"world": round(world.diagonal()[i].item(), 5)}
        for i, (name, rate) in enumerate(rates(reading.presence).items())
    }
    spread, spread_real = diversity(reading.features, threshold), diversity(other, threshold)
    copied = {
        by: memorisation(images[:most], training, real.images, by, instrument)
        for by, most in (("features", n), ("pixels", 1000))
    }
    return {
        "samples": n,
        "seed": seed,
        "interval": "95 %",
        "objects": objects,
        "night": _numbers(wilson(int(reading.factors["night"].sum()), n)) | {"world": rooms.NIGHT},
        "together": {
            "mean_difference": _round((pairs - world).abs()[tuple(torch.triu_indices(*world.shape, 1))].mean().item()),
            "largest": {"pair": [first, second]}
            | _numbers(wilson(together, n))
            | {"world": _round(world.flatten()[worst].item())},
        },
        "frechet": _numbers(frechet_interval(reading.features, other))
        | {
            "space": "instrument's features, not FID",
            "floor": _numbers(frechet_interval(floor, other)),
            "untrained": _numbers(frechet_interval(nothing, other)),
        },
        "diversity": {
            "pair_distance": _numbers(spread.distance) | {"real": _numbers(spread_real.distance)},
            "near_identical": _numbers(spread.near_identical)
            | {"below": threshold, "real": _numbers(spread_real.near_identical)},
        },
        "memorisation": {
            by: {
                "samples": len(test.generated),
                "training": len(training),
                "held_out": held_out,
                "copies": _numbers(test.copies),
                "nearer_than_real": _numbers(test.nearer),
                "median_distance": _round(test.generated.median().item()),
                "median_distance_real": _round(test.real.median().item()),
                "memorised": test.memorised,
            }
            for by, test in copied.items()
        },
    }


def _numbers(estimate):
    return {name: _round(value) for name, value in estimate._asdict().items()}


def _round(value):
    """To five figures, as more are noise."""
    return float(f"{value:.5g}")


def score(name, n=5000, seed=0, held_out=20_000, device="cpu", progress=True):
    """Writes `scores` of the weights called `name`, or in the folder of that path, into their card; returns them.

    Raises MeasureError if they were not trained on rooms or have no card of their own.
    """
    model = pretrained.load(name, device)
    card = next((f / "card.json" for f in (pretrained.WEIGHTS / name, Path(name)) if (f / "card.json").exists()), None)
    if card is None:
        raise MeasureError(f"{name} is a run and has no card: export it first, python -m dcgan_book.pretrained export")
    if model.card["data"]["name"] != "rooms":
        raise MeasureError(f"{name} was trained on {model.card['data']['name']}: only rooms can be scored")
    training = rooms.dataset(model.card["data"]["images"], progress=progress).images
    found = scores(model.generator, training, model.card["prior"], n, seed, held_out, device=device, progress=progress)
    command = f"python -m dcgan_book.measure score {Path(name).name}"
    with atomic_write(card) as temporary:
        temporary.write_text(json.dumps(model.card | {"scores": {"command": command} | found}, indent=1) + "\n")
    return found


# ------------------------------------------------------------------------------- damage, as generators do it


@dataclass(frozen=True)
class Damaged:
    """Images that look generated, and what is still true of them.

    images: (n, 3, 64, 64). labels: (n, 64, 64), `UNKNOWN` where an object is half faded. presence: (n, 10), 1, 0,
    or nan where an object is neither there nor gone. own: bool (n, 10), the object is the room's own. known: bool
    (n,), the room's factors hold. amounts: (n, 4), shares of `DAMAGE`.
    """

    images: torch.Tensor
    labels: torch.Tensor
    presence: torch.Tensor
    own: torch.Tensor
    known: torch.Tensor
    amounts: torch.Tensor


def damage(images, labels, generator, untouched=0.25):
    """Does to drawn rooms what generators do to theirs, each with its own chance and amount.

    images: (n, 3, 64, 64) in [-1, 1]. labels: long (n, 64, 64). generator: torch.Generator. untouched: share that
    stays as it is. Objects fade into what is around them or vanish in part or whole; patches of another room are
    blended in; places shift by a few pixels; contrast, colours and light change; edges blur or ring; noise and the
    checkerboard of transposed convolutions lie over it; a few become scrambled rooms with no object at all.
    An object is present from `VISIBLE` pixels and a quarter of its size on, absent below a twentieth of it; in
    between its presence is left open. Returns a Damaged.
    """
    n, dice = len(images), _Dice(len(images), generator, untouched)
    images, labels, whole = images.contiguous().clone(), labels.clone(), count_pixels(labels)

    # A patch of the next room
    rows = dice.some(0.25)
    other, patch = (rows + 1) % n, _blob(len(rows), 5, 14, generator)
    foreign = torch.where(patch > 0.5, labels[other], 0)
    mixed = torch.lerp(images[rows], images[other], patch[:, None])
    mixed_labels = torch.where(patch > 0.5, labels[other], labels[rows])
    own = torch.ones(whole.shape, dtype=torch.bool)
    own[rows] = count_pixels(foreign) == 0
    whole[rows] = torch.maximum(whole[rows], whole[other])
    images[rows], labels[rows] = mixed, mixed_labels

    # One object fades or vanishes, in part or whole; wall, floor or ceiling take its place
    rows = dice.some(0.4)
    counts = count_pixels(labels[rows])
    odds = (counts > 0) * torch.tensor([0.6] + [1.0] * (len(rooms.OBJECTS) - 1)) + 1e-9
    chosen = torch.multinomial(odds, 1, generator=generator)
    of_it = labels[rows] == chosen[..., None] + len(rooms.SURFACES)
    part = torch.where(_each(dice.uniform(len(rows)) < 0.7)[:, 0] > 0, 1.0, _blob(len(rows), 8, 20, generator))
    faded = torch.where(dice.uniform(len(rows)) < 0.6, 1.0, dice.uniform(len(rows), 0.2, 0.9))
    cover = _blur(F.max_pool2d(of_it.float()[:, None], 3, 1, 1), torch.full((len(rows),), 0.6))[:, 0]
    cover = cover * part * faded[:, None, None]
    around, under = _surroundings(images[rows], labels[rows])
    images[rows] = torch.lerp(images[rows], around, cover[:, None])
    gone, doubtful = of_it & (cover > 0.85), of_it & (cover > 0.5) & (cover <= 0.85)
    labels[rows] = torch.where(gone, under, torch.where(doubtful, UNKNOWN, labels[rows]))
    unknown = torch.zeros_like(whole)
    unknown[rows] = unknown[rows].scatter(1, chosen, doubtful.sum((1, 2))[:, None])

    # Places shift
    rows, warp = dice.some(0.5), torch.zeros(n)
    warp[rows] = dice.uniform(len(rows))
    images[rows], labels[rows] = _warp(images[rows], labels[rows], warp[rows] * DAMAGE["warp"], generator)

    # A few lose all structure
    scrambled = dice.some(0.04)
    images[scrambled], labels[scrambled] = _scramble(images[scrambled], generator), UNKNOWN

    # Contrast, saturation, colours, light
    rows = dice.some(0.5)
    some = images[rows]
    mean = some.mean((1, 2, 3), keepdim=True)
    some = mean + (some - mean) * _each(dice.uniform(len(rows), 0.6, 1.2))
    grey = some.mean(1, keepdim=True)
    some = grey + (some - grey) * _each(dice.uniform(len(rows), 0.6, 1.25))
    some = some * (1 + 0.05 * dice.normal(len(rows), 3, 1, 1)) + 0.05 * dice.normal(len(rows), 3, 1, 1)
    field = F.interpolate(dice.normal(len(rows), 3, 4, 4), size=rooms.SIZE, mode="bilinear", align_corners=False)
    images[rows] = some + field * _each(dice.uniform(len(rows), -0.1, 0.1).clamp(min=0))

    # Edges blur, then ring; grain of one to three pixels' size; the checkerboard of strided convolutions
    blur, ringing, noise = torch.zeros(3, n)
    rows = dice.some(0.5)
    blur[rows] = dice.uniform(len(rows))
    images[rows] = _blur(images[rows], blur[rows] * DAMAGE["blur"])
    rows = dice.some(0.4)
    ringing[rows] = dice.uniform(len(rows))
    soft = _blur(images[rows], dice.uniform(len(rows), 0.7, 1.5))
    images[rows] += (images[rows] - soft) * _each(ringing[rows] * DAMAGE["ringing"])
    rows = dice.some(0.4)
    noise[rows] = dice.uniform(len(rows))
    grain = _blur(dice.normal(len(rows), 3, rooms.SIZE, rooms.SIZE), dice.uniform(len(rows), 0, 1.2))
    grain = grain / grain.square().mean((1, 2, 3), keepdim=True).sqrt()
    images[rows] += grain * _each(noise[rows] * DAMAGE["noise"])
    rows, sign = dice.some(0.2), 1 - 2.0 * (torch.arange(rooms.SIZE) % 2)
    images[rows] += torch.outer(sign, sign) * 0.04 * dice.normal(len(rows), 3, 1, 1)

    visible = count_pixels(labels)
    presence = torch.full(whole.shape, math.nan)
    presence[(visible >= VISIBLE) & (visible >= whole / 4)] = 1
    presence[visible + unknown < (whole / 20).clamp(min=3)] = 0
    presence[scrambled] = 0
    known = torch.ones(n, dtype=torch.bool)
    known[scrambled] = False
    return Damaged(images.clamp_(-1, 1), labels, presence, own, known, torch.stack([blur, ringing, noise, warp], 1))


class _Dice:
    """Random numbers, and which of n images something happens to; to some of them nothing does."""

    def __init__(self, n, generator, untouched):
        self.generator = generator
        self.active = self.uniform(n) >= untouched

    def uniform(self, n, low=0.0, high=1.0):
        return low + (high - low) * torch.rand(n, generator=self.generator)

    def normal(self, *shape):
        return torch.randn(shape, generator=self.generator)

    def some(self, p):
        """The indices of about a share p of the images."""
        return ((self.uniform(len(self.active)) < p) & self.active).nonzero().squeeze(1)


def _each(values):
    return values.float()[:, None, None, None]


def _blob(n, low, high, generator):
    """Soft ellipses (n, 64, 64) in [0, 1], anywhere, with radii of `low` to `high` pixels."""
    draw = torch.rand(4, n, 1, generator=generator)
    along = torch.arange(rooms.SIZE)
    x, y = ((along - rooms.SIZE * draw[i]) / (low + (high - low) * draw[i + 1]) for i in (0, 2))
    return ((1 - (x.square()[:, None, :] + y.square()[:, :, None]).sqrt()) * 5 + 0.5).clamp(0, 1)


def _blur(images, sigma):
    """Gaussian blur with a width for each image, (n,) in pixels up to 1.6 and 0 for none."""
    n, channels, height, width = images.shape
    if n == 0:
        return images
    steps = torch.arange(-4, 5)
    kernel = torch.exp(-steps.square() / (2 * sigma[:, None].clamp(min=1e-3).square()))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    flat = F.pad(images.reshape(1, n * channels, height, width), (4, 4, 4, 4), mode="reflect")
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=n * channels)
    return F.conv2d(flat, kernel[:, None, :, None], groups=n * channels).view_as(images)


def _surroundings(images, labels):
    """The colour of the surfaces about each pixel, and which surface that is."""
    surfaces = torch.stack([labels == i for i in range(len(rooms.SURFACES))], 1).float()
    plain = surfaces.sum(1, keepdim=True)
    small = F.avg_pool2d(torch.cat([images * plain, surfaces, plain], 1), 4)
    # Near surfaces count most; far ones only where there are no near ones
    wide = small.mean((2, 3), keepdim=True) * 1e-4 + sum(
        weight * F.avg_pool2d(small, size, 1, size // 2, count_include_pad=False)
        for size, weight in ((3, 1.0), (7, 0.03))
    )
    under = wide[:, 3:6].argmax(1).repeat_interleave(4, 1).repeat_interleave(4, 2)
    colour = wide[:, :3] / wide[:, 6:].clamp(min=1e-6)
    return F.interpolate(colour, scale_factor=4.0, mode="bilinear", align_corners=False), under


def _warp(images, labels, amount, generator):
    """Shifts pixels smoothly, by about `amount` (n,) pixels; labels go along."""
    n, size = len(images), rooms.SIZE
    if n == 0:
        return images, labels
    coarse, fine = (torch.randn(n, 2, k, k, generator=generator) for k in (5, 13))
    flow = 0.8 * F.interpolate(coarse, size=size, mode="bicubic", align_corners=True)
    flow += 0.3 * F.interpolate(fine, size=size, mode="bilinear", align_corners=True)
    base = F.affine_grid(torch.eye(2, 3).expand(n, 2, 3), [n, 1, size, size], align_corners=False)
    grid = base + (flow * _each(amount * 2 / size)).permute(0, 2, 3, 1)
    moved = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    shown = F.grid_sample(labels[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False)
    return moved, shown[:, 0].long()


def _scramble(images, generator):
    """Rooms without their structure: random phases for the first half, shuffled 8x8 blocks for the rest."""
    n, size = len(images), rooms.SIZE
    half = n // 2
    phase = torch.fft.rfft2(torch.randn(half, 1, size, size, generator=generator))
    spectrum = torch.fft.rfft2(images[:half])
    noise = torch.fft.irfft2(spectrum.abs() * phase / phase.abs().clamp(min=1e-6), s=(size, size))
    blocks = images[half:].view(-1, 3, 8, 8, 8, 8).transpose(3, 4).reshape(-1, 3, 64, 8, 8)
    order = torch.rand(n - half, 64, generator=generator).argsort(1)[:, None, :, None, None].expand_as(blocks)
    shuffled = blocks.gather(2, order).view(-1, 3, 8, 8, 8, 8).transpose(3, 4).reshape(-1, 3, size, size)
    return torch.cat([noise, shuffled])


# ---------------------------------------------------------------------------------------------- training it


def train(out=FOLDER, count=30_000, steps=4000, batch=32, seed=0, rate=3e-3, validation=2000, test=4000,
          calibration=5000, checkpoint_every=250, resume=False, device="auto", progress=True):  # fmt: skip
    """Trains an instrument on drawn rooms, tests it on others and writes it to folder `out`; returns it.

    count: rooms to learn from. validation: rooms that decide whether presence is read off the head, off the
    segmenter, or needs both. test: rooms that the card's scores are of, once as drawn and once damaged.
    calibration: rooms whose pairs fix what near-identical means. A checkpoint lies in `out` until the end; `resume`
    goes on from it, to the same result. Raises MeasureError if `resume` finds none.
    """
    out, device = Path(out), choose_device(device)
    out.mkdir(parents=True, exist_ok=True)
    learned = rooms.dataset(count, TRAINING, progress=progress)
    targets = _targets(learned)
    network = Network()
    random = stream(seed, "instrument")
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=random)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    network.to(device, memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.01)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=0.1)
    parts = {"network": network, "optimiser": optimiser, "plan": plan}
    step, seconds = _restore(out / "checkpoint.pt", parts) if resume else (0, 0.0)
    precision = _precision(network, device)
    began = time.perf_counter() - seconds
    bar = tqdm(total=steps, initial=step, unit="step", disable=not progress)
    while step < steps:
        random = stream(seed, f"batch {step}")
        chosen = torch.randint(count, (batch,), generator=random).sort().values.numpy()
        seen = damage(to_batch(learned.images[chosen]), torch.from_numpy(learned.labels[chosen]).long(), random)
        optimiser.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits, _, outputs = network(seen.images.to(device))
        losses = _losses(logits.float().cpu(), outputs.float().cpu(), seen, {k: v[chosen] for k, v in targets.items()})
        sum(losses.values()).backward()
        optimiser.step()
        plan.step()
        step += 1
        bar.set_postfix_str(" ".join(f"{name} {loss.item():.3f}" for name, loss in losses.items()), refresh=False)
        bar.update()
        if step % checkpoint_every == 0:
            state = {name: part.state_dict() for name, part in parts.items()}
            with atomic_write(out / "checkpoint.pt") as temporary:
                torch.save(state | {"step": step, "seconds": time.perf_counter() - began}, temporary)
    bar.close()
    seconds = time.perf_counter() - began

    stored = {
        name: (value.half() if value.ndim > 1 else value).contiguous().cpu()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    card = {"width": network.width, "presence": "head"}
    with atomic_write(out / "instrument.safetensors") as temporary:
        temporary.write_bytes(save(stored))
    network.cpu().load_state_dict({name: value.float() for name, value in stored.items()}, strict=False)
    instrument = Instrument(network, card)
    accuracies = {}
    judged = _damaged(rooms.dataset(validation, VALIDATION, progress=progress), seed)
    for way in ("head", "segmenter", "both"):
        instrument.card = card | {"presence": way}
        accuracies[way] = sum(
            part["accuracy"]["value"] for seen in judged for part in _judge(instrument, seen)["presence"].values()
        ) / (len(judged) * len(rooms.OBJECTS))
    instrument.card = card = card | {"presence": max(accuracies, key=accuracies.get)}
    tested = rooms.dataset(test, TEST, progress=progress)
    drawn, damaged = _damaged(tested, seed)
    features = instrument.features(rooms.dataset(calibration, HELD_OUT, progress=progress).images)
    card = {
        "name": "instruments",
        "data": {"name": "rooms", "version": rooms.VERSION, "images": count, "first_seed": TRAINING},
        "held_out": {"validation": [VALIDATION, validation], "test": [TEST, test]},
        "seed": seed,
        "steps": steps,
        "batch": batch,
        **card,
        "presence_chosen_by": {way: _round(value) for way, value in accuracies.items()},
        "visible": VISIBLE,
        "near_identical": _round(_pair_quantile(features, NEAR_PAIRS)),
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "training_seconds": round(seconds),
        "machine": machine_facts(device, precision),
        "command": _train_command(count, steps, batch, seed, rate),
        "scores": {
            "interval": "95 %",
            "rooms": _judge(instrument, drawn) | _judge_factors(instrument, tested),
            "damaged rooms": _judge(instrument, damaged),
        },
    }
    instrument.card = card
    with atomic_write(out / "card.json") as temporary:
        temporary.write_text(json.dumps(card, indent=1) + "\n")
    (out / "checkpoint.pt").unlink(missing_ok=True)
    return instrument


def _restore(path, parts):
    if not path.exists():
        raise MeasureError(f"there is no checkpoint in {path.parent}: leave out --resume")
    state = torch.load(path, map_location="cpu", weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return state["step"], state["seconds"]


def _precision(network, device):
    """bf16 where a forward pass in it is faster than in fp32."""
    seconds = {}
    images = torch.zeros(32, 3, rooms.SIZE, rooms.SIZE, device=device)
    network.eval()
    for precision in ("fp32", "bf16") * 3:
        start = time.perf_counter()
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            network(images)[2].sum().item()
        seconds[precision] = min(time.perf_counter() - start, seconds.get(precision, math.inf))
    network.train()
    return min(seconds, key=seconds.get)


def _train_command(count, steps, batch, seed, rate):
    given = {"rooms": count, "steps": steps, "batch": batch, "seed": seed, "rate": rate}
    defaults = {"rooms": 30_000, "steps": 4000, "batch": 32, "seed": 0, "rate": 3e-3}
    words = [f"--{name} {value}" for name, value in given.items() if value != defaults[name]]
    return " ".join(["python -m dcgan_book.measure train", *words])


def _targets(known):
    """The factors of rooms as the heads are to give them."""
    scalars = []
    for name in SCALARS:
        low, high = rooms.RANGES[name]
        scalars.append(2 * (known.factors[name] - low) / (high - low) - 1)
    angles = 2 * math.pi * np.stack([known.factors[name] for name in HUES], 1)
    targets = {"scalars": np.stack(scalars, 1), "hues": np.stack([np.cos(angles), np.sin(angles)], 2).reshape(-1, 4)}
    targets = {name: torch.from_numpy(values).float() for name, values in targets.items()}
    for name, options in CHOICES.items():
        targets[name] = torch.from_numpy(np.argmax(known.factors[name][:, None] == np.array(options), 1))
    return targets


def _losses(logits, outputs, seen, targets):
    """What the readings of damaged rooms cost, by name."""
    heads = _split(outputs)
    counted = ~seen.presence.isnan()
    surfaces = F.log_softmax(logits[~seen.known], 1)[:, : len(rooms.SURFACES)].logsumexp(1)
    losses = {
        "labels": F.cross_entropy(logits, seen.labels, ignore_index=UNKNOWN),
        "nothing": -surfaces.sum() / seen.labels.numel(),  # no object where there is no room
        "presence": F.binary_cross_entropy_with_logits(heads["presence"][counted], seen.presence[counted]),
        "factors": sum(
            F.smooth_l1_loss(heads[name][seen.known], targets[name][seen.known], beta=0.1)
            for name in ("scalars", "hues")
        ),
        "damage": 0.5 * F.smooth_l1_loss(heads["damage"], seen.amounts, beta=0.1),
    }
    choices = []
    for name in CHOICES:
        there = seen.known
        if name.endswith("_place"):
            i = rooms.OBJECTS.index(name.removesuffix("_place"))
            there = there & (seen.presence[:, i] == 1) & seen.own[:, i]
        each = F.cross_entropy(heads[name], targets[name], reduction="none")
        choices.append((each * there).sum() / there.sum().clamp(min=1))
    return losses | {"choices": 0.1 * sum(choices)}


def _damaged(known, seed, block=250):
    """Rooms as drawn, and damaged, as two `Damaged`."""
    kinds = []
    for untouched in (1.0, 0.0):
        parts = []
        for i in range(0, len(known), block):
            images, labels = known.images[i : i + block], known.labels[i : i + block].astype(np.int64)
            parts.append(damage(to_batch(images), torch.from_numpy(labels), stream(seed, f"test {i}"), untouched))
        fields = Damaged.__dataclass_fields__
        kinds.append(Damaged(**{name: torch.cat([getattr(part, name) for part in parts]) for name in fields}))
    return kinds


def _judge(instrument, seen):
    """Presence (share right; of those there, found; of those not there, passed over) and overlap, by object.

    Objects whose presence is left open are not counted. IoU is the mean over images that show the object.
    """
    reading = instrument.read(seen.images)
    presence, overlap = {}, {}
    for i, name in enumerate(rooms.OBJECTS):
        truth, said = seen.presence[:, i], reading.presence[name]
        sets = {"accuracy": ~truth.isnan(), "found": truth == 1, "passed_over": truth == 0}
        presence[name] = {
            what: _numbers(wilson(int((said == (truth == 1))[chosen].sum()), int(chosen.sum())))
            for what, chosen in sets.items()
            if chosen.any()
        }
        index = rooms.LABELS.index(name)
        overlap[name] = _numbers(bootstrap(intersection_over_union(reading.labels, seen.labels, index)[truth == 1]))
    return {"images": len(reading), "presence": presence, "iou": overlap}


def intersection_over_union(labels, truth, index):
    """Overlap of one label in each image: (n,) in [0, 1], 1 where neither has it; `UNKNOWN` pixels do not count."""
    counted = truth != UNKNOWN
    said, there = (labels == index) & counted, truth == index
    union = (said | there).sum((1, 2))
    return torch.where(union > 0, (said & there).sum((1, 2)) / union.clamp(min=1), 1.0)


def _judge_factors(instrument, known):
    """Mean absolute errors of scalars (as shares of their range) and hues (in turns), accuracy of choices."""
    found, errors = instrument.factors(known.images), {}
    for name in SCALARS:
        low, high = rooms.RANGES[name]
        errors[name] = _numbers(bootstrap((found[name] - torch.from_numpy(known.factors[name])).abs() / (high - low)))
    for name in HUES:
        away = (found[name] - torch.from_numpy(known.factors[name])).abs() % 1
        errors[name] = _numbers(bootstrap(torch.minimum(away, 1 - away)))
    right = {"night": wilson(int((found["night"].numpy() == (known.factors["daylight"] < DARK)).sum()), len(known))}
    for name in CHOICES:
        there = known.factors[name.removesuffix("_place")] if name.endswith("_place") else np.ones(len(known), bool)
        right[name] = wilson(int((found[name] == known.factors[name])[there].sum()), int(there.sum()))
    return {"error": errors, "right": {name: _numbers(estimate) for name, estimate in right.items()}}


def _pair_quantile(features, share):
    """The distance below which a share of all pairs lies."""
    distances = F.pdist(features).sort().values / math.sqrt(features.shape[1])
    return distances[int(share * len(distances))].item()


def main(arguments=None):
    """The command line; ends the process with 1 and one line where there is nothing to train or to score."""
    parser = argparse.ArgumentParser(prog="python -m dcgan_book.measure", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="train the instrument on drawn rooms, and test it")
    training.add_argument("--out", metavar="FOLDER", default=FOLDER, help="default: the package's weights")
    training.add_argument("--rooms", type=int, metavar="N", default=30_000, help="rooms to learn from (default: 30000)")
    training.add_argument("--steps", type=int, metavar="N", default=4000, help="default: 4000")
    training.add_argument("--batch", type=int, metavar="N", default=32, help="default: 32")
    training.add_argument("--seed", type=int, metavar="N", default=0, help="default: 0")
    training.add_argument("--rate", type=float, metavar="RATE", default=3e-3, help="default: 0.003")
    training.add_argument("--device", default="auto", help="auto (cuda, else mps, else cpu) or a device's name")
    training.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    scoring = commands.add_parser("score", help="write the scores of a generator of rooms into its card")
    scoring.add_argument("name", metavar="NAME", help="weights, or an exported folder")
    scoring.add_argument("--samples", type=int, metavar="N", default=5000, help="default: 5000")
    scoring.add_argument("--held-out", type=int, metavar="N", default=20_000, help="real rooms (default: 20000)")
    scoring.add_argument("--seed", type=int, metavar="N", default=0, help="default: 0")
    scoring.add_argument("--device", default="cpu", help="default: cpu")
    options = vars(parser.parse_args(arguments))
    try:
        if options.pop("command") == "train":
            instrument = train(count=options.pop("rooms"), **options)
            print(json.dumps(instrument.card["scores"], indent=1))
        else:
            found = score(options["name"], options["samples"], options["seed"], options["held_out"], options["device"])
            print(json.dumps(found, indent=1))
    except (MeasureError, ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
