"""A generator's weights as the browser takes them: folded, rounded, packed."""

import base64
import hashlib
import json
import zlib

import numpy as np
import torch
from torch.nn.utils.fusion import fuse_conv_bn_eval

LANES = 8  # output channels that engine.js computes at once
RUN = 4  # input numbers that it takes at once
LAST_BITS = (8, 10, 12)  # of the last three stages, which have few weights, and errors that show
BITS = 6  # of the stages before them, which hold nearly all weights
LAST_STEPS = (3, 12, 100)  # light weights: steps to an output's root mean square, stages as above
STEPS = 1


def fold(generator):
    """The generator's convolutions with BatchNorm folded in: one (weight, bias) for each stage.

    Weights are (inputs, outputs, k, k), as a transposed convolution has them. Raises ValueError in training mode,
    where BatchNorm has no fixed statistics to fold.
    """
    if generator.training:
        raise ValueError(
            "in training mode BatchNorm follows each batch; call .eval() before the weights are folded"
        )
    folded = []
    for stage in generator.stages.values():
        convolution, *others = stage
        if any(isinstance(layer, torch.nn.BatchNorm2d) for layer in others):
            convolution = fuse_conv_bn_eval(convolution, others[0], transpose=True)
        bias = (
            torch.zeros(convolution.out_channels) if convolution.bias is None else convolution.bias
        )
        folded.append((convolution.weight.detach().float().cpu(), bias.detach().float().cpu()))
    return folded


def scales(generator, light=False):
    """The unit in which the weights of each stage are whole numbers: one (outputs,) for each stage.

    Usually it gives the largest weight of an output `BITS` or `LAST_BITS`. `light` weights, half as many bytes, are
    rounded to `STEPS` or `LAST_STEPS` to a root mean square, which a large weight can exceed.
    """
    usual, last = (STEPS, LAST_STEPS) if light else (BITS, LAST_BITS)
    weights = [weight for weight, _ in fold(generator)]
    fine = [usual] * (len(weights) - len(last)) + list(last)
    made = []
    for weight, number in zip(weights, fine, strict=True):
        if light:
            unit = weight.square().mean((0, 2, 3)).sqrt() / number
        else:
            unit = weight.abs().amax((0, 2, 3)) / (2 ** (number - 1) - 1)
        made.append(unit.clamp(min=1e-12))
    return made


def pack(generator, light=False):
    """A generator as engine.js takes it: a header, and zlib's bytes of scales, biases and weights.

    Scales and biases are float32. Weights are integers (int8 or int16) in units of their output channel's scale, see
    `scales`, in the order in which engine.js reads them: stage, parity of the output's row and column, block of eight
    output channels, window, input channel, output channel. The header is a dict. Raises ValueError as `fold` does.
    """
    header, vectors, integers, units = [], [], [], scales(generator, light)
    for (name, stage), (weight, bias), scale in zip(
        generator.stages.items(), fold(generator), units, strict=True
    ):
        convolution = stage[0]
        first = name == "4x4"
        step, padding = (4, 0) if first else (convolution.stride[0], convolution.padding[0])
        inputs, outputs = _up(weight.shape[0], RUN if first else LANES), _up(weight.shape[1], LANES)
        rounded = (weight / scale[:, None, None]).round().numpy()
        bits = 8 if np.abs(rounded).max() < 128 else 16
        # filled up with zeros
        padded = np.zeros((inputs, outputs, *weight.shape[2:]), "<i1" if bits == 8 else "<i2")
        padded[: weight.shape[0], : weight.shape[1]] = rounded
        taps = [_taps(parity, step, padding, weight.shape[-1]) for parity in range(step)]
        blocks = []
        for _, down in taps:
            for _, right in taps:
                # row, column, input, output
                window = padded[:, :, down][:, :, :, right].transpose(2, 3, 0, 1)
                window = window.reshape(*window.shape[:3], outputs // LANES, LANES)
                blocks.append(window.transpose(3, 0, 1, 2, 4).tobytes())
        integers.extend(blocks)
        for vector in (scale, bias):
            vectors.append(np.pad(vector.numpy(), (0, outputs - len(vector))).astype("<f4"))
        header.append({
            "name": name, "inputs": inputs, "outputs": outputs, "channels": weight.shape[1], "step": step,
            "windows": [[start, len(kernel)] for start, kernel in taps],
            "count": sum(map(len, blocks)) // padded.itemsize, "bits": bits,
        })  # fmt: skip
    vectors = np.concatenate(vectors)
    header = {"z_dim": generator.z_dim, "floats": len(vectors), "stages": header}
    return header, zlib.compress(vectors.tobytes() + b"".join(integers), 9)


def _up(size, multiple):
    return -(-size // multiple) * multiple


def _taps(parity, step, padding, size):
    """Where the window of outputs of one parity begins, from the input's own pixel, and its kernel entries in order."""
    taps = {offset: parity - step * offset + padding for offset in (-1, 0, 1)}
    taps = {offset: entry for offset, entry in taps.items() if 0 <= entry < size}
    return min(taps), list(taps.values())


def weights_name(header, data, name=None):
    """What packed weights are called: by their digest, after the name they ship under, if they do."""
    digest = hashlib.sha256(json.dumps(header).encode() + data).hexdigest()[:12]
    return f"{name}-{digest}" if name else digest


def weights_script(name, header, data):
    """A script that gives packed weights to a page under a name: also from a folder, unlike `fetch`."""
    entry = json.dumps({"header": header, "data": base64.b64encode(data).decode()})
    return f"((globalThis.dcganLive ??= {{}}).weights ??= {{}})[{json.dumps(name)}] = {entry};\n"
