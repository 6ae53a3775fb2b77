"""How lessons are worded: templates with alternatives, and the small change of English.

A template has alternatives in brackets, which may hold others: `[To add|Adding] {a} [and|to] {b}`.
It knows words and their forms; it knows no subject.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import TypeVar

T = TypeVar("T")


def words(text: str) -> list[str]:
    """What is between spaces."""
    return text.split()


_INNERMOST = re.compile(r"\[([^\[\]]*)\]")
_SMALL = words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen"
)
_TENS = words("? ? twenty thirty forty fifty sixty seventy eighty ninety")
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth"}
_ORDINALS |= {"nine": "ninth", "twelve": "twelfth"}
_PLURALS = {"child": "children", "foot": "feet", "tooth": "teeth", "mouse": "mice", "man": "men"}
_PLURALS |= {"woman": "women", "goose": "geese", "sheep": "sheep", "fish": "fish", "deer": "deer"}
_PLURALS |= {"leaf": "leaves", "knife": "knives", "loaf": "loaves", "shelf": "shelves"}
_PLURALS |= {"wolf": "wolves", "half": "halves", "person": "people", "ox": "oxen"}

PEOPLE = words(
    "Ada Ben Clara David Emma Felix Grace Henry Iris Jonas Kate Leo Mary Nina Oscar Paula Ruth"
    " Simon Tara Victor Wendy Yara Omar Lucy Martin Elena Peter Sofia Tom Anna Hugo Ivy Karl Lena"
    " Miriam Noah Olga Rosa Samuel Vera"
)


class Voice:
    """Says things, each time in other words."""

    def __init__(self, chance: random.Random) -> None:
        """By this source of chance."""
        self.chance = chance

    def say(self, template: str, **values: object) -> str:
        """A template with one of its alternatives each, then its values; begun with a capital."""
        while "[" in template:
            template = _INNERMOST.sub(lambda found: self._one(found[1]), template)
        return capital(" ".join(template.format(**values).split()))

    def text(self, *templates: str, **values: object) -> str:
        """A paragraph of templates; an empty one is left out."""
        said = (self.say(each, **values) for each in templates)
        return " ".join(each for each in said if each)

    def number(self, least: int, most: int) -> int:
        """A whole number, both ends among them."""
        return self.chance.randint(least, most)

    def one(self, of: Sequence[T]) -> T:
        """One of them."""
        return self.chance.choice(of)

    def some(self, of: Sequence[T], count: int) -> list[T]:
        """So many different ones."""
        return self.chance.sample(of, count)

    def mixed(self, of: Sequence[T]) -> list[T]:
        """All of them, in another order."""
        return self.chance.sample(of, len(of))

    def maybe(self, template: str, odds: float = 0.5) -> str:
        """The template, or nothing."""
        return template if self.chance.random() < odds else ""

    def _one(self, alternatives: str) -> str:
        return self.chance.choice(alternatives.split("|"))


Lesson = Callable[[Voice], list[str]]
"""Makes the paragraphs of one lesson."""


def table(name: str) -> list[tuple[str, ...]]:
    """The rows of a table that is kept beside the programs: `NAME.txt`, a bar between columns."""
    lines = files(__package__).joinpath(f"{name}.txt").read_text("utf-8").splitlines()
    return [tuple(map(str.strip, line.split("|"))) for line in lines if line[:1] != "#"]


def capital(sentence: str) -> str:
    """With a capital at the beginning."""
    return sentence[:1].upper() + sentence[1:]


def plural(noun: str) -> str:
    """Of a noun, or of the last word of one."""
    first, space, last = noun.rpartition(" ")
    if last in _PLURALS:
        made = _PLURALS[last]
    elif re.search(r"(?:s|x|z|ch|sh)$", last) or last in ("potato", "tomato", "hero", "echo"):
        made = last + "es"
    elif re.search(r"[^aeiou]y$", last):
        made = last[:-1] + "ies"
    else:
        made = last + "s"
    return first + space + made


def counted(count: int, noun: str, *, words: bool = False) -> str:
    """As `3 apples`, `1 apple`; with `words`, `three apples`."""
    said = spelt(count) if words else f"{count:,}"
    return f"{said} {noun if count == 1 else plural(noun)}"


def a(noun: str) -> str:
    """With its indefinite article."""
    vowel = re.match(r"(?!uni|use|one|eu)[aeiou]|hour|honest|8|11\b|18\b", noun, re.IGNORECASE)
    return f"{'an' if vowel else 'a'} {noun}"


def listed(words: Sequence[str], last: str = "and") -> str:
    """As `a, b and c`."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def spelt(number: int) -> str:
    """A whole number below a million in words."""
    if number < 20:
        return _SMALL[number]
    if number < 100:
        ones = f"-{_SMALL[number % 10]}" if number % 10 else ""
        return _TENS[number // 10] + ones
    size, name = (100, "hundred") if number < 1000 else (1000, "thousand")
    rest = number % size
    said = f"{spelt(number // size)} {name}"
    if not rest:
        return said
    return f"{said} {'and ' if rest < 100 else ''}{spelt(rest)}"


def ordinal(number: int) -> str:
    """As `third`, `twenty-first`."""
    first, dash, last = spelt(number).rpartition("-")
    if last in _ORDINALS:
        last = _ORDINALS[last]
    elif last.endswith("y"):
        last = last[:-1] + "ieth"
    else:
        last += "th"
    return first + dash + last
