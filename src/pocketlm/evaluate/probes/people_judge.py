"""What JSON of people is worth: its shape, its keys, and each value beside the right one.

It reads any text for JSON and believes none of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pocketlm.evaluate.probes.probe import Tally, Verdict

#: Most characters of an answer that are read, and most places where JSON is looked for.
_MOST_TEXT, _MOST_PLACES = 20_000, 200


def judged(facts: Mapping[str, Any], answer: str) -> Verdict:
    """Compare the best JSON of an answer with `facts`: people, shape and fields of a variant."""
    found = list(_values(answer[:_MOST_TEXT]))
    if not found:
        return Verdict(0, "there is no JSON object or list in the answer")
    verdicts = [_verdict(facts, value, len(found)) for value in found]
    if len(found) > 1:
        verdicts.append(_verdict(facts, found, len(found)))
    return max(verdicts, key=lambda verdict: verdict.score)


def _values(text: str) -> Iterator[Any]:
    """The JSON objects and lists of a text, from left to right, none within another."""
    decoder = json.JSONDecoder()
    place = 0
    for _ in range(_MOST_PLACES):
        begin = re.search(r"[\[{]", text[place:])
        if begin is None:
            return
        place += begin.start()
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            place += 1
            continue
        yield value


def _verdict(facts: Mapping[str, Any], value: object, values: int) -> Verdict:
    wanted: Sequence[Mapping[str, Any]] = facts["people"]
    shape, people = _people(value)
    if not people:
        return Verdict(0, "the JSON of the answer holds no people")
    asked = {key for key, _ in facts["fields"]}
    tally = Tally()
    notes: list[str] = []
    share = _share(wanted, people, facts["fields"], notes)
    tally.add("it holds JSON", share > 0)
    right = shape == facts["shape"] and values == 1
    tally.add("its shape is as asked" if right else "its shape is another", right)
    keys = sum(set(person) == asked for person in people) / len(people)
    tally.add("the keys are as asked" if keys == 1 else "not all keys are as asked", keys)
    tally.add("; ".join(notes[:4]) or "all values are right", share, weight=7)
    return tally.verdict if share else Verdict(0, "nothing that the JSON says is right")


def _people(value: object) -> tuple[str, list[dict[str, Any]]]:
    """The shape of a JSON value, and the people that it holds, whatever that is."""
    if isinstance(value, dict) and isinstance(value.get("people"), list) and len(value) == 1:
        return "object", _objects(value["people"])
    if isinstance(value, list):
        return "list", _objects(value)
    if isinstance(value, dict) and value and all(isinstance(v, dict) for v in value.values()):
        return "map", [{"name": name, **each} for name, each in value.items()]
    if isinstance(value, dict) and "name" in value:
        return "one", [value]
    lists = [v for v in value.values() if isinstance(v, list)] if isinstance(value, dict) else []
    return "other", _objects(lists[0]) if lists else []


def _objects(values: Sequence[Any]) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)]


def _share(
    wanted: Sequence[Mapping[str, Any]],
    people: Sequence[Mapping[str, Any]],
    fields: Sequence[Sequence[str]],
    notes: list[str],
) -> float:
    """How many of the values that there should be are right; what is not goes into `notes`."""
    got = 0.0
    for person in wanted:
        name = person["name"]
        found = next((p for p in people if _plain(p.get("name")) == _plain(name)), None)
        if found is None:
            notes.append(f"{name} is missing")
            continue
        for key, kind in fields:
            credit = 1.0 if key == "name" else _credit(person[key], found, key, kind)
            got += credit
            if credit < 1:
                shown = json.dumps(found.get(key), ensure_ascii=False)[:60]
                notes.append(f"{name}'s {key} is {shown}, not {json.dumps(person[key])}")
    if len(people) > len(wanted):
        notes.append(f"{len(people)} people instead of {len(wanted)}")
    # A name alone is no attribute: at least one of them must be right for anything to count.
    if got <= sum(any(_plain(p.get("name")) == _plain(w["name"]) for p in people) for w in wanted):
        return 0
    return got / (len(fields) * max(len(wanted), len(people)))


def _credit(wanted: object, person: Mapping[str, Any], key: str, kind: str) -> float:
    """1 for a value that is right, a half for one that is right in another form."""
    found = person.get(key)
    if wanted is None:
        if found is None:
            return key in person
        return 0.5 if found in ("", []) or _plain(found) in ("null", "none", "unknown") else 0
    if isinstance(wanted, list):
        return _overlap({_plain(each) for each in wanted}, found)
    if type(found) is type(wanted) and _plain(found) == _plain(wanted):
        return 1
    if isinstance(found, float) and not isinstance(wanted, bool) and found == wanted:
        return 1
    if isinstance(found, dict | list | bool) or found is None:
        return 0
    words = re.findall(r"\w+", str(found)[:200].casefold())
    if kind == "truth":
        return 0.5 if words == (["yes"] if wanted else ["no"]) or words == [_plain(wanted)] else 0
    return 0.5 if _plain(wanted) in words else 0


def _overlap(wanted: set[str], found: object) -> float:
    """How alike two sets of texts are (Dice), half of it for a list that is written as a text."""
    if isinstance(found, str):
        named = {each for each in wanted if each in found.casefold()}
        return 0.5 if named == wanted else 0
    if not isinstance(found, list) or not found:
        return 0
    said = {_plain(each) for each in found}
    return 2 * len(wanted & said) / (len(wanted) + len(found))


def _plain(value: object) -> str:
    return " ".join(str(value)[:200].casefold().split())
