"""The paper's two networks, for images of 64x64 and of half or twice the side, and how their weights start
(paper, section 3).

Both keep their layers in `.stages`, an ordered dictionary whose keys are resolutions. `"8x8"` is the layer
whose output has 8x8 locations, in the generator and in the discriminator.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Self, TypeVar

import torch
from torch import nn

SLOPE = 0.2  # of the leaky rectifier, for inputs below zero (paper, section 4)
SIZES = (32, 64, 128)  # pixels a side; the paper has 64, the others have one stage fewer or more
SPREAD = 0.02  # standard deviation of all weights at the start (paper, section 4)
AnyModule = TypeVar("AnyModule", bound=nn.Module)


class Generator(nn.Module):
    """Turns z into an image through five fractionally strided convolutions (paper, section 3).

    Arguments: `width`, feature maps of the last hidden layer (64 is the common public size, 128 the paper's);
    `z_dim`, numbers in z; `kernel_size`, 4, or 5 as in the authors' code; `channels` of the image; `size`, its
    pixels a side: 64 as in the paper, 32 (four convolutions) or 128 (six). Every stage before the last hidden one
    has twice the feature maps of the next.
    `forward(z)` takes z of shape (n, z_dim) and returns images of shape (n, channels, size, size) in [-1, 1].

    >>> Generator()(torch.zeros(2, 100)).shape
    torch.Size([2, 3, 64, 64])
    """

    def __init__(
        self,
        width: int = 64,
        z_dim: int = 100,
        kernel_size: int = 4,
        channels: int = 3,
        size: int = 64,
    ) -> None:
        super().__init__()
        self.width, self.z_dim, self.kernel_size, self.channels, self.size = (
            width,
            z_dim,
            kernel_size,
            channels,
            size,
        )
        up = _strided(nn.ConvTranspose2d, kernel_size)
        maps = _maps(width, size)
        first = nn.ConvTranspose2d(z_dim, maps[4], 4, bias=False)
        self.stages = nn.ModuleDict({"4x4": _with_norm(first, nn.ReLU())})
        for before, side in pairwise(maps):
            self.stages[f"{side}x{side}"] = _with_norm(up(maps[before], maps[side]), nn.ReLU())
        self.stages[f"{size}x{size}"] = nn.Sequential(up(width, channels), nn.Tanh())
        initialise(self)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = z[:, :, None, None]
        for stage in self.stages.values():
            x = stage(x)
        return x

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Self:
        """Builds a generator from a checkpoint's weights; every size is read off their shapes.

        Reads this package's own state dicts and those of `pytorch/examples/dcgan` and the PyTorch faces
        tutorial (`main.0.weight` ...), with or without a `module.` in front, bare or nested in other dicts.
        Raises ValueError if `state` holds no DCGAN generator of one of `SIZES`.
        """
        weights, size = _find(state, cls)
        z_dim, _, _, _ = weights["stages.4x4.0.weight"].shape
        width, channels, kernel_size, _ = weights[f"stages.{size}x{size}.0.weight"].shape
        return _filled(
            cls,
            weights,
            width=width,
            z_dim=z_dim,
            kernel_size=kernel_size,
            channels=channels,
            size=size,
        )


class Discriminator(nn.Module):
    """Gives an image one logit, high where the image looks real (paper, section 3).

    Arguments: `width`, feature maps of the first layer; `kernel_size`, 4, or 5 as in the authors' code;
    `channels` of the image; `size`, its pixels a side (one of `SIZES`). `forward(images)` takes
    (n, channels, size, size) in [-1, 1] and returns (n,) logits; their sigmoid is the paper's D(x).

    >>> Discriminator()(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2])
    """

    def __init__(
        self, width: int = 64, kernel_size: int = 4, channels: int = 3, size: int = 64
    ) -> None:
        super().__init__()
        self.width, self.kernel_size, self.channels, self.size = width, kernel_size, channels, size
        down = _strided(nn.Conv2d, kernel_size)
        maps = _maps(width, size)
        first = nn.Sequential(down(channels, width), nn.LeakyReLU(SLOPE))
        self.stages = nn.ModuleDict({f"{size // 2}x{size // 2}": first})
        for before, side in pairwise(reversed(maps)):
            self.stages[f"{side}x{side}"] = _with_norm(
                down(maps[before], maps[side]), nn.LeakyReLU(SLOPE)
            )
        self.stages["1x1"] = nn.Sequential(nn.Conv2d(maps[4], 1, 4, bias=False))
        initialise(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images
        for stage in self.stages.values():
            x = stage(x)
        return x.flatten()

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Self:
        """Builds a discriminator from a checkpoint's weights; see `Generator.from_state_dict`."""
        weights, size = _find(state, cls)
        width, channels, kernel_size, _ = weights[f"stages.{size // 2}x{size // 2}.0.weight"].shape
        return _filled(
            cls, weights, width=width, kernel_size=kernel_size, channels=channels, size=size
        )


def initialise(module: AnyModule, generator: torch.Generator | None = None) -> AnyModule:
    """Draws the weights anew: convolutions from N(0, 0.02), BatchNorm scales from N(1, 0.02), shifts 0.

    The BatchNorm scale is that of the authors' code; the paper (section 4) names only the first.
    `generator` is the torch.Generator to draw from. Returns `module`, changed in place.
    """
    for layer in module.modules():
        if getattr(layer, "weight", None) is not None and layer.weight.is_meta:
            # it has no numbers, and to draw none PyTorch would load its compiler: 70 MB and a second
            continue
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0, SPREAD, generator=generator)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1, SPREAD, generator=generator)
            nn.init.zeros_(layer.bias)
            layer.reset_running_stats()
    return module


def side_of(stage: str, size: int = 64) -> int:
    """The locations a side of a stage of that name, which a side of `size` pixels is a multiple of.

    Raises ValueError for what names no stage.

    >>> side_of("8x8")
    8
    """
    side = stage.partition("x")[0]
    if (
        stage != f"{side}x{side}"
        or not side.isdecimal()
        or not 1 <= int(side) <= size
        or size % int(side)
    ):
        raise ValueError(
            f"there is no stage {stage!r} of {size} pixels; a stage is called 4x4, 8x8 and so on"
        )
    return int(side)


def _maps(width, size):
    """Feature maps of the hidden layers: side of the layer to their number, from 4x4 up to half the image."""
    if size not in SIZES:
        raise ValueError(
            f"size is {size}; the networks are made for images of {', '.join(map(str, SIZES))} pixels"
        )
    return {side: width * size // (2 * side) for side in (4, 8, 16, 32, 64) if side < size}


def _strided(convolution, kernel_size):
    """A maker of convolutions that halve the resolution, or of transposed ones that double it."""
    if kernel_size not in (4, 5):
        raise ValueError(f"kernel_size is {kernel_size}; the networks are made with 4 or 5")
    options = {
        "kernel_size": kernel_size,
        "stride": 2,
        "padding": (kernel_size - 1) // 2,
        "bias": False,
    }
    if kernel_size == 5 and convolution is nn.ConvTranspose2d:
        options["output_padding"] = 1
    return lambda before, after: convolution(before, after, **options)


def _with_norm(convolution, activation):
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), activation)


def _find(state, cls):
    """The weights of a `cls` in `state`, copied and under this package's names, and the side of its images."""
    with torch.device("meta"):  # neither memory nor random numbers are needed
        examples = [cls(size=size) for size in SIZES]
    pending = [state]
    while pending:
        candidate = pending.pop(0)
        if not isinstance(candidate, Mapping):
            continue
        tensors = {
            key: value for key, value in candidate.items() if isinstance(value, torch.Tensor)
        }
        for example in examples:
            wanted, flat_names = example.state_dict(), _flat_names(example)
            weights = OrderedDict(
                (_our_name(key, flat_names), value) for key, value in tensors.items()
            )
            fits = all(
                name in weights and weights[name].ndim == value.ndim
                for name, value in wanted.items()
                if not name.endswith("num_batches_tracked")
            )
            if fits and weights.keys() <= wanted.keys():
                return OrderedDict(
                    (name, _copy(value)) for name, value in weights.items()
                ), example.size
        pending.extend(candidate.values())
    raise ValueError(
        f"this checkpoint holds no DCGAN {cls.__name__.lower()} for images of {', '.join(map(str, SIZES))} pixels: "
        f"neither {_flat_names(examples[1])[0]}.weight ... nor main.0.weight ... with the shapes of one are in it"
    )


def _flat_names(network):
    """The names of its layers in the order in which PyTorch's DCGANs number theirs."""
    return [f"stages.{key}.{i}" for key, stage in network.stages.items() for i in range(len(stage))]


def _copy(tensor):
    """Half-precision weights are only stored so; the networks compute in fp32."""
    return tensor.detach().to(
        torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True
    )


def _our_name(key, flat_names):
    key = str(key).removeprefix("module.")
    tutorial = re.fullmatch(r"main\.(\d+)\.(\w+)", key)
    if tutorial and int(tutorial[1]) < len(flat_names):
        return f"{flat_names[int(tutorial[1])]}.{tutorial[2]}"
    return key


def _filled(cls, weights, **sizes):
    with torch.device("meta"):
        network = cls(**sizes)
    try:
        network.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise ValueError(
            f"this checkpoint is no DCGAN {cls.__name__.lower()}: " + " ".join(str(error).split())
        ) from None
    return network
