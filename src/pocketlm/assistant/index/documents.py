"""The indexed documents as a source of passages."""

from __future__ import annotations

from pathlib import Path

from pocketlm.assistant.index.index import Index
from pocketlm.assistant.index.ranking import Ranker
from pocketlm.assistant.passage import Passage
from pocketlm.errors import NotIndexedError


class Documents:
    """Searches the index under a home as it is then. Safe to use from several threads."""

    name = "docs"

    def __init__(self, home: Path, ranker: Ranker) -> None:
        """Open nothing yet."""
        self._home = home
        self._ranker = ranker

    def search(self, query: str, count: int) -> list[Passage]:
        """The `count` best passages. Raises NotIndexedError where no document was added."""
        with Index.open(self._home, self._ranker) as index:
            if all(entry.kind == "zim" for entry in index.sources()):
                raise NotIndexedError("no document was added; `pocketlm index add PATH` does")
            return index.search(query, count)
