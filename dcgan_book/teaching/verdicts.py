"""Verdicts: the registry of claims, and the rule that turns measured values into one of four words.

The rule stands in `book/claims.yml` before the number does, and `verdict` applies it. No verdict is typed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from dcgan_book.measure.intervals import Estimate

HOLDS, IN_PART, NOT_HERE, UNTESTED = (
    "holds", "holds in part", "does not hold here", "cannot be tested here",
)  # fmt: skip
VERDICTS = (HOLDS, IN_PART, NOT_HERE, UNTESTED)
BOUND = "upper bound"  # what a claim of absence gets in the place of a verdict
ANSWER = "answered"  # and a question
NOT_RUN = "the rule stands, and the experiment that applies it has not been run yet"
DECIDES = ("rule", "bound", "untested", "question")
SIDES = ("above", "below")
UNITS = ("%", "number")
LEVELS = ("at least", "at most", "as")


class ClaimError(ValueError):
    """A registry that is none, or values that do not fit a claim's rule; one line that says which."""


@dataclass(frozen=True)
class Rule:
    """What decides a claim; see the head of `book/claims.yml`."""

    value: str
    control: str
    clear: str
    readings: tuple[str, ...]
    resampled: tuple[str, ...]
    trainings: int
    level: tuple[str, float | str] | None = None
    floor: str | None = None
    unit: str = "%"


@dataclass(frozen=True)
class Claim:
    """One entry of the registry. Exactly one of `DECIDES` is there."""

    id: str
    origin: str
    where: str
    claim: str
    words: str
    chapter: str
    rule: Rule | None = None
    bound: dict | None = None
    untested: str | None = None
    question: str | None = None


@dataclass(frozen=True)
class Measured:
    """What a chapter measured of a claim under one reading of its words.

    Arguments: `value` and `control`, Estimates with their 95 % intervals; `reading`, one of the rule's;
    `trainings`, over how many seeds of the training the intervals run; `floor`, the third quantity that
    a level may ask for.
    """

    value: Estimate
    control: Estimate
    reading: str
    trainings: int = 1
    floor: Estimate | None = None


@dataclass(frozen=True)
class Bound:
    """What a chapter measured of a claim of absence: `value`, an Estimate of a share; `power`, of the test at `at`."""

    value: Estimate
    power: Estimate
    at: float
    trainings: int = 1


@dataclass(frozen=True)
class Verdict:
    """A word, one of `VERDICTS`, `BOUND` or `ANSWER`, and the reason in a sentence."""

    word: str
    reason: str


def registry(path: str | Path) -> dict[str, Claim]:
    """The claims of a registry's file, by id. Raises ClaimError for an entry that is none, or an id that is there twice."""
    claims: dict[str, Claim] = {}
    for entry in yaml.safe_load(Path(path).read_text(encoding="utf-8")):
        try:
            kinds = [kind for kind in DECIDES if entry.get(kind)]
            if len(kinds) != 1:
                raise ClaimError(
                    f"has {' and '.join(kinds) or 'nothing that decides'}; give one of {', '.join(DECIDES)}"
                )
            claim = Claim(**entry | ({"rule": _rule(**entry["rule"])} if "rule" in entry else {}))
        except (TypeError, ClaimError) as error:
            raise ClaimError(f"claim {entry.get('id')!r}: {error}") from None
        if claim.id in claims:
            raise ClaimError(f"claim {claim.id!r} is there twice")
        claims[claim.id] = claim
    return claims


def _rule(clear, readings, resampled, level=None, **others):
    if clear not in SIDES:
        raise ClaimError(f"clear is {clear!r}; it is one of {', '.join(SIDES)}")
    if others.get("unit", "%") not in UNITS:
        raise ClaimError(f"unit is {others['unit']!r}; it is one of {', '.join(UNITS)}")
    if level is not None:
        ((kind, wanted),) = level.items()
        if (
            kind not in LEVELS
            or (kind == "as") != (wanted == "floor")
            or (kind == "as" and not others.get("floor"))
        ):
            raise ClaimError(
                f"level is {level}; it is {{at least: x}}, {{at most: x}} or {{as: floor}} with a floor"
            )
        level = kind, wanted
    return Rule(
        clear=clear, readings=tuple(readings), resampled=tuple(resampled), level=level, **others
    )


def verdict(claim: Claim, measured: Sequence[Measured] | Bound | None = None) -> Verdict:
    """Applies a claim's rule to what was measured: the word, and why.

    Arguments: `claim`, of the `registry`; `measured`, one `Measured` for each reading of the rule, a `Bound` for a claim
    of absence, None where nothing was measured: then it is not tested, and the reason says so.

    *Holds*: under every reading the value's interval is clear of the control's and reaches the level as a whole.
    *Holds in part*: under some reading it is clear. *Does not hold here*: under none. Raises ClaimError where readings
    are missing, twice or others, or a floor is asked for and not there.
    """
    if claim.untested is not None:
        return Verdict(UNTESTED, " ".join(claim.untested.split()))
    if claim.question is not None:
        return Verdict(ANSWER, " ".join(claim.question.split()))
    if measured is None:
        return Verdict(UNTESTED, NOT_RUN)
    if claim.bound is not None:
        if not isinstance(measured, Bound):
            raise ClaimError(f"{claim.id}: a claim of absence takes a Bound")
        return _bounded(measured, claim.bound["trainings"])
    rule = claim.rule
    if isinstance(measured, Bound) or sorted(each.reading for each in measured) != sorted(
        rule.readings
    ):
        given = (
            "a Bound"
            if isinstance(measured, Bound)
            else ", ".join(each.reading for each in measured) or "none"
        )
        raise ClaimError(
            f"{claim.id}: readings are {given}; the rule asks for {', '.join(rule.readings)}"
        )
    clear = [each.reading for each in measured if _clear(each.value, each.control, rule.clear)]
    full = [
        each.reading
        for each in measured
        if each.reading in clear and _reaches(claim.id, rule, each)
    ]
    few = _few(min(each.trainings for each in measured), rule.trainings)
    among = f" under {_listed(clear)}, not under {_listed([r for r in rule.readings if r not in clear])}"
    if not clear:
        return Verdict(NOT_HERE, f"not {rule.clear} its control under any reading{few}")
    if len(full) == len(measured):
        reached = " and reaches the level" if rule.level else ""
        return Verdict(HOLDS, f"{rule.clear} its control{reached}{_every(rule)}{few}")
    if len(clear) < len(measured):
        return Verdict(IN_PART, f"{rule.clear} its control{among}{few}")
    short = [reading for reading in rule.readings if reading not in full]
    where = f" under {_listed(short)}" if len(measured) > 1 else ""
    return Verdict(
        IN_PART, f"{rule.clear} its control{_every(rule)}, but short of the level{where}{few}"
    )


def _bounded(measured, needed):
    low_power = measured.power.low <= max(measured.value.high, 0.05)
    if low_power:
        return Verdict(
            UNTESTED,
            f"the test finds planted copies no more often than it sees copies at {measured.at:.0%}",
        )
    return Verdict(
        BOUND,
        f"no more than {max(measured.value.high, 0):.1%} by this test, whose power at {measured.at:.0%} is "
        f"{measured.power.value:.0%}{_few(measured.trainings, needed)}",
    )


def _clear(value, control, side):
    return value.low > control.high if side == "above" else value.high < control.low


def _reaches(name, rule, measured):
    """Whether the whole interval lies at the level; as good as a floor is what is not clear of it on the wrong side."""
    if rule.level is None:
        return True
    kind, wanted = rule.level
    if kind == "as":
        if measured.floor is None:
            raise ClaimError(
                f"{name}: the rule compares with a floor ({rule.floor}), and none was measured"
            )
        other = "below" if rule.clear == "above" else "above"
        return not _clear(measured.value, measured.floor, other)
    return measured.value.low >= wanted if kind == "at least" else measured.value.high <= wanted


def _few(given, needed):
    if given >= needed:
        return ""
    return f" (in {given} training{'s' * (given != 1)}; a claim about a DCGAN asks for {needed})"


def _every(rule):
    return " under every reading" if len(rule.readings) > 1 else ""


def _listed(readings):
    return ", ".join(readings)
