"""What a step of training is: the recipe, the losses and the order of the images (paper, sections 3 and 4)."""

import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dcgan_book.latents import PRIORS, stream
from dcgan_book.models import SIZES

PRECISIONS = ("fp32", "bf16")
AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


class TrainingError(Exception):
    """What ends a training run, said in one line."""


@dataclass(frozen=True)
class TrainConfig:
    """The recipe of a run. The defaults are the paper's; 0 turns `ema` and the other remedies off.

    The fields are the flags of the command line, whose help says what each is. Raises TrainingError for a value that
    one cannot take.
    """

    data: str = "rooms"
    limit: int | None = None
    size: int = 64
    steps: int = 6000
    batch: int = 128
    seed: int = 0
    prior: str = "uniform"
    width: int = 64
    z_dim: int = 100
    kernel_size: int = 4
    lr_d: float = 2e-4
    lr_g: float = 2e-4
    beta1: float = 0.5
    instance_noise: float = 0.0
    noise_steps: int | None = None
    label_smoothing: float = 0.0
    r1: float = 0.0
    r1_every: int = 8
    relativistic: bool = False
    decay_from: float = 1.0
    ema: float = 0.0
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    sheet_every: int = 500
    checkpoint_every: int = 250
    watch_every: int = 250
    keep_best: bool = False

    def __post_init__(self):
        if self.prior not in PRIORS:
            raise TrainingError(f"prior is {self.prior!r}; it is one of {', '.join(PRIORS)}")
        if self.kernel_size not in (4, 5):
            raise TrainingError(f"kernel_size is {self.kernel_size}; it is 4 or 5")
        if self.size not in SIZES:
            raise TrainingError(f"size is {self.size}; it is one of {', '.join(map(str, SIZES))}")
        if self.precision not in ("auto", *PRECISIONS):
            raise TrainingError(
                f"precision is {self.precision!r}; it is one of auto, {', '.join(PRECISIONS)}"
            )
        for name in ("steps", "batch", "width", "z_dim", "sheet_every", "checkpoint_every", "limit", "threads",
                     "noise_steps", "r1_every"):  # fmt: skip
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise TrainingError(f"{name} is {getattr(self, name)}; it is at least 1")
        if self.watch_every < 0:
            raise TrainingError(f"watch_every is {self.watch_every}; it is at least 0, for never")
        if self.keep_best and not self.watch_every:
            raise TrainingError("keep_best needs distances: watch_every is at least 1 with it")
        for name in ("beta1", "ema", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise TrainingError(
                    f"{name} is {getattr(self, name)}; it is at least 0 and under 1"
                )
        for name in ("lr_d", "lr_g", "instance_noise", "r1"):
            if not 0 <= getattr(self, name) < math.inf:
                raise TrainingError(f"{name} is {getattr(self, name)}; it is a number from 0 up")
        if not 0 <= self.decay_from <= 1:
            raise TrainingError(
                f"decay_from is {self.decay_from}; it is a share of the steps, from 0 to 1"
            )


# What a resumed run may change: how long, where and how often, never the recipe.
CHANGEABLE = {
    "steps",
    "device",
    "precision",
    "threads",
    "sheet_every",
    "checkpoint_every",
    "watch_every",
    "keep_best",
}


def _tracked(function: AnyFunction) -> AnyFunction:
    """`function` with gradients wherever it is called from, and for images that were made under inference_mode."""

    def plain(value):
        made_there = isinstance(value, torch.Tensor) and value.is_inference()
        return value.clone() if made_there else value

    @functools.wraps(function)
    def tracked(*given, **named):
        with torch.inference_mode(False), torch.enable_grad():
            return function(*map(plain, given), **{name: plain(named[name]) for name in named})

    return cast(AnyFunction, tracked)


@_tracked
def gan_step(
    generator: nn.Module,
    discriminator: nn.Module,
    optimiser_g: torch.optim.Optimizer,
    optimiser_d: torch.optim.Optimizer,
    real: torch.Tensor,
    z: torch.Tensor,
    smoothing: float = 0.0,
    see: Callable[[torch.Tensor], torch.Tensor] = lambda images: images,
    r1: float = 0.0,
    relativistic: bool = False,
) -> dict[str, torch.Tensor]:
    """One step of D and one of G on a batch (paper, section 4; non-saturating loss).

    Arguments: `real` (n, 3, size, size) in [-1, 1]; `z` (n, z_dim); `smoothing` is taken off the label of real
    images; `see` is applied to every image before D sees it; `r1` weighs `gradient_penalty` in D's loss;
    `relativistic` lets D judge pairs, a real image against a generated one, instead of single images
    (Jolicoeur-Martineau 2018, arXiv 1807.00734). Returns four 0-d tensors in a dict: `d_loss` (without the penalty),
    `g_loss`, and the means of D(x) and D(G(z)) before the step, `d_real` and `d_fake`.
    """
    fake = generator(z)

    # D: real images are to get the label 1, generated ones 0. Nothing flows back into G.
    optimiser_d.zero_grad()
    on_real = discriminator(see(real))
    on_fake = discriminator(see(fake.detach()))
    if relativistic:
        d_loss = cross_entropy(on_real - on_fake, 1 - smoothing)
    else:
        d_loss = cross_entropy(on_real, 1 - smoothing) + cross_entropy(on_fake, 0)
    (d_loss + r1 * gradient_penalty(discriminator, real) if r1 else d_loss).backward()
    optimiser_d.step()

    # G: D is to give its images the label 1. D's weights stand still and need no gradient.
    discriminator.requires_grad_(False)
    optimiser_g.zero_grad()
    judged = discriminator(see(fake))
    if relativistic:
        judged = judged - discriminator(see(real)).detach()
    g_loss = cross_entropy(judged, 1)
    g_loss.backward()
    optimiser_g.step()
    discriminator.requires_grad_(True)

    return {
        "d_loss": d_loss.detach(),
        "g_loss": g_loss.detach(),
        "d_real": on_real.detach().sigmoid().mean(),
        "d_fake": on_fake.detach().sigmoid().mean(),
    }


@_tracked
def gradient_penalty(discriminator: nn.Module, real: torch.Tensor) -> torch.Tensor:
    """Half the mean squared length of D's gradient at real images, a 0-d tensor: R1 (Mescheder 2018, arXiv 1801.04406).

    It keeps D flat where the data are, so that D cannot win. Computed in fp32: squares of small gradients.
    """
    with torch.autocast(real.device.type, enabled=False):
        images = real.detach().float().requires_grad_()
        (gradient,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean() / 2


def cross_entropy(logits: torch.Tensor, label: float) -> torch.Tensor:
    """Binary cross-entropy of `logits` (n,) against one label for all, a number from 0 to 1; 0-d tensor."""
    logits = logits.float()
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def adam(module: nn.Module, lr: float, beta1: float = 0.5) -> torch.optim.Adam:
    """The paper's optimiser (section 4: lr 0.0002, beta1 0.5)."""
    return torch.optim.Adam(module.parameters(), lr=lr, betas=(beta1, 0.999), fused=True)


def batch_indices(count: int, batch: int, step: int, seed: int) -> np.ndarray:
    """Which of `count` images make up the batch of `step`: an array of `batch` indices.

    Epoch after epoch is a new permutation that follows from `seed`; batches run over their borders.
    """
    first, end = step * batch, (step + 1) * batch
    parts = []
    for epoch in range(first // count, (end - 1) // count + 1):
        parts.append(
            _order(count, epoch, seed)[max(first - epoch * count, 0) : end - epoch * count]
        )
    return np.concatenate(parts)


# of three million images it takes a tenth of a second, and a batch needs one or two
@functools.lru_cache(maxsize=2)
def _order(count, epoch, seed):
    return torch.randperm(
        count, dtype=torch.int32, generator=stream(seed, f"order {epoch}")
    ).numpy()


def set_rates(optimisers: Iterable[torch.optim.Optimizer], config: TrainConfig, step: int) -> None:
    """Both learning rates at a step: as configured, from `decay_from` on falling in a straight line to nothing."""
    first = config.decay_from * config.steps
    left = 1.0 if step <= first else (config.steps - step) / (config.steps - first)
    for optimiser, rate in zip(optimisers, (config.lr_g, config.lr_d), strict=True):
        for group in optimiser.param_groups:
            group["lr"] = rate * left


def noise_level(config: TrainConfig, step: int) -> float:
    """Instance noise at a step: the same always, or falling in a straight line to nothing at `noise_steps`."""
    left = 1 - step / config.noise_steps if config.noise_steps else 1
    return config.instance_noise * max(left, 0)


def noisy(sigma: float, generator: torch.Generator) -> Callable[[torch.Tensor], torch.Tensor]:
    """What D sees of an image when instance noise is on (Sonderby 2016, arXiv 1610.04490)."""
    if not sigma:
        return lambda images: images
    return lambda images: (
        images + sigma * torch.randn(images.shape, generator=generator, device=images.device)
    )
