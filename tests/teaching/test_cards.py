"""Verdict cards: what stands on them, and where their dots are."""

import dataclasses
import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from dcgan_book.measure.intervals import Estimate
from dcgan_book.teaching.cards import card
from dcgan_book.teaching.verdicts import Measured, registry

CLAIMS = registry(Path(__file__).parents[2] / "book" / "claims.yml")
LEFT = Estimate(0.03, 0.01, 0.05)
RANDOM = Estimate(0.9, 0.84, 0.97)


def forget(*values, control=RANDOM):
    readings = CLAIMS["forget"].rule.readings
    return [
        Measured(value, control, reading, 3)
        for value, reading in zip(values, readings, strict=True)
    ]


def text(page):
    return " ".join(BeautifulSoup(page, "html.parser").get_text(" ").split())


def test_a_card_says_claim_source_verdict_rule_and_every_number():
    said = text(card(CLAIMS["forget"], forget(LEFT, LEFT, LEFT, Estimate(0.4, 0.3, 0.6))))
    for words in (
        "◐ holds in part", "Paper, 6.3.1", "the network mostly forgets to draw windows.", "at most 50%", "3% [1%, 5%]",
        "90% [84%, 97%]", "16x16, negatives outside the boxes", "seed of the training", "short of the level",
    ):  # fmt: skip
        assert words in said, words


def test_a_value_that_is_its_control_exactly_has_an_axis_too():
    nothing = Estimate(0.0, 0.0, 0.0)
    said = text(
        card(CLAIMS["semantic"], [Measured(nothing, nothing, "lines between random points")])
    )
    assert "does not hold here" in said and "0 [0, 0]" in said


def test_one_control_for_all_readings_stands_once_and_several_with_their_names():
    soup = BeautifulSoup(card(CLAIMS["forget"], forget(LEFT, LEFT, LEFT, LEFT)), "html.parser")
    assert len(soup.find_all("span", string=re.compile("random"))) == 1
    several = forget(LEFT, LEFT, LEFT, LEFT)
    several[0] = dataclasses.replace(several[0], control=Estimate(0.8, 0.7, 0.9))
    soup = BeautifulSoup(card(CLAIMS["forget"], several), "html.parser")
    assert len(soup.find_all("span", string=re.compile("random"))) == 4


def test_dots_lie_where_their_numbers_are():
    soup = BeautifulSoup(card(CLAIMS["forget"], forget(LEFT, LEFT, LEFT, LEFT)), "html.parser")
    places = [float(found) for found in re.findall(r"left:calc\(([\d.]+)% - 5px\)", str(soup))]
    assert places == pytest.approx([3, 3, 3, 3, 90])


def test_an_axis_that_is_no_share_holds_every_interval():
    rule = CLAIMS["lr"].rule
    page = card(
        CLAIMS["lr"], [Measured(Estimate(80, 70, 95), Estimate(40, 35, 52), rule.readings[0], 3)]
    )
    assert "axis: 0 to 100" in text(page) and "80 [70, 95]" in text(page)
    for low, width in re.findall(r"left:([\d.]+)%;width:([\d.]+)%", page):
        assert 0 <= float(low) and float(low) + float(width) <= 100


def test_claims_without_numbers_have_a_card_too():
    assert "– cannot be tested here" in text(card(CLAIMS["likelihood"]))
    assert "? answered" in text(card(CLAIMS["a-200"])) and "39 % of 512" in text(
        card(CLAIMS["a-200"])
    )
