"""How much a server may ask of us: no more than it lets us answer.

Whatever a server asks for is refused by the SDK, which begins a task for each question. A server
that asks without end and reads no answer would fill memory with them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCError, JSONRPCRequest, JSONRPCResponse

from pocketlm.errors import Error

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams

#: Most questions of a server's that wait for their answers.
MOST_OWED = 64


@asynccontextmanager
async def bounded(
    transport: AbstractAsyncContextManager[TransportStreams],
) -> AsyncIterator[TransportStreams]:
    """What goes through `transport`. Raises Error where more than MOST_OWED answers are owed."""
    heard, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, told = anyio.create_memory_object_stream[SessionMessage](0)
    owed = 0
    async with transport as (read, write), heard, incoming, outgoing, told:

        async def hear() -> None:
            nonlocal owed
            async with heard:
                async for item in read:
                    if isinstance(item, SessionMessage):
                        owed += isinstance(item.message, JSONRPCRequest)
                    if owed > MOST_OWED:
                        raise Error("it asks for more than it lets us answer")
                    await heard.send(item)

        async def tell() -> None:
            nonlocal owed
            async for item in told:
                await write.send(item)
                owed -= isinstance(item.message, JSONRPCResponse | JSONRPCError)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hear)
            tasks.start_soon(tell)
            try:
                yield incoming, outgoing
            finally:
                tasks.cancel_scope.cancel()
