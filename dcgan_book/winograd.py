"""The networks' strided convolutions with 9/16 of the multiplications, for training on a CPU in fp32.

A 4x4 kernel that moves by 2 pixels sees four interleaved images (even and odd rows, even and odd columns),
each with a 2x2 kernel. In one dimension, two outputs of such a kernel take four products, and Winograd's way
three:

    y0 = e0 w0 + e1 w1 = (e0 - e1) w0 + e1 (w0 + w1)
    y1 = e1 w0 + e2 w1 =                e1 (w0 + w1) + (e2 - e1) w1

and so 9 instead of 16 in two dimensions (Lavin and Gray 2016, arXiv 1509.09308, section 4). The sums cost
little; what remains are nine matrix products. A transposed convolution, and each gradient, is the same with
the parts in other roles. The results are those of PyTorch up to rounding.

Inside this module an image is (n, h, w, channels). `large` is the side with more pixels (a convolution's
input, a transposed one's output), `small` the other; a tile is 4x4 pixels of the one and 2x2 of the other.
"""

from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn

FEWEST_CHANNELS = 128  # on both sides; with fewer, the sums cost more than the products save (measured)


@contextmanager
def winograd(*networks):
    """Computes the wide strided 4x4 convolutions of `networks` in Winograd's way, and afterwards as before.

    >>> with winograd(nn.Sequential(nn.Conv2d(128, 256, 4, stride=2, padding=1, bias=False))) as networks:
    ...     networks[0][0](torch.zeros(1, 128, 16, 16)).shape
    torch.Size([1, 256, 8, 8])
    """
    swapped = []
    for network in networks:
        for layer in network.modules():
            fast = {nn.Conv2d: _Conv2d, nn.ConvTranspose2d: _ConvTranspose2d}.get(type(layer))
            if fast and _fits(layer):
                swapped.append((layer, type(layer)))
                layer.__class__ = fast  # so that weights, names and copies of the network stay as they are
    try:
        yield networks
    finally:
        for layer, before in swapped:
            layer.__class__ = before


def _fits(layer):
    names = "kernel_size", "stride", "padding", "output_padding", "bias", "groups", "dilation", "padding_mode"
    of_the_paper = nn.Conv2d(1, 1, 4, stride=2, padding=1, bias=False, device="meta")
    return min(layer.weight.shape[:2]) >= FEWEST_CHANNELS and all(
        getattr(layer, name) == getattr(of_the_paper, name)
        for name in names
    )


class _Conv2d(nn.Conv2d):
    def forward(self, images):
        if images.shape[2] % 4 or images.shape[2] != images.shape[3]:
            return super().forward(images)
        return _Down.apply(images, self.weight)


class _ConvTranspose2d(nn.ConvTranspose2d):
    def forward(self, images):
        if images.shape[2] % 2 or images.shape[2] != images.shape[3]:
            return super().forward(images)
        return _Up.apply(images, self.weight)


class _Down(torch.autograd.Function):
    @staticmethod
    def forward(ctx, images, weight):
        large, kernel = _split_large(images.permute(0, 2, 3, 1)), _split_kernel(weight)
        ctx.save_for_backward(large, kernel)
        ctx.sizes = images.shape[0], images.shape[2] // 2
        return _join_small(large @ kernel.mT, *ctx.sizes).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx, gradient):
        large, kernel = ctx.saved_tensors
        small = _split_small(gradient.permute(0, 2, 3, 1))
        wants_images, wants_weight = ctx.needs_input_grad
        return (
            _join_large(small @ kernel, *ctx.sizes).permute(0, 3, 1, 2) if wants_images else None,
            _join_kernel(small.mT @ large) if wants_weight else None,
        )


class _Up(torch.autograd.Function):
    @staticmethod
    def forward(ctx, images, weight):
        small, kernel = _split_small(images.permute(0, 2, 3, 1)), _split_kernel(weight)
        ctx.save_for_backward(small, kernel)
        ctx.sizes = images.shape[0], images.shape[2]
        return _join_large(small @ kernel, *ctx.sizes).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx, gradient):
        small, kernel = ctx.saved_tensors
        large = _split_large(gradient.permute(0, 2, 3, 1))
        wants_images, wants_weight = ctx.needs_input_grad
        return (
            _join_small(large @ kernel.mT, *ctx.sizes).permute(0, 3, 1, 2) if wants_images else None,
            _join_kernel(small.mT @ large) if wants_weight else None,
        )


# A _split turns one side, or the kernel, into its nine parts (9, rows, columns of a matrix), which are linear
# in it; the _join of the same name is its transpose, and so the way back in the gradient.


def _split_large(image):
    n, size, _, channels = image.shape
    tiles = size // 4
    image = F.pad(image.contiguous(), (0, 0, 1, 1, 1, 1)).view(n, size // 2 + 1, 2, size + 2, channels)
    rows = image.new_empty(3, n, tiles, 2, size + 2, channels)
    _differences(_triples(image, 1), rows)
    rows = rows.view(3, n, tiles, 2, size // 2 + 1, 2, channels).transpose(3, 4)
    parts = image.new_empty(3, 3, n, tiles, tiles, 2, 2, channels)
    _differences(_triples(rows, 3), parts.transpose(0, 1))
    return parts.view(9, n * tiles * tiles, 4 * channels)


def _join_large(parts, n, small_size):
    tiles, channels = small_size // 2, parts.shape[2] // 4
    parts = parts.view(3, 3, n, tiles, tiles, 2, 2, channels)
    rows = parts.new_zeros(3, n, tiles, 2, small_size + 1, 2, channels)
    _add_differences(parts.transpose(0, 1), _triples(rows.transpose(3, 4), 3))
    rows = rows.view(3, n, tiles, 2, 2 * small_size + 2, channels)
    image = parts.new_zeros(n, small_size + 1, 2, 2 * small_size + 2, channels)
    _add_differences(rows, _triples(image, 1))
    return image.view(n, 2 * small_size + 2, 2 * small_size + 2, channels)[:, 1:-1, 1:-1].contiguous()


def _split_small(image):
    n, size, _, channels = image.shape
    tiles = size // 2
    rows = image.new_empty(3, n, tiles, tiles, 2, channels)
    _sums(image.reshape(n, tiles, 2, tiles, 2, channels).unbind(2), rows)
    parts = image.new_empty(3, 3, n, tiles, tiles, channels)
    _sums(rows.unbind(4), parts.transpose(0, 1))
    return parts.view(9, n * tiles * tiles, channels)


def _join_small(parts, n, size):
    tiles, channels = size // 2, parts.shape[2]
    rows = parts.new_empty(3, n, tiles, tiles, 2, channels)
    _pairs(parts.view(3, 3, n, tiles, tiles, channels).transpose(0, 1), rows.unbind(4))
    image = parts.new_empty(n, tiles, 2, tiles, 2, channels)
    _pairs(rows, image.unbind(2))
    return image.view(n, size, size, channels)


def _split_kernel(weight):
    small, large = weight.shape[:2]
    weight = weight.permute(0, 2, 3, 1).reshape(small, 2, 2, 2, 2, large)  # tap and phase, of rows and columns
    rows = weight.new_empty(3, small, 2, 2, 2, large)
    _sums(weight.unbind(1), rows)
    parts = weight.new_empty(3, 3, small, 2, 2, large)
    _sums(rows.unbind(3), parts.transpose(0, 1))
    return parts.view(9, small, 4 * large)


def _join_kernel(parts):
    small, large = parts.shape[1], parts.shape[2] // 4
    rows = parts.new_empty(3, small, 2, 2, 2, large)
    _pairs(parts.view(3, 3, small, 2, 2, large).transpose(0, 1), rows.unbind(3))
    weight = parts.new_empty(small, 2, 2, 2, 2, large)
    _pairs(rows, weight.unbind(1))
    return weight.view(small, 4, 4, large).permute(0, 3, 1, 2)


def _triples(image, axis):
    """e0, e1 and e2 of every tile along `axis`, as views; one tile's e2 is the next one's e0."""
    image = image.movedim(axis, 0)
    return [part.movedim(0, axis) for part in (image[:-1:2], image[1::2], image[2::2])]


def _differences(triples, parts):
    e0, e1, e2 = triples
    torch.sub(e0, e1, out=parts[0])
    parts[1] = e1
    torch.sub(e2, e1, out=parts[2])


def _add_differences(parts, triples):
    e0, e1, e2 = triples
    e0 += parts[0]
    e2 += parts[2]
    torch.sub(parts[1], parts[0], out=e1)
    e1 -= parts[2]


def _sums(pair, parts):
    parts[0] = pair[0]
    torch.add(*pair, out=parts[1])
    parts[2] = pair[1]


def _pairs(parts, pair):
    torch.add(parts[0], parts[1], out=pair[0])
    torch.add(parts[1], parts[2], out=pair[1])
