"""Which passages of a search answer its question best.

Knows words. Passages are ranked among themselves: BM25, by SQLite's full-text index in memory.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from pocketlm.assistant.passage import Passage

#: What a word in a title and its headings counts beside one in the text.
_TITLE_WEIGHT = 0.5


def ranked(query: str, passages: Sequence[Passage], count: int) -> list[Passage]:
    """The `count` passages with the query's words, the best first, each text once."""
    words = dict.fromkeys(re.findall(r"\w+", query.lower()))
    passages = list({passage.text: passage for passage in reversed(passages)}.values())[::-1]
    if not words or not passages:
        return []
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.execute(
            "CREATE VIRTUAL TABLE passages USING fts5(title, text, tokenize='porter unicode61')"
        )
        database.executemany(
            "INSERT INTO passages (rowid, title, text) VALUES (?, ?, ?)",
            [(index, each.title, each.text) for index, each in enumerate(passages)],
        )
        rows = database.execute(
            "SELECT rowid, bm25(passages, ?, 1.0) AS rank FROM passages WHERE passages MATCH ?"
            " ORDER BY rank, rowid LIMIT ?",
            (_TITLE_WEIGHT, " OR ".join(f'"{word}"' for word in words), count),
        ).fetchall()
    return [replace(passages[index], score=-rank) for index, rank in rows]
