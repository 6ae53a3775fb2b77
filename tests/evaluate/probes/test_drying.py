"""Shirts that dry: the right time by another way, and answers that are right, half right, wrong."""

import heapq
import json
from fractions import Fraction

import pytest
from tests.evaluate.probes.heuristics import constant, question, rate

from pocketlm.engine.constraint import from_schema
from pocketlm.evaluate.probes.drying import PROBE
from pocketlm.evaluate.probes.quantities import UNITS, plain, read

VARIANTS = PROBE.variants(5, 180)


def simulated(slots, jobs):
    """When all is done, with as many at work as there are places, first come first served."""
    busy: list[int] = []
    end = 0
    for ready, duration in jobs:
        start = ready
        if slots is not None and len(busy) == slots:
            start = max(ready, heapq.heappop(busy))
        heapq.heappush(busy, start + duration)
        end = max(end, start + duration)
    return end


def times(variant):
    """The times that the question speaks of, in the unit of the answer."""
    unit = UNITS[variant.facts["unit"]]
    return [q.first / unit.factor for q in read(plain(question(variant)), dimension="time")]


def test_variants_differ_and_are_the_same_again():
    assert len({question(v) for v in VARIANTS}) == len(VARIANTS)
    assert [question(v) for v in PROBE.variants(5, 20)] == [question(v) for v in VARIANTS[:20]]
    assert question(PROBE.variants(6, 1)[0]) != question(VARIANTS[0])
    json.dumps([v.facts for v in VARIANTS])


def test_right_times_are_those_of_a_simulation():
    for variant in VARIANTS:
        facts = variant.facts
        assert simulated(facts["slots"], facts["jobs"]) == Fraction(facts["right"]), question(
            variant
        )


def test_right_answers_pass_in_hours_and_in_minutes():
    for variant in VARIANTS:
        right, unit = Fraction(variant.facts["right"]), UNITS[variant.facts["unit"]]
        minutes = right * unit.factor / 60
        for answer in (variant.target, f"So it takes {minutes} minutes.", f"**{minutes} min**"):
            assert PROBE.judge(variant, answer).passed, (answer, question(variant))


def test_no_simple_way_passes():
    def in_proportion(variant):
        numbers = [q.value for q in read(plain(question(variant))) if q.unit is None]
        first, last = numbers[0], numbers[-1]
        return f"{float(times(variant)[0] * last / first):g} {variant.facts['unit']}s"

    def loads(variant):
        numbers = [q.value for q in read(plain(question(variant))) if q.unit is None]
        return f"{times(variant)[0] * -(-numbers[-1] // numbers[0])} {variant.facts['unit']}s"

    unit = "{} {}s"
    assert constant(PROBE) < 0.2
    assert rate(PROBE, question) == 0
    assert rate(PROBE, lambda v: unit.format(times(v)[0], v.facts["unit"])) < 0.5
    assert rate(PROBE, lambda v: unit.format(max(times(v)), v.facts["unit"])) < 0.55
    assert rate(PROBE, lambda v: unit.format(sum(times(v)), v.facts["unit"])) < 0.6
    assert rate(PROBE, in_proportion) < 0.4
    assert rate(PROBE, loads) < 0.5


def test_slips_are_explained():
    for variant in VARIANTS:
        for value, why, score in variant.facts["slips"]:
            answer = f"{float(Fraction(value)):.6g} {variant.facts['unit']}s"
            verdict = PROBE.judge(variant, answer)
            if Fraction(value).denominator in (1, 2, 4):
                assert why in verdict.why
                assert verdict.score == score


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("All boards dry side by side, so it still takes 3 hours.", 1),
        ("They dry in parallel. The time stays the same: 3 hours.", 1),
        ("4 boards take 3 hours, so one takes 0.75 hours. But they all dry at once: 3 hours.", 1),
        ("13 boards take 3 hours as well, just as the 4 boards did.", 1),
        ("Three hours, since each board dries by itself.", 1),
        ("180 minutes", 1),
        ("It takes 13 / 4 × 3 = 9.75 hours.", 0),
        ("It's 3 hours or 9.75 hours.", 0),
        ("The answer is 3 hours. The answer is 9.75 hours.", 0),
        ("It depends on the weather.", 0),
        ("3", 0.5),
        ("3 minutes", 0.25),
    ],
)
def test_answers(answer, score):
    variant = PROBE.variants(0, 1)[0]
    assert variant.target == "3 hours"
    assert "13 painted boards" in question(variant)
    assert PROBE.judge(variant, answer).score == score


def test_the_forced_form_is_judged():
    form = VARIANTS[0].constrained
    from_schema(form.value)
    said = json.dumps({"reasoning": "They dry side by side.", "answer": VARIANTS[0].target})
    assert PROBE.judge(VARIANTS[0], form.judged(said)).passed
    assert not PROBE.judge(VARIANTS[0], form.judged('{"reasoning": "cut')).passed
