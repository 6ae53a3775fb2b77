"""An answer for which the server's own tools are called, as it comes about.

A `Task` goes in, a `Turned` comes out, as `task.py` has it for answers of a model alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from typing import Any, cast

from starlette.datastructures import State

from pocketlm.assistant.drafting import proposing
from pocketlm.assistant.tools.skill import Skill
from pocketlm.assistant.turn import Bounds, Called, Event, Returned, Turn, Wrote
from pocketlm.chat.prompt import Message
from pocketlm.chat.tools import Call, Toolbox
from pocketlm.engine.answer import Generation, Stream
from pocketlm.engine.constraint import Constraint
from pocketlm.engine.request import Progress
from pocketlm.serve.aside import Aside, Tell
from pocketlm.serve.pool import Loaded
from pocketlm.serve.task import Chat, Task, lent, streams, with_preset

#: Between what is written before calls and what is written after them.
_GAP = "\n\n"
#: What a turn tells, and all that was said by then.
_News = tuple[Event, Sequence[Message]]


@dataclass(frozen=True)
class Made:
    """A call that is made: its `result` is None as long as it runs.

    `ran` is whether the tool did, and did what it should.
    """

    call: Call
    result: str | None = None
    ran: bool = False

    def as_json(self) -> dict[str, Any]:
        """As programs and the page get it."""
        call = {"name": self.call.name, "arguments": self.call.arguments}
        return {**call, "result": self.result, "ran": self.ran}


@dataclass(frozen=True)
class Bit:
    """What has come: text that must be shown, a call that is made or has its result."""

    text: str = ""
    made: Made | None = None
    progress: Progress | None = None


class Turned:
    """An answer with calls on its way. An asynchronous iterator of bits."""

    def __init__(self, name: str, loaded: Loaded, asked: _Asked, told: Aside[_News, None]) -> None:
        """`name` is what the client called the model."""
        self.name = name
        self.loaded = loaded
        #: All that was written for the person to read, and the calls that were made.
        self.text = ""
        self.made: list[Made] = []
        #: The same as messages: calls, results, and the answer.
        self.said: Sequence[Message] = ()
        self._asked = asked
        self._told = told

    @property
    def generations(self) -> list[Generation]:
        """What the model wrote, calls included, each time that it was asked."""
        return [stream.generation for stream in self._asked.streams]

    @property
    def finish_reason(self) -> str:
        """ "stop" or "length"."""
        return self.generations[-1].finish_reason or "length"

    def stop(self) -> None:
        """Write no more, and call nothing more."""
        self._told.stop()

    async def __aiter__(self) -> AsyncIterator[Bit]:
        """What comes, until the answer is over. Raises what made it fail."""
        again = False  # whether calls were made since something was written
        async for event, said in self._told:
            self.said = said
            match event:
                case Wrote(piece):
                    text = piece.text
                    if text and again and self.text:
                        text = _GAP + text
                    again = again and not text
                    self.text += text
                    yield Bit(text, progress=piece.progress)
                case Called(call):
                    again = True
                    self.made.append(Made(call))
                    yield Bit(made=self.made[-1])
                case Returned(call, result, ran):
                    self.made[-1] = Made(call, result, ran)
                    yield Bit(made=self.made[-1])


class _Asked:
    """Asks a model as a task says, and knows what it was asked."""

    def __init__(self, loaded: Loaded, task: Task) -> None:
        self.streams: list[Stream] = []
        self._loaded = loaded
        self._task = task

    def __call__(
        self, messages: Sequence[Message], tools: Toolbox, constraint: Constraint
    ) -> Stream:
        task = replace(self._task, prompt=Chat(messages), tools=tools)
        (stream,) = streams(self._loaded, task, constraint)
        self.streams.append(stream)
        return stream


@asynccontextmanager
async def turned(state: State, task: Task, skills: Sequence[Skill]) -> AsyncIterator[Turned]:
    """Have a conversation answered with these tools; leaving the block ends what is not done.

    Raises ApiError, or a pocketlm.Error that the request caused, at the start and while the answer
    is read.
    """
    name = task.model or state.pool.default
    task = with_preset(task, await state.pool.preset(task.model))
    assert isinstance(task.prompt, Chat)
    messages = task.prompt.messages
    # Quotes and braces are to be repeated.
    sampling = {key: each for key, each in task.sampling.items() if key != "frequency_penalty"}
    task = replace(task, sampling=sampling)
    async with lent(state, task.model, task.keep) as loaded:
        asked = _Asked(loaded, task)
        await asyncio.to_thread(_check, loaded, task, skills)
        bounds = Bounds(result=min(Bounds.result, loaded.model.context))
        # Those that are here need nobody's leave; what else has effects gets none.
        propose = proposing(loaded.model, [skill.tool.name for skill in skills])
        form = loaded.model.template.call_form
        turn = Turn(
            asked, messages, skills, lambda skill, _: skill in skills, bounds, propose, form
        )

        def work(tell: Tell[_News]) -> None:
            # What is left early must end at once, though an error may still know it.
            with closing(cast("Generator[Event]", iter(turn))) as events:
                for event in events:
                    tell((event, turn.said))

        async with state.assistant.threads.aside(work) as told:
            found = Turned(name, loaded, asked, told)
            try:
                yield found
            finally:
                state.metrics.answered(loaded.name, found.generations)


def _check(loaded: Loaded, task: Task, skills: Sequence[Skill]) -> None:
    """Raise what hinders the first step: a prompt that is too long, for one."""
    tools = Toolbox([skill.tool for skill in skills])
    constraint = tools.constraint(form=loaded.model.template.call_form)
    for stream in streams(loaded, replace(task, tools=tools), constraint):
        stream.close()
