"""The ledger of claims: what each chapter tested, what it found, and beside which control.

A chapter hands its rows to `write` near its end; `book/results/<chapter>.json` is committed, and the page "Claims"
and the picture on the first page are made from these files alone. So they must be fresh: `write` compares, and a
chapter whose run says something else fails with a LedgerError, as does one that has no file. To accept what it says
now: `python -m dcgan_book.teaching accept 02-walking`.
"""

import json
import os
import re
from collections import Counter
from dataclasses import asdict, dataclass, fields
from pathlib import Path

VERDICTS = ("holds", "holds in part", "does not hold here", "cannot be tested here")
SLACK = 0.02  # of a number without an interval: what another processor's rounding may change
NUMBER = re.compile(r"(?<![\w.])[-−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?")
BETWEEN = r"[^\S\n]*%?[^\S\n]*"
INTERVAL = re.compile(f"(?:{NUMBER.pattern}{BETWEEN})?\\[{NUMBER.pattern}{BETWEEN}(?:,|to) ?{NUMBER.pattern}{BETWEEN}\\]"
                      f"|{NUMBER.pattern}")  # fmt: skip


class LedgerError(ValueError):
    """A row that is not one, or a chapter that says something else than the ledger; the message says which."""


@dataclass(frozen=True)
class Row:
    """One claim and its test; all are strings, made from the run's numbers.

    claim: what is claimed, in our words. section: of the paper ("6.2"), or "article" for a question of the article
    this book grew from. test: how we test it. value: the number with its interval, "12.0% [9.1%, 15.3%]". control:
    what the same test says where the claim must fail. verdict: one of VERDICTS. where: the name of the figure, or of
    another target in the chapter, that shows it. Raises LedgerError where one is empty, or the verdict is another.
    """

    claim: str
    section: str
    test: str
    value: str
    control: str
    verdict: str
    where: str

    def __post_init__(self):
        for field in fields(self):
            text = getattr(self, field.name)
            if not isinstance(text, str) or not text.strip():
                raise LedgerError(
                    f"{field.name} of the row {self.claim!r} is {text!r}: give a sentence or a name"
                )
        if set(self.claim) & set("`<>"):
            raise LedgerError(
                f"the claim {self.claim!r} becomes a link: write it without `, < and >"
            )
        if self.verdict not in VERDICTS:
            raise LedgerError(f"{self.verdict!r} is no verdict: take one of {', '.join(VERDICTS)}")


def write(chapter, rows, folder=None, accept=False):
    """Checks that a chapter's rows still say what its file says, or writes them where that is asked for.

    chapter: its file's name without ending ("02-walking"). rows: a list of Row. folder: where the
    files are; by default `results` beside the notebook, in whose folder its kernel runs. accept:
    write the rows, whatever the file says; the variable DCGAN_BOOK_ACCEPT does so for a notebook.
    If DCGAN_BOOK_RESULTS names a folder for the numbers of weights of your own, that one is the
    default, and what is missing there is written. Returns the file's path. Raises LedgerError for no rows or
    the same claim twice, for a missing file, and if the file says something else: other claims,
    other words, a number outside the interval it was given, or one without an interval that differs
    by more than 2 % and more than one in its last digit.
    """
    rows = list(rows)
    twice = [claim for claim, times in Counter(row.claim for row in rows).items() if times > 1]
    if not rows or twice:
        raise LedgerError(
            f"{chapter} claims {twice[0]!r} twice" if twice else f"{chapter} has no rows"
        )
    own = None if folder else os.environ.get("DCGAN_BOOK_RESULTS")
    path = Path(folder or own or "results").expanduser() / f"{chapter}.json"
    remedy = f"if that is right, run 'python -m dcgan_book.teaching accept {chapter}'"
    if accept or os.environ.get("DCGAN_BOOK_ACCEPT") or (own and not path.exists()):
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8", newline="\n")
        return path
    if not path.exists():
        raise LedgerError(f"there is no {path} to compare the chapter's rows with: {remedy}")
    known = load(chapter, path.parent)
    if [row.claim for row in rows] != [row.claim for row in known]:
        differ = sorted({row.claim for row in rows} ^ {row.claim for row in known}) or "their order"
        raise LedgerError(f"{path.name} has other claims than the chapter ({differ}): {remedy}")
    for now, then in zip(rows, known, strict=True):
        for field in fields(Row):
            new, old = getattr(now, field.name), getattr(then, field.name)
            if not agree(new, old):
                raise LedgerError(
                    f"{path.name}, {now.claim!r}: {field.name} was {old!r} and is now {new!r}; {remedy}"
                )
    return path


def load(chapter, folder):
    """The rows of one chapter in a folder of results, a list of Row."""
    return [
        Row(**row)
        for row in json.loads((Path(folder) / f"{chapter}.json").read_text(encoding="utf-8"))
    ]


def load_all(folder):
    """The rows of all chapters that have written theirs: a dict from chapter to list of Row, in the book's order."""
    return {path.stem: load(path.stem, folder) for path in sorted(Path(folder).glob("*.json"))}


def agree(new, old):
    """Whether two strings say the same: equal words, and numbers that agree within their interval or rounding.

    >>> agree("54.1% [50.2%, 58.0%] of 400", "52.3% [48.4%, 56.2%] of 400"), agree("12.3", "13.1")
    (True, False)
    """
    if NUMBER.sub("#", new) != NUMBER.sub("#", old):
        return False
    news, olds = _numbers(new), _numbers(old)
    return all(
        abs(a - b) <= min(width, other) for (a, width), (b, other) in zip(news, olds, strict=True)
    )


def _numbers(text):
    """Every number of a text, and how far from it another may be: half of the interval that it stands with."""
    numbers = []
    for match in INTERVAL.finditer(text):
        values = [
            float(found.replace(",", "").replace("−", "-"))
            for found in re.findall(NUMBER, match[0])
        ]
        half = (values[-1] - values[-2]) / 2 if match[0].endswith("]") else 0
        for value, found in zip(values, re.findall(NUMBER, match[0]), strict=True):
            digit = 10.0 ** -len(re.sub("e.*", "", found).partition(".")[2])
            numbers.append((value, 1.001 * max(half, digit, SLACK * abs(value))))
    return numbers
