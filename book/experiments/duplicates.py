"""Near-duplicates planted among drawn rooms, and how many of them each hash finds (chapter 1; paper, section 4.1.1).

`python book/experiments/duplicates.py` writes duplicates.json and duplicates.png; `duplicates.py scale` only what the
search for pairs costs. Two sets of 20,000 rooms get 2 %
planted copies each: shifted, compressed as JPEG, made brighter or darker, or cropped. On the first set each method's
radius is chosen, the largest with a precision of 0.99; the second set judges. The autoencoder of a set learns from
that set, copies included, as the paper's did. The control is the perceptual hash of the package imagehash. Times are
those of one core.
"""

import io
import json
import sys
import time
import tracemalloc
from pathlib import Path

import imagehash
import numpy as np
import torch
from joblib import Parallel, delayed
from PIL import Image
from shared import store

from dcgan_book import measure
from dcgan_book.training import duplicates
from dcgan_book.worlds import rooms

N, SHARE = 20_000, 0.02
SEEDS = {"choose": 3_000_000, "judge": 3_100_000}
FARTHEST = 40  # bits
PRECISION = 0.99
KINDS = ("shift", "jpeg", "brightness", "crop")
TILES = 8  # pairs of a kind of outcome in the picture


def copy_of(image, kind, random):
    """A near-duplicate of uint8 (64, 64, 3)."""
    picture = Image.fromarray(image)
    if kind == "shift":  # by 1 to 3 pixels, the border repeated
        dx, dy = random.choice([(x, y) for x in range(-3, 4) for y in range(-3, 4) if x or y])
        return np.pad(image, ((3, 3), (3, 3), (0, 0)), mode="edge")[
            3 + dy : 67 + dy, 3 + dx : 67 + dx
        ]
    if kind == "jpeg":
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=int(random.integers(30, 81)))
        return np.asarray(Image.open(buffer))
    if kind == "brightness":  # by up to 20 %
        return np.clip(image * random.uniform(0.8, 1.2) + 0.5, 0, 255).astype(np.uint8)
    left, top, right, bottom = random.integers((1, 0, 0, 0), 4)  # up to 3 pixels off each side
    return np.asarray(
        picture.crop((left, top, 64 - right, 64 - bottom)).resize(
            (64, 64), Image.Resampling.LANCZOS
        )
    )


def planted(seed):
    """Rooms and their copies behind them: images, and the pairs (original, copy), whose kinds come in turns."""
    random = np.random.default_rng(seed)
    images = np.asarray(rooms.dataset(N, seed=seed).images)
    originals = random.choice(N, int(N * SHARE), replace=False)
    copies = [
        copy_of(images[original], KINDS[i % 4], random) for i, original in enumerate(originals)
    ]
    return np.concatenate([images, copies]), np.stack(
        [originals, N + np.arange(len(copies))], axis=1
    )


def codes(images):
    model = duplicates.fit(images)
    began = time.process_time()
    found = duplicates.encode(model, images)
    return np.unpackbits(found.view(np.uint8), axis=1), time.process_time() - began


def perceptual(side):
    def bits(images):
        began = time.process_time()
        hashes = [imagehash.phash(Image.fromarray(image), side).hash.flatten() for image in images]
        return np.stack(hashes), time.process_time() - began

    return bits


METHODS = {"codes": codes, "phash 64": perceptual(8), "phash 256": perceptual(16)}


def distances(bits, pairs):
    """All pairs up to FARTHEST apart: how many at each distance, and the nearest strangers, (distance, i, j); and the
    distances of the planted ones."""
    signs = torch.from_numpy(bits.astype(np.float32) * 2 - 1)
    planted = {tuple(pair) for pair in pairs.tolist()}
    at, strangers = np.zeros(FARTHEST + 1, int), []
    for start in range(0, len(signs), 1000):
        # bits that agree minus bits that differ
        alike = signs[start : start + 1000] @ signs[start:].T
        i, j = torch.nonzero(alike >= bits.shape[1] - 2 * FARTHEST, as_tuple=True)
        i, j = i[i < j], j[i < j]  # each pair once
        differing = ((bits.shape[1] - alike[i, j]) / 2).round().int()
        at += np.bincount(differing.numpy(), minlength=FARTHEST + 1)
        near = differing.argsort()[:300]
        found = zip(
            differing[near].tolist(),
            (start + i[near]).tolist(),
            (start + j[near]).tolist(),
            strict=True,
        )
        strangers += [pair for pair in found if pair[1:] not in planted]
    of_copies = (bits[pairs[:, 0]] != bits[pairs[:, 1]]).sum(1)
    return at, of_copies, sorted(strangers)


def largest_radius(at, of_copies):
    """The largest radius within which at least PRECISION of the pairs are planted ones, None if there is none."""
    right = np.cumsum(np.bincount(of_copies[of_copies <= FARTHEST], minlength=FARTHEST + 1))
    good = np.flatnonzero((right >= PRECISION * np.cumsum(at)) & (right > 0))
    return int(good[-1]) if len(good) else None


def judged(method, sets):
    chosen, _ = METHODS[method](sets["choose"][0])
    radius = largest_radius(*distances(chosen, sets["choose"][1])[:2])
    images, pairs = sets["judge"]
    bits, seconds = METHODS[method](images)
    at, of_copies, strangers = distances(bits, pairs)
    result = {
        "bits": bits.shape[1],
        "radius": radius,
        "seconds_per_100000": round(seconds / len(images) * 1e5, 1),
    }
    within = radius if radius is not None else 0
    found, right = int(at[: within + 1].sum()), of_copies <= within
    result |= {
        "found": found,
        "right": int(right.sum()),
        "planted": len(pairs),
        "precision": measure.numbers(measure.wilson(int(right.sum()), found)),
        "recall": measure.numbers(measure.wilson(int(right.sum()), len(pairs))),
        "recall_by_kind": {kind: float(right[i::4].mean()) for i, kind in enumerate(KINDS)},
    }
    return result, (right, strangers)


def scale(images):
    """Time and memory of finding the pairs, for half of the rooms and for all."""
    codes, seconds = duplicates.encode(duplicates.fit(images, steps=200), images), {}
    for count in (N // 2, N):
        began = time.process_time()
        duplicates.pairs(codes[:count])
        seconds[count] = round(time.process_time() - began, 2)
    tracemalloc.start()
    duplicates.pairs(codes)
    peak = tracemalloc.get_traced_memory()[1]
    return {
        "pairs_seconds": seconds,
        "megabytes_per_million": round((codes.nbytes + peak) / len(codes), 1),
    }


def picture(sets, right, strangers):
    """Found copies, missed ones, and the nearest strangers, TILES of each: originals above, their partners below."""
    images, pairs = sets["judge"]
    groups = pairs[right].tolist(), pairs[~right].tolist(), [[i, j] for _, i, j in strangers]
    tiles = [np.concatenate([images[i], images[j]]) for group in groups for i, j in group[:TILES]]
    blank = np.full_like(tiles[0], 255)
    rows = [[tiles.pop(0) if k < len(group) else blank for k in range(TILES)] for group in groups]
    return Image.fromarray(np.concatenate([np.concatenate(row, axis=1) for row in rows]))


def main(names):
    here = Path(__file__)
    known = (
        json.loads(here.with_suffix(".json").read_text(encoding="utf-8"))
        if names
        else {"images": N, "share": SHARE}
    )
    if not names:
        sets = {name: planted(seed) for name, seed in SEEDS.items()}
        found = dict(
            zip(
                METHODS,
                Parallel(len(METHODS))(delayed(judged)(method, sets) for method in METHODS),
                strict=True,
            )
        )
        picture(sets, *found["codes"][1]).save(here.with_suffix(".png"), optimize=True)
        known["methods"] = {method: result for method, (result, _) in found.items()}
    known["scale"] = scale(planted(SEEDS["judge"])[0])
    store(here.with_suffix(".json"), known, __file__, indent=1)


if __name__ == "__main__":
    main(sys.argv[1:])
