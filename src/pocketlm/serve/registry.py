"""Which servers of this user run: each one keeps a file that says where it listens.

The file is locked as long as its server lives, however that ends.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    url: str
    pid: int


@contextmanager
def registered(home: Path, url: str) -> Iterator[None]:
    """Be listed as long as the block lasts. A folder that cannot be written only hides us."""
    folder = home / "servers"
    path = folder / f"{os.getpid()}.json"
    lock = FileLock(path.with_suffix(".lock"))
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock.acquire()
        path.write_text(json.dumps({"url": url, "pid": os.getpid()}))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()
        path.with_suffix(".lock").unlink(missing_ok=True)


def servers(home: Path) -> list[Server]:
    """All that run; files of those that do not are removed."""
    found = []
    for path in sorted((home / "servers").glob("*.json")):
        lock = FileLock(path.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            with suppress(OSError, ValueError, KeyError, TypeError):
                about = json.loads(path.read_text())
                found.append(Server(str(about["url"]), int(about["pid"])))
            continue
        path.unlink(missing_ok=True)
        lock.release()
        path.with_suffix(".lock").unlink(missing_ok=True)
    return found
