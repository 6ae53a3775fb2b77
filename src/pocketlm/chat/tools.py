"""Function calls: how a model is told of them, what it may then write, and what it wrote.

Knows messages and grammars. Calls nothing, and does not know who offers the functions.

There is one written form, the one that Hermes and Qwen models were trained with:

    <tool_call>
    {"name": "weather", "arguments": {"city": "Paris"}}
    </tool_call>

A template that has this form is given the functions; for any other, they are described in the
system prompt. A grammar holds the model to it, so that every model can call functions, and a call
is always sound. It always has a branch for plain text, unless the caller demands a call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pocketlm.chat.prompt import Message
from pocketlm.engine.constraint import Constraint, json_rule
from pocketlm.engine.schema import checked
from pocketlm.errors import ParameterError

#: Most functions of a request, and most calls of an answer.
MOST_TOOLS, MOST_CALLS = 128, 16

_OPEN, _CLOSE = "<tool_call>\n", "\n</tool_call>"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ABOUT = """\
You can call functions. These are the functions that there are, each as a JSON object:
{tools}
To call one, write nothing but this, with the function's name and arguments put in:
<tool_call>
{{"name": "…", "arguments": {{…}}}}
</tool_call>
What it returns comes in the next message. If no function helps, answer as usual."""


@dataclass(frozen=True)
class Tool:
    """A function that a model may call. `parameters` is the JSON schema of its arguments.

    With `strict`, a keyword of the schema that cannot be enforced is an error; otherwise it is left
    to the model.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    strict: bool = False


@dataclass(frozen=True)
class Call:
    """A function that a model wants called, `arguments` as JSON text."""

    name: str
    arguments: str


@dataclass(frozen=True)
class Toolbox:
    """The functions of one request.

    With `required` at least one is called; with `only`, that one, once. Without `parallel` at most
    one call is made.
    """

    tools: Sequence[Tool]
    required: bool = False
    only: str | None = None
    parallel: bool = True

    def __post_init__(self) -> None:
        """Raise ParameterError for what is no set of functions."""
        names = [tool.name for tool in self.tools]
        if not 0 < len(names) <= MOST_TOOLS:
            raise ParameterError(f"tools are {len(names)}; there may be 1 to {MOST_TOOLS}")
        for name in names:
            if not _NAME.fullmatch(name):
                raise ParameterError(
                    f"tools has the name {name[:80]!r}; letters, digits, _, . and - make one"
                )
        if len({*names}) < len(names):
            raise ParameterError("tools has a name twice")
        if self.only is not None and self.only not in names:
            raise ParameterError(f"tool_choice names {self.only[:80]!r}, which is not among tools")

    def constraint(self, answer: Constraint | None = None) -> Constraint:
        """What the model may write: calls, or plain text (or what `answer` says in its place).

        Raises ParameterError for arguments' schemas that are unsound.
        """
        tools = [tool for tool in self.tools if self.only in (None, tool.name)]
        rules = []
        for index, tool in enumerate(tools):
            head = json.dumps(f'{{"name": {json.dumps(tool.name)}, "arguments": ')
            rules.append(f"call_{index}: {head} arguments_{index} {json.dumps('}' + _CLOSE)}")
            schema = checked({"type": "object", **tool.parameters}, lenient=not tool.strict)
            rules.append(f"arguments_{index}: {json_rule(schema, lenient=not tool.strict)}")
        rules.append("call: " + " | ".join(f"call_{index}" for index in range(len(tools))))
        several = self.parallel and self.only is None
        opened = json.dumps(_OPEN)
        more = f'("\\n" {opened} call){{0,{MOST_CALLS - 1}}}' if several else ""
        rules.append(f"calls: call {more}")
        if self.required or self.only is not None:
            rules.append(f"start: {opened} calls")
        elif answer is None:
            rules.append("start: TEXT | before calls")
            rules.append(f"before[suffix={opened}]: /(?s:.*)/")
            rules.append(f"TEXT: /(?s:.+)/ & ~/(?s:.*){_OPEN.strip()}(?s:.*)/")
        elif answer.kind == "schema":
            rules.append(f"start: answer | {opened} calls")
            rules.append(f"answer: {json_rule(json.loads(answer.source))}")
        else:
            raise ParameterError(f"{answer.kind} cannot go with tools; a schema can")
        return Constraint("tools", "\n".join(rules))

    def told(
        self, messages: Sequence[Message], *, native: bool
    ) -> tuple[list[Message], list[dict[str, Any]] | None]:
        """The messages, and the functions for the template if it knows their form (`native`)."""
        described = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters,
                },
            }
            for tool in self.tools
        ]
        if native:
            return list(messages), described
        lines = "\n".join(json.dumps(each["function"], ensure_ascii=False) for each in described)
        about = _ABOUT.format(tools=lines)
        if messages and messages[0]["role"] in ("system", "developer"):
            first: Message = {"role": "system", "content": f"{messages[0]['content']}\n\n{about}"}
            return [first, *messages[1:]], None
        return [{"role": "system", "content": about}, *messages], None


def is_native(template: str) -> bool:
    """Whether a chat template has the form that calls are written in here."""
    return "<tool_call>" in template and "tools" in template


def prepared(
    messages: Sequence[Message], tools: Toolbox | None, template: str
) -> tuple[list[Message], list[dict[str, Any]] | None]:
    """Messages with calls and results, and the functions, in the form that a template knows."""
    native = is_native(template)
    told = list(messages) if native else plain(messages)
    return (told, None) if tools is None else tools.told(told, native=native)


def plain(messages: Sequence[Message]) -> list[Message]:
    """Messages for a template that knows no functions: calls and results become text."""
    found: list[Message] = []
    for message in messages:
        content = str(message.get("content") or "")
        if message["role"] in ("tool", "function"):
            content = f"<tool_response>\n{content}\n</tool_response>"
            if (
                found
                and found[-1]["role"] == "user"
                and "<tool_response>" in str(found[-1]["content"])
            ):
                content = f"{found.pop()['content']}\n{content}"
            found.append({"role": "user", "content": content})
        elif message.get("tool_calls"):
            calls = [_written(call) for call in message["tool_calls"]]
            content = "\n".join([content, *calls] if content else calls)
            found.append({"role": "assistant", "content": content})
        else:
            found.append(message)
    return found


def _written(call: Mapping[str, Any]) -> str:
    function = call["function"]
    inner = {"name": function["name"], "arguments": function["arguments"]}
    return f"{_OPEN}{json.dumps(inner, ensure_ascii=False)}{_CLOSE}"


class CallReader:
    """Tells calls from text while an answer arrives. Reads what `Toolbox.constraint` lets pass."""

    def __init__(self) -> None:
        """Begin an answer."""
        self._held = ""
        self._called = False

    def push(self, text: str) -> tuple[str, list[Call]]:
        """The text and the calls that are complete now that `text` has come."""
        self._held += text
        shown = ""
        calls: list[Call] = []
        while True:
            before, opened, inside = self._held.partition(_OPEN)
            if not opened:
                keep = len(before) - _undecided(before, _OPEN)
                shown += self._text(before[:keep])
                self._held = before[keep:]
                return shown, calls
            shown += self._text(before)
            written, closed, rest = inside.partition(_CLOSE)
            if not closed:
                self._held = opened + inside
                return shown, calls
            self._called = True
            calls.append(_call(written))
            self._held = rest

    def finish(self) -> str:
        """The rest of the text, after the last piece. A call that was cut off is none."""
        rest, self._held = self._held, ""
        return "" if rest.startswith(_OPEN) else self._text(rest)

    def _text(self, text: str) -> str:
        """After a call nothing but the new line before another one is written."""
        return "" if self._called else text


def _call(written: str) -> Call:
    # Arguments stay as they were written: they are the JSON that the caller's schema allows.
    head, _, arguments = written.partition(', "arguments": ')
    return Call(json.loads(head + "}")["name"], arguments.removesuffix("}"))


def _undecided(text: str, mark: str) -> int:
    """Length of the longest end of `text` that begins `mark`."""
    return next(
        (n for n in range(min(len(mark) - 1, len(text)), 0, -1) if text.endswith(mark[:n])), 0
    )
