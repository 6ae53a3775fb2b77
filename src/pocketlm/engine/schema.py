"""JSON schemas, before a constraint is made of them: each keyword is enforced or refused by name.

It knows which keywords of draft 2020-12 llguidance enforces, and where it would say nothing of one
that it does not. It does not know tokens or grammars.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pocketlm.errors import ConstraintError

#: Most bytes of a schema as JSON, its deepest nesting, and its most subschemas. llguidance follows
#: a chain of references on the stack, which some 2,000 of them fill.
MOST_BYTES = 1 << 16
MOST_DEPTH = 64
MOST_SUBSCHEMAS = 1000

_ONE = ("items", "additionalProperties")
_MANY = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "$defs", "definitions")
_ENFORCED = {
    *("type", "enum", "const", "$ref", "required"),
    *("minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("pattern", "format", *_ONE, *_MANY, *_NAMED),
}
#: They say something about a value and demand nothing of it.
_ANNOTATIONS = {
    *("$schema", "$comment", "title", "description", "default", "examples", "deprecated"),
    *("readOnly", "writeOnly", "contentMediaType", "contentEncoding", "discriminator"),
}
_COMBINING = ("allOf", "anyOf", "oneOf", "$ref")
#: The parts of a regular expression in which classes can be told from what only looks like one.
_REGEX = re.compile(
    r"\\(?:x\{?[0-9A-Fa-f]+\}?|u[0-9A-Fa-f]{4}|[pP](?:\{[^}]*\}|.)|.)|\[:\w+:\]|\[\^?\]?|.",
    re.DOTALL,
)
_CONTROLS = re.compile(r"\\x\{?0+\}?|\\u0000|\\0|\\p\{?C.*|\[:cntrl:\]|\x00", re.DOTALL)


def checked(schema: object, *, lenient: bool = False) -> dict[str, Any]:
    """A copy of a JSON schema that can be enforced, without what demands nothing.

    A pydantic model class stands for its schema, and a string for the JSON that it holds. An object
    whose properties are listed gets no others, unless the schema says that it may.

    Raises ConstraintError for what is no schema, is too large, or has a keyword that cannot be
    enforced, which it names. With `lenient` such keywords are left out instead.
    """
    schema = _plain(schema)
    if schema is True:
        schema = {}
    if not isinstance(schema, dict):
        raise ConstraintError(
            "schema", f"schema is {type(schema).__name__}; it must be a JSON object"
        )
    _check_size(schema)
    copy = _Copy(lenient)
    root = copy.schema({k: v for k, v in schema.items() if k not in ("$id", "id")}, "")
    if isinstance(root, dict) and not any(map(_is_combined, copy.objects)):
        for found in copy.objects:
            if _is_list_of_properties(found):
                found.setdefault("additionalProperties", False)
    return root if isinstance(root, dict) else {}


def _plain(schema: object) -> object:
    if isinstance(schema, type) and hasattr(schema, "model_json_schema"):
        return schema.model_json_schema()
    if isinstance(schema, str):
        if len(schema) > MOST_BYTES:
            raise ConstraintError(
                "schema", f"the schema has {len(schema):,} characters; {MOST_BYTES:,} may be"
            )
        try:
            return json.loads(schema)
        except (ValueError, RecursionError):
            raise ConstraintError("schema", "the schema is not sound JSON") from None
    return schema


def _check_size(schema: object) -> None:
    """Raise ConstraintError for what is too deep or too large, or no JSON; never recurses."""
    size = 0
    waiting = [(schema, 1)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MOST_DEPTH:
            raise ConstraintError("schema", f"the schema is nested more than {MOST_DEPTH} deep")
        children: Iterator[object] = iter(())
        if isinstance(value, Mapping):
            if not all(isinstance(key, str) for key in value):
                raise ConstraintError("schema", "the schema has a key that is no string")
            size += sum(map(len, value)) + 4 * len(value)
            children = iter(value.values())
        elif isinstance(value, list | tuple):
            children = iter(value)
            size += len(value)
        elif isinstance(value, str):
            size += len(value)
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise ConstraintError(
                    "schema", f"the schema holds {value}, which JSON has no number for"
                )
            size += 8
        elif isinstance(value, int | None):
            size += 8
        else:
            raise ConstraintError(
                "schema", f"the schema holds a {type(value).__name__}, which is no JSON"
            )
        if size > MOST_BYTES:
            raise ConstraintError("schema", f"the schema has more than {MOST_BYTES:,} bytes")
        waiting.extend((child, depth + 1) for child in children)


class _Copy:
    """One copy of a schema; `objects` are its subschemas that are no booleans."""

    def __init__(self, lenient: bool) -> None:
        self.objects: list[dict[str, Any]] = []
        self._lenient = lenient

    def schema(self, schema: object, where: str) -> dict[str, Any] | bool:
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, Mapping):
            raise ConstraintError("schema", f"{_place(where)} is no schema: it must be an object")
        if len(self.objects) >= MOST_SUBSCHEMAS:
            raise ConstraintError(
                "schema", f"the schema has more than {MOST_SUBSCHEMAS:,} subschemas"
            )
        copy: dict[str, Any] = {}
        self.objects.append(copy)
        for keyword, value in schema.items():
            if keyword in _ANNOTATIONS or (keyword == "uniqueItems" and value is False):
                continue
            reason = _refusal(keyword, value, schema)
            if reason is None:
                copy[keyword] = self._value(keyword, value, f"{where}/{keyword}")
            elif not self._lenient:
                raise ConstraintError("schema", f"{_place(where)} has {keyword[:80]!r}: {reason}")
        return copy

    def _value(self, keyword: str, value: object, where: str) -> object:
        if keyword in _ONE:
            return self.schema(value, where)
        if keyword in _MANY:
            if not isinstance(value, list | tuple):
                raise ConstraintError("schema", f"{_place(where)} must be a list of schemas")
            return [self.schema(each, f"{where}/{index}") for index, each in enumerate(value)]
        if keyword in _NAMED:
            if not isinstance(value, Mapping):
                raise ConstraintError("schema", f"{_place(where)} must map names to schemas")
            names = [_pattern(n, where) if "pattern" in keyword else n for n in value]
            schemas = [self.schema(each, f"{where}/{name}") for name, each in value.items()]
            return dict(zip(names, schemas, strict=True))
        if keyword == "pattern" and isinstance(value, str):
            return _pattern(value, where)
        return value


def _pattern(pattern: str, where: str) -> str:
    """The pattern, its negated classes without NUL.

    llguidance (1.9.1) takes a class of all control characters for one that has quotes and
    backslashes too, if these are escaped: of strings that match [^"] it would let one hold them.
    """
    written, negated = [], [False]
    for part in _REGEX.findall(pattern):
        if part.startswith("[") and not part.startswith("[:"):
            negated.append("^" in part or negated[-1])
            if part.startswith("[^"):
                part = r"[^\x00" + part[2:].replace("]", r"\]")
        elif part == "]" and len(negated) > 1:
            negated.pop()
        elif len(negated) > 1 and not negated[-1] and _CONTROLS.fullmatch(part):
            raise ConstraintError("schema", f"{_place(where)}: classes with NUL cannot be enforced")
        written.append(part)
    return "".join(written)


def _refusal(keyword: str, value: object, schema: Mapping[str, Any]) -> str | None:
    """Why a keyword cannot be enforced, or None."""
    if keyword not in _ENFORCED:
        return "this keyword cannot be enforced"
    if keyword in ("exclusiveMinimum", "exclusiveMaximum") and isinstance(value, bool):
        return "it must be a number (a boolean is draft 4's)"
    if keyword == "$ref" and not (isinstance(value, str) and value.startswith("#")):
        return "only references into the schema itself ('#/…') can be followed"
    if keyword == "multipleOf" and isinstance(value, int | float) and value <= 0:
        return "it must be above 0"
    if keyword == "items" and isinstance(value, list | tuple):
        return "a list of items cannot be enforced; 'prefixItems' can"
    if keyword == "minProperties" and isinstance(value, int) and value > 1:
        required = schema.get("required", ())
        if not isinstance(required, list | tuple) or len({*map(str, required)}) < value:
            return "more than 1 cannot be enforced, since names may repeat; 'required' can"
    return None


def _is_combined(schema: Mapping[str, Any]) -> bool:
    """Whether a value must match several subschemas at once: closing one could empty them all."""
    combining = [keyword for keyword in _COMBINING if keyword in schema]
    others = schema.keys() - {*_COMBINING, "type", "$defs", "definitions"}
    return "allOf" in combining or len(combining) > 1 or bool(combining and others)


def _is_list_of_properties(schema: Mapping[str, Any]) -> bool:
    """Whether all properties that it demands are listed, so that no others are needed."""
    if "properties" not in schema or "patternProperties" in schema:
        return False
    required = schema.get("required", ())
    return isinstance(required, list | tuple) and all(
        isinstance(name, str) and name in schema["properties"] for name in required
    )


def _place(where: str) -> str:
    return f"the schema at {where[:80]}" if where else "the schema"
