"""Reading requests and writing responses: JSON in, JSON or server-sent events out.

It knows HTTP and its limits. It does not know models, nor any dialect's fields.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing, suppress
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from pocketlm.serve.errors import ApiError, as_api_error

#: How long the body of a request may take to arrive, in seconds.
BODY_SECONDS = 30.0
#: Most values of a body, counted by what comes before each: more than a prompt of any model has
#: words, and few enough to be read in a moment.
MOST_VALUES = 300_000

_Result = TypeVar("_Result")


class Body(BaseModel):
    """A request's body. Fields that are not known are left aside, as other servers do."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


_Item = TypeVar("_Item")
#: A list in a body. The first item that is wrong ends its reading: there could be millions.
Many = Annotated[list[_Item], Field(max_length=4096, fail_fast=True)]
#: Token ids: more than any context holds, and few enough to be read in a moment.
Ids = Annotated[list[int], Field(max_length=1 << 20, fail_fast=True)]

_Body = TypeVar("_Body", bound=Body)
_Endpoint = Callable[[Request], Awaitable[Response]]
_BODIES: dict[object, type[Body]] = {}


def post(path: str, endpoint: _Endpoint, kind: type[Body]) -> Route:
    """A route that takes a body of that kind, which the API's description tells of."""
    _BODIES[endpoint] = kind
    return Route(path, endpoint, methods=["POST"])


def body_of(endpoint: object) -> type[Body] | None:
    """What kind of body an endpoint takes."""
    return _BODIES.get(endpoint)


async def read(request: Request, kind: type[_Body]) -> _Body:
    """The body, as `kind`. Raises ApiError 400 for what it is not, naming the field."""
    limit: int = request.app.state.settings.body
    data = await read_bytes(request, limit)
    if sum(map(data.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise ApiError(413, f"the body has more than {MOST_VALUES:,} values", code="too_large")
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise _unreadable(error) from None


async def read_bytes(request: Request, limit: int) -> bytes:
    """The body as it is. Raises ApiError: 413 when it is too long, 408 when it does not come."""
    chunks = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                chunks += chunk
                if len(chunks) > limit:
                    raise ApiError(413, f"the body has more than {limit:,} bytes", code="too_large")
    except TimeoutError:
        raise ApiError(408, "the body did not arrive in time", code="timeout") from None
    return bytes(chunks)


def _unreadable(error: ValidationError) -> ApiError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    message = f"{where}: {first['msg']}" if where else f"the body is unsound: {first['msg']}"
    return ApiError(400, message[:500], code="invalid_value", param=where or None)


def compact(content: object) -> str:
    """JSON on one line."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


class Json(Response):
    """A response of one JSON value."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """As bytes."""
        return compact(content).encode()


async def while_connected(request: Request, work: Coroutine[Any, Any, _Result]) -> _Result:
    """The result of `work`; raises ClientDisconnect, and ends the work, when the client goes."""
    return await _until_gone(request.receive, work)


async def _until_gone(receive: Receive, work: Coroutine[Any, Any, _Result]) -> _Result:
    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(gone())
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        leaving.cancel()
        working.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await working


class Lines(Response):
    """A response that is written while it comes about; it ends when the client goes away.

    It starts with the first line: what goes wrong before is an error like any other. What goes
    wrong later becomes the last line, which `last` makes of it.
    """

    def __init__(
        self, lines: AsyncGenerator[str], media_type: str, last: Callable[[ApiError], str]
    ) -> None:
        """Take the lines, none of which is written yet."""
        self._lines = lines
        self._last = last
        self.status_code = 200
        self.background = None
        self.media_type = media_type
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write it all, or as much as the client wants to have."""
        with suppress(ClientDisconnect):
            await _until_gone(receive, self._write(send))

    async def _write(self, send: Send) -> None:
        async with aclosing(self._lines):
            line = await anext(self._lines)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            try:
                while True:
                    await send(_part(line))
                    line = await anext(self._lines)
            except StopAsyncIteration:
                pass
            except Exception as error:
                await send(_part(self._last(as_api_error(error))))
            await send(_part("", more=False))


def _part(text: str, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": text.encode(), "more_body": more}


def event(content: object, name: str | None = None) -> str:
    """A server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {content if isinstance(content, str) else compact(content)}\n\n"


def headers_of(error: ApiError) -> Mapping[str, str]:
    """The headers that an error calls for."""
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return headers | ({"WWW-Authenticate": "Bearer"} if error.status == 401 else {})
