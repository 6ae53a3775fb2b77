"""Amounts as people write them, and which of them is an answer."""

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pocketlm.evaluate.probes import amounts, statements
from pocketlm.evaluate.probes.amounts import Slip
from pocketlm.evaluate.probes.quantities import UNITS, amount, number, plain, read


def quantities(text):
    return [(q.value, q.unit.name if q.unit else None) for q in read(plain(text))]


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("1.5 hours", Fraction(3, 2), "hour"),
        ("an hour and a half", Fraction(3, 2), "hour"),
        ("one and a half hours", Fraction(3, 2), "hour"),
        ("1 hour and 30 minutes", Fraction(3, 2), "hour"),
        ("1h 30m", Fraction(3, 2), "hour"),
        ("1h30min", Fraction(3, 2), "hour"),
        ("1:30 hours", Fraction(3, 2), "hour"),
        ("half an hour", Fraction(1, 2), "hour"),
        ("three quarters of an hour", Fraction(3, 4), "hour"),
        ("a quarter of an hour", Fraction(1, 4), "hour"),
        ("2 hours, 5 minutes and 3 seconds", Fraction(7503, 3600), "hour"),
        ("2 1/2 hours", Fraction(5, 2), "hour"),
        ("2½ hours", Fraction(5, 2), "hour"),
        ("a 90-minute wait", Fraction(90), "minute"),
        ("ninety-five minutes", Fraction(95), "minute"),
        ("one hundred and five minutes", Fraction(105), "minute"),
        ("two thousand three hundred seconds", Fraction(2300), "second"),
        ("1,234.5 km", Fraction(2469, 2), "kilometre"),
        ("4 more hours", Fraction(4), "hour"),
        ("60 km/h", Fraction(60), "kilometre/hour"),
        ("60 kilometers per hour", Fraction(60), "kilometre/hour"),
        ("sixty miles an hour", Fraction(60), "mile/hour"),
        ("55 mph", Fraction(55), "mile/hour"),
        ("12 metres per second", Fraction(12), "metre/second"),
        ("12.5%", Fraction(25, 2), "percent"),
        ("12.5 percent", Fraction(25, 2), "percent"),
        (r"\boxed{\frac{3}{4}}", Fraction(3, 4), None),
        (r"$\frac{3}{4} \text{ hours}$", Fraction(3, 4), "hour"),
        ("two-thirds", Fraction(2, 3), None),
        ("x = -4", Fraction(-4), None),
        ("x = − 4", Fraction(-4), None),
        ("minus seven", Fraction(-7), None),
        ("**17**", Fraction(17), None),
        ("$6.45", Fraction(129, 20), None),
    ],
)
def test_one_amount_is_read(text, value, unit):
    assert quantities(text) == [(value, unit)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("5-3", [5, 3]),
        ("at 10:00 in the morning", []),
        ("1" * 5000, []),
        ("7/0 is nothing", [7]),
        ("4 + 5 = 9", [4, 5, 9]),
        ("It takes 3 h. 5 are left.", [3, 5]),
        ("1. First, 18 shirts\n2. Then 5", [18, 5]),
        ("20-30 minutes", [20, 30]),
    ],
)
def test_several_amounts_are_read(text, found):
    assert [value for value, _ in quantities(text)] == found


@given(st.fractions(min_value=0, max_value=10**6, max_denominator=16), st.sampled_from(list(UNITS)))
def test_what_is_written_is_read_again(value, unit):
    said = amount(value, unit)
    ((read_value, read_unit),) = quantities(said)
    assert read_unit == unit
    assert read_value == value


@given(st.integers(min_value=-(10**9), max_value=10**9))
def test_whole_numbers_are_read_again(value):
    assert quantities(f"x = {number(Fraction(value))}") == [(value, None)]


FACTS = amounts.facts(Fraction(90), "minute", slips=[Slip(Fraction(45), "halved", 0.25)])


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("90 minutes", 1),
        ("It takes 1.5 hours.", 1),
        ("The answer is an hour and a half.", 1),
        ("**Answer:** 90 min", 1),
        ("Answer:\n\n1 hour 30 minutes", 1),
        (r"So it takes $\boxed{90}$ minutes.", 1),
        (r"The final answer is: $\boxed{90 \text{ minutes}}$.", 1),
        ("5400 seconds", 1),
        ("ninety minutes", 1),
        ("3 × 30 = 90 minutes", 1),
        ("First I thought 45 minutes. So it takes 90 minutes.", 1),
        ("The answer is 45 minutes. Wait, that's wrong. The answer is 90 minutes.", 1),
        ("It takes 90 minutes, not 45 minutes.", 1),
        ("It takes 90 minutes rather than 45 minutes.", 1),
        ("It takes 90 minutes because each of the two takes 45 minutes.", 1),
        ("It takes 90 minutes. This is because each takes 45 minutes.", 1),
        ("Since each takes 45 minutes, both take 90 minutes.", 1),
        ("It takes 90 minutes (1.5 hours).", 1),
        ("It takes 1 hour and 30 minutes, or 90 minutes.", 1),
        ("So it takes 90 minutes. The answer is 90.", 1),
        ("It takes 90 minutes.\nCheck: 45 minutes + 45 minutes is twice 45 minutes.", 1),
        ("90", 0.5),
        ("The answer is 90.", 0.5),
        ("90 hours", 0.25),
        ("90 km", 0.25),
        ("It takes 45 minutes.", 0.25),
        ("either 45 or 90 minutes", 0),
        ("90 minutes or 45 minutes", 0),
        ("between 80 and 90, perhaps 60-90 minutes", 0),
        ("It takes 45 to 90 minutes.", 0),
        ("It takes more than 90 minutes.", 0),
        ("The answer is 90 minutes. The answer is 45 minutes.", 0),
        ("It takes 90 minutes. So the answer is 30.", 0),
        ("So it takes 90 minutes. However, it takes 60 minutes.", 0),
        ("It does not take 90 minutes.", 0),
        ("", 0),
        ("I cannot say.", 0),
        ("12", 0),
    ],
)
def test_the_final_statement_is_judged(answer, score):
    verdict = amounts.judge(answer, "", FACTS)
    assert verdict.score == score, verdict.why
    assert verdict.why


def test_a_number_will_do_where_the_unit_is_in_the_question():
    asked = amounts.facts(Fraction(90), "minute", bare=True)
    assert amounts.judge("So the answer is 90.", "", asked).passed
    assert amounts.judge("1.5 hours", "", asked).passed
    assert not amounts.judge("1.5", "", asked).passed
    assert amounts.judge(
        "It takes 1.5 hours. The answer is 1.5 hours. Answer: 1.5", "", asked
    ).passed


def test_what_has_few_decimals_is_not_rounded_and_the_rest_may_be():
    third = amounts.facts(Fraction(4, 3), "hour")
    assert amounts.judge("1.33 hours", "", third).passed
    assert amounts.judge("1.333 hours", "", third).passed
    assert amounts.judge("80 minutes", "", third).passed
    assert amounts.judge("1.3 hours", "", third).score == amounts.ROUNDED
    assert amounts.judge("1.34 hours", "", third).score == 0
    short = amounts.facts(Fraction("5.555"), None)
    assert amounts.judge("5.555", "", short).passed
    assert amounts.judge("5.56", "", short).score == amounts.ROUNDED
    assert amounts.judge("11/2", "", short).score == 0


def test_slips_are_told_and_none_is_right():
    known = amounts.facts(
        Fraction(4), "hour", slips=[Slip(Fraction(4), "no slip"), Slip(Fraction(8), "doubled")]
    )
    assert [why for _, why, _ in known["slips"]] == ["doubled"]
    assert "doubled" in amounts.judge("8 hours", "", known).why


def test_a_repeated_question_is_no_answer():
    question = "It takes 90 minutes to walk there. How long does it take?"
    assert amounts.judge(question, question, FACTS).score == 0
    assert amounts.judge(question + " 90 minutes.", question, FACTS).passed


def test_what_is_cut_short_does_not_count():
    text = plain("First 5 hours. So it takes 4 hours. So, 3 hours are left for the")
    final = statements.final(text, lambda s: bool(read(s)))
    assert final is not None
    assert final.said.startswith("So it takes 4 hours")


@given(st.text())
@example("\\boxed{" * 100)
@example("answer: " * 300)
@example("9" * 5000)
@example("not " * 300 + "90 minutes")
@example("١٢ minutes ½½½ 1/0 hours 3 1/0 ²")
def test_any_text_is_judged(text):
    for answer in (text, f"The answer is {text}", f"{text} 90 minutes {text}"):
        assert 0 <= amounts.judge(answer, text, FACTS).score <= 1


WORDS = st.sampled_from(
    [
        "90",
        "45",
        "minutes",
        "hours",
        "or",
        "not",
        "answer",
        "is:",
        "the",
        "=",
        "so",
        "1/2",
        "and",
        ".",
        ",",
        "-",
        "\n",
        "however",
        "wait",
        "\\boxed{90}",
        "half",
        "an",
        "because",
        "if",
    ]
)


@given(st.lists(WORDS, max_size=30))
def test_any_words_are_judged(words):
    assert 0 <= amounts.judge(" ".join(words), "", FACTS).score <= 1
