"""How surely the units of each discriminator, trained and redrawn, tell objects apart, for chapter 3.

`python book/experiments/units.py` writes units.json beside itself (some three minutes of one core for a training, or
half of it with `--rooms 1000`): for every training of the world, the trained network and `DRAWS` random ones for each of two rules. Rooms are drawn
ones that no network has seen. What is chosen is chosen on the first half of them, and judged on the second.
"""

import argparse
from pathlib import Path

import torch
from shared import refuse_own_weights, rounded, store

from dcgan_book import features, pretrained
from dcgan_book.latents import stream, to_batch
from dcgan_book.worlds import rooms

FOLDER = Path(__file__).parent
STAGE = "4x4"
ROOMS, SEED = 2000, 900_000
FITTED, FITTED_SEED = 500, 950_000  # rooms that give random layers their BatchNorm statistics
RULES = {"random in the last layer": [STAGE], "random in all layers": None}
DRAWS = 3  # random networks for each rule
RESAMPLES = 20  # of the rooms on which units are judged


def networks(name, fitted):
    """The networks of a training: (kind, seed, network)."""
    trained = features.dissected(pretrained.load(name))
    yield "trained", 0, trained
    for kind, stages in RULES.items():
        for seed in range(DRAWS):
            yield kind, seed, features.randomised(trained, stages, seed, fitted)


def stages_of(network, images):
    """Each stage's maps, max-pooled to 4x4 as for the classifier: name to (n, units, 4, 4)."""
    names = [name for name in network.stages if name != "1x1"]
    sizes = [16 * network.stages[name][0].out_channels for name in names]
    parts = features.pooled_features(network, images, names).split(sizes, 1)
    return {name: part.view(len(part), -1, 4, 4) for name, part in zip(names, parts, strict=True)}


def judged(maps, there, against, counts):
    """The selectivity of one unit a row under each weighting of the rooms: (weightings, units).

    maps: (n, units, 4, 4); there and against: bool (units, n, 4, 4), the rooms that show the unit's object at a place
    and those that show others; counts: (weightings, n), how often each room counts.
    """
    right = torch.zeros(len(counts), maps.shape[1], dtype=torch.float64)
    pairs = torch.zeros_like(right)
    for row in range(4):
        for column in range(4):
            order = maps[:, :, row, column].T.argsort(1)
            with_it = there[..., row, column].gather(1, order)
            without = against[..., row, column].gather(1, order)
            for i, count in enumerate(counts):
                weight = count[order]
                smaller = (weight * without).cumsum(1)
                right[i] += (smaller * weight * with_it).sum(1).double()
                pairs[i] += (weight * with_it).sum(1).double() * smaller[:, -1]
    return right / pairs


def examine(maps, truth, counts):
    """What a network's units tell: of its last stage all of them, of every stage the best for each object."""
    there, against = truth
    half, found = len(maps[STAGE]) // 2, {"stages": {}}
    for stage, responses in maps.items():
        told = features.selectivity(responses[:half], there[:, :half], against[:, :half])
        told = told.nan_to_num(0.5)  # (objects, units)
        best, second = told.argmax(1), responses[half:]
        objects = judged(
            second[:, best], there[:, half:] >= features.LEAST, _absent(truth, half), counts
        )
        found["stages"][stage] = {
            "unit": best.tolist(), "value": objects[0].tolist(), "draws": objects[1:].mean(1).tolist()
        }  # fmt: skip
    label = told.argmax(0)  # of the last stage, which comes last
    for name, of in (("own", label), ("bed", torch.full_like(label, rooms.OBJECTS.index("bed")))):
        values = judged(
            second, there[of][:, half:] >= features.LEAST, _absent(truth, half)[of], counts
        )
        found[name] = {
            "value": values[0].tolist(),
            "draws": (values[1:] >= features.SELECTIVE).double().mean(1).tolist(),
        }
    return found | {"label": label.tolist()}


def _absent(truth, half):
    there, against = truth
    return (there[:, half:] == 0) & against[:, half:]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rooms", type=int, default=ROOMS)
    count = parser.parse_args().rooms
    refuse_own_weights()
    data = rooms.dataset(count, seed=SEED)
    parts = [features.shown(data, name) for name in rooms.OBJECTS]
    images, truth = to_batch(data.images), [torch.stack(part) for part in zip(*parts, strict=True)]
    half, random = count // 2, stream(0, "rooms resampled")
    drawn = torch.randint(half, (RESAMPLES, half), generator=random)
    counts = torch.stack([torch.ones(half), *(row.bincount(minlength=half) for row in drawn)])
    fitted = rooms.dataset(FITTED, seed=FITTED_SEED).images
    found = []
    for name in pretrained.trainings("rooms"):
        for kind, seed, network in networks(name, fitted):
            maps = stages_of(network, images)
            entry = {"training": name, "kind": kind, "seed": seed}
            found.append(entry | examine(maps, truth, counts))
            print(name, kind, seed, flush=True)
    weights = [f"{name}/discriminator" for name in pretrained.trainings("rooms")]
    result = {"rooms": count, "objects": list(rooms.OBJECTS), "networks": found}
    store(FOLDER / "units.json", rounded(result), __file__, *weights, separators=(",", ":"))


if __name__ == "__main__":
    main()
