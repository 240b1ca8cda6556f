"""Walks between random latents in every training of the rooms, for chapter 2: `python book/experiments/walks.py`.

For each: are the images on lines as plausible as drawn rooms, and what comes and goes, each beside its control; and lines on
which a window grows, or a television becomes one, found by their ends. Some minutes for each training on a core.
"""

from pathlib import Path

import torch
from shared import refuse_own_weights, rounded, store

from dcgan_book import measure, pretrained, walking
from dcgan_book.latents import recalibrate, stream, to_batch
from dcgan_book.models import Generator, initialise
from dcgan_book.worlds import rooms

LINES, IMAGES = 100, 17
SEARCHED = 4000  # lines whose ends alone are looked at
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
    rows = {name: walked(name, instrument, least) for name in names}
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
    pictures = {"drawn rooms": others, "cross-fades of drawn rooms": (first + second) / 2}
    return {
        name: measure.bootstrap(measure.among(instrument.features(images), references).float())
        for name, images in pictures.items()
    }


def walked(name, instrument, least):
    """All that is measured on one training: `values`, for intervals over trainings, and what is `shown` of it alone."""
    shipped = pretrained.load(name)

    def draw(z):
        with torch.no_grad():
            return torch.cat([shipped.generator(part) for part in z.flatten(0, -2).split(200)])

    start, end = shipped.draw_z(2 * LINES, stream(0, "walks")).chunk(2)
    values = on_lines(draw, start, end, instrument, least)
    values |= objects(draw, start, end, shipped, instrument)
    shown = {key: measure.bootstrap(value) for key, value in values.items()}
    shown |= found_by_ends(draw, shipped, instrument)
    print(name, {key: round(value.mean().item(), 3) for key, value in values.items()})
    return {"values": values, "shown": shown}


def on_lines(draw, start, end, instrument, least):
    """The share of plausible images on each line, and on the cross-fade of its ends."""
    good = {"plausible, line": [], "plausible, cross-fade": []}
    for a, b in zip(start.split(20), end.split(20), strict=True):
        line = draw(walking.line(a, b, IMAGES))
        faded = walking.crossfade(draw(a), draw(b), IMAGES).flatten(0, 1)
        for name, images in zip(good, (line, faded), strict=True):
            there = plausible(instrument.read(images), least)
            good[name].append(there.view(len(a), IMAGES).mean(1))
    return {name: torch.cat(parts) for name, parts in good.items()}


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


def found_by_ends(draw, shipped, instrument):
    """Latents of lines from a room without a window, or with a television there, to one with a large window."""
    start, end = shipped.draw_z(2 * SEARCHED, stream(0, "windows")).chunk(2)
    first, last = (label_maps(draw, instrument, z) for z in (start, end))
    bare, large = ~(first == WINDOWS).any((1, 2)), (last == WINDOWS).sum((1, 2)) > WINDOW
    turned = ((first == SETS) & (last == WINDOWS)).sum((1, 2))
    kinds = {
        "window grows": (bare & large).nonzero().flatten(),
        "television turns": turned.argsort(descending=True)[: int((turned > 40).sum())],
    }
    return {
        name: {"lines": len(rows), "z": [start[rows[:1]].tolist(), end[rows[:1]].tolist()]}
        for name, rows in kinds.items()
    }


def label_maps(draw, instrument, z):
    """The instrument's labels of the rooms of z, (n, 64, 64), a few hundred rooms at a time."""
    return torch.cat([instrument.read(draw(part)).labels for part in z.split(500)])


if __name__ == "__main__":
    main()
