"""The portrait world: drawn faces whose every factor and every pixel is known.

The paper's section 6.3.2 adds and subtracts faces: smiles, glasses, a turn of the head. Whether the sum is right
can only be judged by eye on photographs; here it can be measured. As in `rooms`, a face is drawn from a seed,
with its factors and one mask of visible pixels per part. "woman" and "man" are drawing conventions of this one
artist (brows, lashes, lips, jaw, neck), and so is everything else.

A head is a stack of half ellipses, one for each height: its outline comes from their widths, a feature lies on
their surface, and turning it moves what is near more than what is far. Light is a smooth multiplicative map.
"""

import random
from functools import cache, partial
from math import sqrt

import numpy as np

from dcgan_book.worlds.canvas import (
    CIRCLE,
    SCALE,
    SIZE,
    Canvas,
    Drawing,
    Drawings,
    block,
    cached_dataset,
    check_factors,
    dim,
    hsv,
    mix,
)

VERSION = 1  # part of the cache's name: raise it whenever a seed's bytes change
SURFACES = ("background", "clothes")
OBJECTS = ("skin", "hair", "eyes", "brows", "mouth", "glasses", "beard")
LABELS = SURFACES + OBJECTS  # a label map holds indices into this

# The factors. Rates of what can be named; a beard is sampled for men only.
GLASSES, BEARD = 0.35, 0.35
RATES = {
    "presentation": {"woman": 0.50, "man": 0.50},
    "hair_colour": {"black": 0.24, "brown": 0.26, "red": 0.16, "blond": 0.22, "grey": 0.12},
    "parting": {"left": 0.40, "right": 0.40, "fringe": 0.20},
    "eye_colour": {"brown": 0.50, "blue": 0.30, "green": 0.20},
    "glasses_style": {"round": 0.50, "square": 0.50},
    "beard_style": {"full": 0.60, "goatee": 0.40},
}
HAIR_RATES = {
    "woman": {"crop": 0.00, "short": 0.10, "curly": 0.15, "bob": 0.25, "long": 0.38, "bun": 0.12},
    "man": {"crop": 0.30, "short": 0.45, "curly": 0.15, "bob": 0.00, "long": 0.10, "bun": 0.00},
}
RANGES = {
    "yaw": (-45.0, 45.0),  # degrees; negative looks to the left of the picture
    "smile": (0.0, 1.0),  # from neutral to broad, with teeth
    "skin": (0.0, 1.0),  # from light to deep
    "face_width": (0.92, 1.06),
    "jaw": (0.0, 1.0),  # from pointed to square
    "light": (-1.0, 1.0),  # from the left of the picture to the right
    "background_hue": (0.0, 1.0),
    "background_tone": (0.0, 1.0),  # from pale to deep
    "clothes_hue": (0.0, 1.0),
}
FACTORS = ("glasses", "beard", *RATES, "hair_style", *RANGES)

HAIR_COLOURS = {
    "black": (0.13, 0.11, 0.13),
    "brown": (0.32, 0.18, 0.09),
    "red": (0.72, 0.30, 0.11),
    "blond": (0.93, 0.74, 0.36),
    "grey": (0.70, 0.71, 0.74),
}
EYE_COLOURS = {"brown": (0.33, 0.19, 0.10), "blue": (0.20, 0.45, 0.78), "green": (0.26, 0.52, 0.32)}
FRAME = (0.10, 0.09, 0.11)
SKINS = (
    (0.99, 0.86, 0.76),
    (0.95, 0.75, 0.60),
    (0.82, 0.58, 0.42),
    (0.62, 0.40, 0.27),
    (0.46, 0.29, 0.20),
)


class Face(Drawing):
    """One drawn face: `image`, `factors` (every entry of `FACTORS`), `labels` and `masks`."""

    LABELS, OBJECTS = LABELS, OBJECTS


class Faces(Drawings):
    """Many drawn faces: `images`, `labels`, `factors`, and `mask(name)`."""

    LABELS, FACTORS = LABELS, FACTORS


def sample(seed):
    """Draw the factors of face `seed`, a whole number >= 0. Returns name to value, in the order of `FACTORS`.

    Raises ValueError for a seed below 0.
    """
    if seed < 0:
        raise ValueError(f"seed {seed}: a face's seed is a whole number >= 0")
    rng = random.Random(seed)
    factors = {"glasses": rng.random() < GLASSES, "beard": rng.random() < BEARD}
    factors |= {name: _pick(rates, rng.random()) for name, rates in RATES.items()}
    factors["hair_style"] = _pick(HAIR_RATES[factors["presentation"]], rng.random())
    factors |= {name: low + (high - low) * rng.random() for name, (low, high) in RANGES.items()}
    factors["beard"] = factors["beard"] and factors["presentation"] == "man"
    return factors


def _pick(rates, u):
    """The option at share `u` of the way through the rates."""
    for option, rate in rates.items():
        if u < rate:
            return option
        u -= rate
    return max(rates, key=rates.get)  # u was within rounding of 1


def draw(seed, paint=None, **factors):
    """Draw face `seed`, a whole number >= 0, with any of its `FACTORS` set by hand.

    paint: part name to RGB; such a part is filled with that one colour and the face is left unlit, so that the
    part can be found by its colour. Factors that are not given are those of `sample(seed)`, but a man redrawn as a
    woman keeps no beard unless `beard=True` asks for it.
    Returns a `Face`. Raises ValueError for a factor that does not exist or a value that it cannot take.

    >>> face = draw(7, glasses=True, yaw=-30)
    >>> face.image.shape, bool(face.masks["glasses"].any())
    ((64, 64, 3), True)
    """
    check_factors(factors, FACTORS, RANGES, _options)
    given, factors = factors, sample(seed) | factors
    if "beard" not in given and factors["presentation"] == "woman":
        factors["beard"] = False
    image, labels = _render(factors, paint or {})
    return Face(image, factors, labels)


def dataset(n, seed=0, workers=None, progress=True):
    """Draw faces `seed` to `seed + n - 1`; from 1,000 faces on they are kept in the user's cache.

    workers: processes to draw with (all cores by default). progress: show a bar while drawing.
    Returns `Faces`; arrays from the cache are memory-mapped and read-only. Raises ValueError if n < 1.
    """
    return Faces.of(
        cached_dataset("face", VERSION, partial(block, draw), n, seed, workers, progress)
    )


def _options(name):
    if name == "hair_style":
        return tuple(HAIR_RATES["woman"])
    return tuple(RATES[name]) if name in RATES else (True, False)


# ---------------------------------------------------------------------------------------------- drawing

# Lengths are pixels of the 64-pixel picture: x to the right and z towards the viewer, both from the head's axis,
# y down from the picture's top.
MIDDLE = 32.0
# heights of the skull's top, of its widest place, and of the chin
CROWN, TEMPLE, CHIN = 9.0, 29.0, 56.0
# half the skull's width, and how deep the face is before and behind the axis
WIDTH, FRONT, BACK = 16.0, 18.0, 6.5
EYES, LIPS = 31.5, 47.0  # heights
SIDES = (-1, 1)  # of the picture: left, right

# The hair: how far it stands off the skull, where it ends at the sides, and where it begins on the forehead
GROWTH = {"crop": 0.8, "short": 2.2, "curly": 2.0, "bob": 3.0, "long": 2.6, "bun": 1.6}
ENDS = {"crop": 29.0, "short": 31.0, "curly": 35.0, "bob": 45.0, "long": 52.0, "bun": 28.0}
HAIRLINES = {
    "left": ((-15.9, 28), (-14.5, 21), (-9, 15.5), (-5, 13), (2, 17), (9, 19.5), (14.2, 23), (15.9, 28)),
    "right": ((-15.9, 28), (-14.2, 23), (-9, 19.5), (-2, 17), (5, 13), (9, 15.5), (14.5, 21), (15.9, 28)),
    "fringe": ((-15.9, 28), (-14.4, 24), (-10, 23), (-4, 22.4), (4, 22.4), (10, 23), (14.4, 24), (15.9, 28)),
    "tousled": ((-15.9, 28), (-14.6, 22), (-10, 19.3), (-5, 20.8), (0, 18.6), (5, 20.8), (10, 19.3), (14.6, 22),
                (15.9, 28)),
    "back": ((-15.9, 28), (-14.2, 20), (-9.5, 16), (-4, 14.5), (4, 14.5), (9.5, 16), (14.2, 20), (15.9, 28)),
}  # fmt: skip
WHITE, BLACK, TEETH, LASHES = (
    (0.97, 0.96, 0.95),
    (0.05, 0.04, 0.05),
    (0.98, 0.97, 0.94),
    (0.14, 0.09, 0.09),
)

# 64 x 64 pixel centres for the light, and steps along an outline, denser where it is flat
_Y, _X = (np.mgrid[0:SIZE, 0:SIZE] + 0.5).astype(np.float32)
_DOWN = (0, 0.01, 0.03, 0.07, 0.13, 0.21, 0.31, 0.42, 0.54, 0.66, 0.78, 0.88, 0.95, 1.0)
_TAPER = np.array([0, 0.4, 0.75, 0.95, 1, 1, 1, 1, 0.95, 0.75, 0.4, 0])[:, None]


@cache
def _spline(n, closed, steps=4):
    """Which four of n points each point of a smooth curve (Catmull and Rom) lies between, and their weights."""
    pieces = n if closed else n - 1
    at = np.repeat(np.arange(pieces), steps)
    t = np.tile(np.arange(steps) / steps, pieces)
    if not closed:
        at, t = np.append(at, n - 1), np.append(t, 0.0)
    near = [(at + k) % n if closed else np.clip(at + k, 0, n - 1) for k in (-1, 0, 1, 2)]
    weights = (
        t * (t * (2 - t) - 1),
        t * t * (3 * t - 5) + 2,
        t * (t * (4 - 3 * t) + 1),
        t * t * (t - 1),
    )
    return [(i, w[:, None] / 2) for i, w in zip(near, weights, strict=True)]


def _curve(points, closed=True):
    """The smooth curve through the points (x, y), float64 (many, 2)."""
    points = np.array(points, dtype=np.float64)
    (i, a), (j, b), (k, c), (m, d) = _spline(len(points), closed)
    return a * points[i] + b * points[j] + c * points[k] + d * points[m]


def _turn(degrees):
    """Cosine and sine by sums and products only, for up to 45 degrees, since `math.sin` differs between machines."""
    r = degrees * 0.017453292519943295
    s = r * r
    cos = 1 - s / 2 * (1 - s / 12 * (1 - s / 30 * (1 - s / 56 * (1 - s / 90))))
    return cos, r * (1 - s / 6 * (1 - s / 20 * (1 - s / 42 * (1 - s / 72))))


class _Canvas(Canvas):
    """A picture of one turned head."""

    def __init__(self, f, paint):
        super().__init__(LABELS, paint)
        self.cos, self.sin = _turn(f["yaw"])
        self.man = f["presentation"] == "man"
        self.width = WIDTH * f["face_width"]
        self.square = 0.25 * f["jaw"] + (0.50 if self.man else 0.0)

    def section(self, y):
        """The head's cross section at height y, half an ellipse: half width, depth, and where its middle is."""
        if y < TEMPLE:
            up = min((TEMPLE - y) / (TEMPLE - CROWN), 1.0)
            w = sqrt(1 - up * up)
            return w * self.width, w * FRONT, -2.0
        down = min((y - TEMPLE) / (CHIN - TEMPLE), 1.0)
        s = down * down
        pointed, square = sqrt(1 - s) * (1 - 0.16 * s), sqrt(1 - s * s * s)
        w = pointed + (square - pointed) * self.square
        return w * self.width, pointed * FRONT, 11 * s - 2.0  # a square jaw is broad, not deep

    def outline(self, y, back=BACK / FRONT, grow=0.0):
        """The outline's left and right x at height y. back: depth behind the axis, as a share of that before it;
        grow: how much wider it is at the temples."""
        w, d, z = self.section(y)
        x, across, more = MIDDLE + z * self.sin, w * self.cos, grow * w / self.width
        ahead, behind = d * self.sin, d * back * self.sin
        far, near = (
            sqrt(across * across + ahead * ahead) + more,
            sqrt(across * across + behind * behind) + more,
        )
        return (x - near, x + far) if self.sin >= 0 else (x - far, x + near)

    def on_face(self, points, lift=0.0):
        """Points (u, y) on the head's surface as (x, y). u is measured across, from the nose, on a head of usual
        width; what lies round the far side moves to the outline. lift: how far in front of the surface."""
        placed = []
        for u, y in points:
            w, d, z = self.section(y)
            u, across, ahead = u * (self.width / WIDTH), w * self.cos, d * self.sin
            # where the surface turns away
            edge = w * across / sqrt(across * across + ahead * ahead + 1e-9)
            u = max(min(u, edge if self.sin >= 0 else w), -w if self.sin >= 0 else -edge)
            side = u / (w + 1e-9)
            z += d * sqrt(1 - side * side) + lift
            placed.append((MIDDLE + u * self.cos + z * self.sin, y))
        return placed

    def in_space(self, x, y, z):
        return MIDDLE + x * self.cos + z * self.sin, y

    def shape(self, name, points, colour):
        """Fills the polygon through the points (x, y)."""
        self.fill(name, (np.asarray(points) * SCALE).astype(np.int64).ravel().tolist(), colour)

    def blob(self, name, points, colour):
        """Fills the smooth closed shape through the points."""
        self.shape(name, _curve(points), colour)

    def band(self, name, upper, lower, colour):
        """Fills what lies between two smooth open curves."""
        self.shape(name, np.concatenate([_curve(upper, False), _curve(lower, False)[::-1]]), colour)

    def disc(self, name, x, y, rx, ry, colour):
        self.shape(name, [(x + rx * c, y + ry * s) for c, s in CIRCLE], colour)


def _render(f, paint):
    """Factors to image uint8 (64, 64, 3) and labels uint8 (64, 64)."""
    canvas = _Canvas(f, paint)
    skin, hair = _skin(f), HAIR_COLOURS[f["hair_colour"]]
    canvas.shape("background", [(0, 0), (SIZE, 0), (SIZE, SIZE), (0, SIZE)], _background(f))
    _clothes(canvas, f)
    _back_hair(canvas, f, hair)
    _neck(canvas, skin)
    bare = f["hair_style"] in ("crop", "short", "bun")  # of the ears
    for side in SIDES if bare else ():
        _ear(canvas, skin, side)
    _head(canvas, skin)
    _eyes(canvas, f)
    _nose(canvas, f, skin)
    _creases(canvas, f, skin)
    if f["beard"]:
        _beard(canvas, f, hair)
    _mouth(canvas, f, skin)
    _brows(canvas, hair)
    if f["glasses"]:
        _temples(canvas)
    _front_hair(canvas, f, hair)
    for side in SIDES if bare else ():
        if side * canvas.sin <= 0:  # the far ear stays behind the head
            _ear(canvas, skin, side)
    if f["glasses"]:
        _rims(canvas, f)
    return canvas.develop(lambda shares: _light(canvas, f, shares))


def _skin(f):
    step = f["skin"] * (len(SKINS) - 1)
    i = min(int(step), len(SKINS) - 2)
    return mix(SKINS[i], SKINS[i + 1], step - i)


def _background(f):
    return hsv(
        f["background_hue"], 0.22 + 0.30 * f["background_tone"], 0.92 - 0.42 * f["background_tone"]
    )


def _light(canvas, f, shares):
    """What each pixel's colour is multiplied by, float32 (64, 64, 3): form on the sitter, colour in the cheeks."""
    full = np.float32(SCALE * SCALE)
    sitter = 1 - shares[..., LABELS.index("background")].astype(np.float32) / full
    skin = shares[..., LABELS.index("skin")].astype(np.float32) / full
    across = np.clip((_X - np.float32(MIDDLE + 5 * canvas.sin)) / 22, -1, 1)
    down = (_Y - 30) / 32
    form = 1 + np.float32(0.21 * f["light"]) * across - np.float32(0.07) * (across * across + down)
    wall = 1 - np.float32(0.10 * f["light"]) * (_X - MIDDLE) / 32 - np.float32(0.10) * down
    light = np.repeat((wall + (form - wall) * sitter)[..., None], 3, axis=2)
    for u, v, rx, ry, tint in _glows(canvas, f):
        px, py = canvas.on_face([(u, v)])[0]
        dx, dy = (_X - np.float32(px)) / np.float32(rx), (_Y - np.float32(py)) / np.float32(ry)
        near = dx * dx + dy * dy
        near = skin / (1 + near * near)
        for channel, gain in enumerate(tint):
            light[..., channel] += near * np.float32(gain)
    return light


def _glows(canvas, f):
    """Soft spots on the skin as (u, y, half width, half height, what they add to the light)."""
    blush = (0.05 if canvas.man else 0.09) + 0.04 * f["smile"]
    for side in SIDES:
        yield side * 9.5, 40.5 - 1.2 * f["smile"], 4.6, 3.6, (0.02, -blush, -0.8 * blush)
    yield 0.0, 18.0, 9.0, 6.0, (0.04, 0.04, 0.04)
    yield 0.0, 52.5, 4.0, 2.2, (0.03, 0.03, 0.03)


def _both(points):
    """Points of the right half, and their mirror images in reverse: a whole outline. x is from the middle."""
    return list(points) + [(-x, y) for x, y in reversed(points)]


def _clothes(canvas, f):
    x, y = (31.0, 57.5) if canvas.man else (27.0, 58.5)
    edge = _both([(0.1, y - 2), (x - 12, y), (x - 2, y + 4), (x, 70)])
    canvas.blob("clothes", [(MIDDLE + u, v) for u, v in edge], hsv(f["clothes_hue"], 0.45, 0.62))


def _neck(canvas, skin):
    half = 8.2 if canvas.man else 6.2
    x = MIDDLE - 3.5 * canvas.sin
    edge = _both([(half, 44), (half, 56), (half + 1.5, 59.5), (0.1, 63.5)])
    canvas.blob("skin", [(x + u, y) for u, y in edge], dim(skin, 0.84))
    shadow = [
        (x - half, 46),
        (x - half, 56),
        (x + 7 * canvas.sin, 59.8),
        (x + half, 56),
        (x + half, 46),
    ]
    canvas.blob("skin", shadow, dim(skin, 0.70))


def _head(canvas, skin):
    steps = (*_DOWN[:-1], 0.975, 0.99, 0.997, 1.0)
    edge = [(canvas.outline(y), y) for y in (CROWN + (CHIN - CROWN) * s for s in steps)]
    canvas.shape(
        "skin",
        [(left, y) for (left, _), y in edge] + [(right, y) for (_, right), y in edge[::-1]],
        skin,
    )


def _ear(canvas, skin, side):
    """It lies flat at the side of the head, so turning shows more or less of it."""
    edge = ((1.6, -3.5, 27.6), (2.6, -4.2, 30.5), (1.6, -2.2, 35), (0.4, 0, 37.6), (0, 1.2, 34), (0, 1.2, 30),
            (0.3, 0, 28))  # fmt: skip
    for size, out, colour in ((1.0, 0.0, dim(skin, 0.93)), (0.5, 0.8, dim(skin, 0.78))):
        x0 = canvas.width - 0.3 + out
        points = [
            (side * (x0 + size * x), 32.5 + size * (y - 32.5), size * z - 1.5 - out)
            for x, z, y in edge
        ]
        canvas.blob("skin", [canvas.in_space(*point) for point in points], colour)


def _eyes(canvas, f):
    iris = EYE_COLOURS[f["eye_colour"]]
    half, up, low = (3.3, 1.7, 1.35) if canvas.man else (3.5, 2.15, 1.5)
    low *= (1 - 0.22 * f["smile"]) * (1 - 0.25 * f["smile"])  # cheeks push the lower lid up
    lid = [(-half, 0.5), (-1.8, -0.7 * up), (0.2, -up), (2.0, -0.75 * up), (half, -0.1)]
    under = [(half, -0.1), (1.8, 0.75 * low), (0.0, low), (-2.0, 0.7 * low), (-half, 0.5)]
    ring = [(1.75 * c, min(max(1.75 * s - 0.15, 0.2 - up), low + 0.1)) for c, s in CIRCLE[::2]]
    pupil = [(0.85 * c, 0.85 * s - 0.15) for c, s in CIRCLE[::4]]
    glint = [(0.42 * c - 0.7, 0.42 * s - 0.75) for c, s in CIRCLE[::4]]
    lashes = lid if canvas.man else [*lid[:-1], (half + 1.3, -1.5)]
    thick = 0.75 if canvas.man else 1.15
    above = [
        (u, v - thick * share) for (u, v), share in zip(lashes, (0.4, 1, 1, 1, 0.5), strict=True)
    ]
    for side in SIDES:
        place = lambda points: canvas.on_face([(side * (7.1 + u), EYES + v) for u, v in points])  # noqa: B023, E731
        canvas.blob("eyes", place(lid + under[1:-1]), WHITE)
        canvas.shape("eyes", place(ring), iris)
        canvas.shape("eyes", place(pupil), BLACK)
        canvas.shape("eyes", place(glint), (1.0, 1.0, 1.0))
        canvas.band("eyes", place(above), place(lashes), LASHES)


def _brows(canvas, hair):
    if canvas.man:
        edge = [
            (2.9, 27.0),
            (6.5, 26.1),
            (10, 26.0),
            (12.2, 27.6),
            (9.6, 27.6),
            (6.2, 28.1),
            (3.0, 28.9),
        ]
    else:
        edge = [
            (3.4, 26.2),
            (6.8, 24.7),
            (9.6, 24.4),
            (12.2, 26.5),
            (9.4, 25.4),
            (6.6, 25.9),
            (3.5, 27.1),
        ]
    for side in SIDES:
        canvas.blob(
            "brows",
            canvas.on_face([(side * u, y) for u, y in edge]),
            dim(hair, 0.62 if canvas.man else 0.74),
        )


def _nose(canvas, f, skin):
    bridge, tip = canvas.on_face([(0, 29.5)], 1.0)[0], canvas.on_face([(0, 38.6)], 5.0)[0]
    wings = canvas.on_face([(side * 3.3, 39.9) for side in SIDES], 1.2)
    inner = canvas.on_face([(side * 1.6, 30.0) for side in SIDES], 0.2)
    for i, side in enumerate(SIDES):
        canvas.shape(
            "skin", [bridge, tip, wings[i], inner[i]], dim(skin, 0.91 + 0.05 * side * f["light"])
        )
    below = canvas.on_face([(0, 41.5)], 2.6)[0]
    canvas.blob("skin", [wings[0], (tip[0], tip[1] + 0.9), wings[1], below], dim(skin, 0.72))


def _creases(canvas, f, skin):
    """From the nose to the mouth's corners, deeper with the smile."""
    s = f["smile"]
    for side in SIDES:
        edge = [(4.4, 40.4), (7.6, 42.0), (9.4 + s, 45.4), (7.2 + s, 42.8)]
        canvas.blob(
            "skin", canvas.on_face([(side * u, y) for u, y in edge]), dim(skin, 1 - 0.16 * s)
        )


def _mouth(canvas, f, skin):
    """Smiling widens it, lifts its corners and, from a quarter on, opens it."""
    s = f["smile"]
    half, corner, gap = 5.2 + 2.5 * s, 0.3 - 2.5 * s, max(0.0, s - 0.25) * 4.6
    y = LIPS - 0.35 * gap
    upper, lower = (0.9, 1.3) if canvas.man else (1.25, 1.8)
    colour = (
        mix(skin, (0.62, 0.22, 0.20), 0.55) if canvas.man else mix(skin, (0.80, 0.12, 0.20), 0.78)
    )

    def line(height, wide=1.0, dip=0.0):
        u, bend, end = wide * half, height + 0.22 * corner, y + wide * wide * corner
        return canvas.on_face(
            [(-u, end), (-u / 2, bend), (0, height + dip), (u / 2, bend), (u, end)], 0.3
        )

    canvas.band("mouth", line(y - upper, dip=0.35), line(y + gap + lower), colour)
    canvas.band("mouth", line(y - 0.3), line(y + gap + 0.3), dim(colour, 0.42))
    if gap > 0.3:
        canvas.band("mouth", line(y - 0.1, 0.9), line(y + 0.72 * gap, 0.9), TEETH)


def _beard(canvas, f, hair):
    colour = dim(hair, 0.76)
    if f["beard_style"] == "goatee":
        half = [(0.1, 42.4), (3.5, 42.2), (7.6, 44.5), (7.4, 50.5), (4.5, 55.8), (0.1, 57.2)]
        canvas.blob("beard", canvas.on_face(_both(half), 0.6), colour)
        return
    # along the jaw from ear to ear, a little lower than the chin, and back along the cheeks
    top, jaw = 33.0, []
    for s in (0, 0.1, 0.25, 0.4, 0.55, 0.68, 0.79, 0.88, 0.94, 0.98, 1.0):
        y = top + (CHIN - top) * s
        (left, right), (w, _, z) = canvas.outline(y), canvas.section(y)
        near = -1 if canvas.sin >= 0 else 1
        ear = canvas.in_space(near * w, y, z)[0]
        jaw.append(
            (max(left, ear) if near < 0 else left, min(right, ear) if near > 0 else right, y + s)
        )
    cheeks = _both([(15.7, top), (14.2, 38.0), (11.0, 42.5), (6.5, 42.6), (2.5, 42.0)])
    edge = [(left, y) for left, _, y in jaw] + [(right, y) for _, right, y in jaw[::-1]]
    canvas.shape("beard", edge + canvas.on_face(cheeks), colour)


def _cap(canvas, grow, bottom):
    """The hair's outline from the lower left over the top to the lower right, float64 (28, 2)."""
    left, right = [], []
    for s in _DOWN:
        y = CROWN - grow + (bottom - CROWN + grow) * s
        skull = TEMPLE - max(TEMPLE - y, 0.0) * ((TEMPLE - CROWN) / (TEMPLE - CROWN + grow))
        x0, x1 = canvas.outline(skull, back=1.0, grow=grow)
        left.append((x0, y))
        right.append((x1, y))
    return np.array(left[::-1] + right)


def _back_hair(canvas, f, hair):
    style, shadow = f["hair_style"], dim(hair, 0.62)
    cap = _cap(canvas, GROWTH[style], TEMPLE)
    left, right = float(cap[0, 0]), float(cap[-1, 0])
    x, half = (left + right) / 2, (right - left) / 2
    if style == "curly":
        for i, (c, s) in enumerate(CIRCLE[::2]):
            if s < 0.75:
                canvas.disc(
                    "hair",
                    x + (half + 1) * c,
                    24.5 + 17 * s,
                    5.6,
                    5.6,
                    dim(hair, 0.84 if i % 2 else 0.94),
                )
        return
    if style == "bun":
        canvas.disc("hair", MIDDLE - 7 * canvas.sin, 6.0, 7.0, 6.5, dim(hair, 0.88))
    if style in ("crop", "short", "bun"):
        nape = {"crop": 39.0, "short": 43.0, "bun": 42.0}[style]
        low = [(right - 1, 36), (x + 9, nape), (x - 9, nape), (left + 1, 36)]
        canvas.shape("hair", np.concatenate([cap, low]), shadow)
        return
    if style == "bob":
        fall = [
            (half, 29),
            (half + 0.9, 38),
            (half + 2.0, 46),
            (half + 1.0, 51.5),
            (half - 4, 53),
            (4, 52),
        ]
        inside = [(8, 32), (half - 3.0, 46), (half - 4.5, 51.5), (4, 51)]
    else:
        fall = [(half, 29), (half + 0.6, 38), (half + 1.8, 48), (half + 2.6, 58), (half + 2.4, 70)]
        inside = [(8, 32), (half - 3.5, 46), (half - 6.0, 56), (8, 62)]
    ends = _curve([(x + u, y) for u, y in _both(fall)], closed=False)
    canvas.shape("hair", np.concatenate([cap, ends]), dim(hair, 0.88))
    canvas.blob("hair", [(x + u, y) for u, y in _both(inside)], shadow)


def _front_hair(canvas, f, hair):
    style, grow = f["hair_style"], GROWTH[f["hair_style"]]
    combed = "back" if style in ("crop", "bun") else f["parting"]
    if (style, combed) == ("short", "fringe"):
        combed = "tousled"
    line = canvas.on_face(HAIRLINES[combed])
    outer = _cap(canvas, grow, ENDS[style])
    canvas.shape("hair", np.concatenate([outer, _curve(line, closed=False)[::-1]]), hair)
    if style == "curly":
        for x, y in line[1:-1]:
            canvas.disc("hair", x, y - 0.6, 2.8, 2.4, hair)
        return
    # a band of light across the top, and the parting
    centre = np.array([(outer[0, 0] + outer[-1, 0]) / 2, 27.0])
    over, under = (centre + (outer[8:-8] - centre) * (0.86 + k * _TAPER) for k in (0.045, -0.045))
    canvas.shape("hair", np.concatenate([over, under[::-1]]), mix(hair, (0.95, 0.93, 0.98), 0.16))
    if combed in ("left", "right"):
        side = -1 if combed == "left" else 1
        line = [(side * 5.4, 13.4), (side * 4.2, 8.0), (side * 3.4, 8.0), (side * 4.6, 13.4)]
        canvas.shape("hair", canvas.on_face(line, grow), dim(hair, 0.72))


def _temples(canvas):
    """The side pieces of the glasses; the far one vanishes behind its rim as the head turns."""
    for side in SIDES:
        rim, ear = (
            canvas.in_space(side * 12.3, 0, 14.2)[0],
            canvas.in_space(side * (canvas.width + 0.4), 0, -2.0)[0],
        )
        ear = max(rim, ear) if side > 0 else min(rim, ear)
        canvas.shape("glasses", [(rim, 29.6), (ear, 29.4), (ear, 30.6), (rim, 31.0)], FRAME)


def _rims(canvas, f):
    if f["glasses_style"] == "round":
        outer, inner = ([((r + 0.2) * c, r * s) for c, s in CIRCLE] for r in (5.4, 4.2))
    else:  # a circle pushed towards the corners
        push = lambda c: c * (1.5 - 0.5 * c * c)  # noqa: E731
        outer, inner = (
            [((5.6 + r) * push(c), (4.0 + r) * push(s)) for c, s in CIRCLE] for r in (0.6, -0.6)
        )
    for side in SIDES:
        edge = [
            (side * (7.4 + u), EYES + 0.35 + v) for u, v in (*outer, outer[0], *inner, inner[0])
        ]
        canvas.shape("glasses", [canvas.in_space(u, y, 17 - 0.02 * u * u) for u, y in edge], FRAME)
    bridge = [(-2.4, 30.4), (0, 29.6), (2.4, 30.4), (2.4, 31.6), (0, 30.8), (-2.4, 31.6)]
    canvas.shape("glasses", [canvas.in_space(u, y, 17.5) for u, y in bridge], FRAME)
