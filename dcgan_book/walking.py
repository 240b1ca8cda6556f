"""Walks through the latent space: lines, arcs, chains, sweeps, directions that change most, and the z of a picture.

For chapter 2 (paper, section 6.1). The walks are functions of tensors alone; their points lie along the second
last dimension, and leading dimensions are so many walks at once. Latents to walk between come from
`draw_z`; those of the shape (..., z_dim, 1, 1), as in PyTorch's tutorial, will do too.
"""

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from dcgan_book.latents import as_latents
from dcgan_book.models import Discriminator


def line(start, end, steps):
    """Points on the straight line between two latents (paper, section 6.1), evenly spaced.

    Arguments: `start` and `end`, (..., z_dim); `steps`, how many points, both ends among them. Returns
    (..., steps, z_dim), whose first and last are the bits of `start` and `end`. Raises ValueError under 2 steps.

    >>> line(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 2.0]), 3).tolist()
    [[0.0, 0.0], [0.5, 1.0], [1.0, 2.0]]
    """
    return _line(as_latents(start), as_latents(end), steps)


def _line(start, end, steps):
    if steps < 2:
        raise ValueError(f"a walk of {steps} steps has no two ends; give 2 or more")
    weight = torch.linspace(0, 1, steps, dtype=start.dtype, device=start.device)[:, None]
    return torch.lerp(start[..., None, :], end[..., None, :], weight)


def arc(start, end, steps):
    """Points on the arc between two latents: the direction turns at an even pace, the norm grows evenly.

    For latents of one norm this is spherical interpolation (slerp: Shoemake 1985), which keeps that norm. For
    parallel ones it is the line. Opposite ones have no shortest arc; the one that we take then is arbitrary, but
    always the same. Arguments, result and errors are those of `line`; a latent of norm 0 raises ValueError.
    """
    start, end = as_latents(start), as_latents(end)
    points = _line(start, end, steps)
    # mps has no double
    first, last = (point.cpu().double() for point in torch.broadcast_tensors(start, end))
    lengths = [point.norm(dim=-1, keepdim=True) for point in (first, last)]
    if any((length == 0).any() for length in lengths):
        raise ValueError(
            "an arc between latents needs their directions, and the one with norm 0 has none"
        )
    first, last = first / lengths[0], last / lengths[1]
    # exact near 0 and pi too
    angle = 2 * torch.atan2((first - last).norm(dim=-1), (first + last).norm(dim=-1))
    side = last - (first * last).sum(-1, keepdim=True) * first
    side = torch.where(side.norm(dim=-1, keepdim=True) > 1e-9, side, _axis_apart(first))
    for _ in range(2):  # once is not enough where `side` was a small difference
        side = F.normalize(side - (first * side).sum(-1, keepdim=True) * first, dim=-1)
    weight = torch.linspace(0, 1, steps, dtype=torch.float64)
    turn = (angle[..., None] * weight)[..., None]
    direction = turn.cos() * first[..., None, :] + turn.sin() * side[..., None, :]
    points[..., 1:-1, :] = (_line(*lengths, steps) * direction)[..., 1:-1, :].to(points)
    return points


def chain(points, steps, between=line, closed=False):
    """A walk through several latents: the paper's figure is nine points, with ten steps to the next.

    Arguments: `points`, (..., k, z_dim); `steps` from each point to the next; `between`, line or arc; `closed`,
    whether it goes on to the first point again. Returns (..., (k - 1) * steps + 1, z_dim), or if closed
    (..., k * steps, z_dim), a film that runs on without a doubled frame. Point i is entry i * steps, bit for bit.
    Raises ValueError for fewer than two points.
    """
    points = as_latents(points)
    if points.shape[-2] < 2:
        raise ValueError(f"a walk through {points.shape[-2]} points leads nowhere; give 2 or more")
    after = points.roll(-1, -2)
    legs = between(points, after, steps + 1)[..., :-1, :].flatten(-3, -2)
    return legs if closed else legs[..., : (points.shape[-2] - 1) * steps + 1, :]


def sweep(z, coordinate, values):
    """One coordinate of a latent takes each of `values`, all others stand still.

    Arguments: `z`, (..., z_dim); `coordinate`, its index; `values`, a sequence of numbers. Returns
    (..., values, z_dim).
    """
    z = as_latents(z)
    values = torch.as_tensor(values, dtype=z.dtype, device=z.device)
    points = z[..., None, :].repeat_interleave(len(values), -2)
    points[..., coordinate] = values
    return points


def along(z, direction, amounts):
    """Steps from a latent along a direction: z + amount * direction, (..., amounts, z_dim); 0 gives z itself.

    Arguments: `z` and `direction`, (..., z_dim); `amounts`, a sequence of numbers.
    """
    z, direction = as_latents(z), as_latents(direction)
    amounts = torch.as_tensor(amounts, dtype=z.dtype, device=z.device)
    return z[..., None, :] + amounts[:, None] * direction[..., None, :]


def crossfade(start, end, steps):
    """One picture fades into another, pixel by pixel: the control that a walk has to beat.

    `start` and `end` are images (..., channels, height, width). Returns (..., steps, channels, height, width).
    """
    return _line(start.flatten(-3), end.flatten(-3), steps).unflatten(-1, start.shape[-3:])


@dataclass(frozen=True)
class Directions:
    """Unit directions in z, (k, z_dim), by how strongly they change the image; see `top_directions`.

    `gains`, (k,), is the length of the image's change for a small step along each, over the step's length.
    `changes`, (k, ...), is that change with length 1, a picture of its own.
    """

    directions: torch.Tensor
    gains: torch.Tensor
    changes: torch.Tensor


@torch.inference_mode(False)
def jacobian(function, z, chunk=25):
    """The derivative of `function` at one latent, exact: one Jacobian-vector product for each coordinate.

    Arguments: `function`, from (n, z_dim) to (n, ...), each entry from its own z alone, as a generator in eval mode
    does; `z`, (z_dim,); `chunk`, coordinates at a time. Returns (..., z_dim). Raises ValueError for several latents, and
    for a network in training mode, where BatchNorm lets every image depend on its batch.
    """
    z = as_latents(z)
    if z.numel() != z.shape[-1]:
        raise ValueError(f"z is {tuple(z.shape)}; a Jacobian is of one latent, (z_dim,)")
    if isinstance(function, nn.Module) and function.training:
        raise ValueError(
            "in training mode an image depends on its whole batch; call .eval() before the Jacobian"
        )
    # a copy, as what was made under `inference_mode` takes no part in derivatives
    z, columns = z.flatten().clone(), []
    with warnings.catch_warnings():
        # PyTorch about its own import
        warnings.filterwarnings("ignore", "`torch.jit.script`", FutureWarning)
        for tangents in torch.eye(len(z), dtype=z.dtype, device=z.device).split(chunk):
            # a batch of the same z, each with a tangent of its own
            same = z.repeat(len(tangents), 1)
            columns.append(torch.func.jvp(function, (same,), (tangents,))[1].detach())
    return torch.cat(columns).movedim(0, -1)


def top_directions(function, z, k=10, chunk=25):
    """The `k` directions at `z` in which a small step changes the image most: the SVD of its Jacobian.

    Arguments and errors are those of `jacobian`. Returns `Directions`, the strongest first. A direction's sign
    means nothing, so its largest number is made positive.
    """
    matrix = jacobian(function, z, chunk)
    left, gains, right = torch.linalg.svd(matrix.flatten(0, -2), full_matrices=False)
    left, gains, right = left.T[:k], gains[:k], right[:k]
    sign = right.gather(1, right.abs().argmax(1, keepdim=True)).sign()
    return Directions(right * sign, gains, (left * sign).unflatten(1, matrix.shape[:-1]))


def encoder(z_dim, width=32):
    """A network that is to guess the z of an image: the discriminator's stages, and as many outputs as z has numbers.

    It comes untrained and in training mode. Takes (n, 3, 64, 64) to (n, z_dim).
    """
    *stages, last = Discriminator(width).stages.values()
    return nn.Sequential(*stages, nn.Conv2d(last[0].in_channels, z_dim, 4), nn.Flatten())


class Inverted(NamedTuple):
    """Latents (n, z_dim) found for images, and the root mean square error of their pixels, (n,), of a range of 2."""

    z: torch.Tensor
    error: torch.Tensor


def invert(generator, images, start, steps=300, rate=0.05, bound=1.0):
    """The latents whose images come nearest to given ones: gradient descent (Adam) on the mean square of pixels.

    Arguments: `generator`, in eval mode; `images`, (n, 3, h, w) in [-1, 1]; `start`, (n, z_dim), such as an encoder's
    guesses; `bound`, the largest size of a number of z (1 for the uniform prior), or None. Of all steps each image's best
    is kept, so that more steps never do worse. Returns `Inverted`. (Creswell and Bharath 2016, arXiv 1611.05644; the start
    by an encoder: Zhu 2016, arXiv 1609.03552.)
    """
    limit = torch.inf if bound is None else bound
    z = as_latents(start).detach().clamp(-limit, limit).requires_grad_()
    optimiser = torch.optim.Adam([z], rate)
    best, least = z.detach().clone(), torch.full((len(z),), torch.inf).to(z)
    for step in range(steps + 1):
        loss = (generator(z) - images).square().mean((1, 2, 3))
        better = loss.detach() < least
        best[better], least[better] = z.detach()[better], loss.detach()[better]
        if step < steps:
            (z.grad,) = torch.autograd.grad(loss.sum(), z)
            optimiser.step()
            z.data.clamp_(-limit, limit)
    return Inverted(best, least.sqrt())


def _axis_apart(direction):
    """The coordinate axis that `direction` has the smallest share of."""
    return F.one_hot(direction.abs().argmin(-1), direction.shape[-1]).to(direction.dtype)
