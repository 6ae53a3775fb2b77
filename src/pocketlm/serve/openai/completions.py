"""/v1/completions: text that goes on."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from pocketlm.engine.sampling import Token
from pocketlm.formats.tokenizer import Tokenizer
from pocketlm.serve.errors import ApiError
from pocketlm.serve.http import Ids, Json, Lines, Many, event, post, read, while_connected
from pocketlm.serve.openai.shapes import (
    Generating,
    checked_choices,
    error,
    spelled,
    texts_of,
    usage,
)
from pocketlm.serve.task import Raw, Task, Work, started

#: As OpenAI's API has it.
DEFAULT_MAX_TOKENS = 16


class CompletionRequest(Generating):
    """The body of a request."""

    prompt: str | Ids | Many[str] | Many[Ids]
    max_tokens: Annotated[int, Field(ge=1)] | None = DEFAULT_MAX_TOKENS
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None


def _task(body: CompletionRequest) -> Task:
    if body.suffix:
        raise ApiError(400, "suffix is not supported: no model here fills in", param="suffix")
    if body.best_of is not None and body.best_of > (body.n or 1):
        raise ApiError(400, "best_of is not supported", param="best_of")
    return Task(
        model=body.model,
        prompt=Raw(_prompt(body)),
        sampling=body.sampling(body.max_tokens, body.logprobs),
        constraint=body.constraint(),
        choices=body.n or 1,
    )


def _prompt(body: CompletionRequest) -> str | list[int]:
    prompts = texts_of(body.prompt)
    if len(prompts) > 1:
        raise ApiError(400, "there may be one prompt in a request", param="prompt")
    return prompts[0]


async def create(request: Request) -> Response:
    """Continue a text."""
    body = await read(request, CompletionRequest)
    checked_choices(request, body.n)
    task = _task(body)
    if body.stream:
        lines = _stream(request, body, task)
        return Lines(lines, "text/event-stream", lambda failed: event(error(failed)))
    return await while_connected(request, _whole(request, body, task))


async def _whole(request: Request, body: CompletionRequest, task: Task) -> Response:
    async with started(request.app.state, task) as work:
        outcomes = await work.complete()
        tokenizer = work.loaded.model.tokenizer
        echo = _echo(tokenizer, body)
        choices = []
        for index, outcome in enumerate(outcomes):
            tokens = outcome.generation.logprobs
            choices.append(
                {
                    "index": index,
                    "text": echo + outcome.text,
                    "logprobs": None if tokens is None else _logprobs(tokenizer, tokens, len(echo)),
                    "finish_reason": outcome.finish_reason,
                }
            )
        return Json({**_head(work), "choices": choices, "usage": usage(outcomes)})


async def _stream(request: Request, body: CompletionRequest, task: Task) -> AsyncGenerator[str]:
    async with started(request.app.state, task) as work:
        head = _head(work)
        tokenizer = work.loaded.model.tokenizer

        def chunk(index: int, text: str, **more: object) -> str:
            choice = {"index": index, "text": text, "logprobs": None, "finish_reason": None}
            return event({**head, "choices": [{**choice, **more}]})

        echo = _echo(tokenizer, body)
        for index in range(task.choices):
            yield chunk(index, echo)
        shown = [len(echo)] * task.choices
        async for bit in work:
            if bit.token is not None and bit.token.logprob is not None:
                logprobs = _logprobs(tokenizer, [bit.token], shown[bit.choice])
                yield chunk(bit.choice, bit.text, logprobs=logprobs)
            elif bit.text:
                yield chunk(bit.choice, bit.text)
            shown[bit.choice] += len(bit.text)
        for index, outcome in enumerate(work.outcomes):
            yield chunk(index, "", finish_reason=outcome.finish_reason)
        if body.stream_options is not None and body.stream_options.include_usage:
            yield event({**head, "choices": [], "usage": usage(work.outcomes)})
        yield event("[DONE]")


def _head(work: Work) -> dict[str, object]:
    return {
        "id": f"cmpl-{secrets.token_hex(12)}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": work.name,
        "system_fingerprint": None,
    }


def _echo(tokenizer: Tokenizer, body: CompletionRequest) -> str:
    if not body.echo:
        return ""
    prompt = _prompt(body)
    return prompt if isinstance(prompt, str) else tokenizer.decode(prompt)


def _logprobs(tokenizer: Tokenizer, tokens: Sequence[Token], start: int) -> dict[str, object]:
    """In the older form, which has no bytes."""
    texts = [spelled(tokenizer, token.id) for token in tokens]
    offsets = [start + sum(map(len, texts[:i])) for i in range(len(texts))]
    return {
        "tokens": texts,
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [{spelled(tokenizer, id): p for id, p in token.top} for token in tokens],
        "text_offset": offsets,
    }


routes = [post("/v1/completions", create, CompletionRequest)]
