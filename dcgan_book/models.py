"""The paper's two networks, for images of 64x64 and of half to four times the side, and how their weights start
(paper, section 3).

Both keep their layers in `.stages`, an ordered dictionary whose keys are resolutions. `"8x8"` is the layer
whose output has 8x8 locations, in the generator and in the discriminator.
"""

import re
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Self, TypeVar

import torch
from torch import nn

SLOPE = 0.2  # of the leaky rectifier, for inputs below zero (paper, section 4)
SIZES = (
    32,
    64,
    128,
    256,
)  # pixels a side; the paper has 64; a stage fewer or more halves or doubles it
SPREAD = 0.02  # standard deviation of all weights at the start (paper, section 4)
AnyModule = TypeVar("AnyModule", bound=nn.Module)


class Generator(nn.Module):
    """Turns z into an image through five fractionally strided convolutions (paper, section 3).

    Arguments: `width`, feature maps of the last hidden layer (64 is the common public size, 128 the paper's);
    `z_dim`, numbers in z; `kernel_size`, 4, or 5 as in the authors' code; `channels` of the image; `size`, its
    pixels a side: 64 as in the paper, 32 (four convolutions), 128 (six) or 256 (seven). Every stage before the last
    hidden one has twice the feature maps of the next.
    `forward(z)` takes z of shape (n, z_dim), or (n, z_dim, 1, 1) as PyTorch's tutorial has it, and returns images of
    shape (n, channels, size, size) in [-1, 1]. Raises ValueError for z of another shape.

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
        if z.shape[1:] not in ((self.z_dim,), (self.z_dim, 1, 1)):
            raise ValueError(f"z is {tuple(z.shape)}; this generator takes (n, {self.z_dim})")
        x = z.flatten(1)[:, :, None, None]
        for stage in self.stages.values():
            x = stage(x)
        return x

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Self:
        """Builds a generator from a checkpoint's weights, in eval mode; every size is read off their shapes.

        Layers are told by their shapes and their order, so any names will do: this package's own, those of
        `pytorch/examples/dcgan` and the PyTorch faces tutorial (`main.0.weight` ...), and either with whatever
        wrappers put in front (`module.`, `_orig_mod.`, `generator.`), bare or nested in other dicts, beside
        other networks. Biases of convolutions are kept.
        Raises ValueError, which names the first weight that does not fit, if `state` holds no DCGAN generator of one
        of `SIZES`, or one whose weights are not finite.
        """
        return _loaded(cls, state)

    @staticmethod
    def _options(first, last):
        """The arguments, `size` aside, of the generator that has such first and last convolutions."""
        return {"width": last[0], "z_dim": first[0], "kernel_size": last[2], "channels": last[1]}


class Discriminator(nn.Module):
    """Gives an image one logit, high where the image looks real (paper, section 3).

    Arguments: `width`, feature maps of the first layer; `kernel_size`, 4, or 5 as in the authors' code;
    `channels` of the image; `size`, its pixels a side (one of `SIZES`). `forward(images)` takes
    (n, channels, size, size) in [-1, 1] and returns (n,) logits; their sigmoid is the paper's D(x). It raises
    ValueError for images of another shape, of which it would give several logits each.

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
        wanted = self.channels, self.size, self.size
        if images.shape[1:] != wanted:
            raise ValueError(
                f"images are {tuple(images.shape)}; this discriminator takes (n, {', '.join(map(str, wanted))})"
            )
        x = images
        for stage in self.stages.values():
            x = stage(x)
        return x.flatten()

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Self:
        """Builds a discriminator from a checkpoint's weights, in eval mode; see `Generator.from_state_dict`."""
        return _loaded(cls, state)

    @staticmethod
    def _options(first, last):
        """The arguments, `size` aside, of the discriminator that has such first and last convolutions."""
        return {"width": first[0], "kernel_size": first[2], "channels": first[1]}


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
            if layer.bias is not None:  # as only loaded networks have it
                nn.init.zeros_(layer.bias)
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
    return {side: width * size // (2 * side) for side in (4, 8, 16, 32, 64, 128) if side < size}


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


# ------------------------------------------------------------------------------------------ reading checkpoints


class _Misfit(ValueError):
    """Why tensors are not a network's weights; `rank` is higher the more of them fitted."""

    def __init__(self, reason, *rank):
        super().__init__(reason)
        self.rank = rank


def _loaded(cls, state):
    """The network of a checkpoint, the first that there is in it."""
    misfits = []
    # even inside `inference_mode`, whose tensors take no part in gradients for ever
    with torch.inference_mode(False):
        for tensors in _candidates(state):
            try:
                return _filled(cls, tensors)
            except _Misfit as misfit:
                misfits.append(misfit)
    why = max(misfits, key=lambda misfit: misfit.rank) if misfits else "there are no tensors in it"
    raise ValueError(
        f"this checkpoint holds no DCGAN {cls.__name__.lower()} for images of {', '.join(map(str, SIZES))} pixels: "
        f"{why}"
    )


def _candidates(state: Any) -> Iterator[dict[str, torch.Tensor]]:
    """What may be a network's weights: the tensors of each dict in a checkpoint, all, and those of each prefix."""
    pending = deque([state])
    while pending:
        each = pending.popleft()
        if isinstance(each, Mapping):
            tensors = {
                str(k): value for k, value in each.items() if isinstance(value, torch.Tensor)
            }
            ends = (key[: dot.end()] for key in tensors for dot in re.finditer(r"\.", key))
            # in the order of the checkpoint, the shortest first
            prefixes = sorted(dict.fromkeys(ends), key=lambda end: end.count("."))
            for prefix in ([""] if tensors else []) + prefixes:
                yield {key: value for key, value in tensors.items() if key.startswith(prefix)}
            pending.extend(each.values())
        elif isinstance(each, list | tuple):
            pending.extend(each)


def _filled(cls, tensors):
    """The network whose weights `tensors` are, under whatever names. Raises _Misfit if they are of none."""
    layers = {}
    for key in tensors:
        name, _, kind = key.rpartition(".")
        layers.setdefault(name, {})[kind] = key
    # files of safetensors have their tensors by name, where layer 10 comes before 2
    by_number = sorted(
        layers,
        key=lambda name: [part.zfill(9) for part in re.split(r"(\d+)", name)],
        reverse=cls is Discriminator and any("stages." in name for name in layers),
    )
    try:
        return _in_order(cls, tensors, list(layers.values()))
    except _Misfit:
        if list(layers) == by_number:
            raise
    return _in_order(cls, tensors, [layers[name] for name in by_number])


def _in_order(cls, tensors, layers):
    """The network that has just these layers, each {"weight": key, ...}, in this order."""
    convolutions, norms = _kinds_of(tensors, layers)
    first, last = (tensors[convolutions[i]["weight"]].shape for i in (0, -1))
    options = cls._options(first, last)
    if options["kernel_size"] not in (4, 5):
        key = convolutions[-1 if cls is Generator else 0]["weight"]
        raise _Misfit(f"{_described(key, tensors)}, where kernels are 4x4 or 5x5", 1, 0)
    with torch.device("meta"):  # neither memory nor random numbers are needed
        network = cls(**options, size=2 ** (len(convolutions) + 1))
    places = [(name, layer) for name, layer in network.named_modules() if hasattr(layer, "weight")]
    if len(places) != len(layers):
        raise _Misfit(
            f"{len(norms)} BatchNorm layers beside the {len(convolutions)} convolutions from "
            f"{convolutions[0]['weight']} on, where it takes {len(places) - len(convolutions)}", 1, 0,
        )  # fmt: skip
    ours = {}
    for name, layer in places:
        keys = (norms if isinstance(layer, nn.BatchNorm2d) else convolutions).pop(0)
        if "bias" in keys and layer.bias is None:
            layer.bias = nn.Parameter(torch.empty(layer.out_channels, device="meta"))
        wanted = layer.state_dict()
        for kind in [kind for kind in wanted if kind not in {"num_batches_tracked", *keys}]:
            raise _Misfit(f"beside {next(iter(keys.values()))} there is no {kind}", 1, len(ours))
        for kind, key in keys.items():
            if kind not in wanted:
                raise _Misfit(f"{_described(key, tensors)} is none of its weights", 1, len(ours))
            if tensors[key].shape != wanted[kind].shape:
                needed = tuple(wanted[kind].shape)
                raise _Misfit(f"{_described(key, tensors)}, where {needed} is needed", 1, len(ours))
            ours[f"{name}.{kind}"] = key
    weights = {name: _copy(tensors[key], key) for name, key in ours.items()}
    network.load_state_dict(weights, assign=True)
    return network.eval()


def _kinds_of(tensors, layers):
    """The convolutions and the BatchNorm layers among `layers`. Raises _Misfit for others, and too few or many."""
    convolutions, norms = [], []
    for keys in layers:
        if "weight" in keys and tensors[keys["weight"]].ndim == 4:
            convolutions.append(keys)
        elif "running_mean" in keys:
            norms.append(keys)
        else:
            key = next(iter(keys.values()))
            raise _Misfit(
                f"{_described(key, tensors)} is of neither a convolution nor BatchNorm", 0, 0
            )
    if 2 ** (len(convolutions) + 1) not in SIZES:
        given = convolutions[0]["weight"] if convolutions else next(iter(tensors))
        raise _Misfit(f"from {given} on there are {len(convolutions)} convolutions, where it takes 4 to 7",
                      0, min(len(convolutions), 7))  # fmt: skip
    return convolutions, norms


def _described(key, tensors):
    return f"{key} {tuple(tensors[key].shape)}"


def _copy(tensor, key):
    """Half-precision weights are only stored so; the networks compute in fp32."""
    if key.endswith("num_batches_tracked"):
        return tensor.detach().clone()
    if not tensor.is_floating_point():
        raise ValueError(f"{key} has numbers of {tensor.dtype}, where floats are needed")
    copy = tensor.detach().to(torch.float32, copy=True)
    if not copy.isfinite().all() or (key.endswith("running_var") and copy.min() < 0):
        raise ValueError(
            f"{key} has numbers that are not finite, or a variance below 0: such a network draws nothing"
        )
    return copy
