"""The scores on a model card: what a generator draws, how far it is from its world, whether it copies."""

import json
import math
from collections.abc import Mapping

import numpy as np
import torch

from dcgan_book import pretrained
from dcgan_book.cache import atomic_write
from dcgan_book.latents import draw_z, recalibrate, stream, to_batch
from dcgan_book.measure.distances import chessboard, diversity, frechet_interval, memorisation
from dcgan_book.measure.intervals import Estimate, rates, wilson
from dcgan_book.measure.network import FACES, SCHEMAS
from dcgan_book.measure.reading import BATCH, Instrument, MeasureError, load
from dcgan_book.models import Generator, initialise
from dcgan_book.worlds import faces, rooms

HELD_OUT = (
    3_000_000  # seed of the real rooms that generators, trained on 0 to 59,999, are compared with
)


def co_occurrence(presence: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Share of images in which two objects are together: float (objects, objects), the rates on its diagonal.

    presence: name to bool (n,); rows and columns are in its order.
    """
    there = torch.stack([torch.as_tensor(values) for values in presence.values()], 1).double()
    return there.T @ there / len(there)


def world_co_occurrence() -> torch.Tensor:
    """`co_occurrence` that the bedroom world itself has, in the order of `rooms.OBJECTS`."""
    own = torch.tensor(
        [rooms.PRESENCE.get(name, 1.0) for name in rooms.OBJECTS], dtype=torch.float64
    )
    window, curtain = rooms.OBJECTS.index("window"), rooms.OBJECTS.index("curtain")
    own[curtain] *= own[window]  # a curtain hangs at a window only
    together = torch.outer(own, own)
    together.diagonal().copy_(own)
    together[window, curtain] = together[curtain, window] = own[curtain]
    return together


def sample(
    generator: Generator,
    n: int,
    prior: str = "uniform",
    seed: int = 0,
    device: str | torch.device = "cpu",
    purpose: str = "scores",
) -> torch.Tensor:
    """n images of a generator in eval mode, (n, 3, size, size) on the CPU; the first of a larger n are the same."""
    z = draw_z(n, generator.z_dim, prior, stream(seed, purpose))
    with torch.no_grad():
        return torch.cat([generator(part.to(device)).float().cpu() for part in z.split(BATCH)])


def scores(
    generator: Generator,
    training: np.ndarray,
    prior: str = "uniform",
    n: int = 5000,
    seed: int = 0,
    held_out: int = 20_000,
    instrument: Instrument | None = None,
    device: str | torch.device = "cpu",
    progress: bool = True,
    world: str = "rooms",
) -> dict:
    """All that a model card says of a generator of rooms or faces, as a dict for JSON.

    generator: in eval mode. training: the images it was trained on, uint8 (N, 64, 64, 3). n: samples. held_out:
    real images that it was not trained on, at least 2 n. world: what it was trained on, unless `instrument` says.
    Pixels are compared for the first 1,000 samples only. Distances have beside them the same number for real images
    and for an untrained generator. Takes some minutes on a core, most of it for the features of the real images.
    Raises ValueError for too few held-out ones.
    """
    if held_out < 2 * n:
        raise ValueError(
            f"held_out {held_out}: {n} samples need two sets of as many real images, {2 * n}"
        )
    instrument = instrument or load(world, device)
    real = instrument.schema.world.dataset(held_out, HELD_OUT, progress=progress)
    threshold = instrument.card["near_identical"]
    images = sample(generator, n, prior, seed, device)
    reading = instrument.read(images)
    floor, other = (instrument.features(real.images[i * n : (i + 1) * n]) for i in range(2))
    blank = Generator(generator.width, generator.z_dim, generator.kernel_size, size=generator.size)
    initialise(blank, stream(seed, "untrained"))
    recalibrate(blank, prior, 1024, seed).to(device)
    nothing = instrument.features(sample(blank, n, prior, seed, device))
    copied = {
        by: memorisation(
            images[:most], training, real.images, by, instrument, planted=_like_copies(training)
        )
        for by, most in (("features", n), ("pixels", 1000))
    }
    content = _content_of_faces if instrument.schema is FACES else _content_of_rooms
    return {
        "samples": n,
        "seed": seed,
        "interval": "95 %",
        **content(reading),
        "frechet": numbers(frechet_interval(reading.features, other))
        | {
            "space": "instrument's features, not FID",
            "floor": numbers(frechet_interval(floor, other)),
            "untrained": numbers(frechet_interval(nothing, other)),
        },
        "chessboard": numbers(chessboard(images, to_batch(real.images[n : 2 * n]))),
        "diversity": _variety(reading.features, other, threshold),
        "memorisation": {
            by: _copying(test, len(training), held_out) for by, test in copied.items()
        },
    }


def _like_copies(training, most=1000):
    """Training images as a copier might draw them: a pixel to the side, and a little darker."""
    some = training[:: max(1, len(training) // most)][:most]
    return (np.roll(some, 1, axis=2) * 0.95).astype(np.uint8)


def _variety(generated, real, threshold):
    """How far apart the images of a pair are, and how many pairs all but agree, beside the same for real ones."""
    ours, theirs = diversity(generated, threshold), diversity(real, threshold)
    return {
        "pair_distance": numbers(ours.distance) | {"real": numbers(theirs.distance)},
        "near_identical": numbers(ours.near_identical)
        | {"below": threshold, "real": numbers(theirs.near_identical)},
    }


def _copying(test, training, held_out):
    """What the card says of a `Memorisation`."""
    return {
        "samples": len(test.generated),
        "training": training,
        "held_out": held_out,
        "copies": numbers(test.copies),
        "power": {str(share): found for share, found in test.power.items()},
        "nearer_than_real": numbers(test.nearer),
        "median_distance": rounded(test.generated.median().item()),
        "median_distance_real": rounded(test.real.median().item()),
        "memorised": test.memorised,
    }


def _content_of_rooms(reading):
    """Rates of objects, alone and together, beside the world's."""
    world = world_co_occurrence()
    pairs = co_occurrence(reading.presence)
    worst = (pairs - world).abs().triu(1).argmax().item()
    first, second = (rooms.OBJECTS[i] for i in divmod(worst, len(rooms.OBJECTS)))
    together = int((reading.presence[first] & reading.presence[second]).sum())
    return {
        "objects": {
            name: numbers(rate) | {"world": round(world.diagonal()[i].item(), 5)}
            for i, (name, rate) in enumerate(rates(reading.presence).items())
        },
        "night": numbers(wilson(int(reading.factors["night"].sum()), len(reading)))
        | {"world": rooms.NIGHT},
        "together": {
            "mean_difference": rounded(
                (pairs - world).abs()[tuple(torch.triu_indices(*world.shape, 1))].mean().item()
            ),
            "largest": {"pair": [first, second]}
            | numbers(wilson(together, len(reading)))
            | {"world": rounded(world.flatten()[worst].item())},
        },
    }


def _content_of_faces(reading):
    """Rates of what can be named, and how widely what is continuous varies, beside the world's.

    Choices that only an object has, such as the style of glasses, are left out where no sample has the object.
    """
    kinds = faces.RATES["presentation"]
    hair = {
        style: sum(kinds[kind] * faces.HAIR_RATES[kind][style] for kind in kinds)
        for style in faces.HAIR_RATES["man"]
    }
    known = {"glasses": faces.GLASSES, "beard": faces.BEARD * kinds["man"], "face": 1.0}
    found = {name: (reading.presence[name], {True: rate}) for name, rate in known.items()}
    for name, expected in (faces.RATES | {"hair_style": hair}).items():
        owner = FACES.owners.get(name)
        counted = reading.presence[owner].numpy() if owner else slice(None)
        found[name] = reading.factors[name][counted], expected
    content = {}
    for name, (values, expected) in found.items():
        if not len(values):
            continue
        shares = {
            option: numbers(wilson(int((values == option).sum()), len(values)))
            | {"world": rounded(rate)}
            for option, rate in expected.items()
        }
        content[name] = shares[True] if True in shares else shares
    spreads = {}
    for name in FACES.scalars:
        low, high = faces.RANGES[name]
        spreads[name] = {
            "mean": rounded(reading.factors[name].mean().item()),
            "deviation": rounded(reading.factors[name].std().item()),
            "world": rounded((high - low) / math.sqrt(12)),
        }
    return {"rates": content, "spreads": spreads}


def scores_of(trained: pretrained.Pretrained, n: int = 250) -> dict:
    """The scores on the card of `trained`, a `pretrained.Pretrained`; of weights without them quick ones, of n samples.

    Then 2 n drawn images stand for those it was trained on: they are, if it learned from a drawn world. Weights that
    stand in for a world's are compared with that world, whatever they learned from.
    """
    data = trained.card["data"]["name"]
    world = trained.stands_for or (data if data in SCHEMAS else "rooms")
    if "scores" in trained.card and world == data:
        return trained.card["scores"]
    training = SCHEMAS[world].world.dataset(2 * n, progress=False).images
    return scores(
        trained.generator,
        training,
        trained.card["prior"],
        n,
        held_out=2 * n,
        progress=False,
        world=world,
    )


def numbers(estimate: Estimate) -> dict[str, float]:
    """An Estimate for JSON."""
    return {name: rounded(value) for name, value in estimate._asdict().items()}


def rounded(value: float) -> float:
    """To five figures, as more are noise."""
    return float(f"{value:.5g}")


def score(
    name: str,
    n: int = 5000,
    seed: int = 0,
    held_out: int = 20_000,
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> dict:
    """Writes `scores` of the weights that `pretrained.load` gives for `name` into the card beside them; returns them.

    name: "rooms" or "faces" (where an environment variable names others in their place, those), or the path of an
    exported folder. n: samples. held_out: real images to compare with. device: where the generator runs.
    Raises MeasureError if they were not trained on a drawn world or have no card of their own.
    """
    model = pretrained.load(name, device)
    data = model.card["data"]
    if data["name"] not in SCHEMAS:
        raise MeasureError(
            f"{name} was trained on {data['name']}: only rooms and faces can be scored"
        )
    card = model.folder / "card.json" if model.folder else None
    if card is None or not card.exists():
        raise MeasureError(
            f"{model.folder} is a run and has no card: export it first, python -m dcgan_book.pretrained export"
        )
    training = SCHEMAS[data["name"]].world.dataset(data["images"], progress=progress).images
    found = scores(model.generator, training, model.card["prior"], n, seed, held_out, device=device,
                   progress=progress, world=data["name"])  # fmt: skip
    command = f"python -m dcgan_book.measure {card.parent.name}"
    with atomic_write(card) as temporary:
        temporary.write_text(
            json.dumps(model.card | {"scores": {"command": command} | found}, indent=1) + "\n",
            encoding="utf-8",
        )
    return found
