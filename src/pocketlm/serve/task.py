"""What a client wants, whatever dialect it speaks, and how that becomes answers.

Every dialect reads its requests into a `Task` and writes its responses from a `Work`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from starlette.datastructures import State

from pocketlm.api import Model
from pocketlm.chat.call_forms import Form
from pocketlm.chat.presets import Preset
from pocketlm.chat.prompt import Message
from pocketlm.chat.tools import Call, CallReader, Tool, Toolbox, prepared
from pocketlm.engine.answer import Generation, Stream
from pocketlm.engine.constraint import Constraint
from pocketlm.engine.request import Progress
from pocketlm.engine.sampling import CHAT_SAMPLING, SamplingParameters, Token
from pocketlm.serve.embedder import Embedder
from pocketlm.serve.errors import ApiError
from pocketlm.serve.pool import Loaded
from pocketlm.serve.worker import Answers

_SYSTEM = ("system", "developer")


@dataclass(frozen=True)
class Chat:
    """Messages, which the model's template makes a prompt of."""

    messages: Sequence[Message]


@dataclass(frozen=True)
class Raw:
    """Text, or token ids, that the model goes on with as they are."""

    text: str | Sequence[int]


@dataclass(frozen=True)
class Task:
    """A prompt, and how to answer it.

    `sampling` is what was said of it (see `sampling_of`). `keep` is for how many seconds the model
    stays loaded after; None leaves that to the server. Of a `private` task nothing is kept on disk.
    """

    model: str | None
    prompt: Chat | Raw
    sampling: Mapping[str, Any]
    constraint: Constraint | None = None
    tools: Toolbox | None = None
    choices: int = 1
    keep: float | None = None
    private: bool = False


def sampling_of(
    *,
    top_p: float | None = None,
    seed: int | None = None,
    stop: str | Sequence[str] | None = None,
    **others: object,
) -> dict[str, Any]:
    """Fields of a request as `SamplingParameters` has them; None was not said."""
    said = {name: value for name, value in others.items() if value is not None}
    if top_p is not None:
        said["top_p"] = max(top_p, 1e-6)  # 0 is the likeliest token alone
    if seed is not None:
        said["seed"] = seed % 2**64
    given = [stop] if isinstance(stop, str) else stop or []
    return {**said, "stop": [text for text in given if text]}


def toolbox(
    tools: Sequence[Tool],
    *,
    required: bool = False,
    only: str | None = None,
    parallel: bool = True,
) -> Toolbox | None:
    """The functions of a request (see `Toolbox`), None without any.

    Raises ApiError where a call is demanded then.
    """
    if tools:
        return Toolbox(tools, required, only, parallel=parallel)
    if required or only is not None:
        raise ApiError(400, "tool_choice demands a call, and there are no tools", param="tools")
    return None


@dataclass(frozen=True)
class Bit:
    """What has come of one of the answers: text that must be shown (it may be empty), or calls."""

    choice: int
    text: str = ""
    calls: Sequence[Call] = ()
    token: Token | None = None
    progress: Progress | None = None


@dataclass
class Outcome:
    """An answer that is over."""

    text: str
    calls: list[Call]
    generation: Generation

    @property
    def finish_reason(self) -> str:
        """ "stop", "length" or "tool_calls"."""
        reason = self.generation.finish_reason or "length"
        return "tool_calls" if self.calls and reason == "stop" else reason


class Work:
    """Answers that are being written. An asynchronous iterator of bits; then see `outcomes`."""

    def __init__(self, name: str, loaded: Loaded, answers: Answers, form: Form | None) -> None:
        """`name` is what the client called the model. Text is searched for calls of a `form`."""
        self.name = name
        self.loaded = loaded
        self.outcomes = [Outcome("", [], each) for each in answers.generations]
        self._answers = answers
        self._readers = [CallReader(form) if form else None for _ in self.outcomes]

    @property
    def generations(self) -> list[Generation]:
        """The answers as they are now, also where the iteration was given up."""
        return self._answers.generations

    def stop(self) -> None:
        """Write no more."""
        self._answers.cancel()

    async def __aiter__(self) -> AsyncIterator[Bit]:
        """What comes, until all answers are over. Raises what made one fail."""
        async for index, piece in self._answers:
            reader = self._readers[index]
            text, calls = reader.push(piece.text) if reader else (piece.text, [])
            yield self._note(Bit(index, text, calls, piece.token, piece.progress))
        for index, reader in enumerate(self._readers):
            if reader and (text := reader.finish()):
                yield self._note(Bit(index, text))
        for outcome, generation in zip(self.outcomes, self._answers.generations, strict=True):
            outcome.generation = generation

    async def complete(self) -> list[Outcome]:
        """Read to the end."""
        async for _ in self:
            pass
        return self.outcomes

    def _note(self, bit: Bit) -> Bit:
        self.outcomes[bit.choice].text += bit.text
        self.outcomes[bit.choice].calls += bit.calls
        return bit


@asynccontextmanager
async def started(state: State, task: Task) -> AsyncIterator[Work]:
    """Have a task answered; leaving the block ends what is not done by then.

    Raises ApiError, or a pocketlm.Error that the request caused, at the start and while the answers
    are read.
    """
    name = task.model or state.pool.default
    task = with_preset(task, await state.pool.preset(task.model))
    async with lent(state, task.model, task.keep) as loaded:
        begun = await asyncio.to_thread(_streams, loaded, task)
        answers = loaded.worker.submit(begun)
        form = None if task.tools is None else loaded.model.template.call_form
        work = Work(name, loaded, answers, form)
        try:
            yield work
        finally:
            work.stop()
            state.metrics.answered(loaded.name, answers.generations)


def _streams(loaded: Loaded, task: Task) -> list[Stream]:
    """The task's answers, not yet begun."""
    constraint = task.constraint
    if task.tools is not None:
        constraint = task.tools.constraint(constraint, loaded.model.template.call_form)
    return streams(loaded, task, constraint)


def streams(loaded: Loaded, task: Task, constraint: Constraint | None) -> list[Stream]:
    """A task's answers, not yet begun, held to a constraint in place of the task's own."""
    said = dict(task.sampling)
    if "temperature" not in said:
        said = {**CHAT_SAMPLING, **said}
        if constraint is not None and "frequency_penalty" not in task.sampling:
            del said["frequency_penalty"]  # quotes and braces are to be repeated
    parameters = SamplingParameters.of(said)
    model, adapter = loaded.model, loaded.adapter(task.model)
    ids = prompt_ids(model, task)
    chat = isinstance(task.prompt, Chat)
    found = []
    for choice in range(task.choices):
        each = parameters
        if choice and parameters.seed is not None:
            each = replace(parameters, seed=parameters.seed + choice)
        found.append(
            model.answer(ids, each, constraint, chat=chat, private=task.private, adapter=adapter)
        )
    return found


async def counted(state: State, task: Task) -> int:
    """How many tokens a task's prompt has."""
    task = with_preset(task, await state.pool.preset(task.model))
    async with lent(state, task.model) as loaded:
        return len(await asyncio.to_thread(prompt_ids, loaded.model, task))


def with_preset(task: Task, preset: Preset | None) -> Task:
    """The task, with what the preset has and the request does not say."""
    if preset is None:
        return task
    prompt = task.prompt
    if isinstance(prompt, Chat) and preset.system is not None:
        messages = prompt.messages
        if not messages or messages[0]["role"] not in _SYSTEM:
            prompt = Chat([{"role": "system", "content": preset.system}, *messages])
    sampling = {**preset.sampling, **task.sampling}
    if not task.sampling.get("stop"):
        sampling["stop"] = preset.sampling.get("stop", ())
    return replace(task, model=preset.model, prompt=prompt, sampling=sampling)


async def embedded(
    state: State, model: str | None, texts: Sequence[str | Sequence[int]]
) -> tuple[str, list[npt.NDArray[np.float32]], int]:
    """The model's name, a vector for each text, and how many tokens there were.

    The server's embedding model makes them, if it has one and no other is named; else see
    `Model.embed`. Texts are read one after another, in between the steps of answers.
    """
    vectors, tokens = [], 0
    embedder: Embedder | None = state.embedder
    if embedder is not None and model in (None, embedder.name):
        for text in texts:
            if not isinstance(text, str):
                raise ApiError(400, f"{embedder.name} embeds texts, not token ids", param="input")
            vector, count = await asyncio.to_thread(embedder.embed, text)
            vectors.append(vector)
            tokens += count
        return embedder.name, vectors, tokens
    async with lent(state, model) as loaded:
        for text in texts:
            ids = await asyncio.to_thread(loaded.model.text_tokens, text)
            tokens += len(ids)
            adapter = loaded.adapter(model)
            vectors.append(await asyncio.to_thread(loaded.model.embed, ids, adapter=adapter))
        return loaded.name, vectors, tokens


@asynccontextmanager
async def lent(state: State, model: str | None, keep: float | None = None) -> AsyncIterator[Loaded]:
    """A model, for no longer than a request may take. Raises ApiError 504 after that."""
    timeout: float = state.settings.timeout
    try:
        async with asyncio.timeout(timeout), state.pool.lend(model, keep) as loaded:
            yield loaded
    except TimeoutError:
        raise ApiError(504, f"there was no answer in {timeout:g} seconds", code="timeout") from None


def prompt_ids(model: Model, task: Task) -> list[int]:
    """The token ids of a task's prompt; the model is told of its tools."""
    if isinstance(task.prompt, Raw):
        return model.text_tokens(task.prompt.text)
    told, described = prepared(task.prompt.messages, task.tools, model.template.source)
    return model.prompt_tokens(told, described)
