"""Function calls: how a model is told of them, what it may then write, and what it wrote.

Knows messages and grammars. Calls nothing, and does not know who offers the functions.

Families of models write calls in forms of their own (`call_forms.py`). A template that has one is
given the functions; for any other, they are described in the system prompt, with the form that
Hermes and Qwen models were trained with. A grammar holds the model to the form, so that every model
can call functions, and a call is always sound. It always has a branch for plain text, unless the
caller demands a call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pocketlm.chat.call_forms import HERMES, LLAMA, PHI, Form, native_form
from pocketlm.chat.call_forms import Call as Call
from pocketlm.chat.prompt import Message
from pocketlm.engine.constraint import Constraint, json_rule
from pocketlm.engine.schema import checked
from pocketlm.errors import ParameterError

#: Most functions of a request, and most calls of an answer.
MOST_TOOLS, MOST_CALLS = 128, 16

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ABOUT = """\
You can call functions. These are the functions that there are, each as a JSON object:
{tools}
To call one, write nothing but this, with the function's name and arguments put in:
<tool_call>
{{"name": "…", "arguments": {{…}}}}
</tool_call>
What it returns comes in the next message. If no function helps, answer as usual."""
_PLAIN = "You are a helpful assistant with some tools."


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

    def constraint(self, answer: Constraint | None = None, form: Form = HERMES) -> Constraint:
        """What the model may write: calls, or plain text (or what `answer` says in its place).

        Raises ParameterError for arguments' schemas that are unsound.
        """
        tools = [tool for tool in self.tools if self.only in (None, tool.name)]
        rules = []
        for index, tool in enumerate(tools):
            head, end = json.dumps(form.head(tool.name)), json.dumps("}")
            rules.append(f"call_{index}: {head} arguments_{index} {end}")
            schema = checked({"type": "object", **tool.parameters}, lenient=not tool.strict)
            rules.append(f"arguments_{index}: {json_rule(schema, lenient=not tool.strict)}")
        rules.append("call: " + " | ".join(f"call_{index}" for index in range(len(tools))))
        more = ""
        if self.parallel and self.only is None and form.between is not None:
            more = f"({json.dumps(form.between)} call){{0,{MOST_CALLS - 1}}}"
        after = json.dumps(form.after) if form.after else ""
        rules.append(f"calls: call {more} {after}")
        before = json.dumps(form.before) if form.before else ""
        if self.required or self.only is not None:
            rules.append(f"start: {before} calls")
        elif answer is None and form.before:
            rules.append("start: TEXT | before calls")
            rules.append(f"before[suffix={before}]: /(?s:.*)/")
            rules.append(_text(form))
        elif answer is None:
            rules.append("start: TEXT | calls")
            rules.append(_text(form))
        elif answer.kind == "schema":
            rules.append(f"start: answer | {before} calls")
            rules.append(f"answer: {json_rule(json.loads(answer.source))}")
        else:
            raise ParameterError(f"{answer.kind} cannot go with tools; a schema can")
        return Constraint("tools", "\n".join(rules))

    def told(
        self, messages: Sequence[Message], *, native: Form | None
    ) -> tuple[list[Message], list[dict[str, Any]] | None]:
        """The messages, and the functions for a template that knows a form of calls (`native`)."""
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
        if native is PHI:  # its template takes them as a text of the system prompt's
            about = json.dumps([each["function"] for each in described], ensure_ascii=False)
            system, rest = _parted(messages)
            return [{"role": "system", "content": system or _PLAIN, "tools": about}, *rest], None
        if native is not None:
            return list(messages), described
        lines = "\n".join(json.dumps(each["function"], ensure_ascii=False) for each in described)
        system, rest = _parted(messages)
        content = "\n\n".join(filter(None, [system, _ABOUT.format(tools=lines)]))
        return [{"role": "system", "content": content}, *rest], None


def _parted(messages: Sequence[Message]) -> tuple[str, Sequence[Message]]:
    """The system prompt, which may be empty, and the messages after it."""
    if messages and messages[0]["role"] in ("system", "developer"):
        return str(messages[0]["content"]), messages[1:]
    return "", messages


def text_alone(form: Form) -> Constraint:
    """Any text in which no call begins."""
    return Constraint("answer", f"start: TEXT\n{_text(form)}")


def _text(form: Form) -> str:
    """The rule of a text in which no call begins."""
    anywhere = "(?s:.*)" if form.before else ""
    return f"TEXT: /(?s:.+)/ & ~/{anywhere}{_literal(form.mark)}(?s:.*)/"


def _literal(text: str) -> str:
    """A regular expression that matches a text; `/` ends one in a grammar."""
    return re.escape(text).replace("/", "\\/")


def prepared(
    messages: Sequence[Message], tools: Toolbox | None, template: str
) -> tuple[list[Message], list[dict[str, Any]] | None]:
    """Messages with calls and results, and the functions, in the form that a template knows."""
    native = native_form(template)
    told = list(messages) if native in (HERMES, LLAMA) else plain(messages, native or HERMES)
    return (told, None) if tools is None else tools.told(told, native=native)


def plain(messages: Sequence[Message], form: Form = HERMES) -> list[Message]:
    """Messages for a template that shows contents alone: calls and results become text."""
    found: list[Message] = []
    for message in messages:
        content = str(message.get("content") or "")
        if message["role"] in ("tool", "function") and form is HERMES:
            content = f"<tool_response>\n{content}\n</tool_response>"
            if (
                found
                and found[-1]["role"] == "user"
                and "<tool_response>" in str(found[-1]["content"])
            ):
                content = f"{found.pop()['content']}\n{content}"
            found.append({"role": "user", "content": content})
        elif message.get("tool_calls"):
            calls = form.written([_noted(call) for call in message["tool_calls"]])
            content = f"{content}\n{calls}" if content else calls
            found.append({"role": "assistant", "content": content})
        else:
            found.append(message)
    return found


def _noted(call: Mapping[str, Any]) -> Call:
    function = call["function"]
    return Call(function["name"], json.dumps(function["arguments"], ensure_ascii=False))


class CallReader:
    """Tells calls from text while an answer arrives. Reads what `Toolbox.constraint` lets pass."""

    def __init__(self, form: Form = HERMES) -> None:
        """Begin an answer."""
        self._form = form
        self._held = ""
        self._begun = False  # some of the answer was text
        self._calling = False
        self._called = False

    def push(self, text: str) -> tuple[str, list[Call]]:
        """The text and the calls that are complete now that `text` has come."""
        self._held += text
        shown = "" if self._calling else self._text()
        return shown, self._calls() if self._calling and "}" in text else []

    def finish(self) -> str:
        """The rest of the text, after the last piece. A call that was cut off is none."""
        rest, self._held = self._held, ""
        return "" if self._calling else rest

    def _text(self) -> str:
        """Take from what is held the text before calls, as far as it is sure to be text."""
        before = self._form.before
        if before:
            shown, opened, rest = self._held.partition(before)
            self._calling = bool(opened)
            keep = len(shown) if opened else len(shown) - _undecided(shown, before)
        else:  # a call is the whole answer
            mark = self._form.mark
            self._calling = not self._begun and self._held.startswith(mark)
            undecided = not self._begun and mark.startswith(self._held)
            shown, rest = self._held, self._held
            keep = 0 if self._calling or undecided else len(shown)
        self._held = rest if self._calling else shown[keep:]
        self._begun = self._begun or keep > 0
        return shown[:keep]

    def _calls(self) -> list[Call]:
        found: list[Call] = []
        while True:
            between = (self._form.between or "") if self._called else ""
            held = self._held.removeprefix(between)
            first = self._form.first(held)
            if first is None:
                return found
            call, end = first
            found.append(call)
            self._held, self._called = held[end:], True


def _undecided(text: str, mark: str) -> int:
    """Length of the longest end of `text` that begins `mark`."""
    return next(
        (n for n in range(min(len(mark) - 1, len(text)), 0, -1) if text.endswith(mark[:n])), 0
    )
