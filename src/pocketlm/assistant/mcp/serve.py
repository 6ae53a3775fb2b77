"""What we offer to other programs that speak MCP: our search, and answers of our model.

Knows what the tools do and how much they may be asked for. The SDK speaks the protocol; who may
connect is decided elsewhere.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import anyio
from anyio import CapacityLimiter, from_thread, to_thread
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from pocketlm.assistant.passage import Passage, Source
from pocketlm.errors import Error

if TYPE_CHECKING:
    from pocketlm.api import Model
    from pocketlm.chat.prompt import Message

#: Answers that are written at the same time, and requests that may wait for their turn.
PARALLEL, MOST_WAITING = 4, 64
#: Most characters of a question, most passages and most tokens that may be asked for.
MOST_CHARACTERS, MOST_PASSAGES, MOST_TOKENS = 1 << 17, 20, 4096
#: How often a client hears that an answer goes on, in seconds: some give up otherwise.
_PROGRESS_SECONDS = 1.0

_Result = TypeVar("_Result")
_READING = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_Text = Annotated[str, Field(min_length=1, max_length=MOST_CHARACTERS)]


class Answerer:
    """A model that answers, loaded when the first question comes."""

    def __init__(
        self,
        path: Path,
        *,
        system: str | None = None,
        sampling: Mapping[str, Any] | None = None,
        load: Mapping[str, Any] | None = None,
    ) -> None:
        """Load nothing yet. `load` is for `pocketlm.load`."""
        self._path = path
        self._system = system
        self._sampling = dict(sampling or {})
        self._load = dict(load or {})
        self._lock = threading.Lock()
        self._model: Model | None = None

    def answer(
        self, prompt: str, most_tokens: int, leaving: threading.Event, tell: Callable[[int], None]
    ) -> str:
        """The answer to a prompt, or what there is of it when `leaving` is set.

        `tell` hears the number of tokens from time to time. Raises Error.
        """
        messages: list[Message] = [{"role": "user", "content": prompt}]
        if self._system is not None:
            messages.insert(0, {"role": "system", "content": self._system})
        told = time.monotonic()
        options = {**self._sampling, "max_tokens": most_tokens}
        with self._loaded().chat_stream(messages, **options) as stream:
            for _ in stream:
                if leaving.is_set():
                    break
                if time.monotonic() - told >= _PROGRESS_SECONDS:
                    told = time.monotonic()
                    tell(stream.generation.completion_tokens)
            return stream.generation.text

    def close(self) -> None:
        """Give the model's memory back."""
        with self._lock:
            if self._model is not None:
                self._model.close()

    def _loaded(self) -> Model:
        from pocketlm.api import load

        with self._lock:
            if self._model is None:
                self._model = load(self._path, **self._load)
            return self._model


def make_server(answerer: Answerer, source: Source | None = None) -> MCPServer[None]:
    """A server that offers `chat` with a model, and `search` over a source if there is one."""
    server: MCPServer[None] = MCPServer(
        "pocketlm",
        version=version("pocketlm"),
        instructions="A small language model on this machine, and search over its owner's texts.",
        log_level="ERROR",
    )
    limits = _Limits()

    async def search(
        query: Annotated[_Text, Field(description="What to look for, in words.")],
        count: Annotated[
            int, Field(ge=1, le=MOST_PASSAGES, description="How many passages, at most.")
        ] = 5,
    ) -> list[Passage]:
        """Find passages in the texts that the owner of this machine has indexed, the best first."""
        assert source is not None
        return list(await limits.run(lambda: source.search(query, count)))

    if source is not None:
        server.add_tool(search, annotations=_READING)

    @server.tool(annotations=_READING, structured_output=False)
    async def chat(
        context: Context,
        prompt: Annotated[_Text, Field(description="What the model is asked.")],
        max_tokens: Annotated[
            int, Field(ge=1, le=MOST_TOKENS, description="The answer ends after so many tokens.")
        ] = 512,
    ) -> str:
        """Ask a small language model that runs on this machine. It remembers nothing."""
        leaving = threading.Event()

        def tell(tokens: int) -> None:
            from_thread.run(context.report_progress, tokens, max_tokens)

        try:
            return await limits.run(lambda: answerer.answer(prompt, max_tokens, leaving, tell))
        finally:
            leaving.set()

    return server


class _Limits:
    """Lets only so much work be done at once, in threads, and so much more wait."""

    def __init__(self) -> None:
        self._turns = CapacityLimiter(PARALLEL)

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """What comes of `work`. A client hears an Error's words, and of nothing else."""
        if self._turns.statistics().tasks_waiting >= MOST_WAITING:
            raise ToolError("too many requests wait; try again later")
        try:
            return await to_thread.run_sync(work, limiter=self._turns, abandon_on_cancel=True)
        except Error as error:
            raise ToolError(str(error)) from None


def serve_stdio(server: MCPServer[None]) -> None:
    """Speak with the program that started us, until it closes our input.

    Standard output carries the protocol alone: what else is printed goes to standard error.
    """
    anyio.run(server.run_stdio_async)
