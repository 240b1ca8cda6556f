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
        '<p class="key track-key"><i class="dot full"></i> measured, <i class="dot hollow"></i> its control, '
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
        rows, level, unit = _rows(claim, values)
        if claim.rule:
            worst = min(values, key=lambda each: _clearance(each, claim.rule.clear))
            rows = [("", worst.value, True), ("", worst.control, False)]
        axis = _axis([estimate for _, estimate, _ in rows], level, unit)
        dots = "".join(_dots(estimate, full, axis) for _, estimate, full in reversed(rows))
        track = f'<span class="track">{_line(level, axis)}{dots}</span>'
        (_, value, _), (_, control, _) = rows
        between = "against" if claim.rule else "with a power of"
        numbers = f"{_number(value.value, unit)} {between} {_number(control.value, unit)}"
    return (
        f'<div class="row"><a href="{href}">{html.escape(claim.claim)}</a>'
        f'<div class="said">{track}{_pill(word)}<span class="number">{numbers}</span></div></div>'
    )


def _clearance(measured, side):
    if side == "above":
        return measured.value.low - measured.control.high
    return measured.control.low - measured.value.high


def _pill(word, more=""):
    return f'<span class="verdict {word.replace(" ", "-")}">{SIGNS[word]} {word}{more}</span>'


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
    """What a card's picture shows: rows of (name, estimate, whether its dot is full), the level, the unit."""
    if claim.bound is not None:
        planted = f"power: {claim.bound['power']}, at {measured.at:.0%}"
        return [("copies", measured.value, True), (planted, measured.power, False)], None, "%"
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
    return rows, level, rule.unit


def _picture(claim, measured):
    """Values, controls and floors as dots with their intervals on one axis."""
    if not measured or not (claim.rule or claim.bound):
        return ""
    rows, level, unit = _rows(claim, measured)
    axis = _axis([estimate for _, estimate, _ in rows], level, unit)
    drawn = "".join(_row(name, estimate, full, level, axis, unit) for name, estimate, full in rows)
    value = claim.rule.value if claim.rule else claim.bound["value"]
    said = html.escape("; ".join(f"{name}: {_interval(one, unit)}" for name, one, _ in rows))
    return (
        f'<p class="what">{html.escape(value[0].upper() + value[1:])}</p>'
        f'<div class="plot" role="img" aria-label="{said}">{drawn}'
        f'<div><span class="name"></span>{_ticks(level, axis, unit)}<span></span></div></div>'
    )


def _row(name, estimate, full, level, axis, unit):
    return (
        f'<div><span class="name">{html.escape(name)}</span>'
        f'<span class="track">{_line(level, axis)}{_dots(estimate, full, axis)}</span>'
        f'<span class="number">{_interval(estimate, unit)}</span></div>'
    )


def _dots(estimate, full, axis):
    """An estimate on its track: a dot, and a bar from end to end of its interval."""
    low, value, high = (
        _place(number, axis) for number in (estimate.low, estimate.value, estimate.high)
    )
    thick = 4 if full else 2
    return (
        f'<i class="bar" style="left:{low}%;width:{max(high - low, 0.4):.2f}%;'
        f'top:calc(50% - {thick / 2}px);height:{thick}px"></i>'
        f'<i class="dot {"full" if full else "hollow"}" style="left:calc({value}% - 6px)"></i>'
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
