"""What generators do to their images, done to drawn ones: what the instruments learn from.

`damage_rooms` and `damage_faces` change drawn images as generators get theirs wrong (objects melt,
fade and appear in wrong places, faces lie over each other, light and edges go wrong) and say what
is still true of each. Both are a list of effects, applied in order. A change of what is drawn at
random, or of its order, gives other images: the shipped instruments could then not be trained
again.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from dcgan_book.measure.network import DAMAGE
from dcgan_book.measure.reading import VISIBLE, count_pixels
from dcgan_book.worlds import faces, rooms

# Objects that stand out and are small: what melts, and what ghosts are of, with its weight
SOLID = {
    "window": 1, "lamp": 1.5, "nightstand": 0.5, "tv": 1.5, "door": 1.5, "picture": 1, "mirror": 1,
}  # fmt: skip
UNKNOWN = 255  # label of a pixel that may be read either way
# Share of one face in several laid over each other: below the first it is none, above the second
# it is one
EXPOSED = (0.70, 0.85)
# Share of a face's skin, eyes, brows and mouth that melts: below the first it is a face, above the
# second none
MELTED = (0.10, 0.35)


@dataclass(frozen=True)
class Damaged:
    """Images that look generated, and what is still true of them.

    images: (n, 3, 64, 64). labels: (n, 64, 64), `UNKNOWN` where an object is half faded. presence:
    (n, things), 1, 0, or nan where an object is neither there nor gone. own: bool (n, objects), the
    object is the image's own. known: bool (n,), the image's factors hold. amounts: (n, 4), shares
    of `DAMAGE`.
    """

    images: torch.Tensor
    labels: torch.Tensor
    presence: torch.Tensor
    own: torch.Tensor
    known: torch.Tensor
    amounts: torch.Tensor


def damage_rooms(
    images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator, untouched: float = 0.25
) -> Damaged:
    """Does to drawn rooms what generators do to theirs: `ROOM_EFFECTS`, each with its own chance
    and amount.

    images: (n, 3, 64, 64) in [-1, 1]. labels: long (n, 64, 64). generator: torch.Generator.
    untouched: share that stays as it is. What is half faded, faint or melted is not there. An
    object is present from `VISIBLE` pixels and a quarter of its size on, absent below a twentieth
    of it; in between its presence is left open. Returns a Damaged.
    """
    batch = _Batch(images, labels, generator, untouched, rooms)
    for effect in ROOM_EFFECTS.values():
        effect(batch)
    presence = batch.presence(there=1 / 4, gone=20)
    presence[batch.scrambled] = 0
    return batch.result(presence)


def damage_faces(
    images: torch.Tensor,
    labels: torch.Tensor,
    other_images: torch.Tensor,
    other_labels: torch.Tensor,
    generator: torch.Generator,
    untouched: float = 0.25,
) -> Damaged:
    """Does to drawn faces what generators do to theirs: `FACE_EFFECTS`, each with its own chance
    and amount.

    images, labels: as for `damage_rooms`. other_images, other_labels: the same faces with glasses,
    and in men a beard, where they have none, and without where they have them. What is no face any
    more: two to four faces laid over each other, a face that has melted, one whose eyes or mouth
    are skin, and one that is scrambled. Of the first two it stays open what is in them. Returns a
    Damaged, its last column of presence the face itself.
    """
    batch = _Batch(images, labels, generator, untouched, faces)
    batch.other_images, batch.other_labels = other_images, other_labels
    batch.whole = torch.maximum(batch.whole, count_pixels(other_labels, faces))
    for effect in FACE_EFFECTS.values():
        effect(batch)
    presence = batch.presence(there=0.4, gone=8)
    presence[batch.open], batch.known[batch.open] = math.nan, False
    presence = torch.cat([presence, batch.face[:, None]], 1)
    presence[batch.scrambled] = 0
    return batch.result(presence)


class _Batch:
    """Images while effects change them, in place, and what stays true of them.

    drawn, drawn_labels: as they came. whole: pixels of each object where all of it shows; unknown:
    those that may be read either way. face: 1, 0, or nan where it stays open whether it is one.
    scrambled, open: bool (n,), nothing holds of it, or it stays open what is in it. amounts: shares
    of `DAMAGE`, by name.
    """

    def __init__(self, images, labels, generator, untouched, world):
        n = len(images)
        self.random, self.world = _Random(n, generator, untouched), world
        self.drawn, self.drawn_labels = images, labels
        self.other_images, self.other_labels = images, labels  # the same, glasses or beard changed
        self.images, self.labels = images.contiguous().clone(), labels.clone()
        self.whole = count_pixels(labels, world)
        self.unknown = torch.zeros_like(self.whole)
        self.own = torch.ones(self.whole.shape, dtype=torch.bool)
        self.known, self.face = torch.ones(n, dtype=torch.bool), torch.ones(n)
        self.scrambled, self.open = torch.zeros(2, n, dtype=torch.bool)
        self.amounts = {name: torch.zeros(n) for name in DAMAGE}

    def __len__(self):
        return len(self.images)

    def some(self, share):
        """The indices of about a share of the images that are not to stay untouched."""
        return self.random.some(share)

    def amount(self, name, rows):
        """Draws how much of one of `DAMAGE` befalls some images; returns it in its own unit."""
        self.amounts[name][rows] = self.random.uniform(len(rows))
        return self.amounts[name][rows] * DAMAGE[name]

    def presence(self, there, gone):
        """1, 0, or nan where it stays open, (n, objects), from the pixels that each object still
        has.

        there: share of them from which on it is present. gone: it is absent below one in so
        many."""
        visible = count_pixels(self.labels, self.world)
        presence = torch.full(self.whole.shape, math.nan)
        presence[(visible >= VISIBLE) & (visible >= there * self.whole)] = 1
        presence[visible + self.unknown < (self.whole / gone).clamp(min=3)] = 0
        return presence

    def result(self, presence):
        self.known[self.scrambled] = False
        amounts = torch.stack([self.amounts[name] for name in DAMAGE], 1)
        return Damaged(self.images, self.labels, presence, self.own, self.known, amounts)


class _Random:
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


# ----------------------------------------------------------------------------- effects on rooms


def _patch(batch, share, radii):
    """Blends a patch of the next image into some. Returns which, and where: bool (rows, 64, 64)."""
    images, labels, whole = batch.images, batch.labels, batch.whole
    rows = batch.some(share)
    other, patch = (rows + 1) % len(batch), _blob(len(rows), *radii, batch.random.generator)
    mixed = torch.lerp(images[rows], images[other], patch[:, None])
    mixed_labels = torch.where(patch > 0.5, labels[other], labels[rows])
    whole[rows] = torch.maximum(whole[rows], whole[other])
    images[rows], labels[rows] = mixed, mixed_labels
    return rows, patch > 0.5


def _patch_room(batch):
    """An object that reaches into the patch is another room's."""
    rows, patch = _patch(batch, 0.2, (5, 14))
    others = batch.drawn_labels[(rows + 1) % len(batch)]
    batch.own[rows] = count_pixels(torch.where(patch, others, 0)) == 0


def _fade_object(batch):
    """One object fades or vanishes, in part or whole; wall, floor or ceiling take its place."""
    images, labels, random = batch.images, batch.labels, batch.random
    rows = batch.some(0.4)
    chosen, of_it = _pick(labels[rows], {"bed": 0.6}, random.generator)
    cover = _fading(of_it, random, (8, 20), wholly=0.5, least=0.2)
    around, under = _surroundings(images[rows], labels[rows])
    images[rows] = torch.lerp(images[rows], around, cover[:, None])
    gone, doubtful = of_it & (cover > 0.5), of_it & (cover > 0.3) & (cover <= 0.5)
    labels[rows] = torch.where(gone, under, torch.where(doubtful, UNKNOWN, labels[rows]))
    count = doubtful.sum((1, 2))[:, None]
    batch.unknown[rows] = batch.unknown[rows].scatter(1, chosen, count)


def _melt_object(batch):
    """One object melts."""
    images, labels = batch.images, batch.labels
    rows = batch.some(0.3)
    _, of_it = _pick(labels[rows], SOLID, batch.random.generator, others=0.0)
    under = _surroundings(images[rows], labels[rows])[1]
    melted = _melt(images[rows], batch.random)
    images[rows] = torch.lerp(images[rows], melted, _edge(of_it, 7)[:, None])
    labels[rows] = torch.where(of_it, under, labels[rows])


def _add_ghosts(batch):
    """Objects of another room appear: faint, or clear but melted."""
    n, images, labels, random = len(batch), batch.images, batch.labels, batch.random
    for share in (0.3, 0.2):
        rows = batch.some(share)
        away = torch.randint(max(n - 1, 1), (len(rows),), generator=random.generator)
        other = (rows + 1 + away) % n
        _, of_it = _pick(batch.drawn_labels[other], SOLID, random.generator, others=0.0)
        faint = random.uniform(len(rows)) < 0.5
        look = torch.cat([batch.drawn[other], _edge(of_it)[:, None]], 1)
        look = torch.where(_each(faint) > 0, look, _melt(look, random))
        weak, strong = random.uniform(len(rows), 0.1, 0.45), random.uniform(len(rows), 0.4, 1.0)
        cover = look[:, 3] * torch.where(faint, weak, strong)[:, None, None]
        images[rows], labels[rows] = _lay(images[rows], labels[rows], look[:, :3], cover)


def _add_blots(batch):
    """Blots of a colour that objects of the next room have lie about."""
    images, labels, random = batch.images, batch.labels, batch.random
    for share in (0.3, 0.2):
        rows = batch.some(share)
        other = (rows + 1) % len(batch)
        weight = (batch.drawn_labels[other] >= len(rooms.SURFACES)).flatten(1).float() + 1e-9
        at = torch.multinomial(weight, 1, generator=random.generator)[:, None].expand(-1, 3, -1)
        colour = batch.drawn[other].flatten(2).gather(2, at)[..., None]
        blot = _blob(len(rows), 2, 7, random.generator)[:, None]
        blot = _warp(blot, None, random.uniform(len(rows), 0, 3), random.generator)[0]
        cover = blot[:, 0] * random.uniform(len(rows), 0.3, 1.0)[:, None, None]
        colour = colour.expand(-1, -1, rooms.SIZE, rooms.SIZE)
        images[rows], labels[rows] = _lay(images[rows], labels[rows], colour, cover)


# ----------------------------------------------------------------------------- effects on faces


def _fade_accessories(batch):
    """Glasses or beard fade, in or out, in part or whole."""
    images, labels, first = batch.images, batch.labels, len(faces.SURFACES)
    for name, share in (("glasses", 0.4), ("beard", 0.25)):
        part = faces.OBJECTS.index(name)
        rows = batch.some(share)
        other_labels = batch.other_labels[rows]
        touched = (labels[rows] == first + part) | (other_labels == first + part)
        cover = _fading(touched, batch.random, (6, 14), wholly=0.4, least=0.1)
        images[rows] = torch.lerp(images[rows], batch.other_images[rows], cover[:, None])
        doubtful = touched & ((cover - 0.5).abs() < 0.15)
        changed = torch.where(touched & (cover > 0.5), other_labels, labels[rows])
        labels[rows] = torch.where(doubtful, UNKNOWN, changed)
        batch.unknown[rows, part] += doubtful.sum((1, 2))


def _patch_face(batch):
    """Whether the whole is one face stays open."""
    rows, _ = _patch(batch, 0.1, (4, 9))
    batch.face[rows] = math.nan


def _lose_feature(batch):
    """Eyes or mouth are overgrown by skin."""
    images, labels = batch.images, batch.labels
    eyes, mouth, skin = (faces.LABELS.index(name) for name in ("eyes", "mouth", "skin"))
    rows = batch.some(0.07)
    lost = torch.where(batch.random.uniform(len(rows)) < 0.5, eyes, mouth)
    gone = labels[rows] == lost[:, None, None]
    around = _skin_around(images[rows], labels[rows])
    images[rows] = torch.lerp(images[rows], around, _edge(gone)[:, None])
    labels[rows] = torch.where(gone, skin, labels[rows])
    batch.face[rows], batch.known[rows] = 0, False


def _melt_face(batch):
    """A face melts, in part or whole."""
    images, labels, random = batch.images, batch.labels, batch.random
    rows = batch.some(0.1)
    wholly = _each(random.uniform(len(rows)) < 0.3)[:, 0] > 0
    blob = torch.where(wholly, 1.0, _blob(len(rows), 8, 22, random.generator))
    features = [faces.LABELS.index(name) for name in ("skin", "eyes", "brows", "mouth")]
    shown = torch.stack([labels[rows] == index for index in features]).any(0)
    share = ((blob > 0.5) & shown).sum((1, 2)) / shown.sum((1, 2)).clamp(min=1)
    images[rows] = torch.lerp(images[rows], _melt(images[rows], random), blob[:, None])
    labels[rows] = torch.where(blob > 0.5, UNKNOWN, labels[rows])
    _decide(batch.face, rows, share, MELTED)
    batch.open[rows[share > MELTED[0]]] = True


def _overlay_faces(batch):
    """Two to four faces lie over each other."""
    images, random = batch.images, batch.random
    rows = batch.some(0.2)
    many = torch.randint(2, 5, (len(rows), 1), generator=random.generator)
    weights = random.uniform(4 * len(rows), 1e-3, 1.0).log().neg().view(-1, 4)
    weights = weights * (torch.arange(4) < many)
    weights = weights / weights.sum(1, keepdim=True)
    stack = torch.stack([images[(rows + i) % len(batch)] for i in range(4)], 1)
    images[rows] = (stack * weights[:, :, None, None, None]).sum(1)
    clearest = weights.max(1)
    _decide(batch.face, rows, 1 - clearest.values, (1 - EXPOSED[1], 1 - EXPOSED[0]))
    other = rows[(clearest.indices > 0) & (clearest.values > EXPOSED[0])]
    batch.face[other] = math.nan
    mixed = rows[weights[:, 0] < EXPOSED[1]]
    batch.labels[mixed] = UNKNOWN
    batch.open[mixed] = True


# --------------------------------------------------------------------- effects on every picture


def _shift(batch):
    """Places shift."""
    images, labels = batch.images, batch.labels
    rows = batch.some(0.5)
    amount, generator = batch.amount("warp", rows), batch.random.generator
    images[rows], labels[rows] = _warp(images[rows], labels[rows], amount, generator)


def _lose_structure(batch, share):
    """Some become scrambled, with no object at all."""
    rows = batch.some(share)
    batch.images[rows] = _scramble(batch.images[rows], batch.random.generator)
    batch.labels[rows] = UNKNOWN
    batch.scrambled[rows] = True


def _light(batch):
    """Other contrast, colours and light."""
    random = batch.random
    rows = batch.some(0.5)
    n, some = len(rows), batch.images[rows]
    mean = some.mean((1, 2, 3), keepdim=True)
    some = mean + (some - mean) * _each(random.uniform(n, 0.6, 1.2))
    grey = some.mean(1, keepdim=True)
    some = grey + (some - grey) * _each(random.uniform(n, 0.6, 1.25))
    some = some * (1 + 0.05 * random.normal(n, 3, 1, 1)) + 0.05 * random.normal(n, 3, 1, 1)
    field = _enlarge(random.normal(n, 3, 4, 4))
    batch.images[rows] = some + field * _each(random.uniform(n, -0.1, 0.1).clamp(min=0))


def _soften(batch):
    """Edges blur."""
    rows = batch.some(0.5)
    batch.images[rows] = _blur(batch.images[rows], batch.amount("blur", rows))


def _ring(batch):
    """Edges have rings about them."""
    rows = batch.some(0.4)
    amount = _each(batch.amount("ringing", rows))
    soft = _blur(batch.images[rows], batch.random.uniform(len(rows), 0.7, 1.5))
    batch.images[rows] += (batch.images[rows] - soft) * amount


def _add_grain(batch):
    """Grain of one to three pixels' size."""
    random = batch.random
    rows = batch.some(0.4)
    amount = _each(batch.amount("noise", rows))
    grain = random.normal(len(rows), 3, rooms.SIZE, rooms.SIZE)
    grain = _blur(grain, random.uniform(len(rows), 0, 1.2))
    batch.images[rows] += grain / grain.square().mean((1, 2, 3), keepdim=True).sqrt() * amount


def _add_grid(batch):
    """The grid of strided convolutions: two strides of 2 leave a tile of 4x4 pixels, stronger here
    and there."""
    random, times = batch.random, rooms.SIZE // 4
    rows = batch.some(0.5)
    tile = random.normal(len(rows), 1, 4, 4) + 0.3 * random.normal(len(rows), 3, 4, 4)
    tile = (tile - tile.mean((2, 3), keepdim=True)).repeat(1, 1, times, times)
    local = _enlarge(torch.rand(len(rows), 1, 6, 6, generator=random.generator))
    batch.images[rows] += tile * local * _each(random.uniform(len(rows), 0, 0.06))


def _clip(batch):
    batch.images.clamp_(-1, 1)


PICTURE_EFFECTS: dict[str, Callable] = {
    "other light": _light,
    "blur": _soften,
    "ringing": _ring,
    "grain": _add_grain,
    "grid": _add_grid,
    "clipping": _clip,
}
ROOM_EFFECTS: dict[str, Callable] = {
    "a patch of another room": _patch_room,
    "an object fades": _fade_object,
    "an object melts": _melt_object,
    "ghosts": _add_ghosts,
    "blots": _add_blots,
    "places shift": _shift,
    "no structure": partial(_lose_structure, share=0.06),
    **PICTURE_EFFECTS,
}
FACE_EFFECTS: dict[str, Callable] = {
    "glasses or beard fade": _fade_accessories,
    "a patch of another face": _patch_face,
    "eyes or mouth are lost": _lose_feature,
    "the face melts": _melt_face,
    "faces lie over each other": _overlay_faces,
    "places shift": _shift,
    "no structure": partial(_lose_structure, share=0.04),
    **PICTURE_EFFECTS,
}


# --------------------------------------------------------------------------------- what they use


def _enlarge(field):
    return F.interpolate(field, size=rooms.SIZE, mode="bilinear", align_corners=False)


def _fading(mask, random, radii, wholly, least):
    """How far what is in a mask has faded, (n, 64, 64): everywhere or in a blob; a share `wholly`
    is gone there, the others by `least` or more."""
    n = len(mask)
    everywhere = _each(random.uniform(n) < 0.7)[:, 0] > 0
    part = torch.where(everywhere, 1.0, _blob(n, *radii, random.generator))
    faded = torch.where(random.uniform(n) < wholly, 1.0, random.uniform(n, least, 0.95))
    return _edge(mask) * part * faded[:, None, None]


def _decide(face, rows, share, limits):
    """Marks images as no faces where a larger `share` than the upper limit is damaged, as open
    between both."""
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
    """One object of each room, (n, 1), and its pixels (n, 64, 64), none where no object can be
    chosen.

    weights: object name to its weight; all others have that of `others`."""
    weight = torch.tensor([weights.get(name, others) for name in rooms.OBJECTS])
    chosen = torch.multinomial((count_pixels(labels) > 0) * weight + 1e-9, 1, generator=generator)
    return chosen, (labels == chosen[..., None] + len(rooms.SURFACES)) & (weight[chosen] > 0)[
        ..., None
    ]


def _edge(mask, size=3):
    """A mask grown by `size` // 2 pixels, with soft edges: (n, 64, 64) in [0, 1]."""
    grown = F.max_pool2d(mask.float()[:, None], size, 1, size // 2)
    return _blur(grown, torch.full((len(mask),), 0.6))[:, 0]


def _melt(images, random):
    """Moves every few pixels elsewhere by as much as a lamp is wide: colours stay, things do
    not."""
    moved = _warp(
        images, None, random.uniform(len(images), 2.5, 5.0), random.generator, ((16, 1.0),)
    )[0]
    return _blur(moved, random.uniform(len(images), 0.0, 1.2))


def _lay(images, labels, look, cover):
    """Lays `look` (n, 3, 64, 64), which is no object, over images; what it hides by half does not
    show any more."""
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
            torch.randn(n, 2, k, k, generator=generator),
            size=size,
            mode="bicubic",
            align_corners=True,
        )
        for k, share in grids
    )
    base = F.affine_grid(torch.eye(2, 3).expand(n, 2, 3), [n, 1, size, size], align_corners=False)
    grid = base + (flow * _each(amount * 2 / size)).permute(0, 2, 3, 1)
    moved = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    if labels is None:
        return moved, None
    shown = F.grid_sample(
        labels[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False
    )
    return moved, shown[:, 0].long()


def _scramble(images, generator):
    """Images without what is in them, each in a way of its own: the phases of its waves are random,
    its 8x8 blocks are shuffled, or only a colour is left, with random spots, as networks draw that
    have learned nothing."""
    n, size = len(images), rooms.SIZE
    # PyTorch's fails without images
    phase = np.fft.rfft2(torch.randn(n, 1, size, size, generator=generator).numpy())
    waves = np.abs(np.fft.rfft2(images.numpy())) * phase / np.maximum(np.abs(phase), 1e-6)
    noise = torch.from_numpy(np.fft.irfft2(waves, s=(size, size))).to(images)

    blocks = images.view(-1, 3, 8, 8, 8, 8).transpose(3, 4).reshape(-1, 3, 64, 8, 8)
    order = (
        torch.rand(n, 64, generator=generator).argsort(1)[:, None, :, None, None].expand_as(blocks)
    )
    shuffled = (
        blocks.gather(2, order).view(-1, 3, 8, 8, 8, 8).transpose(3, 4).reshape(-1, 3, size, size)
    )

    spots = images.mean((2, 3), keepdim=True) * torch.rand(n, 1, 1, 1, generator=generator)
    for cells in (4, 16, 64):
        field = torch.randn(n, 3, cells, cells, generator=generator) * torch.rand(
            n, 1, 1, 1, generator=generator
        )
        spots = spots + 0.25 * F.interpolate(field, size=size, mode="bilinear", align_corners=False)

    way = torch.randint(3, (n,), generator=generator)[:, None, None, None]
    return torch.where(way == 0, noise, torch.where(way == 1, shuffled, spots))
