"""What a tool is: a function that a model may call, and whether a person is asked first.

Knows neither which tools there are nor how a model calls them (`chat/tools.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pocketlm.chat.tools import Tool


@dataclass(frozen=True)
class Skill:
    """A tool that runs here.

    `run` takes the arguments, already checked against `tool.parameters`, and returns what the model
    is told, as text. It raises pocketlm.Error for what it cannot do; the model is told the message.
    A tool that changes something, sends something or runs code has `effects`: it is run after a
    person agreed, or where it is on their list of allowed ones, and never because a text said so.
    """

    tool: Tool
    run: Callable[[Mapping[str, Any]], str]
    effects: bool = False
