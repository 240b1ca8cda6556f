"""The collapse alarm: whether samples are as various as the data, and how far from them, in 8x8 pixels.

A DCGAN may be good for hours and then draw one picture over and over, while its losses look like before. So every
`watch_every` steps some samples are scaled down to 8x8 pixels and taken, like the data, as a normal distribution: its
spread and its Frechet distance to the data's need no other network and little time. The numbers are small for good samples,
and compare one moment of a run with another, not one set of data with another.
"""

import copy
import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dcgan_book.latents import draw_z, stream, to_batch
from dcgan_book.training.machine import computing
from dcgan_book.training.recipe import TrainConfig, TrainingError

SIDE = 8  # pixels a side
SAMPLES = 1024  # at most, and at most so many for each image of a batch: the share of a run's time stays under 2 %
SAMPLES_PER_IMAGE = 16
DATA = 2048  # images at most that the data are measured by
NARROW = (
    0.5  # share of the data's spread below which samples have collapsed, once they were above ...
)
PATIENCE = 8  # ... or after so many looks
WORSE = 3.0  # times the best distance, from which on they have, too
TWICE = 2  # looks in a row that must say so: a single one may be a bad moment
GOOD = 1.5  # times the best distance, up to which they have not


class Moments(NamedTuple):
    """Mean (d,) and covariance (d, d) of thumbnails, in double precision."""

    mean: torch.Tensor
    covariance: torch.Tensor


def thumbnails(images: torch.Tensor) -> torch.Tensor:
    """(n, channels, side, side) in [-1, 1] -> (n, channels * 64): 8x8 pixels."""
    return F.adaptive_avg_pool2d(images.float(), SIDE).flatten(1)


def moments(points: torch.Tensor) -> Moments:
    """Mean and covariance of points (n, d)."""
    points = points.double()
    return Moments(points.mean(0), points.T.cov(correction=min(len(points) - 1, 1)))


def spread(samples: Moments, data: Moments) -> float:
    """How far samples are from each other, by root mean square, against images of the data: 0 for equal ones, 1 for as far."""
    widths = [float(each.covariance.trace()) for each in (samples, data)]
    return math.sqrt(widths[0] / max(widths[1], 1e-9))  # copies of one image have no width


def frechet(first: Moments, second: Moments) -> float:
    """Squared Frechet distance of two normal distributions, from 0 up; see `measure.frechet`."""
    values, vectors = torch.linalg.eigh(first.covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    product = torch.linalg.eigvalsh(root @ second.covariance @ root).clamp(min=0).sqrt().sum()
    apart = (first.mean - second.mean).square().sum()
    traces = first.covariance.trace() + second.covariance.trace()
    return max(float(apart + traces - 2 * product), 0.0)


class Alarm:
    """Watches a run; it draws from a random stream of its own and changes no network.

    images: uint8 (n, size, size, 3), the data. log: records of the run so far, from which it goes on.
    `best`: the smallest distance so far and its step, or None. `good`: the last step that was not collapsed.
    """

    def __init__(self, images: np.ndarray, config: TrainConfig, log: list[dict]):
        self.config = config
        some = images[:: -(-len(images) // DATA)]
        parts = [some[i : i + 64] for i in range(0, len(some), 64)]
        self.data = moments(torch.cat([thumbnails(to_batch(np.asarray(part))) for part in parts]))
        count = min(SAMPLES, SAMPLES_PER_IMAGE * config.batch)
        self.z = draw_z(count, config.z_dim, config.prior, stream(config.seed, "alarm"))
        self.best: tuple[float, int] | None = None
        self.good = self.looks = self.bad = 0
        self.wide = False
        for record in log:
            if "distance" in record:
                self.judge(record["step"], record["spread"], record["distance"])

    def measure(
        self, generator: nn.Module, device: torch.device, precision: str
    ) -> tuple[float, float]:
        """Spread and distance of samples of a generator, whose BatchNorm takes each batch as it is.

        Raises TrainingError for samples that are no numbers.
        """
        sampler = copy.deepcopy(generator).train()
        with torch.no_grad(), computing(precision, device):
            parts = self.z.split(max(self.config.batch, 2))
            points = torch.cat([thumbnails(sampler(z.to(device))) for z in parts]).cpu()
        if not points.isfinite().all():
            raise TrainingError("the samples are no numbers")
        samples = moments(points)
        return round(spread(samples, self.data), 4), round(frechet(samples, self.data), 4)

    def judge(self, step: int, spread: float, distance: float) -> str | None:
        """What is wrong with samples of such a spread and distance, the first time that it is, or None."""
        if self.best is None or distance < self.best[0]:
            self.best = distance, step
        self.looks += 1
        narrow = spread < NARROW and (self.wide or self.looks > PATIENCE)
        self.wide = self.wide or spread >= NARROW
        self.bad = self.bad + 1 if narrow or distance > WORSE * self.best[0] else 0
        if not narrow and distance <= GOOD * self.best[0]:
            self.good = step
        if self.bad != TWICE:
            return None
        return (
            f"step {step}: samples have collapsed (spread {spread:.2f} of the data's, distance {distance:.2f}; "
            f"the best was {self.best[0]:.2f} at step {self.best[1]})"
        )
