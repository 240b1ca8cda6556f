"""Walks between random latents in every training of the rooms, for chapter 2: `python book/experiments/walks.py`.

For each: are the images on lines as plausible as drawn rooms, how large is the largest step, what comes and goes, does a new window
grow from step to step, and does a television that becomes a window do so over several images? Each beside its control.
Some minutes for each training on a core.
"""

from pathlib import Path

import torch
from shared import refuse_own_weights, rounded, store

from dcgan_book import measure, pretrained, walking
from dcgan_book.latents import recalibrate, stream, to_batch
from dcgan_book.models import Generator, initialise
from dcgan_book.worlds import rooms

LINES, IMAGES = 100, 49
SEARCHED = (
    4000  # lines whose ends alone are looked at, for windows that grow and televisions that turn
)
GROWN, STEPS = 60, 25  # lines of each kind that are walked, at most, and images on each
WINDOW = 180  # pixels of a large one: a quarter of drawn windows have more
REAL = 4000  # drawn rooms that no network was trained on
WINDOWS, SETS = rooms.LABELS.index("window"), rooms.LABELS.index("tv")


def main():
    refuse_own_weights()
    names, instrument = pretrained.trainings("rooms"), measure.load()
    real = to_batch(rooms.dataset(REAL, measure.HELD_OUT).images)
    known, others = real.chunk(2)
    least = instrument.read(known).clear.quantile(0.05).item()
    floor = plausible(instrument.read(others), least)
    unrelated = unrelated_steps(instrument.features(real), real)
    rows = {name: walked(name, instrument, least, unrelated) for name in names}
    found = {
        "lines": LINES,
        "images": IMAGES,
        "searched": SEARCHED,
        "least clear": least,
        "plausible, drawn": measure.bootstrap(floor),
        "by neighbours": by_neighbours(instrument, real),
        "trainings": {name: row["shown"] for name, row in rows.items()},
        "over all": {
            name: measure.over_trainings([row["values"][name] for row in rows.values()])
            for name in rows[names[0]]["values"]
        },
    }
    weights = [f"{name}/generator" for name in names]
    path = Path(__file__).with_suffix(".json")
    store(path, rounded(found), __file__, *weights, "instruments/instrument", indent=1)


def plausible(reading, least):
    """Whether each image has a bed and is as clear to the instrument as 95 % of drawn rooms are."""
    return (reading.presence["bed"] & (reading.clear >= least)).float()


def by_neighbours(instrument, real):
    """Why plausible is not read off neighbours among features: drawn rooms, and cross-fades of such, among others."""
    known, others = real.chunk(2)
    first, second = others.chunk(2)
    references = instrument.features(known)
    pictures = {"drawn": others, "cross-fades": (first + second) / 2}
    return {
        name: measure.bootstrap(measure.among(instrument.features(images), references).float())
        for name, images in pictures.items()
    }


def walked(name, instrument, least, unrelated):
    """All that is measured on one training: `values`, for intervals over trainings, and what is `shown` of it alone."""
    shipped = pretrained.load(name)

    def draw(z):
        with torch.no_grad():
            return torch.cat([shipped.generator(part) for part in z.flatten(0, -2).split(200)])

    start, end = shipped.draw_z(2 * LINES, stream(0, "walks")).chunk(2)
    values, shown = on_lines(draw, start, end, instrument, least, unrelated)
    values |= objects(draw, start, end, shipped, instrument)
    grown, kinds = growing(draw, shipped, instrument)
    values |= grown
    shown |= kinds | {key: measure.bootstrap(value) for key, value in values.items()}
    print(name, {key: round(value.mean().item(), 3) for key, value in values.items()})
    return {"values": values, "shown": shown}


def unrelated_steps(features, images):
    """The largest step of a path through unrelated drawn rooms, and the distance of two such: by features and pixels."""
    found = {}
    for kind, points in (("features", features), ("pixels", images.flatten(1))):
        order = torch.randint(len(points), (LINES, IMAGES), generator=stream(0, kind))
        steps = torch.stack([points[path].diff(dim=0).norm(dim=1) for path in order])
        found[kind] = steps.mean().item(), steps.amax(1) / steps.mean()
    return found


def on_lines(draw, start, end, instrument, least, unrelated):
    """Plausible and smooth: images like drawn rooms, and the largest step over the distance of unrelated rooms."""
    good, largest = {}, {"features": [], "pixels": []}
    for a, b in zip(start.split(20), end.split(20), strict=True):
        images = draw(walking.line(a, b, IMAGES))
        reading = instrument.read(images)
        points = {"features": reading.features, "pixels": images.flatten(1)}
        for kind, each in points.items():
            steps = each.view(len(a), IMAGES, -1).diff(dim=1).norm(dim=2).amax(1)
            largest[kind].append(steps / unrelated[kind][0])
        faded = instrument.read(walking.crossfade(draw(a), draw(b), IMAGES).flatten(0, 1))
        for name, each in (("line", reading), ("cross-fade", faded)):
            good.setdefault(name, []).append(plausible(each, least).view(len(a), IMAGES))
    at = {name: torch.cat(parts) for name, parts in good.items()}
    values = {f"plausible, {name}": parts.mean(1) for name, parts in at.items()}
    for kind, parts in largest.items():
        values |= {
            f"largest step, {kind}": torch.cat(parts),
            f"unrelated, {kind}": unrelated[kind][1],
        }
    return values, {f"plausible at, {name}": parts.mean(0).tolist() for name, parts in at.items()}


def objects(draw, start, end, shipped, instrument):
    """How many objects come or go along lines, on lines through an untrained generator, and in one room's changing light."""
    size = shipped.generator.width, shipped.generator.z_dim, shipped.generator.kernel_size
    blank = initialise(Generator(*size), stream(0, "untrained"))
    recalibrate(blank, shipped.card["prior"], 256)
    lights = torch.linspace(0.5, 1.5, 9)[:, None, None, None]
    with torch.no_grad():
        pictures = {
            "line": draw(walking.line(start, end, 9)),
            "untrained": blank(walking.line(start[:60], end[:60], 9).flatten(0, 1)),
            "light": torch.cat([(lights * (room + 1) - 1).clamp(-1, 1) for room in draw(start)]),
        }
    values = {}
    for name, images in pictures.items():
        there = (
            torch.stack(list(instrument.presence(images).values()), 1).int().unflatten(0, (-1, 9))
        )
        values[f"changes, {name}"] = there.diff(dim=1).abs().sum((1, 2)).float()
    return values


def growing(draw, shipped, instrument):
    """Lines from a wall, or a television, to a large window, found by their ends alone; do windows come step by step?"""
    start, end = shipped.draw_z(2 * SEARCHED, stream(0, "windows")).chunk(2)
    first, last = (label_maps(draw, instrument, z) for z in (start, end))
    bare, large = ~(first == WINDOWS).any((1, 2)), (last == WINDOWS).sum((1, 2)) > WINDOW
    turned = ((first == SETS) & (last == WINDOWS)).sum((1, 2))
    kinds = {
        "window grows": (bare & large).nonzero().flatten()[:GROWN],
        "television turns": turned.argsort(descending=True)[: int((turned > 40).sum())][:GROWN],
    }
    values, shown = {}, {}
    for name, rows in kinds.items():
        labels = label_maps(
            draw, instrument, walking.line(start[rows], end[rows], STEPS).flatten(0, -2)
        )
        labels = labels.unflatten(0, (-1, STEPS))
        place = last[rows] == WINDOWS
        if name == "television turns":
            place &= first[rows] == SETS
        area = ((labels == WINDOWS) & place[:, None]).sum((2, 3)).float()
        random = stream(0, name)
        mixed = torch.stack([row[torch.randperm(STEPS, generator=random)] for row in area])
        test = rises if name == "window grows" else turns
        values |= {name: test(area), f"{name}, shuffled": test(mixed)}
        shown |= {
            f"{name}, lines": len(rows),
            f"{name}, z": [start[rows[:6]].tolist(), end[rows[:6]].tolist()],
        }
    return values, shown


def label_maps(draw, instrument, z):
    """The instrument's labels of the rooms of z, (n, 64, 64), a few hundred rooms at a time."""
    return torch.cat([instrument.read(draw(part)).labels for part in z.split(500)])


def rises(area):
    """Whether a window's area (n, steps) rises over at least half of the steps."""
    return (2 * (area.diff(dim=1) > 0).sum(1) >= area.shape[1] - 1).float()


def turns(area):
    """Whether the place of a set fills with window in order, and over several images that have some of both.

    In order: with a rank correlation of position and area of at least 0.9; several: at least three.
    """
    share = area / area[:, -1:].clamp(min=1)
    ranks = area + torch.arange(area.shape[1]) * 1e-6  # of equal areas the earlier one is first
    ranks = ranks.argsort(1).argsort(1).double()
    straight = torch.arange(area.shape[1]).double()
    order = torch.stack([torch.corrcoef(torch.stack([row, straight]))[0, 1] for row in ranks])
    between = ((share > 0.1) & (share < 0.9)).sum(1)
    return ((order >= 0.9) & (between >= 3)).float()


if __name__ == "__main__":
    main()
