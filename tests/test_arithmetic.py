"""Arithmetic with latents: sums by hand, norms, neighbours, and regressions against scikit-learn."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeCV

from dcgan_book import arithmetic, walking
from dcgan_book.arithmetic import (
    combine,
    concept,
    fits,
    neighbours,
    outcome,
    pick,
    pixels,
    random_like,
    regress,
    turn,
    with_norm,
)
from dcgan_book.latents import draw_z
from dcgan_book.measure.reading import Reading

BOOK = Path(__file__).parent.parent / "book"


def random(seed=0):
    return torch.Generator().manual_seed(seed)


def latents(*shape, seed=0, prior="uniform"):
    count = int(np.prod(shape))
    return draw_z(count, prior=prior, generator=random(seed)).view(*shape, 100)


def test_a_sum_by_hand():
    a, b, c = (
        torch.tensor([[3.0, 0], [1, 2]]),
        torch.tensor([[1.0, 1]]),
        torch.tensor([[0.0, 4], [0, 0], [3, 2]]),
    )
    assert combine(a, b, c).tolist() == [2 - 1 + 1, 1 - 1 + 2]
    assert concept(a).tolist() == [2, 1]
    assert turn(a, c).tolist() == [-1, 1]


def test_leading_dimensions_are_sums_of_their_own():
    a, b, c = (latents(5, 3, seed=i) for i in range(3))
    for norm in arithmetic.NORMS:
        together = combine(a, b, c, norm)
        assert together.shape == (5, 100)
        torch.testing.assert_close(
            together, torch.stack([combine(*one, norm) for one in zip(a, b, c, strict=True)])
        )


@pytest.mark.parametrize("prior", ["uniform", "normal"])
def test_lengths_are_what_the_paper_leaves_unsaid(prior):
    """A sum of single exemplars is root three too long, a mean of three root three too short, a sum of such means right."""
    usual = arithmetic.usual_norm(prior)
    ones, threes = ([latents(2000, n, seed=i, prior=prior) for i in range(3)] for n in (1, 3))
    root = 3**0.5
    for z, factor in [
        (combine(*ones), root),
        (combine(*threes), 1),
        (concept(threes[0]), 1 / root),
        (ones[0][:, 0], 1),
    ]:
        assert z.square().sum(1).mean().sqrt().item() == pytest.approx(factor * usual, rel=0.02)


def test_norms_are_handled_as_they_say():
    z = 3 * latents(20)
    assert with_norm(z, "free") is z
    matched = with_norm(z, "matched")
    torch.testing.assert_close(matched.norm(dim=1), torch.full((20,), 10 / 3**0.5))
    torch.testing.assert_close(
        matched / matched.norm(dim=1, keepdim=True), z / z.norm(dim=1, keepdim=True)
    )
    projected = with_norm(z, "projected")
    assert projected.abs().max() == 1 and torch.equal(projected, with_norm(projected, "projected"))
    inside = z.abs() <= 1
    assert torch.equal(projected[inside], z[inside])
    assert torch.equal(with_norm(z, "projected", "normal"), with_norm(z, "matched", "normal"))
    assert with_norm(z, "matched", "normal").norm(dim=1) == pytest.approx(10)


@pytest.mark.parametrize("options, message", [
    ({"how": "half"}, "free, matched, projected"), ({"how": "matched", "prior": "cauchy"}, "uniform, normal"),
])  # fmt: skip
def test_what_does_not_exist_is_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        with_norm(latents(1), **options)


@pytest.mark.parametrize("prior, reach", [("uniform", 0.25), ("normal", 0.25 * 3**0.5)])
def test_neighbours_are_the_papers(prior, reach):
    z = latents(4, prior=prior)
    before = torch.get_rng_state()
    nine = neighbours(z, prior, random(1))
    assert torch.equal(before, torch.get_rng_state())
    assert nine.shape == (4, 9, 100) and torch.equal(nine[:, 4], z)
    away = (nine - z[:, None])[:, [0, 1, 2, 3, 5, 6, 7, 8]]
    assert away.abs().max() <= reach + 1e-6 and away.abs().max() > 0.99 * reach
    assert away.std() == pytest.approx(reach / 3**0.5, rel=0.05) and abs(away.mean()) < 0.01
    assert torch.equal(nine, neighbours(z, prior, random(1)))


def test_pixels_are_added_where_latents_would_be_and_clipped():
    a, b, c = (torch.full((2, 1, 3, 4, 4), value) for value in (0.5, -0.4, 0.3))
    a[1] = -0.9
    assert pixels(a, b, c).shape == (2, 3, 4, 4)
    assert torch.equal(pixels(a, b, c)[0], torch.ones(3, 4, 4))
    torch.testing.assert_close(pixels(a, b, c)[1], torch.full((3, 4, 4), -0.2))


def test_a_random_direction_is_as_long_and_another():
    vector = latents(50)
    other = random_like(vector, random(3))
    torch.testing.assert_close(other.norm(dim=1), vector.norm(dim=1))
    assert torch.nn.functional.cosine_similarity(vector, other).abs().mean() < 0.2


def test_exemplars_by_lot_fit_and_are_never_twice_in_a_set():
    fits = torch.rand(200, generator=random()) < 0.1
    chosen = pick(fits, 5, 300, random(1))
    assert chosen.shape == (300, 5) and fits[chosen].all()
    assert all(len(set(row)) == 5 for row in chosen.tolist())
    assert set(chosen.flatten().tolist()) == set(fits.nonzero().flatten().tolist())
    with pytest.raises(ValueError, match="a concept takes 5"):
        pick(torch.tensor([True, False]), 5, 1)


def reading(**values):
    """A reading of four images with these values."""
    presence = {"face": [True] * 4, "glasses": [False] * 4, "beard": [False] * 4}
    factors = {"presentation": ["man"] * 4, "yaw": [0.0] * 4, "smile": [0.1] * 4}
    for name, value in values.items():
        (presence if name in presence else factors)[name] = value
    return Reading(
        {}, {name: torch.tensor(value) for name, value in presence.items()}, torch.zeros(4, 64, 64), torch.zeros(4, 1),
        {name: np.array(value) if isinstance(value[0], str) else torch.tensor(value) for name, value in factors.items()},
        torch.ones(4),
    )  # fmt: skip


def test_facts_are_looked_up():
    seen = reading(
        smile=[0.1, 0.5, 0.9, 0.8],
        glasses=[True, True, False, True],
        presentation=["man"] * 3 + ["woman"],
    )
    assert fits(seen).all()
    assert fits(seen, smile=(0.5, 1)).tolist() == [False, True, True, True]
    assert fits(seen, smile=(0.5, 1), glasses=True, presentation="man").tolist() == [
        False,
        True,
        False,
        False,
    ]
    assert fits(seen, face=False).tolist() == [False] * 4


@pytest.mark.parametrize("facts, message", [
    ({"smiel": (0, 1)}, "nothing called 'smiel' in an image; there are presentation, yaw, smile, face"),
    ({"presentation": "mann"}, "presentation is 'mann'; it is one of man, woman"),
    ({"glasses": "yes"}, "glasses is 'yes'; it is no choice of words"),
])  # fmt: skip
def test_a_fact_that_there_is_not_is_refused(facts, message):
    with pytest.raises(ValueError, match=message):
        fits(reading(), **facts)
    with pytest.raises(ValueError, match=message):
        outcome(reading(), reading(), facts)
    assert not fits(reading(), presentation="woman").any(), "a choice that nothing here has"


def test_what_is_kept_and_what_makes_an_image_whole_have_names():
    for options in ({"kept": ("hat",)}, {"whole": "hat"}):
        with pytest.raises(ValueError, match="nothing called 'hat'"):
            outcome(reading(), reading(), {"glasses": False}, **options)


def test_a_sum_is_scored_beside_its_c():
    before = reading(yaw=[0.0, 30, 0, 0])
    after = reading(
        smile=[0.9, 0.9, 0.3, 0.9], yaw=[10.0, 10, 0, 0], face=[True, True, True, False]
    )
    found = outcome(after, before, {"smile": (0.5, 1)})
    assert found.arrived.tolist() == [True, True, False, True]
    assert found.stayed.tolist() == [True, False, True, True]  # a turn by 20 degrees
    assert found.whole.tolist() == [True, True, True, False]
    assert found.success.tolist() == [True, False, False, False]
    assert not outcome(reading(glasses=[True] * 4), before, {"smile": (0.5, 1)}).stayed.any()
    assert outcome(reading(glasses=[True] * 4, smile=[0.3] * 4), before, {"glasses": True}).stayed.tolist() == [
        True, False, True, True]  # fmt: skip
    assert not outcome(reading(smile=[0.4] * 4), before, {"glasses": True}).stayed.any()
    seen = outcome(
        reading(presentation=["woman"] * 4),
        before,
        {"glasses": False},
        kept=("beard",),
        whole="glasses",
    )
    assert seen.stayed.all() and not seen.whole.any()


def test_a_regression_finds_what_is_linear():
    z, weights = latents(400), torch.zeros(100)
    weights[[3, 50]] = torch.tensor([2.0, -1])
    values = z @ weights + 7 + 0.1 * torch.randn(400, generator=random(2))
    found = regress(z, values)
    assert found.r2 > 0.98 and found.offset == pytest.approx(7, abs=0.1)
    torch.testing.assert_close(found.weights, weights, atol=0.06, rtol=0)
    theirs = RidgeCV(arithmetic.PENALTIES).fit(z.double().numpy(), values.double().numpy())
    assert found.weights.numpy() == pytest.approx(theirs.coef_, abs=1e-5)
    torch.testing.assert_close(
        found(z).double(), torch.from_numpy(theirs.predict(z.double().numpy())), atol=1e-4, rtol=0
    )
    moved = walking.along(z[0], found.direction, [-2, 0, 3])
    torch.testing.assert_close(
        found(moved) - found(z[0]), torch.tensor([-2.0, 0, 3]), atol=1e-4, rtol=0
    )


def test_noise_is_not_explained():
    assert regress(latents(300), torch.randn(300, generator=random(4))).r2 < 0.05


def test_the_chosen_exemplars_are_enough_and_of_one_concept_each():
    chosen = json.loads((BOOK / "experiments" / "exemplars.json").read_text(encoding="utf-8"))
    assert min(map(len, chosen["concepts"].values())) >= 6
    for seeds in chosen["concepts"].values():
        assert len(set(seeds)) == len(seeds) and max(seeds) < chosen["looked_at"]
    opposites = [("smiling woman", "neutral woman"), ("smiling man", "neutral man"), ("looking left", "looking right"),
                 ("man with glasses", "man without glasses"), ("woman with glasses", "woman without glasses")]  # fmt: skip
    for first, second in opposites:
        assert not set(chosen["concepts"][first]) & set(chosen["concepts"][second])


def test_latents_of_the_tutorials_shape_add_up_to_the_same():
    a, b, c = torch.randn(3, 4, 7, generator=torch.Generator().manual_seed(0))
    wide = [each[..., None, None] for each in (a, b, c)]
    for norm in arithmetic.NORMS:
        expected = arithmetic.combine(a, b, c, norm)
        assert torch.equal(arithmetic.combine(*wide, norm), expected)
    assert torch.equal(arithmetic.with_norm(wide[0], "matched"), arithmetic.with_norm(a, "matched"))
    assert torch.equal(arithmetic.turn(*wide[:2]), arithmetic.turn(a, b))
    for make in (arithmetic.neighbours, arithmetic.random_like):
        given, expected = (
            make(each, generator=torch.Generator().manual_seed(1)) for each in (wide[0], a)
        )
        assert torch.equal(given, expected)
    z = torch.randn(40, 3, generator=torch.Generator().manual_seed(2))
    fitted = arithmetic.regress(z[..., None, None], z[:, 0])
    assert torch.equal(fitted(z[..., None, None]), fitted(z)) and fitted.weights.shape == (3,)
