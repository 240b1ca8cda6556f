"""Training the instruments of `measure.py`: drawn images, damaged as a generator damages them, and a test on others.

`python -m dcgan_book.instruments` makes the shipped one for rooms, with `--world faces` the one for faces. No
generated image is ever shown to them.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import nn
from tqdm.auto import tqdm

from dcgan_book import faces, rooms
from dcgan_book.world import block, dataset
from dcgan_book.cache import atomic_write
from dcgan_book.measure import (
    DAMAGE,
    DARK,
    FOLDERS,
    HELD_OUT,
    SCHEMAS,
    VISIBLE,
    Instrument,
    MeasureError,
    Network,
    bootstrap,
    count_pixels,
    numbers,
    rounded,
    wilson,
)
from dcgan_book.training import choose_device, machine_facts, stream, to_batch

# Rooms, and faces, by seed. The generators have 0 to 59,999, and none of these sets meets another or `HELD_OUT`.
TRAINING, VALIDATION, TEST = 2_000_000, 2_500_000, 2_600_000
# Objects that stand out and are small: what melts, and what ghosts are of, with its weight
SOLID = {"window": 1, "lamp": 1.5, "nightstand": 0.5, "tv": 1.5, "door": 1.5, "picture": 1, "mirror": 1}
UNKNOWN = 255  # label of a pixel that may be read either way
NEAR_PAIRS = 1e-4  # share of pairs of drawn images that count as near-identical; it fixes the distance
POLISHED = 5.0  # how much more factors count in the steps that end the training of some
EXPOSED = (0.70, 0.85)  # share of one face in several laid over each other: below it is none, above it is one
MELTED = (0.10, 0.35)  # share of a face's skin, eyes, brows and mouth that melts: below it is a face, above none


# ------------------------------------------------------------------------------- damage, as generators do it


@dataclass(frozen=True)
class Damaged:
    """Images that look generated, and what is still true of them.

    images: (n, 3, 64, 64). labels: (n, 64, 64), `UNKNOWN` where an object is half faded. presence: (n, things), 1, 0,
    or nan where an object is neither there nor gone. own: bool (n, objects), the object is the image's own. known:
    bool (n,), the image's factors hold. amounts: (n, 4), shares of `DAMAGE`.
    """

    images: torch.Tensor
    labels: torch.Tensor
    presence: torch.Tensor
    own: torch.Tensor
    known: torch.Tensor
    amounts: torch.Tensor


def damage(images, labels, generator, untouched=0.25):
    """Does to drawn rooms what generators do to theirs, each with its own chance and amount.

    images: (n, 3, 64, 64) in [-1, 1]. labels: long (n, 64, 64). generator: torch.Generator. untouched: share that
    stays as it is. Patches of another room are blended in; an object fades into what is around it, vanishes in
    part or whole, or melts; objects of another room appear as ghosts, faint or melted; blots of an object's colour
    lie about; a few become scrambled rooms with no object at all; `spoil` does the rest. What is half faded, faint
    or melted is not there. An object is present from `VISIBLE` pixels and a quarter of its size on, absent below a
    twentieth of it; in between its presence is left open. Returns a Damaged.
    """
    n, dice = len(images), _Dice(len(images), generator, untouched)
    images, labels, whole = images.contiguous().clone(), labels.clone(), count_pixels(labels)
    drawn, drawn_labels = images.clone(), labels.clone()

    # A patch of the next room
    rows = dice.some(0.2)
    other, patch = (rows + 1) % n, _blob(len(rows), 5, 14, generator)
    foreign = torch.where(patch > 0.5, labels[other], 0)
    mixed = torch.lerp(images[rows], images[other], patch[:, None])
    mixed_labels = torch.where(patch > 0.5, labels[other], labels[rows])
    own = torch.ones(whole.shape, dtype=torch.bool)
    own[rows] = count_pixels(foreign) == 0
    whole[rows] = torch.maximum(whole[rows], whole[other])
    images[rows], labels[rows] = mixed, mixed_labels

    # One object fades or vanishes, in part or whole; wall, floor or ceiling take its place
    rows = dice.some(0.4)
    chosen, of_it = _pick(labels[rows], {"bed": 0.6}, generator)
    part = torch.where(_each(dice.uniform(len(rows)) < 0.7)[:, 0] > 0, 1.0, _blob(len(rows), 8, 20, generator))
    faded = torch.where(dice.uniform(len(rows)) < 0.5, 1.0, dice.uniform(len(rows), 0.2, 0.95))
    cover = _edge(of_it) * part * faded[:, None, None]
    around, under = _surroundings(images[rows], labels[rows])
    images[rows] = torch.lerp(images[rows], around, cover[:, None])
    gone, doubtful = of_it & (cover > 0.5), of_it & (cover > 0.3) & (cover <= 0.5)
    labels[rows] = torch.where(gone, under, torch.where(doubtful, UNKNOWN, labels[rows]))
    unknown = torch.zeros_like(whole)
    unknown[rows] = unknown[rows].scatter(1, chosen, doubtful.sum((1, 2))[:, None])

    # One object melts
    rows = dice.some(0.3)
    _, of_it = _pick(labels[rows], SOLID, generator)
    under = _surroundings(images[rows], labels[rows])[1]
    images[rows] = torch.lerp(images[rows], _melt(images[rows], dice), _edge(of_it, 7)[:, None])
    labels[rows] = torch.where(of_it, under, labels[rows])

    # Ghosts of another room's objects: faint, or clear but melted
    for share in (0.3, 0.2):
        rows = dice.some(share)
        other = (rows + 1 + torch.randint(max(n - 1, 1), (len(rows),), generator=generator)) % n
        _, of_it = _pick(drawn_labels[other], SOLID, generator)
        faint = dice.uniform(len(rows)) < 0.5
        look = torch.cat([drawn[other], _edge(of_it)[:, None]], 1)
        look = torch.where(_each(faint) > 0, look, _melt(look, dice))
        opacity = torch.where(faint, dice.uniform(len(rows), 0.1, 0.45), dice.uniform(len(rows), 0.4, 1.0))
        images[rows], labels[rows] = _lay(images[rows], labels[rows], look[:, :3], look[:, 3] * opacity[:, None, None])

    # Blots of a colour that objects have
    for share in (0.3, 0.2):
        rows = dice.some(share)
        other = (rows + 1) % n
        seen = (drawn_labels[other] >= len(rooms.SURFACES)).flatten(1).float() + 1e-9
        at = torch.multinomial(seen, 1, generator=generator)[:, None].expand(-1, 3, -1)
        colour = drawn[other].flatten(2).gather(2, at)[..., None].expand(-1, -1, rooms.SIZE, rooms.SIZE)
        blot = _warp(_blob(len(rows), 2, 7, generator)[:, None], None, dice.uniform(len(rows), 0, 3), generator)[0]
        opacity = dice.uniform(len(rows), 0.3, 1.0)[:, None, None]
        images[rows], labels[rows] = _lay(images[rows], labels[rows], colour, blot[:, 0] * opacity)

    # Places shift
    rows, warp = dice.some(0.5), torch.zeros(n)
    warp[rows] = dice.uniform(len(rows))
    images[rows], labels[rows] = _warp(images[rows], labels[rows], warp[rows] * DAMAGE["warp"], generator)

    # A few lose all structure
    scrambled = dice.some(0.06)
    images[scrambled], labels[scrambled] = _scramble(images[scrambled], generator), UNKNOWN

    images, amounts = spoil(images, dice)
    visible = count_pixels(labels)
    presence = torch.full(whole.shape, math.nan)
    presence[(visible >= VISIBLE) & (visible >= whole / 4)] = 1
    presence[visible + unknown < (whole / 20).clamp(min=3)] = 0
    presence[scrambled] = 0
    known = torch.ones(n, dtype=torch.bool)
    known[scrambled] = False
    return Damaged(images, labels, presence, own, known, torch.cat([amounts, warp[:, None]], 1))


def damage_faces(images, labels, other_images, other_labels, generator, untouched=0.25):
    """Does to drawn faces what generators do to theirs, each with its own chance and amount.

    images, labels: as for `damage`. other_images, other_labels: the same faces with glasses, and in men a beard, where
    they have none, and without where they have them. Between the two, glasses or beard fade, in part or whole; a patch
    of the next face is blended in; places shift; `spoil` does the rest. What is no face any more: two to four faces
    laid over each other, a face that has melted, one whose eyes or mouth are skin, and one that is scrambled. Of the
    first two it stays open what is in them. Returns a Damaged, its last column of presence the face itself.
    """
    n, dice = len(images), _Dice(len(images), generator, untouched)
    first = len(faces.SURFACES)
    parts = {name: first + faces.OBJECTS.index(name) for name in ("glasses", "beard")}
    images, labels = images.contiguous().clone(), labels.clone()
    whole = torch.maximum(count_pixels(labels, faces), count_pixels(other_labels, faces))
    unknown = torch.zeros_like(whole)
    face, known = torch.ones(n), torch.ones(n, dtype=torch.bool)

    # Glasses or beard fade, in or out
    for name, share in (("glasses", 0.4), ("beard", 0.25)):
        rows = dice.some(share)
        touched = (labels[rows] == parts[name]) | (other_labels[rows] == parts[name])
        part = torch.where(_each(dice.uniform(len(rows)) < 0.7)[:, 0] > 0, 1.0, _blob(len(rows), 6, 14, generator))
        faded = torch.where(dice.uniform(len(rows)) < 0.4, 1.0, dice.uniform(len(rows), 0.1, 0.95))
        cover = _edge(touched) * part * faded[:, None, None]
        images[rows] = torch.lerp(images[rows], other_images[rows], cover[:, None])
        doubtful = touched & ((cover - 0.5).abs() < 0.15)
        changed = torch.where(touched & (cover > 0.5), other_labels[rows], labels[rows])
        labels[rows] = torch.where(doubtful, UNKNOWN, changed)
        unknown[rows, parts[name] - first] += doubtful.sum((1, 2))

    # A patch of the next face; whether the whole is one stays open
    rows = dice.some(0.1)
    other, patch = (rows + 1) % n, _blob(len(rows), 4, 9, generator)
    mixed = torch.lerp(images[rows], images[other], patch[:, None])
    labels[rows] = torch.where(patch > 0.5, labels[other], labels[rows])
    images[rows] = mixed
    whole[rows] = torch.maximum(whole[rows], whole[other])
    face[rows] = math.nan

    # Eyes or mouth are overgrown by skin
    rows = dice.some(0.07)
    lost = torch.where(dice.uniform(len(rows)) < 0.5, faces.LABELS.index("eyes"), faces.LABELS.index("mouth"))
    gone = labels[rows] == lost[:, None, None]
    images[rows] = torch.lerp(images[rows], _skin_around(images[rows], labels[rows]), _edge(gone)[:, None])
    labels[rows] = torch.where(gone, faces.LABELS.index("skin"), labels[rows])
    face[rows], known[rows] = 0, False

    # Melted, in part or whole
    rows = dice.some(0.1)
    blob = torch.where(_each(dice.uniform(len(rows)) < 0.3)[:, 0] > 0, 1.0, _blob(len(rows), 8, 22, generator))
    shown = torch.stack([labels[rows] == faces.LABELS.index(name) for name in ("skin", "eyes", "brows", "mouth")]).any(0)
    share = ((blob > 0.5) & shown).sum((1, 2)) / shown.sum((1, 2)).clamp(min=1)
    images[rows] = torch.lerp(images[rows], _melt(images[rows], dice), blob[:, None])
    labels[rows] = torch.where(blob > 0.5, UNKNOWN, labels[rows])
    _decide(face, rows, share, MELTED)
    opened = [rows[share > MELTED[0]]]

    # Several faces laid over each other
    rows = dice.some(0.2)
    many = torch.randint(2, 5, (len(rows), 1), generator=generator)
    weights = dice.uniform(4 * len(rows), 1e-3, 1.0).log().neg().view(-1, 4) * (torch.arange(4) < many)
    weights = weights / weights.sum(1, keepdim=True)
    stack = torch.stack([images[(rows + i) % n] for i in range(4)], 1)
    images[rows] = (stack * weights[:, :, None, None, None]).sum(1)
    clearest = weights.max(1)
    _decide(face, rows, 1 - clearest.values, (1 - EXPOSED[1], 1 - EXPOSED[0]))
    other = rows[(clearest.indices > 0) & (clearest.values > EXPOSED[0])]
    face[other] = math.nan
    mixed = rows[weights[:, 0] < EXPOSED[1]]
    labels[mixed] = UNKNOWN
    opened.append(mixed)

    # Places shift
    rows, warp = dice.some(0.5), torch.zeros(n)
    warp[rows] = dice.uniform(len(rows))
    images[rows], labels[rows] = _warp(images[rows], labels[rows], warp[rows] * DAMAGE["warp"], generator)

    # A few lose all structure
    scrambled = dice.some(0.04)
    images[scrambled], labels[scrambled] = _scramble(images[scrambled], generator), UNKNOWN

    images, amounts = spoil(images, dice)
    visible = count_pixels(labels, faces)
    presence = torch.full(whole.shape, math.nan)
    presence[(visible >= VISIBLE) & (visible >= 0.4 * whole)] = 1
    presence[visible + unknown < (whole / 8).clamp(min=3)] = 0
    opened = torch.cat(opened)
    presence[opened], known[opened] = math.nan, False
    presence, known[scrambled] = torch.cat([presence, face[:, None]], 1), False
    presence[scrambled] = 0
    own = torch.ones(whole.shape, dtype=torch.bool)
    return Damaged(images, labels, presence, own, known, torch.cat([amounts, warp[:, None]], 1))


def _decide(face, rows, share, limits):
    """Marks images as no faces where `share` of them is spoiled by more than the upper limit, as open between both."""
    face[rows[(share > limits[0]) & (face[rows] != 0)]] = math.nan
    face[rows[share > limits[1]]] = 0


def _skin_around(images, labels):
    """The colour of the skin about each pixel."""
    skin = (labels == faces.LABELS.index("skin")).float()[:, None]
    sums = sum(
        weight * F.avg_pool2d(torch.cat([images * skin, skin], 1), size, 1, size // 2)
        for size, weight in ((5, 1.0), (11, 0.1), (31, 1e-3))
    )
    return sums[:, :3] / sums[:, 3:].clamp(min=1e-6)


def spoil(images, dice):
    """What no drawn picture has: other contrast, colours and light, blur, ringing, grain, the grid of strided
    convolutions. Returns images in [-1, 1] and amounts (n, 3), shares of the first three of `DAMAGE`."""
    n, generator = len(images), dice.generator
    rows = dice.some(0.5)
    some = images[rows]
    mean = some.mean((1, 2, 3), keepdim=True)
    some = mean + (some - mean) * _each(dice.uniform(len(rows), 0.6, 1.2))
    grey = some.mean(1, keepdim=True)
    some = grey + (some - grey) * _each(dice.uniform(len(rows), 0.6, 1.25))
    some = some * (1 + 0.05 * dice.normal(len(rows), 3, 1, 1)) + 0.05 * dice.normal(len(rows), 3, 1, 1)
    field = F.interpolate(dice.normal(len(rows), 3, 4, 4), size=rooms.SIZE, mode="bilinear", align_corners=False)
    images[rows] = some + field * _each(dice.uniform(len(rows), -0.1, 0.1).clamp(min=0))

    # Edges blur, then ring; grain is of one to three pixels' size
    blur, ringing, noise = torch.zeros(3, n)
    rows = dice.some(0.5)
    blur[rows] = dice.uniform(len(rows))
    images[rows] = _blur(images[rows], blur[rows] * DAMAGE["blur"])
    rows = dice.some(0.4)
    ringing[rows] = dice.uniform(len(rows))
    soft = _blur(images[rows], dice.uniform(len(rows), 0.7, 1.5))
    images[rows] += (images[rows] - soft) * _each(ringing[rows] * DAMAGE["ringing"])
    rows = dice.some(0.4)
    noise[rows] = dice.uniform(len(rows))
    grain = _blur(dice.normal(len(rows), 3, rooms.SIZE, rooms.SIZE), dice.uniform(len(rows), 0, 1.2))
    grain = grain / grain.square().mean((1, 2, 3), keepdim=True).sqrt()
    images[rows] += grain * _each(noise[rows] * DAMAGE["noise"])

    # Two strides of 2 leave a tile of 4x4 pixels, stronger here and there
    rows = dice.some(0.5)
    tile = dice.normal(len(rows), 1, 4, 4) + 0.3 * dice.normal(len(rows), 3, 4, 4)
    tile = (tile - tile.mean((2, 3), keepdim=True)).repeat(1, 1, rooms.SIZE // 4, rooms.SIZE // 4)
    local = F.interpolate(
        torch.rand(len(rows), 1, 6, 6, generator=generator), size=rooms.SIZE, mode="bilinear", align_corners=False
    )
    images[rows] += tile * local * _each(dice.uniform(len(rows), 0, 0.06))
    return images.clamp_(-1, 1), torch.stack([blur, ringing, noise], 1)


class _Dice:
    """Random numbers, and which of n images something happens to; to some of them nothing does."""

    def __init__(self, n, generator, untouched):
        self.generator = generator
        self.active = self.uniform(n) >= untouched

    def uniform(self, n, low=0.0, high=1.0):
        return low + (high - low) * torch.rand(n, generator=self.generator)

    def normal(self, *shape):
        return torch.randn(shape, generator=self.generator)

    def some(self, p):
        """The indices of about a share p of the images."""
        return ((self.uniform(len(self.active)) < p) & self.active).nonzero().squeeze(1)


def _each(values):
    return values.float()[:, None, None, None]


def _pick(labels, weights, generator):
    """One object of each room, (n, 1), and its pixels (n, 64, 64), none where no object can be chosen.

    weights: object name to its weight; others have 1, or 0 where `weights` is `SOLID`."""
    weight = torch.tensor([float(weights.get(name, weights is not SOLID)) for name in rooms.OBJECTS])
    chosen = torch.multinomial((count_pixels(labels) > 0) * weight + 1e-9, 1, generator=generator)
    return chosen, (labels == chosen[..., None] + len(rooms.SURFACES)) & (weight[chosen] > 0)[..., None]


def _edge(mask, size=3):
    """A mask grown by `size` // 2 pixels, with soft edges: (n, 64, 64) in [0, 1]."""
    grown = F.max_pool2d(mask.float()[:, None], size, 1, size // 2)
    return _blur(grown, torch.full((len(mask),), 0.6))[:, 0]


def _melt(images, dice):
    """Moves every few pixels elsewhere by as much as a lamp is wide: colours stay, things do not."""
    moved = _warp(images, None, dice.uniform(len(images), 2.5, 5.0), dice.generator, ((16, 1.0),))[0]
    return _blur(moved, dice.uniform(len(images), 0.0, 1.2))


def _lay(images, labels, look, cover):
    """Lays `look` (n, 3, 64, 64), which is no object, over images; what it hides by half is not seen any more."""
    under = _surroundings(images, labels)[1]
    hidden = (cover > 0.5) & (labels >= len(rooms.SURFACES)) & (labels != UNKNOWN)
    return torch.lerp(images, look, cover[:, None]), torch.where(hidden, under, labels)


def _blob(n, low, high, generator):
    """Soft ellipses (n, 64, 64) in [0, 1], anywhere, with radii of `low` to `high` pixels."""
    draw = torch.rand(4, n, 1, generator=generator)
    along = torch.arange(rooms.SIZE)
    x, y = ((along - rooms.SIZE * draw[i]) / (low + (high - low) * draw[i + 1]) for i in (0, 2))
    return ((1 - (x.square()[:, None, :] + y.square()[:, :, None]).sqrt()) * 5 + 0.5).clamp(0, 1)


def _blur(images, sigma):
    """Gaussian blur with a width for each image, (n,) in pixels up to 1.6 and 0 for none."""
    n, channels, height, width = images.shape
    if n == 0:
        return images
    steps = torch.arange(-4, 5)
    kernel = torch.exp(-steps.square() / (2 * sigma[:, None].clamp(min=1e-3).square()))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    flat = F.pad(images.reshape(1, n * channels, height, width), (4, 4, 4, 4), mode="reflect")
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=n * channels)
    return F.conv2d(flat, kernel[:, None, :, None], groups=n * channels).view_as(images)


def _surroundings(images, labels):
    """The colour of the surfaces about each pixel, and which surface that is."""
    surfaces = torch.stack([labels == i for i in range(len(rooms.SURFACES))], 1).float()
    plain = surfaces.sum(1, keepdim=True)
    small = F.avg_pool2d(torch.cat([images * plain, surfaces, plain], 1), 4)
    # Near surfaces count most; far ones only where there are no near ones
    wide = small.mean((2, 3), keepdim=True) * 1e-4 + sum(
        weight * F.avg_pool2d(small, size, 1, size // 2, count_include_pad=False)
        for size, weight in ((3, 1.0), (7, 0.03))
    )
    under = wide[:, 3:6].argmax(1).repeat_interleave(4, 1).repeat_interleave(4, 2)
    colour = wide[:, :3] / wide[:, 6:].clamp(min=1e-6)
    return F.interpolate(colour, scale_factor=4.0, mode="bilinear", align_corners=False), under


def _warp(images, labels, amount, generator, grids=((5, 0.8), (13, 0.3))):
    """Shifts pixels smoothly, by about `amount` (n,) pixels; labels, if any, go along.

    grids: points across between which the shift is smooth, with its share of the amount."""
    n, size = len(images), rooms.SIZE
    if n == 0:
        return images, labels
    flow = sum(
        share
        * F.interpolate(
            torch.randn(n, 2, k, k, generator=generator), size=size, mode="bicubic", align_corners=True
        )
        for k, share in grids
    )
    base = F.affine_grid(torch.eye(2, 3).expand(n, 2, 3), [n, 1, size, size], align_corners=False)
    grid = base + (flow * _each(amount * 2 / size)).permute(0, 2, 3, 1)
    moved = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    if labels is None:
        return moved, None
    shown = F.grid_sample(labels[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False)
    return moved, shown[:, 0].long()


def _scramble(images, generator):
    """Images without what is in them, each in a way of its own: the phases of its waves are random, its 8x8 blocks are
    shuffled, or only a colour is left, with random spots, as networks draw that have learned nothing."""
    n, size = len(images), rooms.SIZE
    phase = np.fft.rfft2(torch.randn(n, 1, size, size, generator=generator).numpy())  # PyTorch's fails without images
    waves = np.abs(np.fft.rfft2(images.numpy())) * phase / np.maximum(np.abs(phase), 1e-6)
    noise = torch.from_numpy(np.fft.irfft2(waves, s=(size, size))).to(images)

    blocks = images.view(-1, 3, 8, 8, 8, 8).transpose(3, 4).reshape(-1, 3, 64, 8, 8)
    order = torch.rand(n, 64, generator=generator).argsort(1)[:, None, :, None, None].expand_as(blocks)
    shuffled = blocks.gather(2, order).view(-1, 3, 8, 8, 8, 8).transpose(3, 4).reshape(-1, 3, size, size)

    spots = images.mean((2, 3), keepdim=True) * torch.rand(n, 1, 1, 1, generator=generator)
    for cells in (4, 16, 64):
        field = torch.randn(n, 3, cells, cells, generator=generator) * torch.rand(n, 1, 1, 1, generator=generator)
        spots = spots + 0.25 * F.interpolate(field, size=size, mode="bilinear", align_corners=False)

    way = torch.randint(3, (n,), generator=generator)[:, None, None, None]
    return torch.where(way == 0, noise, torch.where(way == 1, shuffled, spots))


# ---------------------------------------------------------------------------------------------- training it


@dataclass(frozen=True)
class Lesson:
    """What an instrument learns from: `draw(n, seed, progress)` images of a world, `spoil(known, chosen, generator,
    untouched)` makes a Damaged of those chosen. `defaults` are of `train`; `polish` more steps follow, at a third of
    the rate, in which factors count `POLISHED` times as much."""

    draw: Callable
    spoil: Callable
    defaults: dict
    polish: int = 0


def _spoil_rooms(known, chosen, generator, untouched=0.25):
    labels = torch.from_numpy(known.labels[chosen].astype(np.int64))
    return damage(to_batch(known.images[chosen]), labels, generator, untouched)


def _spoil_faces(known, chosen, generator, untouched=0.25):
    pair = [(to_batch(each.images[chosen]), torch.from_numpy(each.labels[chosen].astype(np.int64)))
            for each in (known, known.others)]  # fmt: skip
    return damage_faces(*pair[0], *pair[1], generator, untouched)


class _Pairs(faces.Faces):
    """Faces, and as `others` the same with glasses and beard changed."""


def _face_pairs(n, seed=0, progress=True):
    arrays = dataset("face-pair", faces.VERSION, _pair_block, n, seed, None, progress)
    pairs = _Pairs.of(arrays)
    object.__setattr__(pairs, "others", faces.Faces(arrays["other_images"], arrays["other_labels"], {}))
    return pairs


def _pair_block(seed, n):
    arrays = block(faces.draw, seed, n)
    others = block(_other_face, seed, n)
    return arrays | {f"other_{name}": others[name] for name in ("images", "labels")}


def _other_face(seed):
    own = faces.sample(seed)
    man = own["presentation"] == "man"
    return faces.draw(seed, glasses=not own["glasses"], beard=man and not own["beard"])


LESSONS = {
    "rooms": Lesson(rooms.dataset, _spoil_rooms, {"count": 30_000, "steps": 4000, "width": 24}),
    "faces": Lesson(_face_pairs, _spoil_faces, {"count": 20_000, "steps": 3000, "width": 16}, polish=1000),
}


def train(out=None, world="rooms", count=None, steps=None, batch=32, seed=0, rate=3e-3, validation=2000, test=4000,
          calibration=5000, checkpoint_every=250, resume=False, device="auto", progress=True):  # fmt: skip
    """Trains an instrument on drawings of a world, tests it on others and writes it to folder `out`; returns it.

    out: by default where the shipped one is. count: images to learn from. validation: images that decide whether
    presence is read off the head, off the segmenter, or needs both. test: images that the card's scores are of, once
    as drawn and once damaged. calibration: images whose pairs fix what near-identical means. A checkpoint lies in
    `out` until the end; `resume` goes on from it, to the same result. Raises MeasureError if `resume` finds none.
    """
    lesson, schema = LESSONS[world], SCHEMAS[world]
    count, steps = count or lesson.defaults["count"], steps or lesson.defaults["steps"]
    out, device = Path(out or FOLDERS[world]), choose_device(device)
    out.mkdir(parents=True, exist_ok=True)
    learned = lesson.draw(count, TRAINING, progress=progress)
    targets = _targets(learned, schema)
    network = Network(lesson.defaults["width"], schema)
    random = stream(seed, "instrument")
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=random)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    network.to(device, memory_format=torch.channels_last)
    polish = min(lesson.polish, steps)
    step = _restore(out / "checkpoint.pt")["step"] if resume else 0
    optimiser, plan = _start(network, rate, steps, polish, step)
    parts, seconds = {"network": network, "optimiser": optimiser, "plan": plan}, 0.0
    if resume:
        seconds = _restore(out / "checkpoint.pt", parts)["seconds"]
    precision = _precision(network, device)
    began = time.perf_counter() - seconds
    bar = tqdm(total=steps + polish, initial=step, unit="step", disable=not progress)
    while step < steps + polish:
        random = stream(seed, f"batch {step}")
        chosen = torch.randint(count, (batch,), generator=random).sort().values.numpy()
        seen = lesson.spoil(learned, chosen, random)
        optimiser.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits, _, outputs = network(seen.images.to(device))
        known = {name: values[chosen] for name, values in targets.items()}
        losses = _losses(logits.float().cpu(), outputs.float().cpu(), seen, known, schema)
        if step >= steps:
            losses["factors"] = POLISHED * losses["factors"]
        sum(losses.values()).backward()
        optimiser.step()
        plan.step()
        step += 1
        if step == steps and polish:
            parts["optimiser"], parts["plan"] = optimiser, plan = _start(network, rate, steps, polish, step)
        bar.set_postfix_str(" ".join(f"{name} {loss.item():.3f}" for name, loss in losses.items()), refresh=False)
        bar.update()
        if step % checkpoint_every == 0:
            state = {name: part.state_dict() for name, part in parts.items()}
            with atomic_write(out / "checkpoint.pt") as temporary:
                torch.save(state | {"step": step, "seconds": time.perf_counter() - began}, temporary)
    bar.close()
    seconds = time.perf_counter() - began

    stored = {
        name: (value.half() if value.ndim > 1 else value).contiguous().cpu()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    card = {"width": network.width, "presence": "head"}
    with atomic_write(out / "instrument.safetensors") as temporary:
        temporary.write_bytes(save(stored))
    network.cpu().load_state_dict({name: value.float() for name, value in stored.items()}, strict=False)
    instrument = Instrument(network, card)
    accuracies = {}
    judged = _damaged(lesson, validation, VALIDATION, seed, progress)
    for way in ("head", "segmenter", "both"):
        instrument.card = card | {"presence": way}
        accuracies[way] = sum(
            part["accuracy"]["value"] for seen in judged for part in _judge(instrument, seen)["presence"].values()
        ) / (len(judged) * len(schema.things))
    instrument.card = card = card | {"presence": max(accuracies, key=accuracies.get)}
    drawn, damaged = _damaged(lesson, test, TEST, seed, progress)
    tested = lesson.draw(test, TEST, progress=progress)
    features = instrument.features(schema.world.dataset(calibration, HELD_OUT, progress=progress).images)
    card = {
        "name": FOLDERS[world].name,
        "data": {"name": world, "version": schema.world.VERSION, "images": count, "first_seed": TRAINING},
        "held_out": {"validation": [VALIDATION, validation], "test": [TEST, test]},
        "seed": seed,
        "steps": steps,
        **({"polish": polish} if polish else {}),
        "batch": batch,
        **card,
        "presence_chosen_by": {way: rounded(value) for way, value in accuracies.items()},
        "visible": VISIBLE,
        "near_identical": rounded(_pair_quantile(features, NEAR_PAIRS)),
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "training_seconds": round(seconds),
        "machine": machine_facts(device, precision),
        "command": _train_command(world, count, steps, batch, seed, rate),
        "scores": {
            "interval": "95 %",
            world: _judge(instrument, drawn) | _judge_factors(instrument, tested),
            f"damaged {world}": _judge(instrument, damaged),
        },
    }
    instrument.card = card
    with atomic_write(out / "card.json") as temporary:
        temporary.write_text(json.dumps(card, indent=1) + "\n")
    (out / "checkpoint.pt").unlink(missing_ok=True)
    return instrument


def _start(network, rate, steps, polish, step):
    """Optimiser and plan of the steps from 0 on, or from `steps` on of those that polish."""
    rate, steps = (rate / 3, polish) if step >= steps and polish else (rate, steps)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.01)
    return optimiser, torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=0.1)


def _restore(path, parts=()):
    """The checkpoint at `path`, put into `parts`, name to what has a state."""
    if not path.exists():
        raise MeasureError(f"there is no checkpoint in {path.parent}: leave out --resume")
    state = torch.load(path, map_location="cpu", weights_only=True)
    for name in parts:
        parts[name].load_state_dict(state[name])
    return state


def _precision(network, device):
    """bf16 where a forward pass in it is faster than in fp32."""
    seconds = {}
    images = torch.zeros(32, 3, rooms.SIZE, rooms.SIZE, device=device)
    network.eval()
    for precision in ("fp32", "bf16") * 3:
        start = time.perf_counter()
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            network(images)[2].sum().item()
        seconds[precision] = min(time.perf_counter() - start, seconds.get(precision, math.inf))
    network.train()
    return min(seconds, key=seconds.get)


def _train_command(world, count, steps, batch, seed, rate):
    own = LESSONS[world].defaults
    given = {"world": world, world: count, "steps": steps, "batch": batch, "seed": seed, "rate": rate}
    defaults = {"world": "rooms", world: own["count"], "steps": own["steps"], "batch": 32, "seed": 0, "rate": 3e-3}
    words = [f"--{name} {value}" for name, value in given.items() if value != defaults[name]]
    return " ".join(["python -m dcgan_book.instruments", *words])


def _targets(known, schema):
    """The factors of drawn images as the heads are to give them."""
    scalars = []
    for name in schema.scalars:
        low, high = schema.world.RANGES[name]
        scalars.append(2 * (known.factors[name] - low) / (high - low) - 1)
    angles = 2 * math.pi * np.stack([known.factors[name] for name in schema.hues], 1)
    targets = {"scalars": np.stack(scalars, 1), "hues": np.stack([np.cos(angles), np.sin(angles)], 2).reshape(-1, 4)}
    targets = {name: torch.from_numpy(values).float() for name, values in targets.items()}
    for name, options in schema.choices.items():
        targets[name] = torch.from_numpy(np.argmax(known.factors[name][:, None] == np.array(options), 1))
    return targets


def _losses(logits, outputs, seen, targets, schema):
    """What the readings of damaged images cost, by name."""
    heads = schema.split(outputs)
    counted = ~seen.presence.isnan()
    whole = counted.clone()  # the wholes count apart, as each is as much as all objects together
    counted[:, len(schema.world.OBJECTS) :], whole[:, : len(schema.world.OBJECTS)] = False, False
    scrambled = ~seen.known & (seen.presence == 0).all(1)
    surfaces = F.log_softmax(logits[scrambled], 1)[:, : len(schema.world.SURFACES)].logsumexp(1)
    losses = {
        "labels": F.cross_entropy(logits, seen.labels, ignore_index=UNKNOWN),
        "nothing": -surfaces.sum() / seen.labels.numel(),  # no object where there is no structure
        "presence": F.binary_cross_entropy_with_logits(heads["presence"][counted], seen.presence[counted]),
        "factors": sum(
            F.smooth_l1_loss(heads[name][seen.known], targets[name][seen.known], beta=0.1)
            for name in ("scalars", "hues")
        ),
        "damage": 0.5 * F.smooth_l1_loss(heads["damage"], seen.amounts, beta=0.1),
    }
    if schema.wholes:
        losses["whole"] = F.binary_cross_entropy_with_logits(heads["presence"][whole], seen.presence[whole])
    choices = []
    for name in schema.choices:
        there = seen.known
        if name in schema.owners:
            i = schema.world.OBJECTS.index(schema.owners[name])
            there = there & (seen.presence[:, i] == 1) & seen.own[:, i]
        each = F.cross_entropy(heads[name], targets[name], reduction="none")
        choices.append((each * there).sum() / there.sum().clamp(min=1))
    return losses | {"choices": 0.1 * sum(choices)}


def _damaged(lesson, n, first_seed, seed, progress, size=250):
    """Drawn images as they are, and damaged, as two `Damaged`."""
    known, kinds = lesson.draw(n, first_seed, progress=progress), []
    for untouched in (1.0, 0.0):
        parts = [
            lesson.spoil(known, slice(i, i + size), stream(seed, f"test {i}"), untouched) for i in range(0, n, size)
        ]
        fields = Damaged.__dataclass_fields__
        kinds.append(Damaged(**{name: torch.cat([getattr(part, name) for part in parts]) for name in fields}))
    return kinds


def _judge(instrument, seen):
    """Presence (share right; of those there, found; of those not there, passed over) and overlap, by object.

    Objects whose presence is left open are not counted. IoU is the mean over images that show the object.
    """
    reading = instrument.read(seen.images)
    schema, presence, overlap = instrument.schema, {}, {}
    for i, name in enumerate(schema.things):
        truth, said = seen.presence[:, i], reading.presence[name]
        sets = {"accuracy": ~truth.isnan(), "found": truth == 1, "passed_over": truth == 0}
        presence[name] = {
            what: numbers(wilson(int((said == (truth == 1))[chosen].sum()), int(chosen.sum())))
            for what, chosen in sets.items()
            if chosen.any()
        }
        if name in schema.wholes:
            continue
        index = schema.world.LABELS.index(name)
        overlap[name] = numbers(bootstrap(intersection_over_union(reading.labels, seen.labels, index)[truth == 1]))
    return {"images": len(reading), "presence": presence, "iou": overlap}


def intersection_over_union(labels, truth, index):
    """Overlap of one label in each image: (n,) in [0, 1], 1 where neither has it; `UNKNOWN` pixels do not count."""
    counted = truth != UNKNOWN
    said, there = (labels == index) & counted, truth == index
    union = (said | there).sum((1, 2))
    return torch.where(union > 0, (said & there).sum((1, 2)) / union.clamp(min=1), 1.0)


def _judge_factors(instrument, known):
    """Mean absolute errors of scalars (as shares of their range) and hues (in turns), accuracy of choices."""
    schema, found, errors, right = instrument.schema, instrument.factors(known.images), {}, {}
    for name in schema.scalars:
        low, high = schema.world.RANGES[name]
        errors[name] = numbers(bootstrap((found[name] - torch.from_numpy(known.factors[name])).abs() / (high - low)))
    for name in schema.hues:
        away = (found[name] - torch.from_numpy(known.factors[name])).abs() % 1
        errors[name] = numbers(bootstrap(torch.minimum(away, 1 - away)))
    if "night" in found:
        right["night"] = wilson(int((found["night"].numpy() == (known.factors["daylight"] < DARK)).sum()), len(known))
    for name in schema.choices:
        there = known.factors[schema.owners[name]] if name in schema.owners else np.ones(len(known), bool)
        right[name] = wilson(int((found[name] == known.factors[name])[there].sum()), int(there.sum()))
    return {"error": errors, "right": {name: numbers(estimate) for name, estimate in right.items()}}


def _pair_quantile(features, share):
    """The distance below which a share of all pairs lies."""
    distances = F.pdist(features).sort().values / math.sqrt(features.shape[1])
    return distances[int(share * len(distances))].item()


def main(arguments=None):
    """The command line; ends the process with 1 and one line where training cannot go on."""
    parser = argparse.ArgumentParser(prog="python -m dcgan_book.instruments", description=__doc__.split("\n")[0])
    parser.add_argument("--out", metavar="FOLDER", help="default: the package's weights")
    parser.add_argument("--world", choices=LESSONS, default="rooms", help="default: rooms")
    parser.add_argument(
        "--rooms", "--faces", type=int, metavar="N", dest="count", help="to learn from (default: 30000, 20000)"
    )
    parser.add_argument("--steps", type=int, metavar="N", help="default: 4000, for faces 3000")
    parser.add_argument("--batch", type=int, metavar="N", default=32, help="default: 32")
    parser.add_argument("--seed", type=int, metavar="N", default=0, help="default: 0")
    parser.add_argument("--rate", type=float, metavar="RATE", default=3e-3, help="default: 0.003")
    parser.add_argument("--device", default="auto", help="auto (cuda, else mps, else cpu) or a device's name")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    options = vars(parser.parse_args(arguments))
    try:
        instrument = train(**options)
        print(json.dumps(instrument.card["scores"], indent=1))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
