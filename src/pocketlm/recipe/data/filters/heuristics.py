"""The rules of Gopher, C4 and FineWeb: datatrove's filters, with our words and languages.

Where a published rule breaks on a small text, it is mended here; thresholds are the recipe's.
"""

from __future__ import annotations

from collections import Counter

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.utils.text import split_into_words

from pocketlm.recipe.data import recipe
from pocketlm.recipe.data.words import WORDS


def gopher_quality(step: recipe.GopherQuality) -> BaseFilter:
    """Counts of words, symbols and stop words."""
    return GopherQualityFilter(
        min_doc_words=max(1, step.least_words),  # the filter divides by the number of words
        max_doc_words=step.most_words,
        stop_words=None if step.stop_words is None else list(step.stop_words),
        language=WORDS,
    )


def gopher_repetition(step: recipe.GopherRepetition) -> BaseFilter:
    """Repeated lines, paragraphs and n-grams."""
    return _Repetition()


def c4(step: recipe.C4) -> BaseFilter:
    """Lines that are no text."""
    return C4QualityFilter(
        filter_no_terminal_punct=step.end_marks,
        min_num_sentences=step.least_sentences,
        filter_curly_bracket=step.braces,
        language=WORDS,
    )


def fineweb(step: recipe.FineWeb) -> BaseFilter:
    """Line ends, short lines, repeated lines."""
    return FineWebQualityFilter(
        line_punct_thr=step.end_marks,
        short_line_thr=step.short_lines,
        char_duplicates_ratio=step.repeated,
        language=WORDS,
    )


class _Repetition(GopherRepetitionFilter):  # type: ignore[misc]
    """As datatrove's, but that what is there once is no repetition.

    The share of the most frequent n-gram is also high in a short text where every n-gram is there
    once.
    """

    _MOST = ((2, 0.20), (3, 0.18), (4, 0.16))
    """Characters in the most frequent n-gram, of all."""

    def __init__(self) -> None:
        super().__init__(top_n_grams=(), language=WORDS)

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        if not doc.text.strip():
            return False, "empty"
        said: bool | tuple[bool, str] = super().filter(doc)
        if said is not True:
            return said
        words = split_into_words(doc.text, self.language)
        for n, most in self._MOST:
            grams = Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))
            for gram, times in grams.most_common(1):
                if times > 1 and len(gram) * times > most * len(doc.text):
                    return False, f"top_{n}_gram"
        return True
