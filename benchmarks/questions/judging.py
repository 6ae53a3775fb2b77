"""Exact match and F1 of an answer, as SQuAD's own script has them (Rajpurkar et al. 2016)."""

import re
import string
from collections import Counter
from collections.abc import Sequence

_MARKS = frozenset(string.punctuation)


def normalised(text: str) -> list[str]:
    """The words of a text without case, marks and articles."""
    plain = "".join(character for character in text.lower() if character not in _MARKS)
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


def exact(answer: str, known: Sequence[str]) -> float:
    """1 if the answer is one of those that are known, else 0."""
    return float(any(normalised(answer) == normalised(each) for each in known))


def f1(answer: str, known: Sequence[str]) -> float:
    """The harmonic mean of its words' precision and recall, for the nearest known answer."""
    return max((_overlap(normalised(answer), normalised(each)) for each in known), default=0.0)


def _overlap(found: list[str], right: list[str]) -> float:
    common = (Counter(found) & Counter(right)).total()
    return 2 * common / (len(found) + len(right)) if common else 0.0
