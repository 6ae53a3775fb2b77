"""What was brought from the web, kept on disk for a while.

Knows the database: one file that several processes use at a time. Does not know what it keeps. It
holds what its owner asked and read, so it is readable by nobody else. It is a cache: what cannot be
read in it is brought again, and a damaged one is begun anew.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

#: Most bytes that are kept, of keys and packed values.
MAX_BYTES = 64 << 20

_VERSION = 1
_WAIT_SECONDS = 2.0
_TABLE = """
CREATE TABLE kept (
    key TEXT PRIMARY KEY,
    value BLOB NOT NULL,
    bytes INTEGER NOT NULL,
    since REAL NOT NULL
) WITHOUT ROWID
"""


class Cache:
    """Values by key, each with its age. Safe to use from several threads and processes."""

    def __init__(self, path: Path, most: int = MAX_BYTES) -> None:
        """Keep at most `most` bytes in the database at `path`, made when something is kept."""
        self.path = path
        self._most = most
        self._lock = threading.Lock()

    def get(self, key: str, seconds: float) -> str | None:
        """What is kept under `key`, if it is no older than `seconds`."""
        rows = self._run(
            lambda database: database.execute(
                "SELECT value FROM kept WHERE key = ? AND since BETWEEN ? AND ?",
                (key, time.time() - seconds, time.time()),
            ).fetchall()
        )
        try:
            return zlib.decompress(rows[0][0]).decode() if rows else None
        except (zlib.error, UnicodeDecodeError, TypeError):
            return None

    def put(self, key: str, value: str) -> None:
        """Keep `value`, and let go of the oldest that then is too much."""
        packed = zlib.compress(value.encode())
        size = len(packed) + len(key.encode())
        if size > self._most:
            return

        def keep(database: sqlite3.Connection) -> list[tuple[bytes]]:
            database.execute(
                "INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", (key, packed, size, time.time())
            )
            database.execute(
                "DELETE FROM kept WHERE key IN (SELECT key FROM (SELECT key, sum(bytes) OVER"
                " (ORDER BY since DESC, key) AS total FROM kept) WHERE total > ?)",
                (self._most,),
            )
            return []

        self._run(keep)

    def _run(self, work: Callable[[sqlite3.Connection], list[tuple[bytes]]]) -> list[tuple[bytes]]:
        """Do `work` in a transaction; nothing is found, or kept, where that cannot be done."""
        with self._lock:
            try:
                with self._opened() as database, database:
                    return work(database)
            except sqlite3.OperationalError:  # another process holds it, or the disk is full
                return []
            except sqlite3.DatabaseError:
                with contextlib.suppress(OSError):
                    _remove(self.path)
                return []
            except OSError:
                return []

    def _opened(self) -> contextlib.closing[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        database = sqlite3.connect(self.path, timeout=_WAIT_SECONDS)
        try:
            database.execute("PRAGMA secure_delete = ON")
            if not _is_made(database):
                with database:
                    database.execute("BEGIN IMMEDIATE")
                    if not _is_made(database):  # nor has another made it meanwhile
                        database.execute("DROP TABLE IF EXISTS kept")
                        database.execute(_TABLE)
                        database.execute(f"PRAGMA user_version = {_VERSION}")
        except BaseException:
            database.close()
            raise
        return contextlib.closing(database)


def _is_made(database: sqlite3.Connection) -> bool:
    found: int = database.execute("PRAGMA user_version").fetchone()[0]
    return found == _VERSION


def _remove(path: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
