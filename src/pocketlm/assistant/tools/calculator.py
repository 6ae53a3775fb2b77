"""The tool `calculate`: exact arithmetic with units and dates.

Knows what the model is told of it. `expression.py` reads and computes, `dates.py` has the calendar.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pocketlm.assistant.tools import dates
from pocketlm.assistant.tools.expression import MOST_CHARACTERS, compute
from pocketlm.assistant.tools.skill import Skill
from pocketlm.chat.tools import Tool

_DATED = re.compile(r"\d{4}-\d{1,2}-\d{1,2}|\b(?:today|tomorrow|yesterday|now)\b", re.IGNORECASE)


def calculate(expression: str) -> str:
    """The value of an expression. Raises ParameterError for one that has none."""
    if len(expression) <= MOST_CHARACTERS and _DATED.search(expression):
        return dates.evaluate(expression)
    return str(compute(expression))


def skills() -> list[Skill]:
    """The tool."""
    expression = {
        "type": "string",
        "minLength": 1,
        "maxLength": 300,
        "description": "for example: 17% of 2340; (3 + 4) * 12 / 5; sqrt(2); 60 mph * 2.5 h in km",
    }
    tool = Tool(
        "calculate",
        "Calculates exactly, and converts units.",
        {"properties": {"expression": expression}, "required": ["expression"]},
    )

    def run(arguments: Mapping[str, Any]) -> str:
        return calculate(arguments["expression"])

    return [Skill(tool, run)]
