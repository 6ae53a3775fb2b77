"""Work beside the event loop: in threads, telling what it does, and ended when nobody listens.

It knows threads and loops. It does not know what is done.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from pocketlm.serve.errors import OverloadedError

_News = TypeVar("_News")
_Result = TypeVar("_Result")
#: Hears what is done; raises what ends the work where it is to end.
Tell = Callable[[_News], None]


class StoppedError(Exception):
    """Raised in a thread whose work nobody waits for any more."""


class Aside(Generic[_News, _Result]):
    """One work. An asynchronous iterator of its news; then it has a `result`."""

    def __init__(self, threads: Threads, work: Callable[[Tell[_News]], _Result]) -> None:
        """Begin. See `Threads.aside`."""
        self._loop = asyncio.get_running_loop()
        self._news: asyncio.Queue[list[_News]] = asyncio.Queue()
        self._threads = threads
        self._stopped = threading.Event()
        self._future = threads.pool.submit(work, self._tell)
        self._done = asyncio.wrap_future(self._future)
        self._done.add_done_callback(lambda _: self._news.put_nowait([]))

    @property
    def result(self) -> _Result:
        """What came of the work. Raises what made it fail."""
        return self._future.result()

    async def __aiter__(self) -> AsyncIterator[_News]:
        """What it tells, to its end. Raises what made it fail."""
        while news := await self._news.get():
            for each in news:
                yield each
        if self._done.cancelled():  # before its turn came
            raise _ended()
        self._done.result()

    def stop(self) -> None:
        """End it the next time it tells something."""
        self._stopped.set()
        self._future.cancel()

    async def end(self) -> None:
        """Stop it and wait for its end, whatever else is ended: it may hold what others free."""
        self.stop()
        cancelled: asyncio.CancelledError | None = None
        while not self._done.done():
            try:
                await asyncio.wait([self._done])
            except asyncio.CancelledError as error:
                cancelled = error
        if not self._done.cancelled():
            self._done.exception()  # which somebody was told, or nobody waits for
        if cancelled is not None:
            raise cancelled

    def _tell(self, news: _News) -> None:
        if self._stopped.is_set():
            raise StoppedError
        if self._threads.halted:
            raise _ended()
        self._loop.call_soon_threadsafe(self._news.put_nowait, [news])


class Threads:
    """So many works at the same time; so many more wait their turn."""

    def __init__(self, count: int, queue: int) -> None:
        """Start nothing yet."""
        self.pool = ThreadPoolExecutor(count, "aside")
        self.halted = False
        self._most = count + queue
        self._begun = 0

    @asynccontextmanager
    async def aside(
        self, work: Callable[[Tell[_News]], _Result]
    ) -> AsyncIterator[Aside[_News, _Result]]:
        """Do `work`; leaving the block ends it.

        It is given what hears its news, from its own thread. Raises OverloadedError where too many
        wait.
        """
        if self.halted:
            raise _ended()
        if self._begun >= self._most:
            raise OverloadedError(f"{self._begun} answers wait already; try again soon")
        self._begun += 1
        try:
            begun = Aside(self, work)
            try:
                yield begun
            finally:
                await begun.end()
        finally:
            self._begun -= 1

    def halt(self) -> None:
        """End all with an error, the next time that they tell something."""
        self.halted = True

    def close(self) -> None:
        """End all, and wait until they are."""
        self.halt()
        self.pool.shutdown(cancel_futures=True)


def _ended() -> OverloadedError:
    return OverloadedError("the server is shutting down", status=503)
