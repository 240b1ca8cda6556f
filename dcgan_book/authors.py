"""The one complete pair of the paper's authors' own weights that is public: house numbers at 32 pixels (SVHN, section 5).

They lie as eighteen NumPy arrays in the authors' repository and never in ours: `read` takes them from the folder that
DCGAN_BOOK_AUTHORS names, or from the user's cache, into which it fetches them once. What they were trained on are
photographs of house numbers (Netzer and others 2011), so there is no ground truth but what the pixels show.
"""

import hashlib
import io
import os
import urllib.request
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from dcgan_book.cache import atomic_write, cache_dir, expanded
from dcgan_book.latents import draw_z, recalibrate, recalibrate_on, stream
from dcgan_book.models import Discriminator, Generator

NAME = "authors-svhn"
FILES = tuple(f"200_gen_params.jl_{i:02}.npy" for i in range(1, 11)) + tuple(
    f"200_discrim_params.jl_{i:02}.npy" for i in range(1, 9)
)
REPOSITORY = "https://github.com/Newmu/dcgan_code"
FOLDER = "models/svhn_unsup_all_conv_dcgan_100z_gaussian_lr_0.0005_64mb"
SOURCE = f"https://raw.githubusercontent.com/Newmu/dcgan_code/ee12b2d15a3856794b8dae77d1eb263c67c36e47/{FOLDER}"
SHA256 = "99c66cbf8c0fcc6b5b1ea9d7fa7bd34b1d4deca1c71584e0b240a695ee4bb88e"  # of all files, one after the other
CONSTANTS = 8  # ones beside z and -z; eight, so that their number is a multiple of what live figures take at once
SIDES = 8  # columns to the left and right that may belong to other digits
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in a grey (ITU-R BT.601)
SECONDS = 30  # that the network may keep silent
CALIBRATION = 1024  # images for the BatchNorm statistics
CARD: dict[str, Any] = {
    "name": NAME,
    "data": {"name": "SVHN"},
    "prior": "normal",
    "size": 32,
    "width": 64,
    "z_dim": 100,
    "kernel_size": 5,
    "batchnorm": f"statistics of the generator's own images over {CALIBRATION} z's, in both networks",
    "author": "Alec Radford, 2015",
    "licence": "MIT",
    "source": f"{REPOSITORY}, {FOLDER}",
    "sha256": {FOLDER: SHA256},
}


def read(fetch: bool = True) -> tuple[Generator, Discriminator]:
    """Both networks in eval mode, from the folder DCGAN_BOOK_AUTHORS, the cache, or (unless `fetch` is False) the network.

    Raises ValueError, in one line, where the arrays cannot be had or are not the ones that are known.
    """
    named = os.environ.get("DCGAN_BOOK_AUTHORS")
    folder = expanded(named) if named else cache_dir() / NAME
    content = [path.read_bytes() for path in map(folder.joinpath, FILES) if path.is_file()]
    if _digest(content) != SHA256:
        if named or not fetch:
            what = "are damaged, or others" if len(content) == len(FILES) else "are not all there"
            raise ValueError(
                f"the weights {NAME} in {folder} {what}: {_remedy()}"
                if named or content
                else f"the weights {NAME} are not in {cache_dir()}: {_remedy()}"
            )
        content = _fetched(folder)
    return build([np.load(io.BytesIO(each)) for each in content])


def build(arrays: Sequence[np.ndarray]) -> tuple[Generator, Discriminator]:
    """The two networks of eighteen arrays in the order of `FILES`, of any width, in eval mode.

    The authors' BatchNorm knows the statistics of a batch only. Ours are fixed: exact for the first layer, whose numbers
    are sums of normal ones, measured over the generator's images for all others. After z theirs has a scale and a shift
    for each *number*, ours for each map; `_start` says how it gets in all the same.
    """
    first, scale, shift, *rest = (torch.from_numpy(array).float() for array in arrays)
    width = rest[6].shape[0]
    generator = Generator(width, first.shape[0], 5, size=32)
    start = _start(first, scale, shift)
    stages = {"1x1": start[0], "4x4": start[1]}
    generator.stages = nn.ModuleDict(
        stages | {name: stage for name, stage in generator.stages.items() if name != "4x4"}
    )
    _fill([generator.stages[side] for side in ("8x8", "16x16", "32x32")], rest[:7])
    discriminator = Discriminator(width, 5, size=32)
    *middle, last = rest[7:]
    _fill([discriminator.stages[side] for side in ("16x16", "8x8", "4x4")], middle)
    discriminator.stages["1x1"][0].weight.data = last.reshape(1, -1, 4, 4).clone()
    recalibrate(generator, "normal", CALIBRATION)
    with torch.no_grad():
        z = draw_z(CALIBRATION, generator.z_dim, "normal", stream(0, "recalibration of D"))
        images = [generator(part) for part in z.split(128)]
    return generator, recalibrate_on(discriminator, images)


def _start(matrix, scale, shift):
    """z to its 4x4 maps, in two convolutions: z, -z and ones through a rectifier, and then one matrix.

    relu(z) - relu(-z) is z again, and the ones carry a shift of its own to every number, which no bias of a convolution
    does. So hooks and live figures need to know nothing of it.
    """
    z_dim = len(matrix)
    folded = matrix * (scale / matrix.square().sum(0).sqrt())  # z is normal: mean 0, this spread
    ones = (shift / CONSTANTS).expand(CONSTANTS, -1)
    inputs = 2 * z_dim + CONSTANTS
    apart = nn.ConvTranspose2d(z_dim, inputs, 1)
    together = nn.ConvTranspose2d(inputs, matrix.shape[1] // 16, 4, bias=False)
    eye = torch.eye(z_dim)
    apart.weight.data = torch.cat([eye, -eye, torch.zeros(z_dim, CONSTANTS)], 1)[:, :, None, None]
    apart.bias.data = torch.cat([torch.zeros(2 * z_dim), torch.ones(CONSTANTS)])
    together.weight.data = torch.cat([folded, -folded, ones]).reshape(inputs, -1, 4, 4)
    return nn.Sequential(apart, nn.ReLU()), nn.Sequential(together, nn.ReLU())


def _fill(stages, arrays):
    """Puts kernels, scales and shifts in; Theano's convolution turns a kernel around, PyTorch's does not."""
    pending = list(arrays)
    for convolution, *others in stages:
        convolution.weight.data = pending.pop(0).flip(2, 3)
        for norm in others:
            if isinstance(norm, nn.BatchNorm2d):
                norm.weight.data, norm.bias.data = pending.pop(0), pending.pop(0)


def _fetched(folder):
    """The bytes of all files from the authors' repository, checked and put into the folder."""
    try:
        content = []
        for file in FILES:
            with urllib.request.urlopen(f"{SOURCE}/{file}", timeout=SECONDS) as answer:
                content.append(answer.read())
    except OSError as error:
        why = " ".join(str(error).split())
        raise ValueError(
            f"the weights {NAME} are not in {cache_dir()} and cannot be fetched ({why}): {_remedy()}"
        ) from None
    if _digest(content) != SHA256:
        raise ValueError(
            f"the weights {NAME} at {SOURCE} are not those that this book knows: their SHA-256 differs"
        )
    folder.mkdir(exist_ok=True)
    for file, each in zip(FILES, content, strict=True):
        with atomic_write(folder / file) as temporary:
            temporary.write_bytes(each)
    return content


def _digest(content):
    return hashlib.sha256(b"".join(content)).hexdigest()


def _remedy():
    return (
        f"load them once with a network, or let DCGAN_BOOK_AUTHORS name a folder with the {len(FILES)} files "
        f"200_*.npy of {REPOSITORY}, {FOLDER}"
    )


def readings(images: torch.Tensor) -> torch.Tensor:
    """How far the digit is lighter than its ground, (n,), negative where it is darker; -x of an image's negative.

    The ground is the median grey above and below the middle, where no other digit is; it is compared with the lightest
    and the darkest pixel of the middle. Arguments: `images`, (n, 3, 32, 32) in [-1, 1].
    """
    grey, middle = _grey(images), _middle(images)
    edge = torch.cat([grey[:, :3, SIDES:-SIDES], grey[:, -3:, SIDES:-SIDES]], 1).flatten(1)
    # the mean of the two middle ones, as PyTorch's median of an even number is the lower
    low, high = edge.median(1).values, -(-edge).median(1).values
    return middle.amax(1) + middle.amin(1) - (low + high)


def polarity(images: torch.Tensor) -> torch.Tensor:
    """1 for a light digit on dark ground, -1 for a dark one on light, 0 where it cannot be read, (n,).

    Read where `readings` has the sign of the greys' skewness: few light pixels among many dark ones are a light digit.
    """
    middle = _middle(images)
    skewness = (middle - middle.mean(1, keepdim=True)).pow(3).mean(1)
    signs = readings(images).sign()
    return signs * (signs == skewness.sign())


def contrast(images: torch.Tensor) -> torch.Tensor:
    """Standard deviation of the greys in the middle of each image, (n,): small where a digit is bleached."""
    return _middle(images).std(1)


def warmth(images: torch.Tensor) -> torch.Tensor:
    """How much more red than blue there is in each image, (n,)."""
    return images[:, 0].mean((1, 2)) - images[:, 2].mean((1, 2))


def ink(images: torch.Tensor) -> torch.Tensor:
    """Which pixels are the digit's, bool (n, h, w): in the middle, past half way from the ground to the extreme.

    Nothing of an image whose polarity cannot be read.
    """
    grey, signs = _grey(images), polarity(images)
    edge = torch.cat([grey[:, :3, SIDES:-SIDES], grey[:, -3:, SIDES:-SIDES]], 1).flatten(1)
    beyond = signs[:, None, None] * (grey - edge.median(1).values[:, None, None])
    beyond[:, :, :SIDES] = beyond[:, :, -SIDES:] = beyond[:, :2] = beyond[:, -2:] = 0
    return beyond > (beyond.amax((1, 2), keepdim=True) / 2).clamp(min=1e-6)


def _grey(images):
    return (images * images.new_tensor(LUMA)[:, None, None]).sum(1)


def _middle(images):
    """The greys where the digit is that a photograph of SVHN is cut for, (n, pixels)."""
    return _grey(images)[:, 2:-2, SIDES:-SIDES].flatten(1)
