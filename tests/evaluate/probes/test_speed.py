"""Relative speed: the right amounts by moving things, and how answers are judged."""

import json
from fractions import Fraction

import pytest
from tests.evaluate.probes.heuristics import constant, question, rate

from pocketlm.engine.constraint import from_schema
from pocketlm.evaluate.probes.quantities import UNITS, plain, read
from pocketlm.evaluate.probes.speed import PROBE

VARIANTS = PROBE.variants(5, 210)


def of_kind(kind):
    found = [v for v in VARIANTS if v.facts["kind"] == kind]
    assert len(found) >= 20
    return found


def right_in(variant, unit):
    return (
        Fraction(variant.facts["right"]) * UNITS[variant.facts["unit"]].factor / UNITS[unit].factor
    )


def first_time(reached, most=Fraction(10**5)):
    """When something that only comes nearer is reached, by bisection."""
    low, high = Fraction(0), most
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


@pytest.mark.parametrize("kind", ["meet", "overtake"])
def test_they_are_level_at_the_right_time(kind):
    for variant in of_kind(kind):
        (a, v), (b, w) = variant.facts["movers"]
        ahead = a > b
        time = first_time(
            lambda t, a=a, b=b, v=v, w=w, ahead=ahead: (a + v * t > b + w * t) != ahead
        )
        assert abs(time - right_in(variant, "hour")) < Fraction(1, 10**9), question(variant)


def test_they_are_as_far_apart_as_is_said():
    for variant in of_kind("apart"):
        positions = [0, 0]
        for _ in range(variant.facts["minutes"]):
            positions = [
                x + Fraction(v, 60)
                for x, (_, v) in zip(positions, variant.facts["movers"], strict=True)
            ]
        assert abs(positions[0] - positions[1]) == Fraction(variant.facts["right"])


def test_relative_speeds_are_distances_of_an_hour():
    for variant in of_kind("seen"):
        (_, v), (_, w) = variant.facts["movers"]
        assert abs((0 + v) - (0 + w)) == Fraction(variant.facts["right"])
    for variant in of_kind("walker"):
        (_, vessel), (_, step) = variant.facts["movers"]
        ground = vessel + step
        to = {"train": vessel, "ferry": vessel}.get(variant.facts["to"], 0)
        assert abs(ground - to) == Fraction(variant.facts["right"]), question(variant)


def test_the_river_is_travelled_in_the_right_time():
    for variant in of_kind("river"):
        still, current, distance, way = variant.facts["river"]
        legs = {"upstream": [-1], "downstream": [1]}.get(way, [-1, 1])
        time = sum(
            first_time(lambda t, s=s: (still + s * current) * t >= distance)  # noqa: B023
            for s in legs
        )
        assert abs(time - right_in(variant, "hour")) < Fraction(1, 10**9)


def test_the_train_is_clear_at_the_right_time():
    for variant in of_kind("passing"):
        length, other, speed, others = variant.facts["passing"]

        def clear(t, rear=-length, far=other, speed=speed, others=others):
            return rear + speed * t >= far + others * t

        assert abs(first_time(clear) - right_in(variant, "second")) < Fraction(1, 10**6)


def test_variants_differ_and_the_target_passes():
    assert len({question(v) for v in VARIANTS}) == len(VARIANTS)
    json.dumps([v.facts for v in VARIANTS])
    for variant in VARIANTS:
        assert PROBE.judge(variant, variant.target).passed
        assert PROBE.judge(variant, f"So the answer is **{variant.target}**.").passed
        from_schema(variant.constrained.value)


def test_no_simple_way_passes():
    def combined(sign):
        def answer(variant):
            unit = UNITS[variant.facts["unit"]]
            text = plain(question(variant))
            speeds = [q.first for q in read(text, dimension="speed")][:2]
            if len(speeds) < 2:
                return ""
            speed = abs(speeds[0] + sign * speeds[1]) or Fraction(1)
            lengths = [q.first for q in read(text, dimension="length")] or [Fraction(0)]
            times = [q.first for q in read(text, dimension="time")] or [Fraction(0)]
            first = {"time": sum(lengths) / speed, "length": speed * times[0], "speed": speed}
            return f"{float(first[unit.dimension] / unit.factor):.8g} {variant.target.split()[-1]}"

        return answer

    assert constant(PROBE) < 0.2
    assert rate(PROBE, question) == 0
    assert rate(PROBE, combined(1)) < 0.6
    assert rate(PROBE, combined(-1)) < 0.6
    assert max(rate(PROBE, combined(1)), rate(PROBE, combined(-1))) > 0.3


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("They close in at 100 km/h, so they meet after 75 / 100 = 0.75 hours.", 1),
        ("The relative speed is 70 + 30 = 100 km/h. They meet after 45 minutes.", 1),
        (r"$t = \frac{75}{100} = 0.75$ hours", 1),
        ("three quarters of an hour", 1),
        ("75 km / 100 km/h = 3/4 hour, that is 45 minutes.", 1),
        ("They meet after 75/(70-30) = 1.875 hours.", 0),
        ("100 km/h", 0),
        ("45", 0.5),
        ("After 45 seconds.", 0.25),
        ("After 45 minutes or 1.875 hours.", 0),
    ],
)
def test_answers(answer, score):
    variant = next(v for v in VARIANTS if v.facts["kind"] == "meet")
    facts = {**variant.facts, "right": "45", "unit": "minute", "bare": False, "slips": []}
    stood = type(variant)(0, variant.messages, facts, "45 minutes", variant.constrained)
    assert PROBE.judge(stood, answer).score == score
