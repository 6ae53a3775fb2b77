"""What is wrong with an answer whatever it is about: empty, cut off, about the writer, repeating.

It knows text. It does not know kinds of documents.
"""

from __future__ import annotations

import re

import numpy as np

from pocketlm.recipe.data.runs import hashes, plain_words, runs
from pocketlm.recipe.data.synthesis.kinds import UnfitError

_PREAMBLE = re.compile(
    r"\A\s*(?:sure|certainly|of course|absolutely|okay|here(?:'s| is| are))\b"
    r"[^\n]{0,160}[:!.]\s*\n+",
    re.IGNORECASE,
)
_WRITER = re.compile(
    r"\bas an? (?:ai|artificial intelligence|(?:large )?language model)\b"
    r"|\bI(?:'m| am) (?:an ai|a (?:large )?language model|sorry, but)\b"
    r"|\bI (?:cannot|can't|am unable to) (?:fulfil|assist|help|comply|provide|create|write)",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"<\|[a-z_]+\|>")
_RUN = 5
_ECHOED = 0.1
"""Most runs of words that are those of the prompt, facts and topics not counted."""
_REPEATED = 0.2
"""Most runs of words that were there before. Texts of people have less than a twentieth."""


def cleaned(answer: str, cut: bool) -> str:
    """An answer without words to the one who asked. Raises UnfitError."""
    text = _PREAMBLE.sub("", answer).strip()
    if not text:
        raise UnfitError("empty")
    if cut:
        raise UnfitError("not finished", "the limit of tokens ended it")
    if found := _CONTROL.search(text):
        raise UnfitError("not in the form", f"holds {found[0]}")
    if found := _WRITER.search(text):
        raise UnfitError("speaks of itself", found[0])
    return text


def check_echo(text: str, prompt: str) -> None:
    """Raise UnfitError for a text that is in part the prompt that asked for it."""
    said, asked = (np.unique(runs(hashes(plain_words(each)), _RUN)) for each in (text, prompt))
    if len(said):
        echoed = float(np.isin(said, asked).mean())
        if echoed > _ECHOED:
            raise UnfitError("repeats the request", f"{echoed:.0%} of its runs of {_RUN} words")


def check_repetition(text: str) -> None:
    """Raise UnfitError for a text that says the same again and again."""
    found = runs(hashes(plain_words(text)), _RUN)
    if len(found):
        again = 1 - len(np.unique(found)) / len(found)
        if again > _REPEATED:
            raise UnfitError("repeats itself", f"{again:.0%} of its runs of {_RUN} words")
