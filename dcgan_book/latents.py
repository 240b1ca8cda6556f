"""Latents, and what every experiment starts with: draws from a prior, random streams, BatchNorm statistics (paper, section 4)."""

import hashlib
import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

PRIORS = ("uniform", "normal")


def draw_z(
    n: int, z_dim: int = 100, prior: str = "uniform", generator: torch.Generator | None = None
) -> torch.Tensor:
    """Draws n latents, shape (n, z_dim), from U(-1, 1) (the paper's) or N(0, 1) (PyTorch's tutorials).

    The first n of a larger draw equal a draw of n from the same `generator` state. Raises ValueError for another prior.
    """
    _known(prior)
    if prior == "uniform":
        return torch.rand(n, z_dim, generator=generator) * 2 - 1
    whole = -(-n * z_dim // 16) * 16  # torch.randn makes 16 at a time and redoes an incomplete end
    return torch.randn(whole, generator=generator)[: n * z_dim].view(n, z_dim)


def _known(prior):
    if prior not in PRIORS:
        raise ValueError(f"prior is {prior!r}; it is one of {', '.join(PRIORS)}")


def as_latents(z: torch.Tensor) -> torch.Tensor:
    """z as (..., z_dim), also where it is (..., z_dim, 1, 1), as PyTorch's tutorial has it."""
    return z[..., 0, 0] if z.ndim > 2 and z.shape[-2:] == (1, 1) else z


def to_batch(images: np.ndarray) -> torch.Tensor:
    """uint8 (n, h, w, 3) as an array -> float (n, 3, h, w) in [-1, 1] (paper, section 4), channels last."""
    return torch.from_numpy(images.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)


def stream(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch.Generator of its own for each purpose of a run, so that none disturbs another."""
    digest = hashlib.sha256(f"{seed} {purpose}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))


def recalibrate(
    generator: nn.Module, prior: str = "uniform", count: int = 4096, seed: int = 0, batch: int = 128
) -> nn.Module:
    """Sets the BatchNorm statistics of a generator to the means over `count` z's, and its mode to eval.

    An average of weights has never seen a batch, and running averages lag behind live weights.
    Returns `generator`, changed in place. Raises ValueError, and changes nothing, for another prior.
    """
    _known(prior)
    device = next(generator.parameters()).device
    z_dim: int = generator.z_dim  # type: ignore[assignment]
    random = stream(seed, "recalibration")
    batches = (
        draw_z(batch, z_dim, prior, random).to(device) for _ in range(math.ceil(count / batch))
    )
    return recalibrate_on(generator, batches)


def recalibrate_on(network: nn.Module, batches: Iterable[torch.Tensor]) -> nn.Module:
    """Sets the BatchNorm statistics of a network to the means over batches of its inputs, and its mode to eval.

    A discriminator saw real and generated images in batches of their own: which of them the statistics are to be of, its
    running averages leave open. Returns `network`, changed in place.
    """
    norms = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    network.train()
    with torch.no_grad():
        for batch in batches:
            network(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return network.eval()
