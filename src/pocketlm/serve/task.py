"""What a client wants, whatever dialect it speaks, and how that becomes answers.

Every dialect reads its requests into a `Task` and writes its responses from `Answers`.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pocketlm.api import Model
from pocketlm.chat.prompt import Message
from pocketlm.engine.answer import Stream
from pocketlm.engine.constraint import Constraint
from pocketlm.engine.sampling import SamplingParameters
from pocketlm.serve.errors import ApiError
from pocketlm.serve.pool import Loaded, Pool
from pocketlm.serve.worker import Answers


@dataclass(frozen=True)
class Task:
    """A prompt (messages of a chat, or text, or token ids), and how to answer it.

    `keep` is for how many seconds the model stays loaded after; None leaves that to the server.
    """

    model: str | None
    prompt: Sequence[Message] | str | Sequence[int]
    chat: bool
    sampling: Mapping[str, Any]
    constraint: Constraint | None = None
    choices: int = 1
    keep: float | None = None


@dataclass(frozen=True)
class Started:
    """Answers that are being written, and by whom."""

    loaded: Loaded
    answers: Answers


@asynccontextmanager
async def started(pool: Pool, task: Task, timeout: float) -> AsyncIterator[Started]:
    """Have a task answered; leaving the block ends what is not done by then.

    Raises ApiError, or a pocketlm.Error that the request caused, at the start and while the answers
    are read.
    """
    try:
        async with asyncio.timeout(timeout), pool.lend(task.model, task.keep) as loaded:
            streams = await asyncio.to_thread(_streams, loaded.model, task)
            answers = loaded.worker.submit(streams)
            try:
                yield Started(loaded, answers)
            finally:
                answers.cancel()
    except TimeoutError:
        raise ApiError(504, f"there was no answer in {timeout:g} seconds", code="timeout") from None


def _streams(model: Model, task: Task) -> list[Stream]:
    """The task's answers, not yet begun."""
    make_ids = model.prompt_tokens if task.chat else model.text_tokens
    ids = make_ids(task.prompt)  # type: ignore[arg-type]
    parameters = SamplingParameters.of(task.sampling)
    streams = []
    for choice in range(task.choices):
        each = parameters
        if choice and parameters.seed is not None:
            each = dataclasses.replace(parameters, seed=parameters.seed + choice)
        streams.append(model.answer(ids, each, task.constraint, chat=task.chat))
    return streams
