"""Documents in an order that chance decides, and a seed does not: that of their identities' hashes.

A beginning of the order is a fair sample. It knows documents; it does not know what for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import xxhash


class Text(NamedTuple):
    """A document."""

    id: str
    text: str

    @property
    def place(self) -> tuple[int, str]:
        """Where it comes in the order."""
        return xxhash.xxh64_intdigest(self.id.encode("utf-8", "replace")), self.id

    @property
    def bytes(self) -> int:
        """Of its text, in UTF-8."""
        return len(self.text.encode("utf-8", "replace"))


def first(texts: Callable[[], Iterable[tuple[str, str]]], size: int) -> list[Text]:
    """The first documents of the order, of `size` bytes or a little more; all, where there is less.

    `texts` is called twice: what is not taken is never held.
    """
    sizes = sorted(
        (text.place, text.bytes) for text in (Text(*each) for each in texts()) if text.text
    )
    total, last = 0, None
    for place, count in sizes:
        if total >= size:
            break
        total, last = total + count, place
    if last is None:
        return []
    found = (Text(*each) for each in texts())
    return sorted(
        (text for text in found if text.text and text.place <= last), key=lambda text: text.place
    )


def lines(path: Path) -> Iterator[tuple[str, str]]:
    """Identity and text of the documents in a file of lines of JSON."""
    with path.open("rb") as file:
        for line in file:
            row = json.loads(line)
            yield row["id"], row["text"]
