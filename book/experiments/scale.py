"""How fast and how large: what the page "Beyond one machine" calculates with (sections 3 and 4 of the paper).

`python book/experiments/scale.py` writes scale.json; `scale.py speed memory` only those parts of it. Every comparison
takes turns in one process, so that what else the machine does falls on both sides; read the ratios first. Photographs
of 256 pixels are stood in for by rooms drawn large, with a grain that keeps the files at a photograph's size.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import speed
import torch
from PIL import Image

from dcgan_book import training
from dcgan_book.latents import draw_z, stream, to_batch
from dcgan_book.models import initialise
from dcgan_book.training import data
from dcgan_book.training.loop import networks_of
from dcgan_book.training.machine import threads_of
from dcgan_book.training.recipe import TrainConfig
from dcgan_book.worlds import rooms

PHOTOS, PHOTO_SIDE = 1000, 256
LSUN = 3_033_042  # bedrooms
TURNS, ROUNDS = 3, 5
# a running mean over so many steps
CURVES = {"seeds": 5, "steps": 300, "width": 32, "batch": 16, "window": 25}
FEW = 128  # z's for the statistics of samples that nobody looks at


def write_photos(folder):
    """JPEGs of 256 pixels; returns their mean size in bytes."""
    random = np.random.default_rng(0)
    for i, room in enumerate(rooms.dataset(PHOTOS, seed=4_000_000, progress=False).images):
        grain = (
            random.normal(0, 12, (PHOTO_SIDE // 2, PHOTO_SIDE // 2, 1)).repeat(2, 0).repeat(2, 1)
        )
        large = (
            np.asarray(
                Image.fromarray(room).resize((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.BICUBIC)
            )
            + grain
        )
        Image.fromarray(large.clip(0, 255).astype(np.uint8)).save(
            folder / f"{i:05}.jpg", quality=90
        )
    return statistics.mean(path.stat().st_size for path in folder.iterdir())


def feeding(images):
    """Images a second that training at width 64 takes from memory, from a map on disk, and from a map that the system
    has forgotten before every step; in turns."""
    file = images.filename
    seconds = {"memory": [], "disk": [], "disk, cold": []}
    config = TrainConfig(batch=32, steps=6, precision="fp32")
    for _ in range(TURNS):
        for kind, taken in seconds.items():
            began = [time.perf_counter()]

            def note(_, kind=kind, taken=taken, began=began):
                taken.append(time.perf_counter() - began[0])
                if kind == "disk, cold":
                    with open(file, "rb") as opened:
                        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                began[0] = time.perf_counter()

            given = np.asarray(images).copy() if kind == "memory" else images
            training.train(config, given, on_step=note, progress=False, recalibration=FEW)
            del taken[-config.steps]  # the first step prepares
    return {kind: config.batch / statistics.median(taken) for kind, taken in seconds.items()}


def megabytes(count):
    """In a process of its own: the most memory that training takes from so many images, an empty file."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/images.npy"
        np.lib.format.open_memmap(path, "w+", np.uint8, (count, 64, 64, 3)).flush()
        config = TrainConfig(data=path, steps=6, batch=128, precision="fp32")
        training.train(config, progress=False, recalibration=FEW)
    import resource  # here, as Windows has none

    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, others kilobytes
    print(round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit))


def curves(images, seed, ours=None):
    """Both losses at every step, (steps, 2): of the plain loop, or of ours in a precision. Same start, order and z."""
    config = TrainConfig(width=CURVES["width"], batch=CURVES["batch"], seed=seed)
    layout = torch.channels_last if ours else torch.contiguous_format
    weights, latents = stream(seed, "weights"), stream(seed, "z")
    networks = [
        initialise(network, weights).to(memory_format=layout) for network in networks_of(config)
    ]
    optimisers = [
        training.adam(network, 2e-4) if ours else speed.plain_adam(network) for network in networks
    ]
    step, losses = training.gan_step if ours else speed.plain_step, []
    for i in range(CURVES["steps"]):
        real = to_batch(images[training.batch_indices(len(images), config.batch, i, seed)])
        real = real.contiguous(memory_format=layout)
        z = draw_z(config.batch, generator=latents)
        with training.computing(ours or "fp32", torch.device("cpu")):
            loss = step(*networks, *optimisers, real, z)
        losses.append([loss["d_loss"].item(), loss["g_loss"].item()])
    return np.array(losses)


def within(curve, others):
    """Share of the smoothed curve that lies between the lowest and the highest of the others."""
    low, high = np.min(others, 0), np.max(others, 0)
    return float(((low <= curve) & (curve <= high)).mean())


def disk():
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DCGAN_BOOK_CACHE"] = f"{folder}/cache"
        photos = Path(folder) / "photos"
        photos.mkdir()
        size = write_photos(photos)
        began = time.perf_counter()
        images = data.load(photos, progress=False).images
        decoding = {"bytes": size, "images_per_s": PHOTOS / (time.perf_counter() - began)}
        return {"decoding": decoding, "feeding": feeding(images)}


def memory():
    found = {}
    for name, count in (("a thousand", 1000), ("three million", LSUN)):
        command = [sys.executable, __file__, "megabytes", str(count)]
        found[name] = int(
            subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]
        )
    return {"megabytes": found}


def rates():
    """Each precision at width 64; the fastest at width 128, and at 64 on images of 128 pixels. On one core, whose time
    is taken, so that it does not matter what the others do."""
    config = TrainConfig(batch=32)

    def timed(**more):
        with threads_of(1):
            return speed.benchmark(replace(config, **more), ROUNDS, time.process_time)

    found = [timed(precision=precision) for precision in training.PRECISIONS]
    best = max(found, key=lambda one: one["ratio"])["precision"]
    return {
        "speed": [*found, timed(width=128, precision=best)],
        "speed_at_128": timed(size=128, precision=best),
    }


def same_curves():
    images = rooms.dataset(PHOTOS, seed=4_000_000, progress=False).images

    def smooth(curve):
        return np.stack(
            [
                np.convolve(column, np.ones(CURVES["window"]) / CURVES["window"], "valid")
                for column in curve.T
            ]
        )

    plain = [smooth(curves(images, seed)) for seed in range(CURVES["seeds"])]
    alone = [within(plain[i], plain[:i] + plain[i + 1 :]) for i in range(CURVES["seeds"])]
    ours = {kind: within(smooth(curves(images, 0, kind)), plain) for kind in training.PRECISIONS}
    return {"curves": CURVES | {"ours": ours, "one plain run within the others": alone}}


PARTS = {"disk": disk, "memory": memory, "speed": rates, "curves": same_curves}


def main(names):
    path = Path(__file__).with_suffix(".json")
    for name in names or PARTS:
        found = PARTS[name]()
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        known |= {
            "machine": training.machine_facts(torch.device("cpu"), "auto"),
            "lsun": LSUN,
        } | found
        path.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    megabytes(int(sys.argv[2])) if sys.argv[1:2] == ["megabytes"] else main(sys.argv[1:])
