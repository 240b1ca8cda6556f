"""Intervals and shares: against SciPy and by hand."""

import numpy as np
import pytest
import torch
from measure_helpers import normal, random
from scipy import stats

from dcgan_book import measure
from dcgan_book.measure.reading import MeasureError
from dcgan_book.worlds import rooms


@pytest.mark.parametrize(
    "k, n", [(0, 1), (1, 1), (0, 5000), (3, 40), (95, 100), (4999, 5000), (2500, 5000)]
)
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_wilson_is_scipys(k, n, level):
    ours, scipys = (
        measure.wilson(k, n, level),
        stats.binomtest(k, n).proportion_ci(level, method="wilson"),
    )
    assert ours == pytest.approx((k / n, scipys.low, scipys.high), abs=1e-12)


@pytest.mark.parametrize("k, n", [(-1, 5), (6, 5), (1, 0), (0, -1), (float("nan"), 3)])
def test_wilson_refuses_what_is_no_share(k, n):
    with pytest.raises(ValueError, match="a share needs 0 <= k <= n"):
        measure.wilson(k, n)


@pytest.mark.parametrize("none", [0, 0.0])
def test_where_nothing_was_found_that_is_said(none):
    nobody = {"window": torch.zeros(0, dtype=torch.bool)}
    for count in (lambda: measure.wilson(none, none), lambda: measure.rates(nobody)):
        with pytest.raises(MeasureError, match="0 of 0|0.0 of 0.0") as refusal:
            count()
        assert "nothing was found" in str(refusal.value) and "\n" not in str(refusal.value)


def test_an_interval_holds_its_value():
    estimates = [measure.wilson(k, n) for n in range(1, 400) for k in (0, n)]
    estimates += [
        measure.bootstrap(torch.full((n,), value))
        for n in (3, 7, 20)
        for value in (0.1, 1 / 3, 2.7)
    ]
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
    scipys = stats.bootstrap(
        (values.numpy(),), np.mean, n_resamples=4000, method="percentile", rng=0
    )
    width = ours.high - ours.low
    assert ours.low == pytest.approx(scipys.confidence_interval.low, abs=0.06 * width)
    assert ours.high == pytest.approx(scipys.confidence_interval.high, abs=0.06 * width)
    assert ours == measure.bootstrap(values, resamples=4000)
    assert measure.bootstrap(torch.full((9,), 2.0)) == (2, 2, 2)
    with pytest.raises(MeasureError, match="no values"):
        measure.bootstrap([])


def test_an_interval_over_three_trainings_covers_their_mean_as_often_as_it_says():
    """They differ by far more than their draws: an interval over draws alone would hardly ever hold the mean."""
    inside = alone = 0
    for i in range(400):
        means = normal(3, seed=i)
        trainings = [mean + 0.1 * normal(50, seed=1000 + 3 * i + k) for k, mean in enumerate(means)]
        found = measure.over_trainings(trainings)
        assert found.value == pytest.approx(torch.stack(trainings).mean().item(), abs=1e-6)
        inside += found.low < 0 < found.high
        together = measure.bootstrap(torch.cat(trainings), resamples=50)
        alone += together.low < 0 < together.high
    assert 368 <= inside <= 392 and alone < 150
    one = normal(200)
    assert measure.over_trainings([one]) == measure.bootstrap(one)


@pytest.mark.parametrize("given", [[], [[]], [[1.0], []]])
def test_trainings_without_values_are_refused(given):
    with pytest.raises(MeasureError, match="values of trainings"):
        measure.over_trainings(given)


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
    assert (
        (measure.co_occurrence(there) - world).abs() <= 4 * (world * (1 - world) / n).sqrt() + 1e-12
    ).all()
