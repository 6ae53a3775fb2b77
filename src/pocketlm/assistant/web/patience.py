"""Waiting no longer than there is time, also for what knows no time-out of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_T = TypeVar("_T")


def soon(seconds: float) -> float:
    """The deadline (of `time.monotonic`) that many seconds from now."""
    return time.monotonic() + seconds


def left(deadline: float) -> float:
    """Seconds until a deadline. Raises TimeoutError when it has passed."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def by(deadline: float, function: Callable[[], _T]) -> _T:
    """What `function` returns or raises; TimeoutError when it takes longer.

    It then goes on in a thread of its own, which does not keep the program from ending.
    """
    outcome: Future[_T] = Future()

    def run() -> None:
        try:
            outcome.set_result(function())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome.result(left(deadline))
