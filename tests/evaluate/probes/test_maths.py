"""Basic mathematics: the right numbers by our calculator or another way, and the judge."""

import json
import re
from fractions import Fraction
from functools import partial

import pytest
from tests.evaluate.probes.heuristics import constant, question, rate

from pocketlm.assistant.tools.expression import compute
from pocketlm.engine.constraint import from_schema
from pocketlm.evaluate.probes.maths import PROBE

VARIANTS = PROBE.variants(5, 240)


def of_kind(kind):
    found = [v for v in VARIANTS if v.facts["kind"] == kind]
    assert len(found) >= 20
    return found


def calculated(expression):
    return compute(expression).number.value


@pytest.mark.parametrize("kind", ["order", "fractions", "decimals", "negative", "mean"])
def test_right_numbers_are_those_of_the_calculator(kind):
    for variant in of_kind(kind):
        assert calculated(variant.facts["expression"]) == Fraction(variant.facts["right"])


def test_equations_hold():
    for variant in of_kind("equation"):
        x = Fraction(variant.facts["right"])
        left, right = (
            calculated(re.sub(r"(\d)?(x|\()", partial(_times, x=x), side))
            for side in variant.facts["expression"].split("=")
        )
        assert left == right, variant.facts["expression"]


def _times(match, x):
    """Write x out, and the sign of multiplication before it and before brackets."""
    return (f"{match[1]} × " if match[1] else "") + (f"({x})" if match[2] == "x" else "(")


def test_percentages_and_shares_are_right():
    seen = set()
    for variant in [*of_kind("per cent"), *of_kind("share")]:
        text = question(variant)
        for kind, pattern, right in _WAYS:
            if found := re.search(pattern, text):
                seen.add(kind)
                assert right(*(Fraction(n) for n in found.groups())) == Fraction(
                    variant.facts["right"]
                ), text
                break
        else:
            raise AssertionError(text)
    assert seen == {kind for kind, _, _ in _WAYS}


_WAYS = [
    ("of", r"What is (\d+)% of (\d+)", lambda p, n: sum([n / 100] * int(p))),
    ("up", r"rent of \$(\d+) rises by (\d+)%", lambda n, p: n * (100 + p) / 100),
    ("down", r"coat for \$(\d+) is reduced by (\d+)%", lambda n, p: n * (100 - p) / 100),
    (
        "twice",
        r"price of \$(\d+) first rises by (\d+)% and then falls by (\d+)%",
        lambda n, p, q: (n + n * p / 100) * (1 - q / 100),
    ),
    ("what", r"percentage of (\d+) is ([\d.]+)\?", lambda n, part: part / n * 100),
    (
        "back",
        r"reduction of (\d+)% a coat costs \$([\d.]+?)\. ",
        lambda p, n: n / (1 - p / 100),
    ),
    ("ratio", r"share (\d+) \w+ in the ratio (\d+) to (\d+)", lambda n, p, q: n * p / (p + q)),
    (
        "rule of three",
        r"(\d+) \w+ cost \$([\d.]+?)\. What do (\d+)",
        lambda a, n, b: n / a * b,
    ),
]


def test_variants_differ_and_the_target_passes():
    assert len({question(v) for v in VARIANTS}) == len(VARIANTS)
    json.dumps([v.facts for v in VARIANTS])
    for variant in VARIANTS:
        right = Fraction(variant.facts["right"])
        sign = "-" if right < 0 else ""
        tex = rf"\boxed{{{sign}\frac{{{abs(right.numerator)}}}{{{right.denominator}}}}}"
        for answer in (variant.target, f"= {right}", f"x = {float(right):.6g}", tex):
            assert PROBE.judge(variant, answer).passed, (answer, variant.target)
        from_schema(variant.constrained.value)


def test_no_simple_way_passes():
    def last_number(variant):
        return re.findall(r"\d+(?:\.\d+)?", question(variant))[-1]

    assert constant(PROBE) < 0.2
    assert rate(PROBE, question) == 0
    assert rate(PROBE, last_number) < 0.1


def test_keeping_no_order_is_named():
    for variant in of_kind("order"):
        for value, why, _ in variant.facts["slips"]:
            verdict = PROBE.judge(variant, f"The answer is {Fraction(value)}.")
            assert not verdict.passed
            assert why in verdict.why


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("90 - 3 - 14 = 87 - 14 = 73", 1),
        ("First 7 × 2 = 14. Then 90 - 3 = 87. Then 87 - 14 = 73.", 1),
        (r"$90 - 3 - 7 \times 2 = \boxed{73}$", 1),
        ("The result is **73**.", 1),
        ("Seventy-three.", 1),
        ("73.0", 1),
        ("73 is the result of 90 - 3 - 14.", 1),
        ("73\n\nExplanation: 7 × 2 = 14 and 90 - 3 = 87.", 1),
        ("So it is 73. Check: 73 + 14 = 87.", 1),
        ("(90 - 3 - 7) × 2 = 160", 0),
        ("73 or 160", 0),
        ("The answer is 73. The answer is 160.", 0),
        ("-73", 0),
        ("It is not 73.", 0),
        ("What is 90 - 3 - 7 × 2?", 0),
        ("", 0),
    ],
)
def test_answers(answer, score):
    variant = PROBE.variants(0, 1)[0]
    assert variant.target == "73"
    verdict = PROBE.judge(variant, answer)
    assert verdict.score == score, verdict.why
