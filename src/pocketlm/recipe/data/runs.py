"""Runs of words as numbers: what near duplicates and overlaps with benchmarks are found by.

Each word is hashed once, and a run of words is a polynomial of its words' hashes, so that all runs
of a text take a few operations on arrays.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xxhash
from datatrove.utils.text import TextNormConfig, simplify_text

Hashes = npt.NDArray[np.uint64]
_BASE = np.uint64(0x9E3779B97F4A7C15)
_NORM = TextNormConfig()


def plain_words(text: str) -> list[str]:
    """Words without case, signs and accents; every number is 0."""
    simple: str = simplify_text(text, _NORM)
    return simple.split()


def hashes(words: Sequence[str]) -> Hashes:
    """A hash for each word."""
    numbers = (xxhash.xxh64_intdigest(word.encode("utf-8", "replace")) for word in words)
    return np.fromiter(numbers, np.uint64, len(words))


def runs(hashed: Hashes, length: int) -> Hashes:
    """A hash for each run of `length` words: [words - length + 1], or none."""
    total = np.zeros(max(0, len(hashed) - length + 1), np.uint64)
    for place in range(length if len(total) else 0):
        total = total * _BASE + hashed[place : place + len(total)]
    return total
