"""What questions are made of: names, and requests for an answer that ends with its point.

It knows words. It does not know what is asked.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from pocketlm.evaluate.probes.probe import Constrained, Variant

#: First names that are said of one sex, for whom "she" and "he" are clear.
WOMEN = (
    "Anna", "Bella", "Clara", "Dora", "Emma", "Fiona", "Greta", "Hanna", "Ida", "Julia", "Karla",
    "Lena", "Mira", "Nora", "Olga", "Paula", "Rosa", "Sofia", "Tina", "Vera",
)  # fmt: skip
MEN = (
    "Adam", "Ben", "Carl", "David", "Erik", "Felix", "George", "Henry", "Ivan", "Jonas", "Karim",
    "Leo", "Martin", "Noah", "Oscar", "Peter", "Ravi", "Simon", "Tom", "Victor",
)  # fmt: skip
_ENDINGS = (
    "Think it through, and end with the answer.",
    "Explain in a few sentences; state the answer in the last one.",
    "Reason step by step, then state the final answer.",
    "Give a short reason first and the answer last.",
    "Keep it short, and close with the answer.",
)
#: Most tokens of an answer: reasons come before it.
MOST_TOKENS = 400
#: Reasoning where the form is forced: a sentence or some, so short that the answer fits too.
_REASONING = r"^[A-Z][a-z]* [^\n\r\t\"\\]{30,450}[.]$"


def people(chance: random.Random, count: int) -> list[str]:
    """Different names, women and men as they come."""
    return chance.sample(WOMEN + MEN, count)


def ending(chance: random.Random) -> str:
    """A request to end with the answer."""
    return chance.choice(_ENDINGS)


def reasoned(answer: dict[str, Any], ask: str) -> Constrained:
    """JSON of reasoning and then an answer of this schema; `ask` says what the answer holds."""
    schema = {
        "type": "object",
        "properties": {
            "reasoning": {"type": "string", "pattern": _REASONING},
            "answer": answer,
        },
        "required": ["reasoning", "answer"],
        "additionalProperties": False,
    }
    ask = f'Write JSON with two fields: first "reasoning", some sentences; then "answer". {ask}'
    return Constrained("schema", schema, ask, "answer")


def listed(things: Sequence[str], join: str = "and") -> str:
    """Things in a row: "a, b and c"."""
    *most, last = things
    return f"{', '.join(most)} {join} {last}" if most else last


def long(chance: random.Random, question: str, unit: str) -> tuple[str, bool]:
    """Fill in "How {long} …?", and whether the unit is part of the question: "How many hours"."""
    bare = chance.random() < 0.4
    return question.format(long=f"many {unit}s" if bare else "long"), bare


def question_of(variant: Variant) -> str:
    """What the user asks, in words."""
    return str(variant.messages[-1]["content"])
