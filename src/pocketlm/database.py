"""A private SQLite database: who may read it, how it is written, and its faults in one line.

Knows files and transactions. What its tables hold is its owner's.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketlm.errors import Error

#: How long another process that holds the database is waited for.
WAIT_SECONDS = 10.0


@dataclass(frozen=True)
class Kind:
    """What a database is: its name in messages, and what is advised where it is damaged.

    `create` makes the tables of `version` in an empty one. `error` is raised with messages.
    """

    name: str
    advice: str
    version: int
    create: Callable[[sqlite3.Connection], None]
    error: type[Error]


class Database:
    """One at a path, opened. Not for use by two threads at a time."""

    def __init__(self, path: Path, kind: Kind) -> None:
        """Open it, made if missing, readable by its owner alone. Raises the kind's error."""
        self.path = path
        self._kind = kind
        with self.explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._connection = sqlite3.connect(
                path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """See `sqlite3.Connection.execute`; within `explained`."""
        return self._connection.execute(statement, values)

    def executemany(self, statement: str, rows: Iterator[Any] | Sequence[Any]) -> sqlite3.Cursor:
        """See `sqlite3.Connection.executemany`; within `explained`."""
        return self._connection.executemany(statement, rows)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes within, or none."""
        with self.explained():
            self.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.execute("ROLLBACK")
            raise
        with self.explained():
            self.execute("COMMIT")

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Errors of SQLite and of the file system as the kind's, which say what to do."""
        kind, place = self._kind, f"the {self._kind.name} {self.path}"
        try:
            yield
        except sqlite3.OperationalError as error:
            busy = "locked" in str(error)
            reason = "another process holds it; try again" if busy else str(error)
            raise kind.error(f"{place} cannot be used: {reason}") from None
        except sqlite3.Error as error:
            raise kind.error(f"{place} is damaged ({error}); {kind.advice}") from None
        except OSError as error:
            raise kind.error(f"{place} cannot be opened: {error.strerror}") from None

    def _prepare(self) -> None:
        self._use_log()
        self.execute("PRAGMA synchronous = NORMAL")  # a killed process loses nothing
        if self._version() == self._kind.version:
            return
        with self.transaction():  # another process may have made it meanwhile
            found = self._version()
            if found == 0:
                self._kind.create(self._connection)
                self.execute(f"PRAGMA user_version = {self._kind.version}")
            elif found != self._kind.version:
                raise self._kind.error(
                    f"{self.path} is of version {found}, and this pocketlm reads"
                    f" {self._kind.version}; a newer pocketlm made it"
                )

    def _version(self) -> int:
        return int(self.execute("PRAGMA user_version").fetchone()[0])

    def _use_log(self) -> None:
        """Write ahead; SQLite does not wait of itself while another process does the same."""
        for _ in range(100):
            try:
                self.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
                time.sleep(WAIT_SECONDS / 100)
        raise sqlite3.OperationalError("locked")


def run_script(connection: sqlite3.Connection, script: str) -> None:
    """Run statements one by one: `executescript` would end the transaction."""
    statement = ""
    for line in script.strip().splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
