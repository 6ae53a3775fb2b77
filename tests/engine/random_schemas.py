"""Random JSON schemas: keywords that are enforced, and now and then one that is not."""

import random
import string
from typing import Any

#: Keywords that say what no constraint can hold to; each must be refused by its name.
REFUSED: dict[str, Any] = {
    "not": {"type": "null"},
    "if": {"type": "string"},
    "then": {"minLength": 1},
    "else": {"minLength": 1},
    "uniqueItems": True,
    "contains": {"type": "integer"},
    "minContains": 1,
    "maxContains": 2,
    "propertyNames": {"maxLength": 3},
    "dependentRequired": {"a": ["b"]},
    "dependentSchemas": {"a": {}},
    "dependencies": {"a": ["b"]},
    "unevaluatedProperties": False,
    "unevaluatedItems": False,
    "additionalItems": False,
    "$dynamicRef": "#",
    "$dynamicAnchor": "here",
    "$recursiveRef": "#",
    "$anchor": "here",
    "$vocabulary": {},
    "nullable": True,
    "minProperties": 9,
    "x-guidance": {"lenient": True},
    "colour": "red",
}
_NAMES = ["a", "b", "name", "größe", 'qu"ote', "with space", "", "n0"]
_PATTERNS = [
    "^[a-z]{2,5}$",
    "^\\d+$",
    "^(x|yz)+$",
    "a.c",
    '^[^"\\\\]{1,4}$',
    '^[^"]{1,6}$',
    "^[^\\\\a-f]{2,5}$",
]
_FORMATS = ["date", "time", "date-time", "uuid", "ipv4", "email"]


def schema(rng: random.Random, depth: int = 0, *, refused: bool = False) -> dict[str, Any]:
    """A schema that some value meets, as a rule. With `refused`, one keyword too many somewhere."""
    made = _schema(rng, depth)
    if refused:
        keyword = rng.choice(list(REFUSED))
        place = rng.choice(list(_objects(made)))
        place[keyword] = REFUSED[keyword]
        made["title"] = keyword  # for the test's message alone
    return made


def _objects(schema: dict[str, Any]) -> Any:
    yield schema
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from _objects(schema[keyword])
    for keyword in ("anyOf", "prefixItems"):
        for each in schema.get(keyword, ()):
            yield from _objects(each)
    for each in schema.get("properties", {}).values():
        yield from _objects(each)


def _schema(rng: random.Random, depth: int) -> dict[str, Any]:
    makers = [_integer, _number, _string, _string, _fixed, _boolean]
    if depth < 3:
        makers += [_object, _object, _array, _any_of]
    if depth == 0:
        makers = [_object, _object, _object, _array, _any_of, _string, _recursive]
    made = rng.choice(makers)(rng, depth)
    if rng.random() < 0.2:
        made["description"] = "".join(rng.choices(string.ascii_letters, k=9))
    return made


def _integer(rng: random.Random, _: int) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "integer"}
    low = rng.randint(-1000, 1000)
    if rng.random() < 0.5:
        made[rng.choice(["minimum", "exclusiveMinimum"])] = low
    if rng.random() < 0.5:
        made[rng.choice(["maximum", "exclusiveMaximum"])] = low + rng.randint(5, 5000)
    if rng.random() < 0.1:
        made["multipleOf"] = rng.choice([1, 2, 3])
    return made


def _number(rng: random.Random, _: int) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "number"}
    if rng.random() < 0.6:
        made["minimum"] = rng.choice([-3, 0, 0.5, 10])
    if rng.random() < 0.6:
        made["maximum"] = rng.choice([11, 12.25, 1000])
    return made


def _string(rng: random.Random, _: int) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "string"}
    kind = rng.random()
    if kind < 0.3:
        made["minLength"] = rng.randint(0, 5)
        made["maxLength"] = rng.randint(5, 12)
    elif kind < 0.5:
        made["pattern"] = rng.choice(_PATTERNS)
    elif kind < 0.7:
        made["format"] = rng.choice(_FORMATS)
    else:
        made["maxLength"] = 20
    return made


def _fixed(rng: random.Random, _: int) -> dict[str, Any]:
    values = ["x", "two words", 3, -1.5, True, None, [1, "a"], {"k": [False]}]
    if rng.random() < 0.4:
        return {"const": rng.choice(values)}
    return {"enum": rng.sample(values, rng.randint(1, 4))}


def _boolean(rng: random.Random, _: int) -> dict[str, Any]:
    return {"type": rng.choice(["boolean", "null", ["boolean", "null"]])}


def _array(rng: random.Random, depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "array", "items": _schema(rng, depth + 1)}
    low = rng.randint(0, 2)
    made["minItems"] = low
    made["maxItems"] = low + rng.randint(0, 3)
    if rng.random() < 0.3:
        made["prefixItems"] = [_schema(rng, depth + 1) for _ in range(rng.randint(1, 2))]
        made["maxItems"] = max(made["maxItems"], 2)
    return made


def _object(rng: random.Random, depth: int) -> dict[str, Any]:
    names = rng.sample(_NAMES, rng.randint(0, 4))
    made: dict[str, Any] = {
        "type": "object",
        "properties": {name: _schema(rng, depth + 1) for name in names},
        "required": [name for name in names if rng.random() < 0.6],
    }
    kind = rng.random()
    if kind < 0.3:
        made["additionalProperties"] = False
    elif kind < 0.5:
        made["additionalProperties"] = _schema(rng, depth + 1)
        made["maxProperties"] = len(names) + 2
        made["required"] = names
    return made


def _any_of(rng: random.Random, depth: int) -> dict[str, Any]:
    return {"anyOf": [_schema(rng, depth + 1) for _ in range(rng.randint(1, 3))]}


def _recursive(rng: random.Random, depth: int) -> dict[str, Any]:
    node = {
        "type": "object",
        "properties": {
            "value": _schema(rng, depth + 2),
            "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
        },
        "required": ["value", "next"],
        "additionalProperties": False,
    }
    return {"$ref": "#/$defs/node", "$defs": {"node": node}}
