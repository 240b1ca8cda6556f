"""The ledger: claims of a chapter, values that fit the rule, files that are fresh."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from dcgan_book.measure.intervals import Estimate
from dcgan_book.teaching import experiments, ledger
from dcgan_book.teaching.ledger import Ledger, LedgerError
from dcgan_book.teaching.verdicts import HOLDS, UNTESTED, Bound, Measured

BOOK = Path(__file__).parents[2] / "book"
LEFT = Measured(Estimate(0.05, 0.03, 0.08), Estimate(0.9, 0.85, 0.95), "", 3)
REGISTRY = """
- {id: forget, origin: paper, where: 6.3.1, claim: it forgets, words: mostly, chapter: 04-x, rule: {value: left, control: random,
   clear: below, level: {at most: 0.5}, readings: [one, other], resampled: [latents], trainings: 3}}
- {id: copies, origin: paper, where: "4", claim: no copies, words: "no", chapter: 04-x,
   bound: {value: copies, power: planted, resampled: [samples], trainings: 3}}
- {id: why, origin: article, where: "", claim: "why?", words: why, chapter: 04-x, question: because}
- {id: far, origin: paper, where: "6", claim: elsewhere, words: far, chapter: 05-y, question: there}
"""


@pytest.fixture
def book(tmp_path):
    (tmp_path / "claims.yml").write_text(REGISTRY, encoding="utf-8")
    return tmp_path


def filled(book, one=LEFT, other=LEFT, *weights):
    made = Ledger("04-x", *weights, book=book)
    made.card("forget", replace(one, reading="one"), replace(other, reading="other"))
    made.card("copies", Bound(Estimate(0.0, 0.0, 0.01), Estimate(0.9, 0.8, 0.97), 0.02, 3))
    made.card("why")
    return made


@pytest.fixture
def accepted(book, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("DCGAN_BOOK_ACCEPT", "1")
        filled(book).close()
    return book


def test_what_a_chapter_measured_is_read_back(accepted):
    known = ledger.load(accepted / "results")
    assert known["forget"] == (replace(LEFT, reading="one"), replace(LEFT, reading="other"))
    assert known["copies"].power.value == 0.9 and known["why"] is None
    entry = json.loads((accepted / "results" / "04-x.json").read_text(encoding="utf-8"))["claims"]
    assert entry["forget"]["verdict"] == HOLDS
    filled(accepted).close()


def test_nothing_is_written_that_was_not_accepted(book):
    with pytest.raises(LedgerError, match="there is no .*teaching accept 04-x"):
        filled(book).close()
    assert not (book / "results").exists()


@pytest.mark.parametrize("value, control, why", [
    (Estimate(0.06, 0.04, 0.09), LEFT.control, None),  # within the interval
    (Estimate(0.12, 0.1, 0.15), LEFT.control, "value .one. was"),
    (Estimate(0.05, 0.03, 0.2), LEFT.control, "value .one. was"),  # a wider interval
    (LEFT.value, Estimate(0.3, 0.25, 0.35), "control .one. was"),
    (LEFT.value, Estimate(0.07, 0.03, 0.11), "verdict was 'holds' and is now 'holds in part'"),
])  # fmt: skip
def test_a_file_that_says_something_else_is_stale(accepted, value, control, why):
    path = accepted / "results" / "04-x.json"
    before = path.read_bytes()
    changed = filled(accepted, Measured(value, control, "", 3))
    if why is None:
        changed.close()
    else:
        with pytest.raises(LedgerError, match=f"{why}.*teaching accept 04-x"):
            changed.close()
    assert path.read_bytes() == before


def test_other_claims_are_stale(accepted):
    fewer = Ledger("04-x", book=accepted)
    fewer.card("why")
    with pytest.raises(LedgerError, match="other claims .*copies, forget"):
        fewer.close()


def test_a_claim_of_another_chapter_or_of_none_is_refused(book):
    made = Ledger("04-x", book=book)
    for name, of in (("far", "chapter 05-y"), ("nowhere", "no chapter")):
        with pytest.raises(LedgerError, match=f"'{name}' is a claim of {of}"):
            made.card(name)


def test_without_values_a_rule_says_that_it_was_not_applied(book):
    made = Ledger("04-x", book=book)
    assert made.verdict("forget").word == UNTESTED and "not been run" in made.verdict("forget").reason  # fmt: skip
    assert "cannot be tested here" in made.card("forget").data


def test_weights_of_your_own_have_a_folder_of_their_own(accepted, monkeypatch, tmp_path):
    mine = tmp_path / "mine"
    monkeypatch.setenv("DCGAN_BOOK_RESULTS", str(mine))
    before = (accepted / "results" / "04-x.json").read_bytes()
    other = replace(LEFT, value=Estimate(0.5, 0.4, 0.6))
    filled(accepted, other, other, "rooms/generator").close()
    assert ledger.load(mine)["forget"][0].value == other.value
    assert (accepted / "results" / "04-x.json").read_bytes() == before
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("DCGAN_BOOK_RESULTS", "~/home")
    filled(accepted, other, other, "rooms/generator").close()
    assert ledger.load(tmp_path / "home")["forget"][0].value == other.value


def test_results_of_other_weights_are_stale(book, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("DCGAN_BOOK_ACCEPT", "1")
        filled(book, LEFT, LEFT, "rooms/generator").close()
    path = book / "results" / "04-x.json"
    known = json.loads(path.read_text(encoding="utf-8"))
    assert known["made_by"]["weights"] == {"rooms/generator": experiments.digest("rooms/generator")}
    known["made_by"]["weights"]["rooms/generator"] = "0" * 12
    path.write_text(json.dumps(known), encoding="utf-8")
    for read in (lambda: ledger.load(book / "results"), lambda: filled(book).close()):
        with pytest.raises(experiments.StaleError, match=r"04-x\.json is of other weights"):
            read()


def test_the_books_own_claims_have_a_chapter_and_a_table(tmp_path):
    claims = ledger.registry(BOOK / "claims.yml")
    page = (BOOK / "claims.md").read_text(encoding="utf-8")
    assert len(claims) > 40
    for chapter in ledger.chapters(claims):
        assert (BOOK / f"{chapter}.ipynb").exists() and f"{{claims}} {chapter}" in page
    assert set(ledger.load(BOOK / "results")) <= set(claims)
    shutil.copy(BOOK / "claims.yml", tmp_path)
    assert Ledger("04-forgetting", book=tmp_path).claims == claims
