"""An instrument's weights as the browser takes them; `instrument.js` reads images with them."""

import zlib

import numpy as np
import torch
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dcgan_book.live.weights import LANES
from dcgan_book.measure.reading import VISIBLE

BITS = 10  # of a weight
# The side of each convolution's output, as `_convolutions` has them; not all instruments have the last
SIDES = (32, 32, 16, 16, 8, 8, 4, 8, 16, 32, 32, 4, 16)


def pack_instrument(instrument):
    """An instrument as instrument.js takes it: a header, and zlib's bytes of scales, biases and weights.

    Arguments: `instrument`, a `measure.Instrument` whose width is a multiple of 8.
    Scales and biases are float32. Weights are int16 in units of their output's scale; those of a convolution are in
    the order block of eight output channels, row, column, input channel, output channel. The header is a dict. Raises
    ValueError for an instrument of another kind.
    """
    network, schema = instrument.network, instrument.schema
    if network.width % LANES:
        raise ValueError(
            f"the width is {network.width}; the browser reads with multiples of {LANES}"
        )
    layers, vectors, integers = [], [], []
    convolutions = _convolutions(network)
    for side, (weight, bias) in zip(SIDES[: len(convolutions)], convolutions, strict=True):
        outputs, inputs, size, _ = weight.shape
        wide = -(-outputs // LANES) * LANES
        scale, rounded = _rounded(weight)
        padded = np.zeros((wide, inputs, size, size), "<i2")
        padded[:outputs] = rounded
        blocks = padded.reshape(wide // LANES, LANES, inputs, size, size).transpose(0, 3, 4, 2, 1)
        integers.append(blocks.tobytes())
        vectors += [np.pad(vector, (0, wide - outputs)) for vector in (scale, bias.numpy())]
        layers.append({"side": side, "inputs": inputs, "outputs": wide, "size": size})
    dense = []
    for weight, bias in _dense(network):
        scale, rounded = _rounded(weight)
        integers.append(rounded.astype("<i2").tobytes())
        vectors += [scale, bias.numpy()]
        dense.append({"inputs": weight.shape[1], "outputs": weight.shape[0]})
    vectors = np.concatenate(vectors).astype("<f4")
    header = {
        "layers": layers, "dense": dense, "floats": len(vectors), "labels": len(schema.world.LABELS),
        "surfaces": len(schema.world.SURFACES), "things": list(schema.things), "visible": VISIBLE,
        "presence": instrument.card["presence"], "attention": schema.attention_maps, "factors": _factors(schema),
    }  # fmt: skip
    return header, zlib.compress(vectors.tobytes() + b"".join(integers), 9)


def _convolutions(network):
    """(weight, bias) of each convolution with BatchNorm folded in: encoder, decoder, pixels, grid, attention if any."""
    blocks = [block for stage in network.encoder for block in stage]
    folded = [fuse_conv_bn_eval(block[0], block[1]) for block in (*blocks, *network.decoder)]
    last = [layer for layer in (network.pixels, network.grid, network.places) if layer is not None]
    return [_numbers(layer.weight, layer.bias) for layer in (*folded, *last)]


def _factors(schema):
    """Where the outputs of the scalars and choices are, and what they mean: a list of dicts."""
    starts, found = {}, []
    for name in schema.heads:
        starts[name] = sum(schema.heads[each] for each in starts)
    for i, name in enumerate(schema.scalars):
        found.append(
            {"name": name, "at": starts["scalars"] + i, "range": schema.world.RANGES[name]}
        )
    for name, options in schema.choices.items():
        found.append({"name": name, "at": starts[name], "options": list(options)})
    return found


def _dense(network):
    """(weight, bias) of the features with BatchNorm folded in, and of all outputs."""
    linear, norm = network.features
    scale = (norm.running_var + norm.eps).rsqrt()
    return [
        _numbers(linear.weight * scale[:, None], -norm.running_mean * scale),
        _numbers(network.head.weight, network.head.bias),
    ]


def _numbers(weight, bias):
    return weight.detach().float().cpu(), bias.detach().float().cpu()


def _rounded(weight):
    """The scale of each output, (outputs,), and the weights in units of it."""
    scale = weight.abs().flatten(1).amax(1).clamp(min=1e-12) / (2 ** (BITS - 1) - 1)
    shape = (-1, *[1] * (weight.ndim - 1))
    return scale.numpy(), torch.round(weight / scale.view(shape)).numpy()
