"""Questions with one right answer, found in the form of a text: what belongs to what.

Manuals say which option does what, descriptions which program is for what, headings what comes
below them, and sentences which word fits. Each finder gives what is asked and what is right; wrong
answers are right ones of other questions (`items` chooses them). It knows forms of text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pocketlm.recipe.demo.sentences import is_english, sentences

_NAME = re.compile(
    r"^(?:NAME\n\n)?([a-z][\w.+-]{2,30})(?:, [\w.+-]+)* - ([A-Za-z][^\n]{15,120})$", re.M
)
_FLAG = re.compile(
    r"^(?:-\w(?: \w+)?, )?(--[a-z][a-z-]{2,25})(?:[ =\[][^:\n]{0,30})?(?:: |\n\n)"
    r"([A-Za-z][^\n]{20,})$",
    re.M,
)
_FUNCTION = re.compile(r"^([a-z][a-z_]{3,30})\([^)\n]*\)\n\n([A-Z][^\n]{20,150}\.)(?:\n|$)", re.M)
_HEADING = re.compile(
    r"^(?:#{1,4} +)?([A-Z][A-Za-z ,/-]{3,50})\n(?:[-=~^*]{4,}\n)?\n?"
    r"(?=([A-Z][^\n]{30,}(?:\n[^\n]+)*))",
    re.M,
)
MOST = 200
"""Characters of an answer."""


class Question(NamedTuple):
    """What is asked, what is right, and what keeps others from being right as well."""

    context: str
    right: str
    about: str
    """Questions about the same give no wrong answers to each other."""


def terms(text: str) -> Iterator[Question]:
    """A program's or package's name from what it is."""
    for found in _NAME.finditer(text[:2_000]):
        yield Question(f"{_sentence(found[2])} The name of this is", found[1], found[1][:4])


def flags(text: str) -> Iterator[Question]:
    """An option from what it does."""
    for found in _FLAG.finditer(text):
        said = re.split(r"(?<=[a-z)])\. ", found[2])[0]
        if found[1] not in said and is_english(said):
            yield Question(f"{_sentence(said[:160])} The option for this is", found[1], found[1])


def functions(text: str) -> Iterator[Question]:
    """A function's name from what it does."""
    for found in _FUNCTION.finditer(text):
        if found[1] not in found[2]:
            yield Question(f"{_sentence(found[2])} The function is called", found[1], found[1])


def headings(text: str) -> Iterator[Question]:
    """A section's first sentence from its heading."""
    for found in _HEADING.finditer(text):
        first = next(sentences(found[2]), "")
        if first and " ".join(found[2].split()).startswith(first) and len(first) <= MOST:
            yield Question(f"{found[1].strip()}\n\n", first, found[1].strip().lower())


FINDERS: dict[str, Callable[[str], Iterator[Question]]] = {
    "term": terms,
    "flag": flags,
    "function": functions,
    "heading": headings,
}


def _sentence(text: str) -> str:
    """With a capital and a full stop."""
    text = text.strip().rstrip(".;,:")
    return text[0].upper() + text[1:] + "."
