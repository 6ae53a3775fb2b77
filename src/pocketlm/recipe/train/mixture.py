"""Which tokens a step trains on: sources, mixed phase by phase, in an order that a seed decides.

A source's documents, one after another, are cut into windows of `context` tokens; a window is one
sequence. Each epoch has its own order. What is drawn next depends on the seed and on how much was
drawn before, on nothing else: `taken` is all there is to keep, and a run that goes on from it sees
what it would have seen. It knows NumPy arrays; it knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pocketlm.errors import ParameterError
from pocketlm.recipe.data.shards import Shards

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Window:
    """One sequence: `ids` [context + 1] and, of each, the number of its document, `documents`.

    A document begins with the end-of-document id of the one before it, which so is its beginning:
    the first word is predicted from it, and nothing from nothing.
    """

    source: str
    number: int
    ids: Ids
    documents: Ids


class Windows:
    """A source, cut into windows of `context` tokens and the one that follows."""

    def __init__(self, name: str, shards: Shards, context: int) -> None:
        """Raises ParameterError where there is not one window of tokens."""
        self.name, self._shards, self._context = name, shards, context
        self.count = (shards.tokens - 1) // context
        if self.count < 1:
            raise ParameterError(
                f"{shards.folder}: has {shards.tokens:,} tokens, fewer than a window of "
                f"{context:,} and one more; name more shards or a smaller context"
            )

    def __getitem__(self, number: int) -> Window:
        """A window by its place in the source."""
        start = number * self._context
        places = np.arange(start, start + self._context + 1)
        # Where document d + 1 begins to count: at the end-of-document id of document d.
        begins = self._shards.offsets[1:] - 1
        ids = self._shards.read(start, start + self._context + 1).astype(np.int64)
        return Window(self.name, number, ids, np.searchsorted(begins, places, side="right"))


class Mixture:
    """Draws windows by the shares of a phase."""

    def __init__(self, sources: Mapping[str, Windows], seed: int) -> None:
        """Draw from `sources`; `taken` counts what was drawn of each, and may be set."""
        self._sources, self._seed = dict(sources), seed
        self.taken = dict.fromkeys(self._sources, 0)
        self._orders: dict[str, tuple[int, Ids]] = {}

    def draw(self, count: int, shares: Mapping[str, float], since: Mapping[str, int]) -> list[str]:
        """Choose the sources of the next `count` windows, and count them as taken.

        Each window goes to the source that is furthest behind its share of what was taken `since`
        (the counts when the phase began).
        """
        names = sorted(shares)  # in whatever order a file has them
        weights = np.array([shares[name] for name in names])
        weights = weights / weights.sum()
        taken = np.array([self.taken[name] - since.get(name, 0) for name in names])
        chosen = []
        for _ in range(count):
            behind = int(np.argmax(weights * (taken.sum() + 1) - taken))
            taken[behind] += 1
            chosen.append(names[behind])
        for name in chosen:
            self.taken[name] += 1
        return chosen

    def batch(
        self, count: int, shares: Mapping[str, float], since: Mapping[str, int]
    ) -> list[tuple[str, int]]:
        """The next `count` windows, as (source, number): cheap, nothing is read."""
        places = dict(self.taken)
        found = []
        for name in self.draw(count, shares, since):
            found.append((name, self._number(name, places[name])))
            places[name] += 1
        return found

    def read(self, windows: Sequence[tuple[str, int]]) -> list[Window]:
        """The windows that `batch` named."""
        return [self._sources[name][number] for name, number in windows]

    def epochs(self) -> dict[str, float]:
        """How often each source was seen."""
        return {name: self.taken[name] / self._sources[name].count for name in self._sources}

    def _number(self, name: str, place: int) -> int:
        epoch, index = divmod(place, self._sources[name].count)
        held, order = self._orders.get(name, (-1, np.zeros(0, np.int64)))
        if held != epoch:
            # By the source's size alone, not its name: runs on other data of equal size agree.
            order = np.random.default_rng([self._seed, epoch]).permutation(
                self._sources[name].count
            )
            self._orders[name] = (epoch, order)
        return int(order[index])
