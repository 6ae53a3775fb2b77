"""One turn with tools: the model calls, the calls run, their results are said to it, it answers.

    ask → calls, always sound by the grammar → checked, permitted, run → results → ask again

Bounded in rounds and calls, and each step is an event that somebody can show. What a tool returns
is data: it goes into the prompt as a content, which cannot become a control token, and no text
ever permits anything: a tool with effects runs when `permit` says so. Knows messages, models and
skills; it does not know who watches, nor what the tools do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pocketlm.api import Model
from pocketlm.assistant import routing
from pocketlm.assistant.tools.skill import Skill
from pocketlm.assistant.visible import shortened, visible
from pocketlm.chat.call_forms import HERMES, Form
from pocketlm.chat.prompt import Message
from pocketlm.chat.tools import Call, CallReader, Toolbox, prepared, text_alone
from pocketlm.engine.answer import Generation, Piece, Stream
from pocketlm.engine.constraint import Constraint
from pocketlm.engine.sampling import SamplingParameters
from pocketlm.errors import Error

#: Whether a tool with effects may run with these arguments. Asked before each call.
Permit = Callable[[Skill, Mapping[str, Any]], bool]
#: The call that a question wants, found before the model is asked; None leaves it to the model.
Propose = Callable[[str], Call | None]
#: Begins an answer to messages, with the tools that the model is told of and what it may write.
Ask = Callable[[Sequence[Message], Toolbox, Constraint], Stream]


@dataclass(frozen=True)
class Bounds:
    """Most rounds of calls, calls in all, and characters of one result that the model is told."""

    rounds: int = 4
    calls: int = 8
    result: int = 6000


@dataclass(frozen=True)
class Wrote:
    """A piece of what the model writes to the person; its text may be empty."""

    piece: Piece


@dataclass(frozen=True)
class Called:
    """A tool is about to be called."""

    call: Call


@dataclass(frozen=True)
class Returned:
    """What the model is told of a call; `ran` is whether the tool did, and did what it should."""

    call: Call
    result: str
    ran: bool


@dataclass(frozen=True)
class Ended:
    """The turn is over: what was said after the question, and how the last answer came about."""

    messages: list[Message]
    generation: Generation


Event = Wrote | Called | Returned | Ended


def asking(model: Model, sampling: Mapping[str, Any]) -> Ask:
    """An `Ask` of a loaded model."""
    said = dict(sampling)
    said.pop("frequency_penalty", None)  # quotes and braces are to be repeated
    parameters = SamplingParameters.of(said)

    def ask(messages: Sequence[Message], tools: Toolbox, constraint: Constraint) -> Stream:
        told, described = prepared(messages, tools, model.template.source)
        return model.answer(model.prompt_tokens(told, described), parameters, constraint, chat=True)

    return ask


class Turn:
    """Answers one question. Iterating gives its events, the last one `Ended`.

    Leaving the iteration early ends the answer under way; `said` has what there is by then.
    """

    def __init__(
        self,
        ask: Ask,
        messages: Sequence[Message],
        skills: Sequence[Skill],
        permit: Permit,
        bounds: Bounds = Bounds(),
        propose: Propose | None = None,
        form: Form = HERMES,
    ) -> None:
        """`messages` end with a question; None for `propose` leaves all calls to the model.

        `form` is how the model writes calls.

        Raises ParameterError for tools that are no sound set.
        """
        self.generation: Generation | None = None
        self._messages: list[Message] = []
        self._writing = ""
        self._ask = ask
        self._before = list(messages)
        self._skills = {skill.tool.name: skill for skill in skills}
        self._toolbox = Toolbox([skill.tool for skill in skills])
        self._form = form
        self._constraint = self._toolbox.constraint(form=form)
        self._text = text_alone(form)
        self._permit = permit
        self._bounds = bounds
        self._propose = propose
        self._results: dict[tuple[str, str], _Result] = {}

    def __iter__(self) -> Iterator[Event]:
        """Raises Error where the model cannot be asked (a prompt that is too long, say)."""
        constraint = self._constraint
        question = str(self._before[-1].get("content") or "")
        proposed = self._propose(question) if self._propose is not None else None
        if proposed is not None:
            (result,) = yield from self._run("", [proposed])
            if result.ran:
                stated = stating(result.text) if proposed.name in routing.STATED else None
                constraint = stated or self._text
        for number in range(self._bounds.rounds + 1):
            if number == self._bounds.rounds or len(self._results) >= self._bounds.calls:
                constraint = self._text
            text, calls = yield from self._answer(constraint)
            if not calls:
                break
            known = len(self._results)
            yield from self._run(text, calls)
            # Who repeats a call does not listen to its result: it is to answer now.
            constraint = self._constraint if len(self._results) > known else self._text
        generation = self.generation
        assert generation is not None
        if generation.tokens and not calls:
            self._messages.append(_answered(text, generation))
        self._writing = ""
        yield Ended(self._messages, generation)

    @property
    def said(self) -> list[Message]:
        """What was said after the question up to now, the answer under way included."""
        if not self._writing.strip():
            return list(self._messages)
        return [*self._messages, {"role": "assistant", "content": self._writing}]

    def _answer(self, constraint: Constraint) -> Generator[Event, None, tuple[str, list[Call]]]:
        """Let the model write. Returns its text, and its calls."""
        reader = CallReader(self._form)
        self._writing = ""
        calls: list[Call] = []
        with self._ask([*self._before, *self._messages], self._toolbox, constraint) as stream:
            for piece in stream:
                text, more = reader.push(piece.text)
                self._writing += text
                calls += more
                self.generation = stream.generation
                yield Wrote(replace(piece, text=text))
            self.generation = stream.generation
        rest = reader.finish()
        self._writing += rest
        yield Wrote(Piece(rest))
        return self._writing, calls

    def _run(self, text: str, calls: Sequence[Call]) -> Generator[Event, None, list[_Result]]:
        """Run calls, and note them and their results as messages."""
        noted: list[dict[str, Any]] = []
        results: list[Message] = []
        found = []
        for call in calls:
            yield Called(call)
            result = self._result(call)
            yield Returned(call, result.text, result.ran)
            found.append(result)
            number = f"call_{len(self._before) + len(self._messages)}_{len(noted)}"
            function = {"name": call.name, "arguments": _loaded(call.arguments)}
            noted.append({"id": number, "type": "function", "function": function})
            results.append(
                {"role": "tool", "content": result.text, "name": call.name, "tool_call_id": number}
            )
        self._writing = ""
        self._messages.append({"role": "assistant", "content": text, "tool_calls": noted})
        self._messages += results
        return found

    def _result(self, call: Call) -> _Result:
        """What comes of a call; the same call again is answered as before."""
        arguments = _loaded(call.arguments)
        key = (call.name, json.dumps(arguments, sort_keys=True))
        if key in self._results:
            return self._results[key]
        if len(self._results) >= self._bounds.calls:
            return _Result(
                f"not called: {self._bounds.calls} calls are the most of an answer", False
            )
        result = self._called(self._skills[call.name], arguments)
        told = data(result.text, self._bounds.result)
        self._results[key] = _Result(told, result.ran)
        return self._results[key]

    def _called(self, skill: Skill, arguments: dict[str, Any]) -> _Result:
        fault = _fault(arguments, skill.tool.parameters)
        if fault is not None:
            return _Result(f"not called: {fault}", False)
        if skill.effects and not self._permit(skill, arguments):
            return _Result("not called: this was not permitted", False)
        try:
            return _Result(skill.run(arguments), True)
        except Error as error:
            return _Result(f"error: {error}", False)
        except Exception as error:  # of a plugin's
            return _Result(f"error: {skill.tool.name} failed ({type(error).__name__})", False)


@dataclass(frozen=True)
class _Result:
    text: str
    ran: bool


def data(result: str, most: int) -> str:
    """A result as the model is told it: bounded, all of it visible, without the marks of calls."""
    return _MARK.sub("&lt;", shortened(visible(result), most))


def stating(result: str) -> Constraint | None:
    """An answer that ends with a result, to the letter, after a few words without digits.

    None for a result that is no short line.
    """
    if not result.strip() or "\n" in result or len(result) > _MOST_STATED:
        return None
    lines = (
        'start: WORDS? RESULT "."?',
        "WORDS: /([\\p{L}\\p{M}']{1,20}[,:]? ){1,6}/",
        f"RESULT: {_quoted(result)}",
    )
    return Constraint("answer", "\n".join(lines))


_MOST_STATED = 200
_MARK = re.compile(r"<(?=/?tool_(?:call|response))")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _loaded(arguments: str) -> dict[str, Any]:
    """The arguments of a call, which the grammar made sound."""
    found = json.loads(arguments)
    assert isinstance(found, dict)
    return found


def _fault(arguments: Mapping[str, Any], parameters: Mapping[str, Any]) -> str | None:
    """What the schema's outline does not allow; the grammar may have been a lenient one."""
    properties = parameters.get("properties")
    for name in parameters.get("required", ()):
        if name not in arguments:
            return f"{name} is missing"
    if isinstance(properties, Mapping) and not parameters.get("additionalProperties"):
        for name in arguments:
            if name not in properties:
                return f"there is no argument {name[:60]!r}"
    return None


def _answered(text: str, generation: Generation) -> Message:
    message: Message = {"role": "assistant", "content": text}
    # Where a stop string may have ended it, the ids say more than the text.
    if generation.stopped_by is None and generation.text == text:
        message["tokens"] = generation.tokens
    return message
