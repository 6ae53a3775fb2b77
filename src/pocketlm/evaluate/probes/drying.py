"""How long do shirts take to dry, when there are more of them? It depends on what holds them up.

The same things come side by side (the time stays), in loads, one after another, some of them later,
or of two kinds; so neither "the same" nor "in proportion" is the answer. It knows the questions and
their answers; how a stated time is read, `amounts.py` knows.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from pocketlm.evaluate.probes import amounts
from pocketlm.evaluate.probes.amounts import Slip
from pocketlm.evaluate.probes.probe import Probe, Variant, Verdict
from pocketlm.evaluate.probes.quantities import amount
from pocketlm.evaluate.probes.wording import MOST_TOKENS, ending, long, people, question_of


@dataclass(frozen=True)
class _Family:
    """Things that take their time in some place: what questions say of them.

    `wide` is a place with room for all of them, `narrow` one for {c}, `single` one for one. `put`
    is what is done to them, `slow` are things of the same place that take longer.
    """

    things: str
    slow: str
    do: str
    put: str
    wide: str
    narrow: str
    single: str
    unit: str
    times: tuple[int, ...]


_FAMILIES = (
    _Family(
        "shirts", "coats", "dry", "hung up",
        "a clothes line in the sun that is long enough for all of it",
        "a drying rack that holds {c} pieces of clothing at a time",
        "a drying cabinet that holds one piece of clothing at a time",
        "hour", (2, 3, 4, 5, 6),
    ),
    _Family(
        "trays of cookies", "trays of rolls", "bake", "put in",
        "a baker's oven that is big enough for all the trays",
        "an oven that holds {c} trays at a time",
        "a small oven that holds one tray at a time",
        "minute", (12, 15, 18, 20, 25),
    ),
    _Family(
        "clay bowls", "clay pitchers", "be fired", "put in",
        "a kiln with room for everything",
        "a kiln that holds {c} pieces at a time",
        "a tiny kiln that holds a single piece",
        "hour", (6, 7, 8, 9, 10),
    ),
    _Family(
        "phones", "tablets", "charge", "plugged in",
        "a power strip with a free socket for each device",
        "a charger with sockets for {c} devices",
        "a charger with a socket for one device",
        "minute", (40, 50, 60, 70, 90),
    ),
    _Family(
        "eggs", "potatoes", "boil", "put in",
        "a pot of boiling water that is big enough for all of it",
        "a pot that holds {c} pieces at a time",
        "a tiny pot that holds one piece at a time",
        "minute", (6, 7, 8, 9, 10),
    ),
    _Family(
        "ice trays", "ice cream moulds", "freeze", "put in",
        "a freezer with plenty of space",
        "a freezer that has room for {c} trays or moulds",
        "a freezer so small that one tray or mould fills it",
        "hour", (2, 3, 4, 5),
    ),
    _Family(
        "canoes", "barges", "pass the lock", "let in",
        "a lock that is long enough for all the boats at once",
        "a lock that holds {c} boats at a time",
        "a lock that holds one boat at a time",
        "minute", (10, 12, 14, 16, 18),
    ),
    _Family(
        "painted boards", "painted doors", "dry", "laid out",
        "a hall where everything can lie side by side",
        "drying racks with room for {c} pieces",
        "a workbench with room for one piece",
        "hour", (3, 4, 5, 8),
    ),
    _Family(
        "small sand glasses", "large sand glasses", "run through", "turned over",
        "a table where all of the glasses can stand",
        "a holder that turns {c} glasses at a time",
        "a holder that turns one glass at a time",
        "minute", (3, 4, 5, 7, 9),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class _Question:
    """What is told and asked, the right time in the family's unit, and how the world goes.

    In `asked`, {long} is "long" or "many hours". `world` has how many fit at once (None: all), and
    of each thing when it can begin and how long it takes.
    """

    told: str
    asked: str
    right: int
    slips: tuple[Slip, ...]
    slots: int | None
    jobs: list[tuple[int, int]]


def _together(chance: random.Random, family: _Family) -> _Question:
    a, b, t = *_counts(chance), chance.choice(family.times)
    told = (
        f"{_owner(chance)} has {family.wide}. {a} {family.things}, {family.put} at the same time, "
        f"take {amount(Fraction(t), family.unit)} to {family.do}."
    )
    asked = chance.choice(
        (
            f"How {{long}} do {b} {family.things} take, {family.put} at the same time?",
            f"{b} {family.things} are {family.put} at once. How {{long}} does it take until all of "
            f"them are done?",
        )
    )
    slip = Slip(Fraction(t * b, a), "in proportion, though they go side by side")
    return _Question(told, asked, t, (slip,), None, [(0, t)] * b)


def _loads(chance: random.Random, family: _Family) -> _Question:
    while True:
        a, b, t, c = *_counts(chance), chance.choice(family.times), chance.randint(2, 9)
        loads = -(-b // c)
        if a <= c and 2 <= loads <= 6 and loads * a != b:
            break
    return _limited(chance, family, (a, b, t, c), loads * t)


def _one_load(chance: random.Random, family: _Family) -> _Question:
    a, b = _counts(chance)
    return _limited(
        chance, family, (a, b, chance.choice(family.times), b + chance.randint(0, 6)), None
    )


def _limited(
    chance: random.Random, family: _Family, numbers: tuple[int, int, int, int], right: int | None
) -> _Question:
    """A place that holds c at a time; without a right time said, one load is enough."""
    a, b, t, c = numbers
    told = (
        f"{_owner(chance)} has {family.narrow.format(c=c)}. {a} {family.things}, {family.put} at "
        f"the same time, take {amount(Fraction(t), family.unit)} to {family.do}."
    )
    slips = (
        Slip(Fraction(t), "the time of one load, and it takes several"),
        Slip(Fraction(t * b, a), "in proportion, though a load takes as long whatever is in it"),
        Slip(Fraction(t * b, c), "part of a load takes as long as a full one"),
        Slip(Fraction(t * (b // c)), "the last load is missing"),
    )
    return _Question(told, _until_done(chance, b, family), right or t, slips, c, [(0, t)] * b)


def _queue(chance: random.Random, family: _Family) -> _Question:
    a, b, t = *_counts(chance), chance.choice(family.times)
    told = (
        f"{_owner(chance)} has {family.single}. {a} {family.things}, {family.put} one after "
        f"another, take {amount(Fraction(a * t), family.unit)} in all to {family.do}."
    )
    slips = (
        Slip(Fraction(a * t), "the same time, though they go one after another"),
        Slip(Fraction(t), "the time of one alone"),
    )
    return _Question(told, _until_done(chance, b, family), b * t, slips, 1, [(0, t)] * b)


def _later(chance: random.Random, family: _Family) -> _Question:
    (a, b), t = _counts(chance), chance.choice(family.times)
    delay = chance.choice([d for d in (1, 2, 3, 5, 10, 15) if d != t and d < 2 * t])
    told = (
        f"{_owner(chance)} has {family.wide}. {family.things.capitalize()} take "
        f"{amount(Fraction(t), family.unit)} to {family.do}. First {a} of them are {family.put}, "
        f"and {amount(Fraction(delay), family.unit)} later {b} more, beside them."
    )
    asked = f"How {{long}} after the first ones were {family.put} are all of them done?"
    slips = (
        Slip(Fraction(t), "the time of the first ones alone"),
        Slip(Fraction(2 * t), "one after another, though the second ones begin before"),
        Slip(Fraction(2 * t + delay), "one after another, though they go side by side"),
    )
    return _Question(told, asked, t + delay, slips, None, [(0, t)] * a + [(delay, t)] * b)


def _two_kinds(chance: random.Random, family: _Family) -> _Question:
    (a, b), t = _counts(chance), chance.choice(family.times)
    slow = t + chance.choice([n for n in (1, 2, 3, 4, 6, 10) if n <= t])
    told = (
        f"{_owner(chance)} has {family.wide}. {family.things.capitalize()} take "
        f"{amount(Fraction(t), family.unit)} to {family.do}, {family.slow} take "
        f"{amount(Fraction(slow), family.unit)}."
    )
    jobs = [(0, t)] * a
    if chance.random() < 0.5:
        told += f" {a} {family.things} and {b} {family.slow} are {family.put} at the same time."
        jobs += [(0, slow)] * b
        right = slow
    else:
        told += (
            f" First {a} {family.things} are {family.put}, and only when these are done, "
            f"{b} {family.slow}."
        )
        jobs += [(t, slow)] * b
        right = t + slow
    asked = "How {long} does it take until everything is done?"
    slips = (
        Slip(Fraction(t + slow), "one after another, though they go side by side"),
        Slip(Fraction(slow), "side by side, though they go one after another"),
        Slip(Fraction(a * t + b * slow), "each alone, though many go side by side"),
    )
    return _Question(told, asked, right, slips, None, jobs)


#: How many of the variants are of which kind: they take turns.
_KINDS: dict[str, Callable[[random.Random, _Family], _Question]] = {
    "together": _together,
    "loads": _loads,
    "queue": _queue,
    "one load": _one_load,
    "later": _later,
    "two kinds": _two_kinds,
}


def _owner(chance: random.Random) -> str:
    return people(chance, 1)[0]


def _counts(chance: random.Random) -> tuple[int, int]:
    """How many things the time is told of, and how many it is asked of."""
    a = chance.randint(2, 8)
    return a, chance.choice([b for b in range(3, 25) if b != a and (b > a or b >= 4)])


def _until_done(chance: random.Random, count: int, family: _Family) -> str:
    return chance.choice(
        (
            f"How {{long}} does it take until {count} {family.things} are done?",
            f"How {{long}} do {count} {family.things} take?",
        )
    )


class _Drying(Probe):
    name = "drying"
    number = 3
    about = "How long do shirts take to dry, side by side, in loads, or one after another?"
    seen = "right, well explained"
    most_tokens = MOST_TOKENS

    def draw(self, chance: random.Random, number: int) -> Variant:
        """Draw a family of things and a question about them."""
        family = chance.choice(_FAMILIES)
        kind = list(_KINDS)[number % len(_KINDS)]
        question = _KINDS[kind](chance, family)
        asked, bare = long(chance, question.asked, family.unit)
        right = Fraction(question.right)
        facts = amounts.facts(right, family.unit, bare=bare, slips=question.slips)
        facts |= {"kind": kind, "slots": question.slots, "jobs": question.jobs}
        return Variant(
            number,
            [{"role": "user", "content": f"{question.told} {asked} {ending(chance)}"}],
            facts,
            amounts.target(right, family.unit),
            amounts.constrained([f"{family.unit}s"]),
        )

    def judge(self, variant: Variant, answer: str) -> Verdict:
        """Judge the time that is stated at last."""
        return amounts.judge(answer, question_of(variant), variant.facts)


PROBE = _Drying()
