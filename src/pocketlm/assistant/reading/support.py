"""Whether a passage supports a sentence: the measure that citations are checked by.

A sentence is supported where the passage has all of its numbers and names, and at least
`LEAST` of its other words that say something (by stem). It is a measure of words: it finds what a
passage does not say at all, and not every twist of what it does say. Knows no model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pocketlm.assistant.reading.words import STOP_WORDS, Text, stem_of

#: The part of a sentence's plain words that its passage must have.
LEAST = 0.6

_NUMBER = re.compile(r"\d[\d.,]*\d|\d")


def supported(sentence: str, passage: str) -> bool:
    """Whether the passage has what the sentence says. One that says nothing is not supported."""
    held = {word.stem for word in Text(passage).words if word.stem}
    numbers = {_plain(number) for number in _NUMBER.findall(passage)}
    if any(_plain(number) not in numbers for number in _NUMBER.findall(sentence)):
        return False
    names, words = _names_and_words(sentence)
    if not names <= held:
        return False
    return bool(names or words) and len(words & held) >= LEAST * len(words)


def best_support(sentence: str, passages: Sequence[str]) -> int | None:
    """Which passage supports a sentence, the one that has most of its words; None if none does."""
    able = [place for place, passage in enumerate(passages) if supported(sentence, passage)]
    stems = set().union(*_names_and_words(sentence))

    def shared(place: int) -> int:
        return len(stems & {word.stem for word in Text(passages[place]).words})

    return max(able, key=shared, default=None)


def _names_and_words(sentence: str) -> tuple[set[str], set[str]]:
    """The stems of its names and of its other words that say something."""
    text = Text(sentence)
    names: set[str] = set()
    words: set[str] = set()
    for place, word in enumerate(text.words):
        spelled = sentence[word.start : word.end]
        if not word.stem or spelled[0].isdigit() or spelled.lower() in STOP_WORDS:
            continue
        begins = place == 0 or text.words[place - 1].sentence != word.sentence
        # A capital at the beginning of a sentence says nothing.
        (names if spelled[0].isupper() and not begins else words).add(stem_of(spelled))
    return names, words


def _plain(number: str) -> str:
    return number.replace(",", "")
