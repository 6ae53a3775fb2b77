"""A server that is a URL: asked over HTTP, with bounds on what it may answer.

It knows HTTP; what the answers say is the SDK's matter, which also sees to it that no redirect
leads to another site.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx2
from mcp.client.streamable_http import streamable_http_client

from pocketlm.assistant.mcp.process import MOST_ANSWER
from pocketlm.assistant.mcp.servers import Server
from pocketlm.errors import Error

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams

#: Longest silences, in seconds: while connecting, and while an answer is awaited.
_CONNECT_SECONDS, _READ_SECONDS = 20.0, 300.0


@asynccontextmanager
async def reached(server: Server) -> AsyncIterator[TransportStreams]:
    """Ask a server as long as the block lasts; what it says and what it is told.

    Raises Error for an answer that is too large, and httpx2.HTTPError where there is none.
    """
    assert server.url is not None
    async with (
        httpx2.AsyncClient(
            # What is packed small could be of any size.
            headers={**server.headers, "Accept-Encoding": "identity"},
            timeout=httpx2.Timeout(_CONNECT_SECONDS, read=_READ_SECONDS),
            trust_env=not server.is_here,  # this machine is not asked through a proxy
            event_hooks={"response": [_bound]},
        ) as client,
        streamable_http_client(server.url, http_client=client) as streams,
    ):
        yield streams


async def _bound(response: httpx2.Response) -> None:
    """Let no more than MOST_ANSWER bytes of a response come in."""
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise Error("it answers in a packed form that it was not asked for")
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = _Bounded(response.stream)


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._stream:
            size += len(piece)
            if size > MOST_ANSWER:
                raise Error(f"it answers with more than {MOST_ANSWER:,} bytes")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()
