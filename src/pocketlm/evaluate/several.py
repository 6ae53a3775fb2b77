"""Pieces of work, several at once: what is finished is kept, whatever becomes of the others.

It knows threads and a stop. It does not know what the work is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, TypeVar

from pocketlm.progress import Progress

_Piece = TypeVar("_Piece")


class StoppedError(Exception):
    """Work that was under way when another piece failed, or somebody pressed Ctrl-C."""


def finish(
    pieces: Sequence[_Piece],
    work: Callable[[_Piece, threading.Event], dict[str, Any]],
    keep: Callable[[_Piece, dict[str, Any]], None],
    *,
    at_once: int,
    progress: Progress,
) -> None:
    """Do the work of all `pieces`; `keep` gets what each gave, here and in the order it is done.

    Raises what went wrong first. Then the event that `work` gets is set: it raises StoppedError
    soon, and what is finished by then is kept as well.
    """
    stop = threading.Event()

    def begun(piece: _Piece) -> dict[str, Any]:
        if stop.is_set():
            raise StoppedError
        return work(piece, stop)

    with ThreadPoolExecutor(at_once) as pool:
        under_way = {pool.submit(begun, piece): piece for piece in pieces}
        try:
            for future in as_completed(under_way):
                keep(under_way.pop(future), future.result())
                progress.advance()
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            for future, piece in under_way.items():
                if future.done() and not future.cancelled() and future.exception() is None:
                    keep(piece, future.result())
            raise
