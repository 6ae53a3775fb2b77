"""Offline encyclopedias as a source of passages.

Knows how a question becomes look-ups in an archive's own full-text and title indexes, and which
articles are then read. Does not know how an archive is read (`zim.py`).
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from pocketlm.assistant.child import Child
from pocketlm.assistant.index.index import Index
from pocketlm.assistant.index.ranking import Ranker
from pocketlm.assistant.index.words import words
from pocketlm.assistant.passage import Passage
from pocketlm.assistant.zim import Archive, opener
from pocketlm.errors import NotIndexedError

#: Most articles of an archive that are read for a question, most words of it that are counted, of
#: these the rarest that are looked up, and most results of one search.
_ARTICLES, _WORDS, _RAREST, _RESULTS = 12, 12, 8, 20
#: Names in a question: words in a row that begin with capitals or digits ("Bay of Fundy").
_NAME = re.compile(r"\b[A-ZÀ-Þ0-9][\w'’-]*(?: (?:(?:of|the|and|de|von) )?[A-ZÀ-Þ0-9][\w'’-]*)*")


class Wiki:
    """Searches the encyclopedias that were added. Safe to use from several threads."""

    name = "wiki"

    def __init__(self, home: Path, ranker: Ranker) -> None:
        """Open nothing yet."""
        self._home = home
        self._ranker = ranker
        self._child: Child | None = None
        self._lock = threading.Lock()

    def search(self, query: str, count: int) -> list[Passage]:
        """The `count` best passages. Raises NotIndexedError where there is no encyclopedia."""
        with Index.open(self._home, self._ranker) as index:
            archives = [Path(entry.path) for entry in index.sources() if entry.kind == "zim"]
        if not archives:
            raise NotIndexedError("no encyclopedia was added; `pocketlm index add FILE.zim` does")
        with self._lock:
            self._child = self._child or opener()
        passages: list[Passage] = []
        for path in archives:
            archive = Archive(path, self._child)
            passages += archive.passages(_articles(archive, query))
        return self._ranker.best(query, passages, count)

    def close(self) -> None:
        """End the process that reads the archives."""
        if self._child is not None:
            self._child.close()


def _articles(archive: Archive, query: str) -> list[str]:
    """Entries whose titles the question names, and those that have its words."""
    named: dict[str, None] = {}
    for name in _NAME.findall(query)[:_WORDS]:
        named.update(dict.fromkeys(archive.suggested(name, 2)))
    first = list(named)[: _ARTICLES // 2]
    return list(dict.fromkeys(first + _with_words(archive, words(query)[:_WORDS])))[:_ARTICLES]


def _with_words(archive: Archive, terms: Sequence[str]) -> list[str]:
    """Entries with many of these words, those first whose words are rarest together.

    An archive's index knows only "all of these words". So each word and each two of them are looked
    up, and what an entry has is added up from the searches that found it.
    """
    counts = {term: archive.matches(term) for term in terms}
    there = sorted((term for term in terms if counts[term]), key=lambda term: counts[term])
    rarest = there[:_RAREST]
    has: dict[str, set[str]] = {}
    for together in (*combinations(rarest, 2), *((term,) for term in rarest)):
        for entry in archive.searched(" ".join(together), _RESULTS):
            has.setdefault(entry, set()).update(together)
    most = max(counts.values(), default=0)
    weights = {entry: sum(math.log(2 * most / counts[t]) for t in has[entry]) for entry in has}
    return sorted(weights, key=lambda entry: -weights[entry])
