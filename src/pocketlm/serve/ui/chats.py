"""The chats in the history: listed, searched, shown, renamed, deleted, exported; and the models."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import Field
from starlette.datastructures import State
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import pocketlm
from pocketlm.chat.conversation import Conversation
from pocketlm.chat.history import Entry, History
from pocketlm.chat.prompt import Message
from pocketlm.engine.sampling import CHAT_SAMPLING
from pocketlm.errors import Error
from pocketlm.serve.assistant import Assistant
from pocketlm.serve.errors import ApiError
from pocketlm.serve.http import Body, Json, post, read
from pocketlm.serve.pool import Pool
from pocketlm.serve.task import Chat, Task, prompt_ids
from pocketlm.serve.ui.shown import shown, told

#: Chats in a list, unless more are asked for; and the most that may be.
_LISTED, _MOST_LISTED = 100, 10_000


class Title(Body):
    """A chat's new name."""

    title: Annotated[str, Field(min_length=1, max_length=200)]


async def list_chats(request: Request) -> Response:
    """The chats, newest first; with `query` those that hold all its words."""
    query = request.query_params.get("query", "").strip()
    said = request.query_params.get("limit", "")
    limit = min(int(said), _MOST_LISTED) if said.isascii() and said.isdigit() else _LISTED

    found: Sequence[Entry] = await request.app.state.keeper.do(
        lambda history: history.search(query[:1000], limit) if query else history.list(limit)
    )
    return Json({"chats": [asdict(entry) for entry in found]})


async def get_chat(request: Request) -> Response:
    """A chat: what was said in it, answers as HTML."""
    state = request.app.state
    entry, conversation = await _found(request)
    model = await served(state.pool, entry.model)
    messages = await asyncio.to_thread(shown, conversation.messages)
    return Json(
        {
            "id": entry.id,
            "title": entry.title,
            "revision": conversation.revision,
            "model": model,
            "system": conversation.system,
            "messages": messages,
            "context": await _context(state, model, conversation),
        }
    )


async def rename(request: Request) -> Response:
    """Give a chat a name."""
    body = await read(request, Title)
    entry, _ = await _found(request)
    title = " ".join(body.title.split())
    if not title:
        raise ApiError(400, "a title has letters", param="title")
    await request.app.state.keeper.do(lambda history: history.rename(entry.id, title))
    return Json({"title": title})


async def delete(request: Request) -> Response:
    """Forget a chat."""
    entry, _ = await _found(request)
    await request.app.state.keeper.do(lambda history: history.delete(entry.id))
    return Json({"deleted": entry.id})


async def export(request: Request) -> Response:
    """A chat as a file: `md` to be read, `json` for `pocketlm chat` and programs."""
    entry, conversation = await _found(request)
    match request.path_params["form"]:
        case "md":
            kind, text = "text/markdown", conversation.to_markdown(entry.title)
        case "json":
            kind, text = "application/json", conversation.to_json()
        case _:
            raise ApiError(404, "chats are exported as md and as json", code="not_found")
    return Response(text, media_type=kind, headers={"Content-Disposition": "attachment"})


async def models(request: Request) -> Response:
    """Models and presets that may be named, what holds where nothing is said, what is offered."""
    pool: Pool = request.app.state.pool
    assistant: Assistant = request.app.state.assistant
    contexts = {loaded.name: loaded.model.context for loaded in pool.loaded}
    known = await pool.known()
    found: list[dict[str, Any]] = [
        {"name": name, "preset": False, "context": contexts.get(pool.parent(name) or name)}
        for name in known
    ]
    for name in await pool.names():
        with suppress(ApiError):  # a damaged preset is no choice
            if (preset := await pool.preset(name)) is not None:
                about = {"system": preset.system, "sampling": dict(preset.sampling)}
                found.append({"name": name, "preset": True, "model": preset.model, **about})
    return Json(
        {
            "models": found,
            "default": pool.default,
            "sampling": dict(CHAT_SAMPLING),
            "search": [] if assistant.searcher is None else assistant.searcher.names,
            "tools": [skill.tool.name for skill in assistant.skills],
            "version": pocketlm.__version__,
        }
    )


def find(history: History, id: int) -> tuple[Entry, Conversation]:
    """A chat of the history. Raises ApiError 404."""
    entry = history.entry(id) if 0 < id < 2**63 else None
    if entry is None:
        raise ApiError(404, "this chat is not there any more", code="chat_not_found")
    return entry, history.load(id, fingerprint=None)


async def served(pool: Pool, kept: str) -> str | None:
    """What the server calls a model that the history knows by its name or path, if it has it."""
    known = await pool.known()
    if kept in known:
        return kept
    return next((name for name, path in known.items() if str(path) == kept), None)


async def used(state: State, model: str, messages: Sequence[Message]) -> dict[str, int] | None:
    """How much of its context messages take, if the model is loaded."""
    pool: Pool = state.pool
    if (pool.parent(model) or model) not in (loaded.name for loaded in pool.loaded):
        return None
    async with pool.lend(model) as loaded:
        task = Task(model, Chat(told(messages)), {})
        tokens = await asyncio.to_thread(prompt_ids, loaded.model, task)
        return {"used": len(tokens), "of": loaded.model.context}


async def _context(
    state: State, model: str | None, conversation: Conversation
) -> dict[str, int] | None:
    with suppress(ApiError, Error):
        if model is not None:
            return await used(state, model, conversation.prompt_messages())
    return None


async def _found(request: Request) -> tuple[Entry, Conversation]:
    id: int = request.path_params["id"]
    found: tuple[Entry, Conversation] = await request.app.state.keeper.do(
        lambda history: find(history, id)
    )
    return found


routes = [
    Route("/ui/chats", list_chats),
    Route("/ui/chats/{id:int}", get_chat, methods=["GET"]),
    post("/ui/chats/{id:int}", rename, Title),
    Route("/ui/chats/{id:int}", delete, methods=["DELETE"]),
    Route("/ui/chats/{id:int}/export.{form}", export),
    Route("/ui/models", models),
]
