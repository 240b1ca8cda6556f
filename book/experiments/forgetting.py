"""What takes longer than chapter 4 may: direct effects, doses, other objects and insertions, on fresh latents.

`python book/experiments/forgetting.py` writes forgetting.json; parts may be named (`... forgetting.py dose_8x8 matrix`).
A part that the file has is not computed again, unless the weights, the instrument or the boxes are others than the
file's. The networks run in bfloat16, which halves the time.
"""

import argparse
import hashlib
import json
from functools import cache
from pathlib import Path

import torch
from shared import refuse_own_weights, rounded

from dcgan_book import forgetting, measure, pretrained
from dcgan_book.cache import atomic_write
from dcgan_book.forgetting import effects
from dcgan_book.hooks import ablate, activations_of
from dcgan_book.latents import draw_z, stream
from dcgan_book.teaching import experiments
from dcgan_book.worlds import rooms

HERE = Path(__file__).parent
OUT = HERE / "forgetting.json"
STRENGTHS = (1.0, 0.1, 0.01, 0.001, 0.0001)
DOSES = {"8x8": (1, 4, 16, 32, 64, 96, 128, 160, 192), "16x16": (1, 4, 8, 16, 32, 48, 64, 80, 96)}
BATCH = 64

WEIGHTS = ("rooms/generator", "instruments/instrument")
BOXES = HERE / "window-boxes.json"

instrument = cache(measure.load)


@cache
def generator():
    """The book's, whose images come in fp32 whatever it computes in."""
    found = pretrained.load("rooms").generator
    found.register_forward_hook(lambda _network, _inputs, images: images.float())
    return found


@cache
def boxed():
    """The boxes by hand: seeds, boxes, masks and latents of the samples."""
    seeds, by_hand = forgetting.load_boxes(BOXES)
    return seeds, by_hand, forgetting.box_masks(by_hand, seeds), forgetting.latents(seeds)


def masks():
    return boxed()[2]


def observe(z, **options):
    return effects.observe(generator(), z, instrument(), **options)


def latents(n, purpose):
    return draw_z(n, generator=stream(0, purpose))


def maps_of(stage, z, **options):
    return activations_of(generator(), stage, z, **options).float()


@cache
def maps(stage):
    return maps_of(stage, boxed()[3])


def cells(stage, activations=None):
    activations = maps(stage) if activations is None else activations
    return forgetting.examples(
        activations, forgetting.coverage(masks(), stage), generator=stream(0, "cells")
    )


@cache
def recipes(stage):
    """The recipe's fits with all strengths, and the one whose AUC on images left out is best: what judges never enters."""
    return penalised(cells(stage))


def penalised(some):
    fits = {strength: forgetting.fit(some, strength) for strength in STRENGTHS}
    return fits, max(fits.values(), key=lambda found: found.auc)


class Evaluation:
    """Scorecards on the same `n` fresh latents, which no ranking has seen; `windows`, only of rooms with a window."""

    def __init__(self, n, windows=False):
        self.z = latents(3 * n if windows else n, "judge")
        if windows:
            seen = observe(self.z, batch=BATCH)
            self.z = self.z[seen.present["window"]][:n]
        self.before = observe(self.z, batch=BATCH)

    def card(self, stage, units):
        return effects.scorecard(
            generator(), self.z, stage, units, instrument(), batch=BATCH, before=self.before
        )

    def left(self, stage, units):
        rows = self.card(stage, units).summary()
        return {name: rows[name] for name in ("left", "pixels_left", "inside", "outside")} | {
            "bed": rows["lost"]["bed"]
        }


def orders(stage):
    """All rankings of a stage's units; the random ones as lists of draws."""
    some, activations = cells(stage), maps(stage)
    fits, best = recipes(stage)
    overlap = forgetting.iou(activations, masks()).argsort(descending=True)
    random, activity = stream(0, "random units"), activations.mean((0, 2, 3))
    return {
        "weight, C = 1": fits[1.0].ranking,
        "weight, best AUC": best.ranking,
        "IoU": overlap,
        "direct effect": torch.tensor(stored(f"direct_{stage}")).argsort(descending=True),
        "bottom": best.ranking.flip(0),
        "random": [torch.randperm(len(overlap), generator=random) for _ in range(3)],
        "matched": [forgetting.matched(overlap, activity, random) for _ in range(2)],
        "shuffled": [
            forgetting.fit(forgetting.shuffled(some, random), 0.01).ranking for _ in range(2)
        ],
    }


# ------------------------------------------------------------------------------------------------------- the parts


def direct(stage):
    """What each unit does alone to rooms with a window, in shares of the picture."""
    z = latents(160, "direct effect")
    z = z[observe(z).present["window"]][:48]
    return effects.direct_effect(generator(), stage, z, instrument(), batch=48).tolist()


def dose(stage):
    evaluation = Evaluation(200, windows=True)
    found = {}
    for name, ranking in orders(stage).items():
        draws = ranking if isinstance(ranking, list) else [ranking]
        found[name] = [[evaluation.left(stage, order[:k]) for k in DOSES[stage]] for order in draws]
    return {"doses": DOSES[stage], "curves": found}


def fewer(wanted, random):
    """Samples by lot, as indices, until they have so many boxes."""
    seeds, by_hand, *_ = boxed()
    order, used = torch.randperm(len(seeds), generator=random).tolist(), []
    for i in order:
        used.append(i)
        if sum(box.seed in {seeds[j] for j in used} for box in by_hand) >= wanted:
            break
    return used


def matrix():
    """Removed i, lost j: a quarter of the units of 8x8 by IoU with each object, and what share of each object goes."""
    stage, chooses = "8x8", latents(400, "matrix")
    activations = maps_of(stage, chooses)
    labels = observe(chooses).labels
    evaluation, random = Evaluation(500), stream(0, "matrix")

    def lost(units):
        card = evaluation.card(stage, units)
        pairs = [(card.before.present[name], card.after.present[name]) for name in rooms.OBJECTS]
        return [1 - (had & has).sum().item() / max(had.sum().item(), 1) for had, has in pairs]

    rows = {}
    for name in rooms.OBJECTS:
        masks = labels == rooms.LABELS.index(name)
        rows[name] = lost(forgetting.iou(activations, masks).topk(64).indices)
    had = [evaluation.before.present[name].sum().item() for name in rooms.OBJECTS]
    return {"objects": rooms.OBJECTS, "lost": rows, "had": had,
            "random": [lost(torch.randperm(256, generator=random)[:64]) for _ in range(3)]}  # fmt: skip


def insertion():
    """Window units switched on in 2x2 cells of rooms without a window, at each place: where does one appear?"""
    stage, z = "8x8", latents(240, "insertion")
    z = z[~observe(z, batch=BATCH).present["window"]][:48]
    inside = forgetting.coverage(masks(), stage) >= 0.5
    typical = maps(stage).permute(1, 0, 2, 3)[:, inside].mean(1)
    units = forgetting.iou(maps(stage), masks()).topk(64).indices
    random = torch.randperm(256, generator=stream(0, "insertion"))[:64]
    label, found = rooms.LABELS.index("window"), {"rooms": len(z), "strengths": (1, 2, 4)}

    def accepted(some, strength):
        shares = torch.zeros(7, 7)
        for row in range(7):
            for column in range(7):
                region = torch.zeros(8, 8, dtype=torch.bool)
                region[row : row + 2, column : column + 2] = True
                with ablate(generator(), stage, some, strength * typical[some], region):
                    seen = observe(z)
                patch = (
                    seen.labels[:, 8 * row : 8 * row + 16, 8 * column : 8 * column + 16] == label
                )
                # a quarter of the patch, or more
                shares[row, column] = (patch.sum((1, 2)) >= 64).float().mean()
        return shares.tolist()

    for name, some in (("window", units), ("random", random)):
        found[name] = [accepted(some, strength) for strength in found["strengths"]]
    return found


PARTS = {
    "direct_8x8": lambda: direct("8x8"), "dose_8x8": lambda: dose("8x8"), "matrix": matrix, "insertion": insertion,
    "direct_16x16": lambda: direct("16x16"), "dose_16x16": lambda: dose("16x16"),
}  # fmt: skip


def digest_of_boxes():
    return hashlib.sha256(BOXES.read_bytes()).hexdigest()[:12]


def read():
    """The parts of today's weights and boxes that the file has."""
    try:
        found = experiments.load(OUT)
    except (FileNotFoundError, experiments.StaleError):
        found = {}
    return found if found.get("boxes_of") == digest_of_boxes() else {"boxes_of": digest_of_boxes()}


def stored(part):
    """A part that another needs, computed if it has to be."""
    if part not in read():
        run(part)
    return read()[part]


def run(part):
    result = (
        rounded(PARTS[part]())
        if not part.startswith("direct")
        else [round(x, 7) for x in PARTS[part]()]
    )
    found = experiments.stamped(read() | {part: result}, __file__, *WEIGHTS)
    with atomic_write(OUT) as temporary:
        # a part to a line
        lines = (f' "{name}": {json.dumps(each)}' for name, each in found.items())
        temporary.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8", newline="\n")
    print(part, flush=True)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"default: all, which are {', '.join(PARTS)}"
    )
    wanted = parser.parse_args(arguments).parts
    if unknown := set(wanted) - set(PARTS):
        parser.error(
            f"there is no part {', '.join(sorted(unknown))}: take some of {', '.join(PARTS)}"
        )
    refuse_own_weights()
    torch.set_num_threads(1)
    with torch.autocast("cpu", torch.bfloat16):
        for part in wanted or PARTS:
            stored(part)


if __name__ == "__main__":
    main()
