"""A ZIM archive (an encyclopedia as Kiwix offers them), asked through a process of its own.

The archive is a stranger's: libzim has it open in that process (`zim_worker.py`), not here. Knows
what can be asked. Does not know questions (`wiki.py`).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pocketlm.assistant.child import Child, ChildError
from pocketlm.assistant.passage import Passage
from pocketlm.errors import SearchError


class About(NamedTuple):
    """What an archive calls itself, its articles, and whether its texts can be searched."""

    title: str
    articles: int
    full_text: bool


def opener() -> Child:
    """The process in which archives are opened. Raises SearchError where libzim is missing."""
    if importlib.util.find_spec("libzim") is None:
        raise SearchError("encyclopedias need libzim: pip install 'pocketlm[search]'")
    return Child("pocketlm.assistant.zim_worker")


class Archive:
    """One archive. Every method raises SearchError for one that is gone, damaged or no archive."""

    def __init__(self, path: Path, child: Child) -> None:
        """Open it when it is asked for the first time, in `child`, which `opener` made."""
        self.path = path
        self._child = child

    def about(self) -> About:
        """What it says of itself."""
        return About(**self._ask("about"))

    def suggested(self, title: str, count: int) -> list[str]:
        """Entries whose titles are like this one."""
        found: list[str] = self._ask("suggest", text=title, count=count)
        return found

    def searched(self, words: str, count: int) -> list[str]:
        """Entries whose texts have all of these words; in an archive without such an index, titles.

        The best first.
        """
        found: list[str] = self._ask("search", text=words, count=count)
        return found

    def matches(self, words: str) -> int:
        """How many entries have all of these words, estimated."""
        return int(self._ask("count", text=words))

    def passages(self, entries: Sequence[str]) -> list[Passage]:
        """All passages of entries, or of those to which they redirect."""
        read = dict(self._ask("read", entries=list(entries)))
        return [
            Passage(f"zim:{self.path.stem}/{path}", title, text)
            for path, pieces in read.items()
            for title, text in pieces
        ]

    def _ask(self, what: str, **more: object) -> Any:  # noqa: ANN401  (JSON)
        try:
            return self._child.ask({"archive": str(self.path), "do": what, **more})
        except ChildError as error:
            raise SearchError(f"{self.path} {error}") from None
