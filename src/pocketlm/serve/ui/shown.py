"""What a conversation's messages are on the page, and what the model is told of them.

An answer with the calls that it took is several messages in a history, and one on the page. One
from sources is kept with them beside its Markdown: they come back as they were, and the model,
which would only learn to write numbers, is told the answer alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, ValidationError

from pocketlm.assistant.visible import visible
from pocketlm.chat.files import parted
from pocketlm.chat.prompt import Message
from pocketlm.serve.assistant import Found
from pocketlm.serve.http import Body, Many
from pocketlm.serve.ui.markdown import render

#: What a call begins its result with that did not do what it should (see `assistant/turn.py`).
_FAILED = ("error: ", "not called: ")
_MARKS = re.compile(r"\s*\[(?:\d+|unsupported)\]")


class Cited(Body):
    """A passage that an answer rests on."""

    number: int
    source: str
    title: str
    passage: str
    quote: str
    supported: bool


class Sources(Body):
    """What an answer rests on. `text` is its Markdown, without the sources."""

    text: str
    found: bool
    citations: Many[Cited] = Field(default_factory=list)
    problems: Many[str] = Field(default_factory=list)

    @classmethod
    def of(cls, found: Found) -> Sources:
        """What is kept of an answer: all that a passage holds can be seen."""
        about = found.answer.as_json()
        citations = [
            {key: visible(each) if isinstance(each, str) else each for key, each in cited.items()}
            for cited in about["citations"]
        ]
        problems = [visible(problem) for problem in about["problems"]]
        return cls.model_validate(
            {**about, "text": found.text, "citations": citations, "problems": problems}
        )

    @classmethod
    def kept(cls, message: Message) -> Sources | None:
        """Those of a message, if it has any and they are sound."""
        try:
            return cls.model_validate(message.get("sources"))
        except ValidationError:
            return None

    @property
    def answer(self) -> str:
        """The answer without its numbers."""
        return _MARKS.sub("", self.text)


def groups(messages: Sequence[Message]) -> list[Sequence[Message]]:
    """The messages that are one on the page: each alone, but for calls, results and what follows.

    >>> said = ["user", "assistant"]
    >>> [len(group) for group in groups([{"role": role, "content": ""} for role in said])]
    [1, 1]
    """
    found: list[list[Message]] = []
    open_ = False
    for message in messages:
        of_calls = bool(message.get("tool_calls")) or message["role"] == "tool"
        if open_ and message["role"] in ("assistant", "tool"):
            found[-1].append(message)
        else:
            found.append([message])
        open_ = of_calls
    return [*found]


def shown(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """A conversation as the page shows it; an item's `position` is its place among these."""
    return [_item(group, place) for place, group in enumerate(groups(messages))]


def told(messages: Sequence[Message]) -> list[Message]:
    """The messages for the model."""
    found: list[Message] = []
    for message in messages:
        sources = Sources.kept(message)
        if sources is not None:
            message = {"role": "assistant", "content": sources.answer}
        found.append(message)
    return found


def _item(group: Sequence[Message], place: int) -> dict[str, Any]:
    first = group[0]
    role = first["role"]
    if role == "user":
        content = str(first["content"])
        text, files = parted(content)
        names = [{"name": file.name, "characters": len(file.text)} for file in files]
        about = {"position": place, "role": role, "content": content}
        return {**about, "text": text, "files": names}
    if role != "assistant":
        return {"position": place, "role": role, "content": str(first["content"])}
    texts = [str(message["content"] or "") for message in group if message["role"] == "assistant"]
    content = "\n\n".join(text for text in texts if text.strip())
    item = {"position": place, "role": "assistant", "content": content}
    sources = Sources.kept(first)
    if sources is not None:
        return {**item, "blocks": render(sources.text), "sources": sources.model_dump()}
    return {**item, "blocks": render(content), "calls": _calls(group)}


def _calls(group: Sequence[Message]) -> list[dict[str, Any]]:
    """The calls of an answer, each with its result, as `Made.as_json` has them."""
    results = {
        str(message.get("tool_call_id")): str(message["content"])
        for message in group
        if message["role"] == "tool"
    }
    calls = []
    for message in group:
        for call in message.get("tool_calls") or ():
            function: Mapping[str, Any] = call["function"]
            arguments = function["arguments"]
            if not isinstance(arguments, str):
                arguments = json.dumps(arguments, ensure_ascii=False)
            result = results.get(str(call.get("id")))
            ran = result is not None and not result.startswith(_FAILED)
            made = {"name": str(function["name"]), "arguments": arguments}
            calls.append({**made, "result": result, "ran": ran})
    return calls
