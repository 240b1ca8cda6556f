"""What chapter 5 loads rather than computes: sums of one to ten exemplars, turn vectors, and sums of rooms.

`python book/experiments/arithmetic.py` writes arithmetic.json, in about eight minutes on two cores. All concepts are
exemplars by lot among 2,000 samples, chosen by what the instrument says of them. `--parts rooms` does one part of the
file anew and leaves the others; `--sets 20` is for a trial.

The numbers of exemplars are tried with both priors: `uniform` is the shipped generator and `second` one of the same
recipe with another seed; `normal` has been trained on normal latents (retrained.py trains both), and `fed` is the shipped
one again, fed with normal latents of the variance that it knows. Its first layer adds up a hundred numbers of z, whose
sums are nearly normal either way, so it hardly notices; `samples` says how far.
"""

import argparse
import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from shared import refuse_own_weights, store

from dcgan_book import arithmetic, measure, models, pretrained, walking
from dcgan_book.latents import draw_z, stream
from dcgan_book.teaching import experiments
from dcgan_book.worlds import faces

HERE = Path(__file__).parent
OUT = HERE / "arithmetic.json"
POOL = 2000
SMILING, NEUTRAL = (0.7, 1.0), (0.0, 0.3)
FACES = {  # name to A, B, C and the target
    "smile": (
        {"presentation": "woman", "smile": SMILING}, {"presentation": "woman", "smile": NEUTRAL},
        {"presentation": "man", "smile": NEUTRAL}, {"smile": (0.5, 1.0)},
    ),
    "glasses": (
        {"presentation": "man", "glasses": True}, {"presentation": "man", "glasses": False},
        {"presentation": "woman", "glasses": False}, {"glasses": True},
    ),
}  # fmt: skip
OWN = (  # the glasses of women, for women: nothing has to be carried over from men
    {"presentation": "woman", "glasses": True}, {"presentation": "woman", "glasses": False},
    {"presentation": "woman", "glasses": False}, {"glasses": True},
)  # fmt: skip
ROOMS = {
    "window at night": (
        {"window": True, "night": False}, {"window": False, "night": False}, {"window": False, "night": True},
        {"window": True},
    ),
    "light with a window": (
        {"window": False, "night": False}, {"window": False, "night": True}, {"window": True, "night": True},
        {"night": False},
    ),
}  # fmt: skip
KEPT_ROOMS = ("bed", "window", "night", "tv", "door")
NUMBERS = range(1, 11)  # of exemplars
WHAT = ("success", "arrived", "stayed", "whole")
PARTS = ("number", "turn", "rooms")
WEIGHTS = (
    "rooms/generator",
    "instruments/instrument",
    "faces/generator",
    "instruments-faces/instrument",
)
AHEAD, SIDEWAYS = (-8.0, 8.0), 25.0  # degrees
LENGTHS = torch.linspace(-8, 8, 9)  # of steps along a direction, in z


class World:
    """A generator, its instrument, and a pool of samples that the instrument has read."""

    def __init__(self, generator, prior, instrument, whole):
        self.generator, self.prior, self.whole = generator, prior, whole
        self.instrument = measure.load(instrument)
        self.latents = draw_z(
            POOL, self.generator.z_dim, self.prior, stream(0, "pool of chapter 5")
        )
        self.images = self.draw(self.latents)
        self.reading = self.instrument.read(self.images)

    @torch.no_grad()
    def draw(self, z):
        flat = z.reshape(-1, z.shape[-1])
        return torch.cat([self.generator(part) for part in flat.split(200)])

    def read(self, z):
        return self.instrument.read(self.draw(z))

    def choose(self, facts, n, sets, purpose):
        """So many sets of n samples that have the facts, (sets, n), by lot."""
        good = arithmetic.fits(self.reading, **({self.whole: True} | facts))
        return arithmetic.pick(good, n, sets, stream(0, purpose))

    def exemplars(self, *arguments):
        """Their latents, (sets, n, z_dim)."""
        return self.latents[self.choose(*arguments)]


class NormalInput(torch.nn.Module):
    """A generator that takes standard normal latents, scaled to the variance of the uniform ones it has learned from."""

    def __init__(self, generator):
        super().__init__()
        self.generator, self.z_dim = generator, generator.z_dim

    def forward(self, z):
        return self.generator(z * arithmetic.SPREADS["uniform"])


def shipped(name, instrument, whole):
    trained = pretrained.load(name)
    return World(trained.generator, trained.card["prior"], instrument, whole)


def retrained(name):
    return models.Generator.from_state_dict(load_file(HERE / f"{name}.safetensors")).eval()


def rate(values):
    return measure.numbers(measure.wilson(int(values.sum()), len(values)))


def rates(found):
    return {what: rate(getattr(found, what)) for what in WHAT}


def by_number(world, sets):
    """Each sum with one to ten exemplars and each handling of the norm, and what two changes alone do to it.

    The paper goes from single exemplars to means of three, which makes the sum shorter by the square root of three.
    The `effects` go from single exemplars, free, by one of the two: `shorter`, the same sums at the usual length, and
    `averaged`, sums of three that are as long as one of single ones is ("stretched"); `both` is what the paper did.
    """
    results, effects = {}, {}
    for name, (*concepts, target) in FACES.items():
        # ten by lot, of which the first n are taken: so n alone tells two rows of the table apart
        tens, outcomes = (
            [world.exemplars(facts, 10, sets, f"{name} {i}") for i, facts in enumerate(concepts)],
            {},
        )
        norms = arithmetic.NORMS[: 3 if world.prior == "uniform" else 2]
        for n, norm in [(n, norm) for n in NUMBERS for norm in norms] + [(3, "stretched")]:
            a, b, c = (ten[:, :n] for ten in tens)
            how, longer = ("matched", math.sqrt(3)) if norm == "stretched" else (norm, 1)
            z = longer * arithmetic.combine(a, b, c, how, world.prior)
            before = world.read(arithmetic.with_norm(arithmetic.concept(c), how, world.prior))
            found = outcomes[n, norm] = arithmetic.outcome(world.read(z), before, target)
            length = z.norm(dim=1).mean().item()
            results[f"{name}, {n}, {norm}"] = rates(found) | {"length": measure.rounded(length)}
        for change, end in {
            "shorter": (1, "matched"),
            "averaged": (3, "stretched"),
            "both": (3, "matched"),
        }.items():
            effects[f"{name}, {change}"] = {
                what: measure.numbers(
                    measure.paired(getattr(outcomes[1, "free"], what), getattr(outcomes[end], what))
                )
                for what in WHAT
            }
    return results | {"effects": effects}


def of_their_own(world, sets):
    """Glasses added to women from women, the norm left free, for one, three and ten exemplars."""
    *concepts, target = OWN
    tens = [
        world.exemplars(facts, 10, sets, f"own glasses {i}") for i, facts in enumerate(concepts)
    ]
    found = {}
    for n in (1, 3, 10):
        a, b, c = (ten[:, :n] for ten in tens)
        before = world.read(arithmetic.concept(c))
        found[str(n)] = rates(
            arithmetic.outcome(world.read(arithmetic.combine(a, b, c)), before, target)
        )
    return found


def described(world):
    """What samples are like: rates, how widely yaw and smile vary, distance to drawn faces."""
    read, drawn = world.reading, faces.dataset(1300, measure.HELD_OUT, progress=False).images
    kinds = {"face": read.presence["face"], "glasses": read.presence["glasses"],
             "man": torch.as_tensor(read.factors["presentation"] == "man")}  # fmt: skip
    spreads = {name: measure.rounded(read.factors[name].std().item()) for name in ("yaw", "smile")}
    away = measure.frechet(read.features[:1000], world.instrument.features(drawn[:1000]))
    return {name: rate(values) for name, values in kinds.items()} | {
        "spread": spreads,
        "frechet": measure.rounded(away),
    }


def along(world, directions, heads):
    """Yaw on the way along unit directions (k, z_dim) from heads (m, z_dim): how well a line describes it, and range.

    Degrees for a step of 1 in z and R2 are of lines with an intercept for each face, where it is still a face. The
    range is that of the mean yaw between the ends up to which nine of ten are faces. `kept` is the share of faces at
    those ends whose presentation, glasses and beard are as at the start.
    """
    rows = []
    for direction in directions:
        reading = world.read(walking.along(heads, direction, LENGTHS))
        shape = (len(heads), len(LENGTHS))
        yaw, whole = (
            reading.factors["yaw"].double().view(shape),
            reading.presence["face"].view(shape),
        )
        x = LENGTHS.double().expand(shape)
        centre = lambda v: torch.where(whole, v - (v * whole).sum(1, True) / whole.sum(1, True), 0)  # noqa: B023, E731
        cx, cy = centre(x), centre(yaw)
        slope = (cx * cy).sum() / cx.square().sum()
        r2 = 1 - (cy - slope * cx).square().sum() / cy.square().sum()
        good, middle = whole.double().mean(0) >= 0.9, len(LENGTHS) // 2
        first = middle - int(good[:middle].flip(0).long().cumprod(0).sum())
        last = middle + int(good[middle + 1 :].long().cumprod(0).sum())
        means = (yaw * whole).sum(0) / whole.sum(0).clamp(min=1)
        kept = torch.ones(len(heads), 2, dtype=torch.bool)
        for name in ("glasses", "beard", "presentation"):
            values = reading.presence.get(name)
            values = torch.as_tensor(reading.factors[name] == "man") if values is None else values
            values = values.view(shape)
            kept &= values[:, [first, last]] == values[:, [middle]]
        rows.append({
            "slope": slope.item(), "r2": r2.item(), "low": means[first : last + 1].min().item(),
            "high": means[first : last + 1].max().item(), "first": LENGTHS[first].item(), "last": LENGTHS[last].item(),
            "kept": kept.double().mean().item(), "yaw": means.tolist(), "faces": whole.double().mean(0).tolist(),
        })  # fmt: skip
    return rows


def reverse(row):
    """What `along` would say of the opposite direction."""
    turned = {"slope": -row["slope"], "first": -row["last"], "last": -row["first"]}
    return row | turned | {key: row[key][::-1] for key in ("yaw", "faces")}


def turns(world, repeats, count=20):
    """Turn vectors of four and of forty faces for each side, and of a ridge regression on the pool; a random one."""
    heads = world.exemplars({"yaw": AHEAD}, count, 1, "ahead")[0]
    unit = lambda v: torch.nn.functional.normalize(v, dim=-1)  # noqa: E731
    directions = {}
    for n in (4, 40):
        left, right = (world.exemplars({"yaw": bounds}, n, repeats, f"{n} {side}") for side, bounds in
                       (("left", (-45.0, -SIDEWAYS)), ("right", (SIDEWAYS, 45.0))))  # fmt: skip
        directions[f"{n} and {n}"] = unit(arithmetic.turn(left, right))
    ridge = arithmetic.regress(world.latents, world.reading.factors["yaw"])
    directions["ridge"] = unit(ridge.direction)[None]
    directions["random"] = unit(
        torch.randn(repeats, world.latents.shape[1], generator=stream(0, "random turns"))
    )
    results = {
        "lengths": LENGTHS.tolist(),
        "ridge_r2_on_z": measure.rounded(ridge.r2),
        "faces": count,
    }
    for name, some in directions.items():
        rows = along(world, some, heads)
        # has no side: each counts as the one of its two ways that turns to the right
        if name == "random":
            rows = [row if row["slope"] > 0 else reverse(row) for row in rows]
        numbers = {key: measure.numbers(measure.bootstrap([row[key] for row in rows]))
                   for key in ("slope", "r2", "low", "high", "kept")}  # fmt: skip
        numbers |= {key: [measure.rounded(sum(row[key][i] for row in rows) / len(rows)) for i in range(len(LENGTHS))]
                    for key in ("yaw", "faces")}  # fmt: skip
        cosine = (some @ directions["ridge"][0]).mean().item()
        results[name] = numbers | {
            "vectors": len(rows),
            "cosine_with_ridge": measure.rounded(cosine),
        }
    return results


def in_rooms(world, sets, n=3):
    """Sums of rooms with their controls."""
    results = {}
    for name, (*concepts, target) in ROOMS.items():
        chosen = [world.choose(facts, n, sets, f"{name} {i}") for i, facts in enumerate(concepts)]
        a, b, c = (world.latents[some] for some in chosen)
        middle, step = arithmetic.concept(c), arithmetic.concept(a) - arithmetic.concept(b)
        before = world.read(middle)
        results[name] = {
            way: rates(arithmetic.outcome(reading, before, target, KEPT_ROOMS, "bed")) for way, reading in {
                "sum": world.read(middle + step), "C itself": before,
                "random": world.read(middle + arithmetic.random_like(step, stream(0, f"{name} random"))),
                "pixels": world.instrument.read(arithmetic.pixels(*(world.images[some] for some in chosen))),
            }.items()
        }  # fmt: skip
    return results


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sets", type=int, default=300, help="sums of a kind (default: 300)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="default: all")
    parser.add_argument(
        "--faces", default="faces", help="the generator of faces: its name, or a run's folder"
    )
    parser.add_argument(
        "--instrument", default="faces", help="the instrument for faces: its name or folder"
    )
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    refuse_own_weights()
    books = (options.faces, options.instrument) == ("faces", "faces")
    if not books and options.out == OUT:
        parser.error("with another generator or instrument name another file to write: --out FILE")
    stored = (
        experiments.load(options.out)
        if options.out.exists() and set(options.parts) < set(PARTS)
        else {}
    )
    stored = stored | {"sets": options.sets, "pool": POOL}
    if "number" in options.parts:
        uniform = shipped(options.faces, options.instrument, "face")
        worlds = {
            "uniform": uniform, "second": World(retrained("second"), "uniform", options.instrument, "face"),
            "fed": World(NormalInput(uniform.generator), "normal", options.instrument, "face"),
            "normal": World(retrained("normal"), "normal", options.instrument, "face"),
        }  # fmt: skip
        stored["samples"] = {name: described(world) for name, world in worlds.items()}
        stored["number"] = {name: by_number(world, options.sets) for name, world in worlds.items()}
        stored["own"] = {name: of_their_own(world, options.sets) for name, world in worlds.items()}
    if "turn" in options.parts:
        stored["turn"] = turns(
            shipped(options.faces, options.instrument, "face"), max(2, options.sets // 15)
        )
    if "rooms" in options.parts:
        stored["rooms"] = in_rooms(shipped("rooms", "rooms", "bed"), options.sets)
    store(options.out, stored, __file__, *(WEIGHTS if books else WEIGHTS[:2]), indent=1)


if __name__ == "__main__":
    main()
