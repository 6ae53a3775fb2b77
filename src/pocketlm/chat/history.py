"""Conversations kept in a SQLite database, so that nothing said is lost.

Knows the database: one file that several processes use at a time (write-ahead log). Does not know
models: ids that a model generated are kept with the fingerprint of its tokenizer, and given back to
that tokenizer alone.
"""

import json
import re
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from weakref import WeakKeyDictionary

from pocketlm.chat.conversation import Conversation
from pocketlm.chat.prompt import ROLES, Message
from pocketlm.database import Database, Kind, run_script
from pocketlm.errors import HistoryError

_VERSION = 1

_TABLES = """
CREATE TABLE conversations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL,
    named INTEGER NOT NULL DEFAULT 0,
    model TEXT NOT NULL,
    system TEXT,
    revision INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL,
    updated REAL NOT NULL
);
CREATE INDEX conversations_updated ON conversations (updated);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    role TEXT NOT NULL,
    content TEXT NOT NULL,
    more TEXT,
    tokens TEXT,
    fingerprint TEXT,
    UNIQUE (conversation, position)
);
"""
_INDEX = """
CREATE VIRTUAL TABLE messages_words USING fts5(content, content='messages', content_rowid='id');
CREATE TRIGGER messages_added AFTER INSERT ON messages BEGIN
    INSERT INTO messages_words (rowid, content) VALUES (new.id, new.content);
END;
CREATE TRIGGER messages_removed AFTER DELETE ON messages BEGIN
    INSERT INTO messages_words (messages_words, rowid, content)
    VALUES ('delete', old.id, old.content);
END;
"""


@dataclass(frozen=True)
class Entry:
    """A conversation in a list. `updated` is in seconds since 1970; `excerpt` where words stand."""

    id: int
    title: str
    model: str
    updated: float
    turns: int
    excerpt: str | None = None


def _create(connection: sqlite3.Connection) -> None:
    run_script(connection, _TABLES)
    indexed = "SELECT sqlite_compileoption_used('ENABLE_FTS5')"
    if connection.execute(indexed).fetchone()[0]:
        run_script(connection, _INDEX)


_KIND = Kind("history", "move it away to begin a new one", _VERSION, _create, HistoryError)


class History:
    """The conversations of a user. A context manager; not for use by two threads at a time.

    Every method raises HistoryError, in one line, for a database that is damaged, of a newer
    version, or held by another process for too long.
    """

    def __init__(self, path: Path) -> None:
        """Open the database at `path`, made if missing, readable by its owner alone."""
        self.path = path
        self._saved: WeakKeyDictionary[Conversation, list[Message]] = WeakKeyDictionary()
        self._database = Database(path, _KIND)
        try:
            with self._database.explained():
                self._database.execute("SELECT revision FROM conversations LIMIT 1")
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def __enter__(self) -> Self:
        """Return the history."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the database."""
        self.close()

    def save(self, conversation: Conversation, *, model: str, fingerprint: str) -> None:
        """Keep what changed since the last time. Meant to be called often: while an answer grows.

        When another process went on with the same conversation meanwhile, this one becomes a new
        conversation: neither loses a word.
        """
        if conversation.id is None and not conversation.messages:
            return
        now = time.time()
        values = (
            _clean(conversation.title or _title(conversation.messages)),
            conversation.title is not None,
            model,
            _clean(conversation.system),
            now,
        )
        with self._database.explained(), self._database.transaction():
            same = 0
            id, revision = conversation.id, conversation.revision
            if id is None or not self._is_ours(conversation):
                cursor = self._database.execute(
                    "INSERT INTO conversations (title, named, model, system, updated, created)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (*values, now),
                )
                id, revision = cursor.lastrowid, 0
            else:
                # A name that somebody gave meanwhile stays, unless we give one.
                title, named, *others = values
                self._database.execute(
                    "UPDATE conversations SET title = CASE WHEN named AND NOT ? THEN title ELSE ?"
                    " END, named = named OR ?, model = ?, system = ?, updated = ?,"
                    " revision = revision + 1 WHERE id = ?",
                    (named, title, named, *others, id),
                )
                revision += 1
                for old, new in zip(self._saved[conversation], conversation.messages, strict=False):
                    if old != new:
                        break
                    same += 1
                self._database.execute(
                    "DELETE FROM messages WHERE conversation = ? AND position >= ?", (id, same)
                )
            self._database.executemany(
                "INSERT INTO messages"
                " (conversation, position, role, content, more, tokens, fingerprint)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (id, position, *_row(conversation.messages[position], fingerprint))
                    for position in range(same, len(conversation.messages))
                ],
            )
        conversation.id, conversation.revision = id, revision
        self._saved[conversation] = list(conversation.messages)

    def load(self, id: int, *, fingerprint: str | None) -> Conversation:
        """A conversation, with those generated ids that belong to this tokenizer."""
        with self._database.explained():
            found = self._database.execute(
                "SELECT title, named, system, revision FROM conversations WHERE id = ?", (id,)
            ).fetchone()
            if found is None:
                raise HistoryError(f"there is no conversation {id}; --list shows those there are")
            rows = self._database.execute(
                "SELECT role, content, more, tokens, fingerprint FROM messages"
                " WHERE conversation = ? ORDER BY position",
                (id,),
            ).fetchall()
            messages = [_message(row, fingerprint) for row in rows]
        title, named, system, revision = found
        conversation = Conversation(system, messages)
        conversation.title = title if named else None
        conversation.id = id
        conversation.revision = revision
        self._saved[conversation] = list(messages)
        return conversation

    def entry(self, id: int) -> Entry | None:
        """What a list says of a conversation; None where there is none of that number."""
        with self._database.explained():
            found = self._database.execute(
                f"SELECT {_ENTRY} FROM conversations c WHERE c.id = ?", (id,)
            ).fetchone()
        return None if found is None else Entry(*found)

    def rename(self, id: int, title: str) -> None:
        """Give a conversation a name; whoever goes on with it meanwhile keeps it."""
        with self._database.explained(), self._database.transaction():
            self._database.execute(
                "UPDATE conversations SET title = ?, named = 1 WHERE id = ?", (_clean(title), id)
            )

    def last(self) -> int | None:
        """The conversation that something was last said in."""
        entries = self.list(limit=1)
        return entries[0].id if entries else None

    def find(self, name: str) -> int:
        """The latest conversation of this title, or number. Raises HistoryError for none."""
        with self._database.explained():
            found = self._database.execute(
                "SELECT id FROM conversations WHERE title = ? ORDER BY updated DESC LIMIT 1",
                (name,),
            ).fetchone()
            if found is None and name.isascii() and name.isdigit() and len(name) < 19:
                found = self._database.execute(
                    "SELECT id FROM conversations WHERE id = ?", (int(name),)
                ).fetchone()
        if found is None:
            raise HistoryError(
                f"there is no conversation {name[:60]!r}; --list shows those there are"
            )
        return int(found[0])

    def list(self, limit: int = 20) -> "Sequence[Entry]":
        """The latest conversations, newest first."""
        with self._database.explained():
            rows = self._database.execute(
                f"SELECT {_ENTRY} FROM conversations c ORDER BY updated DESC, id DESC LIMIT ?",
                (limit,),
            ).fetchall()
        return [Entry(*row) for row in rows]

    def search(self, text: str, limit: int = 20) -> "Sequence[Entry]":
        """Conversations with a message that holds all words of `text`, newest first."""
        words = re.findall(r"\w+", text)
        if not words:
            return []
        with self._database.explained():
            if self._has_index():
                rows = self._database.execute(
                    f"SELECT {_ENTRY}, snippet(messages_words, 0, '', '', '…', 12)"
                    " FROM messages_words JOIN messages m ON m.id = messages_words.rowid"
                    " JOIN conversations c ON c.id = m.conversation"
                    " WHERE messages_words MATCH ? ORDER BY c.updated DESC, m.position",
                    (" ".join(f'"{word}"*' for word in words),),
                ).fetchall()
            else:
                condition = " AND ".join("m.content LIKE ?" for _ in words)
                rows = self._database.execute(
                    f"SELECT {_ENTRY}, substr(m.content, 1, 80)"
                    " FROM messages m JOIN conversations c ON c.id = m.conversation"
                    f" WHERE {condition} ORDER BY c.updated DESC, m.position",
                    [f"%{word}%" for word in words],
                ).fetchall()
        found: dict[int, Entry] = {}
        for row in rows:
            found.setdefault(row[0], Entry(*row))
        return list(found.values())[:limit]

    def delete(self, id: int) -> None:
        """Forget a conversation."""
        with self._database.explained(), self._database.transaction():
            self._database.execute("DELETE FROM messages WHERE conversation = ?", (id,))
            self._database.execute("DELETE FROM conversations WHERE id = ?", (id,))

    def _has_index(self) -> bool:
        return bool(
            self._database.execute(
                "SELECT 1 FROM sqlite_master WHERE name = 'messages_words'"
            ).fetchone()
        )

    def _is_ours(self, conversation: Conversation) -> bool:
        found = self._database.execute(
            "SELECT revision FROM conversations WHERE id = ?", (conversation.id,)
        ).fetchone()
        ours = conversation in self._saved and found is not None
        return ours and bool(found[0] == conversation.revision)


_ENTRY = (
    "c.id, c.title, c.model, c.updated,"
    " (SELECT count(*) FROM messages u WHERE u.conversation = c.id AND u.role = 'user')"
)


def _title(messages: Sequence[Message]) -> str:
    """The first words that the user said."""
    said = (m["content"] for m in messages if m["role"] == "user")
    words = " ".join(str(next(said, "")).split())
    return words if len(words) <= 60 else words[:59] + "…"


def _clean(text: str | None) -> str | None:
    """The text without halves of surrogate pairs, which SQLite cannot hold."""
    if text is None or text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _row(message: Message, fingerprint: str) -> tuple[object, ...]:
    more = {
        key: value for key, value in message.items() if key not in ("role", "content", "tokens")
    }
    tokens = message.get("tokens")
    content = message["content"]
    return (
        message["role"],
        _clean(content) if isinstance(content, str) else json.dumps(content),
        json.dumps(more) if more else None,
        None if tokens is None else json.dumps(list(tokens)),
        None if tokens is None else fingerprint,
    )


def _message(row: tuple[str, str, str | None, str | None, str | None], ours: str | None) -> Message:
    role, content, more, tokens, fingerprint = row
    try:
        message = {**(json.loads(more) if more else {}), "role": role, "content": content}
        message.pop("tokens", None)
        if tokens is not None and fingerprint is not None and fingerprint == ours:
            message["tokens"] = [int(id) for id in json.loads(tokens)]
    except (ValueError, TypeError, RecursionError):
        raise sqlite3.DatabaseError("a message is not what was kept") from None
    if role not in ROLES or not isinstance(content, str):
        raise sqlite3.DatabaseError("a message is not what was kept")
    return message  # type: ignore[return-value]
