"""Verdict cards: what stands on them, and where their dots are."""

import dataclasses
import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from dcgan_book.measure.intervals import Estimate
from dcgan_book.teaching.cards import STYLE, card, overview
from dcgan_book.teaching.verdicts import Bound, Measured, registry

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


def test_one_control_for_all_readings_has_a_row_and_several_stand_beside_their_values():
    def rows(measured):
        soup = BeautifulSoup(card(CLAIMS["forget"], measured), "html.parser")
        return [
            (row.select_one(".name").text, [dot["class"][1] for dot in row.select(".dot")])
            for row in soup.select(".plot > div")[:-1]  # the last has the axis
        ], text(str(soup.select_one(".what")))

    readings, control = CLAIMS["forget"].rule.readings, CLAIMS["forget"].rule.control
    several = forget(LEFT, LEFT, LEFT, LEFT)
    one, what = rows(several)
    assert one == [(name, ["full"]) for name in readings] + [(control, ["hollow"])]
    assert what == "Windows left"
    several[0] = dataclasses.replace(several[0], control=Estimate(0.8, 0.7, 0.9))
    beside, what = rows(several)
    assert beside == [(name, ["full", "hollow"]) for name in readings]
    assert what == f"Windows left {control[0].upper()}{control[1:]}"


def test_dots_lie_where_their_numbers_are():
    soup = BeautifulSoup(card(CLAIMS["forget"], forget(LEFT, LEFT, LEFT, LEFT)), "html.parser")
    places = [float(found) for found in re.findall(r"left:calc\(([\d.]+)% - 6px\)", str(soup))]
    assert places == pytest.approx([3, 3, 3, 3, 90])


def test_an_axis_that_is_no_share_holds_every_interval():
    rule = CLAIMS["lr"].rule
    page = card(
        CLAIMS["lr"], [Measured(Estimate(80, 70, 95), Estimate(40, 35, 52), rule.readings[0], 3)]
    )
    ends = [tick.text for tick in BeautifulSoup(page, "html.parser").select(".ticks b")]
    assert ends == ["0", "100"] and "80 [70, 95]" in text(page)
    for low, width in re.findall(r"left:([\d.]+)%;width:([\d.]+)%", page):
        assert 0 <= float(low) and float(low) + float(width) <= 100


def test_claims_without_numbers_have_a_card_too():
    assert "– cannot be tested here" in text(card(CLAIMS["likelihood"]))
    assert "? answered" in text(card(CLAIMS["a-200"])) and "39 % of 512" in text(
        card(CLAIMS["a-200"])
    )


@pytest.mark.parametrize("name, said", [("forget", ["0%", "50%", "100%"]), ("turn", ["0%", "90%"])])
def test_the_level_is_written_at_the_axis_and_hides_the_end_that_it_is_near(name, said):
    values = [Measured(LEFT, RANDOM, reading, 3) for reading in CLAIMS[name].rule.readings]
    soup = BeautifulSoup(card(CLAIMS[name], values), "html.parser")
    assert [tick.text for tick in soup.select(".ticks b")] == said


def test_an_absence_shows_its_bound_beside_the_power():
    page = card(CLAIMS["one-epoch"], Bound(LEFT, RANDOM, 0.02, 3))
    assert "≤ upper bound" in text(page) and "at 2% 90% [84%, 97%]" in text(page)
    assert len(BeautifulSoup(page, "html.parser").select(".track .dot.full")) == 1


def test_the_picture_of_all_says_each_claim_once_and_its_least_clear_reading():
    readings = forget(LEFT, LEFT, Estimate(0.4, 0.3, 0.6), LEFT)
    under = {"Chapter 4": [CLAIMS["forget"], CLAIMS["a-200"]], "Chapter 1": [CLAIMS["lr"]]}
    page = overview(under, {"forget": readings}, "claims.html#claim-{id}")
    soup = BeautifulSoup(page, "html.parser")
    assert [link["href"] for link in soup.select("a")] == [
        "claims.html#claim-forget", "claims.html#claim-a-200", "claims.html#claim-lr",
    ]  # fmt: skip
    assert [of.text for of in soup.select(".of")] == ["Chapter 4", "Chapter 1"]
    assert [pill.text for pill in soup.select(".counts .verdict")] == [
        "◐ holds in part 1", "– cannot be tested here 1", "? answered 1",
    ]  # fmt: skip
    assert [number.text for number in soup.select(".number")] == ["40% against 90%", "", ""]


def test_the_style_reaches_nothing_but_cards():
    """Jupyter puts a cell's style into its own window."""
    rules = re.sub(
        r"/\*.*?\*/", "", STYLE.removeprefix("<style>").removesuffix("</style>"), flags=re.S
    )
    selectors = re.findall(r"([^{}]+)\{", re.sub(r"@container[^{]*\{", "", rules))
    parts = [part.strip() for one in selectors for part in re.split(r",(?![^()]*\))", one)]
    ours = (".verdict-card", ".claims-overview", ":is(.verdict-card, .claims-overview) ")
    assert len(parts) > 30 and [part for part in parts if not part.startswith(ours)] == []
