"""Many people and one hole: the right times by working them off, and whether the point is seen."""

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluate.probes.heuristics import constant, question, rate

from pocketlm.engine.constraint import from_schema
from pocketlm.evaluate.probes.crowding import room_short
from pocketlm.evaluate.probes.digging import ABSURD, ASSUMED, FIGURE, NEEDLESS, POINT, PROBE
from pocketlm.evaluate.probes.quantities import UNITS, plain, read

VARIANTS = PROBE.variants(5, 180)


def of_kind(kind):
    found = [v for v in VARIANTS if v.facts["kind"] == kind]
    assert len(found) >= 20
    return found


def minutes(variant):
    return Fraction(variant.facts["right"]) * UNITS[variant.facts["unit"]].factor / 60


def worked_off(work, workers):
    """Minutes until so much work, in minutes of one, is done by so many: minute by minute."""
    time = 0
    while work > 0:
        work -= workers
        time += 1
    return time


def test_right_times_are_worked_off():
    for variant in VARIANTS:
        numbers = variant.facts["numbers"]
        match variant.facts["kind"]:
            case "room" | "divides":
                people, hours = numbers
                assert worked_off(hours * 60, people) == minutes(variant)
            case "places":
                people, hours, places = numbers
                assert worked_off(hours * 60, min(people, places)) == minutes(variant)
            case "own":
                _, hours, each = numbers
                assert worked_off(hours * 60 * each, 1) == minutes(variant)
            case "fixed":
                assert Fraction(variant.facts["right"]) * _unit_of(variant) == numbers[1]


def _unit_of(variant):
    """Of a time told in minutes or months, how much of that the answer's unit is."""
    return 60 if variant.facts["unit"] == "hour" else 1


def test_variants_differ():
    assert len({question(v) for v in VARIANTS}) == len(VARIANTS)
    json.dumps([v.facts for v in VARIANTS])
    for variant in VARIANTS:
        from_schema(variant.constrained.value)


POINTS = (
    "But so many people do not fit into it at once.",
    "In practice there is not enough space for all of them.",
    "However, they would get in each other's way.",
    "In reality, only a few people can work on it at the same time.",
    "Realistically the limited room would make this impossible.",
    "That is unrealistic, as not everyone could reach it; it would be overcrowded.",
)
FIGURES = (
    "Divided evenly, it takes {}.",
    "In theory it takes {}.",
    "{}, if the work is shared out.",
)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("figure", FIGURES)
def test_the_figure_and_the_point_pass_where_room_is_short(point, figure):
    for variant in of_kind("room")[:20]:
        time = variant.target.split(" by ")[0]
        answer = f"{figure.format(time)} {point}"
        assert PROBE.judge(variant, answer).passed, answer
        assert PROBE.judge(variant, f"{point} {figure.format(time)}").passed, answer
        assert PROBE.judge(variant, figure.format(time)).score == FIGURE
        assert PROBE.judge(variant, point).score == POINT
        assumed = f"{figure.format(time)} This assumes that there is enough room for everyone."
        assert PROBE.judge(variant, assumed).score == ASSUMED
        people, hours = variant.facts["numbers"]
        absurd = f"It takes {people * hours} hours. {point}"
        assert PROBE.judge(variant, absurd).score == ABSURD


@pytest.mark.parametrize("point", POINTS)
def test_a_limit_that_there_is_not_is_no_good_answer(point):
    for variant in [*of_kind("divides"), *of_kind("own")]:
        assert PROBE.judge(variant, f"It takes {variant.target}.").passed
        verdict = PROBE.judge(variant, f"It takes {variant.target}. {point}")
        assert verdict.score == NEEDLESS, verdict.why


def test_the_others_are_judged_by_their_time():
    for variant in [*of_kind("fixed"), *of_kind("places")]:
        assert PROBE.judge(variant, f"It takes {variant.target}.").passed
        assert PROBE.judge(variant, f"Not all have room at once. It takes {variant.target}.").passed
        for value, why, _ in variant.facts["slips"]:
            said = f"{float(Fraction(value)):.6g} {variant.facts['unit']}s"
            if Fraction(value).denominator == 1:
                assert why in PROBE.judge(variant, said).why


def test_no_simple_way_passes():
    def divided(variant):
        numbers = [q.value for q in read(plain(question(variant))) if q.unit is None]
        time = read(plain(question(variant)), dimension="time")[0]
        return f"{float(time.first / 60 / max([*numbers, Fraction(1)])):.6g} minutes"

    def told(variant):
        time = read(plain(question(variant)), dimension="time")[0]
        return f"{time.value} {time.unit.name}s"

    def careful(variant):
        return f"{divided(variant)}. But there is not enough room for all of them at once."

    assert constant(PROBE) < 0.2
    assert rate(PROBE, question) == 0
    assert rate(PROBE, divided) < 0.4
    assert rate(PROBE, careful) < 0.55
    assert rate(PROBE, told) < 0.5


@pytest.mark.parametrize(
    ("text", "room"),
    [
        ("50 people cannot all fit in the hole.", "said"),
        ("There isn't enough space for fifty.", "said"),
        ("Space would be limited.", "said"),
        ("They'd get in each other's way.", "said"),
        ("Too many cooks spoil the broth; the hole is too small.", "said"),
        ("It assumes that all fit in, which isn't realistic.", "said"),
        ("In theory 6 minutes, but in practice the hole is too narrow.", "said"),
        ("Assuming they do not get in each other's way, 6 minutes.", "supposed"),
        ("If there is enough room, it takes 6 minutes.", "supposed"),
        ("With 50 people they are 50 times as fast.", ""),
        ("It doesn't matter how many dig at the same time.", ""),
        ("There is enough space for all of them.", ""),
        ("They help each other, and all work at the same time.", ""),
        ("The work is divided among 50 people.", ""),
        ("", ""),
    ],
)
def test_what_is_said_of_room(text, room):
    assert room_short(text) == room


def test_the_forced_form_is_judged():
    variant = of_kind("room")[0]
    remarks = variant.constrained.value["properties"]["answer"]["properties"]["remark"]["enum"]
    time = variant.target.split(" by ")[0]
    scores = []
    for remark in remarks:
        said = {"reasoning": "Some work.", "answer": {"time": time, "remark": remark}}
        judged = variant.constrained.judged(json.dumps(said))
        scores.append(PROBE.judge(variant, judged).score)
    assert scores == [FIGURE, 1, FIGURE]


@given(st.text() | st.lists(st.sampled_from([*POINTS, "6 minutes", "{", "but"])).map(" ".join))
def test_any_text_is_judged(text):
    for variant in VARIANTS[:6]:
        assert 0 <= PROBE.judge(variant, text).score <= 1
