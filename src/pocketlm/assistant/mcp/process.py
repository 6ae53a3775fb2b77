"""A server that is a program: started, heard line by line, and ended.

It knows processes and lines; what they say is the SDK's matter. The program is a stranger: what it
may write is bounded before it is read, and nothing of it is left when we are done.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio
from anyio.abc import ByteReceiveStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCRequest, jsonrpc_message_adapter

from pocketlm.assistant.visible import shortened, visible
from pocketlm.errors import Error

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams

#: Most bytes of a message, and of all that is written between two questions of ours.
MOST_LINE, MOST_ANSWER = 1 << 22, 1 << 24
#: Lines that are no messages: some programs greet, and none talks without end.
MOST_STRAY = 64
#: How long a program may take to end when its input is closed, and then when it is told to.
GRACE_SECONDS = 1.0
#: What every program gets of our environment; keys of ours are not in it.
_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TERM", "TMPDIR", "TZ")
_LAST_WORDS = 1 << 11


@asynccontextmanager
async def running(
    command: Sequence[str], environment: Mapping[str, str]
) -> AsyncIterator[TransportStreams]:
    """Run a server as long as the block lasts; what it says and what it is told.

    Raises Error when it cannot be started, when it ends by itself, and when it writes more than it
    may or what is no protocol.
    """
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    try:
        process = await anyio.open_process(
            command,
            env={**inherited, **environment},
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise Error(f"cannot start {visible(command[0])}: {error.strerror}") from None
    heard, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, told = anyio.create_memory_object_stream[SessionMessage](0)
    pipes = _Pipes(process)
    try:
        async with heard, incoming, outgoing, told, anyio.create_task_group() as tasks:
            tasks.start_soon(pipes.read, heard)
            tasks.start_soon(pipes.write, told)
            tasks.start_soon(pipes.read_errors)
            try:
                yield incoming, outgoing
            finally:
                tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)


class _Pipes:
    """What goes to and comes from a program."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._received = 0
        self._stray = 0
        self._last_words = b""

    async def read(self, heard: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
        """Pass on each line that is a message."""
        assert self._process.stdout is not None
        lines = BufferedByteReceiveStream(self._process.stdout)
        while True:
            try:
                line = await lines.receive_until(b"\n", MOST_LINE)
            except anyio.DelimiterNotFound:
                raise Error(f"it writes a message of more than {MOST_LINE:,} bytes") from None
            except (anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError):
                raise Error(await self._end_of_it()) from None
            self._received += len(line)
            if self._received > MOST_ANSWER:
                raise Error(f"it writes more than {MOST_ANSWER:,} bytes for one question")
            try:
                message = jsonrpc_message_adapter.validate_json(line, by_name=False)
            except ValueError:
                self._stray += 1
                if self._stray > MOST_STRAY:
                    begin = visible(shortened(line.decode(errors="replace"), 80))
                    raise Error(f"it writes what is no message: {begin}") from None
                continue
            await heard.send(SessionMessage(message))

    async def write(self, told: MemoryObjectReceiveStream[SessionMessage]) -> None:
        """Write each message on a line."""
        assert self._process.stdin is not None
        async for each in told:
            if isinstance(each.message, JSONRPCRequest):
                self._received = 0
            line = each.message.model_dump_json(by_alias=True, exclude_unset=True)
            with suppress(anyio.BrokenResourceError):  # it has ended: `read` tells of that
                await self._process.stdin.send(line.encode() + b"\n")

    async def read_errors(self) -> None:
        """Keep the end of what it writes for people."""
        assert self._process.stderr is not None
        async for piece in _pieces(self._process.stderr):
            self._last_words = (self._last_words + piece)[-_LAST_WORDS:]

    async def _end_of_it(self) -> str:
        """How it ended, and the last line that it wrote of that."""
        status = None
        with anyio.move_on_after(GRACE_SECONDS):
            while (status := self._process.returncode) is None:
                await anyio.sleep(0.01)
            await anyio.sleep(0.05)  # its last words may still be on their way
        how = "closed its output" if status is None else f"ended (exit status {status})"
        said = deque(filter(None, self._last_words.decode(errors="replace").split("\n")), 1)
        return f"it {how}: {visible(shortened(said[0], 300))}" if said else f"it {how}"


async def _pieces(stream: ByteReceiveStream) -> AsyncIterator[bytes]:
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        async for piece in stream:
            yield piece


async def _end(process: Process) -> None:
    """Close its input, then tell it to end, then end it, with all that it started."""
    assert process.stdin is not None
    with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        await process.stdin.aclose()
    if not await _ended(process):
        _signal(process, signal.SIGTERM)
        await _ended(process)
    _signal(process, signal.SIGKILL)
    await _ended(process)
    with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        await process.aclose()


async def _ended(process: Process) -> bool:
    # Not `process.wait()`, which also waits for whoever inherited its output.
    with anyio.move_on_after(GRACE_SECONDS):
        while process.returncode is None:
            await anyio.sleep(0.01)
    return process.returncode is not None


def _signal(process: Process, which: signal.Signals) -> None:
    """Send a signal to its group, which it leads: what it started is in it, too."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, which)
