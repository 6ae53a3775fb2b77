"""Sentences of prose in a text that also has code, tables and headings. It judges no grammar."""

from __future__ import annotations

import re
from collections.abc import Iterator

_END = re.compile(r"(?<=[\w)\"'][.!?])\s+(?=[A-Z(\"'])")
_PROSE = re.compile(r"[A-Z][a-z]*(?: [^_{}<>|\\=@#*`^~$\[\]]+)[a-z\d)][.!?]")
_MARKS = re.compile(r"[,;:.!?()\"']+")
_SHORT = re.compile(r"\b(?:e\.g|i\.e|etc|cf|vs|Mr|Dr|No|Fig|approx)\.$")
_ENGLISH = frozenset(
    {"the", "a", "an", "of", "to", "and", "is", "are", "in", "that", "with", "for", "be"}
)
LEAST, MOST = 6, 28
"""Words of a sentence."""


def sentences(text: str) -> Iterator[str]:
    """The English sentences of a text that are prose: words of letters, a capital and a stop."""
    for paragraph in re.split(r"\n\s*\n", text):
        parts = _END.split(" ".join(paragraph.split()))
        for each, before in zip(parts, ["", *parts], strict=False):
            words = each.split()
            if not LEAST <= len(words) <= MOST or not _PROSE.fullmatch(each):
                continue
            if _SHORT.search(each) or _SHORT.search(before):
                continue
            if not is_english(each):
                continue
            if sum(bare(word).isalpha() for word in words) >= 0.85 * len(words):
                yield each


def is_english(text: str) -> bool:
    """Whether two of the most common words of English are in a text."""
    return sum(word in _ENGLISH for word in text.split()) >= 2


def bare(word: str) -> str:
    """A word without the marks around it."""
    return _MARKS.sub("", word)
