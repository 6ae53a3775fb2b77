"""What each request is about: a topic, an audience and a style, no three of them twice too soon.

The seeds of a kind are an endless row; each is decided by the plan's seed, the kind, the lists and
its number alone. So a run that goes on, and one that wants more, has the same ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Seed:
    """One request's."""

    topic: str
    audience: str
    style: str
    number: int
    """Its place in its kind's row."""
    random: int
    """For the endpoint's own draws, and for what a kind draws: 31 bits."""

    def chance(self) -> Random:
        """Draws that are this seed's own, the same each time."""
        return Random(self.random)


class Seeds:
    """The row of one kind."""

    def __init__(
        self,
        seed: int,
        kind: str,
        topics: Sequence[str],
        audiences: Sequence[str],
        styles: Sequence[str],
    ) -> None:
        """Of a plan's `seed`."""
        self._origin = f"{seed}/{kind}"
        self._topics = topics
        self._manners = [(audience, style) for audience in audiences for style in styles]
        self._turn, self._order = -1, list(topics)

    @property
    def distinct(self) -> int:
        """How many combinations there are; then they come again, with other draws."""
        return len(self._topics) * len(self._manners)

    def __getitem__(self, number: int) -> Seed:
        """The seed at a place.

        Every topic comes once before one comes again, in another order each time; a topic meets
        every audience and style once before it meets one again.
        """
        turn, place = divmod(number, len(self._topics))
        if turn != self._turn:  # one number after another is asked for
            self._turn, self._order = turn, self._shuffled(f"topics/{turn}", self._topics)
        topic = self._order[place]
        meeting, manner = divmod(turn, len(self._manners))
        audience, style = self._shuffled(f"manners/{topic}/{meeting}", self._manners)[manner]
        return Seed(topic, audience, style, number, self._hash(f"number/{number}") & 0x7FFFFFFF)

    def _shuffled(self, name: str, items: Sequence[Item]) -> list[Item]:
        return sorted(items, key=lambda item: self._hash(f"{name}/{item}"))

    def _hash(self, name: str) -> int:
        digest = hashlib.sha256(f"{self._origin}/{name}".encode("utf-8", "replace")).digest()
        return int.from_bytes(digest[:8], "big")
