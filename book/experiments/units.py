"""What the units of a discriminator tell of objects, trained and with random weights, for chapter 3.

`python book/experiments/units.py` writes units.json beside itself (some minutes on one core). Rooms are drawn
ones that no network has seen. Units are chosen on the first half of them and judged on the second.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from shared import refuse_own_weights, store
from tqdm.auto import tqdm

from dcgan_book import features, measure, pretrained
from dcgan_book.hooks import activations_of
from dcgan_book.latents import stream, to_batch
from dcgan_book.worlds import rooms

FOLDER = Path(__file__).parent
STAGE = "4x4"
ROOMS, SEED = 2000, 900_000
FITTED, FITTED_SEED = 500, 950_000  # rooms that give random layers their BatchNorm statistics
SEEDS = (0, 1)
LEAST = 0.1  # share of a location's square from which on an object is there
TOP = 10  # units, by what the first half says
PATCHES = 9  # a unit's strongest, each in another room
FEW = 2  # of them, where all units are looked at
SEEN = 30  # pixels of an object that a receptive field must hold for a lift
RESAMPLES = 40
THRESHOLDS = [round(0.5 + 0.01 * i, 2) for i in range(46)]


def networks(trained, fitted):
    """Name, seed and network: the trained one, then random from the top down to each stage."""
    yield "trained", 0, trained
    for seed in SEEDS:
        for stage, network in features.cascade(trained, seed, fitted):
            # these units do not depend on 1x1
            if stage in (STAGE, "32x32") or (stage != "1x1" and seed == 0):
                yield stage, seed, network


def selectivities(maps, shares, others, random):
    """For each object and both questions: the unit that is best on the first half, and what all do on the second."""
    half = len(maps) // 2
    found = {}
    questions = [(kind, name) for kind in ("nothing", "others") for name in shares]
    there = torch.stack([shares[name] for _, name in questions])
    against = torch.stack([others[name] | (kind == "nothing") for kind, name in questions])

    def judge(rows, some=slice(None), units=slice(None)):
        return features.selectivity(
            maps[rows][:, units], there[some][:, rows], against[some][:, rows]
        )

    first, second = judge(slice(half)), judge(slice(half, None))
    resampled = [half + torch.randint(half, (half,), generator=random) for _ in range(RESAMPLES)]
    for i, (kind, name) in enumerate(questions):
        order, values = first[i].argsort(descending=True), second[i]
        best = order[:1]
        draws = [judge(rows, [i], best) for rows in resampled]
        spread = 1.96 * torch.stack(draws).std().item()
        value = values[best].item()
        found.setdefault(kind, {})[name] = {
            "unit": best.item(), "best": [value, value - spread, value + spread],
            "top": order[:TOP].tolist(), "top_mean": values[order[:TOP]].mean().item(),
            "largest": values.max().item(), "above": [(values > t).sum().item() for t in THRESHOLDS],
            "values": values,
        }  # fmt: skip
    return found


def patches(maps, count=PATCHES):
    """Each unit's strongest responses, as images and places, (units, count)."""
    values, places = features.peaks(maps)
    images = values.topk(count, dim=0).indices.T  # (units, count)
    return images, places[images, torch.arange(maps.shape[1])[:, None]]


def shown(images, places, shares):
    """Whether each patch's square shows each object: bool (units, PATCHES, objects)."""
    return torch.stack(
        [share[images, *places.unbind(-1)] >= LEAST for share in shares.values()], -1
    )


def purity(maps, shares):
    """Top patches that show the object which the unit's top patches of the first half show beyond what is usual there."""
    half = len(maps) // 2
    # (4, 4, objects)
    usual = torch.stack([(share >= LEAST).float().mean(0) for share in shares.values()], -1)
    parts = []
    for rows in (slice(half), slice(half, None)):
        images, places = patches(maps[rows])
        there = (
            shown(images, places, {name: share[rows] for name, share in shares.items()})
            .float()
            .mean(1)
        )
        parts.append((there, usual[*places.unbind(-1)].mean(1)))
    (first, expected), (second, expected_second) = parts
    label = (first - expected).argmax(1, keepdim=True)
    pure, by_chance = second.gather(1, label)[:, 0], expected_second.gather(1, label)[:, 0]
    names = list(shares)
    return {
        "purity": list(measure.bootstrap(pure)), "expected": list(measure.bootstrap(by_chance)),
        "gain": list(measure.paired(by_chance, pure)),
        "units": {name: int((label[:, 0] == i).sum()) for i, name in enumerate(names)},
        "all_pure": {name: int(((label[:, 0] == i) & (pure == 1) & (by_chance < 0.5)).sum()) for i, name in enumerate(names)},
    }  # fmt: skip


def lifts(answers, labels, places, field, count):
    """Lift on each object, its mean over each unit's `count` patches: (units, objects), NaN where none is seen."""
    fields, found = field.masks(places), []
    for name in rooms.OBJECTS:
        mask = labels == rooms.LABELS.index(name)
        values = features.lift(answers, mask, fields)
        values[(mask & fields).sum((1, 2)) < SEEN] = torch.nan
        found.append(values.view(-1, count).nanmean(1))
    return torch.stack(found, 1)


def mean_of(values):
    """The mean of what is there, its interval and how many they are; None of fewer than two."""
    values = values[~values.isnan()]
    return [*measure.bootstrap(values), len(values)] if len(values) > 1 else None


def lift_tables(network, images, labels, maps, chosen, field, others):
    """Mean lifts by object: of all units, and of those chosen for the object; of guided images, and of edges there.

    others: images and places, those of the trained network, at which all are measured too.
    """

    def look(where, units):
        rows, places = (part.flatten(0, 1) for part in where)
        index = units.repeat_interleave(where[0].shape[1])
        with torch.autocast("cpu", torch.bfloat16):
            answers = features.saliency(network, images[rows], STAGE, index, at=places)
        edges = features.edges(images[rows])
        return [
            lifts(each, labels[rows], places, field, where[0].shape[1]) for each in (answers, edges)
        ]

    units = torch.arange(maps.shape[1])
    found = dict(
        zip(("guided, all units", "edges, all units"), look(patches(maps, FEW), units), strict=True)
    )
    found["guided, all units, places of the trained"] = look(others, units)[0]
    tables = {
        key: {name: mean_of(values[:, i]) for i, name in enumerate(rooms.OBJECTS)}
        for key, values in found.items()
    }
    many = patches(maps)
    for i, name in enumerate(rooms.OBJECTS):
        units = torch.tensor(chosen[name])
        values = [each[:, i] for each in look([part[units] for part in many], units)]
        for key, value in zip(("guided, chosen units", "edges, chosen units"), values, strict=True):
            tables.setdefault(key, {})[name] = mean_of(value)
        tables.setdefault("guided over edges, chosen units", {})[name] = mean_of(
            (values[0] / values[1]).log()
        )
    return tables


class Truth:
    """The rooms, and where their objects are."""

    def __init__(self):
        data = rooms.dataset(ROOMS, seed=SEED)
        self.images = to_batch(data.images)
        self.shares = {name: features.covered(data.mask(name)) for name in rooms.OBJECTS}
        self.others = {name: torch.stack([self.shares[o] for o in self.shares if o != name]).amax(0) >= LEAST
                       for name in self.shares}  # fmt: skip
        self.labels = torch.from_numpy(data.labels[ROOMS // 2 :].copy())


def examine(truth, name, seed, maps, network=None, places=None):
    """All that is asked of one network's maps; with `network` also its guided images, see `lift_tables`."""
    random = stream(seed, f"resampled {name}")
    entry = {"name": name, "seed": seed} | selectivities(maps, truth.shares, truth.others, random)
    if network is not None:
        entry["patches"] = purity(maps, truth.shares)
    if name == "trained" or (name in (STAGE, "32x32") and seed == 0):
        chosen = {o: entry["others"][o]["top"] for o in rooms.OBJECTS}
        half, field = ROOMS // 2, features.receptive_field(network, STAGE)
        entry["lift"] = lift_tables(
            network, truth.images[half:], truth.labels, maps[half:], chosen, field, places
        )
    for kind in ("nothing", "others"):
        for found in entry[kind].values():
            values = found.pop("values")
            if name == "trained":
                found["all"] = values.tolist()
    return entry


def main():
    refuse_own_weights()
    truth, trained = Truth(), pretrained.load("rooms").discriminator
    colours = F.avg_pool2d(truth.images, 16)
    edges = F.avg_pool2d(features.edges(truth.images)[:, None], 16)
    found = [
        examine(truth, "edges", 0, edges),
        examine(truth, "colour", 0, torch.cat([colours, -colours], 1)),
    ]
    places = None
    fitted = rooms.dataset(FITTED, seed=FITTED_SEED).images
    for name, seed, network in tqdm(networks(trained, fitted), total=3 + 2 * len(SEEDS)):
        maps = activations_of(network, STAGE, truth.images)
        # the trained network's, which comes first
        places = places or patches(maps[ROOMS // 2 :], FEW)
        found.append(examine(truth, name, seed, maps, network, places))
    save(found)


def save(found):
    result = {"rooms": ROOMS, "thresholds": THRESHOLDS, "top": TOP, "networks": found}
    store(
        FOLDER / "units.json",
        rounded(result),
        __file__,
        "rooms/discriminator",
        separators=(",", ":"),
    )


def rounded(tree):
    """Numbers to four figures, as more are noise."""
    if isinstance(tree, dict):
        return {name: rounded(part) for name, part in tree.items()}
    if isinstance(tree, list):
        return [rounded(part) for part in tree]
    return float(f"{tree:.4g}") if isinstance(tree, float) else tree


if __name__ == "__main__":
    main()
