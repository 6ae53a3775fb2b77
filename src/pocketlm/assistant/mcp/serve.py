"""What we offer to other programs that speak MCP: our search, and answers of our model.

Knows what the tools do and how much they may be asked for. The SDK speaks the protocol; who may
connect is decided elsewhere.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cached_property
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
    from pocketlm.assistant.index.ranking import Ranker
    from pocketlm.chat.prompt import Message

#: Requests that are worked on at the same time, and that may wait for their turn.
PARALLEL, MOST_WAITING = 4, 64
#: Most characters of a question, most passages and most tokens that may be asked for.
MOST_CHARACTERS, MOST_PASSAGES, MOST_TOKENS = 1 << 17, 20, 4096
#: How often a client hears that an answer goes on, in seconds: some give up otherwise.
_PROGRESS_SECONDS = 1.0

_Result = TypeVar("_Result")
_READING = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_Text = Annotated[str, Field(min_length=1, max_length=MOST_CHARACTERS)]


class Assistant:
    """What there is to offer: a model and the indexed sources, each opened when it is needed.

    Its methods may be called from several threads, and raise Error. `close` gives all back.
    """

    def __init__(
        self,
        model: Path,
        home: Path,
        *,
        system: str | None = None,
        sampling: Mapping[str, Any] | None = None,
        load: Mapping[str, Any] | None = None,
        freely: bool | None = None,
    ) -> None:
        """Open nothing yet. The index is under `home`; `load` is for `pocketlm.load`.

        With `freely` the model answers from passages in its own words, without it in theirs; None
        is what was measured to suit it, now if need be.
        """
        self._path = model
        self._home = home
        self._system = system
        self._sampling = dict(sampling or {})
        self._load = dict(load or {})
        self._freely = freely
        self._lock = threading.RLock()
        self._opened = ExitStack()

    def search(self, query: str, count: int) -> list[Passage]:
        """The `count` best passages of documents and encyclopedias."""
        from pocketlm.assistant.together import search

        sources, ranker = self._searched()
        return search(sources, query, count, ranker)

    def ask(self, question: str, tell: Callable[[str], None]) -> dict[str, Any]:
        """An answer from passages, with citations: see `asking.Answer.as_json`.

        `tell` hears what is being done.
        """
        from pocketlm.assistant.asking import Asker
        from pocketlm.assistant.reading import choice

        sources, ranker = self._searched()
        model = self._answering()
        with self._lock:  # it is measured once
            if self._freely is None:
                self._freely = choice.measured(model, self._home, tell).freely
        return Asker(model, sources, ranker, freely=self._freely).ask(question, tell).as_json()

    def chat(
        self, prompt: str, most_tokens: int, leaving: threading.Event, tell: Callable[[int], None]
    ) -> str:
        """What the model says to a prompt, or what there is of it when `leaving` is set.

        `tell` hears the number of tokens from time to time.
        """
        messages: list[Message] = [{"role": "user", "content": prompt}]
        if self._system is not None:
            messages.insert(0, {"role": "system", "content": self._system})
        told = time.monotonic()
        options = {**self._sampling, "max_tokens": most_tokens}
        with self._answering().chat_stream(messages, **options) as stream:
            for _ in stream:
                if leaving.is_set():
                    break
                if time.monotonic() - told >= _PROGRESS_SECONDS:
                    told = time.monotonic()
                    tell(stream.generation.completion_tokens)
            return stream.generation.text

    def close(self) -> None:
        """Close what was opened."""
        with self._lock:
            self._opened.close()

    def _answering(self) -> Model:
        with self._lock:
            return self._model

    def _searched(self) -> tuple[list[Source], Ranker]:
        with self._lock:
            return self._sources, self._ranker

    @cached_property
    def _model(self) -> Model:
        from pocketlm.api import load

        return self._opened.enter_context(load(self._path, **self._load))

    @cached_property
    def _ranker(self) -> Ranker:
        from pocketlm.assistant.index.ranking import Ranker

        return Ranker.installed()

    @cached_property
    def _sources(self) -> list[Source]:
        from pocketlm.assistant.sources import LOCAL, open_sources

        return self._opened.enter_context(open_sources(LOCAL, self._home, self._ranker))


def make_server(assistant: Assistant) -> MCPServer[None]:
    """A server with the tools `search`, `ask` and `chat`."""
    server: MCPServer[None] = MCPServer(
        "pocketlm",
        version=version("pocketlm"),
        instructions="A small language model on this machine, and search over its owner's texts.",
        log_level="ERROR",
    )
    turns = _Turns()

    @server.tool(annotations=_READING)
    async def search(
        query: Annotated[_Text, Field(description="What to look for, in words.")],
        count: Annotated[
            int, Field(ge=1, le=MOST_PASSAGES, description="How many passages, at most.")
        ] = 5,
    ) -> list[Passage]:
        """Find passages in the texts that the owner of this machine has indexed, the best first."""
        return await turns.take(lambda: assistant.search(query, count))

    @server.tool(annotations=_READING)
    async def ask(
        context: Context,
        question: Annotated[_Text, Field(description="One question, as a sentence.")],
    ) -> dict[str, Any]:
        """Answer a question from the texts that the owner of this machine has indexed.

        The answer comes with the passages that it rests on; "found" is false where none holds it.
        """
        steps = itertools.count(1)

        def tell(step: str) -> None:
            from_thread.run(context.report_progress, next(steps), None, step)

        return await turns.take(lambda: assistant.ask(question, tell))

    @server.tool(annotations=_READING, structured_output=False)
    async def chat(
        context: Context,
        prompt: Annotated[_Text, Field(description="What the model is told.")],
        max_tokens: Annotated[
            int, Field(ge=1, le=MOST_TOKENS, description="The answer ends after so many tokens.")
        ] = 512,
    ) -> str:
        """Ask a small language model that runs on this machine. It remembers nothing."""
        leaving = threading.Event()

        def tell(tokens: int) -> None:
            from_thread.run(context.report_progress, tokens, max_tokens)

        def work() -> str:
            return assistant.chat(prompt, max_tokens, leaving, tell)

        try:
            return await turns.take(work, leave=True)
        finally:
            leaving.set()

    return server


class _Turns:
    """Lets only so much work be done at once, in threads, and so much more wait."""

    def __init__(self) -> None:
        self._places = CapacityLimiter(PARALLEL)

    async def take(self, work: Callable[[], _Result], *, leave: bool = False) -> _Result:
        """What comes of `work`; with `leave` it is not waited for when the client has gone.

        A client hears an Error's words, and of other faults only that there was one.
        """
        if self._places.statistics().tasks_waiting >= MOST_WAITING:
            raise ToolError("too many requests wait; try again later")
        try:
            return await to_thread.run_sync(work, limiter=self._places, abandon_on_cancel=leave)
        except Error as error:
            raise ToolError(str(error)) from None


def serve_stdio(server: MCPServer[None]) -> None:
    """Speak with the program that started us, until it closes our input.

    Standard output carries the protocol alone: what else is printed goes to standard error.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # A thread waits for input, and nothing but its end would end that thread.
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    anyio.run(server.run_stdio_async)
