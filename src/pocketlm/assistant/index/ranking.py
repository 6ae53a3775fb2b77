"""The order of what was found: words and meaning together.

Knows scores and vectors. Does not know where passages come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pocketlm.assistant.documents.split import sentences
from pocketlm.assistant.embedder import Embedder
from pocketlm.assistant.index.text_index import TextIndex
from pocketlm.assistant.passage import Passage
from pocketlm.errors import Error

#: How many passages that words found are looked at for their meaning.
CANDIDATES = 50
#: What the cosine of the best sentence weighs beside BM25, whose greatest score counts as 1.
_MEANING = 0.5


class Ranker:
    """Orders passages for a query: by BM25, and by vectors where there is an embedder."""

    def __init__(self, embedder: Embedder | None) -> None:
        """Without an embedder words alone count."""
        self._embedder = embedder

    @classmethod
    def installed(cls) -> Ranker:
        """One with the embedder, if its package is installed."""
        try:
            return cls(Embedder())
        except Error:
            return cls(None)

    def ordered(self, query: str, found: Sequence[Passage], count: int) -> list[Passage]:
        """The `count` best of passages that words found, with BM25 as their scores.

        Scores are then between 0 and 1, and with an embedder up to 1.5. What says the same as a
        better passage is left out.
        """
        texts: dict[str, Passage] = {}
        for passage in sorted(found, key=lambda each: -each.score):
            texts.setdefault(" ".join(passage.text.split()), passage)
        passages = list(texts.values())
        if not passages:
            return []
        greatest = passages[0].score or 1.0
        scores = np.array([each.score / greatest for each in passages])
        if self._embedder is not None:
            scores += _MEANING * self._likeness(query, passages)
        best = np.argsort(-scores, kind="stable")[:count]
        return [replace(passages[at], score=round(float(scores[at]), 4)) for at in best]

    def best(self, query: str, passages: Sequence[Passage], count: int) -> list[Passage]:
        """The `count` best of any passages; those without a word of the query are left out."""
        if not passages:
            return []
        index = TextIndex()
        for number, passage in enumerate(passages):
            index.add(number, 0, passage.title, passage.text)
        index.commit()
        hits = index.search(query, max(CANDIDATES, count))
        index.close()
        found = [replace(passages[hit.passage], score=hit.score) for hit in hits]
        return self.ordered(query, found, count)

    def _likeness(self, query: str, passages: Sequence[Passage]) -> npt.NDArray[np.float32]:
        """The cosine of the query with each passage's most alike sentence, float [passages]."""
        assert self._embedder is not None
        parts = [sentences(passage.text) or [""] for passage in passages]
        (asked,) = self._embedder.embed([query])
        cosines = self._embedder.embed([each for part in parts for each in part]) @ asked
        begins = np.cumsum([0, *(len(part) for part in parts[:-1])])
        return np.maximum.reduceat(cosines, begins)
