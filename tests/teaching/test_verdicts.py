"""The rule of verdicts, on hand-made values, and the registry that holds it."""

from pathlib import Path

import pytest

from dcgan_book.measure.intervals import Estimate
from dcgan_book.teaching.verdicts import (
    ANSWER,
    BOUND,
    HOLDS,
    IN_PART,
    NOT_HERE,
    UNTESTED,
    Bound,
    Claim,
    ClaimError,
    Measured,
    Rule,
    registry,
    verdict,
)

BOOK = Path(__file__).parents[2] / "book"
LOW, MIDDLE, HIGH = Estimate(0.1, 0.05, 0.15), Estimate(0.45, 0.4, 0.55), Estimate(0.9, 0.85, 0.95)


def claim(level=("at most", 0.5), readings=("one", "other"), clear="below", floor=None):
    rule = Rule("left", "random", clear, readings, ("latents",), 3, level, floor)
    return Claim("x", "paper", "6", "windows go", "mostly", "04-forgetting", rule)


def both(first, second, control=HIGH, trainings=3, floor=None):
    return [
        Measured(first, control, "one", trainings, floor),
        Measured(second, control, "other", trainings, floor),
    ]


def test_holds_asks_for_every_reading_to_be_clear_and_to_reach_the_level():
    assert verdict(claim(), both(LOW, LOW)).word == HOLDS
    found = verdict(claim(), both(LOW, MIDDLE))  # its interval crosses the level
    assert found.word == IN_PART and "short of the level under other" in found.reason


def test_clear_under_some_reading_is_in_part_and_names_it():
    found = verdict(claim(), both(LOW, HIGH))
    assert found.word == IN_PART and "under one, not under other" in found.reason


@pytest.mark.parametrize("value", [HIGH, Estimate(0.8, 0.74, 0.86), Estimate(0.99, 0.98, 1.0)])
def test_overlapping_intervals_are_never_in_part(value):
    assert verdict(claim(level=None), both(value, value)).word == NOT_HERE


def test_the_side_counts():
    assert (
        verdict(claim(("at least", 0.5), clear="above"), both(HIGH, HIGH, control=LOW)).word
        == HOLDS
    )
    assert (
        verdict(claim(("at least", 0.5), clear="above"), both(LOW, LOW, control=HIGH)).word
        == NOT_HERE
    )


def test_as_good_as_a_floor_is_what_is_not_clear_of_it_on_the_wrong_side():
    asked = claim(("as", "floor"), clear="above", floor="real rooms")
    assert verdict(asked, both(HIGH, HIGH, LOW, floor=Estimate(0.92, 0.9, 0.94))).word == HOLDS
    assert verdict(asked, both(MIDDLE, HIGH, LOW, floor=HIGH)).word == IN_PART
    with pytest.raises(ClaimError, match="floor"):
        verdict(asked, both(HIGH, HIGH, LOW))


def test_one_training_in_the_place_of_three_is_said():
    found = verdict(claim(), both(LOW, LOW, trainings=1))
    assert found.word == HOLDS and "in 1 training;" in found.reason and "asks for 3" in found.reason
    assert "training" not in verdict(claim(), both(LOW, LOW)).reason


@pytest.mark.parametrize(
    "given", [[], both(LOW, LOW)[:1], both(LOW, LOW) + both(LOW, LOW)[:1], Bound(LOW, HIGH, 0.01)]
)
def test_missing_or_other_readings_are_refused(given):
    with pytest.raises(ClaimError, match="the rule asks for one, other"):
        verdict(claim(), given)
    assert verdict(claim()).word == UNTESTED


def test_what_is_not_tested_says_why():
    found = verdict(
        Claim("x", "paper", "7", "c", "w", "01-training", untested="It  would\ntake years.")
    )
    assert (found.word, found.reason) == (UNTESTED, "It would take years.")


def test_absence_is_a_bound_with_its_power_and_a_test_without_power_decides_nothing():
    absent = Claim("x", "paper", "4", "c", "w", "02-walking", bound={"trainings": 3})
    found = verdict(absent, Bound(Estimate(0.001, -0.003, 0.006), HIGH, 0.01, 3))
    assert found.word == BOUND
    assert found.reason == "no more than 0.6% by this test, whose power at 1% is 90%"
    assert (
        verdict(absent, Bound(Estimate(0.1, 0.0, 0.3), Estimate(0.3, 0.2, 0.4), 0.01, 3)).word
        == UNTESTED
    )
    with pytest.raises(ClaimError, match="Bound"):
        verdict(absent, both(LOW, LOW))


def test_the_registry_has_each_row_of_the_claims_once_with_what_decides_it():
    claims = registry(BOOK / "claims.yml")
    assert len(claims) == 45 and all(claim.words and claim.claim for claim in claims.values())
    assert {claim.origin for claim in claims.values()} == {"paper", "article"}
    assert {name for name, found in claims.items() if verdict_of(found) == ANSWER} == {
        "a-gradcam",
        "a-weights",
        "a-200",
        "a-test",
    }
    for found in claims.values():
        if found.rule and found.rule.trainings < 3:
            assert "seed of the training" not in found.rule.resampled, found.id


def verdict_of(found):
    return verdict(found).word if found.question else None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("- {id: a, origin: paper}", "nothing that decides"),
        ("- {id: a, rule: {clear: beside, readings: [], resampled: []}}", "beside"),
        ("- {id: a, rule: {clear: above, readings: [], resampled: [], level: {near: 1}}}", "level"),
        (
            "- {id: a, rule: {clear: above, readings: [], resampled: [], level: {as: floor}}}",
            "level",
        ),
        ("- {id: a, untested: x, rule: {clear: above}}", "rule and untested"),
    ],
)
def test_an_entry_that_is_none_is_named(tmp_path, text, why):
    (tmp_path / "claims.yml").write_text(text, encoding="utf-8")
    with pytest.raises(ClaimError, match=why):
        registry(tmp_path / "claims.yml")


def test_an_id_stands_once(tmp_path):
    entry = "- {id: a, origin: o, where: w, claim: c, words: x, chapter: y, untested: z}\n"
    (tmp_path / "claims.yml").write_text(2 * entry, encoding="utf-8")
    with pytest.raises(ClaimError, match="twice"):
        registry(tmp_path / "claims.yml")
