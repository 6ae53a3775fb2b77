"""What holds of every probe: variants that differ and stay the same, and judges of any text."""

import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketlm.assistant.tools.skill import Skill
from pocketlm.engine.constraint import from_options
from pocketlm.evaluate.probes.all import PROBES
from pocketlm.evaluate.probes.probe import COUNT, Constrained, Probe, Tally, Verdict

NAMES = (
    "numbers", "snake", "drying", "speed", "maths", "people", "marble", "beliefs", "apple",
    "digging",
)  # fmt: skip
each_probe = pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)


def test_they_are_the_ten_in_their_order():
    assert tuple(probe.name for probe in PROBES) == NAMES
    assert [probe.number for probe in PROBES] == list(range(1, 11))
    assert all(probe.about and probe.seen for probe in PROBES)


@each_probe
def test_variants_differ_and_are_always_the_same(probe: Probe):
    variants = probe.variants(0)
    assert len(variants) == COUNT >= 20
    assert variants == probe.variants(0)
    assert variants[:5] == probe.variants(0, 5)
    assert [variant.number for variant in variants] == list(range(COUNT))
    asked = {json.dumps(variant.messages) for variant in variants}
    assert len(asked) == COUNT
    others = {json.dumps(variant.messages) for variant in probe.variants(1)}
    assert len(asked & others) <= COUNT // 5
    assert len({variant.target for variant in variants}) > 1 or probe.name == "snake"


@each_probe
def test_variants_can_be_written_down_and_asked(probe: Probe):
    for variant in probe.variants(3):
        assert variant.messages[-1]["role"] == "user"
        assert variant.target
        form = variant.constrained
        assert from_options(**{form.kind: form.value})
    skills = probe.skills(probe.variants(3, 1)[0])
    assert all(isinstance(skill, Skill) for skill in skills)


@each_probe
def test_facts_from_a_file_judge_as_those_that_were_drawn(probe: Probe):
    for variant in probe.variants(0, 3):
        kept = replace(variant, facts=json.loads(json.dumps(variant.facts)))
        for answer in (variant.target, "12 hours", ""):
            assert probe.judge(kept, answer) == probe.judge(variant, answer)


ANSWERS = st.one_of(
    st.text(),
    st.text("0123456789.,- \n*\"'{}[]()`apple", max_size=200),
    st.lists(
        st.sampled_from(
            (
                "Sure! Here is",
                "```python",
                "```",
                "for n in 1,:",
                " print(n)",
                "1.",
                "{",
                "}",
                "[",
                '"name"',
                ":",
                "null",
                "apple",
                ".",
                "\n",
                "12",
                "hours",
                "the same",
                "as",
            )
        ),
        max_size=30,
    ).map(" ".join),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    ).map(json.dumps),
)


@each_probe
@given(answer=ANSWERS, number=st.integers(0, 4))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_judge_takes_any_text(probe: Probe, answer: str, number: int):
    verdict = probe.judge(probe.variants(0, 5)[number], answer)
    assert 0 <= verdict.score <= 1
    assert verdict.passed is (verdict.score == 1)
    assert verdict.why


@each_probe
@pytest.mark.parametrize(
    "answer",
    ["", " ", "\x00", "\ud800", "[" * 50_000, "{" * 50_000, "9" * 50_000, "a" * 200_000, "é" * 999],
    ids=lambda answer: repr(answer[:4]),
)
def test_a_judge_takes_monstrous_texts(probe: Probe, answer: str):
    assert probe.judge(probe.variants(0, 1)[0], answer).score < 0.5


@each_probe
def test_saying_nothing_is_worth_nothing(probe: Probe):
    for variant in probe.variants(0, 5):
        for said in ("", "I do not know.", "As a language model I cannot do that.", "Sure!"):
            assert probe.judge(variant, said).score == 0


def test_a_field_of_json_is_judged_alone():
    form = Constrained("schema", {}, field="answer")
    assert form.judged('{"reasoning": "9 hours", "answer": "5 hours"}') == "5 hours"
    assert form.judged('{"reasoning": "9 hours", "answer": 5}') == "5"
    assert form.judged('{"reasoning": "9 hours, that is 9 ho') == ""
    assert form.judged("[]") == ""
    assert Constrained("regex", ".*").judged("all") == "all"


def test_a_score_is_bounded_and_passes_only_as_a_whole():
    with pytest.raises(ValueError, match="between 0 and 1"):
        Verdict(1.1, "too much")
    assert Verdict(1, "all").passed
    tally = Tally()
    assert tally.verdict == Verdict(0, "nothing")
    tally.add("one", 1, weight=0.1)
    tally.add("two", True, weight=0.2)
    assert tally.verdict == Verdict(1, "one (0.1 of 0.1); two (0.2 of 0.2)")
    tally.add("three", 0.9999, weight=0.1)
    assert 0.9 < tally.verdict.score < 1
