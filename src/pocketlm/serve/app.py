"""The server, put together: guard, routes, errors, life and end.

Each dialect is a module that lists its routes and says how it writes an error.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pocketlm.errors import Error
from pocketlm.serve import about, anthropic, ollama, openai, ui
from pocketlm.serve.aside import Threads
from pocketlm.serve.assistant import Assistant
from pocketlm.serve.embedder import Embedder
from pocketlm.serve.errors import ApiError, as_api_error
from pocketlm.serve.guard import Guard
from pocketlm.serve.http import Json, headers_of
from pocketlm.serve.metrics import Counted, Metrics
from pocketlm.serve.pocket import routes as pocket
from pocketlm.serve.pool import Pool
from pocketlm.serve.settings import Settings
from pocketlm.serve.ui.keeper import Keeper

_log = logging.getLogger("pocketlm.serve")


def make_app(
    settings: Settings, pool: Pool | None = None, assistant: Assistant | None = None
) -> Starlette:
    """The server as an ASGI application, with what `assistant` offers.

    Raises Error where wordllama is missing.
    """

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        app.state.pool = pool or Pool(settings)
        app.state.keeper = Keeper(app.state.pool.home / "history.db")
        sweeping = asyncio.ensure_future(app.state.pool.sweep())
        warming = asyncio.ensure_future(_warm(app.state.pool, settings))
        yield
        for task in (sweeping, warming):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await asyncio.to_thread(app.state.assistant.threads.close)
        await app.state.pool.close()
        await asyncio.to_thread(app.state.keeper.close)

    app = Starlette(
        routes=[
            *about.routes,
            *openai.routes,
            *anthropic.routes,
            *ollama.routes,
            *ui.routes,
            *pocket.routes,
        ],
        middleware=[
            Middleware(Guard, settings=settings),
            Middleware(_Shield),
            Middleware(Counted),
        ],
        exception_handlers={
            ApiError: _error,
            Error: _error,
            HTTPException: _http_error,
            ClientDisconnect: _gone,
        },
        lifespan=life,
    )
    app.state.settings = settings
    app.state.embedder = Embedder() if settings.wordllama else None
    app.state.assistant = assistant or Assistant(Threads(settings.parallel, settings.queue))
    app.state.metrics = Metrics()
    app.state.answering = {}
    return app


class _Shield:
    """Answers what the guard refuses, and faults of ours: inside of what every response gets."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            try:
                await send(message)
            except Exception:  # the connection is broken, in whatever way
                raise ClientDisconnect from None

        try:
            if "refusal" in scope.get("state", {}):
                raise scope["state"]["refusal"]
            await self._app(scope, receive, noted)
        except ClientDisconnect:
            pass
        except Exception as error:
            if not isinstance(error, ApiError):
                _log.exception("a fault in %s %s", scope["method"], scope["path"])
            if not started:
                with suppress(ClientDisconnect):
                    await _response(scope["path"], as_api_error(error))(scope, receive, noted)


async def _warm(pool: Pool, settings: Settings) -> None:
    """Load what `serve` was told to serve, before anybody asks."""
    for name in (*settings.models, *settings.adapted):
        try:
            async with pool.lend(name):
                pass
        except ApiError as error:
            _log.error("%s", error)


def _response(path: str, error: ApiError) -> Response:
    dialect = openai.error
    if path.startswith("/v1/messages"):
        dialect = anthropic.error
    elif path.startswith("/api/"):
        dialect = ollama.error
    return Json(dialect(error), error.status, headers=dict(headers_of(error)))


async def _error(request: Request, error: Exception) -> Response:
    return _response(request.url.path, as_api_error(error))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: "there is no such path", 405: "this path does not take this method"}
    message = words.get(error.status_code, error.detail)
    return _response(request.url.path, ApiError(error.status_code, message, code="not_found"))


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)
