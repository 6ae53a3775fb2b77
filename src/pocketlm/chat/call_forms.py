"""How families of models write function calls, and how their templates show it.

Each form is what its models were trained with. Knows texts; neither grammars nor messages.

    Hermes, Qwen    <tool_call>
                    {"name": "f", "arguments": {…}}
                    </tool_call>
    Llama 3.x       {"name": "f", "parameters": {…}}
    Phi-4-mini      functools[{"name": "f", "arguments": {…}}, …]
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Call:
    """A function that a model wants called, `arguments` as JSON text."""

    name: str
    arguments: str


@dataclass(frozen=True)
class Form:
    """What stands before the first call, between two, and after the last one.

    `key` is the arguments' name. Without `between` an answer makes one call; where nothing stands
    before it, a call is the whole answer.
    """

    key: str
    before: str
    between: str | None
    after: str

    @property
    def mark(self) -> str:
        """What tells that a call begins, and what no other text may hold (or begin with)."""
        return self.before.strip() or '{"name"'

    def head(self, name: str) -> str:
        """What is written of a call before its arguments; "}" comes after them."""
        return f'{{"name": {json.dumps(name)}, "{self.key}": '

    def written(self, calls: Sequence[Call]) -> str:
        """Calls as a model writes them."""
        each = [f"{self.head(call.name)}{call.arguments}}}" for call in calls]
        return self.before + (self.between or "\n").join(each) + self.after

    def first(self, text: str) -> tuple[Call, int] | None:
        """The call that a text begins with, and where it ends; None if it is not whole yet."""
        head = re.match(rf'\{{"name": ("[^"]+"), "{self.key}": ', text)
        if head is None:
            return None
        try:
            _, end = _DECODER.raw_decode(text, head.end())
        except (ValueError, RecursionError):
            return None
        if text[end : end + 1] != "}":
            return None
        return Call(json.loads(head[1]), text[head.end() : end]), end + 1


HERMES = Form("arguments", "<tool_call>\n", "\n</tool_call>\n<tool_call>\n", "\n</tool_call>")
LLAMA = Form("parameters", "", None, "")
PHI = Form("arguments", "functools[", ", ", "]")


def native_form(template: str) -> Form | None:
    """The form of calls that a chat template knows; None if it knows none."""
    if "<tool_call>" in template and "tools" in template:
        return HERMES
    if "ipython" in template and "parameters" in template and "tools" in template:
        return LLAMA
    return PHI if "<|tool|>" in template else None
