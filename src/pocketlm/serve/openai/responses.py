"""/v1/responses: the part of it that needs no memory on the server."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from pocketlm.chat.prompt import Message
from pocketlm.chat.tools import Call, Tool, Toolbox
from pocketlm.serve.errors import ApiError
from pocketlm.serve.http import Body, Json, Lines, Many, event, post, read, while_connected
from pocketlm.serve.openai.chat import ROLES, Part, parsed, text_of
from pocketlm.serve.openai.shapes import JsonSchema, ResponseFormat
from pocketlm.serve.task import Chat, Outcome, Task, sampling_of, started, toolbox


class Item(Body):
    """A part of the input: a message, a call, or what a call returned."""

    type: str = "message"
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: str | Many[Part] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | Many[Part] | None = None


class FunctionTool(Body):
    """A function that the model may call."""

    type: str
    name: str = ""
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedChoice(Body):
    """The function that must be called."""

    type: str
    name: str | None = None


class Format(JsonSchema):
    """What the answer must be."""

    type: Literal["text", "json_object", "json_schema"]


class Text(Body):
    """How the answer is written."""

    format: Format | None = None


class ResponsesRequest(Body):
    """The body of a request."""

    model: str | None = None
    input: str | Annotated[Many[Item], Field(min_length=1)]
    instructions: str | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    stream: bool | None = None
    tools: Many[FunctionTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    text: Text | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    background: bool | None = None
    metadata: dict[str, str] | None = None


def _task(body: ResponsesRequest) -> Task:
    for name in ("previous_response_id", "conversation", "background"):
        if getattr(body, name):
            raise ApiError(
                400, f"{name} is not supported: this server keeps no responses", param=name
            )
    messages: list[Message] = []
    if body.instructions:
        messages.append({"role": "system", "content": body.instructions})
    if isinstance(body.input, str):
        messages.append({"role": "user", "content": body.input})
    else:
        for item in body.input:
            _add(messages, item)
    format = body.text.format if body.text is not None else None
    constraint = None
    if format is not None:
        constraint = ResponseFormat(type=format.type, json_schema=format).constraint()
    return Task(
        body.model,
        Chat(messages),
        sampling_of(
            max_tokens=body.max_output_tokens, temperature=body.temperature, top_p=body.top_p
        ),
        constraint,
        _toolbox(body),
    )


def _add(messages: list[Message], item: Item) -> None:
    match item.type:
        case "message" if item.role is not None:
            role = ROLES.get(item.role, item.role)
            messages.append({"role": role, "content": text_of(item.content)})
        case "function_call":
            function = {"name": item.name or "", "arguments": parsed(item.arguments or "{}")}
            call = {"id": item.call_id, "type": "function", "function": function}
            last = messages[-1] if messages else None
            if last is not None and last["role"] == "assistant":
                last["tool_calls"] = [*last.get("tool_calls", []), call]
            else:
                messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
        case "function_call_output":
            content = text_of(item.output)
            messages.append(
                {"role": "tool", "content": content, "tool_call_id": item.call_id or ""}
            )
        case "reasoning":
            pass  # of another model
        case _:
            raise ApiError(
                400, f"input has an item of type {item.type[:40]!r}, unknown here", param="input"
            )


def _toolbox(body: ResponsesRequest) -> Toolbox | None:
    choice = body.tool_choice
    if choice == "none":
        return None
    tools = body.tools or []
    for tool in tools:
        if tool.type != "function":
            raise ApiError(400, f"tools has the type {tool.type[:40]!r}", param="tools")
    only = None
    if isinstance(choice, NamedChoice):
        if choice.type != "function" or choice.name is None:
            raise ApiError(400, "tool_choice names no function", param="tool_choice")
        only = choice.name
    return toolbox(
        [Tool(t.name, t.description or "", t.parameters or {}, bool(t.strict)) for t in tools],
        required=choice == "required",
        only=only,
        parallel=body.parallel_tool_calls is not False,
    )


async def create(request: Request) -> Response:
    """Answer."""
    body = await read(request, ResponsesRequest)
    task = _task(body)
    if body.stream:
        return Lines(
            _stream(request, body, task),
            "text/event-stream",
            lambda failed: event({"type": "error", "message": failed.message, "code": failed.code}),
        )
    return await while_connected(request, _whole(request, body, task))


async def _whole(request: Request, body: ResponsesRequest, task: Task) -> Response:
    async with started(request.app.state, task) as work:
        (outcome,) = await work.complete()
        output = [_message(_id("msg"), outcome.text)] if outcome.text or not outcome.calls else []
        output += [_call(_id("fc"), call) for call in outcome.calls]
        return Json(_response(_id("resp"), work.name, body, output, outcome))


async def _stream(request: Request, body: ResponsesRequest, task: Task) -> AsyncGenerator[str]:
    async with started(request.app.state, task) as work:
        (outcome,) = work.outcomes
        number, name = _id("resp"), work.name
        count = -1

        def line(kind: str, **fields: object) -> str:
            nonlocal count
            count += 1
            return event({"type": kind, "sequence_number": count, **fields}, kind)

        begun = _response(number, name, body, [], None)
        yield line("response.created", response=begun)
        yield line("response.in_progress", response=begun)
        output: list[dict[str, object]] = []
        message: str | None = None  # the id of the message that is open
        async for bit in work:
            if bit.text:
                if message is None:
                    message = _id("msg")
                    item = {**_message(message, ""), "status": "in_progress", "content": []}
                    yield line("response.output_item.added", output_index=0, item=item)
                    place = {"item_id": message, "output_index": 0, "content_index": 0}
                    yield line("response.content_part.added", **place, part=_part(""))
                place = {"item_id": message, "output_index": 0, "content_index": 0}
                yield line("response.output_text.delta", **place, delta=bit.text, logprobs=[])
            for call in bit.calls:
                if message is not None and not output:
                    for each in _closed(line, message, outcome.text):
                        yield each
                    output.append(_message(message, outcome.text))
                item = _call(_id("fc"), call)
                at = {"output_index": len(output)}
                opened = {**item, "arguments": "", "status": "in_progress"}
                yield line("response.output_item.added", **at, item=opened)
                place = {"item_id": item["id"], **at}
                yield line("response.function_call_arguments.delta", **place, delta=call.arguments)
                yield line(
                    "response.function_call_arguments.done",
                    **place,
                    arguments=call.arguments,
                    name=call.name,
                )
                yield line("response.output_item.done", **at, item=item)
                output.append(item)
        if message is not None and not output:
            for each in _closed(line, message, outcome.text):
                yield each
            output.append(_message(message, outcome.text))
        response = _response(number, name, body, output, outcome)
        yield line(f"response.{response['status']}", response=response)


def _closed(line: Callable[..., str], message: str, text: str) -> list[str]:
    """The events that end a message."""
    place = {"item_id": message, "output_index": 0, "content_index": 0}
    item = _message(message, text)
    return [
        line("response.output_text.done", **place, text=text, logprobs=[]),
        line("response.content_part.done", **place, part=_part(text)),
        line("response.output_item.done", output_index=0, item=item),
    ]


def _response(
    number: str,
    model: str,
    body: ResponsesRequest,
    output: list[dict[str, object]],
    outcome: Outcome | None,
) -> dict[str, object]:
    status, usage = "in_progress", None
    if outcome is not None:
        status = "incomplete" if outcome.finish_reason == "length" else "completed"
        usage = _usage(outcome)
    choice = body.tool_choice or "auto"
    format = (body.text and body.text.format) or Format(type="text")
    return {
        "id": number,
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "model": model,
        "output": output,
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": None,
        "store": False,
        "temperature": body.temperature,
        "text": {"format": format.model_dump(by_alias=True, exclude_none=True)},
        "tool_choice": choice if isinstance(choice, str) else choice.model_dump(),
        "tools": [tool.model_dump() for tool in body.tools or []],
        "top_p": body.top_p,
        "truncation": "disabled",
        "usage": usage,
        "metadata": body.metadata or {},
    }


def _usage(outcome: Outcome) -> dict[str, object]:
    generation = outcome.generation
    return {
        "input_tokens": generation.prompt_tokens,
        "input_tokens_details": {"cached_tokens": generation.cached_tokens},
        "output_tokens": generation.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": generation.prompt_tokens + generation.completion_tokens,
    }


def _message(number: str, text: str) -> dict[str, object]:
    return {
        "id": number,
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [_part(text)],
    }


def _part(text: str) -> Mapping[str, object]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _call(number: str, call: Call) -> dict[str, object]:
    return {
        "id": number,
        "type": "function_call",
        "status": "completed",
        "call_id": _id("call"),
        "name": call.name,
        "arguments": call.arguments,
    }


def _id(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(12)}"


routes = [post("/v1/responses", create, ResponsesRequest)]
