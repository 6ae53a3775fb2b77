"""Whether what a person said in a conversation is to be looked up, and as which question.

A model of this size decides such things badly, and words tell: questions are looked up, and what
asks for something to be written is not. A question that leans on what was said before ("and when
was it built?") gets the names that it leans on. Knows messages' text; no model, no search.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pocketlm.assistant.reading.words import topic

_ASKS = re.compile(
    r"^(and |so |but |please |then )*"
    r"(wh(o|om|ose|at|en|ere|y|ich)|how|is|are|was|were|do|does|did|has|have|had|can|could|will"
    r"|name|list|find|look up|search( for)?|tell me|i want to know|i'd like to know)\b",
    re.IGNORECASE,
)
#: What a model is to do with words of the person's own, or of its own.
_MAKES = re.compile(
    r"\b(write|translate|rewrite|rephrase|summari[sz]e|correct|proofread|continue|imagine|pretend"
    r"|code|program|poem|story|joke|essay|can you|could you|will you|are you|do you|you are)\b",
    re.IGNORECASE,
)
_LEANS = re.compile(
    r"\b(it|its|he|him|his|she|her|hers|they|them|their|this|that|these|those|there|one|ones)\b"
    r"|^(and|what about|how about)\b",
    re.IGNORECASE,
)
_NAME = re.compile(r"\b[A-ZÀ-Þ][\w'’-]+(?: (?:(?:of|the|and|de|von) )?[A-ZÀ-Þ][\w'’-]+)*")
_FIRST = re.compile(r"^\W*\w+")


def question_of(said: Sequence[str]) -> str | None:
    """The question that the last of a person's messages asks, complete in itself.

    None where it is nothing to look up. `said` are the person's messages, the oldest first.
    """
    text = " ".join(said[-1].split())
    asks = "?" in text or _ASKS.search(text)
    if not asks or _MAKES.search(text) or not (topic(text) or len(said) > 1):
        return None
    about = _about(said[:-1]) if _LEANS.search(text) and not _names(text) else []
    return f"{text} ({', '.join(about)})" if about else text


def _about(before: Sequence[str]) -> list[str]:
    """The names in the latest message that has any; without, the words of the latest question."""
    named = next((found for text in reversed(before) if (found := _names(text))), None)
    if named is not None or not before:
        return named or []
    return [word for word in re.findall(r"\w[\w'’-]*", before[-1]) if topic(word)]


def _names(text: str) -> list[str]:
    """Words with capitals, but for the first one of the text, which has one anyway."""
    rest = _FIRST.sub("", text, count=1)
    return list(dict.fromkeys(_NAME.findall(rest)))
