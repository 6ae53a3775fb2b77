"""The history of conversations, owned by one thread: a server's requests take turns at it.

It knows the database's file. It does not know what is done with it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from pocketlm.chat.history import History

_Result = TypeVar("_Result")


class Keeper:
    """Does with the history what it is given, one thing after another."""

    def __init__(self, path: Path) -> None:
        """Open nothing yet: who does not use the page has no history made."""
        self._path = path
        self._history: History | None = None
        self._file: tuple[int, int] | None = None
        self._thread = ThreadPoolExecutor(1, "history")

    async def do(self, work: Callable[[History], _Result]) -> _Result:
        """The result of `work`, which is done even if nobody waits for it any more.

        Raises HistoryError.
        """
        done = asyncio.wrap_future(self.begin(work))
        done.add_done_callback(lambda future: future.cancelled() or future.exception())
        return await asyncio.shield(done)

    def begin(self, work: Callable[[History], _Result]) -> Future[_Result]:
        """Have `work` done, after all that was begun before."""
        return self._thread.submit(lambda: work(self._opened()))

    def close(self) -> None:
        """Do what was begun, and close the history."""
        self._thread.submit(self._close)
        self._thread.shutdown()

    def _opened(self) -> History:
        """The history; opened anew where its file was moved away or replaced."""
        if self._history is not None and self._file != _identity(self._path):
            self._close()
        if self._history is None:
            self._history = History(self._path)
            self._file = _identity(self._path)
        return self._history

    def _close(self) -> None:
        if self._history is not None:
            self._history.close()
            self._history = None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        about = os.stat(path)
    except OSError:
        return None
    return about.st_dev, about.st_ino
