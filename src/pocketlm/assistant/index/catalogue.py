"""What is indexed: sources, their files, what these hold, and the passages of that, in SQLite.

Knows the database alone: no file is opened here, and nothing is ranked. Files with the same content
share its passages. The catalogue is what counts; the text index follows it: each content says
whether it is searchable yet, and contents that are gone are noted until the text index has let go
of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from pocketlm.assistant.documents.split import Piece
from pocketlm.assistant.passage import Passage
from pocketlm.database import Database, Kind, run_script
from pocketlm.errors import SearchError

_VERSION = 1

# Numbers are never given twice: the text index may still have a passage that is gone here.
_TABLES = """
CREATE TABLE sources (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    complete INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE contents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    digest BLOB NOT NULL UNIQUE,
    searchable INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX contents_waiting ON contents (id) WHERE NOT searchable;
CREATE TABLE files (
    path TEXT PRIMARY KEY,
    source INTEGER NOT NULL REFERENCES sources (id),
    size INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    content INTEGER REFERENCES contents (id),
    problem TEXT
);
CREATE INDEX files_source ON files (source);
CREATE INDEX files_content ON files (content);
CREATE TABLE passages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    content INTEGER NOT NULL REFERENCES contents (id),
    title TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX passages_content ON passages (content);
CREATE TABLE dropped (content INTEGER PRIMARY KEY);
"""


class Entry(NamedTuple):
    """A source in a list: a folder, a file or an encyclopedia ("folder", "file", "zim").

    It is not `complete` while files of it were not looked at. `problems` are files that could not
    be read.
    """

    path: str
    kind: str
    files: int
    passages: int
    problems: int
    complete: bool


class Known(NamedTuple):
    """A file as it was when it was looked at last; `problem` is empty for one without text."""

    size: int
    modified: int
    problem: str | None


class Waiting(NamedTuple):
    """A passage that the text index does not have yet."""

    id: int
    content: int
    title: str
    text: str


_KIND = Kind(
    "index",
    "remove the folder it is in, and add your documents again",
    _VERSION,
    lambda connection: run_script(connection, _TABLES),
    SearchError,
)


class Catalogue:
    """The database in a folder. Not for use by two threads at a time.

    Every method raises SearchError, in one line, for a database that is damaged, of a newer
    version, or held by another process for too long.
    """

    def __init__(self, path: Path) -> None:
        """Open the database at `path`, made if missing, readable by its owner alone."""
        self._database = Database(path, _KIND)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def transaction(self) -> AbstractContextManager[None]:
        """All changes within, or none."""
        return self._database.transaction()

    def sources(self) -> list[Entry]:
        """All sources, by their paths."""
        query = """
            SELECT s.path, s.kind, count(f.content),
                (SELECT count(*) FROM passages WHERE content IN
                    (SELECT content FROM files WHERE source = s.id)),
                count(nullif(f.problem, '')), s.complete
            FROM sources s LEFT JOIN files f ON f.source = s.id GROUP BY s.id ORDER BY s.path"""
        return [Entry._make((*row[:-1], bool(row[-1]))) for row in self._rows(query)]

    def add_source(self, path: str, kind: str) -> int:
        """The number of a source, made if it is new. It is then not complete."""
        with self._database.explained():
            self._database.execute(
                "INSERT INTO sources (path, kind) VALUES (?, ?)"
                " ON CONFLICT (path) DO UPDATE SET complete = 0",
                (path, kind),
            )
        return int(self._rows("SELECT id FROM sources WHERE path = ?", path)[0][0])

    def complete(self, source: int) -> None:
        """Say that all files of a source were looked at."""
        self._change("UPDATE sources SET complete = 1 WHERE id = ?", source)

    def merge(self, source: int, into: int) -> None:
        """Make the files of one source another's, and forget it."""
        self._change("UPDATE files SET source = ? WHERE source = ?", into, source)
        self._change("DELETE FROM sources WHERE id = ?", source)

    def remove_source(self, path: str) -> None:
        """Forget a source and its files."""
        self._change(
            "DELETE FROM files WHERE source IN (SELECT id FROM sources WHERE path = ?)", path
        )
        self._change("DELETE FROM sources WHERE path = ?", path)
        self._drop_unused()

    def files(self, source: int) -> dict[str, Known]:
        """The files of a source, by their paths."""
        query = "SELECT path, size, modified, problem FROM files WHERE source = ?"
        return {row[0]: Known(*row[1:]) for row in self._rows(query, source)}

    def has_file(self, path: str) -> bool:
        """Whether a file was looked at."""
        return bool(self._rows("SELECT 1 FROM files WHERE path = ?", path))

    def problems(self) -> list[tuple[str, str]]:
        """The files that could not be read, and why."""
        query = "SELECT path, problem FROM files WHERE problem != '' ORDER BY path"
        return [(path, problem) for path, problem in self._rows(query)]

    def content(self, digest: bytes) -> int | None:
        """The number of a content that is known already."""
        rows = self._rows("SELECT id FROM contents WHERE digest = ?", digest)
        return int(rows[0][0]) if rows else None

    def add_content(self, digest: bytes, pieces: Sequence[Piece]) -> int:
        """Keep the passages of a content. Returns its number."""
        with self._database.explained():
            cursor = self._database.execute("INSERT INTO contents (digest) VALUES (?)", (digest,))
            content = int(cursor.lastrowid or 0)
            self._database.executemany(
                "INSERT INTO passages (content, title, text) VALUES (?, ?, ?)",
                [(content, piece.title, piece.text) for piece in pieces],
            )
        return content

    def put_file(self, source: int, path: str, known: Known, content: int | None) -> None:
        """Keep what a file was found to be."""
        self._change(
            "INSERT OR REPLACE INTO files (path, source, size, modified, content, problem)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            *(path, source, known.size, known.modified, content, known.problem),
        )

    def remove_files(self, paths: Sequence[str]) -> None:
        """Forget files, and what no other file holds."""
        with self._database.explained():
            self._database.executemany("DELETE FROM files WHERE path = ?", [(p,) for p in paths])
        self._drop_unused()

    def waiting(self) -> Iterator[Waiting]:
        """The passages that the text index does not have yet."""
        query = """
            SELECT p.id, p.content, p.title, p.text
            FROM contents c JOIN passages p ON p.content = c.id WHERE NOT c.searchable"""
        with self._database.explained():
            yield from map(Waiting._make, self._database.execute(query))  # they may be many

    def waiting_contents(self) -> list[int]:
        """Contents that the text index may have in part: to be taken out and added again."""
        return [row[0] for row in self._rows("SELECT id FROM contents WHERE NOT searchable")]

    def dropped(self) -> list[int]:
        """Contents that are gone, but not yet from the text index."""
        return [row[0] for row in self._rows("SELECT content FROM dropped")]

    def unsettle(self) -> None:
        """Say that the text index has nothing."""
        self._change("UPDATE contents SET searchable = 0 WHERE searchable")

    def settle(self) -> None:
        """Say that the text index has all contents, and none that is gone."""
        self._change("UPDATE contents SET searchable = 1 WHERE NOT searchable")
        self._change("DELETE FROM dropped")

    def passages(self, numbers: Sequence[int]) -> dict[int, Passage]:
        """Those passages that there are. Of files with the same content the first is named."""
        marks = ", ".join("?" * len(numbers))
        query = f"""
            SELECT p.id, (SELECT min(path) FROM files WHERE content = p.content), p.title, p.text
            FROM passages p WHERE p.id IN ({marks})"""
        rows = self._rows(query, *numbers)
        return {row[0]: Passage(*row[1:]) for row in rows if row[1] is not None}

    def _drop_unused(self) -> None:
        unused = "SELECT id FROM contents WHERE id NOT IN (SELECT content FROM files"
        unused += " WHERE content IS NOT NULL)"
        self._change(f"INSERT OR IGNORE INTO dropped {unused}")
        self._change("DELETE FROM passages WHERE content IN (SELECT content FROM dropped)")
        self._change("DELETE FROM contents WHERE id IN (SELECT content FROM dropped)")

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._database.explained():
            return self._database.execute(query, values).fetchall()

    def _change(self, statement: str, *values: object) -> None:
        with self._database.explained():
            self._database.execute(statement, values)
