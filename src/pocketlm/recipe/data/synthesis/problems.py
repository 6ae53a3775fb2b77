"""Problems that a program draws, and whose answers it knows: what reasoning is checked against.

A problem is bare facts and a question. A model makes a story and a solution of them; it is never
asked whether the solution is right. It knows no model and no prompt.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pocketlm.recipe.data.synthesis.arithmetic import numbers

_NAMES = (
    *("Ada", "Bruno", "Chen", "Dalia", "Emil", "Farah", "Goran", "Hana", "Iris", "Jonas"),
    *("Kofi", "Lena", "Mira", "Nils", "Olga", "Pablo", "Rosa", "Samir", "Tara", "Yusuf"),
)
_CLOCK = re.compile(r"(?<!\d)(\d{1,2})[:.](\d{2})(?!\d)\s*([ap])?\.?m?\b", re.IGNORECASE)


@dataclass(frozen=True)
class Problem:
    """Facts, a question, and the only right answer: a number, a time (`14:05`) or a name."""

    facts: tuple[str, ...]
    question: str
    answer: str
    among: tuple[str, ...] = ()
    """The names that an answer may be."""

    @property
    def numbers(self) -> list[str]:
        """Numbers and times of the facts, each once, as they are written."""
        found = re.findall(r"\d+:\d+|\d+(?:\.\d+)?", " ".join(self.facts))
        return list(dict.fromkeys(found))

    def is_answered_by(self, said: str) -> bool:
        """Whether `said` is the answer, and not the answer among others."""
        if self.among:
            named = [name for name in self.among if re.search(rf"\b{name}\b", said, re.IGNORECASE)]
            return named == [self.answer]
        if ":" in self.answer:
            return [_clock(*each) for each in _CLOCK.findall(said)] == [self.answer]
        found = numbers(said.rsplit("=", 1)[-1])
        return len(found) == 1 and found == numbers(self.answer)


def _clock(hours: str, minutes: str, half: str) -> str:
    hour = int(hours)
    if half:
        hour = hour % 12 + (12 if half.lower() == "p" else 0)
    return f"{hour:02d}:{minutes}"


def _time(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _shopping(chance: random.Random) -> Problem:
    name = chance.choice(_NAMES)
    (many, price), (few, dear) = (
        (chance.randint(3, 9), chance.randint(2, 8)),
        (chance.randint(2, 5), chance.randint(9, 25)),
    )
    cost = many * price + few * dear
    paid = (cost // 50 + 1) * 50
    return Problem(
        (
            f"{name} buys {many} pieces of one thing at {price} dollars each",
            f"{name} also buys {few} pieces of another thing at {dear} dollars each",
            f"{name} pays with {paid} dollars",
        ),
        "How many dollars of change are given back?",
        f"{paid - cost}",
    )


def _journey(chance: random.Random) -> Problem:
    start = chance.randrange(6 * 60, 12 * 60, 5)
    speed = chance.choice((12, 15, 20, 30, 60))
    minutes = chance.randrange(25, 200, 5)
    while speed * minutes % 60:
        minutes += 5
    pause = chance.choice((10, 15, 20, 25))
    return Problem(
        (
            f"a journey begins at {_time(start)}",
            f"the distance is {speed * minutes // 60} kilometres",
            f"the speed is {speed} kilometres an hour",
            f"on the way there is one pause of {pause} minutes",
        ),
        "At what time does the journey end (24-hour clock)?",
        _time(start + minutes + pause),
    )


def _sharing(chance: random.Random) -> Problem:
    people, each = chance.randint(4, 9), chance.randint(5, 15)
    left = chance.randint(1, people - 1)
    broken = chance.randint(2, 12)
    return Problem(
        (
            f"there are {people * each + left + broken} things",
            f"{broken} of them are broken and are thrown away",
            f"the others are shared among {people} people, each of whom gets equally many whole"
            " things, as many as possible",
        ),
        "How many things are left over after the sharing?",
        f"{left}",
    )


def _reduction(chance: random.Random) -> Problem:
    price = chance.randrange(60, 400, 20)
    percent = chance.choice((5, 10, 15, 20, 25, 30, 35, 40))
    off, count = chance.randint(3, 12), chance.randint(2, 5)
    one = price * (100 - percent) // 100 - off
    return Problem(
        (
            f"one piece costs {price} dollars",
            f"the price is first reduced by {percent} percent",
            f"then {off} dollars more are taken off each piece",
            f"{count} pieces are bought",
        ),
        "How many dollars do the pieces cost together?",
        f"{one * count}",
    )


def _labour(chance: random.Random) -> Problem:
    few, more = chance.choice(((2, 3), (2, 4), (3, 4), (3, 6), (4, 6), (4, 8), (5, 6), (6, 9)))
    days = more * chance.randint(2, 15)
    return Problem(
        (
            f"{few} workers need {days} days for a piece of work",
            "all work equally fast",
            f"now {more} workers do the same piece of work",
        ),
        "How many days do they need?",
        f"{few * days // more}",
    )


def _ranking(chance: random.Random) -> Problem:
    names = chance.sample(_NAMES, chance.randint(4, 5))
    more, most = chance.choice(
        (("taller than", "tallest"), ("older than", "oldest"), ("faster than", "fastest"))
    )
    facts = [f"{a} is {more} {b}" for a, b in pairwise(names)]
    chance.shuffle(facts)
    place = chance.randrange(1, len(names) - 1)
    ordinal = ("second", "third", "fourth")[place - 1]
    return Problem(tuple(facts), f"Who is the {ordinal} {most}?", names[place], tuple(names))


def _sequence(chance: random.Random) -> Problem:
    first, step, factor = chance.randint(2, 9), chance.randint(2, 7), chance.choice((2, 3))
    value = first
    for _ in range(3):
        value = value * factor + step
    return Problem(
        (
            f"the first number of a row is {first}",
            f"every further number is {factor} times the one before it, plus {step}",
        ),
        "What is the fourth number of the row?",
        f"{value}",
    )


def _ages(chance: random.Random) -> Problem:
    older, younger = chance.sample(_NAMES, 2)
    age, factor, years = chance.randint(4, 14), chance.randint(2, 4), chance.randint(2, 9)
    return Problem(
        (
            f"{older} is {factor} times as old as {younger}",
            f"in {years} years they will be {age * (factor + 1) + 2 * years} years old together",
        ),
        f"How many years old is {younger} now?",
        f"{age}",
    )


def _overlap(chance: random.Random) -> Problem:
    both, first, second = (chance.randint(3, 12) for _ in range(3))
    neither = chance.randint(2, 9)
    return Problem(
        (
            f"a group has {both + first + second + neither} members",
            f"{both + first} of them do the first of two things",
            f"{both + second} of them do the second",
            f"{neither} of them do neither",
        ),
        "How many members do both things?",
        f"{both}",
    )


def _tank(chance: random.Random) -> Problem:
    inflow, outflow = chance.randint(6, 15), chance.randint(2, 5)
    start, fill, both = chance.randint(10, 60), chance.randint(4, 12), chance.randint(3, 9)
    return Problem(
        (
            f"at the start a tank holds {start} litres",
            f"{inflow} litres flow in each minute",
            f"after {fill} minutes an outlet is opened too, by which {outflow} litres flow out each"
            " minute, while the inflow goes on",
            f"the outlet has been open for {both} minutes",
        ),
        "How many litres are in the tank then?",
        f"{start + inflow * (fill + both) - outflow * both}",
    )


PROBLEMS: dict[str, Callable[[random.Random], Problem]] = {
    "shopping": _shopping,
    "journey": _journey,
    "sharing": _sharing,
    "reduction": _reduction,
    "labour": _labour,
    "ranking": _ranking,
    "sequence": _sequence,
    "ages": _ages,
    "overlap": _overlap,
    "tank": _tank,
}


def draw(chance: random.Random, kinds: Sequence[str]) -> Problem:
    """A problem of one of the `kinds`, which are names of PROBLEMS."""
    return PROBLEMS[chance.choice(kinds)](chance)
