"""Which schemas are taken; a keyword that cannot be enforced is refused by its name."""

import copy
import json
import random
import time

import pydantic
import pytest
import random_schemas as schemas

from pocketlm.engine import schema as schema_module
from pocketlm.engine.schema import checked
from pocketlm.errors import ParameterError


@pytest.mark.parametrize("keyword", schemas.REFUSED)
def test_a_keyword_that_cannot_be_enforced_is_named(keyword):
    given = {"type": "object", "properties": {"a": {keyword: schemas.REFUSED[keyword]}}}
    with pytest.raises(ParameterError, match="/properties/a") as caught:
        checked(given)
    assert repr(keyword) in str(caught.value)
    assert checked(given, lenient=True)["properties"] == {"a": {}}


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"items": [{"type": "string"}]}, "'items'"),
        ({"exclusiveMinimum": True, "minimum": 1}, "'exclusiveMinimum'"),
        ({"multipleOf": 0}, "'multipleOf'"),
        ({"properties": []}, "/properties"),
        ({"anyOf": {"type": "string"}}, "/anyOf"),
        ({"properties": {"a": 3}}, "/properties/a"),
        ({"pattern": r"[a\x00-\x1f]"}, "NUL"),
        ({"patternProperties": {"[[:cntrl:]]": {}}}, "NUL"),
        ({"const": float("nan")}, "nan"),
        ({"const": {1, 2}}, "set"),
        ({1: 2}, "key"),
        ([], "list"),
        ("{", "JSON"),
        (7, "int"),
        (False, "bool"),
    ],
)
def test_what_is_no_schema_is_refused(given, word):
    with pytest.raises(ParameterError) as caught:
        checked(given)
    assert word in str(caught.value)


def test_names_of_properties_are_no_keywords():
    properties = {name: {"type": "string"} for name in schemas.REFUSED}
    assert checked({"properties": properties})["properties"] == properties


def test_what_demands_nothing_is_left_out():
    given = {"$schema": "x", "$id": "y", "title": "t", "type": "string", "uniqueItems": False}
    assert checked(given) == {"type": "string"}
    assert checked(True) == {}


def test_names_that_may_repeat_cannot_fill_an_object():
    assert checked({"minProperties": 1}) == {"minProperties": 1}
    given = {"minProperties": 2, "required": ["a", "b"], "properties": {"a": {}, "b": {}}}
    assert checked(given)["minProperties"] == 2


def test_an_object_gets_no_other_properties_than_those_listed():
    assert checked({"properties": {"a": {}}})["additionalProperties"] is False
    nested = checked({"items": {"properties": {"a": {}}}})
    assert nested["items"]["additionalProperties"] is False
    for open_one in (
        {"type": "object"},
        {"properties": {"a": {}}, "additionalProperties": True},
        {"properties": {"a": {}}, "patternProperties": {"^x": {}}},
        {"properties": {"a": {}}, "required": ["b"]},
        {"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]},
        {"properties": {"a": {}}, "anyOf": [{"required": ["a"]}]},
        {"required": ["a"], "anyOf": [{"properties": {"b": {}}}]},
        {"anyOf": [{"properties": {"b": {}}}], "oneOf": [{"properties": {"a": {}}}]},
    ):
        assert checked(open_one) == open_one


def test_pydantic_models_and_json_are_schemas():
    class Person(pydantic.BaseModel):
        name: str
        age: int = 3

    found = checked(Person)
    assert found["required"] == ["name"]
    assert checked(json.dumps(Person.model_json_schema())) == found


def test_what_is_given_stays_as_it_was():
    for seed in range(50):
        given = schemas.schema(random.Random(seed))
        before = copy.deepcopy(given)
        checked(given)
        assert given == before


@pytest.mark.parametrize("depth", [10**2, 10**3, 10**4, 10**5, 10**6])
@pytest.mark.parametrize("kind", ["items", "anyOf", "const", "text"])
def test_a_schema_that_is_nested_too_deep_is_refused_at_once(depth, kind):
    given = {}
    for _ in range(0 if kind == "text" else depth):
        given = {kind: [given] if kind == "anyOf" else given}
    if kind == "text":
        given = '{"items":' * depth + "{}" + "}" * depth
    began = time.perf_counter()
    with pytest.raises(ParameterError, match=r"deep|characters|JSON"):
        checked(given)
    assert time.perf_counter() - began < 0.1
    while isinstance(given, dict) and given:  # as it would be freed, but not on the stack
        given = next(iter(given.values()))
        given = given[0] if isinstance(given, list) else given


def test_a_schema_that_is_too_large_is_refused():
    for given in (
        {"enum": ["x" * schema_module.MOST_BYTES]},
        {"properties": {str(i): {} for i in range(schema_module.MOST_SUBSCHEMAS)}},
        {"enum": list(range(schema_module.MOST_BYTES))},
        " " * (schema_module.MOST_BYTES + 1),
    ):
        with pytest.raises(ParameterError, match=r"more than|may be"):
            checked(given)
