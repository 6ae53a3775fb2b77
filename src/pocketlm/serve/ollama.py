"""The dialect of Ollama's API: what editors and tools ask of it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import pocketlm
from pocketlm.chat.call_forms import native_form
from pocketlm.chat.prompt import Message
from pocketlm.chat.tools import Call, Tool, Toolbox
from pocketlm.engine.constraint import Constraint, from_schema
from pocketlm.errors import ContextError
from pocketlm.serve.errors import ApiError
from pocketlm.serve.http import Body, Json, Lines, Many, compact, post, read, while_connected
from pocketlm.serve.task import (
    Chat,
    Outcome,
    Raw,
    Task,
    embedded,
    sampling_of,
    started,
    toolbox,
)
from pocketlm.store.store import Entry

_DURATION = re.compile(r"(-?\d+(?:\.\d+)?)(ms|s|m|h)?", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, None: 1.0, "m": 60.0, "h": 3600.0}
_FOREVER = float("inf")


def error(error: ApiError) -> dict[str, object]:
    """An error as Ollama's clients read it."""
    return {"error": error.message}


class CalledFunction(Body):
    """A function that the model called."""

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class ToolCall(Body):
    """A call in an assistant's message."""

    function: CalledFunction


class ChatMessage(Body):
    """A message."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    images: list[Any] | None = None
    tool_calls: Many[ToolCall] | None = None
    tool_name: str | None = None


class Function(Body):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class FunctionTool(Body):
    """A tool; there are no others than functions."""

    type: str | None = None
    function: Function


class Options(Body):
    """How tokens are chosen. Options that tell Ollama how to run a model have no meaning here."""

    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_k: int | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), le=2**64 - 1)] | None = None
    num_predict: int | None = None
    stop: str | Annotated[Many[str], Field(max_length=16)] | None = None
    repeat_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None

    def sampling(self) -> dict[str, Any]:
        """As the engine takes it."""
        # Ollama's way to say "all" of either is a number below 1.
        limited = self.num_predict is not None and self.num_predict > 0
        return sampling_of(
            temperature=self.temperature,
            top_k=None if self.top_k is None else max(self.top_k, 0),
            top_p=self.top_p,
            min_p=self.min_p,
            repetition_penalty=self.repeat_penalty,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            seed=self.seed,
            max_tokens=self.num_predict if limited else None,
            stop=self.stop,
        )


class Asking(Body):
    """What chat and generate have in common."""

    model: str
    format: Literal["json", ""] | dict[str, Any] | None = None
    options: Options | None = None
    stream: bool | None = None
    keep_alive: float | str | None = None

    def task(self, prompt: Chat | Raw, tools: Toolbox | None = None) -> Task:
        """What is wanted."""
        constraint: Constraint | None = None
        if self.format:
            schema = {"type": "object"} if self.format == "json" else self.format
            constraint = from_schema(schema)
        sampling = (self.options or Options()).sampling()
        keep = seconds(self.keep_alive)
        return Task(self.model, prompt, sampling, constraint, tools, keep=keep)


class ChatRequest(Asking):
    """The body of a chat."""

    messages: Many[ChatMessage] = Field(default_factory=list)
    tools: Many[FunctionTool] | None = None


class GenerateRequest(Asking):
    """The body of a text to continue, or to answer."""

    prompt: str = ""
    system: str | None = None
    raw: bool | None = None
    suffix: str | None = None
    template: str | None = None
    images: list[Any] | None = None


class NameRequest(Body):
    """The name of a model, in either of Ollama's spellings."""

    model: str | None = None
    name: str | None = None


class EmbedRequest(Body):
    """The body of texts to embed."""

    model: str
    input: str | Many[str]
    keep_alive: float | str | None = None


def seconds(keep_alive: float | str | None) -> float | None:
    """A time as Ollama writes it: 300, "5m", "-1" (forever). Raises ApiError."""
    if keep_alive is None:
        return None
    if isinstance(keep_alive, str):
        match = _DURATION.fullmatch(keep_alive.strip())
        if match is None:
            raise ApiError(400, f"keep_alive is {keep_alive[:40]!r}; it is as 300 or 5m")
        keep_alive = float(match[1]) * _SECONDS[match[2]]
    return _FOREVER if keep_alive < 0 else keep_alive


async def chat(request: Request) -> Response:
    """Answer a conversation."""
    body = await read(request, ChatRequest)
    if not body.messages:
        return await _loaded(request, body, {"message": {"role": "assistant", "content": ""}})
    tools = toolbox([_tool(tool.function) for tool in body.tools or []])
    task = body.task(Chat([_message(each) for each in body.messages]), tools)

    def shape(text: str, calls: Sequence[Call]) -> dict[str, object]:
        message: dict[str, object] = {"role": "assistant", "content": text}
        if calls:
            message["tool_calls"] = [
                {"function": {"name": call.name, "arguments": json.loads(call.arguments)}}
                for call in calls
            ]
        return {"message": message}

    return await _answered(request, body, task, shape)


async def generate(request: Request) -> Response:
    """Answer a prompt, or continue a text as it is (`raw`)."""
    body = await read(request, GenerateRequest)
    for name in ("suffix", "template", "images"):
        if getattr(body, name):
            raise ApiError(400, f"{name} is not supported")
    if not body.prompt:
        return await _loaded(request, body, {"response": ""})
    if body.raw:
        task = body.task(Raw(body.prompt))
    else:
        messages: list[Message] = [{"role": "user", "content": body.prompt}]
        if body.system:
            messages.insert(0, {"role": "system", "content": body.system})
        task = body.task(Chat(messages))
    return await _answered(request, body, task, lambda text, _: {"response": text})


#: How text and calls of an answer stand in a response.
_Shape = Callable[[str, Sequence[Call]], Mapping[str, object]]


async def _answered(request: Request, body: Asking, task: Task, shape: _Shape) -> Response:
    if body.stream is False:
        return await while_connected(request, _whole(request, body, task, shape))
    lines = _stream(request, body, task, shape)
    return Lines(lines, "application/x-ndjson", lambda failed: compact(error(failed)) + "\n")


async def _whole(request: Request, body: Asking, task: Task, shape: _Shape) -> Response:
    began = time.perf_counter()
    async with started(request.app.state, task) as work:
        (outcome,) = await work.complete()
        said = shape(outcome.text, outcome.calls)
        return Json({**_head(body.model), **said, **_end(outcome, began)})


async def _stream(request: Request, body: Asking, task: Task, shape: _Shape) -> AsyncGenerator[str]:
    began = time.perf_counter()
    async with started(request.app.state, task) as work:
        async for bit in work:
            if bit.text or bit.calls:
                said = shape(bit.text, bit.calls)
                yield compact({**_head(body.model), **said, "done": False}) + "\n"
        (outcome,) = work.outcomes
        yield compact({**_head(body.model), **shape("", ()), **_end(outcome, began)}) + "\n"


def _head(model: str) -> dict[str, object]:
    return {"model": model, "created_at": _when(time.time())}


def _when(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _end(outcome: Outcome, began: float) -> dict[str, object]:
    generation = outcome.generation
    times = generation.timings
    return {
        "done": True,
        "done_reason": "length" if outcome.finish_reason == "length" else "stop",
        "total_duration": _ns(time.perf_counter() - began),
        "load_duration": 0,
        "prompt_eval_count": generation.prompt_tokens,
        "prompt_eval_duration": _ns(times.prompt_s),
        "eval_count": generation.completion_tokens,
        "eval_duration": _ns(times.generation_s),
    }


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)


async def _loaded(request: Request, body: Asking, said: Mapping[str, object]) -> Response:
    """Nothing is asked: load the model, or with `keep_alive` 0 let go of it."""
    pool = request.app.state.pool
    keep = seconds(body.keep_alive)
    reason = "load"
    if keep == 0:
        name, _ = await pool.find(body.model)
        await pool.unload(name)
        reason = "unload"
    else:
        async with pool.lend(body.model, keep):
            pass
    return Json({**_head(body.model), **said, "done": True, "done_reason": reason})


def _message(given: ChatMessage) -> Message:
    if given.images:
        raise ApiError(400, "messages have images; this server reads text")
    message: Message = {"role": given.role, "content": given.content or ""}
    if given.tool_calls:
        message["tool_calls"] = [
            {"type": "function", "function": call.function.model_dump()}
            for call in given.tool_calls
        ]
    return message


def _tool(function: Function) -> Tool:
    return Tool(function.name, function.description or "", function.parameters or {})


async def tags(request: Request) -> Response:
    """The models on this machine."""
    known = await request.app.state.pool.known()
    models = await asyncio.to_thread(lambda: [_listed(n, p) for n, p in known.items()])
    return Json({"models": models})


def _listed(name: str, path: Path) -> dict[str, object]:
    entry = Entry(name, path, "")
    return {
        "name": name,
        "model": name,
        "modified_at": _when(path.stat().st_mtime),
        "size": entry.size,
        "digest": "",
        "details": {"format": entry.kind, "family": "", "families": None},
    }


async def show(request: Request) -> Response:
    """What a model is: its file is looked into, and nothing is loaded."""
    from pocketlm.chat.fallback import template_for
    from pocketlm.formats.open import open_checkpoint
    from pocketlm.models import build

    body = await read(request, NameRequest)
    name, path = await request.app.state.pool.find(body.model or body.name)

    def look() -> dict[str, object]:
        with open_checkpoint(path) as checkpoint:
            program = build(checkpoint.config, checkpoint.tensors)
            architecture = str(checkpoint.config["model_type"])
            template = template_for(checkpoint.tokenizer(), checkpoint.chat_template).source
            return {
                **_listed(name, path),
                "template": template,
                "capabilities": ["completion", "tools"],
                "parameters": "",
                "license": "",
                "model_info": {
                    "general.architecture": architecture,
                    "general.parameter_count": program.parameters,
                    f"{architecture}.context_length": program.context,
                    f"{architecture}.block_count": program.layers,
                    f"{architecture}.embedding_length": program.buffers["x"],
                    "pocketlm.native_tools": native_form(template) is not None,
                },
            }

    return Json(await asyncio.to_thread(look))


async def ps(request: Request) -> Response:
    """The models that are loaded."""
    models = []
    for loaded in request.app.state.pool.loaded:
        forever = loaded.expires == _FOREVER
        models.append(
            {
                "name": loaded.name,
                "model": loaded.name,
                "size": loaded.nbytes,
                "size_vram": 0,
                "digest": "",
                "expires_at": _when(253402300799.0 if forever else loaded.expires),
                "context_length": loaded.model.context,
                "running": loaded.worker.running,
                "waiting": loaded.worker.waiting,
            }
        )
    return Json({"models": models})


async def version(request: Request) -> Response:
    """Our version; clients ask whether anybody is there."""
    return Json({"version": pocketlm.__version__})


async def embed(request: Request) -> Response:
    """Texts as vectors (see /v1/embeddings)."""
    body = await read(request, EmbedRequest)
    began = time.perf_counter()
    texts = [body.input] if isinstance(body.input, str) else body.input

    async def whole() -> Response:
        try:
            _, vectors, tokens = await embedded(request.app.state, body.model, texts)
        except ContextError as error:
            raise ApiError(400, str(error), code="context_length_exceeded") from None
        return Json(
            {
                "model": body.model,
                "embeddings": [vector.tolist() for vector in vectors],
                "total_duration": _ns(time.perf_counter() - began),
                "load_duration": 0,
                "prompt_eval_count": tokens,
            }
        )

    return await while_connected(request, whole())


routes = [
    post("/api/chat", chat, ChatRequest),
    post("/api/generate", generate, GenerateRequest),
    Route("/api/tags", tags),
    post("/api/show", show, NameRequest),
    Route("/api/ps", ps),
    Route("/api/version", version),
    post("/api/embed", embed, EmbedRequest),
]
