"""Problems that a program draws: their answers, found again in another way, and told apart."""

from __future__ import annotations

import itertools
import random
import re

import pytest

from pocketlm.recipe.data.synthesis.problems import PROBLEMS, Problem, draw


def drawn(kind: str, count: int = 200) -> list[Problem]:
    return [draw(random.Random(number), [kind]) for number in range(count)]


def numbers(problem: Problem) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", " ".join(problem.facts))]


def test_answers_by_other_means() -> None:
    """Each answer fulfils the facts: by search where the program computed, and the other way."""
    for problem in drawn("shopping"):
        many, price, few, dear, paid = numbers(problem)
        assert int(problem.answer) + many * price + few * dear == paid
        assert 0 < int(problem.answer) <= 50
    for problem in drawn("journey"):
        hour, minute, distance, speed, pause = numbers(problem)
        end_hour, end_minute = map(int, problem.answer.split(":"))
        moving = (end_hour * 60 + end_minute) - (hour * 60 + minute) - pause
        assert moving * speed == distance * 60
        assert end_hour < 24
    for problem in drawn("sharing"):
        things, broken, people = numbers(problem)
        left = things - broken
        while left >= people:
            left -= people
        assert left == int(problem.answer)
    for problem in drawn("reduction"):
        price, percent, off, count = numbers(problem)
        assert (price - price * percent / 100 - off) * count == int(problem.answer) > 0
    for problem in drawn("labour"):
        few, days, more = numbers(problem)
        assert few * days == more * int(problem.answer)
    for problem in drawn("sequence"):
        first, factor, step = numbers(problem)
        row = [first]
        while len(row) < 4:
            row.append(factor * row[-1] + step)
        assert row[3] == int(problem.answer)
    for problem in drawn("ages"):
        factor, years, together = numbers(problem)
        fits = [a for a in range(200) if a + years + a * factor + years == together]
        assert fits == [int(problem.answer)]
    for problem in drawn("overlap"):
        members, first, second, neither = numbers(problem)
        fits = [both for both in range(99) if first + second - both + neither == members]
        assert fits == [int(problem.answer)]
    for problem in drawn("tank"):
        litres, inflow, fill, outflow, both = numbers(problem)
        for minute in range(fill + both):
            litres += inflow - (outflow if minute >= fill else 0)
        assert litres == int(problem.answer)


def test_a_ranking_has_one_order() -> None:
    for problem in drawn("ranking"):
        pairs = [re.split(r" is \w+ than ", fact) for fact in problem.facts]
        orders = [
            order
            for order in itertools.permutations(problem.among)
            if all(order.index(a) < order.index(b) for a, b in pairs)
        ]
        assert len(orders) == 1
        place = {"second": 1, "third": 2, "fourth": 3}[problem.question.split()[3]]
        assert orders[0][place] == problem.answer


@pytest.mark.parametrize("kind", PROBLEMS)
def test_the_same_seed_draws_the_same_and_others_differ(kind: str) -> None:
    assert drawn(kind, 50) == drawn(kind, 50)
    assert len({problem.facts for problem in drawn(kind, 100)}) > 50
    assert all(problem.is_answered_by(problem.answer) for problem in drawn(kind))


@pytest.mark.parametrize(
    ("answer", "said", "right"),
    [
        ("12", "12", True),
        ("12", "12 dollars.", True),
        ("12", "$12.00", True),
        ("12", "3 × 4 = 12 dollars", True),
        ("1200", "1,200", True),
        ("12", "13", False),
        ("12", "-12", False),
        ("12", "120", False),
        ("12", "12 or 13", False),
        ("12", "twelve", False),
        ("14:05", "14:05", True),
        ("14:05", "at 2:05 pm", True),
        ("14:05", "2:05", False),
        ("14:05", "14:50", False),
        ("09:30", "9:30 a.m.", True),
        ("12:10", "12:10 pm", True),
    ],
)
def test_what_counts_as_the_answer(answer: str, said: str, right: bool) -> None:
    assert Problem((), "", answer).is_answered_by(said) is right


def test_a_name_among_names() -> None:
    problem = Problem((), "", "Ada", ("Ada", "Nils"))
    assert problem.is_answered_by("It is ada.")
    assert not problem.is_answered_by("Ada, or Nils")
    assert not problem.is_answered_by("Nils")
    assert not problem.is_answered_by("Adam")
