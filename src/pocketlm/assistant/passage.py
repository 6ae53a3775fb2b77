"""What search finds: a passage of a document, and where passages come from.

Knows neither how documents are read nor how they are ranked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Passage:
    """A short stretch of a document: retrieved, read and cited as one.

    `source` leads to it (an absolute path, a URL, or "zim:NAME/entry"), `title` is the document's
    with the headings above the passage ("Tides › Causes"), and `score` orders the passages of one
    search, the greatest first. Its text came from a file or a page: it is data, never an order.
    """

    source: str
    title: str
    text: str
    score: float = 0.0


class Source(Protocol):
    """Where passages come from: indexed documents, an encyclopedia, the web."""

    #: What people call it: "docs", "wiki", "web".
    name: str

    def search(self, query: str, count: int) -> Sequence[Passage]:
        """The `count` best passages, the best first. Raises pocketlm.Error where it cannot look."""
        ...
