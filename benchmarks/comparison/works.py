"""Units of work, and how an engine does one while the clock runs.

It knows positions and the clock, and no engine. A text's tokens depend on their position alone, so
that what one work left in the cache serves the next.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Work:
    """A prompt of `prompt` tokens, or `generate` tokens one by one in each of `texts` texts.

    `depth` tokens of each text come before; processing those does not count.
    """

    prompt: int = 0
    generate: int = 0
    depth: int = 0
    texts: int = 1

    @property
    def name(self) -> str:
        """As benchmarks of language models name it."""
        return f"pp{self.prompt}" if self.prompt else f"tg{self.generate}"

    @property
    def tokens(self) -> int:
        """What counts: the tokens of all texts together."""
        return (self.prompt + self.generate) * self.texts

    @property
    def context(self) -> int:
        """Positions that each text needs."""
        return self.depth + self.prompt + self.generate


class Place(Protocol):
    """Cache for some texts of an engine, all of which have the same length."""

    def rewind(self, position: int) -> None:
        """Forget what comes from `position` on. What comes before stays."""

    def prompt(self, count: int) -> None:
        """Process the next `count` tokens of each text."""

    def step(self) -> None:
        """Process the next token of all texts together, with logits for each."""


class Places(ABC):
    """An engine that works in places: fills each once, and rewinds it after each work."""

    def __init__(self, works: Sequence[Work]) -> None:
        """Know what is to come, so that each place is made once, as long as it ever must be."""
        self._context: dict[int, int] = {}
        for work in works:
            self._context[work.texts] = max(work.context, self._context.get(work.texts, 0))
        self._places: dict[int, Place] = {}
        self._filled: dict[int, int] = {}

    @abstractmethod
    def open(self, context: int, texts: int) -> Place:
        """An empty place for `texts` texts of `context` tokens."""

    def seconds(self, work: Work) -> float | None:
        """How long the work takes; None where this engine does not do such work."""
        if work.texts not in self._places:
            self._places[work.texts] = self.open(self._context[work.texts], work.texts)
        place, filled = self._places[work.texts], self._filled.get(work.texts, 0)
        place.rewind(min(work.depth, filled))
        if filled < work.depth:
            place.prompt(work.depth - filled)
        start = time.perf_counter()
        if work.prompt:
            place.prompt(work.prompt)
        for _ in range(work.generate):
            place.step()
        seconds = time.perf_counter() - start
        self._filled[work.texts] = work.depth + work.prompt
        return seconds


def token(text: int, position: int, vocab_size: int) -> int:
    """The token of a text at a position. Which one it is costs nothing."""
    return (7 * position + 11 * text) % vocab_size
