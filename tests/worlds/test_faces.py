"""The portrait world: same seed, same bytes; masks are where the part is; a factor moves what it should."""

import hashlib

import numpy as np
import pytest

from dcgan_book.worlds import faces
from dcgan_book.worlds.canvas import block

MAGENTA = (255, 0, 255)
MIRRORED = {"left": "right", "right": "left", "fringe": "fringe"}


@pytest.fixture(scope="module")
def many():
    return faces.Faces.of(block(faces.draw, 500_000, 2000))


def digest(images):
    return hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()


def test_the_same_seed_gives_the_bytes_it_always_gave():
    """Pinned: a change here changes every cached face, so `VERSION` must rise with it."""
    assert faces.VERSION == 1
    assert (
        digest(faces.dataset(100).images)
        == "d2666cb2dc143cb9462f347b42cfe76eab5b5f69537f85d7e1d80d4ab8d9fb23"
    )


def test_worker_count_and_cache_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("DCGAN_BOOK_CACHE", str(tmp_path))
    drawn = faces.Faces.of(block(faces.draw, 9000, 1000))
    two = faces.dataset(1000, seed=9000, workers=2, progress=False)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == [
        f"faces-v{faces.VERSION}-9000-1000"
    ]
    cached = faces.dataset(1000, seed=9000, progress=False)
    for other in (two, cached):
        assert digest(other.images) == digest(drawn.images)
        assert digest(other.labels) == digest(drawn.labels)
        assert all((other.factors[name] == drawn.factors[name]).all() for name in faces.FACTORS)


def test_a_dataset_is_its_faces_in_order():
    several = faces.dataset(5, seed=40)
    assert len(several) == 5
    for i in range(5):
        face = faces.draw(40 + i)
        assert (several.images[i] == face.image).all() and (several.labels[i] == face.labels).all()
        assert all(several.factors[name][i] == face.factors[name] for name in faces.FACTORS)


def share_of(name, seed, **factors):
    """Share of each pixel that the part covers, float (64, 64), found by painting it in two colours."""
    magenta, white = (
        faces.draw(seed, paint={name: c}, **factors).image.astype(int)
        for c in (MAGENTA, (255,) * 3)
    )
    return (white - magenta)[..., 1] / 255


@pytest.mark.parametrize("name", faces.LABELS)
def test_a_mask_is_where_the_parts_colour_is(name):
    """Painted in a colour that nothing else has, a part is just where its mask says."""
    present = {name: True} if name in ("glasses", "beard") else {}
    for seed in range(40):
        mask = faces.draw(seed, **present).labels == faces.LABELS.index(name)
        share = share_of(name, seed, **present)
        assert mask[share > 0.51].all(), "the colour shows outside the mask"
        assert (share[mask] > 0.24).all(), "the mask covers pixels without the colour"
        assert mask.sum() >= 8 or name == "clothes"  # long hair may hide those


def test_masks_agree_with_the_factors(many):
    for name in faces.OBJECTS:
        visible = many.mask(name).sum(axis=(1, 2))
        if name in ("glasses", "beard"):
            assert (visible[~many.factors[name]] == 0).all(), name
            visible = visible[many.factors[name]]
        assert visible.min() >= {"skin": 500, "hair": 100, "glasses": 60, "beard": 60}.get(
            name, 8
        ), name


def test_masks_never_overlap_and_labels_fill_the_picture():
    face = faces.draw(3)
    assert sum(mask.astype(int) for mask in face.masks.values()).max() == 1
    assert face.labels.max() < len(faces.LABELS)


def test_the_head_fills_three_quarters_of_the_frame(many):
    """From the hair's top to the chin; frontal, shaven and with short hair, so that both can be found."""
    plain = {"yaw": 0, "beard": False, "hair_style": "short"}
    for seed in range(10):
        masks = faces.draw(seed, **plain).masks
        top = np.flatnonzero(masks["hair"].any(axis=1))[0]
        assert 0.72 < (faces.CHIN - top) / faces.SIZE < 0.82
    middle = np.average(np.arange(64) + 0.5, weights=many.mask("mouth").sum(axis=(0, 1)))
    assert abs(middle - 32) < 1


def test_rates_are_within_their_binomial_interval(many):
    def within(rate, values):
        return abs(values.mean() - rate) < 3.5 * np.sqrt(rate * (1 - rate) / len(values))

    man = many.factors["presentation"] == "man"
    assert within(faces.GLASSES, many.factors["glasses"])
    assert within(faces.BEARD, many.factors["beard"][man]) and not many.factors["beard"][~man].any()
    for name, rates in faces.RATES.items():
        for option, rate in rates.items():
            assert within(rate, many.factors[name] == option), option
    for kind, chosen in (("man", man), ("woman", ~man)):
        for option, rate in faces.HAIR_RATES[kind].items():
            hair = many.factors["hair_style"][chosen] == option
            assert within(rate, hair) if rate else not hair.any(), (kind, option)
    for name, (low, high) in faces.RANGES.items():
        values = (many.factors[name] - low) / (high - low)
        assert 0 <= values.min() < 0.02 and 0.98 < values.max() <= 1, name
        assert abs(values.mean() - 0.5) < 3.5 / np.sqrt(12 * len(values)), name


@pytest.mark.parametrize("rates", [*faces.RATES.values(), *faces.HAIR_RATES.values()])
def test_rates_sum_to_one(rates):
    assert sum(rates.values()) == pytest.approx(1)
    assert faces._pick(rates, 1 - 2**-53) in rates


@pytest.mark.parametrize("name", ["glasses", "beard"])
def test_a_part_changes_only_the_pixels_it_touches(name):
    for seed in range(20):
        touched = share_of(name, seed, **{name: True}) > 0
        first, second = faces.draw(seed, **{name: True}), faces.draw(seed, **{name: False})
        assert (first.labels == second.labels)[~touched].all()
        assert (first.image == second.image)[~touched].all()
        assert (first.labels != second.labels).sum() >= 60


@pytest.mark.parametrize(
    "name, value, changes",
    [("eye_colour", "green", ["eyes"]), ("hair_colour", "red", ["hair", "brows", "beard"]),
     ("skin", 0.5, ["skin", "mouth"]), ("clothes_hue", 0.5, ["clothes"]), ("background_hue", 0.5, ["background"]),
     ("background_tone", 0.5, ["background"]), ("glasses_style", "round", ["glasses"]),
     ("beard_style", "goatee", ["beard"]), ("parting", "fringe", ["hair"]), ("hair_style", "bob", ["hair", "skin"]),
     ("smile", 0.6, ["mouth", "eyes", "skin"])],
)  # fmt: skip
def test_a_look_changes_only_its_part(name, value, changes):
    changed = 0
    for seed in range(10):
        first, second = faces.draw(seed), faces.draw(seed, **{name: value})
        both = sum(share_of(part, seed) + share_of(part, seed, **{name: value}) for part in changes)
        assert (first.image == second.image)[both == 0].all()
        assert (first.labels == second.labels)[both == 0].all()
        changed += (first.image != second.image).any()
    assert changed > 0


def test_light_changes_colours_only_and_comes_from_its_side():
    for seed in range(10):
        left, right = (faces.draw(seed, light=x, yaw=0) for x in (-1, 1))
        assert (left.labels == right.labels).all()
        gain = (right.image.astype(int) - left.image).sum(axis=2) * (
            right.masks["skin"] | right.masks["hair"]
        )
        assert gain[:, :26].sum() < 0 < gain[:, 38:].sum()


def test_woman_and_man_share_all_that_is_not_a_convention():
    """The glasses stay where they are; lips and brows tell the two apart."""
    for seed in range(12):
        woman, man = (faces.draw(seed, presentation=kind, beard=False) for kind in ("woman", "man"))
        assert woman.factors | {"presentation": "man"} == man.factors
        hers, his = (
            share_of("glasses", seed, presentation=kind, glasses=True) for kind in ("woman", "man")
        )
        assert np.abs(hers - his).max() < 0.01
        hers, his = (
            share_of("brows", seed, presentation=kind, glasses=False) for kind in ("woman", "man")
        )
        assert hers.sum() < 0.8 * his.sum()
        redness = [
            (face.image[face.masks["mouth"]] @ [1, -0.5, -0.5]).mean() for face in (woman, man)
        ]
        assert redness[0] > redness[1] + 10


def test_a_woman_has_a_beard_only_where_it_is_asked_for():
    bearded = next(seed for seed in range(100) if faces.sample(seed)["beard"])
    assert not faces.draw(bearded, presentation="woman").factors["beard"]
    asked = faces.draw(bearded, presentation="woman", beard=True)
    assert asked.factors["beard"] and asked.masks["beard"].any()


def test_turning_the_other_way_is_the_mirror_image():
    """But for how polygons are filled at their edges. What has sides of its own, light and parting, is swapped."""
    for seed in range(40):
        face = faces.draw(seed)
        other = {"yaw": -face.factors["yaw"], "light": -face.factors["light"]}
        mirrored = faces.draw(seed, parting=MIRRORED[face.factors["parting"]], **other)
        assert (face.labels != mirrored.labels[:, ::-1]).mean() < 0.01
        assert np.abs(face.image.astype(int) - mirrored.image[:, ::-1]).mean() < 1


def across(share):
    """Where the part's middle is, in pixels from the left."""
    return np.average(np.arange(64) + 0.5, weights=share.sum(axis=0))


def test_turning_moves_near_parts_more_than_far_ones_and_steadily():
    for seed in range(6):
        plain = {"glasses": False, "beard": False, "hair_style": "crop", "parting": "left"}
        at = {name: [across(share_of(name, seed, yaw=yaw, **plain)) for yaw in range(-45, 46, 15)]
              for name in ("mouth", "eyes", "skin", "hair")}  # fmt: skip
        for name in ("mouth", "eyes"):
            assert (np.diff(at[name]) > 1).all(), name
        moved = {name: middle[-1] - middle[0] for name, middle in at.items()}
        assert moved["mouth"] > 15 and moved["eyes"] > 10
        assert moved["skin"] < 0.5 * moved["eyes"] and moved["hair"] < 0


def test_the_far_side_narrows():
    """The head's outline is a pixel or two from the far eye, and the far eye is the narrower one."""
    for seed in range(6):
        face = faces.draw(seed, yaw=40, glasses=False, hair_style="short")
        columns = np.flatnonzero(face.masks["eyes"].any(axis=0))
        split = np.argmax(np.diff(columns)) + 1
        near, far = columns[:split], columns[split:]
        assert np.ptp(far) + 2 <= np.ptp(near)
        edge = np.flatnonzero(face.masks["skin"][34])
        assert edge[-1] - far[-1] <= 2 and near[0] - edge[0] >= 6


@pytest.mark.parametrize("presentation", ["woman", "man"])
def test_a_smile_widens_lifts_and_opens_the_mouth_steadily(presentation):
    steps = np.linspace(0, 1, 11)
    for seed in range(6):
        fixed = {"presentation": presentation, "yaw": 0, "beard": False}
        shares = [share_of("mouth", seed, smile=s, **fixed) for s in steps]
        assert (np.diff([share.sum() for share in shares]) > 0).all(), "it grows"
        ends = [np.ptp(np.flatnonzero(share.any(axis=0))) for share in shares]
        assert (np.diff(ends) >= 0).all() and ends[-1] >= ends[0] + 4, "it widens"
        height = [lift(share) for share in shares]
        assert (np.diff(height) > -0.15).all() and height[-1] > height[0] + 1.5, "its corners rise"
        unlit = [faces.draw(seed, paint={"background": MAGENTA}, smile=s, **fixed) for s in steps]
        teeth = [(f.image[f.masks["mouth"]].min(axis=1) > 200).sum() for f in unlit]
        assert (np.diff(teeth) >= 0).all() and teeth[2] == 0 and teeth[-1] >= 12, (
            "teeth show at the top end"
        )


def lift(share):
    """How far the corners of the mouth are above its middle, in pixels."""
    y = np.arange(64)[:, None]
    columns = np.flatnonzero(share.any(axis=0))
    ends, middle = np.r_[columns[:3], columns[-3:]], slice(30, 34)
    height = lambda part: (part * y).sum() / part.sum()  # noqa: E731
    return height(share[:, middle]) - height(share[:, ends])


def test_a_factor_set_to_its_own_value_changes_nothing():
    factors = faces.sample(11)
    assert tuple(factors) == faces.FACTORS
    assert (faces.draw(11, **factors).image == faces.draw(11).image).all()


def test_the_turn_is_a_cosine_and_a_sine():
    for degrees in np.linspace(-45, 45, 31):
        cos, sin = faces._turn(degrees)
        assert (
            abs(cos - np.cos(np.radians(degrees))) < 1e-8
            and abs(sin - np.sin(np.radians(degrees))) < 1e-8
        )


def test_a_curve_goes_through_its_points():
    points = [(0, 0), (4, 1), (6, 5), (1, 7)]
    assert (faces._curve(points)[::4] == points).all() and (
        faces._curve(points, closed=False)[::4] == points
    ).all()


def test_factors_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="factor 'beards' does not exist"):
        faces.draw(0, beards=True)
    with pytest.raises(ValueError, match="yaw cannot be 60; it can be: -45.0 to 45.0"):
        faces.draw(0, yaw=60)
    with pytest.raises(
        ValueError,
        match="hair_style cannot be 'mohawk'; it can be: crop, short, curly, bob, long, bun",
    ):
        faces.draw(0, hair_style="mohawk")
    with pytest.raises(ValueError, match="glasses cannot be 'yes'; it can be: True, False"):
        faces.draw(0, glasses="yes")
    with pytest.raises(ValueError, match="whole number"):
        faces.draw(-1)
    with pytest.raises(ValueError, match="ask for at least one face"):
        faces.dataset(0)
