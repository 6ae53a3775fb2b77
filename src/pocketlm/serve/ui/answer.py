"""Answers in a chat: written while the page watches, kept while they grow.

A chat lies in the history; the page names it, and the revision that it shows. One that is not kept
(incognito, or the history could not be written) is the page's, which then sends what was said.
Events are `begin`, `progress` (how much of the prompt is read, or words for what is done), `calls`
(of tools), `blocks` (HTML, from one block on), and `done` or `error`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.datastructures import State
from starlette.requests import Request
from starlette.responses import Response

from pocketlm.assistant.deciding import question_of
from pocketlm.assistant.routing import propose
from pocketlm.assistant.tools.skill import Skill
from pocketlm.chat.conversation import Conversation, room
from pocketlm.chat.files import File, joined, parted
from pocketlm.chat.history import History
from pocketlm.chat.prompt import Message
from pocketlm.chat.tools import Toolbox
from pocketlm.engine.answer import Generation
from pocketlm.engine.request import Progress
from pocketlm.engine.sampling import CHAT_SAMPLING
from pocketlm.errors import HistoryError
from pocketlm.serve import openai
from pocketlm.serve.assistant import Assistant
from pocketlm.serve.errors import ApiError
from pocketlm.serve.http import Body, Json, Lines, Many, event, post, read
from pocketlm.serve.pool import Loaded, Pool
from pocketlm.serve.task import Chat, Task, lent, prompt_ids, started
from pocketlm.serve.turns import turned
from pocketlm.serve.ui.chats import find
from pocketlm.serve.ui.keeper import Keeper
from pocketlm.serve.ui.markdown import Growing
from pocketlm.serve.ui.shown import Sources, groups, shown, told
from pocketlm.serve.ui.writing import Alone, Called, Sourced, Writing

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
    sources: Sources | None = None

    def message(self) -> Message:
        """The same as a conversation has it."""
        said: Message = {"role": self.role, "content": self.content}
        if self.sources is not None:
            said["sources"] = self.sources.model_dump()  # type: ignore[typeddict-unknown-key]
        return said


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

    `at` is the place on the page of the user's message that is answered again, as it was or (with
    `text`) as it is now; what came after it goes. Without `at`, `text` is said at the end.
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
    #: Whether questions are looked up, and tools called, where the server does that.
    search: bool = False
    tools: bool = False


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
        self._begin = 0  # where the answer stands among the messages
        self._writing: Writing | None = None
        self._growing = Growing()
        self._saving: Future[None] | None = None
        self._saved = time.monotonic()
        self._warning: str | None = None

    def failed(self, error: ApiError) -> str:
        """What went wrong, as the last event."""
        content = "" if self._writing is None else self._writing.content
        return event({**openai.error(error), **self._place(), "content": content}, "error")

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
            self._say()
            self._begin = len(self._chat.messages)
            said = shown(self._chat.messages)[-1]
            question, skills = self._way()
            tools = Toolbox([skill.tool for skill in skills]) if skills else None
            task = Task(model, Chat([]), sampling, tools=tools, private=not self._ask.keep)
            dropped = await asyncio.to_thread(self._fit, loaded, task)
            task = replace(task, prompt=Chat(told(self._chat.prompt_messages())))
            async with self._begun(task, question, skills) as writing:
                self._writing = writing
                try:
                    await self._save()
                    yield event({**self._place(), "message": said, "dropped": dropped}, "begin")
                    async with aclosing(self._watch(writing)) as news:
                        async for line in news:
                            yield line
                except Exception:
                    await self._save(self._settled(failed=True))
                    raise
                except BaseException:  # the page went away
                    if self._ask.keep:
                        self._keeper.begin(partial(self._write, change=self._settled()))
                    raise
                # What a thread does may take a while to end: the page is told before.
                writing.stop()
                await self._save(self._settled())
                result = await asyncio.to_thread(self._result, loaded, writing, task)
                yield event({**self._place(), **result}, "done")

    def _way(self) -> tuple[str | None, Sequence[Skill]]:
        """The question that is looked up, or the tools that may be called."""
        assistant: Assistant = self._state.assistant
        said = [parted(str(m["content"])) for m in self._chat.messages if m["role"] == "user"]
        text, files = said[-1]
        skills = assistant.skills if self._ask.tools else []
        plain = propose(text, [skill.tool.name for skill in skills])
        if self._ask.search and assistant.searcher is not None and plain is None and not files:
            question = question_of([text for text, _ in said])
            if question is not None:
                return question, []
        return None, skills

    @asynccontextmanager
    async def _begun(
        self, task: Task, question: str | None, skills: Sequence[Skill]
    ) -> AsyncIterator[Writing]:
        """The answer, in the way that was chosen; leaving the block ends it."""
        state = self._state
        if question is not None:
            find = partial(state.assistant.searcher.find, private=task.private)
            async with lent(state, task.model) as loaded:
                found = partial(find, loaded.model, question)
                async with state.assistant.threads.aside(found) as aside:
                    yield Sourced(aside)
        elif skills:
            async with turned(state, task, skills) as answer:
                yield Called(answer)
        else:
            async with started(state, task) as work:
                yield Alone(work)

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
            return Conversation(messages=[said.message() for said in ask.messages])
        id = ask.chat

        def load(history: History) -> Conversation:
            find(history, id)
            return history.load(id, fingerprint=self._fingerprint)

        chat = await self._keeper.do(load)
        if chat.revision != ask.revision:
            raise ApiError(409, "this chat went on elsewhere meanwhile", code="chat_changed")
        return chat

    def _say(self) -> None:
        """Put what is to be answered at the end of the chat."""
        ask, messages = self._ask, self._chat.messages
        text, files = ask.text, [File(each.name, each.text) for each in ask.files]
        at = None
        if ask.at is not None:
            at = sum(map(len, groups(messages)[: ask.at]))
        elif messages and messages[-1]["role"] == "user":
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

    def _fit(self, loaded: Loaded, task: Task) -> int:
        """Leave out as many of the oldest turns as it takes; how many. Raises ContextError."""
        context = loaded.model.context
        window = context - room(context, task.sampling.get("max_tokens"))
        return self._chat.fit(window, partial(_ids, loaded, task)).dropped

    async def _watch(self, writing: Writing) -> AsyncGenerator[str]:
        """What comes of the answer, until it is over or stopped. Raises what made it fail."""
        reading = asyncio.ensure_future(writing.run())
        stopping = asyncio.ensure_future(self.stopping.wait())
        waited: list[asyncio.Future[Any]] = [reading, stopping]
        before: dict[str, object] = {}
        over = False
        try:
            while not over:
                done, _ = await asyncio.wait(
                    waited, timeout=_TICK, return_when=asyncio.FIRST_COMPLETED
                )
                over = bool(done)
                if over:  # what is kept is what was shown
                    reading.cancel()
                    await asyncio.wait([reading])
                now: dict[str, object] = {"calls": writing.calls, "blocks": writing.text}
                if not writing.text:
                    now["progress"] = writing.doing
                for name, news in now.items():
                    if (news and news != before.get(name)) or (over and name == "blocks"):
                        yield await self._news(writing, name, over=over)
                before = now
                self._save_now_and_then()
            if not reading.cancelled():
                reading.result()
        finally:
            reading.cancel()
            stopping.cancel()
            await asyncio.gather(reading, stopping, return_exceptions=True)

    async def _news(self, writing: Writing, name: str, *, over: bool) -> str:
        """What is new of an answer: calls, blocks that changed, what is done before there are."""
        match name, writing.doing:
            case "calls", _:
                return event({"calls": writing.calls}, name)
            case "progress", Progress(done, total):
                return event({"done": done, "total": total}, name)
            case "progress", words:
                return event({"words": words}, name)
        first, blocks = await asyncio.to_thread(self._growing.update, writing.text, over=over)
        return event({"from": first, "blocks": blocks, "rate": _rate(writing.generation)}, name)

    def _settled(self, *, failed: bool = False) -> Callable[[], None]:
        """What becomes of the chat by what there is of the answer, for the history's thread.

        Without any answer a message stays, to be answered later; but where it was answered before,
        or failed, all is as it was.
        """
        answer = [] if self._writing is None else list(self._writing.messages)

        def settle() -> None:
            if answer:
                self._chat.messages[self._begin :] = answer
            elif failed or self._ask.at is not None:
                self._chat.messages = list(self._before)

        return settle

    def _save_now_and_then(self) -> None:
        """Keep what there is, unless the last saving is still under way."""
        now = time.monotonic()
        busy = self._saving is not None and not self._saving.done()
        wanted = self._ask.keep and self._warning is None and not busy
        if wanted and now - self._saved > _SAVE_EVERY and self._writing and self._writing.messages:
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

    def _result(self, loaded: Loaded, writing: Writing, task: Task) -> dict[str, Any]:
        """What is known of an answer that is over."""
        made = writing.generation
        stopped = self.stopping.is_set() and writing.finish is None
        if made is None:
            used = len(_ids(loaded, task, self._chat.prompt_messages()))
        else:
            used = made.prompt_tokens + made.completion_tokens
        return {
            "content": writing.content,
            "answered": bool(writing.messages),
            "finish": "stopped" if stopped else writing.finish,
            "tokens": 0 if made is None else made.completion_tokens,
            "rate": _rate(made),
            "first_s": None if made is None else made.timings.first_token_s,
            "calls": writing.calls,
            "sources": writing.sources,
            "context": {"used": used, "of": loaded.model.context},
        }


def _ids(loaded: Loaded, task: Task, messages: Sequence[Message]) -> list[int]:
    """The token ids of the prompt that messages make."""
    return prompt_ids(loaded.model, replace(task, prompt=Chat(told(messages))))


def _rate(generation: Generation | None) -> float | None:
    """Tokens a second, once there is something to measure."""
    if generation is None:
        return None
    tokens, seconds = generation.completion_tokens - 1, generation.timings.generation_s
    return tokens / seconds if tokens > 0 and seconds > 0 else None


routes = [post("/ui/answer", create, Ask), post("/ui/stop", stop, Stop)]
