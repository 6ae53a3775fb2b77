"""How long do fifty people take to dig a hole that one digs in five hours? Not six minutes.

Some work divides among all who are there, some is limited by room, some takes its time whoever
helps; so the answer varies. Where room is the limit, the figure of a plain division is wanted, and
that so many cannot work there at once: an answer with the figure alone misses the point. It knows
work and workers; how a stated time is read, `amounts.py` knows.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from pocketlm.evaluate.probes import amounts, quantities, statements
from pocketlm.evaluate.probes.amounts import Slip
from pocketlm.evaluate.probes.crowding import room_short
from pocketlm.evaluate.probes.probe import Constrained, Probe, Variant, Verdict
from pocketlm.evaluate.probes.quantities import amount
from pocketlm.evaluate.probes.wording import MOST_TOKENS, ending, people, question_of, reasoned

#: What parts of an answer are worth where room is the limit.
FIGURE, POINT, ASSUMED = 0.4, 0.6, 0.6
#: A right time, and a limit of room that the question rules out; a point with an absurd time.
NEEDLESS, ABSURD = 0.5, 0.3


@dataclass(frozen=True)
class _Question:
    """What is told and asked, the right time in minutes (or in `unit`), and where it comes from.

    `limited` is whether that so many cannot work there at once belongs to the answer, or must not
    be claimed (False), or does not matter (None). `numbers` are people, hours alone, and places.
    """

    told: str
    asked: str
    right: Fraction
    unit: str
    slips: tuple[Slip, ...]
    limited: bool | None
    numbers: tuple[int, ...]


#: Work at one place that a crowd does not fit around: what it is, what doing it is, by one person.
_NARROW = (
    ("a hole in the ground, ten feet deep and three feet wide", "dig"),
    ("a ten-foot hole for a well, just wide enough to stand in", "dig"),
    ("the inside of a small cupboard", "paint"),
    ("one garden gate", "paint"),
    ("the engine of a small car", "take apart"),
    ("one grandfather clock", "repair"),
    ("the chimney of a cottage", "sweep and repair"),
    ("a stone bust of a head", "carve"),
    ("one bathroom of two square yards", "tile"),
    ("a pit of one square yard, ten feet deep", "dig"),
)
#: Work with a place for everybody.
_WIDE = (
    ("the apples of a large orchard, where each picker has rows of trees for himself", "pick"),
    ("the potatoes of a huge field, where everybody has a stretch for himself", "dig up"),
    ("thousands of envelopes, at tables with a seat for everyone", "address"),
    ("a long straight ditch along a road, where everybody digs a stretch of his own", "dig"),
    ("a great pile of letters, at desks that stand there for everyone", "sort"),
    ("a mile of fence, where everybody has posts of his own", "paint"),
    ("the litter of a wide beach, on which everybody has a strip for himself", "collect"),
)
#: What takes its time, whoever helps: told of a few, asked of many.
_FIXED = (
    ("One woman is pregnant for 9 months until her baby is born.",
     "How {long} do {n} women take together until one baby is born?", 9, "month"),
    ("An orchestra of {m} players takes {t} minutes for a symphony.",
     "How {long} does an orchestra of {n} players take for the same symphony?", 0, "minute"),
    ("A train with {m} passengers takes {t} minutes from one town to the next.",
     "How {long} does the same train take with {n} passengers?", 0, "minute"),
    ("When {m} people watch a film in a cinema, it takes {t} minutes.",
     "How {long} does the film take when {n} people watch it?", 0, "minute"),
    ("A choir of {m} sings a song in {t} minutes.",
     "How {long} does a choir of {n} take for the song?", 0, "minute"),
    ("A cake stays in the oven for {t} minutes when {m} bakers look after it.",
     "How {long} does it stay in the oven when {n} bakers look after it?", 0, "minute"),
)  # fmt: skip
#: Work with few places or tools: what, doing it, and how the limit is said.
_FEW = (
    ("a trench", "dig", "There are only {k} shovels, and nobody can work without one."),
    ("a shaft", "dig", "At most {k} people can dig in it at the same time."),
    ("a pile of firewood", "chop", "There are only {k} axes, and nobody can chop without one."),
    ("a wall", "paint", "There are only {k} brushes, and nobody can paint without one."),
    ("a stack of dishes", "wash", "There is room for {k} people at the sinks."),
    ("a stack of forms", "type", "There are only {k} typewriters for it."),
)
_OWN = (
    ("hole", "dig"),
    ("sweater", "knit"),
    ("letter to all its customers", "write"),
    ("bench", "build"),
    ("rowing boat", "paint"),
)


def _room(chance: random.Random) -> _Question:
    what, do = chance.choice(_NARROW)
    n, hours = _divisible(chance)
    return _alone(chance, what, do, (n, hours), Fraction(hours * 60, n), (), True)


def _divides(chance: random.Random) -> _Question:
    what, do = chance.choice(_WIDE)
    n, hours = _divisible(chance)
    slips = (Slip(Fraction(hours * 60), "as if only one worked"),)
    return _alone(chance, what, do, (n, hours), Fraction(hours * 60, n), slips, False)


def _places(chance: random.Random) -> _Question:
    what, do, limit = chance.choice(_FEW)
    while True:
        n, hours = _divisible(chance)
        k = chance.randint(2, 9)
        if hours * 60 % k == 0 and k < n:
            break
    slips = (
        Slip(Fraction(hours * 60, n), "divided among all, though few can work at once"),
        Slip(Fraction(hours * 60), "as if only one worked"),
    )
    question = _alone(chance, what, do, (n, hours, k), Fraction(hours * 60, k), slips, None)
    return replace(question, told=f"{question.told} {limit.format(k=k)}")


def _alone(
    chance: random.Random,
    what: str,
    do: str,
    numbers: tuple[int, ...],
    minutes: Fraction,
    slips: tuple[Slip, ...],
    limited: bool | None,
) -> _Question:
    """Work that one person does alone in some hours, and that many are to do."""
    n, hours, *_ = numbers
    (name,) = people(chance, 1)
    slips = (*slips, Slip(Fraction(n * hours * 60), "multiplied, though many are no slower"))
    told, asked = chance.choice(
        (
            (
                f"It takes one person {amount(Fraction(hours), 'hour')} to {do} {what}.",
                f"How {{long}} do {n} people take to {do} it?",
            ),
            (
                f"{name} needs {amount(Fraction(hours), 'hour')} to {do} {what}.",
                f"How {{long}} do {n} people need who each work as fast as {name}?",
            ),
            (
                f"One worker can {do} {what} in {amount(Fraction(hours), 'hour')}.",
                f"If {n} such workers come to {do} it, how {{long}} does it take?",
            ),
        )
    )
    return _Question(told, asked, minutes, "minute", slips, limited, numbers)


def _fixed(chance: random.Random) -> _Question:
    told, asked, time, unit = chance.choice(_FIXED)
    m = chance.choice((10, 20, 30, 40))
    n = m * chance.choice((2, 3, 5)) if time == 0 else chance.choice((2, 3, 6, 9))
    t = time or chance.choice((12, 20, 24, 30, 40, 60, 90))
    m = 1 if time else m
    slips = (
        Slip(Fraction(t * m, n), "divided, though it takes its time whoever helps"),
        Slip(Fraction(t * n, m), "multiplied, though it takes its time whoever is there"),
    )
    told, asked = told.format(m=m, t=t), asked.format(n=n, long="{long}")
    return _Question(told, asked, Fraction(t), unit, slips, None, (n, t))


def _own(chance: random.Random) -> _Question:
    what, do = chance.choice(_OWN)
    n, hours = _divisible(chance)
    each = chance.choice((1, 1, 2, 3))
    (name,) = people(chance, 1)
    told = f"{name} can {do} one {what} in {amount(Fraction(hours), 'hour')}."
    asked = (
        f"{n} people who work as fast as {name} each {do} {'one' if each == 1 else each} of their "
        "own, all at the same time. How {long} does it take until all are finished?"
    )
    slips = (
        Slip(Fraction(hours * 60, n), "divided, though each does a whole one"),
        Slip(Fraction(hours * 60 * n * each), "multiplied, though all work at the same time"),
        Slip(Fraction(hours * 60), "each does more than one"),
    )
    right = Fraction(hours * 60 * each)
    return _Question(told, asked, right, "minute", slips, False, (n, hours, each))


def _divisible(chance: random.Random) -> tuple[int, int]:
    """People, and hours that are whole minutes for each of them."""
    while True:
        n = chance.choice((10, 12, 15, 20, 25, 30, 40, 50, 50, 60, 100))
        hours = chance.randint(2, 24)
        if hours * 60 % n == 0 and hours != n:
            return n, hours


_KINDS: tuple[tuple[str, Callable[[random.Random], _Question]], ...] = (
    ("room", _room),
    ("divides", _divides),
    ("room", _room),
    ("fixed", _fixed),
    ("places", _places),
    ("own", _own),
)

#: What an answer says of the limit where its form is forced.
_REMARKS = (
    "the work divides among all of them",
    "not all of them have room to work at once",
    "each does his own, or more people do not make it faster",
)


class _Digging(Probe):
    name = "digging"
    number = 10
    about = "How long do fifty people take to dig a ten-foot hole that one digs in a given time?"
    seen = "failed: misses the point"
    most_tokens = MOST_TOKENS

    def draw(self, chance: random.Random, number: int) -> Variant:
        """Draw work, workers and their time."""
        kind, draw = _KINDS[number % len(_KINDS)]
        question = draw(chance)
        unit, right, per = question.unit, question.right, Fraction(1)
        if unit == "minute" and (right > 600 or right % 60 == 0) and chance.random() < 0.7:
            unit, per = "hour", Fraction(1, 60)
        slips = [Slip(slip.value * per, slip.why, slip.score) for slip in question.slips]
        asked = question.asked.format(long="long")
        facts = amounts.facts(right * per, unit, slips=slips)
        facts |= {"kind": kind, "limited": question.limited, "numbers": question.numbers}
        target = amounts.target(right * per, unit)
        if question.limited:
            target += " by division, but so many cannot work there at once"
        return Variant(
            number,
            [{"role": "user", "content": f"{question.told} {asked} {ending(chance)}"}],
            facts,
            target,
            _constrained([f"{name}s" for name in dict.fromkeys(("minute", "hour", unit))]),
        )

    def judge(self, variant: Variant, answer: str) -> Verdict:
        """Judge the time, and whether the limit of room is seen where there is one, only there."""
        text = statements.own(_spoken(answer), question_of(variant))
        time = amounts.judge(text, "", variant.facts)
        limited = variant.facts["limited"]
        room = room_short(text)
        if limited:
            return _limited(text, variant, time, room)
        if limited is False and room == "said" and time.passed:
            return Verdict(NEEDLESS, f"{time.why}; but says that room is short, which it is not")
        return time


def _limited(text: str, variant: Variant, time: Verdict, room: str) -> Verdict:
    """Judge where room is the limit: the figure may stand anywhere, the point must be made."""
    right, unit = Fraction(variant.facts["right"]), variant.facts["unit"]
    figure = time.passed or amounts.mentions(text, right, unit)
    wanted = amount(right, unit)
    match room, figure:
        case "said", True:
            return Verdict(1.0, f"divides ({wanted}), and sees that so many have no room")
        case "said", False:
            n, hours, *_ = variant.facts["numbers"]
            alone = Fraction(hours * 3600) / quantities.UNITS[unit].factor
            if amounts.mentions(text, alone * n, unit):
                return Verdict(ABSURD, f"sees that room is short, but multiplies; {wanted}")
            return Verdict(POINT, f"sees that so many have no room; without the figure {wanted}")
        case "supposed", True:
            return Verdict(ASSUMED, f"divides ({wanted}); names room as an assumption alone")
        case _, True:
            return Verdict(FIGURE, f"naive division alone ({wanted}): so many have no room")
    return Verdict(0.0, f"{time.why}; and it does not see that so many have no room")


def _constrained(units: Sequence[str]) -> Constrained:
    answer = {
        "type": "object",
        "properties": {
            "time": {
                "type": "string",
                "pattern": f"^[0-9]{{1,5}}(\\.[0-9]{{1,2}})? ({'|'.join(units)})$",
            },
            "remark": {"enum": list(_REMARKS)},
        },
        "required": ["time", "remark"],
        "additionalProperties": False,
    }
    ask = (
        "The answer is an object with the time (a number and its unit) and the remark that fits: "
        + "; ".join(f'"{remark}"' for remark in _REMARKS)
        + "."
    )
    return reasoned(answer, ask)


def _spoken(answer: str) -> str:
    """An answer as sentences, if it is the object of the forced form."""
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return answer
    if not isinstance(found, dict):
        return answer
    return "\n".join(f"{value}." for value in found.values() if isinstance(value, str))


PROBE = _Digging()
