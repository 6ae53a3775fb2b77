"""Judges an answer that is a number, perhaps with a unit: 90 minutes are 1.5 hours.

What is judged is the final statement alone. It knows the right amount, and slips that are known
beforehand, each with what it is worth. It does not know how the right amount came about.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

from pocketlm.evaluate.probes import quantities, statements
from pocketlm.evaluate.probes.probe import Constrained, Verdict
from pocketlm.evaluate.probes.quantities import UNITS, Quantity
from pocketlm.evaluate.probes.wording import reasoned

#: What is given for a right number whose unit is missing, or is another one.
NO_UNIT, OTHER_UNIT = 0.5, 0.25
#: What is given for a number that was rounded too far.
ROUNDED = 0.5
#: Significant digits to which a number may be rounded.
_DIGITS = 3
#: A number, and nothing else.
_BARE = re.compile(r"\W*(?:about|approximately|around)?\W*[\d.,/]+\W*", re.IGNORECASE)
#: After a number: it is what the sentence is about, "12 is 15% of 80".
_SUBJECT = re.compile(r"\s*(?:is|are)\b.*\bof\b", re.IGNORECASE)


@dataclass(frozen=True)
class Slip:
    """A wrong amount, in the right one's unit, that tells what went wrong."""

    value: Fraction
    why: str
    score: float = 0.0


def facts(
    right: Fraction, unit: str | None, *, bare: bool = False, slips: Sequence[Slip] = ()
) -> dict[str, Any]:
    """What `judge` needs to know, as JSON.

    `bare` is whether a number without a unit will do ("How many minutes …?"). Slips that are right
    here, or zero, are none; of slips with the same amount the first counts.
    """
    known: dict[Fraction, Slip] = {}
    for slip in slips:
        if slip.value not in (right, 0):
            known.setdefault(slip.value, slip)
    return {
        "right": str(right),
        "unit": unit,
        "bare": bare or unit is None,
        "slips": [[str(slip.value), slip.why, slip.score] for slip in known.values()],
    }


def target(right: Fraction, unit: str | None) -> str:
    """The right answer for people who read."""
    return quantities.amount(right, unit) if unit else quantities.number(right)


def constrained(units: Sequence[str]) -> Constrained:
    """JSON with reasoning, then a number and one of these units ("hours"); or none, if there is."""
    if not units:
        ask = "The answer is the number alone."
    else:
        ask = f"The answer is a number and its unit ({' or '.join(units)})."
    return reasoned({"type": "string", "pattern": pattern(units)}, ask)


def pattern(units: Sequence[str]) -> str:
    """What a number with one of these units looks like; without, if there are none."""
    number = r"-?[0-9]{1,7}(\.[0-9]{1,3}|/[0-9]{1,4})?"
    return f"^{number} ({'|'.join(units)})$" if units else f"^{number}$"


def judge(answer: str, question: str, facts: Mapping[str, Any]) -> Verdict:
    """What an answer to a question is worth, by what `facts` made."""
    right, unit = Fraction(facts["right"]), facts["unit"]
    wanted = UNITS[unit] if unit else None
    text = statements.own(answer, question)

    def tells(sentence: str) -> bool:
        return bool(_candidates(sentence, wanted, facts["bare"]))

    final = statements.final(text, tells)
    stated = _stated(final, wanted, facts["bare"]) if final else None
    if final is None or stated is None:
        return _unitless(text, right, unit)
    if isinstance(stated, str):
        return Verdict(0.0, stated)
    if stated.unit is None:
        stated = _with_unit(text, stated, wanted)
    announced = None if final.announced else _announced(text)
    if announced is not None and announced != stated.value:
        return _unitless(text, right, unit)
    for rival in final.rivals:
        other = _stated(statements.Final(rival, True), wanted, facts["bare"])
        if isinstance(other, Quantity) and not _same(other, stated, wanted):
            said, before = _shown(stated, unit), _shown(other, unit)
            return Verdict(0.0, f"contradicts itself: first {before}, then {said}")
    return _valued(stated, right, unit, facts["slips"])


def _valued(
    stated: Quantity, right: Fraction, unit: str | None, slips: Sequence[Sequence[Any]]
) -> Verdict:
    """What a stated amount is worth."""
    said, wanted = _shown(stated, unit), target(right, unit)
    if _agrees(stated, right, unit):
        return Verdict(1.0, f"right: {said}")
    for value, why, score in slips:
        if _agrees(stated, Fraction(value), unit):
            return Verdict(score, f"says {said}: {why}; it is {wanted}")
    if unit is not None and stated.unit is not None and stated.value == right:
        return Verdict(OTHER_UNIT, f"right number, other unit: {said}; it is {wanted}")
    if _rounds(stated, right, unit) and stated.value:
        return Verdict(ROUNDED, f"rounded too far: {said}; it is {wanted}")
    return Verdict(0.0, f"says {said}; it is {wanted}")


def _with_unit(text: str, stated: Quantity, wanted: quantities.Unit | None) -> Quantity:
    """A number as it was said before with a unit: "It takes 1.6 hours. The answer is 1.6."."""
    if wanted is None:
        return stated
    known = quantities.read(text, dimension=wanted.dimension)
    return next((q for q in reversed(known) if q.value == stated.value), stated)


def _announced(text: str) -> Fraction | None:
    """The answer that is announced as a number and nothing else: "So the answer is 30."."""
    final = statements.final(text, lambda sentence: bool(quantities.read(sentence)))
    if final is None or not final.announced or not _BARE.fullmatch(final.said):
        return None
    return quantities.read(final.said)[0].value


def _unitless(text: str, right: Fraction, unit: str | None) -> Verdict:
    """Of an answer that states no amount of the right dimension."""
    final = statements.final(text, lambda sentence: bool(_candidates(sentence, None, True)))
    stated = _stated(final, None, True) if final else "no number is stated"
    if unit is None or isinstance(stated, str):
        return Verdict(0.0, stated if isinstance(stated, str) else "no number is stated")
    wanted = target(right, unit)
    if stated.value != right:
        said, what = quantities.number(stated.value), UNITS[unit].dimension
        return Verdict(0.0, f"says {said}, and no {what}; it is {wanted}")
    if stated.unit is None:
        return Verdict(NO_UNIT, f"right number without its unit; it is {wanted}")
    return Verdict(OTHER_UNIT, f"right number, other unit: {stated.unit.name}; it is {wanted}")


def _candidates(text: str, wanted: quantities.Unit | None, bare: bool) -> list[Quantity]:
    """Amounts in a sentence that can be an answer, those that are denied left out."""
    found = _ranged(text, quantities.read(text))
    found = [q for q in found if not statements.denied(text, q.start)]
    if wanted is None:
        return [q for q in found if not q.spelled] or found
    fitting = [q for q in found if q.unit is not None and q.unit.dimension == wanted.dimension]
    if fitting or not bare:
        return fitting
    return [q for q in found if q.unit is None and not q.spelled]


def _ranged(text: str, found: list[Quantity]) -> list[Quantity]:
    """Give the first of "4 or 5 hours" its unit."""
    for n in range(len(found) - 1, 0, -1):
        before, after = found[n - 1 : n + 1]
        between = text[before.end : after.start]
        ranges = statements.ranges(between) or between.strip() == "-"
        if before.unit is None and after.unit and ranges:
            found[n - 1] = replace(before, unit=after.unit)
    return found


def _stated(final: statements.Final, wanted: quantities.Unit | None, bare: bool) -> Quantity | str:
    """The amount that a statement comes to, or why it comes to none."""
    text = final.said
    main = statements.main_clause(text)
    if _candidates(main, wanted, bare):
        text = main
    text = _result(text, wanted, bare)
    found = _candidates(text, wanted, bare)
    if not found:
        return "states no number"
    first = final.announced or (wanted is None and _SUBJECT.match(text[found[0].end :]))
    chosen = found[0] if first else found[-1]
    for before, after in pairwise(found):
        # What is worked out stands after "=": here a stroke between units is no minus.
        stroke = before.unit is not None and text[before.end : after.start].strip() == "-"
        choice = stroke or statements.hedged(text, before.end, after.start)
        if choice and not _same(before, after, wanted):
            return f"leaves it open: {text[before.start : after.end].strip()}"
    if statements.bounds(text, chosen.start):
        return f"gives a bound alone: {text.strip()[:80]}"
    return chosen


def _result(text: str, wanted: quantities.Unit | None, bare: bool) -> str:
    """What follows the last sign of equality before which there is a calculation."""
    for sign in ("=", "≈"):
        _, found, after = text.rpartition(sign)
        if found and _candidates(after, wanted, bare):
            return f"= {after.strip()}"
    return text


def _in(stated: Quantity, unit: str | None) -> Fraction:
    """A value in a unit; one that has no unit is in that already."""
    if unit is None or stated.unit is None:
        return stated.value
    return stated.first / UNITS[unit].factor


def _same(a: Quantity, b: Quantity, wanted: quantities.Unit | None) -> bool:
    unit = wanted.name if wanted else None
    return _agrees(a, _in(b, unit), unit) or _agrees(b, _in(a, unit), unit)


def _agrees(stated: Quantity, right: Fraction, unit: str | None) -> bool:
    """Whether a stated amount is the right one, or that rounded to enough digits.

    Only what cannot be written with few decimals in the stated unit may be rounded.
    """
    if _in(stated, unit) == right:
        return True
    if stated.places is None or len(str(int(abs(stated.value) * 10**stated.places))) < _DIGITS:
        return False
    exact = right if unit is None or stated.unit is None else _of(right, unit, stated.unit)
    return (1000 * exact).denominator != 1 and _rounds(stated, right, unit)


def _rounds(stated: Quantity, right: Fraction, unit: str | None) -> bool:
    """Whether a stated amount is the right one rounded to the places that it has."""
    if stated.places is None and stated.value.denominator != 1:
        return False
    exact = right if unit is None or stated.unit is None else _of(right, unit, stated.unit)
    return abs(stated.value - exact) <= Fraction(1, 2 * 10 ** (stated.places or 0))


def _of(value: Fraction, unit: str, other: quantities.Unit) -> Fraction:
    return value * UNITS[unit].factor / other.factor


def _shown(stated: Quantity, unit: str | None) -> str:
    if stated.unit is not None:
        return quantities.amount(stated.value, stated.unit.name)
    return target(stated.value, unit)


def mentions(text: str, right: Fraction, unit: str) -> bool:
    """Whether a `plain` text states an amount anywhere, and not to deny it."""
    return any(_agrees(q, right, unit) for q in _candidates(text, UNITS[unit], False))
