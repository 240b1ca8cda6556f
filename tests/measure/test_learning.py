"""Damage and the training of the instruments: what is said to be true of an image is, and a stopped training goes on."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from measure_helpers import FRESH, a_batch, random

from dcgan_book import measure
from dcgan_book.latents import to_batch
from dcgan_book.measure import network
from dcgan_book.measure.learning import damage, instruments
from dcgan_book.measure.reading import MeasureError
from dcgan_book.worlds import faces, rooms


def pairs(n=24):
    return instruments._face_pairs(n, FRESH + 20_000)


def test_a_pair_differs_in_glasses_and_beard_alone():
    known = pairs()
    for i in range(len(known)):
        own, other = known.labels[i], known.others.labels[i]
        named = [faces.LABELS.index(name) for name in ("glasses", "beard")]
        for name, label in zip(("glasses", "beard"), named, strict=True):
            assert (label in own) == known.factors[name][i]
            expected = not known.factors[name][i] and (
                name == "glasses" or known.factors["presentation"][i] == "man"
            )
            assert (label in other) == expected
        changed = (known.images[i] != known.others.images[i]).any(2)
        near = F.max_pool2d(
            torch.from_numpy(np.isin(own, named) | np.isin(other, named)).float()[None], 3, 1, 1
        )[0]
        # a thin frame covers less than half of some pixels
        assert near.numpy()[changed].mean() > 0.9


def test_damaged_faces_say_what_is_still_there():
    known, everything = pairs(48), slice(0, 48)
    same = instruments._damage_faces(known, everything, random(), 1.0)
    assert (
        torch.equal(same.images, to_batch(known.images))
        and same.known.all()
        and (same.presence[:, -1] == 1).all()
    )
    assert torch.equal(
        same.presence[:, faces.OBJECTS.index("glasses")] == 1,
        torch.from_numpy(known.factors["glasses"]),
    )
    parts = []
    for i in range(10):
        damaged = instruments._damage_faces(known, everything, random(i), 0.0)
        again = instruments._damage_faces(known, everything, random(i), 0.0)
        assert torch.equal(damaged.images, again.images) and damaged.images.abs().max() <= 1
        visible = measure.count_pixels(damaged.labels, faces)
        assert (visible[damaged.presence[:, :-1] == 1] >= measure.VISIBLE).all()
        # what is no face has no factors
        assert not (damaged.known & (damaged.presence[:, -1] == 0)).any()
        parts.append(damaged.presence)
    face = torch.cat(parts)[:, -1]
    assert (
        0.15 < (face == 0).double().mean() < 0.5
        and 0.4 < (face == 1).double().mean() < 0.8
        and face.isnan().any()
    )
    glasses = torch.cat(parts)[:, faces.OBJECTS.index("glasses")].view(10, 48)
    had = torch.from_numpy(known.factors["glasses"]).expand(10, 48)
    assert (glasses[had] == 0).any() and (glasses[~had] == 1).any()  # they fade, out and in


def test_an_instrument_for_faces_reads_the_face_too(tmp_path):
    trained = instruments.train(tmp_path, "faces", count=24, steps=2, batch=8, validation=12, test=12, calibration=20,
                                device="cpu", progress=False)  # fmt: skip
    loaded = measure.load(tmp_path)
    assert loaded.schema is network.FACES and loaded.card == trained.card
    assert (
        loaded.card["command"]
        == "python -m dcgan_book.measure.learning --world faces --faces 24 --steps 2 --batch 8"
    )
    read = loaded.read(pairs(5).images)
    assert set(read.presence) == {*faces.OBJECTS, "face"} and read.labels.max() < len(faces.LABELS)
    assert (
        set(network.FACES.scalars + network.FACES.hues) < set(read.factors)
        and "night" not in read.factors
    )
    assert read.mask("hair").shape == (5, 64, 64)


def test_a_smile_counts_as_often_as_its_weight():
    known, everything = pairs(8), slice(0, 8)
    damaged, schema = instruments._damage_faces(known, everything, random(), 1.0), network.FACES
    targets, costs = instruments._targets(known, schema), {}
    for name in schema.scalars:
        outputs = torch.zeros(8, sum(schema.heads.values()))
        heads = schema.split(outputs)
        heads["scalars"].copy_(targets["scalars"])
        heads["hues"].copy_(targets["hues"])
        heads["scalars"][:, schema.scalars.index(name)] += 0.3
        logits = torch.zeros(8, len(faces.LABELS), 64, 64)
        costs[name] = instruments._losses(logits, outputs, damaged, targets, schema)[
            "factors"
        ].item()
    assert costs["yaw"] > 0 and costs["smile"] == pytest.approx(
        schema.weights["smile"] * costs["yaw"]
    )
    assert costs["jaw"] == pytest.approx(costs["yaw"])


def test_damage_follows_from_its_generator_alone():
    images, labels = a_batch()
    kept = images.clone(), labels.clone()
    before = torch.get_rng_state()
    first, second = (damage.damage_rooms(images, labels, random(5), 0.2) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    for name in damage.Damaged.__dataclass_fields__:
        torch.testing.assert_close(
            getattr(first, name), getattr(second, name), rtol=0, atol=0, equal_nan=True
        )
    assert torch.equal(images, kept[0]) and torch.equal(labels, kept[1])
    assert first.images.abs().max() <= 1 and first.images.shape == images.shape
    assert not torch.equal(first.images, damage.damage_rooms(images, labels, random(6), 0.2).images)


@pytest.mark.parametrize(
    "world, known, there, mean", [("rooms", 40, 180, 0.172294), ("faces", 28, 188, 0.1682516)]
)
def test_damage_is_what_it_always_was(world, known, there, mean):
    """Pinned: were something else drawn at random, the shipped instruments could not be trained again."""
    recipe = instruments.RECIPES[world]
    drawn = recipe.draw(40, FRESH + 20_000, progress=False)
    damaged = recipe.damage(drawn, slice(0, 40), random(5), 0.2)
    assert (int(damaged.known.sum()), int((damaged.presence == 1).sum())) == (known, there)
    assert damaged.images.square().mean().item() == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("n", [1, 32])
def test_untouched_rooms_stay_as_they_are(n):
    images, labels = a_batch(n)
    same = damage.damage_rooms(images, labels, random(), untouched=1.0)
    assert torch.equal(same.images, images) and torch.equal(same.labels, labels)
    there = measure.count_pixels(labels) > 0
    assert (
        torch.equal(same.presence, there.float()) and same.known.all() and (same.amounts == 0).all()
    )


def test_damaged_rooms_say_what_is_still_there():
    images, labels = a_batch()
    changed = 0
    for i in range(20):
        damaged = damage.damage_rooms(images, labels, random(i), 0.0)
        visible = measure.count_pixels(damaged.labels)
        assert (visible[damaged.presence == 1] >= measure.VISIBLE).all()
        whole = (
            measure.count_pixels(labels)
            .roll(1, 0)
            .maximum(measure.count_pixels(labels))
            .max(0)
            .values
        )
        assert (visible <= (whole / 20).clamp(min=3))[damaged.presence == 0].all()
        assert set(damaged.labels.unique().tolist()) <= set(range(len(rooms.LABELS))) | {
            damage.UNKNOWN
        }
        changed += (
            ((damaged.presence == 0) & (measure.count_pixels(labels) > 0))[damaged.known]
            .sum()
            .item()
        )
    assert changed > 60  # objects vanish


def small(out, **options):
    return instruments.train(out, count=24, steps=4, batch=8, validation=12, test=12, calibration=20, checkpoint_every=2,
                         device="cpu", progress=False, **options)  # fmt: skip


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path, monkeypatch, precision):
    """Whichever precision is the faster one here: the checkpoint says with which it began."""
    whole = small(tmp_path / "whole", precision=precision)
    calls, damage_rooms = [], damage.damage_rooms

    def stop(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return damage_rooms(*arguments)

    monkeypatch.setattr(damage, "damage_rooms", stop)
    with pytest.raises(KeyboardInterrupt):
        small(tmp_path / "parts", precision=precision)
    monkeypatch.setattr(damage, "damage_rooms", damage_rooms)
    parts = small(tmp_path / "parts", resume=True)
    assert parts.card["machine"]["precision"] == precision
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, parts.network.state_dict()[name]), name
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == [
        "card.json",
        "instrument.safetensors",
    ]


def test_what_is_trained_is_what_loads(tmp_path):
    trained = small(tmp_path)
    loaded = measure.load(tmp_path)
    images = a_batch(5)[0]
    torch.testing.assert_close(trained.features(images), loaded.features(images), rtol=0, atol=0)
    assert loaded.card == trained.card and "--rooms 24" in loaded.card["command"]
    ways = {}
    for way in ("head", "segmenter", "both"):
        loaded.card["presence"] = way
        read = loaded.read(images)
        ways[way] = torch.stack(list(read.presence.values()), 1)
        assert all(
            torch.equal(read.presence[name], read.probability[name] > 0.5) for name in rooms.OBJECTS
        )
    assert torch.equal(ways["segmenter"], measure.count_pixels(read.labels) >= measure.VISIBLE)
    assert torch.equal(ways["both"], ways["head"] & ways["segmenter"])


def test_faults_are_one_line(tmp_path):
    with pytest.raises(MeasureError, match="python -m dcgan_book.measure.learning makes one"):
        measure.load(tmp_path)
    with pytest.raises(MeasureError, match="leave out --resume"):
        small(tmp_path, resume=True)
    with pytest.raises(MeasureError, match="world 'flats': give one of rooms, faces"):
        instruments.train(tmp_path, "flats")
    with pytest.raises(MeasureError, match="precision 'fp16': give one of auto, fp32, bf16"):
        small(tmp_path, precision="fp16")
