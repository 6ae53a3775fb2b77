"""Answers to many prompts: several are written in the same steps, shared beginnings read once.

It knows prompts as token ids, and streams of the engine's. It does not know the harness.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pocketlm.api import Model
from pocketlm.engine.answer import Generation, Stream
from pocketlm.engine.sampling import SamplingParameters

#: Answers that are written at the same time. More share a step; each wants memory for its cache.
AT_ONCE = 8


@dataclass(frozen=True)
class Job:
    """A prompt's token ids, and how its answer is chosen. With `chat`, a turn's end ends it."""

    prompt: Sequence[int]
    parameters: SamplingParameters
    chat: bool


def write(model: Model, jobs: Sequence[Job]) -> Iterator[tuple[int, Generation]]:
    """The answer to each job with the job's index, as they are done."""
    waiting = iter(sorted(range(len(jobs)), key=lambda index: list(jobs[index].prompt)))
    running: dict[int, Stream] = {}
    try:
        while True:
            while len(running) < AT_ONCE and (index := next(waiting, None)) is not None:
                running[index] = _begun(model, jobs[index])
            if not running:
                return
            for index, stream in list(running.items()):
                next(stream, None)  # the first to ask makes the step for all
                while stream.ready and not stream.ended:
                    next(stream, None)  # who leaves anything unread takes no part in the next step
                if stream.ended:
                    del running[index]
                    yield index, stream.generation
    finally:
        for stream in running.values():
            stream.close()


def _begun(model: Model, job: Job) -> Stream:
    """A stream whose prompt is read: alone, so that the next one finds what they share."""
    stream = model.answer(list(job.prompt), job.parameters, chat=job.chat)
    try:
        for piece in stream:
            if piece.token is not None:
                break
    except BaseException:
        stream.close()
        raise
    return stream
