"""Verdict cards: a claim, its verdict, its rule, and what was measured beside its control, in one picture.

A card is HTML that reads the same in Jupyter and on a page of the book, on a phone and in black and white: what was
measured is a full dot, its control a hollow one, what the words ask for a dashed line. `STYLE` goes with it.
"""

import html
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dcgan_book.measure.intervals import Estimate
from dcgan_book.teaching.verdicts import ANSWER, BOUND, VERDICTS, Bound, Claim, Measured, verdict

SIGNS = dict(zip((*VERDICTS, BOUND, ANSWER), "●◐○–≤?", strict=True))
STYLE = f"<style>{Path(__file__).with_suffix('.css').read_text(encoding='utf-8')}</style>"
FULL, HOLLOW, SQUARE = (
    "full",
    "hollow",
    "square",
)  # dots of what was measured, its control, its floor
NEAR = 22  # percent of an axis within which the label of a level takes the place of its end's


def card(
    claim: Claim,
    measured: Sequence[Measured] | Bound | None = None,
    link: tuple[str, str] = ("The fine print", "#the-fine-print"),
) -> str:
    """The card of a claim as HTML, to be shown with `STYLE`.

    Arguments: `claim`, of `verdicts.registry`; `measured`, as for `verdicts.verdict`, whose errors it raises;
    `link`, the words of its link and where it leads.
    """
    found = verdict(claim, measured)
    reason = html.escape(f"{found.reason}{'' if found.reason.endswith('.') else '.'}")
    parts = [
        f'<div class="verdict-card" id="claim-{claim.id}">',
        f'<p class="head"><span>{source(claim)} · <code>{claim.id}</code></span> {_pill(found.word)}</p>',
        f'<p class="claim">{html.escape(claim.claim)}{"" if claim.claim.endswith("?") else "."}</p>',
        _picture(claim, measured),
        f'<p class="because">{"Here: " if claim.rule or claim.bound else ""}{reason}</p>',
        f'<p class="rule">{_rule(claim)}<a href="{html.escape(link[1])}">{html.escape(link[0])}</a></p>',
        "</div>",
    ]
    return "\n".join(part for part in parts if part)


def overview(
    claims: dict[str, Sequence[Claim]],
    measured: dict[str, Sequence[Measured] | Bound | None],
    link: str,
) -> str:
    """All claims as one picture as HTML, to be shown with `STYLE`: verdict, and value beside control on one axis.

    Arguments: `claims`, of the registry, under the headings below which they stand; `measured`, by id; `link`, where a
    claim leads, with {chapter} and {id} in it. Of several readings that stands which is least clear of its control.
    """
    listed = [claim for of in claims.values() for claim in of]
    words = {claim.id: verdict(claim, measured.get(claim.id)).word for claim in listed}
    counted = Counter(words.values())
    pills = " ".join(_pill(word, f" {counted[word]}") for word in SIGNS if counted[word])
    parts = [
        f'<div class="claims-overview"><p class="counts">{pills}</p>',
        '<p class="key"><i class="dot full"></i> measured, <i class="dot hollow"></i> its control, '
        '<i class="level"></i> what the words ask for; a bar is a 95 % interval.</p>',
    ]
    for heading, of in claims.items():
        parts.append(f'<p class="of">{html.escape(heading)}</p>')
        parts.extend(
            _overview_row(claim, measured.get(claim.id), words[claim.id], link) for claim in of
        )
    return "\n".join([*parts, "</div>"])


def source(claim: Claim) -> str:
    """Where a claim stands: "Paper, 6.1, figure 4"."""
    return html.escape(f"{'The article' if claim.origin == 'article' else 'Paper'}, {claim.where}")


def _overview_row(claim, values, word, link):
    """A claim's line: what is claimed, value and control on a track, verdict and both numbers."""
    href = html.escape(link.format(chapter=claim.chapter, id=claim.id))
    track = numbers = ""
    if values and (claim.rule or claim.bound):
        _, level, unit = _rows(claim, values)
        value, other, between = _least_clear(claim, values)
        axis = _axis([value, other], level, unit)
        dots = _line(level, axis) + _dots(other, HOLLOW, axis) + _dots(value, FULL, axis)
        track = f'<span class="track">{dots}</span>'
        numbers = f"{_number(value.value, unit)} {between} {_number(other.value, unit)}"
    return (
        f'<div class="one"><a href="{href}">{html.escape(claim.claim)}</a>'
        f'<div class="said">{track}{_pill(word)}<span class="number">{numbers}</span></div></div>'
    )


def _least_clear(claim, values):
    """Value and control of the reading that is least clear of it, or an absence's bound and power; a word between."""
    if claim.bound is not None:
        return values.value, values.power, "with a power of"

    def clearance(each):
        if claim.rule.clear == "above":
            return each.value.low - each.control.high
        return each.control.low - each.value.high

    worst = min(values, key=clearance)
    return worst.value, worst.control, "against"


def _pill(word, more=""):
    return (
        f'<span class="verdict {word.replace(" ", "-")}"><b>{SIGNS[word]} {word}{more}</b></span>'
    )


def _rule(claim):
    """The rule in a line, for the link to follow."""
    if claim.bound is not None:
        resampled = ", ".join(claim.bound["resampled"])
        return html.escape(f"Rule: no more than this may be there. Resampled: {resampled}. ")
    if claim.rule is None:
        return ""
    rule = claim.rule
    wanted = f"{rule.value} is {rule.clear} {rule.control}"
    if rule.level:
        kind, level = rule.level
        wanted += (
            f", and no worse than {rule.floor}"
            if kind == "as"
            else f", and {kind} {_number(level, rule.unit)}"
        )
    return html.escape(f"Rule: {wanted}. Resampled: {', '.join(rule.resampled)}. ")


def _rows(claim, measured):
    """What a card's picture shows: rows of (name, {kind of dot: estimate}), the level, the unit."""
    if claim.bound is not None:
        planted = f"power: {claim.bound['power']}, at {measured.at:.0%}"
        return [("copies", {FULL: measured.value}), (planted, {HOLLOW: measured.power})], None, "%"
    rule = claim.rule
    rows = [(each.reading, {FULL: each.value}) for each in measured]
    for name, of, kind in ((rule.control, "control", HOLLOW), (rule.floor, "floor", SQUARE)):
        known = [getattr(each, of) for each in measured]
        if len(set(known)) == 1 and known[0] is not None:  # one for all readings
            rows.append((name, {kind: known[0]}))
            continue
        for (_, lanes), estimate in zip(rows, known, strict=False):
            if estimate is not None:
                lanes[kind] = estimate
    level = rule.level[1] if rule.level and rule.level[0] != "as" else None
    return rows, level, rule.unit


def _picture(claim, measured):
    """Values, controls and floors as dots with their intervals on one axis."""
    if not measured or not (claim.rule or claim.bound):
        return ""
    rows, level, unit = _rows(claim, measured)
    axis = _axis([estimate for _, lanes in rows for estimate in lanes.values()], level, unit)
    drawn = "".join(_row(name, lanes, level, axis, unit) for name, lanes in rows)
    said = "; ".join(
        f"{name}: {' against '.join(_interval(one, unit) for one in lanes.values())}"
        for name, lanes in rows
    )
    return (
        f'<p class="what">{_what(claim, rows)}</p>'
        f'<div class="plot" role="img" aria-label="{html.escape(said)}">{drawn}'
        f'<div><span class="name"></span>{_ticks(level, axis, unit)}<span></span></div></div>'
    )


def _what(claim, rows):
    """What the dots are; controls and floors that have rows of their own are named there."""
    names = {FULL: claim.rule.value if claim.rule else claim.bound["value"]}
    if claim.rule and any(HOLLOW in lanes for _, lanes in rows if FULL in lanes):
        names[HOLLOW] = claim.rule.control
    if claim.rule and any(SQUARE in lanes for _, lanes in rows if FULL in lanes):
        names[SQUARE] = claim.rule.floor
    return "".join(
        f'<span><i class="dot {kind}"></i> {html.escape(name[0].upper() + name[1:])}</span>'
        for kind, name in names.items()
    )


def _row(name, lanes, level, axis, unit):
    tracks = "".join(
        f'<span class="track">{_line(level, axis)}{_dots(one, kind, axis)}</span>'
        for kind, one in lanes.items()
    )
    numbers = "".join(f"<span>{_interval(one, unit)}</span>" for one in lanes.values())
    return (
        f'<div><span class="name">{html.escape(name)}</span>'
        f'<span class="lanes">{tracks}</span><span class="number">{numbers}</span></div>'
    )


def _dots(estimate, kind, axis):
    """An estimate on its track: a dot, and a bar from end to end of its interval."""
    low, value, high = (
        _place(number, axis) for number in (estimate.low, estimate.value, estimate.high)
    )
    thick = 4 if kind == FULL else 2
    return (
        f'<i class="bar" style="left:{low}%;width:{max(high - low, 0.4):.2f}%;'
        f'top:calc(50% - {thick / 2}px);height:{thick}px"></i>'
        f'<i class="dot {kind}" style="left:calc({value}% - 6px)"></i>'
    )


def _line(level, axis):
    """The level that the words ask for."""
    if level is None:
        return ""
    return f'<i class="level" style="left:calc({_place(level, axis)}% - 1px)"></i>'


def _ticks(level, axis, unit):
    """The ends of the axis, and the level, which takes the place of an end that is near."""
    at = None if level is None else _place(level, axis)
    marks = [(place, end) for place, end in zip((0, 100), axis, strict=True)
             if at is None or abs(at - place) > NEAR]  # fmt: skip
    if at is not None:
        marks.append((at, level))
    labels = ""
    for place, number in sorted(marks):
        side = "first" if place < 8 else "last" if place > 92 else "middle"
        labels += f'<b class="{side}" style="left:{place}%">{_number(number, unit)}</b>'
    return f'<span class="track ticks">{labels}</span>'


def _axis(estimates: Sequence[Estimate], level, unit):
    """Both ends: 0 to 1 for shares, else what holds every interval, and 0 where that is near."""
    numbers = [number for each in estimates for number in each] + ([] if level is None else [level])
    least, most = min(numbers), max(numbers)
    if unit == "%":
        return min(0.0, least), max(1.0, most)
    if least > 0 and least < most / 2:
        least = 0.0
    if least == most:  # an untrained generator changes nothing, as its control does
        most = least + 1
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


def _interval(estimate, unit):
    low, high = _number(estimate.low, unit), _number(estimate.high, unit)
    return f"{_number(estimate.value, unit)} [{low}, {high}]"
