"""Three edits of the multiverse looked at closely: every object, the rest of the picture, D, and the distance.

`python book/experiments/scorecard.py` writes scorecard.json: on every training of the rooms each edit is made with
several draws of the negatives, beside as many random units each time, and counted on 2,000 rooms that chose nothing.
It goes on where it stopped; `--draws 1 --rooms 400` is a quick look.
"""

import argparse
import time
from functools import cache
from pathlib import Path

import torch
from multiverse import STRENGTHS, boxed, generator, instrument, maps
from shared import refuse_own_weights, rounded, store

from dcgan_book import forgetting, measure, pretrained
from dcgan_book.forgetting import effects
from dcgan_book.latents import draw_z, stream
from dcgan_book.teaching import experiments
from dcgan_book.worlds import rooms

OUT = Path(__file__).parent / "scorecard.json"
LAYER = "8x8"
EDITS = ("anywhere, C = 1", "outside the boxes, C = 0.0001", "quarter by direct effect")
FEW = 10  # resamples of a distance, which is slow


@cache
def observed(name, count):
    z = draw_z(count, generator=stream(0, "scorecard judge"))
    critic = pretrained.load(name).discriminator
    return z, critic, effects.observe(generator(name), z, instrument(), critic, batch=64)


@cache
def real():
    """Features of drawn rooms without a window, as the instrument sees them."""
    images = rooms.dataset(4250, measure.HELD_OUT, progress=False).images[:2000]
    reading = instrument().read(images)
    return reading.features[~reading.presence["window"]]


@cache
def direct(name):
    """What each unit does alone, as forgetting.py has it of the first training."""
    if name == "rooms":
        return torch.tensor(experiments.load(OUT.parent / "forgetting.json")[f"direct_{LAYER}"])
    z = draw_z(160, generator=stream(0, "direct effect"))
    seen = effects.observe(generator(name), z, instrument())
    z = z[seen.present["window"]][:48]
    return effects.direct_effect(generator(name), LAYER, z, instrument(), batch=48)


def units_of(name, edit, draw):
    if edit == EDITS[2]:
        effect = direct(name)
        return effect.argsort(descending=True)[: len(effect) // 4]
    masks, some = boxed(name, "all")
    cells = forgetting.examples(
        maps(name, LAYER, False)[some],
        forgetting.coverage(masks[some], LAYER),
        "random" if edit == EDITS[0] else "outside",
        generator=stream(draw, "scorecard negatives"),
    )
    strength = 1.0 if edit == EDITS[0] else min(STRENGTHS)
    return forgetting.fit(cells, strength).chosen


def numbers(name, count, units):
    """All numbers of one edit."""
    z, critic, before = observed(name, count)
    card = effects.scorecard(
        generator(name),
        z,
        LAYER,
        units,
        instrument(),
        discriminator=critic,
        batch=64,
        before=before,
    )
    found = card.estimates()
    kept = ("left", "pixels_left", "lost", "spill", "logit")
    had = {k: int(there.sum()) for k, there in before.present.items()}
    stayed = {k: int((before.present[k] & card.after.present[k]).sum()) for k in had}
    bare = card.after.features[~card.after.present["window"]]
    control = before.features[~before.present["window"]]
    same = min(len(bare), len(control), len(real()))  # a distance depends on how many there are
    distances = {
        key: measure.frechet_interval(some[:same], real()[:same], resamples=FEW)
        for key, some in (("distance", bare), ("distance before", control))
    }
    keeps = {k: measure.wilson(stayed[k], had[k]) for k in had if had[k]}
    return {key: found[key] for key in kept} | {"keeps": keeps, "off": len(units)} | distances


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=5, help="draws of each edit")
    parser.add_argument("--rooms", type=int, default=2000, help="rooms that judge")
    given = parser.parse_args(arguments)
    refuse_own_weights()
    torch.set_num_threads(1)
    names = pretrained.trainings("rooms")
    weights = [f"{name}/{which}" for name in names for which in ("generator", "discriminator")]
    found = {"rooms": given.rooms, "trainings": list(names), "rows": []}
    try:
        old = experiments.load(OUT)
        found = old if (old["rooms"], old["trainings"]) == (given.rooms, list(names)) else found
    except (FileNotFoundError, experiments.StaleError):
        pass
    done = {(row["training"], row["edit"], row["draw"]) for row in found["rows"]}
    plan = [(d, n, e) for d in range(given.draws) for n in names for e in EDITS]
    with torch.autocast("cpu", torch.bfloat16):
        for draw, name, edit in plan:
            if (name, edit, draw) in done:
                continue
            start = time.time()
            units = units_of(name, edit, draw)
            total = generator(name).stages[LAYER][0].out_channels
            lot = torch.randperm(total, generator=stream(draw, f"as many {edit}"))[: len(units)]
            row = {"training": name, "edit": edit, "draw": draw}
            row["itself"], row["random"] = (numbers(name, given.rooms, some) for some in (units, lot))  # fmt: skip
            found["rows"].append(rounded(row))
            store(OUT, found, __file__, *weights, "instruments/instrument")
            print(f"{name}, {edit}, draw {draw}: {time.time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
