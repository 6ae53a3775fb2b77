"""What programs write is true: sums are computed again, dates looked up, printed code is run."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import random
import re
from fractions import Fraction
from pathlib import Path

import pytest

from pocketlm.recipe.demo import programs
from pocketlm.recipe.demo.programs import LESSONS, arithmetic, computing, lesson, measures
from pocketlm.recipe.demo.programs.lesson import Lesson, Voice

EACH = 60
_COUNTED = "|".join((*arithmetic.THINGS, "pound", "degree", "minute", "hour", "day", "week", "ten"))
_NUMBER = r"\d[\d,]*(?:\.\d+)?(?:/\d+)?"
_EQUATION = re.compile(
    rf"(?<![-\d)] )(?<![\d.,/])({_NUMBER}(?: [-+x/] {_NUMBER})+) = (-?{_NUMBER})"
)


def texts(make: Lesson, count: int = EACH) -> list[str]:
    voice = Voice(random.Random(1))
    return ["\n\n".join(make(voice)) for _ in range(count)]


@pytest.mark.parametrize("make", LESSONS, ids=lambda make: make.__name__)
def test_wording(make: Lesson) -> None:
    for text in texts(make):
        assert "print(" in text or not re.search(r"[{}|]", text)
        flat = re.sub(r"\n +", "\n", text)
        assert not re.search(r" [,.;:?!]|\.\.|,,|\?\.|  ", flat), text
        assert not re.search(r"(?<!-)\ba [aeio][a-z]|\ban [bcdfgjklmnpqrstvwz]", text), text
        assert not re.search(rf"(?<![\d.,/-])1 (?:{_COUNTED})s\b", text), text
        for paragraph in text.split("\n\n"):
            assert paragraph[0].isupper() or "\n" in paragraph or paragraph[0] in '"0123456789', (
                text
            )


@pytest.mark.parametrize("make", LESSONS, ids=lambda make: make.__name__)
def test_sums_are_right(make: Lesson) -> None:
    for text in texts(make):
        for left, right in _EQUATION.findall(text):
            assert _value(left) == _value(right), f"{left} = {right}"


def test_sums_are_there() -> None:
    found = sum(len(_EQUATION.findall(text)) for make in arithmetic.LESSONS for text in texts(make))
    assert found > 5 * EACH


def _value(sum_: str) -> Fraction:
    parts = sum_.replace(",", "").split(" ")
    terms: list[Fraction] = [Fraction(parts[0])]
    for sign, number in zip(parts[1::2], map(Fraction, parts[2::2]), strict=True):
        if sign in "x/":
            terms[-1] = terms[-1] * number if sign == "x" else terms[-1] / number
        else:
            terms.append(number if sign == "+" else -number)
    return sum(terms, Fraction())


@pytest.mark.parametrize(
    "make", [computing.assignment, computing.loops], ids=lambda make: make.__name__
)
def test_programs_print_what_is_said(make: Lesson) -> None:
    for text in texts(make):
        _, code, said = text.split("\n\n")
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(code, {})
        printed = out.getvalue().split()
        assert set(printed) <= set(re.findall(r"\d+", said)), text


def test_branches_are_right() -> None:
    for text in texts(computing.conditionals):
        _, code, said = text.split("\n\n")
        name, value = re.search(r"(\w+) (?:be|is) (\d+)\.", said).groups()  # type: ignore[union-attr]
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(code, {name: int(value)})
        assert f'"{out.getvalue().strip()}"' in said.split("At exactly")[0].split("With >")[0]


def test_days_are_right() -> None:
    for text in texts(measures.calendar):
        day, start, ahead = re.search(  # type: ignore[union-attr]
            r"(\w+day), (\d+ \w+ \d{4})\. .*? (\d+) days", text
        ).groups()
        first = datetime.datetime.strptime(start, "%d %B %Y")
        then = first + datetime.timedelta(int(ahead))
        assert first.strftime("%A") == day
        assert f"{then.day} {then:%B %Y}" in text
        assert f"{then:%A}" in text.split("\n\n")[1]


def test_leap_years() -> None:
    for text in texts(measures.leap_years):
        year = int(re.search(r"\d{4}", text)[0])  # type: ignore[index]
        leap = (datetime.date(year, 12, 31) - datetime.date(year, 1, 1)).days == 365
        assert ("it is a leap year" in text) == leap


def test_numbers_in_words() -> None:
    assert lesson.spelt(21_496) == "twenty-one thousand four hundred and ninety-six"
    assert lesson.spelt(1_005) == "one thousand and five"
    assert [lesson.ordinal(each) for each in (1, 2, 3, 12, 20, 31)] == [
        "first",
        "second",
        "third",
        "twelfth",
        "twentieth",
        "thirty-first",
    ]
    assert [lesson.plural(each) for each in ("box", "child", "day", "library", "post box")] == [
        "boxes",
        "children",
        "days",
        "libraries",
        "post boxes",
    ]


def test_much_new_and_the_same_by_seed(tmp_path: Path) -> None:
    one = programs.write(tmp_path / "one.jsonl", megabytes=0.3, seed=1)
    other = programs.write(tmp_path / "other.jsonl", megabytes=0.3, seed=1)
    assert one.read_bytes() == other.read_bytes()
    assert (
        programs.write(tmp_path / "x.jsonl", megabytes=0.3, seed=2).read_bytes() != one.read_bytes()
    )
    found = [json.loads(line)["text"] for line in one.read_text("utf-8").splitlines()]
    assert sum(map(len, found)) >= 300_000
    assert len(set(found)) == len(found)
