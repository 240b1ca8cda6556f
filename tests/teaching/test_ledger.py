"""The ledger: rows that are rows, files that are fresh, and links that lead to a figure."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from dcgan_book.teaching import ledger

BOOK = Path(__file__).parents[2] / "book"
ROW = ledger.Row(
    claim="lines stay plausible", section="6.1", test="windows in the middle of 250 lines",
    value="52.4% [46.2%, 58.5%]", control="cross-fade 83.2% [78.1%, 87.3%], floor 1.25", verdict="holds in part",
    where="fig-plausible",
)  # fmt: skip
RESULTS = BOOK / "results"


def test_a_chapter_writes_its_rows_and_reads_them_back(tmp_path):
    rows = [ROW, replace(ROW, claim="no jumps", verdict="holds")]
    path = ledger.write("02-walking", rows, tmp_path, accept=True)
    before = path.read_bytes()
    assert ledger.load("02-walking", tmp_path) == rows
    ledger.write("01-training", [ROW], tmp_path, accept=True)
    assert list(ledger.load_all(tmp_path)) == ["01-training", "02-walking"]
    assert ledger.write("02-walking", rows, tmp_path).read_bytes() == before


def test_nothing_is_written_that_was_not_accepted(tmp_path, monkeypatch):
    """Neither a missing file nor an invented row passes; a variable, or the argument, says that they may."""
    with pytest.raises(ledger.LedgerError, match="there is no .*teaching accept 02-walking"):
        ledger.write("02-walking", [ROW], tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("DCGAN_BOOK_ACCEPT", "1")
    path = ledger.write("02-walking", [ROW], tmp_path)
    monkeypatch.delenv("DCGAN_BOOK_ACCEPT")
    before, invented = path.read_bytes(), replace(ROW, claim="rooms are eternal")
    for rows in ([ROW, invented], [invented], [invented, ROW]):
        with pytest.raises(ledger.LedgerError, match="other claims .*rooms are eternal"):
            ledger.write("02-walking", rows, tmp_path)
    assert path.read_bytes() == before
    ledger.write("02-walking", [ROW, invented], tmp_path, accept=True)
    assert ledger.load("02-walking", tmp_path) == [ROW, invented]


def test_a_notebook_writes_beside_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ledger.write("02-walking", [ROW], accept=True) == Path("results", "02-walking.json")
    assert ledger.load("02-walking", tmp_path / "results") == [ROW]


@pytest.mark.parametrize("change", [
    {"verdict": "maybe"}, {"value": ""}, {"control": None}, {"where": " "}, {"value": 0.5}, {"claim": "x < y"},
])  # fmt: skip
def test_a_row_that_is_none_is_refused(change):
    with pytest.raises(ledger.LedgerError):
        replace(ROW, **change)


@pytest.mark.parametrize("change, same", [
    ({"value": "53.6% [47.4%, 59.7%]"}, True),  # within the interval
    ({"value": "60.0% [53.8%, 66.0%]"}, False),
    ({"value": "52.4% [46.2%, 68.5%]"}, False),  # another interval
    ({"value": "52.4% [46.2%, 58.5%] of rooms"}, False),  # other words
    ({"control": ROW.control.replace("1.25", "1.26")}, True),  # rounding
    ({"control": ROW.control.replace("1.25", "1.31")}, False),
    ({"control": ROW.control.replace("1.25", "-1.25")}, False),
    ({"verdict": "holds"}, False),
    ({"where": "fig-steps"}, False),
])  # fmt: skip
def test_a_file_that_says_something_else_is_stale(tmp_path, change, same):
    path = ledger.write("02-walking", [ROW], tmp_path, accept=True)
    before = path.read_bytes()
    if same:
        ledger.write("02-walking", [replace(ROW, **change)], tmp_path)
    else:
        with pytest.raises(ledger.LedgerError, match="teaching accept 02-walking"):
            ledger.write("02-walking", [replace(ROW, **change)], tmp_path)
    assert path.read_bytes() == before


def test_other_claims_are_stale_and_two_equal_ones_refused(tmp_path):
    ledger.write("02-walking", [ROW], tmp_path, accept=True)
    with pytest.raises(ledger.LedgerError, match="other claims"):
        ledger.write("02-walking", [ROW, replace(ROW, claim="no jumps")], tmp_path)
    for rows in ([], [ROW, ROW]):
        with pytest.raises(ledger.LedgerError):
            ledger.write("02-walking", rows, tmp_path)


def test_every_section_has_its_table():
    said = re.findall(
        r"^```\{claims\} (\S+)$", (BOOK / "claims.md").read_text(encoding="utf-8"), re.M
    )
    assert len(said) == len(set(said))
    assert {row.section for rows in ledger.load_all(RESULTS).values() for row in rows} <= set(said)


def cells(chapter):
    notebook = json.loads((BOOK / f"{chapter}.ipynb").read_text(encoding="utf-8"))
    return [(cell, "".join(cell["source"])) for cell in notebook["cells"]]


@pytest.mark.parametrize("chapter", sorted(path.stem for path in RESULTS.glob("*.json")))
def test_a_chapter_makes_its_file_and_every_row_leads_somewhere(chapter):
    """That what it makes is what is committed, `ledger.write` itself checks whenever the chapter runs."""
    found = cells(chapter)
    assert any(
        f'ledger.write("{chapter}"' in source
        for cell, source in found
        if cell["cell_type"] == "code"
    )
    targets = {
        cell["metadata"].get("mystnb", {}).get("figure", {}).get("name") for cell, _ in found
    }
    targets |= {
        target for _, source in found for target in re.findall(r"^\(([\w-]+)\)=$", source, re.M)
    }
    assert [row.where for row in ledger.load(chapter, RESULTS) if row.where not in targets] == []
