"""What the drawn worlds share: a canvas with labels, colours, exact curves, checked factors, and the cache.

A *world* is a function from a seed to an image, the factors it was drawn from, and one mask of visible pixels
per object. Sampling uses `random.Random` and drawing uses only exact arithmetic (sums, products, quotients and
square roots, each rounded as IEEE 754 says), so that the same seed gives the same bytes everywhere.
"""

import colorsys
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from joblib import Parallel, delayed
from PIL import Image, ImageDraw
from tqdm.auto import tqdm

from dcgan_book.cache import Damaged, atomic_write, cache_dir, locked, read_seal, seal

SIZE = 64  # pixels
SCALE = 4  # drawn this much larger, then averaged


@dataclass(frozen=True)
class Drawing:
    """One drawn image.

    image: uint8 (64, 64, 3). factors: name to value. labels: uint8 (64, 64), for each pixel the index in `LABELS`
    of what covers most of it.
    """

    image: np.ndarray
    factors: dict
    labels: np.ndarray
    LABELS: ClassVar[tuple] = ()
    OBJECTS: ClassVar[tuple] = ()

    @property
    def masks(self):
        """Visible pixels of each object: name to bool (64, 64); all False where the object is absent."""
        return {name: self.labels == self.LABELS.index(name) for name in self.OBJECTS}


@dataclass(frozen=True)
class Drawings:
    """Many drawn images.

    images: uint8 (n, 64, 64, 3). labels: uint8 (n, 64, 64), indices into `LABELS`. factors: name to array (n,).
    """

    images: np.ndarray
    labels: np.ndarray
    factors: dict
    LABELS: ClassVar[tuple] = ()
    FACTORS: ClassVar[tuple] = ()

    @classmethod
    def of(cls, arrays):
        """The drawings whose arrays are those of `block`, by name."""
        return cls(arrays["images"], arrays["labels"], {name: arrays[name] for name in cls.FACTORS})

    def __len__(self):
        return len(self.images)

    def mask(self, name):
        """Visible pixels of one object in every image: bool (n, 64, 64)."""
        return np.asarray(self.labels) == self.LABELS.index(name)


def check_factors(factors, known, ranges, options):
    """Raises ValueError for a factor that is not in `known`, or whose value is neither in its range, a pair in
    `ranges`, nor among its `options(name)`."""
    for name, value in factors.items():
        if name not in known:
            raise ValueError(f"factor {name!r} does not exist; there are: {', '.join(known)}")
        if name in ranges:
            low, high = ranges[name]
            good, allowed = low <= value <= high, f"{low} to {high}"
        else:
            choices = options(name)
            good, allowed = value in choices, ", ".join(map(str, dict.fromkeys(choices)))
        if not good:
            raise ValueError(f"factor {name} cannot be {value!r}; it can be: {allowed}")


# --------------------------------------------------------------------------------------------- many images


def block(draw, seed, n):
    """Drawings `draw(seed)` to `draw(seed + n - 1)` as name to array; texts have one width, so that blocks fit."""
    drawings = [draw(seed + i) for i in range(n)]
    arrays = {
        "images": np.stack([d.image for d in drawings]),
        "labels": np.stack([d.labels for d in drawings]),
    }
    for name in drawings[0].factors:
        values = [drawing.factors[name] for drawing in drawings]
        arrays[name] = np.array(values, dtype="U12" if isinstance(values[0], str) else None)
    return arrays


def cached_dataset(noun, version, draw_block, n, seed, workers, progress):
    """The arrays of `draw_block(seed, n)`; from 1,000 images on they are kept in the user's cache as .npy files.

    noun: what one image is called. version: part of the cache's name. workers: processes to draw with (all cores
    by default). progress: show a bar while drawing. Arrays from the cache are memory-mapped and read-only; where
    another process draws the same, its end is waited for. Damaged ones are drawn anew, and a warning says so.
    Raises ValueError if n < 1.
    """
    if n < 1:
        raise ValueError(f"n {n}: ask for at least one {noun}")
    if n < 1000:
        return draw_block(seed, n)
    folder = cache_dir() / f"{noun}s-v{version}-{seed}-{n}"
    if _fault(folder):
        with locked(folder):
            fault = _fault(folder)  # another process may have drawn it meanwhile
            if fault and folder.exists():
                warnings.warn(
                    f"the cache is damaged ({fault}): the {noun}s are drawn anew", stacklevel=3
                )
                shutil.rmtree(folder)
            if fault:
                with atomic_write(folder) as temporary:
                    _draw_to(temporary, noun, draw_block, n, seed, workers, progress)
    return {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}


def _fault(folder):
    """Why the arrays of `folder` cannot be used, or nothing."""
    try:
        read_seal(folder)
    except Damaged as error:
        return str(error)
    return "" if any(folder.glob("*.npy")) else "it is empty"


def _draw_to(folder, noun, draw_block, n, seed, workers, progress, step=250):
    """Fill `folder` with one .npy per array, drawn in blocks by worker processes."""
    folder = Path(folder)
    folder.mkdir()
    maps = {}
    starts = range(0, n, step)
    tasks = (delayed(draw_block)(seed + start, min(step, n - start)) for start in starts)
    blocks = Parallel(n_jobs=workers or -1, return_as="generator")(tasks)
    with tqdm(total=n, desc=f"drawing {noun}s", unit=noun, disable=not progress) as bar:
        for start, arrays in zip(starts, blocks, strict=True):
            for name, array in arrays.items():
                if name not in maps:
                    maps[name] = np.lib.format.open_memmap(
                        folder / f"{name}.npy", "w+", array.dtype, (n, *array.shape[1:])
                    )
                maps[name][start : start + len(array)] = array
            bar.update(len(arrays["images"]))
    for array in maps.values():
        array.flush()
    seal(folder)


# ---------------------------------------------------------------------------------------------- drawing


class Canvas:
    """A picture in colour and in label numbers, drawn together.

    labels: the names that can be drawn. paint: name to RGB; such a thing is filled with that one colour.
    """

    def __init__(self, labels, paint):
        side = SIZE * SCALE
        self.labels, self.paint = labels, paint
        self.colour_image = Image.new("RGB", (side, side))
        self.label_image = Image.new("L", (side, side))
        self._colour = ImageDraw.Draw(self.colour_image)
        self._label = ImageDraw.Draw(self.label_image)

    def fill(self, name, corners, colour):
        """Fills a polygon; corners are whole numbers, `SCALE` to a pixel, as pairs or as x, y, x, y, ..."""
        self._colour.polygon(corners, fill=self.paint.get(name) or rgb(colour))
        self._label.polygon(corners, fill=self.labels.index(name))

    def shares(self):
        """How many of the `SCALE`² drawn points of each pixel show each label: int (64, 64, labels)."""
        points = np.asarray(self.label_image)
        shares = np.empty((SIZE, SIZE, len(self.labels)), np.int64)
        for i in range(len(self.labels)):
            rows = (
                (points == i)
                .view(np.uint8)
                .reshape(SIZE, SCALE, SIZE * SCALE)
                .sum(axis=1, dtype=np.uint8)
            )
            shares[..., i] = sum(rows[:, k::SCALE] for k in range(SCALE))
        return shares

    def develop(self, light):
        """The picture scaled down and multiplied by `light(shares)`, float32 (64, 64, 3), unless it is painted.

        Returns image uint8 (64, 64, 3) and labels uint8 (64, 64).
        """
        image = np.asarray(self.colour_image.reduce(SCALE), dtype=np.float32)
        shares = self.shares()
        if not self.paint:
            image = np.minimum(image * light(shares), 255)
        return (image + 0.5).astype(np.uint8), shares.argmax(axis=2).astype(np.uint8)


# Colours are red, green and blue from 0 to 1.


def rgb(colour):
    """A colour in whole numbers, 0 to 255, as Pillow takes it."""
    return tuple(int(255 * min(max(c, 0.0), 1.0) + 0.5) for c in colour)


def dim(colour, factor):
    """A colour in less light, or in more."""
    return tuple(c * factor for c in colour)


def mix(a, b, share):
    """Two colours mixed: `share` of `b`, the rest of `a`."""
    return tuple(p + (q - p) * share for p, q in zip(a, b, strict=True))


def hsv(hue, saturation, brightness):
    """The colour of a hue in turns, and of a saturation and brightness from 0 to 1."""
    return colorsys.hsv_to_rgb(hue % 1.0, saturation, brightness)


# 32 points of the unit circle from (1, 0) on, made by exact arithmetic: tangent of half the angle, in steps
_QUARTER = [
    ((1 - t * t) / (1 + t * t), 2 * t / (1 + t * t))
    for t in (0, 0.1, 0.2, 0.31, 0.42, 0.55, 0.7, 0.84)
]
CIRCLE = (
    _QUARTER
    + [(-s, c) for c, s in _QUARTER]
    + [(-c, -s) for c, s in _QUARTER]
    + [(s, -c) for c, s in _QUARTER]
)
