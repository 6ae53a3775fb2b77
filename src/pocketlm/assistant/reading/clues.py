"""What tells where in a passage an answer stands: the model's likelihoods, and plain clues.

A small model alone often points at the wrong sentence, and words alone do not tell which of its
phrases answers. Together they find far more than either (docs/assistant.md). A phrase's
clues are numbers; their weights were fitted by `benchmarks/reader_weights.py`. Knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np
import numpy.typing as npt

from pocketlm.assistant.reading.words import STOP_WORDS, Text, is_of, kind_of, topic

#: How many words away a word of the question counts half.
_NEAR = 4


@dataclass(frozen=True)
class Clues:
    """One phrase's. Logarithms are natural."""

    #: Log-probability of the phrase after passage and question, and of its end after that.
    phrase: float
    end: float
    #: How many words and tokens it has.
    words: float
    tokens: float
    #: What part of the question's topic its sentence holds, and how near to it.
    sentence: float
    near: float
    #: What part of its own words the question has.
    asked: float
    #: Whether it is of the kind that the question asks for, and whether it is not.
    right_kind: float
    wrong_kind: float
    #: Whether it ends in a word that ends no phrase.
    dangling: float


WEIGHTS = Clues(
    phrase=0.229,
    end=0.321,
    words=0.118,
    tokens=0.017,
    sentence=2.570,
    near=6.413,
    asked=-2.008,
    right_kind=1.053,
    wrong_kind=-0.557,
    dangling=-0.617,
)


def score(clues: Clues) -> float:
    """How much speaks for a phrase; the greatest is taken."""
    pairs = zip(vars(clues).values(), vars(WEIGHTS).values(), strict=True)
    return float(sum(clue * weight for clue, weight in pairs))


class Finder:
    """What the words of one question and one passage tell of the passage's phrases."""

    def __init__(self, question: str, passage: Text) -> None:
        """Look where the passage has the question's words."""
        self._passage = passage
        self._kind = kind_of(question)
        self._topic = topic(question)
        words = passage.words
        self._places = {
            stem: np.array([i for i, word in enumerate(words) if word.stem == stem], dtype=np.intp)
            for stem in self._topic
        }

    def plain(self, first: int, last: int) -> tuple[float, float, float, float, float, float]:
        """The clues from `sentence` on of the phrase from word `first` to word `last`, included."""
        words = self._passage.words
        inside = words[first : last + 1]
        phrase = self._passage.text[inside[0].start : inside[-1].end]
        held = near = 0.0
        for places in self._places.values():
            outside = places[(places < first) | (places > last)]
            held += any(words[i].sentence == inside[0].sentence for i in places)
            if outside.size:
                distance = np.minimum(abs(outside - first), abs(outside - last)).min()
                near += 1 / (1 + float(distance) / _NEAR)
        size = max(len(self._topic), 1)
        stems = [word.stem for word in inside if word.stem]
        asked = sum(stem in self._topic for stem in stems) / max(len(stems), 1)
        right = self._kind is not None and is_of(self._kind, phrase)
        wrong = self._kind is not None and not right
        dangling = self._passage.text[inside[-1].start : inside[-1].end].lower() in STOP_WORDS
        return held / size, near / size, asked, float(right), float(wrong), float(dangling)


def matrix(clues: Sequence[Clues]) -> npt.NDArray[np.float64]:
    """Clues of several phrases: float64 [phrases, clues]."""
    return np.array([astuple(each) for each in clues], dtype=np.float64).reshape(
        -1, len(fields(Clues))
    )
