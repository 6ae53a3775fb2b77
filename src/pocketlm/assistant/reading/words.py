"""A text as words and sentences, and what kind of thing an English question asks for.

Knows characters alone: no model, no ranking.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

#: A word with what belongs to it (7,000,000; 36.9%; vice-president), or one mark of punctuation.
_PIECE = re.compile(r"\w+(?:[-'’.,:/]\w+)*[%°]?|[^\w\s]")
_SENTENCE_END = re.compile(
    r"(?<=[^\W_A-Z])[)\]”\"’']*[.!?][)\]”\"’']*(?=\s+[\"“(\[]*[A-Z\d])|\n\s*\n"
)
_SUFFIXES = ("ing", "ed", "es", "s", "ly")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_NUMBER_WORDS = _set(
    "one two three four five six seven eight nine ten eleven twelve dozen hundred thousand million"
    " billion half twice once first second third"
)
_MONTHS = _set(
    "january february march april may june july august september october november december"
)
#: Words that say nothing of what a question is about.
STOP_WORDS = _set(
    "a an the of in on at to for from by with and or but is are was were be been being do does did"
    " has have had what which who whom whose when where why how many much that this these those it"
    " its as into than then there their his her he she they them s not no can could would should"
    " will may might about during after before between over under out up me my you your we our i"
    " if so tell please"
)


@dataclass(frozen=True)
class Word:
    """A word, or a mark of punctuation, which has no stem, at characters `start` to `end`."""

    start: int
    end: int
    stem: str
    sentence: int


class Text:
    """A text cut into words and sentences."""

    def __init__(self, text: str) -> None:
        """Cut it."""
        self.text = text
        self._ends = [match.end() for match in _SENTENCE_END.finditer(text)]

    @cached_property
    def words(self) -> Sequence[Word]:
        """Words and marks in their order."""
        found = []
        sentence = 0
        for match in _PIECE.finditer(self.text):
            while sentence < len(self._ends) and self._ends[sentence] <= match.start():
                sentence += 1
            stem = stem_of(match[0]) if match[0][0].isalnum() else ""
            found.append(Word(match.start(), match.end(), stem, sentence))
        return found

    @cached_property
    def sentences(self) -> Sequence[str]:
        """Its sentences, without the blanks between them."""
        bounds = zip([0, *self._ends], [*self._ends, len(self.text)], strict=True)
        return [self.text[start:end].strip() for start, end in bounds]


def stem_of(word: str) -> str:
    """A word without case and common English endings, so that "painted" is found by "paints"."""
    word = word.lower().removesuffix("'s").removesuffix("’s")
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 4:
            return word[: -len(suffix)]
    return word


def topic(text: str) -> frozenset[str]:
    """The stems of a text's words that say what it is about."""
    pieces = (match[0] for match in _PIECE.finditer(text))
    return frozenset(
        stem_of(word) for word in pieces if word[0].isalnum() and word.lower() not in STOP_WORDS
    )


_KINDS = (
    (
        "number",
        r"\bhow (many|much|old|long|far|tall|high|large|big|fast|deep|wide|heavy)\b"
        r"|\bpercent(age)?\b|\bwhat number\b|\bpopulation\b",
    ),
    ("date", r"\bwhen\b|\b(what|which) (year|date|century|decade|day|month)\b"),
    ("name", r"\bwho(m|se)?\b|\bwhere\b|\b(what|which) (city|country|state|place|region|county)\b"),
)


def kind_of(question: str) -> str | None:
    """What an English question asks for: "number", "date" or "name"; None where it does not say."""
    lower = question.lower()
    return next((kind for kind, pattern in _KINDS if re.search(pattern, lower)), None)


def is_of(kind: str, phrase: str) -> bool:
    """Whether a phrase looks like a number, a date or a name."""
    words = re.findall(r"\w+", phrase)
    if kind == "number":
        return any(w[0].isdigit() or w.lower() in _NUMBER_WORDS for w in words)
    if kind == "date":
        return any(
            re.fullmatch(r"[12]\d{3}s?|century|centuries", w) or w.lower() in _MONTHS for w in words
        )
    named = bool(words) and words[0][0].isupper() and words[-1][0].isupper()
    return named and not any(w[0].isdigit() for w in words)
