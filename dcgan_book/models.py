"""The paper's two networks for 64x64 images, and how their weights start (paper, section 3).

Both keep their layers in `.stages`, an ordered dictionary whose keys are resolutions. `"8x8"` is the layer
whose output has 8x8 locations, in the generator and in the discriminator.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import nn

SLOPE = 0.2  # of the leaky rectifier, for inputs below zero (paper, section 4)
SPREAD = 0.02  # standard deviation of all weights at the start (paper, section 4)


class Generator(nn.Module):
    """Turns z into an image through five fractionally strided convolutions (paper, section 3).

    Arguments: `width`, feature maps of the last hidden layer (64 is the common public size, 128 the paper's);
    `z_dim`, numbers in z; `kernel_size`, 4, or 5 as in the authors' code; `channels` of the image.
    `forward(z)` takes z of shape (n, z_dim) and returns images of shape (n, channels, 64, 64) in [-1, 1].

    >>> Generator()(torch.zeros(2, 100)).shape
    torch.Size([2, 3, 64, 64])
    """

    def __init__(self, width=64, z_dim=100, kernel_size=4, channels=3):
        super().__init__()
        self.width, self.z_dim, self.kernel_size, self.channels = width, z_dim, kernel_size, channels
        up = _strided(nn.ConvTranspose2d, kernel_size)
        self.stages = nn.ModuleDict(
            {
                "4x4": _with_norm(nn.ConvTranspose2d(z_dim, 8 * width, 4, bias=False), nn.ReLU()),
                "8x8": _with_norm(up(8 * width, 4 * width), nn.ReLU()),
                "16x16": _with_norm(up(4 * width, 2 * width), nn.ReLU()),
                "32x32": _with_norm(up(2 * width, width), nn.ReLU()),
                "64x64": nn.Sequential(up(width, channels), nn.Tanh()),
            }
        )
        initialise(self)

    def forward(self, z):
        x = z[:, :, None, None]
        for stage in self.stages.values():
            x = stage(x)
        return x

    @classmethod
    def from_state_dict(cls, state):
        """Builds a generator from a checkpoint's weights; every size is read off their shapes.

        Reads this package's own state dicts and those of `pytorch/examples/dcgan` and the PyTorch faces
        tutorial (`main.0.weight` ...), with or without a `module.` in front, bare or nested in other dicts.
        Raises ValueError if `state` holds no 64x64 DCGAN generator.
        """
        weights = _find(state, cls)
        z_dim, _, _, _ = weights["stages.4x4.0.weight"].shape
        width, channels, kernel_size, _ = weights["stages.64x64.0.weight"].shape
        return _filled(cls, weights, width=width, z_dim=z_dim, kernel_size=kernel_size, channels=channels)


class Discriminator(nn.Module):
    """Gives an image one logit, high where the image looks real (paper, section 3).

    Arguments: `width`, feature maps of the first layer; `kernel_size`, 4, or 5 as in the authors' code;
    `channels` of the image. `forward(images)` takes (n, channels, 64, 64) in [-1, 1] and returns (n,) logits;
    their sigmoid is the paper's D(x).

    >>> Discriminator()(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2])
    """

    def __init__(self, width=64, kernel_size=4, channels=3):
        super().__init__()
        self.width, self.kernel_size, self.channels = width, kernel_size, channels
        down = _strided(nn.Conv2d, kernel_size)
        self.stages = nn.ModuleDict(
            {
                "32x32": nn.Sequential(down(channels, width), nn.LeakyReLU(SLOPE)),
                "16x16": _with_norm(down(width, 2 * width), nn.LeakyReLU(SLOPE)),
                "8x8": _with_norm(down(2 * width, 4 * width), nn.LeakyReLU(SLOPE)),
                "4x4": _with_norm(down(4 * width, 8 * width), nn.LeakyReLU(SLOPE)),
                "1x1": nn.Sequential(nn.Conv2d(8 * width, 1, 4, bias=False)),
            }
        )
        initialise(self)

    def forward(self, images):
        x = images
        for stage in self.stages.values():
            x = stage(x)
        return x.flatten()

    @classmethod
    def from_state_dict(cls, state):
        """Builds a discriminator from a checkpoint's weights; see `Generator.from_state_dict`."""
        weights = _find(state, cls)
        width, channels, kernel_size, _ = weights["stages.32x32.0.weight"].shape
        return _filled(cls, weights, width=width, kernel_size=kernel_size, channels=channels)


def initialise(module, generator=None):
    """Draws the weights anew: convolutions from N(0, 0.02), BatchNorm scales from N(1, 0.02), shifts 0.

    The BatchNorm scale is that of the authors' code; the paper (section 4) names only the first.
    `generator` is the torch.Generator to draw from. Returns `module`, changed in place.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0, SPREAD, generator=generator)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1, SPREAD, generator=generator)
            nn.init.zeros_(layer.bias)
            layer.reset_running_stats()
    return module


def _strided(convolution, kernel_size):
    """A maker of convolutions that halve the resolution, or of transposed ones that double it."""
    if kernel_size not in (4, 5):
        raise ValueError(f"kernel_size is {kernel_size}; the networks are made with 4 or 5")
    options = {"kernel_size": kernel_size, "stride": 2, "padding": (kernel_size - 1) // 2, "bias": False}
    if kernel_size == 5 and convolution is nn.ConvTranspose2d:
        options["output_padding"] = 1
    return lambda before, after: convolution(before, after, **options)


def _with_norm(convolution, activation):
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), activation)


def _find(state, cls):
    """The weights of a `cls` in `state`, copied and under this package's names."""
    with torch.device("meta"):  # neither memory nor random numbers are needed
        example = cls()
    wanted = example.state_dict()
    flat_names = [f"stages.{key}.{i}" for key, stage in example.stages.items() for i in range(len(stage))]
    pending = [state]
    while pending:
        candidate = pending.pop(0)
        if not isinstance(candidate, Mapping):
            continue
        weights = OrderedDict(
            (_our_name(key, flat_names), _copy(value))
            for key, value in candidate.items()
            if isinstance(value, torch.Tensor)
        )
        fits = all(
            name in weights and weights[name].ndim == value.ndim
            for name, value in wanted.items()
            if not name.endswith("num_batches_tracked")
        )
        if fits and weights.keys() <= wanted.keys():
            return weights
        pending.extend(candidate.values())
    raise ValueError(
        f"this checkpoint holds no 64x64 DCGAN {cls.__name__.lower()}: neither "
        f"{flat_names[0]}.weight ... nor main.0.weight ... with the shapes of one are in it"
    )


def _copy(tensor):
    """Half-precision weights are only stored so; the networks compute in fp32."""
    return tensor.detach().to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)


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
            f"this checkpoint is no 64x64 DCGAN {cls.__name__.lower()}: " + " ".join(str(error).split())
        ) from None
    return network
