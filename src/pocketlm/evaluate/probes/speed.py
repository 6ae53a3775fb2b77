"""Relative speed: when do two trains meet, how far apart are two cars, how long against a current?

Speeds add or take from each other as directions say, so that neither is always right. It knows the
questions and their exact answers; how a stated amount is read, `amounts.py` knows.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from pocketlm.evaluate.probes import amounts
from pocketlm.evaluate.probes.amounts import Slip
from pocketlm.evaluate.probes.probe import Probe, Variant, Verdict
from pocketlm.evaluate.probes.quantities import amount
from pocketlm.evaluate.probes.wording import MOST_TOKENS, ending, long, people, question_of

#: Minutes for which speeds in whole kilometres an hour give distances that are easy to write.
_MINUTES = (15, 20, 24, 30, 36, 40, 45, 48, 60, 72, 75, 80, 90, 105, 120, 150, 180)
_ADDED = "the speeds are added, though they take from each other"
_TAKEN = "the speeds take from each other, though they add up"


@dataclass(frozen=True)
class _Question:
    """What is told and asked, the right answer, and the numbers that it follows from."""

    told: str
    asked: str
    right: Fraction
    unit: str
    slips: tuple[Slip, ...]
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Units:
    """Kilometres or miles."""

    length: str

    def far(self, value: Fraction | int) -> str:
        return amount(Fraction(value), self.length)

    def fast(self, value: Fraction | int) -> str:
        return amount(Fraction(value), self.speed)

    @property
    def speed(self) -> str:
        return f"{self.length}/hour"


def _units(chance: random.Random) -> _Units:
    return _Units(chance.choice(("kilometre", "kilometre", "mile")))


def _time(chance: random.Random, minutes: Fraction) -> tuple[str, Fraction]:
    """A unit for a time, and the time in it: hours where they have few decimals."""
    hours = minutes / 60
    if minutes.denominator != 1 or ((10 * hours).denominator == 1 and chance.random() < 0.5):
        return "hour", hours
    return "minute", minutes


def _meet(chance: random.Random) -> _Question:
    units, (a, b) = _units(chance), people(chance, 2)
    thing, goes, speeds = chance.choice(
        (
            ("train", "runs", range(40, 165, 5)),
            ("car", "drives", range(30, 125, 5)),
            ("bicycle", "goes", range(10, 31)),
        )
    )
    v, w, minutes = _pair(chance, lambda v, w: v + w, speeds)
    distance = (v + w) * minutes / 60
    told = chance.choice(
        (
            f"Two towns are {units.far(distance)} apart. From each of them a {thing} starts at the "
            f"same time towards the other, one at {units.fast(v)}, the other at {units.fast(w)}.",
            f"{a} and {b} are {units.far(distance)} apart and start at the same time towards each "
            f"other. {a}'s {thing} {goes} at {units.fast(v)}, {b}'s at {units.fast(w)}.",
        )
    )
    unit, right = _time(chance, minutes)
    per = right / minutes * 60
    slips = (
        Slip(distance / abs(v - w) * per, _TAKEN),
        Slip(distance / v * per, "only one of the two moves"),
        Slip(distance / w * per, "only one of the two moves"),
        Slip(2 * right, "the average of the speeds is taken, not their sum"),
    )
    numbers = {"movers": [[0, v], [int(distance), -w]]}
    return _Question(told, "After how {long} do they meet?", right, unit, slips, numbers)


def _overtake(chance: random.Random) -> _Question:
    units, (a, b) = _units(chance), people(chance, 2)
    v, w, minutes = _pair(chance, lambda v, w: abs(v - w))
    slow, fast = sorted((v, w))
    ahead = (fast - slow) * minutes / 60
    unit, right = _time(chance, minutes)
    per = right / minutes * 60
    head = Fraction(ahead, slow)  # hours that the slow one started earlier
    if (60 * head).denominator == 1 and chance.random() < 0.5:
        told = (
            f"{a} drives off at {units.fast(slow)}. {amount(60 * head, 'minute')} later {b} "
            f"follows on the same road at {units.fast(fast)}."
        )
        asked = f"How {{long}} after {b}'s start does {b} catch up with {a}?"
    else:
        told = (
            f"{a} drives at {units.fast(slow)}. {units.far(ahead)} behind, {b} drives in the same "
            f"direction at {units.fast(fast)}."
        )
        asked = f"After how {{long}} does {b} catch up with {a}?"
    slips = (
        Slip(ahead / (fast + slow) * per, _ADDED),
        Slip(ahead / fast * per, "the one in front does not wait"),
        Slip(right + head * per, "counted from the first one's start"),
    )
    numbers = {"movers": [[int(ahead), slow], [0, fast]]}
    return _Question(told, asked, right, unit, slips, numbers)


def _pair(
    chance: random.Random, relative: Callable[[int, int], int], speeds: range = range(15, 125, 5)
) -> tuple[int, int, Fraction]:
    """Two different speeds, and minutes in which their relative speed makes a whole distance."""
    while True:
        v, w = chance.sample(speeds, 2)
        minutes = Fraction(chance.choice(_MINUTES))
        if (relative(v, w) * minutes / 60).denominator == 1:
            return v, w, minutes


def _apart(chance: random.Random) -> _Question:
    units, (a, b) = _units(chance), people(chance, 2)
    same = chance.random() < 0.5
    v, w, minutes = _pair(chance, lambda v, w: abs(v - w) if same else v + w)
    right = (abs(v - w) if same else v + w) * minutes / 60
    way = "in the same direction" if same else "in opposite directions"
    hours = minutes / 60
    lasts = amount(hours, "hour") if (2 * hours).denominator == 1 else amount(minutes, "minute")
    told = (
        f"{a} and {b} leave the same place at the same time {way}, {a} at {units.fast(v)} and {b} "
        f"at {units.fast(w)}."
    )
    other = (v + w if same else abs(v - w)) * minutes / 60
    slips = (
        Slip(other, _ADDED if same else _TAKEN),
        Slip(Fraction(abs(v - w) if same else v + w), "the distance after one hour"),
        Slip(v * minutes / 60, "only one of the two moves"),
        Slip(w * minutes / 60, "only one of the two moves"),
    )
    numbers = {"movers": [[0, v], [0, w if same else -w]], "minutes": int(minutes)}
    asked = f"How far apart are they after {lasts}?"
    return _Question(told, asked, right, units.length, slips, numbers)


def _seen(chance: random.Random) -> _Question:
    units, (a, b) = _units(chance), people(chance, 2)
    v, w = (5 * n for n in chance.sample(range(6, 30), 2))
    same = chance.random() < 0.5
    way = "in the same direction" if same else "towards each other"
    right = abs(v - w) if same else v + w
    told = (
        f"{a}'s train runs at {units.fast(v)} and {b}'s train at {units.fast(w)}, {way}, on "
        "parallel tracks."
    )
    asked = chance.choice(
        (
            f"At what speed does {b}'s train move as seen from {a}'s?",
            "What is the speed of one train relative to the other?",
        )
    )
    slips = (
        Slip(Fraction(v + w if same else abs(v - w)), _ADDED if same else _TAKEN),
        Slip(Fraction(v), "relative to the ground"),
        Slip(Fraction(w), "relative to the ground"),
        Slip(Fraction(v + w, 2), "the average of the speeds"),
    )
    numbers = {"movers": [[0, v], [0, w if same else -w]]}
    return _Question(told, asked, Fraction(right), units.speed, slips, numbers)


def _walker(chance: random.Random) -> _Question:
    units, (a, b) = _units(chance), people(chance, 2)
    place, v = chance.choice(
        (("train", 5 * chance.randint(8, 30)), ("ferry", chance.randint(12, 40)))
    )
    w, forward = chance.randint(2, 6), chance.random() < 0.5
    on = "on" if place == "ferry" else "in"
    told = (
        f"A {place} goes at {units.fast(v)}. {a} walks {on} it at {units.fast(w)} towards its "
        f"{'front' if forward else 'rear'}, and {b} stands still beside the "
        f"{'tracks' if place == 'train' else 'river'}."
    )
    if chance.random() < 0.25:
        asked, right = f"How fast does {a} move relative to the {place}?", w
    else:
        asked, right = f"How fast does {a} move as seen by {b}?", v + w if forward else v - w
    slips = (
        Slip(Fraction(v - w if forward else v + w), _TAKEN if forward else _ADDED),
        Slip(Fraction(v + w if forward else v - w), "relative to the ground"),
        Slip(Fraction(v), f"the speed of the {place}"),
        Slip(Fraction(w), f"relative to the {place}"),
    )
    numbers = {"movers": [[0, v], [0, w if forward else -w]], "to": asked.split()[-1].strip("?")}
    return _Question(told, asked, Fraction(right), units.speed, slips, numbers)


def _river(chance: random.Random) -> _Question:
    units, (a, _) = _units(chance), people(chance, 2)
    way = chance.choice(("upstream", "downstream", "there and back"))
    while True:
        still, current = chance.randint(6, 24), chance.randint(1, 5)
        up, down = still - current, still + current
        distance = chance.randint(3, 60)
        hours = {"upstream": Fraction(distance, up), "downstream": Fraction(distance, down)}
        hours["there and back"] = hours["upstream"] + hours["downstream"]
        minutes = 60 * hours[way]
        if up > 2 and minutes.denominator == 1 and minutes % 5 == 0 and minutes <= 480:
            break
    boat = chance.choice(("boat", "kayak", "barge"))
    told = (
        f"{a}'s {boat} makes {units.fast(still)} in still water. The river flows at "
        f"{units.fast(current)}."
    )
    trip = {
        "upstream": f"{units.far(distance)} upstream",
        "downstream": f"{units.far(distance)} downstream",
        "there and back": f"{units.far(distance)} upstream and the same way back",
    }[way]
    unit, right = _time(chance, minutes)
    per = right / minutes * 60
    legs = 2 if way == "there and back" else 1
    slips = (
        Slip(legs * distance / Fraction(still) * per, "the current is left out"),
        Slip(hours["downstream"] * per, "the time downstream"),
        Slip(hours["upstream"] * per, "the time upstream"),
    )
    numbers = {"river": [still, current, distance, way]}
    asked = f"How {{long}} does the {boat} take for {trip}?"
    return _Question(told, asked, right, unit, slips, numbers)


def _passing(chance: random.Random) -> _Question:
    length, speed = 10 * chance.randint(8, 30), chance.choice((10, 15, 20, 25, 30, 40))
    what = chance.choice(("pole", "platform", "train", "train"))
    other, against, swift = 0, 0, speed
    same = False
    if what == "platform":
        other = 10 * chance.randint(10, 40)
        passes = f"a platform of {other} m, from when its front reaches it to when its end leaves"
    elif what == "train":
        other, against = 10 * chance.randint(8, 30), chance.choice((5, 10, 15, 20))
        same = speed > against and chance.random() < 0.5
        swift = speed - against if same else speed + against
        way = "in the same direction" if same else "the other way"
        passes = f"another train of {other} m that runs {way} at {_mps(chance, against)}"
        passes += ", from when they are level at first to when they are clear of each other"
    else:
        passes = "a signal post beside the tracks"
    right = Fraction(length + other, swift)
    told = f"A train of {length} m runs at {_mps(chance, speed)}."
    wrong = speed + against if same else abs(speed - against)
    slips = (
        Slip(Fraction(length + other, wrong) if wrong else Fraction(0), _ADDED if same else _TAKEN),
        Slip(Fraction(length, swift), "the other's length is left out"),
        Slip(Fraction(other, swift), "its own length is left out"),
        Slip(Fraction(length + other, speed), "the other does not stand still"),
        Slip(Fraction(length + other) / (swift * Fraction(18, 5)), "km/h taken for m/s"),
    )
    numbers = {"passing": [length, other, speed, against if same else -against]}
    asked = f"How {{long}} does it take to pass {passes}?"
    return _Question(told, asked, right, "second", slips, numbers)


def _mps(chance: random.Random, speed: int) -> str:
    """A speed in metres a second, or the same in km/h."""
    if chance.random() < 0.5:
        return amount(Fraction(speed), "metre/second")
    return amount(speed * Fraction(18, 5), "kilometre/hour")


_KINDS: dict[str, Callable[[random.Random], _Question]] = {
    "meet": _meet,
    "overtake": _overtake,
    "apart": _apart,
    "seen": _seen,
    "walker": _walker,
    "river": _river,
    "passing": _passing,
}
#: Units that an answer may choose from where its form is forced.
_OFFERED = {
    "minute": ("minutes", "hours"),
    "hour": ("hours", "minutes"),
    "second": ("seconds", "minutes"),
    "kilometre": ("km", "m"),
    "mile": ("miles", "feet"),
    "kilometre/hour": ("km/h", "m/s"),
    "mile/hour": ("mph", "km/h"),
}


class _Speed(Probe):
    name = "speed"
    number = 4
    about = "Relative speed: meeting, overtaking, a current, a train that passes another."
    seen = "right"
    most_tokens = MOST_TOKENS

    def draw(self, chance: random.Random, number: int) -> Variant:
        """Draw numbers, directions and wording of one of the kinds."""
        kind = list(_KINDS)[number % len(_KINDS)]
        while True:
            question = _KINDS[kind](chance)
            if (100 * question.right).denominator == 1:
                break
        asked, bare = long(chance, question.asked, question.unit)
        bare = bare and "{long}" in question.asked
        facts = amounts.facts(question.right, question.unit, bare=bare, slips=question.slips)
        facts |= {"kind": kind, **question.numbers}
        return Variant(
            number,
            [{"role": "user", "content": f"{question.told} {asked} {ending(chance)}"}],
            facts,
            amounts.target(question.right, question.unit),
            amounts.constrained(_OFFERED[question.unit]),
        )

    def judge(self, variant: Variant, answer: str) -> Verdict:
        """Judge the amount that is stated at last."""
        return amounts.judge(answer, question_of(variant), variant.facts)


PROBE = _Speed()
