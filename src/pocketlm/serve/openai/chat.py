"""/v1/chat/completions."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from pocketlm.assistant.tools.skill import Skill
from pocketlm.chat.prompt import Message
from pocketlm.chat.tools import Call, Tool, Toolbox
from pocketlm.engine.sampling import Token
from pocketlm.serve.assistant import Assistant, chosen
from pocketlm.serve.errors import ApiError
from pocketlm.serve.http import Body, Json, Lines, Many, event, post, read, while_connected
from pocketlm.serve.openai.shapes import (
    Generating,
    checked_choices,
    error,
    logprob,
    usage,
    usage_of,
)
from pocketlm.serve.task import Chat, Task, Work, started, toolbox
from pocketlm.serve.turns import Turned, turned


class Part(Body):
    """A part of a message's content."""

    type: str
    text: str | None = None


class CalledFunction(Body):
    """A function that the model called; `arguments` is JSON text."""

    name: str
    arguments: str = "{}"


class ToolCall(Body):
    """A call in an assistant's message."""

    id: str | None = None
    function: CalledFunction


class ChatMessage(Body):
    """A message as clients send it. What else it holds, token ids for one, is not read."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Many[Part] | None = None
    tool_calls: Many[ToolCall] | None = None
    tool_call_id: str | None = None


class Function(Body):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(Body):
    """A tool; there are no others than functions."""

    type: str
    function: Function | None = None


class NamedFunction(Body):
    """The name of a function."""

    name: str


class NamedChoice(Body):
    """The function that must be called."""

    type: str
    function: NamedFunction | None = None


class ChatRequest(Generating):
    """The body of a request."""

    messages: Annotated[Many[ChatMessage], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Many[FunctionTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    #: Have the prompt's progress reported in chunks of their own, as llama.cpp's server does.
    return_progress: bool | None = None
    #: Have the server's own tools called here: all that it has, or those of these names.
    server_tools: bool | Many[str] | None = None


def _skills(request: Request, body: ChatRequest) -> list[Skill]:
    """The server's tools that may be called for this request."""
    if not body.server_tools:
        return []
    assistant: Assistant = request.app.state.assistant
    skills = chosen(assistant.skills, body.server_tools)
    if not skills:
        raise ApiError(
            400, "this server has no tools (pocketlm serve --tools)", param="server_tools"
        )
    others = {
        "tools": body.tools,
        "tool_choice": body.tool_choice not in (None, "auto"),
        "n": (body.n or 1) > 1,
        "logprobs": body.logprobs,
        "response_format": body.constraint(),
    }
    for name, given in others.items():
        if given:
            raise ApiError(400, f"{name} does not go with server_tools", param=name)
    return skills


def _task(body: ChatRequest) -> Task:
    return Task(
        model=body.model,
        prompt=Chat([_message(each) for each in body.messages]),
        sampling=body.sampling(
            body.max_completion_tokens or body.max_tokens,
            (body.top_logprobs or 0) if body.logprobs else None,
        ),
        constraint=body.constraint(),
        tools=_toolbox(body),
        choices=body.n or 1,
    )


#: Roles that templates know, for those that only OpenAI's API has.
ROLES = {"developer": "system", "function": "tool"}


def _message(given: ChatMessage) -> Message:
    role = ROLES.get(given.role, given.role)
    message: Message = {"role": role, "content": text_of(given.content)}
    if given.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": call.function.name,
                    "arguments": parsed(call.function.arguments),
                },
            }
            for call in given.tool_calls
        ]
    if given.tool_call_id is not None:
        message["tool_call_id"] = given.tool_call_id
    return message


def text_of(content: str | Sequence[Part] | None) -> str:
    """A content as one text. Raises ApiError for a part that is none, by its type's name."""
    if content is None or isinstance(content, str):
        return content or ""
    for part in content:
        if part.text is None or part.type not in ("text", "input_text", "output_text"):
            raise ApiError(
                400,
                f"messages have a part of type {part.type[:40]!r}; this server reads text",
                code="unsupported_content",
                param="messages",
            )
    return "".join(part.text or "" for part in content)


def parsed(arguments: str) -> object:
    """Arguments as an object, which templates write their own way; as they are if they are none."""
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments


def _toolbox(body: ChatRequest) -> Toolbox | None:
    choice = body.tool_choice
    if choice == "none":
        return None
    tools = []
    for tool in body.tools or []:
        if tool.type != "function" or tool.function is None:
            raise ApiError(400, f"tools has the type {tool.type[:40]!r}", param="tools")
        tools.append(tool_of(tool.function))
    only = None
    if isinstance(choice, NamedChoice):
        if choice.type != "function" or choice.function is None:
            raise ApiError(400, "tool_choice names no function", param="tool_choice")
        only = choice.function.name
    return toolbox(
        tools,
        required=choice == "required",
        only=only,
        parallel=body.parallel_tool_calls is not False,
    )


def tool_of(function: Function) -> Tool:
    """A function as the model is told of it."""
    return Tool(
        function.name, function.description or "", function.parameters or {}, bool(function.strict)
    )


async def create(request: Request) -> Response:
    """Answer a conversation."""
    body = await read(request, ChatRequest)
    checked_choices(request, body.n)
    skills = _skills(request, body)
    task = _task(body)
    if body.stream:
        lines = _turn(request, body, task, skills) if skills else _stream(request, body, task)
        return Lines(lines, "text/event-stream", lambda failed: event(error(failed)))
    work = _whole_turn(request, task, skills) if skills else _whole(request, task)
    return await while_connected(request, work)


async def _whole(request: Request, task: Task) -> Response:
    async with started(request.app.state, task) as work:
        outcomes = await work.complete()
        choices = []
        for index, outcome in enumerate(outcomes):
            message: dict[str, Any] = {"role": "assistant", "refusal": None}
            message["content"] = outcome.text or (None if outcome.calls else "")
            if outcome.calls:
                message["tool_calls"] = [_call(call) for call in outcome.calls]
            logprobs = None
            if outcome.generation.logprobs is not None:
                logprobs = _logprobs(work, outcome.generation.logprobs)
            choices.append(
                {
                    "index": index,
                    "message": message,
                    "logprobs": logprobs,
                    "finish_reason": outcome.finish_reason,
                }
            )
        head = _head("chat.completion", work)
        return Json({**head, "choices": choices, "usage": usage(outcomes)})


async def _stream(request: Request, body: ChatRequest, task: Task) -> AsyncGenerator[str]:
    async with started(request.app.state, task) as work:
        head = _head("chat.completion.chunk", work)

        def chunk(index: int, delta: Mapping[str, Any], **more: object) -> str:
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
            return event({**head, "choices": [{**choice, **more}]})

        for index in range(task.choices):
            yield chunk(index, {"role": "assistant", "content": ""})
        calls = [0] * task.choices
        async for bit in work:
            if bit.progress is not None and body.return_progress:
                progress = {"processed": bit.progress.done, "total": bit.progress.total}
                yield event({**head, "choices": [], "prompt_progress": progress})
            if bit.token is not None and bit.token.logprob is not None:
                logprobs = _logprobs(work, [bit.token])
                yield chunk(bit.choice, {"content": bit.text}, logprobs=logprobs)
            elif bit.text:
                yield chunk(bit.choice, {"content": bit.text})
            for call in bit.calls:
                delta = {"index": calls[bit.choice], **_call(call)}
                calls[bit.choice] += 1
                yield chunk(bit.choice, {"tool_calls": [delta]})
        for index, outcome in enumerate(work.outcomes):
            yield chunk(index, {}, finish_reason=outcome.finish_reason)
        if body.stream_options is not None and body.stream_options.include_usage:
            yield event({**head, "choices": [], "usage": usage(work.outcomes)})
        yield event("[DONE]")


async def _whole_turn(request: Request, task: Task, skills: Sequence[Skill]) -> Response:
    """An answer with the server's tools; the calls stand beside it, in a field of ours."""
    async with turned(request.app.state, task, skills) as work:
        async for _ in work:
            pass
        message = {
            "role": "assistant",
            "refusal": None,
            "content": work.text,
            "server_tool_calls": [made.as_json() for made in work.made],
        }
        choice = {"index": 0, "message": message, "logprobs": None}
        choice["finish_reason"] = work.finish_reason
        head = _head("chat.completion", work)
        return Json({**head, "choices": [choice], "usage": usage_of(work.generations)})


async def _turn(
    request: Request, body: ChatRequest, task: Task, skills: Sequence[Skill]
) -> AsyncGenerator[str]:
    """The same while it comes about: a chunk for each call that has its result."""
    async with turned(request.app.state, task, skills) as work:
        head = _head("chat.completion.chunk", work)

        def chunk(delta: Mapping[str, Any], finish: str | None = None) -> str:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return event({**head, "choices": [choice]})

        yield chunk({"role": "assistant", "content": ""})
        async for bit in work:
            if bit.progress is not None and body.return_progress:
                progress = {"processed": bit.progress.done, "total": bit.progress.total}
                yield event({**head, "choices": [], "prompt_progress": progress})
            if bit.text:
                yield chunk({"content": bit.text})
            if bit.made is not None and bit.made.result is not None:
                yield chunk({"server_tool_calls": [bit.made.as_json()]})
        yield chunk({}, work.finish_reason)
        if body.stream_options is not None and body.stream_options.include_usage:
            yield event({**head, "choices": [], "usage": usage_of(work.generations)})
        yield event("[DONE]")


def _head(kind: str, work: Work | Turned) -> dict[str, object]:
    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "object": kind,
        "created": int(time.time()),
        "model": work.name,
        "system_fingerprint": None,
    }


def _call(call: Call) -> dict[str, object]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}


def _logprobs(work: Work, tokens: Sequence[Token]) -> dict[str, object]:
    tokenizer = work.loaded.model.tokenizer
    return {"content": [logprob(tokenizer, token) for token in tokens], "refusal": None}


routes = [post("/v1/chat/completions", create, ChatRequest)]
