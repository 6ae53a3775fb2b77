"""Which questions need no model to choose a tool, and which calculation a small one means."""

import json
from fractions import Fraction

import pytest

import pocketlm
from pocketlm.assistant import drafting, routing
from pocketlm.assistant.drafting import numbers_of, sound

ALL = ("calculate", "date_time", "read_file")


@pytest.mark.parametrize(
    ("question", "tool", "expression"),
    [
        ("What is 17% of 2,340?", "calculate", "17% of 2,340"),
        ("Please calculate (3 + 4) * 12 / 5.", "calculate", "(3 + 4) * 12 / 5"),
        ("what's the square root of 144", "calculate", "the square root of 144"),
        ("12 * 12 = ?", "calculate", "12 * 12"),
        ("Hi, can you tell me how much is 6 times 7?", "calculate", "6 times 7"),
        ("Give me the product of 96 and 7006.", "calculate", "96 * 7006"),
        ("What is the difference between 3 and 10?", "calculate", "abs(3 - 10)"),
        ("If I take 31 percent of 616, what do I get?", "calculate", "31 percent of 616"),
        ("I weigh 52 kilograms. What is that in pounds?", "calculate", "52 kilograms in pounds"),
        ("My course starts on 2026-02-01 and takes 9 days. When does it end?", "date_time", None),
        ("Count the days from 2027-03-04 until 2027-04-13.", "date_time", None),
        ("How many feet are in 3 miles?", "calculate", "3 miles in feet"),
        ("How many minutes are there in a day?", "calculate", "a day in minutes"),
        ("Convert 72 °F to Celsius.", "calculate", "72 °F to Celsius"),
        ("Express 3 kg in pounds", "calculate", "3 kg in pounds"),
        ("How many days are between 2024-02-28 and 2024-03-01?", "date_time", None),
        ("What date is 45 days after March 1, 2026?", "date_time", None),
        ("What day of the week was 4 July 1976?", "date_time", None),
        ("On which day does 2026-12-24 fall?", "date_time", None),
        ("How many days until 2099-12-24?", "date_time", None),
        ("What time is it?", "date_time", "now"),
        ("What's the date today?", "date_time", "now"),
        ("What is today's date?", "date_time", None),
        ("What does notes.txt say of Ada?", "read_file", None),
        ("Summarise docs/plan.md for me.", "read_file", None),
    ],
)
def test_plain_questions(question, tool, expression):
    call = routing.propose(question, ALL)
    assert call is not None
    assert call.name == tool
    arguments = json.loads(call.arguments)
    if expression is not None:
        said = arguments["expression"].replace("1 day", "a day")
        assert said == expression
    assert routing.propose(question, ()) is None


@pytest.mark.parametrize(
    "question",
    [
        "", "What is the capital of France?", "Why is the sky blue?", "Write a poem about 3 cats.",
        "What is 5 km?", "Who won the world cup in 1998?", "Tell me about 1984.", "What is 42?",
        "What happened on 2024-02-28 in Paris?", "How many people live in Berlin?", "I am 34.",
        "Is 7 a prime number?", "What is a 9-5 job?", "What is 24/7 support?",
        "What can I do in 10 minutes?", "What do 3 cats and 2 dogs eat in a day?",
        "What is a 5 km run good for?", "How does COVID-19 spread?", "What is a 4x4 car?",
         "What is love?", "x" * 500, "How long is the Nile?", "e.g. this",
        "What is 3 + 4 and who invented addition?", "Explain 2 + 2 = 4.", "What is time?",
        "Anna buys 3 boxes of 12 pencils. How many has she?", "Give me 5 ideas.",
        "What day is best?",
    ],
)  # fmt: skip
def test_other_questions_are_left_to_the_model(question):
    assert routing.propose(question, ALL) is None


def test_numbers_of_a_question():
    text = "On 2026-03-01 at 12:30 there were 1,200, then 3.5 and v2 at 10% or 7 (and 7)."
    assert numbers_of(text) == ["1,200", "3.5", "7"]


def test_calculations_are_sound():
    assert dict(sound(["12", "4"])) == {
        "12 + 4": 16, "12 - 4": 8, "12 * 4": 48, "12 / 4": 3,
    }  # fmt: skip
    assert all(v >= 0 and 100 % v.denominator == 0 for _, v in sound(["3", "7", "20"]))
    assert list(sound(["1"])) == list(sound(["1", "2", "3", "4"])) == []
    assert dict(sound(["0", "5"]))["0 / 5"] == Fraction(0)


@pytest.fixture(scope="module")
def model(smollm2):
    with pocketlm.load(smollm2) as loaded:
        yield loaded


def test_the_real_model_means_the_right_calculation(model):
    asked = {
        "A crate has 3 rows of 12 bottles. How many bottles are in it?": 36,
        "There are 23 red and 41 blue balls. How many balls are there in all?": 64,
        "Tom had 50 coins and lost 12 of them. How many are left?": 38,
        "96 cards are dealt equally to 8 players. How many does each player get?": 12,
    }
    found = [drafting.draft(model, question) for question in asked]
    right = [
        expression is not None
        and pocketlm.assistant.tools.expression.compute(expression).number.value
        for expression in found
    ]
    assert sum(a == b for a, b in zip(right, asked.values(), strict=True)) >= 3


def test_what_asks_for_no_number_gets_no_calculation(model):
    for question in ("Name 3 rivers and 4 lakes.", "Who won in 1998 and 2002?", "How are 2 or 3?"):
        assert drafting.draft(model, question) is None


def test_a_large_model_plans_its_own_calls(model, monkeypatch):
    question = "Tom had 50 coins and lost 12 of them. How many are left?"
    assert drafting.proposing(model, ALL)(question) is not None
    monkeypatch.setattr(drafting, "MOST_PARAMETERS", 1000)
    assert drafting.proposing(model, ALL)(question) is None
    assert drafting.proposing(model, ALL)("What is 6 * 7?") is not None
