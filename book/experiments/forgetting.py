"""What takes longer than chapter 4 may: every control, dose and stage of forgetting, counted on fresh latents.

`python book/experiments/forgetting.py` writes forgetting.json; parts may be named (`... forgetting.py dose_8x8 matrix`).
A part that the file has is not computed again, unless the weights, the instrument or the boxes are others than the
file's. The networks run in bfloat16, which halves the time; the chapter computes its main rows in full precision and
compares.
"""

import argparse
import hashlib
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from shared import refuse_own_weights, rounded

from dcgan_book import forgetting, measure, pretrained
from dcgan_book.cache import atomic_write
from dcgan_book.forgetting import effects
from dcgan_book.hooks import ablate, activations_of, batch_statistics
from dcgan_book.latents import draw_z, stream
from dcgan_book.teaching import experiments
from dcgan_book.worlds import rooms

HERE = Path(__file__).parent
OUT = HERE / "forgetting.json"
STRENGTHS = (1.0, 0.1, 0.01, 0.001, 0.0001)
STAGES = ("4x4", "8x8", "16x16", "32x32")
DOSES = {"8x8": (1, 4, 16, 32, 64, 96, 128, 160, 192), "16x16": (1, 4, 8, 16, 32, 48, 64, 80, 96)}
QUARTER = 0.25  # of a stage's units
BATCH = 64

WEIGHTS = ("rooms/generator", "rooms/discriminator", "instruments/instrument")
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

    def __init__(self, n, purpose="judge", critic=None, windows=False):
        self.z, self.critic = latents(3 * n if windows else n, purpose), critic
        if windows:
            seen = observe(self.z, batch=BATCH)
            self.z = self.z[seen.present["window"]][:n]
        self.before = observe(self.z, discriminator=critic, batch=BATCH)

    def card(self, stage, units, **options):
        return effects.scorecard(
            generator(),
            self.z,
            stage,
            units,
            instrument(),
            discriminator=self.critic,
            batch=BATCH,
            before=self.before,
            **options,
        )

    def left(self, stage, units, **options):
        rows = self.card(stage, units, **options).summary()
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


def penalty(stage):
    """The recipe with every penalty: how well it tells windows, how many units it drops, what that does, beside chance."""
    evaluation, random, rows = Evaluation(200, windows=True), stream(0, "as many"), []
    for strength, found in recipes(stage)[0].items():
        count = len(found.chosen)
        chance = [
            evaluation.left(stage, torch.randperm(len(found.weights), generator=random)[:count])
            for _ in range(3)
        ]
        rows.append({
            "strength": strength, "auc": found.auc, "count": count, "chosen": evaluation.left(stage, found.chosen),
            "random": chance, "quarter": evaluation.left(stage, found.ranking[: round(QUARTER * len(found.weights))]),
        })  # fmt: skip
    return rows


def draws(stage):
    """Many random draws, and their relatives, of as many units as the recipe drops, and of a quarter."""
    evaluation, random, found = Evaluation(200, windows=True), stream(0, "many draws"), {}
    some, activity = cells(stage), maps(stage).mean((0, 2, 3))
    fits, best = recipes(stage)
    n = len(activity)
    for name, ranking, count in (
        ("recipe", fits[1.0].ranking, len(fits[1.0].chosen)),
        ("best AUC", best.ranking, len(best.chosen)),
        (
            "quarter",
            torch.tensor(stored(f"direct_{stage}")).argsort(descending=True),
            round(QUARTER * n),
        ),
    ):
        found[name] = {
            "count": count,
            "itself": evaluation.left(stage, ranking[:count]),
            "random": [
                evaluation.left(stage, torch.randperm(n, generator=random)[:count])
                for _ in range(20)
            ],
            "matched": [
                evaluation.left(stage, forgetting.matched(ranking, activity, random)[:count])
                for _ in range(10)
            ],
        }
    labels = [forgetting.fit(forgetting.shuffled(some, random)) for _ in range(10)]
    found["shuffled"] = [
        {"count": len(one.chosen), "auc": one.auc} | evaluation.left(stage, one.chosen)
        for one in labels
    ]
    return found


def scorecard(stage, names):
    """The main rows, on 2,000 latents."""
    evaluation, (fits, best) = Evaluation(2000, "scorecard"), recipes(stage)
    n, random = (
        len(best.weights),
        torch.randperm(len(best.weights), generator=stream(0, "one draw")),
    )
    choices = {
        "recipe": fits[1.0].chosen, "best AUC": best.chosen, "random": random[: len(best.chosen)],
        "IoU quarter": forgetting.iou(maps(stage), masks()).topk(n // 4).indices, "random quarter": random[: n // 4],
        "direct quarter": torch.tensor(stored(f"direct_{stage}")).argsort(descending=True)[: n // 4],
    }  # fmt: skip
    cards = {name: evaluation.card(stage, choices[name]) for name in names}
    return {
        name: card.estimates() | {"instead": card.summary()["instead"], "count": len(choices[name])}
        for name, card in cards.items()
    }


def scorecards(stage):
    """A stage's rows with D's opinion and the distance to real rooms."""
    evaluation = Evaluation(500, "scorecard", pretrained.load("rooms").discriminator)
    real = instrument().features(
        rooms.dataset(4250, measure.HELD_OUT, progress=False).images[:2000]
    )
    fits, best = recipes(stage)
    count, n = len(best.chosen), len(best.weights)
    random = torch.randperm(n, generator=stream(0, "one draw"))
    choices = {
        "recipe": (fits[1.0].chosen, {}), "best AUC": (best.chosen, {}), "random": (random[:count], {}),
        "IoU quarter": (forgetting.iou(maps(stage), masks()).topk(n // 4).indices, {}),
    }  # fmt: skip
    if stage == "8x8":
        mean = maps_of(stage, latents(1000, "mean")).mean((0, 2, 3))
        raw = penalised(cells(stage, activations=maps_of(stage, boxed()[3], before_relu=True)))[1]
        choices |= {
            "bottom": (best.ranking.flip(0)[:count], {}),
            "mean": (best.chosen, {"value": mean[best.chosen]}),
            "before ReLU": (raw.chosen, {"before_relu": True}),
        }
    rows = {}
    for name, (units, options) in choices.items():
        card = evaluation.card(stage, units, **options)
        rows[name] = card.estimates() | {"instead": card.summary()["instead"], "count": len(units)}
        rows[name]["distance"] = measure.frechet_interval(card.after.features, real, resamples=10)
    before = measure.frechet_interval(evaluation.before.features, real, resamples=10)
    return {"images": len(evaluation.z), "distance_before": before, "rows": rows}


def batch_norm():
    """The same with the statistics of each batch, as in the authors' code, which normalise anew after an ablation."""
    fits, best = recipes("8x8")
    alone = torch.tensor(stored("direct_8x8")).argsort(descending=True)[:64]
    random = torch.randperm(256, generator=stream(0, "one draw"))
    with batch_statistics(generator()):
        evaluation = Evaluation(192, windows=True)
        sets = {"recipe": fits[1.0].chosen, "best AUC": best.chosen, "direct quarter": alone,
                "random": random[: len(best.chosen)], "random quarter": random[:64]}  # fmt: skip
        return {
            name: evaluation.card("8x8", units).estimates()["left"] for name, units in sets.items()
        }


def jitter(box, by, random):
    """A box whose edges are moved by so many pixels (standard deviation)."""
    edges = torch.tensor([box.left, box.top, box.right, box.bottom])
    moved = (edges + by * torch.randn(4, generator=random)).round().int().tolist()
    left, top = (min(max(edge, 0), 62) for edge in moved[:2])
    right, bottom = (
        min(max(edge, low + 2), 64) for edge, low in zip(moved[2:], (left, top), strict=True)
    )
    return replace(box, left=left, top=top, right=right, bottom=bottom)


def elsewhere(box, share, random):
    """The box, or with the probability `share` one of its size at any place."""
    if torch.rand(1, generator=random) >= share:
        return box
    wide, high = box.right - box.left, box.bottom - box.top
    left = torch.randint(64 - wide + 1, (1,), generator=random).item()
    top = torch.randint(64 - high + 1, (1,), generator=random).item()
    return replace(box, left=left, top=top, right=left + wide, bottom=top + high)


def fewer(wanted, random):
    """Samples by lot, as indices, until they have so many boxes."""
    seeds, by_hand, *_ = boxed()
    order, used = torch.randperm(len(seeds), generator=random).tolist(), []
    for i in order:
        used.append(i)
        if sum(box.seed in {seeds[j] for j in used} for box in by_hand) >= wanted:
            break
    return used


def boxes():
    """How many boxes, how sloppy ones, and what masks instead of boxes would give."""
    evaluation, stage, random = Evaluation(200, windows=True), "8x8", stream(0, "fewer boxes")
    activations, (seeds, by_hand, shown, z) = maps(stage), boxed()

    def outcome(masks, maps=activations, strength=0.01):
        some = forgetting.examples(
            maps, forgetting.coverage(masks, stage), generator=stream(0, "cells")
        )
        found = forgetting.fit(some, strength)
        overlap = forgetting.iou(maps, masks).topk(64).indices
        return {
            "chosen": evaluation.left(stage, found.chosen),
            "count": len(found.chosen),
            "auc": found.auc,
            "quarter": evaluation.left(stage, overlap),
        }

    few = {}
    for wanted in (5, 10, 20, 52):
        few[wanted] = []
        for _ in range(3):
            used = fewer(wanted, random)
            few[wanted].append(outcome(shown[used], activations[used]))
    few["all"] = [outcome(shown)]
    noisy = {
        f"{what} {amount}": [
            outcome(forgetting.box_masks([change(box, amount, random) for box in by_hand], seeds))
            for _ in range(2)
        ]
        for what, change, amounts in (
            ("edges", jitter, (2, 4, 8)),
            ("elsewhere", elsewhere, (0.25, 0.5, 1.0)),
        )
        for amount in amounts
    }
    label, many = rooms.LABELS.index("window"), latents(500, "many masks")
    ceiling = {
        "boxes": outcome(shown),
        "masks of the same samples": outcome(observe(z).labels == label),
        "masks of 500 samples": outcome(observe(many).labels == label, maps_of(stage, many)),
    }
    return {"few": few, "noisy": noisy, "ceiling": ceiling}


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


# one process each
PAIRS = (("recipe", "best AUC"), ("random", "direct quarter"), ("IoU quarter", "random quarter"))
PARTS = {
    **{
        f"main_{stage}_{i}": lambda stage=stage, names=names: scorecard(stage, names)
        for stage in DOSES
        for i, names in enumerate(PAIRS)
    },
    "direct_8x8": lambda: direct("8x8"), "penalty_8x8": lambda: penalty("8x8"), "dose_8x8": lambda: dose("8x8"),
    "matrix": matrix, "insertion": insertion, "boxes": boxes, "draws_8x8": lambda: draws("8x8"),
    "batch_norm": batch_norm, "direct_16x16": lambda: direct("16x16"),
    **{f"cards_{stage}": lambda stage=stage: scorecards(stage) for stage in STAGES},
    "penalty_16x16": lambda: penalty("16x16"), "dose_16x16": lambda: dose("16x16"),
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
