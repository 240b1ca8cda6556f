"""Training the instruments of `measure`: drawn images, damaged as a generator damages them, and a test on others.

`python -m dcgan_book.measure.learning` makes the shipped one for rooms, with `--world faces` the one for faces. No
generated image is ever shown to them.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import nn
from tqdm.auto import tqdm

from dcgan_book import pretrained
from dcgan_book.cache import atomic_write
from dcgan_book.latents import stream, to_batch
from dcgan_book.measure.intervals import bootstrap, correlation, wilson
from dcgan_book.measure.learning import damage
from dcgan_book.measure.learning.damage import UNKNOWN, Damaged
from dcgan_book.measure.network import SCHEMAS, Network
from dcgan_book.measure.reading import DARK, FOLDERS, VISIBLE, Instrument, MeasureError
from dcgan_book.measure.scores import HELD_OUT, numbers, rounded
from dcgan_book.training.machine import choose_device, machine_facts
from dcgan_book.worlds import faces, rooms
from dcgan_book.worlds.canvas import block, cached_dataset

# Rooms, and faces, by seed. The generators have 0 to 59,999, and none of these sets meets another or `HELD_OUT`.
TRAINING, VALIDATION, TEST = 2_000_000, 2_500_000, 2_600_000
PRECISIONS = "auto", "fp32", "bf16"
NEAR_PAIRS = (
    1e-4  # share of pairs of drawn images that count as near-identical; it fixes the distance
)
FACTORS_WEIGHT = 5.0  # how much more factors count in the steps of fine-tuning


@dataclass(frozen=True)
class Recipe:
    """How an instrument learns: `draw(n, seed, progress)` draws images of a world,
    `damage(known, chosen, generator, untouched)` makes a Damaged of those chosen. `defaults` are of
    `train`; `fine_tuning_steps` follow at a third of the rate, in which factors count
    `FACTORS_WEIGHT` times as much."""

    draw: Callable
    damage: Callable
    defaults: dict
    fine_tuning_steps: int = 0


def _damage_rooms(known, chosen, generator, untouched=0.25):
    labels = torch.from_numpy(known.labels[chosen].astype(np.int64))
    return damage.damage_rooms(to_batch(known.images[chosen]), labels, generator, untouched)


def _damage_faces(known, chosen, generator, untouched=0.25):
    pair = [(to_batch(each.images[chosen]), torch.from_numpy(each.labels[chosen].astype(np.int64)))
            for each in (known, known.others)]  # fmt: skip
    return damage.damage_faces(*pair[0], *pair[1], generator, untouched)


@dataclass(frozen=True)
class _Pairs(faces.Faces):
    """Faces, and as `others` the same with glasses and beard changed."""

    others: faces.Faces


def _face_pairs(n, seed=0, progress=True):
    arrays = cached_dataset("face-pair", faces.VERSION, _pair_block, n, seed, None, progress)
    own, others = (
        faces.Faces.of(arrays),
        faces.Faces(arrays["other_images"], arrays["other_labels"], {}),
    )
    return _Pairs(own.images, own.labels, own.factors, others)


def _pair_block(seed, n):
    arrays = block(faces.draw, seed, n)
    others = block(_other_face, seed, n)
    return arrays | {f"other_{name}": others[name] for name in ("images", "labels")}


def _other_face(seed):
    own = faces.sample(seed)
    man = own["presentation"] == "man"
    return faces.draw(seed, glasses=not own["glasses"], beard=man and not own["beard"])


RECIPES = {
    "rooms": Recipe(rooms.dataset, _damage_rooms, {"count": 30_000, "steps": 4000, "width": 24}),
    "faces": Recipe(
        _face_pairs,
        _damage_faces,
        {"count": 20_000, "steps": 3000, "width": 16},
        fine_tuning_steps=2000,
    ),
}


def train(
    out: str | Path | None = None,
    world: str = "rooms",
    count: int | None = None,
    steps: int | None = None,
    batch: int = 32,
    seed: int = 0,
    rate: float = 3e-3,
    validation: int = 2000,
    test: int = 4000,
    calibration: int = 5000,
    checkpoint_every: int = 250,
    resume: bool = False,
    device: str = "auto",
    precision: str = "auto",
    progress: bool = True,
) -> Instrument:
    """Trains an instrument on drawings of a world, tests it on others and writes it to folder `out`; returns it.

    out: by default where the shipped one is. count: images to learn from. validation: images that
    decide whether presence is read off the head, off the segmenter, or needs both. test: images
    that the card's scores are of, once as drawn and once damaged. calibration: images whose pairs
    fix what near-identical means. precision: "fp32", "bf16", or "auto", the faster one. A
    checkpoint lies in `out` until the end; `resume` goes on from it, in its precision, to the same
    result. Raises MeasureError for an unknown world or precision, or without a checkpoint.
    """
    _refuse_unknown("world", world, RECIPES)
    _refuse_unknown("precision", precision, PRECISIONS)
    recipe, schema = RECIPES[world], SCHEMAS[world]
    count, steps = count or recipe.defaults["count"], steps or recipe.defaults["steps"]
    out, place = Path(out or FOLDERS[world]), choose_device(device)
    out.mkdir(parents=True, exist_ok=True)
    learned = recipe.draw(count, TRAINING, progress=progress)
    network = _new(recipe.defaults["width"], schema, seed)
    network.to(place, memory_format=torch.channels_last)
    checkpoint = out / "checkpoint.pt"
    precision, seconds = _learn(network, recipe, learned, steps, batch, seed, rate, checkpoint, checkpoint_every,
                                resume, precision, progress)  # fmt: skip
    instrument = _rounded_off(network, out)
    facts = {
        "name": FOLDERS[world].name,
        "data": {"name": world, "version": schema.world.VERSION, "images": count, "first_seed": TRAINING},
        "held_out": {"validation": [VALIDATION, validation], "test": [TEST, test]},
        "seed": seed, "steps": steps, "batch": batch,
        "fine_tuning_steps": min(recipe.fine_tuning_steps, steps),
    }  # fmt: skip
    made = {
        "training_seconds": round(seconds),
        "machine": machine_facts(place, precision),
        "command": _train_command(world, count, steps, batch, seed, rate),
    }
    instrument.card = _card(instrument, facts, made, calibration, progress)
    with atomic_write(out / "card.json") as temporary:
        temporary.write_text(json.dumps(instrument.card, indent=1) + "\n", encoding="utf-8")
    checkpoint.unlink(missing_ok=True)
    return instrument


def _refuse_unknown(what, name, known):
    if name not in known:
        raise MeasureError(f"{what} {name!r}: give one of {', '.join(known)}")


def _rounded_off(network, out):
    """Writes the weights to folder `out`; returns the instrument that they make when they are loaded from there."""
    stored = pretrained.stored(network.cpu())
    with atomic_write(out / "instrument.safetensors") as temporary:
        temporary.write_bytes(save(stored))
    network.load_state_dict({name: value.float() for name, value in stored.items()}, strict=False)
    return Instrument(network, {"width": network.width, "presence": "head"})


def _card(instrument, facts, made, calibration, progress):
    """The card of an instrument, whose way of reading presence is chosen here: what it learned
    from, how it was `made`, and what its readings of other drawings are worth."""
    world, seed, schema = facts["data"]["name"], facts["seed"], instrument.schema
    recipe, validation, test = (
        RECIPES[world],
        facts["held_out"]["validation"][1],
        facts["held_out"]["test"][1],
    )
    right = _choose_presence(instrument, _damaged(recipe, validation, VALIDATION, seed, progress))
    drawn, damaged = _damaged(recipe, test, TEST, seed, progress)
    tested = recipe.draw(test, TEST, progress=progress)
    features = instrument.features(
        schema.world.dataset(calibration, HELD_OUT, progress=progress).images
    )
    return {
        **{name: value for name, value in facts.items() if value or name != "fine_tuning_steps"},
        **instrument.card,
        "presence_chosen_by": {way: rounded(value) for way, value in right.items()},
        "visible": VISIBLE,
        "near_identical": rounded(_pair_quantile(features, NEAR_PAIRS)),
        "parameters": sum(weight.numel() for weight in instrument.network.parameters()),
        **made,
        "scores": {
            "interval": "95 %",
            world: _evaluate(instrument, drawn) | _evaluate_factors(instrument, tested),
            f"damaged {world}": _evaluate(instrument, damaged),
        },
    }


def _new(width, schema, seed):
    """The network before its first step."""
    network, random = Network(width, schema), stream(seed, "instrument")
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=random)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


def _learn(network, recipe, learned, steps, batch, seed, rate, checkpoint, checkpoint_every, resume, precision,
           progress):  # fmt: skip
    """All steps, in place, or those after the file `checkpoint`; returns the precision and the seconds they took."""
    schema, device = network.schema, next(network.parameters()).device
    targets, fine_tuning = _targets(learned, schema), min(recipe.fine_tuning_steps, steps)
    step = _restore(checkpoint)["step"] if resume else 0
    optimiser, plan = _start(network, rate, steps, fine_tuning, step)
    parts, seconds = {"network": network, "optimiser": optimiser, "plan": plan}, 0.0
    if resume:
        state = _restore(checkpoint, parts)
        seconds, precision = state["seconds"], state.get("precision", precision)
    if precision == "auto":
        precision = _faster_precision(network, device)
    began = time.perf_counter() - seconds
    bar = tqdm(total=steps + fine_tuning, initial=step, unit="step", disable=not progress)
    while step < steps + fine_tuning:
        random = stream(seed, f"batch {step}")
        chosen = torch.randint(len(learned), (batch,), generator=random).sort().values.numpy()
        damaged = recipe.damage(learned, chosen, random)
        optimiser.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits, _, outputs = network(damaged.images.to(device))
        known = {name: values[chosen] for name, values in targets.items()}
        losses = _losses(logits.float().cpu(), outputs.float().cpu(), damaged, known, schema)
        if step >= steps:
            losses["factors"] = FACTORS_WEIGHT * losses["factors"]
        sum(losses.values()).backward()
        optimiser.step()
        plan.step()
        step += 1
        if step == steps and fine_tuning:
            parts["optimiser"], parts["plan"] = optimiser, plan = _start(
                network, rate, steps, fine_tuning, step
            )
        bar.set_postfix_str(
            " ".join(f"{name} {loss.item():.3f}" for name, loss in losses.items()), refresh=False
        )
        bar.update()
        if step % checkpoint_every == 0:
            state = {name: part.state_dict() for name, part in parts.items()}
            state |= {"step": step, "seconds": time.perf_counter() - began, "precision": precision}
            with atomic_write(checkpoint) as temporary:
                torch.save(state, temporary)
    bar.close()
    return precision, time.perf_counter() - began


def _choose_presence(instrument, sets):
    """Has the instrument's card say which way of reading presence is right most often; returns each way's share."""
    right = {}
    for way in ("head", "segmenter", "both"):
        instrument.card["presence"] = way
        found = [_evaluate(instrument, damaged)["presence"] for damaged in sets]
        shares = [part["accuracy"]["value"] for presence in found for part in presence.values()]
        right[way] = sum(shares) / (len(sets) * len(instrument.schema.things))
    instrument.card["presence"] = max(right, key=right.get)
    return right


def _start(network, rate, steps, fine_tuning, step):
    """Optimiser and plan of the steps from 0 on, or from `steps` on of fine-tuning."""
    rate, steps = (rate / 3, fine_tuning) if step >= steps and fine_tuning else (rate, steps)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.01)
    return optimiser, torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=0.1)


def _restore(path, parts=()):
    """The checkpoint at `path`, put into `parts`, name to what has a state."""
    if not path.exists():
        raise MeasureError(f"there is no checkpoint in {path.parent}: leave out --resume")
    state = torch.load(path, map_location="cpu", weights_only=True)
    for name in parts:
        parts[name].load_state_dict(state[name])
    return state


def _faster_precision(network, device):
    """bf16 where a forward pass in it is faster than in fp32."""
    seconds = {}
    images = torch.zeros(32, 3, rooms.SIZE, rooms.SIZE, device=device)
    network.eval()
    for precision in ("fp32", "bf16") * 3:
        start = time.perf_counter()
        with (
            torch.no_grad(),
            torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"),
        ):
            network(images)[2].sum().item()
        seconds[precision] = min(time.perf_counter() - start, seconds.get(precision, math.inf))
    network.train()
    return min(seconds, key=seconds.get)


def _train_command(world, count, steps, batch, seed, rate):
    own = RECIPES[world].defaults
    given = {
        "world": world,
        world: count,
        "steps": steps,
        "batch": batch,
        "seed": seed,
        "rate": rate,
    }
    defaults = {
        "world": "rooms",
        world: own["count"],
        "steps": own["steps"],
        "batch": 32,
        "seed": 0,
        "rate": 3e-3,
    }
    words = [f"--{name} {value}" for name, value in given.items() if value != defaults[name]]
    return " ".join(["python -m dcgan_book.measure.learning", *words])


def _targets(known, schema):
    """The factors of drawn images as the heads are to give them."""
    scalars = []
    for name in schema.scalars:
        low, high = schema.world.RANGES[name]
        scalars.append(2 * (known.factors[name] - low) / (high - low) - 1)
    angles = 2 * math.pi * np.stack([known.factors[name] for name in schema.hues], 1)
    targets = {
        "scalars": np.stack(scalars, 1),
        "hues": np.stack([np.cos(angles), np.sin(angles)], 2).reshape(-1, 4),
    }
    targets = {name: torch.from_numpy(values).float() for name, values in targets.items()}
    for name, options in schema.choices.items():
        targets[name] = torch.from_numpy(
            np.argmax(known.factors[name][:, None] == np.array(options), 1)
        )
    return targets


def _losses(logits, outputs, damaged, targets, schema):
    """What the readings of damaged images cost, by name."""
    heads = schema.split(outputs)
    weights = torch.tensor([schema.weights.get(name, 1.0) for name in schema.scalars])
    counted = ~damaged.presence.isnan()
    of_image = (
        counted.clone()
    )  # image labels count apart, as each is as much as all objects together
    counted[:, len(schema.world.OBJECTS) :], of_image[:, : len(schema.world.OBJECTS)] = False, False
    scrambled = ~damaged.known & (damaged.presence == 0).all(1)
    surfaces = F.log_softmax(logits[scrambled], 1)[:, : len(schema.world.SURFACES)].logsumexp(1)

    def missed(name):
        return F.smooth_l1_loss(
            heads[name][damaged.known], targets[name][damaged.known], beta=0.1, reduction="none"
        )

    losses = {
        "labels": F.cross_entropy(logits, damaged.labels, ignore_index=UNKNOWN),
        "nothing": -surfaces.sum()
        / damaged.labels.numel(),  # no object where there is no structure
        "presence": F.binary_cross_entropy_with_logits(
            heads["presence"][counted], damaged.presence[counted]
        ),
        "factors": (weights * missed("scalars")).mean() + missed("hues").mean(),
        "damage": 0.5 * F.smooth_l1_loss(heads["damage"], damaged.amounts, beta=0.1),
    }
    if schema.image_labels:
        losses["image labels"] = F.binary_cross_entropy_with_logits(
            heads["presence"][of_image], damaged.presence[of_image]
        )
    choices = []
    for name in schema.choices:
        there = damaged.known
        if name in schema.owners:
            i = schema.world.OBJECTS.index(schema.owners[name])
            there = there & (damaged.presence[:, i] == 1) & damaged.own[:, i]
        each = F.cross_entropy(heads[name], targets[name], reduction="none")
        choices.append((each * there).sum() / there.sum().clamp(min=1))
    return losses | {"choices": 0.1 * sum(choices)}


def _damaged(recipe, n, first_seed, seed, progress, size=250):
    """Drawn images as they are, and damaged, as two `Damaged`."""
    known, kinds = recipe.draw(n, first_seed, progress=progress), []
    for untouched in (1.0, 0.0):
        parts = [
            recipe.damage(known, slice(i, i + size), stream(seed, f"test {i}"), untouched)
            for i in range(0, n, size)
        ]
        fields = Damaged.__dataclass_fields__
        kinds.append(
            Damaged(**{name: torch.cat([getattr(part, name) for part in parts]) for name in fields})
        )
    return kinds


def _evaluate(instrument, damaged):
    """Presence (share right; of those there, found; of those not there, passed over) and overlap, by object.

    Objects whose presence is left open are not counted. IoU is the mean over images that show the object.
    """
    reading = instrument.read(damaged.images)
    schema, presence, overlap = instrument.schema, {}, {}
    for i, name in enumerate(schema.things):
        truth, said = damaged.presence[:, i], reading.presence[name]
        sets = {"accuracy": ~truth.isnan(), "found": truth == 1, "passed_over": truth == 0}
        presence[name] = {
            what: numbers(wilson(int((said == (truth == 1))[chosen].sum()), int(chosen.sum())))
            for what, chosen in sets.items()
            if chosen.any()
        }
        if name in schema.image_labels:
            continue
        index = schema.world.LABELS.index(name)
        overlap[name] = numbers(
            bootstrap(intersection_over_union(reading.labels, damaged.labels, index)[truth == 1])
        )
    return {"images": len(reading), "presence": presence, "iou": overlap}


def intersection_over_union(labels: torch.Tensor, truth: torch.Tensor, index: int) -> torch.Tensor:
    """Overlap of one label in each image: (n,) in [0, 1], 1 where neither has it; `UNKNOWN` pixels do not count."""
    counted = truth != UNKNOWN
    said, there = (labels == index) & counted, truth == index
    union = (said | there).sum((1, 2))
    return torch.where(union > 0, (said & there).sum((1, 2)) / union.clamp(min=1), 1.0)


def _evaluate_factors(instrument, known):
    """Mean absolute errors of scalars (as shares of their range) and hues (in turns), correlations of scalars with the
    truth, accuracy of choices."""
    schema, found, errors, correlations, right = (
        instrument.schema,
        instrument.factors(known.images),
        {},
        {},
        {},
    )
    for name in schema.scalars:
        low, high = schema.world.RANGES[name]
        errors[name] = numbers(
            bootstrap((found[name] - torch.from_numpy(known.factors[name])).abs() / (high - low))
        )
        correlations[name] = numbers(
            correlation(found[name], torch.from_numpy(known.factors[name]))
        )
    for name in schema.hues:
        away = (found[name] - torch.from_numpy(known.factors[name])).abs() % 1
        errors[name] = numbers(bootstrap(torch.minimum(away, 1 - away)))
    if "night" in found:
        right["night"] = wilson(
            int((found["night"].numpy() == (known.factors["daylight"] < DARK)).sum()), len(known)
        )
    for name in schema.choices:
        there = (
            known.factors[schema.owners[name]]
            if name in schema.owners
            else np.ones(len(known), bool)
        )
        right[name] = wilson(
            int((found[name] == known.factors[name])[there].sum()), int(there.sum())
        )
    right = {name: numbers(estimate) for name, estimate in right.items()}
    return {"error": errors, "correlation": correlations, "right": right}


def _pair_quantile(features, share):
    """The distance below which a share of all pairs lies."""
    distances = F.pdist(features).sort().values / math.sqrt(features.shape[1])
    return distances[int(share * len(distances))].item()
