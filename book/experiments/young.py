"""How the code for windows changes while a generator learns, for chapter 4.

`python book/experiments/young.py` trains a generator with stops at `STEPS`, in runs/young/STEP (an hour on two cores), and
writes young.json: for the generator of each step and for the moving average of its weights, its distance to real rooms,
the rates of objects, and how many windows are left with more and more units of 8x8 switched off. The recipe is that of
the shipped weights, but its noise falls. A folder that is there already is not trained again. Nobody boxed the windows
of every step: the instrument's masks choose here, on other latents than it judges on.
"""

import shutil
from pathlib import Path

import torch
from shared import rounded, store

from dcgan_book import forgetting, measure, pretrained, training
from dcgan_book.forgetting import effects
from dcgan_book.hooks import activations_of
from dcgan_book.latents import draw_z, recalibrate, stream
from dcgan_book.models import Generator
from dcgan_book.training.__main__ import main as train
from dcgan_book.worlds import rooms

HERE = Path(__file__).parent
RUNS = HERE.parents[1] / "runs" / "young"
STEPS = (500, 1000, 2000, 3000, 5000, 7000, 9000)
RECIPE = "--batch 32 --instance-noise 0.1 --noise-steps 10000 --ema 0.999".split()
STAGE, UNITS = "8x8", 256
DOSES = (8, 16, 32, 64, 96, 128, 192)
CHOOSING, JUDGED, SAMPLES = 300, 160, 2000  # rooms
STRENGTHS = (1.0, 0.1, 0.01, 0.001)
BATCH = 64
WINDOW = rooms.LABELS.index("window")


def trained(steps):
    """The checkpoint after so many steps, trained on from the stop before."""
    folder = RUNS / str(steps)
    if not folder.exists():
        earlier = [step for step in STEPS if step < steps]
        if earlier:
            trained(earlier[-1])
            shutil.copytree(RUNS / str(earlier[-1]), folder)
        words = [*RECIPE, f"--steps={steps}", f"--out={folder}"]
        train([*words, "--resume"] if earlier else words)
    return training.read_checkpoint(folder)


def quality(generator, instrument, real):
    reading = instrument.read(measure.sample(generator, SAMPLES))
    rates = {name: share.float().mean().item() for name, share in reading.presence.items()}
    return {
        "distance": measure.frechet_interval(reading.features, real, resamples=20),
        "rates": rates,
    }


def code(generator, instrument):
    """What the units of a generator carry of its windows; all shares are of rooms that had one."""
    z = draw_z(CHOOSING, generator=stream(0, "young masks"))
    seen = effects.observe(generator, z, instrument, batch=BATCH)
    masks = seen.labels == WINDOW
    maps = activations_of(generator, STAGE, z).float()
    cells = forgetting.examples(
        maps, forgetting.coverage(masks, STAGE), generator=stream(0, "young cells")
    )
    fits = [forgetting.fit(cells, strength) for strength in STRENGTHS]
    best = max(fits, key=lambda fit: fit.auc)
    random = [torch.randperm(UNITS, generator=stream(i, "young random")) for i in range(3)]
    overlap = forgetting.iou(maps, masks).argsort(descending=True)
    orders = {"IoU": [overlap], "weight, best AUC": [best.ranking], "random": random}

    z = draw_z(4 * JUDGED, generator=stream(0, "young judge"))
    before = effects.observe(generator, z, instrument, batch=BATCH)
    rate = before.present["window"].float().mean().item()
    z = z[before.present["window"]][:JUDGED]
    before = effects.observe(generator, z, instrument, batch=BATCH)

    def outcome(units):
        card = effects.scorecard(
            generator, z, STAGE, units, instrument, batch=BATCH, before=before
        ).summary()
        return {name: card[name] for name in ("left", "pixels_left", "inside", "outside")} | {
            "bed": card["lost"]["bed"]
        }

    return {
        "window_rate": rate,
        "rooms": len(z),
        "auc": best.auc,
        "curves": {
            name: [[outcome(order[:k]) for k in DOSES] for order in some]
            for name, some in orders.items()
        },
        "recipes": [
            {"strength": strength, "count": len(fit.chosen)} | outcome(fit.chosen)
            for strength, fit in zip(STRENGTHS, fits, strict=True)
        ],
    }


def main():
    torch.set_num_threads(1)
    instrument = measure.load()
    real = instrument.features(rooms.dataset(4250, measure.HELD_OUT, progress=False).images[:2000])
    found = {"steps": STEPS, "doses": DOSES, "units": UNITS, "live": [], "average": []}
    for steps in STEPS:
        checkpoint = trained(steps)
        for name, part in (("live", "generator"), ("average", "ema")):
            generator = Generator.from_state_dict(checkpoint[part])
            recalibrate(generator, checkpoint["config"]["prior"], pretrained.RECALIBRATION)
            generator.eval().requires_grad_(False)
            generator.register_forward_hook(lambda _network, _inputs, images: images.float())
            with torch.autocast("cpu", torch.bfloat16):
                found[name].append(
                    rounded(quality(generator, instrument, real) | code(generator, instrument))
                )
        print(steps, flush=True)
    store(HERE / "young.json", found, __file__, "instruments/instrument")


if __name__ == "__main__":
    main()
