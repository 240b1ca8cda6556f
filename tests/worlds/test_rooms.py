"""The bedroom world: same seed, same bytes; masks are where the object is; rates are what they claim."""

import hashlib

import numpy as np
import pytest

from dcgan_book.worlds import rooms
from dcgan_book.worlds.canvas import block

MAGENTA = (255, 0, 255)


@pytest.fixture(scope="module")
def many():
    return rooms.Rooms.of(block(rooms.draw, 500_000, 2000))


def digest(images):
    return hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()


def test_the_same_seed_gives_the_bytes_it_always_gave():
    """Pinned: a change here changes every cached room, so `VERSION` must rise with it."""
    assert rooms.VERSION == 1
    assert (
        digest(rooms.dataset(100).images)
        == "11985d3d6b9652258f28f624741885c473ab94a0db0d9817bca078fcaaef4fda"
    )


def test_worker_count_and_cache_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("DCGAN_BOOK_CACHE", str(tmp_path))
    drawn = rooms.Rooms.of(block(rooms.draw, 9000, 1000))
    two = rooms.dataset(1000, seed=9000, workers=2, progress=False)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == [
        f"rooms-v{rooms.VERSION}-9000-1000"
    ]
    cached = rooms.dataset(1000, seed=9000, progress=False)
    for other in (two, cached):
        assert digest(other.images) == digest(drawn.images)
        assert digest(other.labels) == digest(drawn.labels)
        assert all((other.factors[name] == drawn.factors[name]).all() for name in rooms.FACTORS)


def test_a_dataset_is_its_rooms_in_order():
    several = rooms.dataset(5, seed=40)
    for i in range(5):
        room = rooms.draw(40 + i)
        assert (several.images[i] == room.image).all() and (several.labels[i] == room.labels).all()
        assert all(several.factors[name][i] == room.factors[name] for name in rooms.FACTORS)


def share_of(name, seed, **factors):
    """Share of each pixel that the object covers, float (64, 64), found by painting it in two colours."""
    magenta, white = (
        rooms.draw(seed, paint={name: c}, **factors).image.astype(int)
        for c in (MAGENTA, (255,) * 3)
    )
    return (white - magenta)[..., 1] / 255


@pytest.mark.parametrize("name", rooms.OBJECTS)
def test_a_mask_is_where_the_objects_colour_is(name):
    """Painted in a colour that nothing else has, an object is just where its mask says."""
    present = {"bed": {}, "curtain": {"window": True, "curtain": True}}.get(name, {name: True})
    for seed in range(40):
        mask, share = rooms.draw(seed, **present).masks[name], share_of(name, seed, **present)
        assert mask[share > 0.51].all(), "the colour shows outside the mask"
        assert (share[mask] > 0.24).all(), "the mask covers pixels without the colour"
        assert mask.sum() >= 8


def test_masks_agree_with_the_factors(many):
    for name in rooms.PRESENCE:
        visible = many.mask(name).sum(axis=(1, 2))
        assert (visible[~many.factors[name]] == 0).all(), name
        assert visible[many.factors[name]].min() >= 8, name
    assert many.mask("bed").sum(axis=(1, 2)).min() >= 300


def test_masks_never_overlap_and_labels_fill_the_picture():
    room = rooms.draw(3)
    assert sum(mask.astype(int) for mask in room.masks.values()).max() <= 1
    assert room.labels.max() < len(rooms.LABELS)


def test_rates_are_within_their_binomial_interval(many):
    n = len(many)
    expected = rooms.PRESENCE | {"curtain": rooms.PRESENCE["curtain"] * rooms.PRESENCE["window"]}
    for name, rate in expected.items():
        assert abs(many.factors[name].mean() - rate) < 3.3 * np.sqrt(rate * (1 - rate) / n), name
    assert abs((many.factors["daylight"] < 0.5).mean() - rooms.NIGHT) < 3.3 * np.sqrt(0.21 / n)
    for name, (low, high) in rooms.RANGES.items():
        assert low <= many.factors[name].min() and many.factors[name].max() <= high, name


@pytest.mark.parametrize("name", [name for name in rooms.PRESENCE if name != "window"])
def test_an_object_changes_only_the_pixels_it_touches(name):
    """Switched off by day, it leaves every other pixel's colour and label as they were."""
    for seed in range(20):
        base = {"daylight": 0.8, "window": True}
        on, off = {**base, name: True}, {**base, name: False}
        touched = share_of(name, seed, **on) > 0
        if name == "nightstand":  # a lamp stands on it, or else on a pole of its own
            touched |= (share_of("lamp", seed, **on) > 0) | (share_of("lamp", seed, **off) > 0)
        first, second = rooms.draw(seed, **on), rooms.draw(seed, **off)
        assert (first.labels == second.labels)[~touched].all()
        assert (first.image == second.image)[~touched].all()


@pytest.mark.parametrize("name, daylight", [("window", 0.9), ("lamp", 0.05)])
def test_windows_by_day_and_lamps_by_night_also_give_light(name, daylight):
    for seed in range(20):
        on, off = (
            {"daylight": daylight, "curtain": False, name: present} for present in (True, False)
        )
        touched = share_of(name, seed, **on) > 0
        first, second = rooms.draw(seed, **on), rooms.draw(seed, **off)
        assert (first.labels == second.labels)[~touched].all()
        gain = first.image.astype(int)[~touched] - second.image[~touched]
        assert gain.min() >= 0 and gain.mean() > 1


@pytest.mark.parametrize(
    "name, value, changes",
    [("bed_hue", 0.5, "bed"), ("bedding", "band", "bed"), ("curtain_hue", 0.5, "curtain"), ("rug_hue", 0.5, "rug"),
     ("picture_hue", 0.5, "picture"), ("door_style", "wood", "door"), ("floor_brightness", 0.5, "floor")],
)  # fmt: skip
def test_a_look_changes_only_its_object(name, value, changes):
    for seed in range(10):
        first, second = rooms.draw(seed), rooms.draw(seed, **{name: value})
        touched = share_of(changes, seed) + share_of(changes, seed, **{name: value}) > 0
        assert (first.image == second.image)[~touched].all()


def test_a_factor_set_to_its_own_value_changes_nothing():
    factors = rooms.sample(11)
    assert (rooms.draw(11, **factors).image == rooms.draw(11).image).all()


def test_factors_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="factor 'windows' does not exist"):
        rooms.draw(0, windows=True)
    with pytest.raises(ValueError, match="wall_hue cannot be 2; it can be: 0.0 to 1.0"):
        rooms.draw(0, wall_hue=2)
    with pytest.raises(ValueError, match="headboard cannot be 'oak'; it can be: panel, arch, bars"):
        rooms.draw(0, headboard="oak")
    with pytest.raises(ValueError, match="whole number"):
        rooms.draw(-1)
