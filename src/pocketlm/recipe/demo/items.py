"""Items to judge a small model by, made by programs from documents that it was not trained on.

`choices` are questions with four answers of which one is right; `pairs` are two sentences that
differ in little, of which one is well made. All of it is deterministic by seed. It knows text; it
knows no model and scores nothing.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Choice(NamedTuple):
    """A context, and options to go on with, of which `options[right]` is right."""

    context: str
    options: tuple[str, ...]
    right: int
    kind: str


class Pair(NamedTuple):
    """Two sentences that differ minimally: `good` is from a text, `bad` is spoilt."""

    good: str
    bad: str
    kind: str


_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


def choices(held_back: Iterable[str], *, count: int, seed: int) -> list[Choice]:
    """At most `count` multiple-choice items from the texts of `held_back` documents."""
    chance = random.Random(seed)
    sentences = sorted({each for text in held_back for each in _sentences(text)})
    frequent = Counter(
        word for each in sentences for word in each.lower().split() if word.isalpha()
    )
    words = [word for word, times in frequent.items() if times >= 3 and len(word) > 4]
    chance.shuffle(sentences)
    made = []
    for each in sentences:
        parts = each.split()
        inside = [number for number, word in enumerate(parts[2:], 2) if word in words]
        if len(made) < count and inside and len(words) >= 4:
            at = chance.choice(inside)
            others = chance.sample([word for word in words if word != parts[at]], 3)
            options = [" ".join([word, *parts[at + 1 :]]) for word in (parts[at], *others)]
            right = chance.randrange(4)
            options[0], options[right] = options[right], options[0]
            made.append(Choice(" ".join(parts[:at]), tuple(options), right, "cloze"))
    return made


def pairs(held_back: Iterable[str], *, count: int, seed: int) -> list[Pair]:
    """At most `count` minimal pairs from the texts of `held_back` documents."""
    chance = random.Random(seed)
    sentences = sorted({each for text in held_back for each in _sentences(text)})
    chance.shuffle(sentences)
    made = []
    for each in sentences:
        words = each.split()
        if len(made) < count:
            at = chance.randrange(1, len(words) - 2)
            words[at], words[at + 1] = words[at + 1], words[at]
            made.append(Pair(each, " ".join(words), "word order"))
    return made


def _sentences(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text):
        for each in _SENTENCE.split(" ".join(paragraph.split())):
            if 6 <= len(each.split()) <= 30 and re.match(r"^[A-Z][^<>{}|]*\.$", each):
                yield each
