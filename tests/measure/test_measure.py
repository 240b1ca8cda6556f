"""The instruments: statistics against SciPy and by hand, the shipped network on rooms it never saw, and the tests
for copies and for variety against copiers and repeats made for them."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from scipy import linalg, stats

from dcgan_book import arithmetic, measure
from dcgan_book.latents import recalibrate, to_batch
from dcgan_book.measure import network as segmenter
from dcgan_book.measure.learning import damage, instruments
from dcgan_book.measure.reading import MeasureError
from dcgan_book.models import Generator, initialise
from dcgan_book.teaching import experiments
from dcgan_book.worlds import faces, rooms

FRESH = 5_000_000  # rooms that neither training nor the card's test has seen
BARS = {"bed": 0.99, "window": 0.99, "lamp": 0.97, "tv": 0.97, "door": 0.97}


def random(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=random(seed), dtype=torch.float64)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def instrument():
    return measure.load()


@pytest.fixture(scope="module")
def held_out():
    return rooms.dataset(2000, FRESH, progress=False)


@pytest.fixture(scope="module")
def reading(instrument, held_out):
    return instrument.read(held_out.images)


@pytest.fixture(scope="module")
def truth(held_out):
    return {name: torch.from_numpy(held_out.mask(name).any((1, 2))) for name in rooms.OBJECTS}


# ---------------------------------------------------------------------------------- numbers and intervals


@pytest.mark.parametrize("k, n", [(0, 1), (1, 1), (0, 5000), (3, 40), (95, 100), (4999, 5000), (2500, 5000)])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_wilson_is_scipys(k, n, level):
    ours, scipys = measure.wilson(k, n, level), stats.binomtest(k, n).proportion_ci(level, method="wilson")
    assert ours == pytest.approx((k / n, scipys.low, scipys.high), abs=1e-12)


@pytest.mark.parametrize("k, n", [(-1, 5), (6, 5), (0, 0)])
def test_wilson_refuses_what_is_no_share(k, n):
    with pytest.raises(ValueError, match="a share needs 0 <= k <= n"):
        measure.wilson(k, n)


def test_an_interval_holds_its_value():
    estimates = [measure.wilson(k, n) for n in range(1, 400) for k in (0, n)]
    estimates += [measure.bootstrap(torch.full((n,), value)) for n in (3, 7, 20) for value in (0.1, 1 / 3, 2.7)]
    assert all(low <= value <= high for value, low, high in estimates)


def test_bootstrap_covers_the_mean_as_often_as_it_says():
    """200 sets of 80 numbers from a skewed distribution of mean 1; percentile intervals cover a little less."""
    sets = torch.empty(200, 80).exponential_(generator=random())
    estimates = [measure.bootstrap(values, 0.9, 400, random(i)) for i, values in enumerate(sets)]
    covered = sum(estimate.low <= 1 <= estimate.high for estimate in estimates) / len(estimates)
    assert 0.82 <= covered <= 0.95
    assert estimates[3].value == pytest.approx(sets[3].mean().item())


def test_bootstrap_agrees_with_scipy_and_with_itself():
    values = normal(300) ** 2
    ours = measure.bootstrap(values, resamples=4000)
    scipys = stats.bootstrap((values.numpy(),), np.mean, n_resamples=4000, method="percentile", rng=0)
    width = ours.high - ours.low
    assert ours.low == pytest.approx(scipys.confidence_interval.low, abs=0.06 * width)
    assert ours.high == pytest.approx(scipys.confidence_interval.high, abs=0.06 * width)
    assert ours == measure.bootstrap(values, resamples=4000)
    assert measure.bootstrap(torch.full((9,), 2.0)) == (2, 2, 2)
    with pytest.raises(MeasureError, match="no values"):
        measure.bootstrap([])


def test_a_paired_difference_is_sharper_than_two_means():
    before = 5 * normal(400)
    after = before + 0.5 + 0.1 * normal(400, seed=1)
    pairs = measure.paired(before, after)
    assert pairs.low < 0.5 < pairs.high and pairs.high - pairs.low < 0.03
    assert pairs.value == pytest.approx((after.mean() - before.mean()).item())
    assert measure.paired(torch.tensor([True, True]), torch.tensor([False, True])).value == -0.5
    with pytest.raises(ValueError, match="400 and 399 values"):
        measure.paired(before, after[1:])


def test_a_correlation_is_scipys():
    first = normal(60)
    for second in (first + normal(60, seed=1), -first, normal(60, seed=2)):
        ours, scipys = measure.correlation(first, second, 0.9), stats.pearsonr(first, second)
        interval = scipys.confidence_interval(0.9)
        assert ours == pytest.approx((scipys.statistic, interval.low, interval.high), abs=1e-9)
    assert measure.correlation(first, torch.ones(60)).value == 0
    with pytest.raises(ValueError, match="3 pairs"):
        measure.correlation(first[:3], first[:3])


def test_rates_and_co_occurrence_by_hand():
    there = {"bed": torch.tensor([1, 1, 1, 1]).bool(), "tv": torch.tensor([0, 1, 0, 1]).bool(),
             "door": torch.tensor([0, 1, 0, 0]).bool()}  # fmt: skip
    found = measure.rates(there)
    assert list(found) == ["bed", "tv", "door"] and found["tv"] == measure.wilson(2, 4)
    expected = torch.tensor([[4, 2, 1], [2, 2, 1], [1, 1, 1]]) / 4
    assert torch.equal(measure.co_occurrence(there), expected.double())


def test_the_worlds_co_occurrence_is_that_of_its_rooms():
    n = 3000
    factors = [rooms.sample(i) | {"bed": True} for i in range(n)]
    there = {name: torch.tensor([f[name] for f in factors]) for name in rooms.OBJECTS}
    world = measure.world_co_occurrence()
    assert ((measure.co_occurrence(there) - world).abs() <= 4 * (world * (1 - world) / n).sqrt() + 1e-12).all()


# ---------------------------------------------------------------------------------------- sets of features


def with_moments(mean, cov, n=400, seed=0):
    """Features of exactly this mean and covariance."""
    mean, cov = torch.as_tensor(mean, dtype=torch.float64), torch.as_tensor(cov, dtype=torch.float64)
    points = normal(n, len(mean), seed=seed)
    points = points - points.mean(0)
    points = points @ torch.linalg.inv(torch.linalg.cholesky(points.T.cov())).T
    return points @ torch.linalg.cholesky(cov).T + mean


def test_frechet_of_normal_distributions_by_hand():
    """In one dimension it is (mean difference)^2 + (deviation difference)^2, and axes add up."""
    first = with_moments([0, 1, 2], torch.diag(torch.tensor([1, 4, 9.0])))
    second = with_moments([3, 1, 0], torch.diag(torch.tensor([4, 4, 1.0])), n=300, seed=1)
    assert measure.frechet(first, second) == pytest.approx((9 + 1) + 0 + (4 + 4))


def test_frechet_is_what_scipys_matrix_root_gives():
    a, b = normal(500, 12) @ normal(12, 12, seed=1), normal(700, 12, seed=2) @ normal(12, 12, seed=3) + 0.3
    cov_a, cov_b = np.cov(a.numpy().T), np.cov(b.numpy().T)
    root = linalg.sqrtm(cov_a @ cov_b).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum().item() + np.trace(cov_a + cov_b - 2 * root)
    assert measure.frechet(a, b) == pytest.approx(expected, rel=1e-6)
    assert measure.frechet(b, a) == pytest.approx(expected, rel=1e-6)


def test_frechet_survives_features_that_do_not_vary():
    flat = normal(20, 50)  # fewer images than features: most eigenvalues are 0
    flat[:, 7] = 1.0
    assert measure.frechet(flat, flat) == pytest.approx(0, abs=1e-9)
    moved = flat.clone()
    moved[:, 7] = 3.0
    assert measure.frechet(flat, moved) == pytest.approx(4)
    assert math.isfinite(measure.frechet(flat, torch.zeros(30, 50)))


def test_frechets_interval_has_the_spread_of_new_samples():
    sets = [(normal(300, 4, seed=i), 0.5 + normal(300, 4, seed=1000 + i)) for i in range(200)]
    values = [measure.frechet(*pair) for pair in sets]
    estimates = [measure.frechet_interval(*pair, generator=random(i)) for i, pair in enumerate(sets[:8])]
    assert [estimate.value for estimate in estimates] == pytest.approx(values[:8])
    stated = np.mean([estimate.high - estimate.value for estimate in estimates]) / 1.96
    assert stated == pytest.approx(np.std(values), rel=0.25)


def test_diversity_by_brute_force_and_with_repeats():
    points = normal(1500, 6).float()
    points[1200:1230] = points[0] + 0.001 * normal(30, 6, seed=1).float()  # 31 of a kind: 465 pairs
    found = measure.diversity(points, 0.05)
    distances = F.pdist(points) / math.sqrt(6)
    assert found.distance.value == pytest.approx(distances.mean().item(), rel=1e-4)
    assert found.near_identical.value == pytest.approx((distances < 0.05).float().mean().item(), rel=1e-3)
    assert found.near_identical.value > 465 / len(distances) * 0.999
    assert found.near_identical.low < found.near_identical.value < found.near_identical.high
    all_new = measure.diversity(normal(500, 6, seed=2).float(), 1e-6).near_identical
    assert all_new.value == 0 and all_new.high < 1e-4
    with pytest.raises(ValueError, match="at least three"):
        measure.diversity(points[:2], 0.1)


def test_the_interval_of_a_mean_distance_has_the_spread_of_new_samples():
    means = [measure.diversity(normal(60, 3, seed=i).float(), 0).distance for i in range(80)]
    stated = np.mean([mean.high - mean.low for mean in means]) / (2 * 1.96)
    assert stated == pytest.approx(np.std([mean.value for mean in means]), rel=0.3)


def test_near_identical_means_one_pair_of_rooms_in_ten_thousand(instrument, reading):
    share = measure.diversity(reading.features, instrument.card["near_identical"]).near_identical
    assert share.low < 2e-4 and share.high > 5e-5 and share.value < 4e-4


def test_near_identical_catches_repeats_of_a_room(instrument, held_out):
    """One room drawn again and again with a little noise: nearly all pairs are near-identical."""
    again = to_batch(held_out.images[:1]) + 0.01 * torch.randn(60, 3, 64, 64, generator=random())
    found = measure.diversity(instrument.features(again), instrument.card["near_identical"])
    assert found.near_identical.value > 0.99


# -------------------------------------------------------------------------- neighbours and memorisation


@pytest.mark.parametrize("by", ["features", "pixels"])
def test_nearest_is_what_brute_force_finds(instrument, held_out, by):
    queries, references = held_out.images[:10], held_out.images[10:210]
    points = {"pixels": lambda x: to_batch(x).flatten(1), "features": instrument.features}[by]
    a, b = points(queries).double(), points(references).double()
    distances = (a[:, None] - b).square().mean(2).sqrt()
    found = measure.nearest(to_batch(queries), references, by, instrument)  # floats and bytes alike
    assert torch.equal(found.index, distances.argmin(1))
    torch.testing.assert_close(found.distance.double(), distances.min(1).values, rtol=1e-3, atol=1e-4)


def test_blocks_do_not_change_the_nearest():
    queries, references = normal(30, 5).float(), normal(203, 5, seed=1).float()
    references[150] = references[20]  # of equals the first
    whole, parts = (measure._closest(queries, size, lambda x: x, references) for size in (1000, 50))
    assert torch.equal(whole.index, parts.index)
    torch.testing.assert_close(whole.distance, parts.distance)


def test_nearest_goes_by_features_or_pixels_only(held_out):
    with pytest.raises(ValueError, match="'features' or 'pixels'"):
        measure.nearest(held_out.images[:1], held_out.images[:2], "colours")


def blurred(images, sigma):
    return damage._blur(images, torch.full((len(images),), sigma))


def noisy(images, sigma):
    return images + sigma * torch.randn(images.shape, generator=random())


@pytest.fixture(scope="module")
def split(held_out):
    """200 rooms that a generator was trained on, 600 that it was not, and 300 to be its samples."""
    return held_out.images[:200], held_out.images[200:800], to_batch(held_out.images[800:1100])


@pytest.mark.parametrize("by", ["features", "pixels"])
def test_a_copier_is_caught_and_new_rooms_pass(instrument, split, by):
    training, others, new = split
    copier = measure.memorisation(noisy(to_batch(training), 0.03), training, others, by, instrument)
    assert copier.memorised and copier.copies.low > 0.9 and copier.nearer.low > 0.9
    honest = measure.memorisation(new, training, others, by, instrument)
    assert not honest.memorised
    assert honest.copies.low < 0 < honest.copies.high and honest.nearer.low < 0.5 < honest.nearer.high
    assert len(honest.generated) == len(honest.real) == 300


@pytest.mark.parametrize("by", ["features", "pixels"])
def test_blur_neither_hides_a_copier_nor_makes_one(instrument, split, by):
    training, others, new = split
    poor_copier = measure.memorisation(blurred(to_batch(training), 1.2), training, others, by, instrument)
    assert poor_copier.memorised
    assert not measure.memorisation(blurred(new, 1.2), training, others, by, instrument).memorised


def test_the_share_of_copies_is_estimated(instrument, split):
    training, others, new = split
    mixture = torch.cat([noisy(to_batch(training[:90]), 0.02), new[:210]])
    found = measure.memorisation(mixture, training, others, instrument=instrument)
    assert found.memorised and found.copies.low < 0.3 < found.copies.high


def test_a_generator_of_one_picture_has_an_interval_to_match(instrument, split):
    """300 samples that all lie nearest to the same room say as much as one sample."""
    training, others, new = split
    one = measure.memorisation(noisy(new[:1].expand(300, -1, -1, -1), 0.01), training, others, instrument=instrument)
    assert one.copies.high - one.copies.low > 0.6


def test_memorisation_needs_all_three_sets(split):
    training, others, new = split
    with pytest.raises(MeasureError, match="generated, training and held-out"):
        measure.memorisation(new, training, others[:0], "pixels")


# -------------------------------------------------------------------------------- the instrument on faces

@pytest.fixture(scope="module")
def portraits():
    return faces.dataset(1000, FRESH, progress=False)


@pytest.fixture(scope="module")
def face_instrument():
    return measure.load("faces")


@pytest.fixture(scope="module")
def face_reading(face_instrument, portraits):
    return face_instrument.read(portraits.images)


def test_bars_on_faces_it_never_saw(face_reading, portraits):
    truth, seen = portraits.factors, face_reading
    for name in ("glasses", "beard"):
        assert (seen.presence[name].numpy() == truth[name]).mean() >= 0.98, name
    for name, bar in (("presentation", 0.98), ("hair_colour", 0.97), ("hair_style", 0.95)):
        assert (seen.factors[name] == truth[name]).mean() >= bar, name
    assert np.abs(seen.factors["yaw"].numpy() - truth["yaw"]).mean() <= 3
    assert np.corrcoef(seen.factors["smile"].numpy(), truth["smile"])[0, 1] >= 0.97
    assert seen.presence["face"].double().mean() >= 0.98
    for name in ("hair", "glasses", "beard"):
        there = torch.from_numpy(portraits.mask(name).any((1, 2)))
        index, labels = faces.LABELS.index(name), torch.from_numpy(portraits.labels.copy())
        assert instruments.intersection_over_union(seen.labels, labels, index)[there].mean() >= 0.6, name


def test_what_is_no_face_is_none(face_instrument, portraits):
    images = to_batch(portraits.images[:600]).contiguous()
    nothing = {
        "scrambled": damage._scramble(images[:200].clone(), random()),
        "pixels of nine": arithmetic.pixels(*images[:540].view(3, 60, 3, 3, 64, 64)),
        "three laid over each other": images.view(200, 3, 3, 64, 64).mean(1),
        "without a mouth": torch.lerp(
            images[:200], damage._skin_around(images[:200], torch.from_numpy(portraits.labels[:200]).long()),
            damage._edge(torch.from_numpy(portraits.mask("mouth")[:200]))[:, None]),
    }  # fmt: skip
    shares = {name: face_instrument.presence(some)["face"].double().mean().item() for name, some in nothing.items()}
    assert shares["scrambled"] <= 0.03 and max(shares.values()) <= 0.25, shares
    assert face_instrument.presence(blurred(images[:200], 0.8))["face"].double().mean() >= 0.95


def test_the_face_card_says_what_was_measured(face_instrument):
    folder, card = measure.FOLDERS["faces"], face_instrument.card
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2_000_000
    assert card["command"] == "python -m dcgan_book.measure.learning --world faces"
    assert card["data"] == {"name": "faces", "version": faces.VERSION, "images": 20_000, "first_seed": 2_000_000}
    scores = card["scores"]["faces"]
    assert min(scores["presence"][name]["accuracy"]["value"] for name in ("glasses", "beard")) >= 0.98
    assert scores["right"]["presentation"]["value"] >= 0.98 and 90 * scores["error"]["yaw"]["value"] <= 3
    assert scores["correlation"]["smile"]["value"] >= 0.97
    assert "passed_over" in card["scores"]["damaged faces"]["presence"]["face"]


def pairs(n=24):
    return instruments._face_pairs(n, FRESH + 20_000)


def test_a_pair_differs_in_glasses_and_beard_alone():
    known = pairs()
    for i in range(len(known)):
        own, other = known.labels[i], known.others.labels[i]
        named = [faces.LABELS.index(name) for name in ("glasses", "beard")]
        for name, label in zip(("glasses", "beard"), named):
            assert (label in own) == known.factors[name][i]
            expected = not known.factors[name][i] and (name == "glasses" or known.factors["presentation"][i] == "man")
            assert (label in other) == expected
        changed = (known.images[i] != known.others.images[i]).any(2)
        near = F.max_pool2d(torch.from_numpy(np.isin(own, named) | np.isin(other, named)).float()[None], 3, 1, 1)[0]
        assert near.numpy()[changed].mean() > 0.9  # a thin frame covers less than half of some pixels


def test_damaged_faces_say_what_is_still_there():
    known, everything = pairs(48), slice(0, 48)
    same = instruments._spoil_faces(known, everything, random(), 1.0)
    assert torch.equal(same.images, to_batch(known.images)) and same.known.all() and (same.presence[:, -1] == 1).all()
    assert torch.equal(same.presence[:, 5] == 1, torch.from_numpy(known.factors["glasses"]))
    parts = []
    for i in range(10):
        seen = instruments._spoil_faces(known, everything, random(i), 0.0)
        again = instruments._spoil_faces(known, everything, random(i), 0.0)
        assert torch.equal(seen.images, again.images) and seen.images.abs().max() <= 1
        visible = measure.count_pixels(seen.labels, faces)
        assert (visible[seen.presence[:, :-1] == 1] >= measure.VISIBLE).all()
        assert not (seen.known & (seen.presence[:, -1] == 0)).any()  # what is no face has no factors
        parts.append(seen.presence)
    face = torch.cat(parts)[:, -1]
    assert 0.15 < (face == 0).double().mean() < 0.5 and 0.4 < (face == 1).double().mean() < 0.8 and face.isnan().any()
    glasses = torch.cat(parts)[:, 5].view(10, 48)
    had = torch.from_numpy(known.factors["glasses"]).expand(10, 48)
    assert (glasses[had] == 0).any() and (glasses[~had] == 1).any()  # they fade, out and in


def test_the_whole_is_learned_apart(tmp_path, same_precision):
    trained = instruments.train(tmp_path, "faces", count=24, steps=2, batch=8, validation=12, test=12, calibration=20,
                                device="cpu", progress=False)  # fmt: skip
    loaded = measure.load(tmp_path)
    assert loaded.schema is segmenter.FACES and loaded.card == trained.card
    assert loaded.card["command"] == "python -m dcgan_book.measure.learning --world faces --faces 24 --steps 2 --batch 8"
    read = loaded.read(pairs(5).images)
    assert set(read.presence) == {*faces.OBJECTS, "face"} and read.labels.max() < len(faces.LABELS)
    assert set(segmenter.FACES.scalars + segmenter.FACES.hues) < set(read.factors) and "night" not in read.factors
    assert read.mask("hair").shape == (5, 64, 64)


def test_a_smile_counts_as_often_as_its_weight():
    known, everything = pairs(8), slice(0, 8)
    seen, schema = instruments._spoil_faces(known, everything, random(), 1.0), segmenter.FACES
    targets, costs = instruments._targets(known, schema), {}
    for name in schema.scalars:
        outputs = torch.zeros(8, sum(schema.heads.values()))
        heads = schema.split(outputs)
        heads["scalars"].copy_(targets["scalars"])
        heads["hues"].copy_(targets["hues"])
        heads["scalars"][:, schema.scalars.index(name)] += 0.3
        logits = torch.zeros(8, len(faces.LABELS), 64, 64)
        costs[name] = instruments._losses(logits, outputs, seen, targets, schema)["factors"].item()
    assert costs["yaw"] > 0 and costs["smile"] == pytest.approx(schema.weights["smile"] * costs["yaw"])
    assert costs["jaw"] == pytest.approx(costs["yaw"])


# -------------------------------------------------------------------------------- the instrument on rooms


def accuracy(presence, truth):
    return {name: (presence[name] == truth[name]).float().mean().item() for name in rooms.OBJECTS}


def overlap(labels, held_out, name):
    index, there = rooms.LABELS.index(name), torch.from_numpy(held_out.mask(name).any((1, 2)))
    each = instruments.intersection_over_union(labels, torch.from_numpy(held_out.labels[: len(labels)].copy()), index)
    return each[there[: len(labels)]].mean().item()


def test_bars_on_rooms_it_never_saw(reading, truth, held_out):
    right = accuracy(reading.presence, truth)
    for name, bar in BARS.items():
        assert right[name] >= bar, name
    for name in ("bed", "window"):
        assert overlap(reading.labels, held_out, name) >= 0.85, name


@pytest.mark.parametrize("spoil, sigma", [(blurred, 0.8), (noisy, 0.05)])
def test_blur_and_noise_cost_little(instrument, held_out, truth, spoil, sigma):
    images = spoil(to_batch(held_out.images[:500]), sigma).clamp(-1, 1)
    seen = instrument.read(images)
    right = accuracy(seen.presence, {name: there[:500] for name, there in truth.items()})
    for name, bar in BARS.items():
        assert right[name] >= bar - 0.02, name
    for name in ("bed", "window"):
        assert overlap(seen.labels, held_out, name) >= 0.8, name


def test_what_is_no_room_has_no_bed(instrument, held_out):
    """In every drawn room there is a bed, so that saying so always would cost nothing above."""
    shuffled = damage._scramble(to_batch(held_out.images[:200]).contiguous(), random())
    blank = recalibrate(initialise(Generator(16), random()), count=256)
    for images in (shuffled, measure.sample(blank, 200)):
        assert instrument.presence(images)["bed"].float().mean() <= 0.03


def test_an_object_that_was_painted_over_is_not_there(instrument, held_out, reading):
    """Windows filled with the colour of the wall about them; a curtain left hanging would be a hint of one."""
    rows = (held_out.factors["window"] & ~held_out.factors["curtain"]).nonzero()[0][:200]
    images, labels = to_batch(held_out.images[rows]), torch.from_numpy(held_out.labels[rows]).long()
    mask = F.max_pool2d((labels == rooms.LABELS.index("window")).float()[:, None], 3, 1, 1)
    images = torch.lerp(images, damage._surroundings(images, labels)[0], mask)
    assert instrument.presence(images)["window"].float().mean() <= 0.1
    assert reading.presence["window"][rows].float().mean() >= 0.99


def test_factors_are_close(reading, held_out):
    for name in segmenter.ROOMS.scalars:
        low, high = rooms.RANGES[name]
        errors = (reading.factors[name] - torch.from_numpy(held_out.factors[name])).abs() / (high - low)
        assert errors.mean() < 0.1, name
    assert (reading.factors["night"].numpy() == (held_out.factors["daylight"] < 0.33)).mean() > 0.98
    for name in rooms.HUNG:
        there = held_out.factors[name]
        assert (reading.factors[f"{name}_place"] == held_out.factors[f"{name}_place"])[there].mean() > 0.95, name


def test_damage_is_seen(instrument, held_out):
    images = to_batch(held_out.images[:200])
    clean = instrument.factors(images)
    for name, spoiled in (("blur", blurred(images, 1.0)), ("noise", noisy(images, 0.05))):
        assert (instrument.factors(spoiled)[name] > clean[name]).float().mean() > 0.95, name


def test_frechet_grows_with_damage(instrument, held_out, reading):
    images, features = to_batch(held_out.images[:300]), reading.features[:300]
    steps = [measure.frechet(instrument.features(blurred(images, sigma)), features) for sigma in (0.4, 0.8, 1.2)]
    assert 0 < 2 * steps[0] < steps[1] < steps[2] / 1.5
    floor = measure.frechet(reading.features[:1000], reading.features[1000:])
    shuffled = damage._scramble(images.contiguous(), random())
    assert floor < measure.frechet(instrument.features(shuffled), features) / 10


def test_readings_do_not_depend_on_company_or_form(instrument, held_out, monkeypatch):
    few = held_out.images[:7]
    whole = instrument.read(few)
    monkeypatch.setattr(measure, "BATCH", 3)
    before = torch.get_rng_state()
    parts = instrument.read(to_batch(few))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(whole.labels, parts.labels) and len(whole) == 7
    torch.testing.assert_close(whole.features, parts.features, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(whole.presence[name], parts.presence[name]) for name in rooms.OBJECTS)
    assert instrument.presence(few).keys() == whole.presence.keys() == set(rooms.OBJECTS)
    torch.testing.assert_close(instrument.features(few), parts.features, rtol=1e-4, atol=1e-4)
    assert torch.equal(whole.mask("bed"), whole.labels == rooms.LABELS.index("bed"))
    with pytest.raises(MeasureError, match="no images"):
        instrument.presence(few[:0])


def test_the_shipped_card_says_what_was_measured(instrument):
    folder = measure.FOLDER
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2_000_000
    assert {path.name for path in folder.iterdir()} == {"card.json", "instrument.safetensors"}
    card = instrument.card
    assert card["data"]["version"] == rooms.VERSION and card["command"].startswith("python -m dcgan_book.measure.learning")
    first, last = card["data"]["first_seed"], card["data"]["first_seed"] + card["data"]["images"]
    for start, count in card["held_out"].values():
        assert start + count <= first or start >= last
    scores = card["scores"]["rooms"]
    for name, bar in BARS.items():
        assert scores["presence"][name]["accuracy"]["low"] >= bar - 0.01
        assert scores["presence"][name]["accuracy"]["value"] >= bar
    assert min(scores["iou"][name]["low"] for name in ("bed", "window")) >= 0.85


def test_eye_and_instrument_agree_on_generated_rooms(instrument):
    """200 samples of the shipped generator, labelled before the instrument was asked (book/experiments/by_eye.py)."""
    folder = Path(__file__).parents[2] / "book" / "experiments"
    sheet = np.asarray(Image.open(folder / "by-eye.png"))
    tiles = sheet.reshape(10, 64, 20, 64, 3).swapaxes(1, 2).reshape(200, 64, 64, 3)
    seen = instrument.presence(tiles)
    first, second = (experiments.load(folder / f"by-eye{which}.json") for which in ("", "-second"))
    agreement, eyes = {}, {}
    for name in first:
        eye, other = (torch.isin(torch.arange(200), torch.tensor(each[name])) for each in (first, second))
        agreement[name] = (eye == seen[name]).double().mean().item()
        eyes[name] = (eye == other).double().mean().item()
    assert set(agreement) == set(second) == {"window", "lamp", "tv", "door"}
    assert agreement["window"] >= 0.93, agreement
    assert all(agreement[name] >= eyes[name] - 0.08 for name in eyes), (agreement, eyes)  # no surer than eyes are


# ------------------------------------------------------------------------------------- damage and training


def a_batch(n=32):
    drawn = rooms.dataset(n, FRESH + 10_000)
    return to_batch(drawn.images), torch.from_numpy(drawn.labels).long()


def test_damage_follows_from_its_generator_alone():
    images, labels = a_batch()
    kept = images.clone(), labels.clone()
    before = torch.get_rng_state()
    first, second = (damage.damage_rooms(images, labels, random(5), 0.2) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    for name in damage.Damaged.__dataclass_fields__:
        torch.testing.assert_close(getattr(first, name), getattr(second, name), rtol=0, atol=0, equal_nan=True)
    assert torch.equal(images, kept[0]) and torch.equal(labels, kept[1])
    assert first.images.abs().max() <= 1 and first.images.shape == images.shape
    assert not torch.equal(first.images, damage.damage_rooms(images, labels, random(6), 0.2).images)


@pytest.mark.parametrize("world, after", [("rooms", (180, 880_810)), ("faces", (188, 686_281))])
def test_damage_draws_what_it_always_drew(world, after):
    """Pinned: were something else drawn at random, the shipped instruments could not be trained again."""
    lesson, generator = instruments.LESSONS[world], random(5)
    seen = lesson.spoil(lesson.draw(40, FRESH + 20_000, progress=False), slice(0, 40), generator, 0.2)
    assert (int((seen.presence == 1).sum()), torch.randint(10**6, (), generator=generator).item()) == after


@pytest.mark.parametrize("n", [1, 32])
def test_untouched_rooms_stay_as_they_are(n):
    images, labels = a_batch(n)
    same = damage.damage_rooms(images, labels, random(), untouched=1.0)
    assert torch.equal(same.images, images) and torch.equal(same.labels, labels)
    there = measure.count_pixels(labels) > 0
    assert torch.equal(same.presence, there.float()) and same.known.all() and (same.amounts == 0).all()


def test_damaged_rooms_say_what_is_still_there():
    images, labels = a_batch()
    changed = 0
    for i in range(20):
        seen = damage.damage_rooms(images, labels, random(i), 0.0)
        visible = measure.count_pixels(seen.labels)
        assert (visible[seen.presence == 1] >= measure.VISIBLE).all()
        whole = measure.count_pixels(labels).roll(1, 0).maximum(measure.count_pixels(labels)).max(0).values
        assert (visible <= (whole / 20).clamp(min=3))[seen.presence == 0].all()
        assert set(seen.labels.unique().tolist()) <= set(range(len(rooms.LABELS))) | {damage.UNKNOWN}
        changed += ((seen.presence == 0) & (measure.count_pixels(labels) > 0))[seen.known].sum().item()
    assert changed > 60  # objects vanish


def small(out, **options):
    return instruments.train(out, count=24, steps=4, batch=8, validation=12, test=12, calibration=20, checkpoint_every=2,
                         device="cpu", progress=False, **options)  # fmt: skip


@pytest.fixture
def same_precision(monkeypatch):
    monkeypatch.setattr(instruments, "_precision", lambda *_: "fp32")


def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path, monkeypatch, same_precision):
    whole = small(tmp_path / "whole")
    calls, damage_rooms = [], damage.damage_rooms

    def stop(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return damage_rooms(*arguments)

    monkeypatch.setattr(damage, "damage_rooms", stop)
    with pytest.raises(KeyboardInterrupt):
        small(tmp_path / "parts")
    monkeypatch.setattr(damage, "damage_rooms", damage_rooms)
    parts = small(tmp_path / "parts", resume=True)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, parts.network.state_dict()[name]), name
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == ["card.json", "instrument.safetensors"]


def test_what_is_trained_is_what_loads(tmp_path, same_precision):
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
        assert all(torch.equal(read.presence[name], read.probability[name] > 0.5) for name in rooms.OBJECTS)
    assert torch.equal(ways["segmenter"], measure.count_pixels(read.labels) >= measure.VISIBLE)
    assert torch.equal(ways["both"], ways["head"] & ways["segmenter"])


def test_faults_are_one_line(tmp_path):
    with pytest.raises(MeasureError, match="python -m dcgan_book.measure.learning makes one"):
        measure.load(tmp_path)
    with pytest.raises(MeasureError, match="leave out --resume"):
        small(tmp_path, resume=True)
    with pytest.raises(SystemExit, match="error: there are no weights called 'nothing'"):
        measure.main(["nothing"])


# -------------------------------------------------------------------------------- scores of a generator


def exported(folder, data="rooms", count=60):
    """A generator that has learned nothing, in a folder as `pretrained.export` writes it."""
    generator = recalibrate(initialise(Generator(4, 8), random()), count=128)
    save_file({name: value.contiguous() for name, value in generator.state_dict().items()
               if not name.endswith("tracked")}, folder / "generator.safetensors")  # fmt: skip
    card = {"name": "made", "data": {"name": data, "images": count}, "prior": "uniform", "steps": 1}
    (folder / "card.json").write_text(json.dumps(card))
    return card


def test_scores_are_written_into_the_card(tmp_path):
    card = exported(tmp_path)
    assert measure.main([str(tmp_path), "--samples", "150", "--held-out", "300"]) is None
    written = json.loads((tmp_path / "card.json").read_text())
    scores = written.pop("scores")
    assert written == card
    assert scores["samples"] == 150 and set(scores["objects"]) == set(rooms.OBJECTS)
    for value in (*scores["objects"].values(), scores["frechet"], scores["diversity"]["near_identical"]):
        assert value["low"] <= value["value"] <= value["high"]
    assert scores["objects"]["window"]["world"] == 0.6 and scores["objects"]["curtain"]["world"] == 0.3
    assert scores["objects"]["bed"]["value"] < 0.1
    assert scores["frechet"]["value"] > 5 * scores["frechet"]["floor"]["value"]
    assert scores["diversity"]["near_identical"]["value"] > 0.5  # an untrained generator shows one grey picture
    assert set(scores["memorisation"]) == {"features", "pixels"}
    assert scores["memorisation"]["features"]["training"] == 60


def test_scores_need_rooms_and_a_card(tmp_path):
    exported(tmp_path, data="celeba")
    with pytest.raises(MeasureError, match="trained on celeba: only rooms and faces"):
        measure.score(str(tmp_path))
    with pytest.raises(ValueError, match="two sets of as many real images"):
        measure.scores(Generator(4, 8), None, n=100, held_out=150)


def test_samples_start_alike_and_follow_from_the_seed():
    generator = recalibrate(initialise(Generator(4, 8), random()), count=128)
    many = measure.sample(generator, 300, seed=3)
    torch.testing.assert_close(measure.sample(generator, 20, seed=3), many[:20])
    assert not torch.allclose(measure.sample(generator, 20, seed=4), many[:20])
