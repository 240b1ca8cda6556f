"""Distances of sets, diversity, and the test for copies: against SciPy, by brute force, and against copiers made for it."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from measure_helpers import blurred, noisy, normal, random
from scipy import linalg
from sklearn.neighbors import NearestNeighbors

from dcgan_book import measure
from dcgan_book.latents import to_batch
from dcgan_book.measure import distances
from dcgan_book.measure.learning import damage
from dcgan_book.measure.reading import MeasureError


def with_moments(mean, cov, n=400, seed=0):
    """Features of exactly this mean and covariance."""
    mean, cov = (
        torch.as_tensor(mean, dtype=torch.float64),
        torch.as_tensor(cov, dtype=torch.float64),
    )
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
    a, b = (
        normal(500, 12) @ normal(12, 12, seed=1),
        normal(700, 12, seed=2) @ normal(12, 12, seed=3) + 0.3,
    )
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
    estimates = [
        measure.frechet_interval(*pair, generator=random(i)) for i, pair in enumerate(sets[:8])
    ]
    assert [estimate.value for estimate in estimates] == pytest.approx(values[:8])
    stated = np.mean([estimate.high - estimate.value for estimate in estimates]) / 1.96
    assert stated == pytest.approx(np.std(values), rel=0.25)


def test_diversity_by_brute_force_and_with_repeats():
    points = normal(1500, 6).float()
    points[1200:1230] = points[0] + 0.001 * normal(30, 6, seed=1).float()  # 31 of a kind: 465 pairs
    found = measure.diversity(points, 0.05)
    apart = F.pdist(points) / math.sqrt(6)
    assert found.distance.value == pytest.approx(apart.mean().item(), rel=1e-4)
    assert found.near_identical.value == pytest.approx(
        (apart < 0.05).float().mean().item(), rel=1e-3
    )
    assert found.near_identical.value > 465 / len(apart) * 0.999
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


def test_frechet_grows_with_damage(instrument, held_out, reading):
    images, features = to_batch(held_out.images[:300]), reading.features[:300]
    steps = [
        measure.frechet(instrument.features(blurred(images, sigma)), features)
        for sigma in (0.4, 0.8, 1.2)
    ]
    assert 0 < 2 * steps[0] < steps[1] < steps[2] / 1.5
    floor = measure.frechet(reading.features[:1000], reading.features[1000:])
    shuffled = damage._scramble(images.contiguous(), random())
    assert floor < measure.frechet(instrument.features(shuffled), features) / 10


def test_the_chessboard_that_was_added_is_measured(held_out):
    """Power is that of the spectrum's last corner; noise has as much of it, and nothing else adds any."""
    real = to_batch(held_out.images[:200])
    found = measure.chessboard(real + 0.1, real)
    assert found.value == pytest.approx(1, abs=1e-3) and found.low < 1 < found.high
    board = 0.05 - 0.1 * ((torch.arange(64)[:, None] + torch.arange(64)) % 2)
    theirs = torch.fft.fft2(real.mean(1))[:, 32, 32].abs().square().mean()
    ours = torch.fft.fft2((real + board).mean(1))[:, 32, 32].abs().square().mean()
    assert measure.chessboard(real + board, real).value == pytest.approx(float(ours / theirs), 1e-3)
    assert measure.chessboard(real + board, real).low > 10


# -------------------------------------------------------------------------- neighbours and memorisation


@pytest.mark.parametrize("by", ["features", "pixels"])
def test_nearest_is_what_brute_force_finds(instrument, held_out, by):
    queries, references = held_out.images[:10], held_out.images[10:210]
    points = {"pixels": lambda x: to_batch(x).flatten(1), "features": instrument.features}[by]
    a, b = points(queries).double(), points(references).double()
    apart = (a[:, None] - b).square().mean(2).sqrt()
    found = measure.nearest(to_batch(queries), references, by, instrument)  # floats and bytes alike
    assert torch.equal(found.index, apart.argmin(1))
    torch.testing.assert_close(found.distance.double(), apart.min(1).values, rtol=1e-3, atol=1e-4)


def test_blocks_do_not_change_the_nearest():
    queries, references = normal(30, 5).float(), normal(203, 5, seed=1).float()
    references[150] = references[20]  # of equals the first
    whole, parts = (
        distances._closest(queries, references, size, lambda x: x) for size in (1000, 50)
    )
    assert torch.equal(whole.index, parts.index)
    torch.testing.assert_close(whole.distance, parts.distance)


def test_images_among_others_are_what_scikit_learn_finds():
    real, queries = normal(400, 5), 1.2 * normal(300, 5, seed=1)
    reach = (
        NearestNeighbors(n_neighbors=4).fit(real).kneighbors(real)[0][:, 3]
    )  # the first is itself
    apart = np.linalg.norm(queries[:, None] - real[None], axis=2)
    expected = (apart <= reach).any(1)
    assert 0.1 < expected.mean() < 0.95
    assert (measure.among(queries, real).numpy() == expected).all()
    assert measure.among(real, real).all() and not measure.among(real + 50, real).any()
    with pytest.raises(MeasureError, match="no neighbour number 3"):
        measure.among(queries, real[:3])


def test_nearest_goes_by_features_or_pixels_only(held_out):
    with pytest.raises(ValueError, match="'features' or 'pixels'"):
        measure.nearest(held_out.images[:1], held_out.images[:2], "colours")


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
    assert (
        honest.copies.low < 0 < honest.copies.high and honest.nearer.low < 0.5 < honest.nearer.high
    )
    assert len(honest.generated) == len(honest.real) == 300


@pytest.mark.parametrize("by", ["features", "pixels"])
def test_blur_neither_hides_a_copier_nor_makes_one(instrument, split, by):
    training, others, new = split
    poor_copier = measure.memorisation(
        blurred(to_batch(training), 1.2), training, others, by, instrument
    )
    assert poor_copier.memorised
    assert not measure.memorisation(blurred(new, 1.2), training, others, by, instrument).memorised


def test_the_share_of_copies_is_estimated(instrument, split):
    training, others, new = split
    mixture = torch.cat([noisy(to_batch(training[:90]), 0.02), new[:210]])
    found = measure.memorisation(mixture, training, others, instrument=instrument)
    assert found.memorised and found.copies.low < 0.3 < found.copies.high


def test_the_power_of_the_test_is_that_of_planted_copies(instrument, split, monkeypatch):
    """Where training images are planted the test finds many, and rooms nobody trained on no oftener than chance."""
    training, others, new = split
    monkeypatch.setattr(distances, "PLANTED", (0.02, 0.3))
    parts = training, others, "features", instrument
    copies = measure.memorisation(new, *parts, planted=training)
    rooms = measure.memorisation(new, *parts, planted=others[300:])
    assert copies.power[0.02] < 0.5 and copies.power[0.3] > 0.95 and rooms.power[0.3] < 0.05
    bare = measure.memorisation(new, *parts)
    assert (bare.copies, bare.nearer, bare.power) == (copies.copies, copies.nearer, {})


def test_a_generator_of_one_picture_has_an_interval_to_match(instrument, split):
    """300 samples that all lie nearest to the same room say as much as one sample."""
    training, others, new = split
    one = measure.memorisation(
        noisy(new[:1].expand(300, -1, -1, -1), 0.01), training, others, instrument=instrument
    )
    assert one.copies.high - one.copies.low > 0.6


def test_memorisation_needs_all_three_sets(split):
    training, others, new = split
    with pytest.raises(MeasureError, match="generated, training and held-out"):
        measure.memorisation(new, training, others[:0], "pixels")


@pytest.mark.parametrize("by", ["pixels", "features"])
@pytest.mark.parametrize("queries, references", [(0, 3), (3, 0), (0, 0)])
def test_nobody_has_a_neighbour_and_nobody_is_one(instrument, queries, references, by):
    images = torch.zeros(3, 3, 64, 64)
    with pytest.raises(
        MeasureError, match=f"{queries} images have no neighbours among {references}"
    ):
        measure.nearest(images[:queries], images[:references], by, instrument)


@pytest.mark.parametrize("counts", [(0, 5), (5, 1), (1, 1)])
def test_a_distance_takes_two_images_of_each_set(counts):
    sets = [torch.zeros(count, 4) for count in counts]
    for distance in (measure.frechet, measure.frechet_interval):
        with pytest.raises(
            MeasureError, match="sets of {} and {} images: .* takes two".format(*counts)
        ):
            distance(*sets)
