"""Processes that end with the one that began them, however that one ends.

A build killed with -9 must leave no worker that goes on writing into files that the next build
writes anew.
"""

from __future__ import annotations

import os
import threading
import time

_watching: set[int] = set()
_registered = False


def end_with_parent() -> None:
    """End this process, by a thread of its own, soon after its parent has ended."""
    if os.getpid() in _watching:
        return
    _watching.add(os.getpid())
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def end_with_ancestors() -> None:
    """As `end_with_parent`, for this process and all that it forks from now on."""
    end_with_parent()
    let_children_end()


def let_children_end() -> None:
    """Let what this process forks from now on end with it."""
    global _registered
    if not _registered:
        _registered = True
        os.register_at_fork(after_in_child=end_with_parent)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)
