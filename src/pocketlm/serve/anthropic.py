"""The dialect of Anthropic's API: /v1/messages."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncGenerator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from pocketlm.chat.prompt import Message
from pocketlm.chat.tools import Call, Tool, Toolbox
from pocketlm.serve.errors import ApiError
from pocketlm.serve.http import Body, Json, Lines, Many, event, post, read, while_connected
from pocketlm.serve.task import (
    Chat,
    Outcome,
    Task,
    counted,
    sampling_of,
    started,
    toolbox,
)

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def error(error: ApiError) -> dict[str, object]:
    """An error as Anthropic's clients read it."""
    kind = _TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": error.message}}


class Block(Body):
    """A part of a message: text, a call, or what a call returned."""

    type: str
    text: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    tool_use_id: str | None = None
    content: str | Many[Block] | None = None


class Turn(Body):
    """A message."""

    role: Literal["user", "assistant", "system"]
    content: str | Many[Block]


class FunctionTool(Body):
    """A function that the model may call."""

    name: str
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None


class ToolChoice(Body):
    """Whether a function must be called."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class CountRequest(Body):
    """The body of a request to count a prompt's tokens."""

    model: str | None = None
    messages: Annotated[Many[Turn], Field(min_length=1)]
    system: str | Many[Block] | None = None
    tools: Many[FunctionTool] | None = None
    tool_choice: ToolChoice | None = None


class MessagesRequest(CountRequest):
    """The body of a request."""

    max_tokens: Annotated[int, Field(ge=1)]
    stop_sequences: Annotated[Many[str], Field(max_length=16)] | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    stream: bool | None = None


def _task(body: CountRequest) -> Task:
    sampling = {}
    if isinstance(body, MessagesRequest):
        sampling = sampling_of(
            max_tokens=body.max_tokens,
            temperature=body.temperature,
            top_p=body.top_p,
            top_k=body.top_k,
            stop=body.stop_sequences,
        )
    messages: list[Message] = []
    if body.system:
        messages.append({"role": "system", "content": _text(body.system)})
    for turn in body.messages:
        messages += _messages(turn)
    return Task(body.model, Chat(messages), sampling, tools=_toolbox(body))


def _messages(turn: Turn) -> list[Message]:
    """A turn as templates know it: results of calls are messages of their own."""
    if isinstance(turn.content, str):
        return [{"role": turn.role, "content": turn.content}]
    results: list[Message] = []
    texts: list[Block] = []
    calls: list[dict[str, Any]] = []
    for block in turn.content:
        match block.type:
            case "tool_result":
                content = _text(block.content or "")
                results.append(
                    {"role": "tool", "content": content, "tool_call_id": block.tool_use_id or ""}
                )
            case "tool_use":
                function = {"name": block.name or "", "arguments": block.input or {}}
                calls.append({"id": block.id, "type": "function", "function": function})
            case "thinking" | "redacted_thinking":
                pass  # of another model
            case _:
                texts.append(block)
    if not texts and not calls:
        return results
    message: Message = {"role": turn.role, "content": _text(texts)}
    if calls:
        message["tool_calls"] = calls
    return [*results, message]


def _text(content: str | Sequence[Block]) -> str:
    """Raises ApiError for a block that is no text, by its type's name."""
    if isinstance(content, str):
        return content
    for block in content:
        if block.type != "text" or block.text is None:
            raise ApiError(
                400,
                f"messages have a block of type {block.type[:40]!r}; this server reads text",
                code="unsupported_content",
            )
    return "".join(block.text or "" for block in content)


def _toolbox(body: CountRequest) -> Toolbox | None:
    choice = body.tool_choice or ToolChoice(type="auto")
    if choice.type == "none":
        return None
    tools = body.tools or []
    for tool in tools:
        if tool.type not in (None, "custom"):
            raise ApiError(400, f"tools has the type {(tool.type or '')[:40]!r}; none is here")
    if choice.type == "tool" and choice.name is None:
        raise ApiError(400, "tool_choice names no tool")
    return toolbox(
        [_tool(tool) for tool in tools],
        required=choice.type == "any",
        only=choice.name if choice.type == "tool" else None,
        parallel=not choice.disable_parallel_tool_use,
    )


def _tool(tool: FunctionTool) -> Tool:
    schema = tool.input_schema or {}
    return Tool(tool.name, tool.description or "", schema, bool(tool.strict))


async def create(request: Request) -> Response:
    """Answer a conversation."""
    body = await read(request, MessagesRequest)
    task = _task(body)
    if body.stream:
        lines = _stream(request, task)
        return Lines(lines, "text/event-stream", lambda failed: event(error(failed), "error"))
    return await while_connected(request, _whole(request, task))


async def count(request: Request) -> Response:
    """How many tokens a prompt has."""
    task = _task(await read(request, CountRequest))
    return Json({"input_tokens": await counted(request.app.state, task)})


async def _whole(request: Request, task: Task) -> Response:
    async with started(request.app.state, task) as work:
        (outcome,) = await work.complete()
        content: list[dict[str, object]] = []
        if outcome.text or not outcome.calls:
            content.append({"type": "text", "text": outcome.text})
        content += [{**_call(call), "input": json.loads(call.arguments)} for call in outcome.calls]
        message = {**_head(work.name), "content": content, **_end(outcome)}
        return Json({**message, "usage": _usage(outcome)})


async def _stream(request: Request, task: Task) -> AsyncGenerator[str]:
    async with started(request.app.state, task) as work:
        (outcome,) = work.outcomes
        head = {**_head(work.name), "content": [], "stop_reason": None}
        begun = {**head, "stop_sequence": None, "usage": _usage(outcome)}
        yield _event("message_start", message=begun)
        index = -1
        writing = False  # a block of text is open
        async for bit in work:
            if bit.text:
                if not writing:
                    index, writing = index + 1, True
                    block: dict[str, object] = {"type": "text", "text": ""}
                    yield _event("content_block_start", index=index, content_block=block)
                delta = {"type": "text_delta", "text": bit.text}
                yield _event("content_block_delta", index=index, delta=delta)
            for call in bit.calls:
                if writing:
                    yield _event("content_block_stop", index=index)
                index, writing = index + 1, False
                block = {**_call(call), "input": {}}
                yield _event("content_block_start", index=index, content_block=block)
                delta = {"type": "input_json_delta", "partial_json": call.arguments}
                yield _event("content_block_delta", index=index, delta=delta)
                yield _event("content_block_stop", index=index)
        if writing:
            yield _event("content_block_stop", index=index)
        yield _event("message_delta", delta=_end(outcome), usage=_usage(outcome))
        yield _event("message_stop")


def _event(kind: str, **fields: object) -> str:
    return event({"type": kind, **fields}, kind)


def _head(model: str) -> dict[str, object]:
    number = f"msg_{secrets.token_hex(12)}"
    return {"id": number, "type": "message", "role": "assistant", "model": model}


def _call(call: Call) -> dict[str, object]:
    return {"type": "tool_use", "id": f"toolu_{secrets.token_hex(12)}", "name": call.name}


def _end(outcome: Outcome) -> dict[str, object]:
    stopped_by = outcome.generation.stopped_by
    reason = "stop_sequence" if stopped_by else _REASONS[outcome.finish_reason]
    return {"stop_reason": reason, "stop_sequence": stopped_by}


def _usage(outcome: Outcome) -> dict[str, object]:
    """Tokens; those found in the cache are counted apart."""
    generation = outcome.generation
    return {
        "input_tokens": generation.prompt_tokens - generation.cached_tokens,
        "cache_read_input_tokens": generation.cached_tokens,
        "cache_creation_input_tokens": 0,
        "output_tokens": generation.completion_tokens,
    }


routes = [
    post("/v1/messages", create, MessagesRequest),
    post("/v1/messages/count_tokens", count, CountRequest),
]
