"""/v1/chat/completions."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pocketlm.chat.prompt import Message
from pocketlm.engine.answer import Generation
from pocketlm.serve.errors import ApiError
from pocketlm.serve.http import Body, Json, Lines, event, read, while_connected
from pocketlm.serve.openai.shapes import (
    ResponseFormat,
    Sampling,
    constraint_of,
    error,
    logprob,
    usage,
)
from pocketlm.serve.task import Started, Task, started


class Part(Body):
    """A part of a message's content."""

    type: str
    text: str | None = None


class ChatMessage(Body):
    """A message as clients send it. What else it holds, token ids for one, is not read."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None


class ChatRequest(Sampling):
    """The body of a request."""

    model: str | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    regex: str | None = None
    grammar: str | None = None

    def task(self) -> Task:
        """What is wanted. Raises ApiError or ParameterError."""
        limit = self.max_completion_tokens or self.max_tokens
        top = (self.top_logprobs or 0) if self.logprobs else None
        return Task(
            model=self.model,
            prompt=[message(each) for each in self.messages],
            chat=True,
            sampling=self.sampling(limit, top),
            constraint=constraint_of(self.response_format, self.regex, self.grammar),
            choices=self.n or 1,
        )


def message(given: ChatMessage) -> Message:
    """A message for the template. Raises ApiError for a part that is no text."""
    content = given.content
    if isinstance(content, list):
        for part in content:
            if part.text is None or part.type not in ("text", "input_text", "output_text"):
                raise ApiError(
                    400,
                    f"messages have a part of type {part.type[:40]!r}; this server reads text",
                    code="unsupported_content",
                    param="messages",
                )
        content = "".join(part.text or "" for part in content)
    return {"role": given.role, "content": content or ""}


async def create(request: Request) -> Response:
    """Answer a conversation."""
    body = await read(request, ChatRequest)
    task = body.task()
    if body.stream:
        lines = _stream(request, body, task)
        return Lines(lines, "text/event-stream", lambda failed: event(error(failed)))
    return await while_connected(request, _whole(request, body, task))


async def _whole(request: Request, body: ChatRequest, task: Task) -> Response:
    state = request.app.state
    async with started(state.pool, task, state.settings.timeout) as work:
        async for _ in work.answers:
            pass
        head = _head("chat.completion", work)
        generations = work.answers.generations
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": generation.text, "refusal": None},
                "logprobs": _logprobs(work, generation),
                "finish_reason": generation.finish_reason,
            }
            for index, generation in enumerate(generations)
        ]
        return Json({**head, "choices": choices, "usage": usage(generations)})


async def _stream(request: Request, body: ChatRequest, task: Task) -> AsyncGenerator[str]:
    state = request.app.state
    async with started(state.pool, task, state.settings.timeout) as work:
        head = _head("chat.completion.chunk", work)

        def chunk(index: int, delta: Mapping[str, Any], **more: object) -> str:
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
            return event({**head, "choices": [{**choice, **more}]})

        for index in range(task.choices):
            yield chunk(index, {"role": "assistant", "content": ""})
        tokenizer = work.loaded.model.tokenizer
        async for index, piece in work.answers:
            if piece.token is not None and piece.token.logprob is not None:
                content = {"content": [logprob(tokenizer, piece.token)], "refusal": None}
                yield chunk(index, {"content": piece.text}, logprobs=content)
            elif piece.text:
                yield chunk(index, {"content": piece.text})
        generations = work.answers.generations
        for index, generation in enumerate(generations):
            yield chunk(index, {}, finish_reason=generation.finish_reason)
        if body.stream_options is not None and body.stream_options.include_usage:
            yield event({**head, "choices": [], "usage": usage(generations)})
        yield event("[DONE]")


def _head(kind: str, work: Started) -> dict[str, object]:
    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "object": kind,
        "created": int(time.time()),
        "model": work.loaded.name,
        "system_fingerprint": None,
    }


def _logprobs(work: Started, generation: Generation) -> dict[str, object] | None:
    if generation.logprobs is None:
        return None
    tokenizer = work.loaded.model.tokenizer
    content = [logprob(tokenizer, token) for token in generation.logprobs]
    return {"content": content, "refusal": None}


routes = [Route("/v1/chat/completions", create, methods=["POST"])]
