"""Answers in a chat: written while the page watches, kept while they grow.

A chat lies in the history; the page names it, and the revision that it shows. One that is not kept
(incognito, or the history could not be written) is the page's, which then sends what was said.
Events are `begin`, `progress`, `blocks` (HTML, from one block on), and `done` or `error`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.datastructures import State
from starlette.requests import Request
from starlette.responses import Response

from pocketlm.chat.conversation import Conversation, room
from pocketlm.chat.files import File, joined, parted
from pocketlm.chat.history import History
from pocketlm.chat.prompt import Message
from pocketlm.engine.answer import Generation
from pocketlm.engine.request import Progress
from pocketlm.engine.sampling import CHAT_SAMPLING
from pocketlm.errors import HistoryError
from pocketlm.serve import openai
from pocketlm.serve.errors import ApiError
from pocketlm.serve.http import Body, Json, Lines, Many, event, post, read
from pocketlm.serve.pool import Loaded, Pool
from pocketlm.serve.task import Chat, Task, Work, started
from pocketlm.serve.ui.chats import find, message
from pocketlm.serve.ui.keeper import Keeper
from pocketlm.serve.ui.markdown import Growing

#: Seconds between two events of an answer, and between two savings.
_TICK, _SAVE_EVERY = 0.1, 1.0

_Id = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]


class Attached(Body):
    """A text file that goes with a message."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    text: str


class Said(Body):
    """A message of a chat that is not kept."""

    role: Literal["user", "assistant"]
    content: str


class Sampling(Body):
    """How words are chosen; what is not said is as the preset or the server has it."""

    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**64)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None


class Ask(Body):
    """Something to answer.

    `at` is the position of the user's message that is answered again, as it was or (with `text`)
    as it is now; what came after it goes. Without `at`, `text` is said at the end.
    """

    #: Chosen by the page, to stop the answer by.
    answer: _Id
    #: A chat of the history, as the page shows it; or else all that was said before.
    chat: int | None = None
    revision: int | None = None
    messages: Many[Said] = Field(default_factory=list)
    keep: bool = True
    at: Annotated[int, Field(ge=0)] | None = None
    text: str | None = None
    files: Annotated[list[Attached], Field(max_length=100)] = Field(default_factory=list)
    model: str | None = None
    #: None leaves it to the preset, or to the chat.
    system: str | None = None
    sampling: Sampling = Field(default_factory=Sampling)


class Stop(Body):
    """Which answer is to end."""

    answer: _Id


async def create(request: Request) -> Response:
    """Answer, as server-sent events. What cannot even begin is an error like any other."""
    answering = _Answering(request.app.state, await read(request, Ask))
    return Lines(answering.events(), "text/event-stream", answering.failed)


async def stop(request: Request) -> Response:
    """End an answer: what there is of it stays. Its events end with `done`."""
    body = await read(request, Stop)
    answering: _Answering | None = request.app.state.answering.get(body.answer)
    if answering is not None:
        answering.stopping.set()
    return Json({"stopped": answering is not None})


class _Answering:
    """One answer that is being written.

    Its conversation is read before it begins; from then on the history's thread changes it alone.
    """

    def __init__(self, state: State, ask: Ask) -> None:
        self.stopping = asyncio.Event()
        self._state = state
        self._ask = ask
        self._keeper: Keeper = state.keeper
        self._chat = Conversation()
        self._before: list[Message] = []
        self._model = ""  # as the history knows it
        self._fingerprint = ""
        self._text = ""
        self._tokens: list[int] = []
        self._progress: Progress | None = None
        self._growing = Growing()
        self._saving: Future[None] | None = None
        self._saved = time.monotonic()
        self._warning: str | None = None

    def failed(self, error: ApiError) -> str:
        """What went wrong, as the last event."""
        return event({**openai.error(error), **self._place(), "content": self._text}, "error")

    async def events(self) -> AsyncGenerator[str]:
        """Everything that the page is told; as long as it lasts, the answer can be stopped."""
        answering: dict[str, _Answering] = self._state.answering
        answering[self._ask.answer] = self
        try:
            async with aclosing(self._answer()) as lines:
                async for line in lines:
                    yield line
        finally:
            answering.pop(self._ask.answer, None)

    async def _answer(self) -> AsyncGenerator[str]:
        """Answer. Nothing is changed before the answer begins."""
        pool: Pool = self._state.pool
        model, system, sampling = await self._chosen(pool)
        async with pool.lend(model) as loaded:
            self._model = await pool.lasting(model)
            self._fingerprint = loaded.model.tokenizer.fingerprint
            self._chat = await self._opened()
            self._before = list(self._chat.messages)
            if system is not None:
                self._chat.set_system(system)
            position = self._say()
            said = message(self._chat.messages[position], position)
            dropped = await asyncio.to_thread(self._fit, loaded, sampling.get("max_tokens"))
            task = Task(
                model=model,
                prompt=Chat(self._chat.prompt_messages()),
                sampling=sampling,
                private=not self._ask.keep,
            )
            async with started(self._state, task) as work:
                try:
                    await self._save()
                    yield event({**self._place(), "message": said, "dropped": dropped}, "begin")
                    async with aclosing(self._watch(work)) as news:
                        async for line in news:
                            yield line
                except Exception:
                    await self._save(self._settled(failed=True))
                    raise
                except BaseException:  # the page went away
                    if self._ask.keep:
                        self._keeper.begin(partial(self._write, change=self._settled()))
                    raise
                (generation,) = work.generations
            await self._save(self._settled(cut=generation.stopped_by is not None))
            yield event({**self._place(), **self._result(loaded, generation)}, "done")

    async def _chosen(self, pool: Pool) -> tuple[str, str | None, dict[str, Any]]:
        """The model's name, the system prompt if one was given, and the sampling."""
        ask = self._ask
        preset = await pool.preset(ask.model)
        name, _ = await pool.find(ask.model if preset is None else preset.model)
        system, sampling = ask.system, {}
        if preset is not None:
            system = preset.system if system is None else system
            sampling = dict(preset.sampling)
        if "temperature" not in sampling:
            sampling = {**CHAT_SAMPLING, **sampling}
        return name, system, {**sampling, **ask.sampling.model_dump(exclude_none=True)}

    async def _opened(self) -> Conversation:
        """The chat as the page shows it. Raises ApiError where it is another by now."""
        ask = self._ask
        if ask.chat is None:
            return Conversation(
                messages=[{"role": said.role, "content": said.content} for said in ask.messages]
            )
        id = ask.chat

        def load(history: History) -> Conversation:
            find(history, id)
            return history.load(id, fingerprint=self._fingerprint)

        chat = await self._keeper.do(load)
        if chat.revision != ask.revision:
            raise ApiError(409, "this chat went on elsewhere meanwhile", code="chat_changed")
        return chat

    def _say(self) -> int:
        """Put what is to be answered at the end of the chat; its position."""
        ask, messages = self._ask, self._chat.messages
        text, files = ask.text, [File(each.name, each.text) for each in ask.files]
        at = ask.at
        if at is None and messages and messages[-1]["role"] == "user":
            # One that got no answer: what is said now goes with it, so that turns alternate.
            at = len(messages) - 1
            text = f"{parted(str(messages[at]['content']))[0]}\n\n{text or ''}".strip("\n")
        if at is not None:
            if at >= len(messages) or messages[at]["role"] != "user":
                raise ApiError(400, "at is no position of a message of yours", param="at")
            said, before = parted(str(messages[at]["content"]))
            text, files = said if text is None else text, [*before, *files]
            del messages[at:]
        content = joined(text or "", files)
        if not content.strip():
            raise ApiError(400, "there is nothing to answer: the message is empty", param="text")
        self._chat.add_user(content)
        return len(messages) - 1

    def _fit(self, loaded: Loaded, max_tokens: int | None) -> int:
        """Leave out as many of the oldest turns as it takes; how many. Raises ContextError."""
        context = loaded.model.context
        window = context - room(context, max_tokens)
        return self._chat.fit(window, loaded.model.prompt_tokens).dropped

    async def _watch(self, work: Work) -> AsyncGenerator[str]:
        """What comes of the answer, until it is over or stopped. Raises what made it fail."""
        reading = asyncio.ensure_future(self._read(work))
        stopping = asyncio.ensure_future(self.stopping.wait())
        waited: list[asyncio.Future[Any]] = [reading, stopping]
        told: object = None
        over = False
        try:
            while not over:
                done, _ = await asyncio.wait(
                    waited, timeout=_TICK, return_when=asyncio.FIRST_COMPLETED
                )
                over = bool(done)
                news = self._text or self._progress
                if news != told or over:
                    told = news
                    yield await self._news(work, over=over)
                self._save_now_and_then()
            if reading.done():
                reading.result()
        finally:
            reading.cancel()
            stopping.cancel()
            await asyncio.gather(reading, stopping, return_exceptions=True)

    async def _read(self, work: Work) -> None:
        async for bit in work:
            self._progress = bit.progress or self._progress
            if bit.token is not None:
                self._tokens.append(bit.token.id)
            self._text += bit.text

    async def _news(self, work: Work, *, over: bool) -> str:
        """The blocks that changed, or how much of the prompt is read."""
        if not self._text and not over and self._progress is not None:
            return event({"done": self._progress.done, "total": self._progress.total}, "progress")
        first, blocks = await asyncio.to_thread(self._growing.update, self._text, over=over)
        (generation,) = work.generations
        rate = _rate(generation)
        return event({"from": first, "blocks": blocks, "rate": rate}, "blocks")

    def _settled(self, *, failed: bool = False, cut: bool = False) -> Callable[[], None]:
        """What becomes of the chat by what there is of the answer, for the history's thread.

        With `cut`, ids say more than the text. Without any answer a message stays, to be answered
        later; but where it was answered before, or failed, all is as it was.
        """
        text, tokens = self._text, list(self._tokens)

        def settle() -> None:
            if tokens:
                self._chat.update_assistant(text, None if cut else tokens)
            elif failed or self._ask.at is not None:
                self._chat.messages = list(self._before)

        return settle

    def _save_now_and_then(self) -> None:
        """Keep what there is, unless the last saving is still under way."""
        now = time.monotonic()
        busy = self._saving is not None and not self._saving.done()
        wanted = self._ask.keep and self._warning is None and self._tokens
        if wanted and not busy and now - self._saved > _SAVE_EVERY:
            self._saved = now
            self._saving = self._keeper.begin(partial(self._write, change=self._settled()))

    async def _save(self, change: Callable[[], None] | None = None) -> None:
        """Save the chat, changed so. What hinders that is a warning: the answer goes on."""
        if not self._ask.keep:
            return
        try:
            await self._keeper.do(partial(self._write, change=change))
            self._warning = None
        except HistoryError as error:
            self._warning = str(error)

    def _write(self, history: History, *, change: Callable[[], None] | None) -> None:
        chat = self._chat
        if change is not None:
            change()
        if not chat.messages and chat.id is not None:
            history.delete(chat.id)
            chat.reset()
        history.save(chat, model=self._model, fingerprint=self._fingerprint)

    def _place(self) -> dict[str, Any]:
        """Where the chat is found again."""
        kept = self._ask.keep and self._warning is None
        return {
            "chat": self._chat.id if kept else None,
            "revision": self._chat.revision,
            "warning": self._warning,
        }

    def _result(self, loaded: Loaded, generation: Generation) -> dict[str, Any]:
        stopped = self.stopping.is_set() and generation.finish_reason is None
        return {
            "content": self._text,
            "answered": bool(self._tokens),
            "finish": "stopped" if stopped else generation.finish_reason,
            "tokens": generation.completion_tokens,
            "rate": _rate(generation),
            "first_s": generation.timings.first_token_s,
            "context": {
                "used": generation.prompt_tokens + generation.completion_tokens,
                "of": loaded.model.context,
            },
        }


def _rate(generation: Generation) -> float | None:
    """Tokens a second, once there is something to measure."""
    tokens, seconds = generation.completion_tokens - 1, generation.timings.generation_s
    return tokens / seconds if tokens > 0 and seconds > 0 else None


routes = [post("/ui/answer", create, Ask), post("/ui/stop", stop, Stop)]
