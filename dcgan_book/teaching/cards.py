"""Verdict cards: a claim, its verdict, its rule, and what was measured beside its control, in one picture.

A card is HTML with its style inside, so that it reads the same in Jupyter and on a page of the book, on a phone and in
black and white: what was measured is a full dot, its control a hollow one, what the words ask for a dashed line.
"""

import html
import math
from collections.abc import Sequence

from dcgan_book.measure.intervals import Estimate
from dcgan_book.teaching.verdicts import ANSWER, BOUND, Bound, Claim, Measured, verdict

SIGNS = {
    "holds": "●", "holds in part": "◐", "does not hold here": "○", "cannot be tested here": "–", BOUND: "≤", ANSWER: "?",
}  # fmt: skip
BOX = "border:1px solid #8a94a6;border-left:6px solid #0b4f71;border-radius:8px;padding:.7rem 1rem;margin:1.2rem 0"
PILL = "float:right;font-weight:700;border:2px solid currentColor;border-radius:99px;padding:0 .7em;margin:0 0 .3em .6em"
ROW = "display:flex;flex-wrap:wrap;gap:.1rem .7rem;align-items:center;font-size:.85em;line-height:1.3;margin:.25rem 0"
# a name takes a line of its own on a phone
NAME, NUMBER = "flex:1 1 10rem", "flex:0 0 8.5rem;white-space:nowrap"
TRACK = "flex:2 1 7rem;position:relative;height:1.3em;background:linear-gradient(#8a94a6,#8a94a6) center/100% 1px no-repeat"


def card(
    claim: Claim,
    measured: Sequence[Measured] | Bound | None = None,
    link: tuple[str, str] = ("The fine print", "#the-fine-print"),
) -> str:
    """The card of a claim as HTML.

    Arguments: `claim`, of `verdicts.registry`; `measured`, as for `verdicts.verdict`, whose errors it raises;
    `link`, the words of its link and where it leads.
    """
    found = verdict(claim, measured)
    parts = [
        f'<div class="verdict-card" id="claim-{claim.id}" style="{BOX}">',
        f'<span style="{PILL}">{SIGNS[found.word]} {found.word}</span>',
        f"<small>{source(claim)} · <code>{claim.id}</code></small><br>",
        f"<strong>{html.escape(claim.claim)}{'' if claim.claim.endswith('?') else '.'}</strong>",
        _picture(claim, measured),
        f"<div><small>{_rule(claim, found)} ",
        f'<a href="{html.escape(link[1])}">{html.escape(link[0])}</a></small></div>',
        "</div>",
    ]
    return "\n".join(part for part in parts if part)


def overview(
    claims: Sequence[Claim], measured: dict[str, Sequence[Measured] | Bound | None], link: str
) -> str:
    """All claims as one picture, a line each, as HTML: verdict, claim, and value beside control on one axis.

    Arguments: `claims`, of the registry; `measured`, by id; `link`, where a claim leads, with {chapter} and {id} in it.
    Of several readings that stands which is least clear of its control.
    """
    lines = []
    for claim in claims:
        values = measured.get(claim.id)
        word = verdict(claim, values).word
        track = numbers = ""
        if claim.rule and values:
            track, numbers = _against(claim.rule, values)
        href = html.escape(link.format(chapter=claim.chapter, id=claim.id))
        lines.append(
            f'<div style="{ROW}"><span style="flex:4 1 16rem"><b aria-hidden="true">{SIGNS[word]}</b> '
            f'<a href="{href}">{html.escape(claim.claim)}</a></span>'
            f'<span style="flex:0 0 10rem">{word}</span>'
            f'<span style="{TRACK if track else "flex:2 1 7rem"}">{track}</span>'
            f'<span style="flex:0 0 8.5rem">{numbers}</span></div>'
        )
    return '<div class="claims-overview">' + "\n".join(lines) + "</div>"


def _against(rule, values):
    """The reading that is least clear of its control: both on an axis, and in words."""

    def clearance(each):
        if rule.clear == "above":
            return each.value.low - each.control.high
        return each.control.low - each.value.high

    worst = min(values, key=clearance)
    level = rule.level[1] if rule.level and rule.level[0] != "as" else None
    axis = _axis([worst.value, worst.control], level, rule.unit)
    dots = _dots(worst.control, False, axis) + _dots(worst.value, True, axis)
    return (
        _line(level, axis) + dots,
        f"{_number(worst.value.value, rule.unit)} against {_number(worst.control.value, rule.unit)}",
    )


def source(claim: Claim) -> str:
    """Where a claim stands: "Paper, 6.1, figure 4"."""
    return html.escape(f"{'The article' if claim.origin == 'article' else 'Paper'}, {claim.where}")


def _rule(claim, found):
    """The rule in a line, and what came of it."""
    because = html.escape(f"Here: {found.reason}{'' if found.reason.endswith('.') else '.'}")
    if claim.rule is None:
        return because
    rule = claim.rule
    wanted = f"{rule.value} is {rule.clear} {rule.control}"
    if rule.level:
        kind, level = rule.level
        wanted += (
            f", and no worse than {rule.floor}"
            if kind == "as"
            else f", and {kind} {_number(level, rule.unit)}"
        )
    taken = ", ".join(rule.resampled)
    return html.escape(f"Rule: {wanted}. Resampled: {taken}. ") + because


def _picture(claim, measured):
    """Values, controls and floors as dots with their intervals on one axis."""
    if claim.rule is None or not measured:
        return ""
    rule = claim.rule
    rows = [(each.reading, each.value, True) for each in measured]
    for name, of in ((rule.control, "control"), (rule.floor, "floor")):
        known = {
            each.reading: getattr(each, of) for each in measured if getattr(each, of) is not None
        }
        if len(set(known.values())) == 1:
            rows.append((name, next(iter(known.values())), False))
        else:
            rows.extend(
                (f"{name}: {reading}", estimate, False) for reading, estimate in known.items()
            )
    level = rule.level[1] if rule.level and rule.level[0] != "as" else None
    low, high = _axis([estimate for _, estimate, _ in rows], level, rule.unit)
    drawn = "".join(
        _row(name, estimate, full, level, (low, high), rule.unit) for name, estimate, full in rows
    )
    head = html.escape(rule.value[0].upper() + rule.value[1:])
    ends = f"{_number(low, rule.unit)} to {_number(high, rule.unit)}"
    asked = f", dashed: {_number(level, rule.unit)}" if level is not None else ""
    return (
        f'<div style="margin:.5rem 0"><small>{head} (axis: {ends}{asked})</small>'
        f'<div role="img" aria-label="{html.escape(_said(rows, rule.unit))}">{drawn}</div></div>'
    )


def _row(name, estimate, full, level, axis, unit):
    number = f"{_number(estimate.value, unit)} [{_number(estimate.low, unit)}, {_number(estimate.high, unit)}]"
    return (
        f'<div style="{ROW}"><span style="{NAME}">{html.escape(name)}</span>'
        f'<span style="{TRACK}">{_line(level, axis)}{_dots(estimate, full, axis)}</span>'
        f'<span style="{NUMBER}">{number}</span></div>'
    )


def _dots(estimate, full, axis):
    """An estimate on its track: a dot, and a bar from end to end of its interval."""
    low, value, high = (
        _place(number, axis) for number in (estimate.low, estimate.value, estimate.high)
    )
    thick = 4 if full else 2
    bar = (
        f"position:absolute;left:{low}%;width:{max(high - low, 0.4):.2f}%;top:calc(50% - {thick / 2}px);height:{thick}px;"
        "background:currentColor"
    )
    filling = "currentColor" if full else "#fff"
    dot = (
        f"position:absolute;left:calc({value}% - 5px);top:calc(50% - 5px);width:10px;height:10px;box-sizing:border-box;"
        f"border:2px solid currentColor;border-radius:50%;background:{filling}"
    )
    return f'<i style="{bar}"></i><i style="{dot}"></i>'


def _line(level, axis):
    """The level that the words ask for."""
    if level is None:
        return ""
    at = _place(level, axis)
    return f'<i style="position:absolute;left:{at}%;top:-.1em;bottom:-.1em;border-left:2px dashed #8a94a6"></i>'


def _axis(estimates: Sequence[Estimate], level, unit):
    """Both ends: 0 to 1 for shares, else what holds every interval, and 0 where that is near."""
    numbers = [number for each in estimates for number in each] + ([] if level is None else [level])
    least, most = min(numbers), max(numbers)
    if unit == "%":
        return min(0.0, least), max(1.0, most)
    if least > 0 and least < most / 2:
        least = 0.0
    step = 10 ** math.floor(math.log10(max(most - least, 1e-9)))
    return math.floor(least / step) * step, math.ceil(most / step) * step


def _place(number, axis):
    low, high = axis
    return round(100 * (number - low) / (high - low), 2)


def _number(number, unit):
    if unit == "%":
        share = (
            f"{number:.1%}" if abs(number) < 0.1 and round(number * 100, 1) % 1 else f"{number:.0%}"
        )
        return share.replace("-0%", "0%")
    return f"{number:.3g}"


def _said(rows, unit):
    return "; ".join(
        f"{name}: {_number(estimate.value, unit)} [{_number(estimate.low, unit)}, {_number(estimate.high, unit)}]"
        for name, estimate, _ in rows
    )
