"""Probe 6: a description of people, turned into JSON of given keys.

People and their attributes are drawn; what an attribute is called, in prose and in JSON, and how it
is said differ. `people_judge.py` compares.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pocketlm.assistant.tools.skill import Skill
from pocketlm.chat.tools import Call, Tool
from pocketlm.evaluate.probes.people_judge import judged
from pocketlm.evaluate.probes.probe import Constrained, Probe, Variant, Verdict

_NAMES = {
    "She": ("Anna", "Mia", "Fatima", "Ingrid", "Chloe", "Yuki", "Rosa", "Nadia", "Elif", "Grace"),
    "He": ("Omar", "Lukas", "Ravi", "Pedro", "Hugo", "Kenji", "Tomas", "Idris", "Felix", "Samuel"),
}
_CITIES = ("Oslo", "Lima", "Porto", "Cairo", "Dublin", "Kyoto", "Turin", "Quito", "Bergen", "Lyon")
_JOBS = (
    "nurse", "baker", "teacher", "carpenter", "pilot", "lawyer", "gardener", "plumber", "chemist",
    "librarian", "tailor", "translator",
)  # fmt: skip
_HOBBIES = (
    "chess", "swimming", "pottery", "cycling", "baking", "fishing", "singing", "photography",
    "hiking", "knitting", "painting", "judo",
)  # fmt: skip
_PETS = ("dog", "cat", "parrot", "rabbit", "tortoise", "hamster")
_SIBLINGS = (
    "no siblings", "one sibling", "two siblings", "three siblings", "four siblings",
    "five siblings",
)  # fmt: skip
#: What says nothing of what is asked for.
_ASIDES = (
    "They met at a concert in {year}.",
    "It rained all afternoon on the day we were introduced.",
    "The three of us once shared a taxi that cost {small} euros.",
    "I have known them since {year}.",
    "Their letters reach me about {small} times a year.",
)
_SHAPES = {
    "list": "a list of objects, one for each person",
    "object": 'an object with the one key "people", which holds a list of one object for each'
    " person",
    "map": "an object that has the name of each person as a key, and as its value an object",
}
_KINDS = {"whole": "whole number", "text": "text", "texts": "list of texts", "truth": "true/false"}


#: A value into the end of a sentence that begins with the person.
_Say = Callable[[random.Random, Any], str]


@dataclass(frozen=True)
class _Attribute:
    """What is said of a person: its keys in JSON, its kind, its values, and words for them."""

    keys: tuple[str, ...]
    kind: str
    draw: Callable[[random.Random], object]
    say: _Say


def _forms(*forms: str, put: Callable[[Any], object] = str) -> _Say:
    return lambda chance, value: chance.choice(forms).format(put(value))


def _and(texts: Sequence[str]) -> str:
    *most, last = texts
    return f"{', '.join(most)} and {last}" if most else last


def _married(chance: random.Random, value: bool) -> str:
    return "is married" if value else chance.choice(("is single", "is not married"))


_ATTRIBUTES = (
    _Attribute(
        ("age", "age_in_years"),
        "whole",
        lambda chance: chance.randint(19, 88),
        _forms("is {} years old", "turned {} this year"),
    ),
    _Attribute(
        ("height_cm", "height"),
        "whole",
        lambda chance: chance.randint(151, 199),
        _forms("is {} cm tall", "measures {} cm"),
    ),
    _Attribute(
        ("siblings", "sibling_count"),
        "whole",
        lambda chance: chance.randint(0, 5),
        _forms("has {}", "grew up with {}", put=_SIBLINGS.__getitem__),
    ),
    _Attribute(
        ("city", "town", "lives_in"),
        "text",
        lambda chance: chance.choice(_CITIES),
        _forms("lives in {}", "has a small flat in {}"),
    ),
    _Attribute(
        ("job", "profession", "occupation"),
        "text",
        lambda chance: chance.choice(_JOBS),
        _forms("works as a {}", "earns a living as a {}"),
    ),
    _Attribute(
        ("pet", "animal"),
        "text",
        lambda chance: chance.choice(_PETS),
        _forms("has a {} as a pet", "keeps a {}"),
    ),
    _Attribute(
        ("hobbies", "interests"),
        "texts",
        lambda chance: chance.sample(_HOBBIES, chance.randint(1, 3)),
        _forms("loves {}", "spends free time on {}", put=_and),
    ),
    _Attribute(("married", "is_married"), "truth", lambda chance: chance.random() < 0.5, _married),
)


class People(Probe):
    """Prose into JSON."""

    name = "people"
    number = 6
    about = "A description of people and their attributes, as JSON."
    seen = "right"
    most_tokens = 350

    def draw(self, chance: random.Random, number: int) -> Variant:
        """Draw people, what is said of them, and the keys that it is to have."""
        attributes = chance.sample(_ATTRIBUTES, chance.randint(3, 5))
        keys = {each.keys[0]: chance.choice(each.keys) for each in attributes}
        fields = [["name", "text"], *([keys[each.keys[0]], each.kind] for each in attributes)]
        count = chance.randint(2, 3)
        pronouns = [chance.choice(list(_NAMES)) for _ in range(count)]
        people: list[dict[str, Any]] = []
        for pronoun in pronouns:
            known = [person["name"] for person in people]
            name = chance.choice([each for each in _NAMES[pronoun] if each not in known])
            values = {keys[each.keys[0]]: each.draw(chance) for each in attributes}
            people.append({"name": name, **values})
        if chance.random() < 0.4:
            chance.choice(people)[keys[chance.choice(attributes).keys[0]]] = None
        text = _prose(chance, people, pronouns, attributes, keys)
        shape = chance.choice(list(_SHAPES))
        asked = fields[1:] if shape == "map" else fields
        listed = ", ".join(f'"{key}" ({_KINDS[kind]})' for key, kind in asked)
        question = chance.choice(
            (
                "Turn this text into JSON: {shape} with the keys {keys}. What the text does not"
                " say is null.\n\n{text}",
                "{text}\n\nWrite what this says of each person as JSON: {shape} with the keys"
                " {keys}. Use null for what is not said.",
                "Extract the people from the text below. Answer with JSON, namely {shape} with the"
                " keys {keys}; null stands for what is not said.\n\nText: {text}",
            )
        ).format(shape=_SHAPES[shape], keys=listed, text=text)
        return Variant(
            number,
            [{"role": "user", "content": question}],
            {"people": people, "shape": shape, "fields": fields},
            json.dumps(_shaped(people, shape)),
            Constrained("schema", _schema(shape, fields), ask="Answer with the JSON alone."),
        )

    def judge(self, variant: Variant, answer: str) -> Verdict:
        """The best JSON of the answer: its shape and keys, and each value."""
        return judged(variant.facts, answer)

    def skills(self, variant: Variant) -> Sequence[Skill]:
        """A tool that takes the people, as a program would offer one."""
        schema = {"properties": {"people": _schema("list", variant.facts["fields"])}}
        tool = Tool("save_people", "Saves what a text says of people.", schema | _REQUIRED)
        return [Skill(tool, lambda arguments: f"{len(arguments['people'])} people are saved")]

    def answer(self, variant: Variant, said: str, calls: Sequence[Call]) -> str:
        """The people that were saved, in the form that the question wants; else what was said."""
        for call in reversed(calls):
            return json.dumps(
                _shaped(json.loads(call.arguments).get("people", []), variant.facts["shape"])
            )
        return said


_REQUIRED = {"required": ["people"]}


def _prose(
    chance: random.Random,
    people: Sequence[Mapping[str, Any]],
    pronouns: Sequence[str],
    attributes: Sequence[_Attribute],
    keys: Mapping[str, str],
) -> str:
    """What is known of each person, in an order of its own."""
    sentences = []
    for person, pronoun in zip(people, pronouns, strict=True):
        said = [
            each.say(chance, person[keys[each.keys[0]]])
            for each in chance.sample(attributes, len(attributes))
            if person[keys[each.keys[0]]] is not None
        ]
        sentences.append(f"{person['name']} {said[0]}.")
        rest = said[1:]
        while rest:
            joined, rest = rest[:2], rest[2:]
            sentences.append(f"{pronoun} {' and '.join(joined)}.")
        if chance.random() < 0.3:
            aside = chance.choice(_ASIDES)
            sentences.append(
                aside.format(year=chance.randint(1998, 2024), small=chance.randint(6, 18))
            )
    return " ".join(sentences)


def _shaped(people: Sequence[Any], shape: str) -> object:
    """People in the form of a shape."""
    if shape == "list":
        return people
    if shape == "object":
        return {"people": people}
    named = [person for person in people if isinstance(person, dict)]
    return {
        str(person.get("name")): {key: value for key, value in person.items() if key != "name"}
        for person in named
    }


def _schema(shape: str, fields: Sequence[Sequence[str]]) -> dict[str, Any]:
    """What an answer of a shape is; texts and lists are bounded, and what is not said is null."""
    text = {"type": "string", "maxLength": 30}
    kinds = {
        "whole": {"type": ["integer", "null"], "minimum": 0, "maximum": 999},
        "text": {"anyOf": [text, {"type": "null"}]},
        "texts": {"anyOf": [{"type": "array", "items": text, "maxItems": 5}, {"type": "null"}]},
        "truth": {"type": ["boolean", "null"]},
    }
    asked = [(key, kind) for key, kind in fields if shape != "map" or key != "name"]
    person = {
        "type": "object",
        "properties": {key: text if key == "name" else kinds[kind] for key, kind in asked},
        "required": [key for key, _ in asked],
        "additionalProperties": False,
    }
    people = {"type": "array", "items": person, "minItems": 1, "maxItems": 5}
    if shape == "list":
        return people
    if shape == "object":
        return {"type": "object", "properties": {"people": people}, **_REQUIRED}
    return {"type": "object", "additionalProperties": person, "minProperties": 1}


PROBE = People()
