"""What the page "Beyond one machine" says of a folder of photographs: `python book/experiments/own.py FOLDER`.

The book's numbers are of 196 real bedrooms of LSUN at 64 pixels, which the paper's authors show in one picture. They are
far too few to train on, and that is what the numbers show. Three quarters of the folder are trained on.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import shared
import torch

from dcgan_book import measure, pretrained, training, walking
from dcgan_book.latents import stream, to_batch
from dcgan_book.training import data
from dcgan_book.training.recipe import TrainConfig

STEPS, BATCH, WIDTH = 500, 32, 16
SAMPLES = 196


def split(folder, into):
    """Every fourth picture is held out: two folders of copies."""
    found = sorted(path for path in Path(folder).iterdir() if path.is_file())
    for i, path in enumerate(found):
        kind = into / ("held out" if i % 4 == 0 else "trained on")
        kind.mkdir(exist_ok=True)
        shutil.copy(path, kind)
    return into / "trained on", into / "held out"


def largest_step(images):
    steps = (images[:, 1:] - images[:, :-1]).flatten(2).norm(dim=2)
    return measure.bootstrap(steps.amax(1) / steps.sum(1))


def main(folder):
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        trained_on, held_out = split(folder, place)
        config = TrainConfig(
            data=str(trained_on), steps=STEPS, batch=BATCH, width=WIDTH, instance_noise=0.1
        )
        images = {kind: data.load(str(where), progress=False).images for kind, where in
                  (("training", trained_on), ("held out", held_out))}  # fmt: skip
        training.train(config, images["training"], run=place / "run", progress=False)
        pair = pretrained.load(place / "run")
        with torch.no_grad():
            z = pair.draw_z(SAMPLES, stream(0, "samples"))
            samples = pair.generator(z)
            ends = pair.draw_z(40, stream(0, "ends"))
            line = walking.line(ends[::2], ends[1::2], 33)
            walk = pair.generator(line.flatten(0, 1)).unflatten(0, line.shape[:2])
    photographs = {kind: to_batch(each) for kind, each in images.items()}
    shifted = photographs["training"].roll(1, 3)  # what a copier might give back
    test = measure.memorisation(
        samples, photographs["training"], photographs["held out"], by="pixels", planted=shifted
    )
    fade = walking.crossfade(walk[:, 0], walk[:, -1], 33)
    stored = samples[torch.cdist(line, z[None]).argmin(-1)]
    instrument = measure.load()
    found = {
        "photographs": {kind: len(each) for kind, each in photographs.items()},
        "steps": STEPS,
        "copies": test.copies,
        "power": {str(share): power for share, power in test.power.items()},
        "largest step": {"line": largest_step(walk), "cross-fade": largest_step(fade), "memory": largest_step(stored)},
        "instrument": {
            name: measure.rates(instrument.read(shown).presence)
            for name, shown in (("photographs", torch.cat(list(photographs.values()))), ("samples", samples))
        },
    }  # fmt: skip
    print(found)
    shared.store(
        Path(__file__).with_suffix(".json"), shared.rounded(found), __file__, "instruments/instrument", indent=1
    )  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1])
