"""What generators do to their images, done to drawn ones: what the instruments of `measure.py` learn from.

`damage_rooms` and `damage_faces` change drawn images as a generator spoils its own (objects melt, fade and haunt other
places, faces lie over each other, light and edges go wrong) and say what is still true of each. A change of what is
drawn at random, or of its order, gives other images: the shipped instruments could then not be trained again.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from dcgan_book.measure.network import DAMAGE
from dcgan_book.measure.reading import VISIBLE, count_pixels
from dcgan_book.worlds import faces, rooms

# Objects that stand out and are small: what melts, and what ghosts are of, with its weight
SOLID = {"window": 1, "lamp": 1.5, "nightstand": 0.5, "tv": 1.5, "door": 1.5, "picture": 1, "mirror": 1}
UNKNOWN = 255  # label of a pixel that may be read either way
EXPOSED = (0.70, 0.85)  # share of one face in several laid over each other: below it is none, above it is one
MELTED = (0.10, 0.35)  # share of a face's skin, eyes, brows and mouth that melts: below it is a face, above none


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


def damage_rooms(images, labels, generator, untouched=0.25):
    """Does to drawn rooms what generators do to theirs, each with its own chance and amount.

    images: (n, 3, 64, 64) in [-1, 1]. labels: long (n, 64, 64). generator: torch.Generator. untouched: share that
    stays as it is. Patches of another room are blended in; an object fades into what is around it, vanishes in
    part or whole, or melts; objects of another room appear as ghosts, faint or melted; blots of an object's colour
    lie about; a few become scrambled rooms with no object at all; `_spoil` does the rest. What is half faded, faint
    or melted is not there. An object is present from `VISIBLE` pixels and a quarter of its size on, absent below a
    twentieth of it; in between its presence is left open. Returns a Damaged.
    """
    n, dice = len(images), _Dice(len(images), generator, untouched)
    images, labels, whole = images.contiguous().clone(), labels.clone(), count_pixels(labels)
    drawn, drawn_labels = images.clone(), labels.clone()

    # A patch of the next room
    rows, patch = _graft(images, labels, whole, dice, 0.2, (5, 14))
    own = torch.ones(whole.shape, dtype=torch.bool)
    own[rows] = count_pixels(torch.where(patch, drawn_labels[(rows + 1) % n], 0)) == 0

    # One object fades or vanishes, in part or whole; wall, floor or ceiling take its place
    rows = dice.some(0.4)
    chosen, of_it = _pick(labels[rows], {"bed": 0.6}, generator)
    cover = _fading(of_it, dice, (8, 20), wholly=0.5, least=0.2)
    around, under = _surroundings(images[rows], labels[rows])
    images[rows] = torch.lerp(images[rows], around, cover[:, None])
    gone, doubtful = of_it & (cover > 0.5), of_it & (cover > 0.3) & (cover <= 0.5)
    labels[rows] = torch.where(gone, under, torch.where(doubtful, UNKNOWN, labels[rows]))
    unknown = torch.zeros_like(whole)
    unknown[rows] = unknown[rows].scatter(1, chosen, doubtful.sum((1, 2))[:, None])

    # One object melts
    rows = dice.some(0.3)
    _, of_it = _pick(labels[rows], SOLID, generator, others=0.0)
    under = _surroundings(images[rows], labels[rows])[1]
    images[rows] = torch.lerp(images[rows], _melt(images[rows], dice), _edge(of_it, 7)[:, None])
    labels[rows] = torch.where(of_it, under, labels[rows])

    # Ghosts of another room's objects: faint, or clear but melted
    for share in (0.3, 0.2):
        rows = dice.some(share)
        other = (rows + 1 + torch.randint(max(n - 1, 1), (len(rows),), generator=generator)) % n
        _, of_it = _pick(drawn_labels[other], SOLID, generator, others=0.0)
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

    amounts, scrambled = _spoil(images, labels, dice, 0.06)
    presence = _presence(count_pixels(labels), unknown, whole, there=1 / 4, gone=20)
    presence[scrambled] = 0
    known = torch.ones(n, dtype=torch.bool)
    known[scrambled] = False
    return Damaged(images, labels, presence, own, known, amounts)


def damage_faces(images, labels, other_images, other_labels, generator, untouched=0.25):
    """Does to drawn faces what generators do to theirs, each with its own chance and amount.

    images, labels: as for `damage_rooms`. other_images, other_labels: the same faces with glasses, and in men a beard,
    where they have none, and without where they have them. Between the two, glasses or beard fade, in part or whole; a
    patch of the next face is blended in; places shift; `_spoil` does the rest. What is no face any more: two to four
    faces laid over each other, a face that has melted, one whose eyes or mouth are skin, and one that is scrambled. Of
    the first two it stays open what is in them. Returns a Damaged, its last column of presence the face itself.
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
        cover = _fading(touched, dice, (6, 14), wholly=0.4, least=0.1)
        images[rows] = torch.lerp(images[rows], other_images[rows], cover[:, None])
        doubtful = touched & ((cover - 0.5).abs() < 0.15)
        changed = torch.where(touched & (cover > 0.5), other_labels[rows], labels[rows])
        labels[rows] = torch.where(doubtful, UNKNOWN, changed)
        unknown[rows, parts[name] - first] += doubtful.sum((1, 2))

    # A patch of the next face; whether the whole is one stays open
    rows, _ = _graft(images, labels, whole, dice, 0.1, (4, 9))
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

    amounts, scrambled = _spoil(images, labels, dice, 0.04)
    presence = _presence(count_pixels(labels, faces), unknown, whole, there=0.4, gone=8)
    opened = torch.cat(opened)
    presence[opened], known[opened] = math.nan, False
    presence, known[scrambled] = torch.cat([presence, face[:, None]], 1), False
    presence[scrambled] = 0
    own = torch.ones(whole.shape, dtype=torch.bool)
    return Damaged(images, labels, presence, own, known, amounts)


def _graft(images, labels, whole, dice, share, radii):
    """Blends a patch of the next image into a share of them, in place. Returns which, and where: bool (rows, 64, 64)."""
    rows = dice.some(share)
    other, patch = (rows + 1) % len(images), _blob(len(rows), *radii, dice.generator)
    mixed = torch.lerp(images[rows], images[other], patch[:, None])
    mixed_labels = torch.where(patch > 0.5, labels[other], labels[rows])
    whole[rows] = torch.maximum(whole[rows], whole[other])
    images[rows], labels[rows] = mixed, mixed_labels
    return rows, patch > 0.5


def _fading(mask, dice, radii, wholly, least):
    """How far what is in a mask has faded, (n, 64, 64): everywhere or in a blob; a share `wholly` is gone there, the
    others by `least` or more."""
    n = len(mask)
    part = torch.where(_each(dice.uniform(n) < 0.7)[:, 0] > 0, 1.0, _blob(n, *radii, dice.generator))
    faded = torch.where(dice.uniform(n) < wholly, 1.0, dice.uniform(n, least, 0.95))
    return _edge(mask) * part * faded[:, None, None]


def _presence(visible, unknown, whole, there, gone):
    """1, 0, or nan where it stays open, (n, objects), from the pixels that are seen, doubtful, and an object has whole."""
    presence = torch.full(whole.shape, math.nan)
    presence[(visible >= VISIBLE) & (visible >= there * whole)] = 1
    presence[visible + unknown < (whole / gone).clamp(min=3)] = 0
    return presence


def _spoil(images, labels, dice, scrambling):
    """What befalls every picture, in place: places shift, a share loses all structure, and what `_develop` does.

    Returns amounts (n, 4), shares of `DAMAGE`, and which are scrambled."""
    rows, warp = dice.some(0.5), torch.zeros(len(images))
    warp[rows] = dice.uniform(len(rows))
    images[rows], labels[rows] = _warp(images[rows], labels[rows], warp[rows] * DAMAGE["warp"], dice.generator)
    scrambled = dice.some(scrambling)
    images[scrambled], labels[scrambled] = _scramble(images[scrambled], dice.generator), UNKNOWN
    return torch.cat([_develop(images, dice), warp[:, None]], 1), scrambled


def _develop(images, dice):
    """What no drawn picture has, in place: other contrast, colours and light, blur, ringing, grain, the grid of strided
    convolutions. Returns amounts (n, 3), shares of the first three of `DAMAGE`."""
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
    images.clamp_(-1, 1)
    return torch.stack([blur, ringing, noise], 1)


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


def _each(values):
    return values.float()[:, None, None, None]


def _pick(labels, weights, generator, others=1.0):
    """One object of each room, (n, 1), and its pixels (n, 64, 64), none where no object can be chosen.

    weights: object name to its weight; all others have that of `others`."""
    weight = torch.tensor([weights.get(name, others) for name in rooms.OBJECTS])
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
