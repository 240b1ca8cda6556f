"""The instruments: what they see in an image, how sure a number is, how far samples are from real ones.

Nobody can ask a generator what it drew, so a network looks instead: it says which objects are in an image, which
pixels they cover and which factors the room or face has, and gives features in which images can be compared. Each
has learned from one drawn world alone, damaged as a generator damages it, and never from a generated image; what it
gets wrong on drawings it has not seen stands in its card. The statistics below turn its readings into numbers with
intervals (paper, opening of section 6: how such models should and should not be judged).

`segmenter.py` is the network, `instruments.py` trains it, and `python -m dcgan_book.measure NAME` writes a generator's
scores to its card.
"""

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file

from dcgan_book import faces, pretrained, rooms
from dcgan_book.cache import atomic_write
from dcgan_book.models import Generator, initialise
from dcgan_book.segmenter import DAMAGE, FACES, SCHEMAS, Network
from dcgan_book.training import draw_z, recalibrate, stream, to_batch

FOLDER = pretrained.WEIGHTS / "instruments"
FOLDERS = {"rooms": FOLDER, "faces": pretrained.WEIGHTS / "instruments-faces"}
VISIBLE = 8  # pixels from which on an object counts as present; every object of a drawn room shows that many
BATCH = 250  # images read at a time
HELD_OUT = 3_000_000  # seed of the real rooms that generators, trained on 0 to 59,999, are compared with
DARK = 0.33  # daylight below which it is night: the middle of the gap that rooms leave
COPIES = 0.05  # share of samples that may be copies before a generator is said to memorise


class MeasureError(ValueError):
    """There is nothing to measure, or nothing to measure it with; the message is one line."""


# ------------------------------------------------------------------------------------------ the instrument


@dataclass(frozen=True)
class Reading:
    """What the instrument sees in n images, on the CPU.

    probability, presence: object name to float or bool (n,). labels: uint8 (n, 64, 64), indices into `names`, the
    world's `LABELS`. features: (n, 128). factors: name to (n,), see `Instrument.factors`.
    """

    probability: dict
    presence: dict
    labels: torch.Tensor
    features: torch.Tensor
    factors: dict
    names: tuple = rooms.LABELS

    def __len__(self):
        return len(self.features)

    def mask(self, name):
        """Pixels of one object: bool (n, 64, 64)."""
        return self.labels == self.names.index(name)


class Instrument:
    """Reads images; made by `load`.

    Every method takes images (n, 3, 64, 64) in [-1, 1], or uint8 (n, 64, 64, 3) as a world's `dataset` gives them,
    and answers on the CPU without gradients. For gradients use `.network`, in eval mode, itself.
    """

    def __init__(self, network, card, device="cpu"):
        self.network, self.card, self.device = network.eval().requires_grad_(False).to(device), card, device
        self.schema = network.schema

    def read(self, images):
        """Everything at once: a `Reading`."""
        logits, features, outputs = self._run(images, lambda maps: (
            self.network.decode(maps).argmax(1).byte(), *self.network.describe(maps)))  # fmt: skip
        probability = self._probability(logits, outputs)
        presence = {name: value > 0.5 for name, value in probability.items()}
        names = self.schema.world.LABELS
        return Reading(probability, presence, logits, features, self._factors(outputs), names)

    def presence(self, images):
        """Which objects are there: name in the world's `OBJECTS` to bool (n,); of faces also "face", whether it is one."""
        return self.read(images).presence

    def features(self, images):
        """Where images lie among those of the world: (n, 128), each feature with about mean 0 and variance 1."""
        return self._run(images, self.network.describe)[0]

    def factors(self, images):
        """The factors of the images: name to (n,), in the units and with the names of the world's `FACTORS`.

        Choices are arrays of str and say something only where their object is present. Added are, of rooms, `night`
        (bool) and the damage that the image seems to have: `blur` (pixels), `ringing`, `noise` (of [-1, 1]), `warp`
        (pixels), 0 for a drawn one.
        """
        return self._factors(self._run(images, self.network.describe)[1])

    def _factors(self, outputs):
        heads, factors = self.schema.split(outputs.float()), {}
        for name, value in zip(self.schema.scalars, heads["scalars"].unbind(1), strict=True):
            low, high = self.schema.world.RANGES[name]
            factors[name] = (low + (high - low) * (value + 1) / 2).clamp(low, high)
        for name, (x, y) in zip(self.schema.hues, heads["hues"].unflatten(1, (-1, 2)).permute(1, 2, 0), strict=True):
            factors[name] = (torch.atan2(y, x) / (2 * math.pi)) % 1.0
        for name, options in self.schema.choices.items():
            factors[name] = np.array(options)[heads[name].argmax(1).numpy()]
        for (name, most), value in zip(DAMAGE.items(), heads["damage"].unbind(1), strict=True):
            factors[name] = (value * most).clamp(0, most)
        if "daylight" in factors:
            factors["night"] = factors["daylight"] < DARK
        return factors

    def _probability(self, labels, outputs):
        counts = count_pixels(labels, self.schema.world)
        head = self.schema.split(outputs)["presence"].float().sigmoid()
        seen = counts / (counts + VISIBLE - 0.5)  # above 1/2 from `VISIBLE` pixels on
        values = {"head": head, "segmenter": torch.cat([seen, head[:, counts.shape[1] :]], 1)}
        values["both"] = torch.minimum(*values.values())
        return dict(zip(self.schema.things, values[self.card["presence"]].unbind(1), strict=True))

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
    """The shipped instrument, or the one that was trained into `folder`. Raises MeasureError if there is none.

    folder: also the name of a world, "rooms" (the default) or "faces", for the one that is shipped.
    """
    folder = Path(FOLDERS.get(folder, folder))
    if not (folder / "card.json").exists():
        raise MeasureError(f"there is no instrument in {folder}: python -m dcgan_book.instruments makes one")
    card = json.loads((folder / "card.json").read_text())
    network = Network(card["width"], SCHEMAS[card["data"]["name"]])
    network.load_state_dict(
        {name: value.float() for name, value in load_file(folder / "instrument.safetensors").items()}, strict=False
    )
    return Instrument(network, card, device)


def as_images(images):
    """uint8 (n, 64, 64, 3) to float (n, 3, 64, 64) in [-1, 1]; what is such already stays."""
    return images if isinstance(images, torch.Tensor) else to_batch(np.asarray(images))


def count_pixels(labels, world=rooms):
    """Pixels that each object has in labels (n, 64, 64): (n, objects), in the order of the world's `OBJECTS`."""
    first = len(world.SURFACES)
    return torch.stack([(labels == first + i).sum((1, 2)) for i in range(len(world.OBJECTS))], 1)


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
    return Estimate(share, min(max(middle - half, 0.0), share), max(min(middle + half, 1.0), share))  # rounding


def bootstrap(values, level=0.95, resamples=2000, generator=None):
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
            values[torch.randint(len(values), (min(100, resamples - i), len(values)), generator=random)].mean(1)
            for i in range(0, resamples, 100)
        ]
    )
    low, high = means.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)).tolist()
    mean = values.mean().item()
    return Estimate(mean, min(low, mean), max(high, mean))  # of equal values rounding could leave it outside


def correlation(first, second, level=0.95):
    """Pearson's correlation of two sets of numbers, (n,) each, with Fisher's interval (Fisher 1921). An Estimate.

    It is 0 where all numbers of a set are the same. Raises ValueError for fewer than four pairs.
    """
    pair = torch.stack([torch.as_tensor(first).double(), torch.as_tensor(second).double()])
    if pair.shape[1] < 4:
        raise ValueError(f"{pair.shape[1]} pairs: Fisher's interval of a correlation needs four")
    value = pair.corrcoef()[0, 1].nan_to_num(0).clamp(-1, 1)
    half = _normal(level) / math.sqrt(pair.shape[1] - 3)
    return Estimate(value.item(), *((value.atanh() + way * half).tanh().item() for way in (-1, 1)))


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
    """

    generated: torch.Tensor
    real: torch.Tensor
    nearer: Estimate
    copies: Estimate

    @property
    def memorised(self):
        """Whether even the low end of `copies` is above `COPIES`."""
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
           progress=True, world="rooms"):  # fmt: skip
    """All that a model card says of a generator of rooms or faces, as a dict for JSON.

    generator: in eval mode. training: the images it was trained on, uint8 (N, 64, 64, 3). n: samples. held_out:
    real images that it was not trained on, at least 2 n. world: what it was trained on, unless `instrument` says.
    Pixels are compared for the first 1,000 samples only. Distances have beside them the same number for real images
    and for an untrained generator. Takes some minutes on a core, most of it for the features of the real images.
    Raises ValueError for too few held-out ones.
    """
    if held_out < 2 * n:
        raise ValueError(f"held_out {held_out}: {n} samples need two sets of as many real images, {2 * n}")
    instrument = instrument or load(world, device)
    real = instrument.schema.world.dataset(held_out, HELD_OUT, progress=progress)
    threshold = instrument.card["near_identical"]
    images = sample(generator, n, prior, seed, device)
    reading = instrument.read(images)
    floor, other = (instrument.features(real.images[i * n : (i + 1) * n]) for i in range(2))
    blank = initialise(Generator(generator.width, generator.z_dim, generator.kernel_size), stream(seed, "untrained"))
    recalibrate(blank, prior, 1024, seed).to(device)
    nothing = instrument.features(sample(blank, n, prior, seed, device))
    spread, spread_real = diversity(reading.features, threshold), diversity(other, threshold)
    copied = {
        by: memorisation(images[:most], training, real.images, by, instrument)
        for by, most in (("features", n), ("pixels", 1000))
    }
    return {
        "samples": n,
        "seed": seed,
        "interval": "95 %",
        **(_content_of_faces(reading) if instrument.schema is FACES else _content_of_rooms(reading)),
        "frechet": numbers(frechet_interval(reading.features, other))
        | {
            "space": "instrument's features, not FID",
            "floor": numbers(frechet_interval(floor, other)),
            "untrained": numbers(frechet_interval(nothing, other)),
        },
        "diversity": {
            "pair_distance": numbers(spread.distance) | {"real": numbers(spread_real.distance)},
            "near_identical": numbers(spread.near_identical)
            | {"below": threshold, "real": numbers(spread_real.near_identical)},
        },
        "memorisation": {
            by: {
                "samples": len(test.generated),
                "training": len(training),
                "held_out": held_out,
                "copies": numbers(test.copies),
                "nearer_than_real": numbers(test.nearer),
                "median_distance": rounded(test.generated.median().item()),
                "median_distance_real": rounded(test.real.median().item()),
                "memorised": test.memorised,
            }
            for by, test in copied.items()
        },
    }


def _content_of_rooms(reading):
    """Rates of objects, alone and together, beside the world's."""
    world = world_co_occurrence()
    pairs = co_occurrence(reading.presence)
    worst = (pairs - world).abs().triu(1).argmax().item()
    first, second = (rooms.OBJECTS[i] for i in divmod(worst, len(rooms.OBJECTS)))
    together = int((reading.presence[first] & reading.presence[second]).sum())
    return {
        "objects": {
            name: numbers(rate) | {"world": round(world.diagonal()[i].item(), 5)}
            for i, (name, rate) in enumerate(rates(reading.presence).items())
        },
        "night": numbers(wilson(int(reading.factors["night"].sum()), len(reading))) | {"world": rooms.NIGHT},
        "together": {
            "mean_difference": rounded((pairs - world).abs()[tuple(torch.triu_indices(*world.shape, 1))].mean().item()),
            "largest": {"pair": [first, second]}
            | numbers(wilson(together, len(reading)))
            | {"world": rounded(world.flatten()[worst].item())},
        },
    }


def _content_of_faces(reading):
    """Rates of what can be named, and how widely what is continuous varies, beside the world's."""
    kinds = faces.RATES["presentation"]
    hair = {
        style: sum(kinds[kind] * faces.HAIR_RATES[kind][style] for kind in kinds) for style in faces.HAIR_RATES["man"]
    }
    known = {"glasses": faces.GLASSES, "beard": faces.BEARD * kinds["man"], "face": 1.0}
    found = {name: (reading.presence[name], {True: rate}) for name, rate in known.items()}
    for name, expected in (faces.RATES | {"hair_style": hair}).items():
        owner = FACES.owners.get(name)
        counted = reading.presence[owner].numpy() if owner else slice(None)
        found[name] = reading.factors[name][counted], expected
    content = {}
    for name, (values, expected) in found.items():
        shares = {
            option: numbers(wilson(int((values == option).sum()), len(values))) | {"world": rounded(rate)}
            for option, rate in expected.items()
        }
        content[name] = shares[True] if True in shares else shares
    spreads = {}
    for name in FACES.scalars:
        low, high = faces.RANGES[name]
        spreads[name] = {
            "mean": rounded(reading.factors[name].mean().item()),
            "deviation": rounded(reading.factors[name].std().item()),
            "world": rounded((high - low) / math.sqrt(12)),
        }
    return {"rates": content, "spreads": spreads}


def scores_of(trained, n=250):
    """The scores on the card of `trained`, a `pretrained.Pretrained`; of weights without them quick ones, of n samples.

    Then 2 n drawn images stand for those it was trained on: they are, if it learned from a drawn world.
    """
    if "scores" in trained.card:
        return trained.card["scores"]
    world = trained.card["data"]["name"]
    world = world if world in SCHEMAS else "rooms"
    training = SCHEMAS[world].world.dataset(2 * n, progress=False).images
    return scores(trained.generator, training, trained.card["prior"], n, held_out=2 * n, progress=False, world=world)


def numbers(estimate):
    """An Estimate for JSON."""
    return {name: rounded(value) for name, value in estimate._asdict().items()}


def rounded(value):
    """To five figures, as more are noise."""
    return float(f"{value:.5g}")


def score(name, n=5000, seed=0, held_out=20_000, device="cpu", progress=True):
    """Writes `scores` of the weights called `name`, or in the folder of that path, into their card; returns them.

    Raises MeasureError if they were not trained on a drawn world or have no card of their own.
    """
    model = pretrained.load(name, device)
    card = next((f / "card.json" for f in (pretrained.WEIGHTS / name, Path(name)) if (f / "card.json").exists()), None)
    if card is None:
        raise MeasureError(f"{name} is a run and has no card: export it first, python -m dcgan_book.pretrained export")
    data = model.card["data"]
    if data["name"] not in SCHEMAS:
        raise MeasureError(f"{name} was trained on {data['name']}: only rooms and faces can be scored")
    training = SCHEMAS[data["name"]].world.dataset(data["images"], progress=progress).images
    found = scores(model.generator, training, model.card["prior"], n, seed, held_out, device=device,
                   progress=progress, world=data["name"])  # fmt: skip
    command = f"python -m dcgan_book.measure {Path(name).name}"
    with atomic_write(card) as temporary:
        temporary.write_text(json.dumps(model.card | {"scores": {"command": command} | found}, indent=1) + "\n")
    return found


def main(arguments=None):
    """The command line; ends the process with 1 and one line where there is nothing to score."""
    parser = argparse.ArgumentParser(
        prog="python -m dcgan_book.measure", description="Write the scores of a generator of a drawn world into its card."
    )
    parser.add_argument("name", metavar="NAME", help="weights, or an exported folder")
    parser.add_argument("--samples", type=int, metavar="N", default=5000, help="default: 5000")
    parser.add_argument("--held-out", type=int, metavar="N", default=20_000, help="real images (default: 20000)")
    parser.add_argument("--seed", type=int, metavar="N", default=0, help="default: 0")
    parser.add_argument("--device", default="cpu", help="default: cpu")
    options = parser.parse_args(arguments)
    try:
        found = score(options.name, options.samples, options.seed, options.held_out, options.device)
        print(json.dumps(found, indent=1))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
