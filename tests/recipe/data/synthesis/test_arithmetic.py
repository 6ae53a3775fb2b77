"""Equations in texts: found, judged, or left alone."""

from __future__ import annotations

import random
import time

import pytest

from pocketlm.recipe.data.synthesis.arithmetic import equations, numbers

TRUE = [
    "3 + 4 = 7",
    "So we have 3 apples + 4 apples = 7 apples.",
    "x = 12 / 4 = 3",
    "25% of 80 = 20",
    "20% × 50 = 10",
    "15 / 60 = 25%",
    "0.25 × 100 = 25%",
    "$4.50 x 2 = $9.00",
    "1,200 / 4 = 300",
    "10 / 3 = 3.33",
    "10 / 3 ≈ 3",
    "12 × 103 ≈ 1,200",
    "17 / 5 = 3 remainder 2",
    "17 ÷ 5 = 3 R2",
    "- 4 + 5 = 9",
    "2) 4 + 5 = 9",
    "-3 + 5 = 2",
    r"\(3 \times 4 = 12\)",
    r"\[\frac{1}{2} + \frac{1}{3} = \frac{5}{6}\]",
    "$3 + 4 = 7$",
    "**Total**: 3 × 4 = **12**",
    "2^3 = 8",
    "f(2) = 2 * 3 + 1 = 7",
    "3 × (4 + 5) = 27",
    "20 − 5 = 15",
    "2 hours × 60 minutes = 120 minutes",
    "5 plus 3 equals 8",
    "4 weeks × 7 days = 28 days",
]
FALSE = [
    "So 3 + 4 = 8.",
    "The total is 20 + 5 = 26 dollars, which is much.",
    "10 / 3 = 3",
    "12 × 3 ≈ 50",
    "17 / 5 = 3 remainder 3",
    "17 / 5 = 2 remainder 7",
    "1 + 2 = 3 + 4",
    "3 × (4 + 5) = 17",
    "7 * 8 = 56.5",
    r"\(3 \times 4 = 13\)",
    "5 plus 3 equals 9",
    "30% of 80 = 20",
    "We have 5cm × 2 = 11cm",
]
NOT_JUDGED = [
    "2x + 3 = 11",
    "a + 4 = 7",
    "a - 3 + 4 = 1",
    "3 + 4 = 7x",
    "sqrt(16) + 1 = 5",
    "log 8 = 3",
    "5! = 120",
    "half of 8 + 2 = 6",
    "2 hours + 30 minutes = 150 minutes",
    "3 km / 4 = 750 m",
    "3 1/2 + 1 = 4 1/2",
    "10:30 + 45 = 11:15",
    "6 * 7 = forty-two",
    "8 / 0 = 1",
    "page = 3",
    "=",
    "= = =",
    "((((((((3 = 4",
]


@pytest.mark.parametrize("text", TRUE)
def test_true(text: str) -> None:
    found = list(equations(text))
    assert found
    assert all(each.true for each in found), found


@pytest.mark.parametrize("text", FALSE)
def test_false(text: str) -> None:
    assert [each.true for each in equations(text)] == [False]


@pytest.mark.parametrize("text", NOT_JUDGED)
def test_what_is_not_certain_is_not_judged(text: str) -> None:
    assert list(equations(text)) == []


def test_all_of_a_chain_and_of_a_line_are_found() -> None:
    found = list(equations("3 + 4 = 7 = 14 / 2, and 2 x 3 = 6 and 4 x 5 = 21"))
    assert [(each.text, each.true) for each in found] == [
        ("3 + 4 = 7", True),
        ("7 = 14 / 2", True),
        ("2 x 3 = 6", True),
        ("4 x 5 = 21", False),
    ]
    assert found[-1].value == "20"


def test_hundreds_of_drawn_equations() -> None:
    chance = random.Random(3)
    for _ in range(500):
        a, b, c = (chance.randint(1, 999) for _ in range(3))
        one, two = chance.choice("+-*×·"), chance.choice("+-*")
        plain = f"{a} {one} {b} {two} {c}"
        value = eval(plain.replace("×", "*").replace("·", "*"))
        off = chance.choice((0, 0, 1, -1, 10))
        text = f"Then {plain} = {value + off:,} of them."
        (found,) = equations(text)
        assert found.true == (off == 0), text


@pytest.mark.parametrize(
    "piece", ["(", "1+", "1 ", "=", "1=", "-", "x", "9", "9,999", "1^", "% of 1 ", " ", "1 plus "]
)
def test_hostile_text_takes_no_time(piece: str) -> None:
    began = time.process_time()
    list(equations(piece * (5_000 // len(piece)) + "= 1"))
    list(equations("1 =" + piece * (5_000 // len(piece))))
    assert time.process_time() - began < 3


def test_an_expression_that_is_too_long_is_not_judged_in_part() -> None:
    row = "1 + " * 100
    assert list(equations(f"{row}1 = 101")) == []
    assert list(equations(f"101 = {row}1")) == []
    assert [each.true for each in equations("1 + " * 60 + "1 = 61")] == [True]


def test_numbers() -> None:
    assert [*map(int, numbers("From 1,200 to -3, not 4x5"))] == [1200, -3, 4, 5]
    assert [float(n) for n in numbers("It is $4.50.")] == [4.5]
