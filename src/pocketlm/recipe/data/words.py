"""Words and sentences of a text, for the rules that count them.

datatrove's own tokenizers are spaCy's and others', a package a language, at half a megabyte a
second. Rules that count need no more than where words and sentences end in any script that puts
spaces between words; Unicode says that. In scripts without spaces (Chinese, Thai) a run between
signs counts as one word: rules on words are of no use there, and are left out of such a recipe.
"""

from __future__ import annotations

import regex  # type: ignore[import-untyped]
from datatrove.utils.word_tokenizers import WordTokenizer

_WORD = regex.compile(r"[\w\p{M}]+(?:['’\-.][\w\p{M}]+)*|(?<!\S)[^\w\p{M}\s]+(?!\S)")
_SENTENCE_END = regex.compile(r"[.!?。！？।؟…]+[\"'”’»)\]]*(?=\s|$)|\n+|[。！？]")


class Words(WordTokenizer):  # type: ignore[misc]
    """Splits by Unicode's classes of characters.

    Signs beside a word are no words of their own: the published rules count what is between spaces,
    and a comma that counts as a word makes "four words of five have a letter" another rule.
    """

    def word_tokenize(self, text: str) -> list[str]:
        """Words, with apostrophes, hyphens and points inside; and signs between spaces."""
        found: list[str] = _WORD.findall(text)
        return found

    def sent_tokenize(self, text: str) -> list[str]:
        """Sentences without the space around them."""
        return [text[start:end].strip() for start, end in self.span_tokenize(text)]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        """Where sentences begin and end."""
        spans, start = [], 0
        for match in _SENTENCE_END.finditer(text):
            if text[start : match.end()].strip():
                spans.append((start, match.end()))
                start = match.end()
        if text[start:].strip():
            spans.append((start, len(text)))
        return spans


WORDS = Words()
