"""Sessions with MCP servers, for code that is not asynchronous.

The SDK speaks the protocol, on an event loop in a thread of its own. Here are the limits: each
start, question and answer has its time and its size, and whatever a server does ends in an answer
or in one pocketlm.Error. Knows neither approvals nor models.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from importlib.metadata import version
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
from anyio.abc import TaskStatus
from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client, ClientSession, MCPError
from mcp.types import (
    CONNECTION_CLOSED,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    Implementation,
    InputRequiredResult,
    PaginatedRequestParams,
    ResourceLink,
    TextContent,
    TextResourceContents,
    Tool,
)
from pydantic import TypeAdapter, ValidationError

from pocketlm.assistant.mcp.address import reached
from pocketlm.assistant.mcp.bounds import bounded
from pocketlm.assistant.mcp.pins import Offer
from pocketlm.assistant.mcp.process import running
from pocketlm.assistant.mcp.servers import Server
from pocketlm.assistant.visible import shortened, visible
from pocketlm.errors import Error, OfflineError

#: Longest times, in seconds. A first start may bring a package from far away.
START_SECONDS, LIST_SECONDS, CALL_SECONDS = 60.0, 20.0, 120.0
#: How much longer than for what the loop does we wait for the loop itself.
_MARGIN_SECONDS = 10.0
#: Most tools of a server, and most pages that their list comes in.
MOST_TOOLS, MOST_PAGES = 256, 32
#: Most characters that are taken of a result: a small model's window holds little more.
MOST_RESULT = 1 << 14
_MOST_REASON = 1 << 10

_RESULT: TypeAdapter[CallToolResult | InputRequiredResult] = TypeAdapter(
    CallToolResult | InputRequiredResult
)
_Answer = TypeVar("_Answer")

# What goes wrong is said once, by our errors, and not by the SDK on a person's terminal.
for _name in ("mcp", "client"):
    logging.getLogger(_name).addHandler(logging.NullHandler())


def event_loop() -> AbstractContextManager[BlockingPortal]:
    """An event loop for sessions, in a thread of its own, as long as the block lasts."""
    return start_blocking_portal()


class Session:
    """A connection with one server, as long as the block lasts.

    Whatever fails is an Error that names the server. Its methods may be called from several
    threads, though not from the event loop's.
    """

    def __init__(self, name: str, server: Server, portal: BlockingPortal) -> None:
        """Connect to nothing yet; `portal` leads to the event loop."""
        self.name = name
        self._server = server
        self._portal = portal

    def __enter__(self) -> Self:
        """Connect. Raises Error, or OfflineError where the network is forbidden."""
        from pocketlm.network import offline_by_environment

        if not self._server.is_here and offline_by_environment():
            raise OfflineError(
                f"the MCP server {self.name} is on the network, which --offline (POCKETLM_OFFLINE)"
                " forbids"
            )
        self._life: Future[None]
        self._session: ClientSession
        self._life, self._session = self._portal.start_task(self._live)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take leave. A server that fails only now is forgiven."""
        with suppress(Error):
            self._end()

    def offers(self) -> list[Offer]:
        """All tools, as the server describes them now."""
        return self._asked(self._list, LIST_SECONDS)

    def call(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """What a tool returns, as text: of MOST_RESULT characters of the server's, or fewer.

        Raises Error with the server's words where the tool fails.
        """
        try:
            json.dumps(arguments, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise self._error("the arguments hold half of a surrogate pair") from None

        async def ask() -> CallToolResult | InputRequiredResult:
            # Not by the SDK's `call_tool`: it checks a result by patterns that the server gave,
            # which can take for ever.
            params = CallToolRequestParams(name=tool, arguments=dict(arguments))
            return await self._session.send_request(CallToolRequest(params=params), _RESULT)

        result = self._asked(ask, CALL_SECONDS)
        if isinstance(result, InputRequiredResult):
            raise self._error(f"{tool} asks for more than arguments, which nobody gives")
        text = visible(shortened(_text(result), MOST_RESULT))
        if result.is_error:
            raise self._error(f"{tool} failed: {text or 'it does not say why'}")
        return text

    async def _live(self, *, task_status: TaskStatus[ClientSession]) -> None:
        """Hold the connection from its beginning to its end, as one task must."""
        self._leaving = anyio.Event()
        about = Implementation(name="pocketlm", version=version("pocketlm"))
        server = self._server
        streams = reached(server) if server.url else running(server.command, server.environment)
        try:
            with anyio.CancelScope(deadline=anyio.current_time() + START_SECONDS) as scope:
                async with Client(bounded(streams), client_info=about, cache=None) as client:
                    scope.deadline = math.inf
                    task_status.started(client.session)
                    await self._leaving.wait()
        except Exception as error:
            raise self._told(error) from None
        if scope.cancelled_caught:
            raise self._error(f"there was no answer within {START_SECONDS:.0f} seconds")

    async def _list(self) -> list[Offer]:
        found: list[Offer] = []
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await self._session.list_tools(params=PaginatedRequestParams(cursor=cursor))
            found.extend(map(_offer, page.tools))
            cursor = page.next_cursor
            if len(found) > MOST_TOOLS:
                raise Error(f"it offers more than {MOST_TOOLS} tools")
            if cursor is None:
                return found
        raise Error(f"its list of tools has more than {MOST_PAGES} pages")

    def _asked(self, ask: Callable[[], Awaitable[_Answer]], seconds: float) -> _Answer:
        """What comes of a question, within a time."""

        async def within() -> _Answer:
            with anyio.fail_after(seconds):
                return await ask()

        try:
            future = self._portal.start_task_soon(within)
        except RuntimeError:
            raise self._error("the session is over") from None
        try:
            return future.result(seconds + _MARGIN_SECONDS)
        except MCPError as error:
            if error.code == CONNECTION_CLOSED:
                self._end()  # which says why
            raise self._told(error) from None
        except TimeoutError:
            raise self._error(f"there was no answer within {seconds:.0f} seconds") from None
        except Exception as error:
            raise self._told(error) from None
        finally:
            future.cancel()  # on Ctrl-C it is still under way

    def _end(self) -> None:
        """Let the connection end. Raises the Error that it ended with before."""
        with suppress(RuntimeError):
            self._portal.call(self._leaving.set)
        with suppress(TimeoutError):
            self._life.result(_MARGIN_SECONDS)

    def _error(self, reason: str) -> Error:
        return Error(f"MCP server {self.name}: {reason}")

    def _told(self, error: Exception) -> Error:
        """What went wrong, for people and models."""
        match _cause(error):
            case OfflineError() as known:
                return known
            case Error() as known:
                return self._error(str(known))
            case MCPError() as refusal:
                return self._error(visible(shortened(refusal.message, _MOST_REASON)))
            case ValidationError() as unsound:
                first = unsound.errors(include_url=False, include_input=False)[0]
                where = ".".join(map(str, first["loc"]))
                reason = f"the answer is not what the protocol says: {where}: {first['msg']}"
                return self._error(visible(shortened(reason, _MOST_REASON)))
            case other:
                reason = f"{type(other).__name__}: {other}"
                return self._error(visible(shortened(reason, _MOST_REASON)))


def _cause(error: BaseException) -> BaseException:
    """The first thing that failed, our own words before others'."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    causes = [_cause(each) for each in error.exceptions]
    return next((each for each in causes if isinstance(each, Error)), causes[0])


def _offer(tool: Tool) -> Offer:
    claims = tool.annotations
    return Offer(
        name=tool.name,
        description=tool.description or "",
        parameters=tool.input_schema,
        claims=claims.model_dump(mode="json", by_alias=True, exclude_none=True) if claims else {},
    )


def _text(result: CallToolResult) -> str:
    """The texts of a result; what is no text is named. Data that only programs read, if alone."""
    if not result.content and result.structured_content is not None:
        try:
            return json.dumps(result.structured_content, ensure_ascii=False)
        except ValueError:  # a number of thousands of digits
            return "[data that cannot be written as JSON]"
    return "\n".join(map(_part, result.content))


def _part(block: ContentBlock) -> str:
    match block:
        case TextContent():
            return block.text
        case EmbeddedResource(resource=TextResourceContents() as inner):
            return f"[{inner.uri}]\n{inner.text}"
        case EmbeddedResource(resource=inner):
            return f"[data: {inner.uri}, {inner.mime_type or 'of no said type'}]"
        case ResourceLink():
            return f"[link: {block.uri}]"
    return f"[{block.type}: {block.mime_type}]"
