"""JSON of people: read out of any answer, and compared field by field."""

import json
from dataclasses import replace

import jsonschema
import pytest

from pocketlm.chat.tools import Call
from pocketlm.evaluate.probes.people import PROBE
from pocketlm.evaluate.probes.probe import Variant

PEOPLE = [
    {"name": "Anna", "age": 34, "town": "Oslo", "hobbies": ["chess", "judo"], "married": True},
    {"name": "Omar", "age": 51, "town": None, "hobbies": ["baking"], "married": False},
]
FIELDS = [
    ["name", "text"], ["age", "whole"], ["town", "text"], ["hobbies", "texts"],
    ["married", "truth"],
]  # fmt: skip


def variant(shape: str = "list") -> Variant:
    facts = {"people": PEOPLE, "shape": shape, "fields": FIELDS}
    return replace(PROBE.variants(0, 1)[0], facts=facts)


def without_name(person: dict) -> dict:
    return {key: value for key, value in person.items() if key != "name"}


SHAPED = {
    "list": PEOPLE,
    "object": {"people": PEOPLE},
    "map": {person["name"]: without_name(person) for person in PEOPLE},
}


@pytest.mark.parametrize("shape", SHAPED)
def test_what_is_all_right_passes_whatever_is_said_around_it(shape):
    right = json.dumps(SHAPED[shape])
    spread = json.dumps(SHAPED[shape], indent=4)
    for answer in (
        right,
        spread,
        f"Sure! Here is the JSON that you asked for:\n\n```json\n{spread}\n```\nI hope it helps.",
        f"```\n{right}\n```",
        right.replace("Oslo", "oslo"),
    ):
        verdict = PROBE.judge(variant(shape), answer)
        assert verdict.passed, verdict.why


@pytest.mark.parametrize("shape", SHAPED)
@pytest.mark.parametrize("other", SHAPED)
def test_another_shape_costs_a_part(shape, other):
    score = PROBE.judge(variant(shape), json.dumps(SHAPED[other])).score
    assert score == (1 if shape == other else 0.9)


def changed(**values: object) -> str:
    return json.dumps([{**PEOPLE[0], **values}, PEOPLE[1]])


@pytest.mark.parametrize(
    ("answer", "least", "most", "word"),
    [
        (changed(age=35), 0.9, 0.95, "Anna's age is 35, not 34"),
        (changed(age="34"), 0.95, 0.97, "not 34"),
        (changed(age="34 years"), 0.95, 0.97, "not 34"),
        (changed(age=34.0), 1, 1, "right"),
        (changed(age=True), 0.9, 0.95, "not 34"),
        (changed(married="yes"), 0.95, 0.97, "married"),
        (changed(married=1), 0.9, 0.95, "married"),
        (changed(town="Bergen"), 0.9, 0.95, "Bergen"),
        (changed(town="the city of Oslo"), 0.95, 0.97, "town"),
        (changed(hobbies=["chess"]), 0.97, 0.98, "hobbies"),
        (changed(hobbies=["judo", "chess"]), 1, 1, "right"),
        (changed(hobbies=["chess", "judo", "golf"]), 0.98, 0.99, "hobbies"),
        (changed(hobbies="chess and judo"), 0.95, 0.97, "hobbies"),
        (changed(hobbies=None), 0.9, 0.95, "hobbies"),
        (changed(job="nurse"), 0.9, 0.96, "keys"),
        (json.dumps([PEOPLE[0], without_name(PEOPLE[1])]), 0.55, 0.65, "Omar is missing"),
        (json.dumps([PEOPLE[0]]), 0.65, 0.65, "Omar is missing"),
        (json.dumps([*PEOPLE, {**PEOPLE[0], "name": "Bob"}]), 0.7, 0.8, "3 people"),
        (json.dumps([PEOPLE[0], {**PEOPLE[1], "town": "Rome"}]), 0.9, 0.95, "not null"),
        (json.dumps([PEOPLE[0], {**PEOPLE[1], "town": "null"}]), 0.95, 0.97, "not null"),
        ("\n".join(map(json.dumps, PEOPLE)), 0.9, 0.9, "shape"),
        (f"{json.dumps(PEOPLE)}\n{json.dumps(PEOPLE)}", 0.9, 0.9, "shape"),
        (json.dumps(PEOPLE[0]), 0.5, 0.6, "Omar is missing"),
    ],
)
def test_each_field_counts_for_itself(answer, least, most, word):
    verdict = PROBE.judge(variant(), answer)
    assert least <= round(verdict.score, 4) <= most, verdict
    assert word in verdict.why


@pytest.mark.parametrize(
    "answer",
    [
        "Anna is 34 years old and lives in Oslo.",
        "[]",
        "{}",
        "[1, 2, 3]",
        '[{"name": "Bob", "age": 3}]',
        '[{"name": "Anna"}, {"name": "Omar"}]',
        '{"people": "Anna, Omar"}',
        "[{'name': 'Anna', 'age': 34}]",
        '[{"name": "Anna", "age": 34',
        "[" * 9000,
        '{"a":' * 9000,
    ],
)
def test_nonsense_counts_nothing(answer):
    assert PROBE.judge(variant(), answer).score == 0


def test_the_right_answer_of_each_variant_passes_and_is_what_the_schema_allows():
    for found in PROBE.variants(11, 40):
        assert PROBE.judge(found, found.target).passed
        jsonschema.validate(json.loads(found.target), found.constrained.value)
        text = str(found.messages[0]["content"])
        for person in found.facts["people"]:
            said = [person["name"]]
            for value in person.values():
                said += value if isinstance(value, list) else [value]
            words = [str(each) for each in said if isinstance(each, str)]
            assert all(word in text for word in words)


@pytest.mark.parametrize("shape", SHAPED)
def test_people_who_were_saved_are_the_answer(shape):
    call = Call("save_people", json.dumps({"people": PEOPLE}))
    answer = PROBE.answer(variant(shape), "They are saved.", [call])
    assert PROBE.judge(variant(shape), answer).passed
    assert PROBE.answer(variant(shape), "I cannot.", []) == "I cannot."
    (skill,) = PROBE.skills(variant(shape))
    assert skill.run({"people": PEOPLE}) == "2 people are saved"
    jsonschema.validate({"people": PEOPLE}, {"type": "object", **skill.tool.parameters})
