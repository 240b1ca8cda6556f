"""The bedroom world: drawn bedrooms whose every factor and every pixel is known.

The paper trains on LSUN bedrooms, which cannot be shipped and carry no ground truth. A *world* replaces them:
a function from a seed to an image, the factors it was drawn from, and one mask of visible pixels per object.
What chapters 1 to 4 claim about windows and beds is measured against these.

A room is a box seen through a pinhole camera. It is drawn with Pillow at four times the size, in colour and a
second time in object numbers, then scaled down; light is a smooth multiplicative map, so no pixel carries
noise of its own. Sampling uses `random.Random` and drawing uses only exact arithmetic, so that the same seed
gives the same bytes everywhere.
"""

import random
from functools import partial

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
SURFACES = ("wall", "floor", "ceiling")
OBJECTS = (
    "bed",
    "window",
    "curtain",
    "lamp",
    "nightstand",
    "tv",
    "door",
    "picture",
    "mirror",
    "rug",
)
LABELS = SURFACES + OBJECTS  # a label map holds indices into this

# The factors. Presence: probability of the object. A curtain needs a window, a bed is always there.
PRESENCE = {
    "window": 0.60, "curtain": 0.50, "lamp": 0.50, "nightstand": 0.60, "tv": 0.35, "door": 0.40,
    "picture": 0.40, "mirror": 0.25, "rug": 0.40,
}  # fmt: skip
CHOICES = {
    "bed_size": ("single", "double"),
    "headboard": ("panel", "arch", "bars"),
    "bedding": ("plain", "band", "stripes"),
    "window_style": ("cross", "sash", "triple"),
    "curtain_style": ("open", "half"),
    "wall_style": ("plain", "plain", "dado"),
    "floor_style": ("planks", "plain"),
    "lamp_side": ("left", "right"),
    "picture_style": ("landscape", "portrait"),
    "door_style": ("wood", "white"),
}
RANGES = {
    "room_width": (3.9, 4.6),  # metres; the room is 2.5 high and 4 deep
    "zoom": (0.62, 0.72),  # share of the picture's width that the back wall takes
    "camera_x": (-0.05, 0.05),  # of the room's width, from the middle
    "camera_height": (1.30, 1.75),  # metres
    "horizon": (24.5, 29.5),  # pixels from the top
    "yaw": (-0.025, 0.025),  # tangent of half the angle
    "bed_x": (-1.0, 1.0),  # from against the left nightstand to against the right one
    "bed_hue": (0.0, 1.0),
    "bed_tone": (0.0, 1.0),  # from pale to deep
    "wood": (0.0, 1.0),  # of bed and nightstand, from dark to light
    "wall_hue": (0.0, 1.0),
    "wall_saturation": (0.05, 0.42),
    "wall_brightness": (0.62, 0.95),
    "floor_hue": (0.04, 0.11),
    "floor_brightness": (0.30, 0.75),
    "window_size": (0.90, 1.15),
    "curtain_hue": (0.0, 1.0),
    "picture_hue": (0.0, 1.0),
    "rug_hue": (0.0, 1.0),
    "lamp_size": (0.95, 1.20),
    "daylight": (0.0, 1.0),  # 0 is night; nothing between 0.1 and 0.55 is sampled
}
PLACES = ("back-left", "back-middle", "back-right", "left", "right")  # on the walls
HUNG = ("door", "window", "tv", "mirror", "picture")  # what hangs there, each at a place of its own
FACTORS = tuple(PRESENCE) + tuple(CHOICES) + tuple(RANGES) + tuple(f"{name}_place" for name in HUNG)

HEIGHT, DEPTH, BED_LENGTH = 2.5, 4.0, 2.0  # metres
NIGHT = 0.3  # share of rooms at night


class Room(Drawing):
    """One drawn bedroom: `image`, `factors` (every entry of `FACTORS`), `labels` and `masks`."""

    LABELS, OBJECTS = LABELS, OBJECTS


class Rooms(Drawings):
    """Many drawn bedrooms: `images`, `labels`, `factors`, and `mask(name)`."""

    LABELS, FACTORS = LABELS, FACTORS


def sample(seed):
    """Draw the factors of room `seed`, a whole number >= 0. Returns name to value, in the order of `FACTORS`.

    Raises ValueError for a seed below 0.
    """
    if seed < 0:
        raise ValueError(f"seed {seed}: a room's seed is a whole number >= 0")
    rng = random.Random(seed)
    pick = lambda options: options[int(rng.random() * len(options))]  # noqa: E731
    factors = {name: rng.random() < rate for name, rate in PRESENCE.items()}
    factors |= {name: pick(options) for name, options in CHOICES.items()}
    factors |= {name: low + (high - low) * rng.random() for name, (low, high) in RANGES.items()}
    factors["curtain"] = factors["curtain"] and factors["window"]
    night, hour = rng.random() < NIGHT, rng.random()
    factors["daylight"] = 0.1 * hour if night else 0.55 + 0.45 * hour

    # A door stands on the floor, so never behind the bed; the window prefers the back wall.
    free = list(PLACES)
    doorways = ["left", "right"]
    if factors["bed_x"] > 0.4:
        doorways.append("back-left")
    if factors["bed_x"] < -0.4:
        doorways.append("back-right")
    for name in HUNG:
        options = doorways if name == "door" else free
        if name == "window" and rng.random() < 0.6:
            options = [place for place in free if place.startswith("back")]
        factors[f"{name}_place"] = pick(options)
        free.remove(factors[f"{name}_place"])
    return factors


def draw(seed, paint=None, **factors):
    """Draw room `seed`, a whole number >= 0, with any of its `FACTORS` set by hand.

    paint: object name to RGB; such an object is filled with that one colour and the room is left unlit, so that
    the object can be found by its colour. Factors that are not given are those of `sample(seed)`.
    Returns a `Room`. Raises ValueError for a factor that does not exist or a value that it cannot take.

    >>> room = draw(7, window=True, window_place="back-left")
    >>> room.image.shape, bool(room.masks["window"].any())
    ((64, 64, 3), True)
    """
    check_factors(factors, FACTORS, RANGES, _options)
    factors = sample(seed) | factors
    factors["curtain"] = factors["curtain"] and factors["window"]
    image, labels = _render(factors, paint or {})
    return Room(image, factors, labels)


def dataset(n, seed=0, workers=None, progress=True):
    """Draw rooms `seed` to `seed + n - 1`; from 1,000 rooms on they are kept in the user's cache.

    workers: processes to draw with (all cores by default). progress: show a bar while drawing.
    Returns `Rooms`; arrays from the cache are memory-mapped and read-only. Raises ValueError if n < 1.
    """
    return Rooms.of(
        cached_dataset("room", VERSION, partial(block, draw), n, seed, workers, progress)
    )


def _options(name):
    return CHOICES.get(name) or (PLACES if name.endswith("_place") else (True, False))


# ---------------------------------------------------------------------------------------------- drawing


class _Canvas(Canvas):
    """A picture seen through one camera."""

    def __init__(self, factors, paint):
        super().__init__(LABELS, paint)
        self.half = factors["room_width"] / 2
        self.camera_x = factors["camera_x"] * factors["room_width"]
        self.camera_y = factors["camera_height"]
        self.horizon = factors["horizon"]
        self.focal = factors["zoom"] * SIZE * DEPTH / factors["room_width"]
        t = factors["yaw"]
        # exact on every machine
        self.cos, self.sin = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)

    def project(self, point):
        """(x right, y up, z away), in metres, to pixels of the 64-pixel picture."""
        x, y, z = point[0] - self.camera_x, point[1] - self.camera_y, point[2]
        x, z = x * self.cos - z * self.sin, x * self.sin + z * self.cos
        return SIZE / 2 + self.focal * x / z, self.horizon - self.focal * y / z

    def polygon(self, name, points, colour):
        self.fill(
            name, [tuple(int(SCALE * c + 0.5) for c in self.project(p)) for p in points], colour
        )

    def box(self, name, x, y, z, colour):
        """The faces of a box that the camera sees; x, y and z are (low, high)."""
        (x0, x1), (y0, y1), (z0, z1) = x, y, z
        side = x0 if x0 > self.camera_x else x1
        self.polygon(
            name,
            [(side, y0, z0), (side, y1, z0), (side, y1, z1), (side, y0, z1)],
            dim(colour, 0.72),
        )
        self.polygon(name, [(x0, y1, z0), (x1, y1, z0), (x1, y1, z1), (x0, y1, z1)], colour)
        self.polygon(
            name, [(x0, y0, z0), (x1, y0, z0), (x1, y1, z0), (x0, y1, z0)], dim(colour, 0.84)
        )

    def on_wall(self, place):
        """A function from (u right, v up), in metres about the place's middle and the floor, to the room."""
        if place == "left":
            return lambda u, v: (-self.half, v, DEPTH - 0.62 + u)
        if place == "right":
            return lambda u, v: (self.half, v, DEPTH - 0.62 - u)
        middle = (PLACES.index(place) - 1) * 0.66 * self.half
        return lambda u, v: (middle + u, v, DEPTH)

    def panel(self, name, wall, u, v, colour):
        """A rectangle on a wall; u and v are (low, high)."""
        (u0, u1), (v0, v1) = u, v
        self.polygon(name, [wall(u0, v0), wall(u1, v0), wall(u1, v1), wall(u0, v1)], colour)


def _render(f, paint):
    """Factors to image uint8 (64, 64, 3) and labels uint8 (64, 64)."""
    canvas = _Canvas(f, paint)
    _draw_box(canvas, f)
    for name in HUNG:
        if f[name]:
            _DRAW[name](canvas, f, canvas.on_wall(f[f"{name}_place"]))
    if f["rug"]:
        _rug(canvas, f)
    _bedside(canvas, f)
    _bed(canvas, f)

    return canvas.develop(lambda counts: _light(canvas, f, counts))


def _light(canvas, f, counts):
    """What each pixel's colour is multiplied by, float32 (64, 64, 3); what shines by itself keeps its colour."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    day = f["daylight"]

    def near(point, radius):
        px, py = canvas.project(point)
        return (1 / (1 + ((x - px) ** 2 + (y - py) ** 2) / radius**2))[..., None]

    level = 0.66 + 0.22 * day
    light = np.empty((SIZE, SIZE, 3), np.float32)
    light[:] = mix((level * 1.03, level * 0.98, level * 0.92), (level, level, level * 1.01), day)
    shining = np.zeros((SIZE, SIZE, 1), np.float32)
    if f["window"]:
        light = light + 0.30 * day * near(canvas.on_wall(f["window_place"])(0, 1.5), 22)
        shining = shining + counts[..., [LABELS.index("window")]]
    if f["lamp"] and day < 0.5:
        glow = np.array((0.42, 0.33, 0.17), np.float32)
        light = light + glow * near(_lamp_centre(canvas, f), 13)
        shining = shining + counts[..., [LABELS.index("lamp")]]
    shining /= SCALE * SCALE
    return light * (1 - shining) + shining


def _draw_box(canvas, f):
    """Walls, floor and ceiling. They reach from the back wall to just before the camera."""
    half, near = canvas.half, 0.6
    wall = hsv(f["wall_hue"], f["wall_saturation"], f["wall_brightness"])
    floor = hsv(f["floor_hue"], 0.48, f["floor_brightness"])
    ceiling = mix(wall, (0.97, 0.97, 0.95), 0.75)
    left, right = (-half, -half), (half, half)
    for (x0, x1), shade in ((left, 0.86), (right, 0.92)):
        for y0, y1, dado in (
            (0, 0.85, 0.82 if f["wall_style"] == "dado" else 1.0),
            (0.85, HEIGHT, 1.0),
        ):
            corners = [(x0, y0, near), (x1, y1, near), (x1, y1, DEPTH), (x0, y0, DEPTH)]
            canvas.polygon("wall", corners, dim(wall, shade * dado))
    canvas.polygon(
        "wall",
        [(-half, 0, DEPTH), (half, 0, DEPTH), (half, HEIGHT, DEPTH), (-half, HEIGHT, DEPTH)],
        wall,
    )
    if f["wall_style"] == "dado":
        dado = [(-half, 0, DEPTH), (half, 0, DEPTH), (half, 0.85, DEPTH), (-half, 0.85, DEPTH)]
        canvas.polygon("wall", dado, dim(wall, 0.82))
    canvas.polygon("ceiling", [(-half, HEIGHT, near), (half, HEIGHT, near), (half, HEIGHT, DEPTH),
                               (-half, HEIGHT, DEPTH)], ceiling)  # fmt: skip
    planks = 8
    for i in range(planks):
        x0, x1 = half * (2 * i / planks - 1), half * (2 * (i + 1) / planks - 1)
        shade = 0.88 if f["floor_style"] == "planks" and i % 2 else 1.0
        canvas.polygon(
            "floor",
            [(x0, 0, near), (x1, 0, near), (x1, 0, DEPTH), (x0, 0, DEPTH)],
            dim(floor, shade),
        )


def _window(canvas, f, wall):
    wide = (0.68 if f["window_place"].startswith("back") else 0.52) * f["window_size"]
    low, high = 1.50 - 0.66 * f["window_size"], 1.50 + 0.66 * f["window_size"]
    day = f["daylight"]
    sky_high = mix((0.10, 0.15, 0.40), (0.42, 0.68, 0.98), day)
    sky_low = mix((0.26, 0.30, 0.56), (0.88, 0.95, 1.00), day)
    hill = mix((0.07, 0.10, 0.20), (0.42, 0.66, 0.36), day)
    frame = mix((0.70, 0.70, 0.76), (0.98, 0.98, 0.98), day)
    canvas.panel("window", wall, (-wide, wide), (low, high), frame)
    inside = 0.09
    bottom, top = low + inside, high - inside
    bands = 5
    for i in range(bands):
        v = bottom + (top - bottom) * i / bands, bottom + (top - bottom) * (i + 1) / bands
        colour = hill if i == 0 else mix(sky_low, sky_high, (i - 1) / (bands - 2))
        canvas.panel("window", wall, (inside - wide, wide - inside), v, colour)
    uprights = {"cross": (0.0,), "sash": (), "triple": (-wide / 3, wide / 3)}[f["window_style"]]
    for u in uprights:
        canvas.panel("window", wall, (u - 0.04, u + 0.04), (low, high), frame)
    if f["window_style"] != "triple":
        canvas.panel("window", wall, (-wide, wide), (1.50 - 0.045, 1.50 + 0.045), frame)
    if f["curtain"]:
        _curtain(canvas, f, wall, wide, low, high)


def _curtain(canvas, f, wall, wide, low, high):
    colour = hsv(f["curtain_hue"], 0.55, 0.80)
    covers = 0.06 if f["curtain_style"] == "open" else 0.24  # metres of the window on each side
    folds = 4
    outer, inner = wide + 0.22, wide - covers
    for side in (-1, 1):
        for i in range(folds):
            a, b = (outer + (inner - outer) * (i + j) / folds for j in (0, 1))
            u = (side * a, side * b) if side * a < side * b else (side * b, side * a)
            canvas.panel(
                "curtain", wall, u, (low - 0.12, high + 0.10), dim(colour, 0.80 if i % 2 else 1.0)
            )
    canvas.panel(
        "curtain", wall, (-wide - 0.27, wide + 0.27), (high + 0.08, high + 0.15), (0.30, 0.22, 0.16)
    )


def _door(canvas, f, wall):
    wood = f["door_style"] == "wood"
    colour, trim = (
        ((0.52, 0.33, 0.18), (0.36, 0.22, 0.12))
        if wood
        else ((0.93, 0.92, 0.88), (0.72, 0.71, 0.68))
    )
    canvas.panel("door", wall, (-0.50, 0.50), (0.0, 2.08), trim)
    canvas.panel("door", wall, (-0.43, 0.43), (0.0, 2.00), colour)
    for v in ((0.25, 0.88), (1.12, 1.80)):
        canvas.panel("door", wall, (-0.26, 0.26), v, dim(colour, 0.82))
    canvas.panel("door", wall, (0.29, 0.39), (0.94, 1.06), (0.95, 0.80, 0.30))


def _tv(canvas, f, wall):
    wide = 0.66 if f["tv_place"].startswith("back") else 0.60
    low, high = 1.16, 1.90
    canvas.panel("tv", wall, (-wide, wide), (low, high), (0.20, 0.20, 0.22))
    canvas.panel(
        "tv", wall, (0.07 - wide, wide - 0.07), (low + 0.09, high - 0.07), (0.05, 0.06, 0.09)
    )
    glare = [wall(-0.75 * wide, high - 0.07), wall(0.0, high - 0.07), wall(-0.45 * wide, low + 0.09),
             wall(0.07 - wide, low + 0.09)]  # fmt: skip
    canvas.polygon("tv", glare, (0.17, 0.20, 0.27))


def _mirror(canvas, f, wall):
    middle = 1.50
    for scale, colour in ((1.0, (0.78, 0.58, 0.22)), (0.80, (0.74, 0.84, 0.88))):
        ring = [wall(0.42 * scale * c, middle + 0.56 * scale * s) for c, s in CIRCLE]
        canvas.polygon("mirror", ring, colour)
    streak = [wall(-0.12, middle + 0.36), wall(0.10, middle + 0.36), wall(-0.04, middle - 0.36),
              wall(-0.24, middle - 0.20)]  # fmt: skip
    canvas.polygon("mirror", streak, (0.93, 0.97, 0.98))


def _picture(canvas, f, wall):
    wide, tall = (0.48, 0.36) if f["picture_style"] == "landscape" else (0.36, 0.46)
    middle = 1.58
    paper, ink = hsv(f["picture_hue"], 0.25, 0.95), hsv(f["picture_hue"] + 0.45, 0.75, 0.65)
    for border, colour in ((0.0, (0.30, 0.18, 0.08)), (0.08, (0.96, 0.94, 0.88)), (0.14, paper)):
        canvas.panel("picture", wall, (border - wide, wide - border), (middle - tall + border, middle + tall - border),
                     colour)  # fmt: skip
    hill = [wall(0.14 - wide, middle - tall + 0.14), wall(wide - 0.14, middle - tall + 0.14),
            wall(wide - 0.14, middle - 0.02), wall(-0.10, middle + 0.12)]  # fmt: skip
    canvas.polygon("picture", hill, ink)


def _bed_x(canvas, f):
    """(low, high) of the bed across the room, in metres: a nightstand fits on either side."""
    half = 0.82 if f["bed_size"] == "double" else 0.55
    middle = f["bed_x"] * (canvas.half - half - 0.62)
    return middle - half, middle + half


def _wood(f):
    return mix((0.24, 0.13, 0.07), (0.72, 0.52, 0.32), f["wood"])


def _rug(canvas, f):
    x0, x1 = _bed_x(canvas, f)
    colour = hsv(f["rug_hue"], 0.50, 0.72)
    for border, shade in ((0.0, 0.70), (0.10, 1.0)):
        x, z = (x0 - 0.55 + border, x1 + 0.55 - border), (1.55 + border, 3.0 - border)
        canvas.polygon(
            "rug",
            [(x[0], 0, z[0]), (x[1], 0, z[0]), (x[1], 0, z[1]), (x[0], 0, z[1])],
            dim(colour, shade),
        )


def _bedside_x(canvas, f):
    x0, x1 = _bed_x(canvas, f)
    return x0 - 0.34 if f["lamp_side"] == "left" else x1 + 0.34


def _lamp_centre(canvas, f):
    """The middle of the lamp's shade. On the nightstand if there is one, else on a pole of its own."""
    return _bedside_x(canvas, f), 1.08 if f["nightstand"] else 1.45, DEPTH - 0.35


def _bedside(canvas, f):
    x = _bedside_x(canvas, f)
    if f["nightstand"]:
        canvas.box(
            "nightstand", (x - 0.25, x + 0.25), (0, 0.58), (DEPTH - 0.55, DEPTH - 0.1), _wood(f)
        )
    if not f["lamp"]:
        return
    size, (x, y, z) = f["lamp_size"], _lamp_centre(canvas, f)
    lit = f["daylight"] < 0.5
    shade = (1.0, 0.90, 0.55) if lit else (0.92, 0.84, 0.66)
    metal = (0.25, 0.22, 0.20)
    foot = 0.58 if f["nightstand"] else 0.0
    wall = lambda u, v: (x + u, v, z)  # noqa: E731
    canvas.panel("lamp", wall, (-0.045, 0.045), (foot, y), metal)
    canvas.panel("lamp", wall, (-0.14, 0.14), (foot, foot + 0.06), metal)
    tall, low, high = 0.19 * size, 0.29 * size, 0.18 * size
    canvas.polygon("lamp", [wall(-low, y - tall), wall(low, y - tall), wall(high, y + tall), wall(-high, y + tall)],
                   shade)  # fmt: skip


def _bed(canvas, f):
    x0, x1 = _bed_x(canvas, f)
    head, foot = DEPTH - 0.06, DEPTH - 0.06 - BED_LENGTH
    wood = _wood(f)
    cover = hsv(f["bed_hue"], 0.30 + 0.45 * f["bed_tone"], 0.92 - 0.34 * f["bed_tone"])
    accent = hsv(f["bed_hue"] + 0.4, 0.35, 0.90)
    wall = lambda u, v: (u, v, head)  # noqa: E731
    if f["headboard"] == "bars":
        for i in range(6):
            u = x0 + (x1 - x0 - 0.08) * i / 5
            canvas.panel("bed", wall, (u, u + 0.08), (0.3, 1.12), wood)
        canvas.panel("bed", wall, (x0 - 0.03, x1 + 0.03), (1.04, 1.16), wood)
    else:
        canvas.panel("bed", wall, (x0 - 0.03, x1 + 0.03), (0.2, 0.98), wood)
    if f["headboard"] == "arch":
        half = (x1 - x0) / 2 + 0.03
        canvas.polygon(
            "bed",
            [wall((x0 + x1) / 2 + half * c, 0.97 + 0.30 * s) for c, s in CIRCLE if s >= 0],
            wood,
        )

    canvas.box("bed", (x0, x1), (0.0, 0.26), (foot, head), wood)
    canvas.box("bed", (x0 + 0.02, x1 - 0.02), (0.26, 0.52), (foot, head), (0.95, 0.94, 0.92))
    end = head - 0.62
    canvas.box("bed", (x0 - 0.03, x1 + 0.03), (0.20, 0.56), (foot - 0.03, end), cover)
    pillows = 2 if f["bed_size"] == "double" else 1
    step = (x1 - x0) / pillows
    for i in range(pillows):
        canvas.box("bed", (x0 + step * i + 0.07, x0 + step * (i + 1) - 0.07), (0.52, 0.70), (end + 0.08, head - 0.08),
                   (0.99, 0.98, 0.96))  # fmt: skip
    if f["bedding"] == "band":
        stripes = [(foot + 0.15, foot + 0.62)]
    elif f["bedding"] == "stripes":
        stripes = [(foot + 0.12 + 0.42 * i, foot + 0.32 + 0.42 * i) for i in range(3)]
    else:
        stripes = []
    for z0, z1 in stripes:
        canvas.polygon("bed", [(x0 - 0.03, 0.56, z0), (x1 + 0.03, 0.56, z0), (x1 + 0.03, 0.56, z1),
                               (x0 - 0.03, 0.56, z1)], accent)  # fmt: skip


_DRAW = {"door": _door, "window": _window, "tv": _tv, "mirror": _mirror, "picture": _picture}
