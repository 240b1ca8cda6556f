"""The ledger: what each chapter measured of each claim, beside its control, and the verdict that the rule gives.

A chapter opens its `Ledger`, shows a card where it tests a claim, and closes the ledger near its end. What it measured
is kept in `book/results/<chapter>.json`; the page "Claims" and the picture of all claims are made from these files
alone, so they must be fresh: `close` compares, and a chapter whose run says something else fails with a LedgerError.
To accept what it says now: `python -m dcgan_book.teaching accept 02-walking`.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from IPython.display import HTML

from dcgan_book.measure.intervals import Estimate
from dcgan_book.teaching import cards, experiments
from dcgan_book.teaching.verdicts import Bound, Claim, Measured, Verdict, registry, verdict

SLACK = 0.02  # of a number whose interval is narrower: what another processor's rounding may change
REMEDY = "if that is right, run 'python -m dcgan_book.teaching accept {}'"


class LedgerError(ValueError):
    """A chapter that says something else than its results file; the message says what."""


class Ledger:
    """What one chapter measures. `chapter`: its file's name without ending ("02-walking"). `weights`: names such as
    "rooms/generator" that its numbers depend on. `book`: the folder of `claims.yml` and `results`; by default that in
    which a notebook's kernel runs. Raises ClaimError for a registry that is none."""

    def __init__(self, chapter: str, *weights: str, book: str | Path = "."):
        self.chapter, self.weights, self.book = chapter, weights, Path(book)
        self.claims = registry(self.book / "claims.yml")
        self.found: dict[str, tuple[tuple[Measured, ...] | Bound | None, Verdict]] = {}

    def verdict(self, name: str, *measured: Measured | Bound) -> Verdict:
        """The verdict that the rule of the claim `name` gives on what was measured, which is kept.

        measured: one `Measured` for each reading of the rule, one `Bound`, or nothing: for a question, for a claim that
        cannot be tested, and while its experiment has not been run. Raises LedgerError for a claim of no or another chapter, ClaimError for
        values that do not fit the rule.
        """
        claim = self.claims.get(name)
        if claim is None or claim.chapter != self.chapter:
            of = "no chapter" if claim is None else f"chapter {claim.chapter}"
            raise LedgerError(f"{name!r} is a claim of {of} in claims.yml, not of {self.chapter}")
        values = _values(measured)
        self.found[name] = values, verdict(claim, values)
        return self.found[name][1]

    def card(self, name: str, *measured: Measured | Bound) -> HTML:
        """The card of a claim, to be shown where it is tested; arguments and errors as for `verdict`."""
        self.verdict(name, *measured)
        return HTML(cards.STYLE + cards.card(self.claims[name], self.found[name][0]))

    def close(self) -> None:
        """Compares what was measured with `results/<chapter>.json`.

        It is written instead where the variable DCGAN_BOOK_ACCEPT is set. With DCGAN_BOOK_RESULTS, a folder for the
        numbers of weights of your own, that folder is meant, and what is missing there is written. Raises LedgerError
        for a missing file, other claims, another verdict, or a number outside the interval it was given.
        """
        own = os.environ.get("DCGAN_BOOK_RESULTS")
        path = Path(own or self.book / "results").expanduser() / f"{self.chapter}.json"
        remedy = REMEDY.format(self.chapter)
        now = {name: _entry(values, word) for name, (values, word) in self.found.items()}
        if os.environ.get("DCGAN_BOOK_ACCEPT") or (own and not path.exists()):
            weights = () if own else self.weights
            stamped = experiments.stamped({"claims": now}, f"{self.chapter}.ipynb", *weights)
            path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(stamped, indent=1, ensure_ascii=False) + "\n"
            path.write_text(text, encoding="utf-8", newline="\n")
            return
        if not path.exists():
            raise LedgerError(f"there is no {path} to compare the chapter's numbers with: {remedy}")
        then = experiments.load(path)["claims"]
        if set(now) != set(then):
            differ = ", ".join(sorted(set(now) ^ set(then)))
            raise LedgerError(f"{path.name} has other claims than the chapter ({differ}): {remedy}")
        for name, entry in now.items():
            if why := difference(entry, then[name]):
                raise LedgerError(f"{path.name}, {name}: {why}; {remedy}")


def load(folder: str | Path) -> dict[str, tuple[Measured, ...] | Bound | None]:
    """What all chapters have measured, by claim, from the files of `folder`, that of the results.

    Raises StaleError for numbers of other weights than today's.
    """
    return {
        name: _measured(entry["measured"])
        for path in sorted(Path(folder).glob("*.json"))
        for name, entry in experiments.load(path)["claims"].items()
    }


def difference(new: dict, old: dict) -> str:
    """In which point two entries of a results file differ by more than chance or rounding may; "" for none."""
    if new["verdict"] != old["verdict"]:
        return f"the verdict was {old['verdict']!r} and is now {new['verdict']!r}"
    news, olds = _numbers(new["measured"]), _numbers(old["measured"])
    if news.keys() != olds.keys():
        return f"measured were {', '.join(olds)}, and are now {', '.join(news)}"
    for what, estimate in olds.items():
        allowed = max((estimate[2] - estimate[1]) / 2, SLACK * abs(estimate[0]), 1e-4)
        if max(abs(a - b) for a, b in zip(news[what], estimate, strict=True)) > allowed:
            return f"{what} was {estimate} and is now {news[what]}"
    return ""


def _values(measured: Sequence) -> tuple[Measured, ...] | Bound | None:
    return measured[0] if measured and isinstance(measured[0], Bound) else tuple(measured) or None


def _entry(values, found):
    return {"verdict": found.word, "reason": found.reason, "measured": _written(values)}


def _written(values):
    """What was measured, for JSON."""
    if values is None:
        return []
    parts = [values] if isinstance(values, Bound) else values
    return [
        {name: list(part) if isinstance(part, Estimate) else part for name, part in vars(one).items()}
        for one in parts
    ]  # fmt: skip


def _measured(written):
    """The reverse of `_written`."""
    known = [
        {name: Estimate(*part) if isinstance(part, list) else part for name, part in one.items()}
        for one in written
    ]
    return _values([Bound(**one) if "power" in one else Measured(**one) for one in known])


def _numbers(written):
    """Every estimate of an entry, under a name."""
    return {
        f"{name} ({one.get('reading', 'bound')})": part
        for one in written
        for name, part in one.items()
        if isinstance(part, list)
    }


def chapters(claims: dict[str, Claim]) -> dict[str, list[Claim]]:
    """The claims of a registry by the chapter that tests them, in the registry's order."""
    by: dict[str, list[Claim]] = {}
    for claim in claims.values():
        by.setdefault(claim.chapter, []).append(claim)
    return dict(sorted(by.items()))
