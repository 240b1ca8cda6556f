"""A fair small study of remedies for chapter 1: one budget of images, one change at a time, three seeds each.

`python book/experiments/study.py` trains what is not there yet (seven to ten minutes a run on one core) and writes
study.json: for the weights as they are and for their moving average, the distance to real rooms, the share of samples
with each object, the power at the Nyquist corner, and seconds. Run it twice at once, with `--part 0/2` and `--part
1/2`, to use two cores; `--collect` joins the parts.
"""

import argparse
import json
from pathlib import Path

from shared import rounded, store

from dcgan_book import measure, training
from dcgan_book.latents import recalibrate, to_batch
from dcgan_book.worlds import rooms

FOLDER = Path(__file__).parent
RUNS = FOLDER.parents[1] / "runs" / "study"
SEEDS = (0, 1, 2)
IMAGES, WIDTH, SAMPLES, DATA = 96_000, 32, 2000, 60_000
# what each changes of the paper's recipe; the moving average is measured beside every one
RECIPES = {
    "the paper's": {"batch": 128},
    "batch 64": {"batch": 64},
    "batch 32": {"batch": 32},
    "noise 0.1": {"batch": 32, "instance_noise": 0.1},
    "noise 0.1, falling": {"batch": 32, "instance_noise": 0.1, "noise_steps": IMAGES // 32},
    "rate falling": {"batch": 32, "decay_from": 0.4},
    "rate 0.0006, falling": {"batch": 32, "lr_d": 6e-4, "lr_g": 6e-4, "decay_from": 0.4},
    "relativistic": {"batch": 32, "relativistic": True},
    "R1": {"batch": 32, "r1": 1.0},
    "R1, rate falling": {"batch": 32, "r1": 1.0, "decay_from": 0.4},
    "R1, rate 0.0006, falling": {"batch": 32, "r1": 1.0, "lr_d": 6e-4, "lr_g": 6e-4, "decay_from": 0.4},
    "R1, rate 0.0006, falling, relativistic": {
        "batch": 32, "r1": 1.0, "lr_d": 6e-4, "lr_g": 6e-4, "decay_from": 0.4, "relativistic": True,
    },
}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description="A small study of remedies.")
    parser.add_argument(
        "--part", default="0/1", metavar="I/N", help="only every N-th run, from the I-th on"
    )
    parser.add_argument("--collect", action="store_true", help="only join what is there")
    options = parser.parse_args()
    part, parts = map(int, options.part.split("/"))
    jobs = [(name, seed) for seed in SEEDS for name in RECIPES]
    if not options.collect:
        train(jobs[part::parts])
    files = [file_of(*job) for job in jobs]
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in files if path.exists()]
    found = {"images": IMAGES, "width": WIDTH, "samples": SAMPLES, "runs": runs}
    store(FOLDER / "study.json", found, __file__, "instruments/instrument", indent=1)
    print(f"{len(runs)} of {len(jobs)} runs")


def train(jobs):
    """Makes the files of the jobs that have none."""
    images = rooms.dataset(DATA).images
    real = to_batch(rooms.dataset(SAMPLES, seed=measure.HELD_OUT).images)
    instrument = measure.load()
    beside = instrument, instrument.features(real), real
    for name, seed in jobs:
        path = file_of(name, seed)
        if not path.exists():
            run = rounded(run_of(name, seed, images, beside))
            RUNS.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(run) + "\n", encoding="utf-8")


def file_of(name, seed):
    slug = "-".join("".join(letter if letter.isalnum() else " " for letter in name).split())
    return RUNS / f"{slug}-{seed}.json"


def run_of(name, seed, images, beside):
    """One training, its settings, and what is read on samples of its last weights and of their average."""
    changes, (instrument, features, real) = RECIPES[name], beside
    config = training.TrainConfig(
        width=WIDTH, steps=IMAGES // changes["batch"], seed=seed, ema=0.999, precision="bf16", threads=1, **changes
    )  # fmt: skip
    run = training.train(config, images)
    result = {"name": name, "seed": seed, "changes": changes, "seconds": run.log[-1]["seconds"]}
    for which, generator in (("live", run.generator), ("average", run.ema)):
        samples = measure.sample(recalibrate(generator, config.prior, seed=seed), SAMPLES, config.prior, seed)  # fmt: skip
        reading = instrument.read(samples)
        result[which] = {
            "distance": measure.frechet(reading.features, features),
            "rates": {what: rate.value for what, rate in measure.rates(reading.presence).items()},
            "chessboard": measure.chessboard(samples, real, resamples=1).value,
        }
    return result


if __name__ == "__main__":
    main()
