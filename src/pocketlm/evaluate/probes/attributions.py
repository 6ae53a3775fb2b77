"""Whom a text says to believe what: "Ben thinks that Anna will look in the box".

Of several statements the last one about what is asked counts; those about other people's beliefs,
about how things are or what happened do not. It knows English sentences and the names that it is
given; it does not know who believes what.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pocketlm.evaluate.probes.quantities import plain
from pocketlm.evaluate.probes.statements import after_announcement, clauses, denied, sentences

_BREAK = re.compile(
    r"[;:()]|,\s*(?=(?:and|but|so|not|since|because|while|as|where|which|even|although|though"
    r"|unaware|who|she|he|they|it)\b)"
    r"|\b(?:but|so|therefore|because|since|while|whereas|although|though|when|after|before|where"
    r"|which|unaware|until|not knowing)\b",
    re.IGNORECASE,
)
_BELIEVES = (
    r"think(?:s|ing)?|believ(?:es?|ing)|look(?:s|ing)?|search(?:es)?|check(?:s)?|expects?|assumes?"
    r"|suppos(?:es?)|knows?|goes?|says?|thought|will go|perspective|view|mind|belief|reach(?:es)?"
    r"|guess(?:es)?"
)
_HAPPENS = re.compile(
    r"\b(?:puts?|places?|placed|takes?|took|mov(?:es?|ed|ing)|leaves?|left|return(?:s|ed)?|saw|sees?"
    r"|seen|watch(?:es|ed)?|told|tells|wrote|writes|put(?:ting)?|was|were|had|heard|informed"
    r"|hid(?:es)?|initially|originally|observed)\b",
    re.IGNORECASE,
)
_OPEN = re.compile(r"\b(?:or|either|possibly|maybe|perhaps|unclear)\b", re.IGNORECASE)
_IS = re.compile(r"\b(?:is|be|lies|remains|stays)\b|'s\b", re.IGNORECASE)
_IN = re.compile(r"\b(?:in|inside|into|within|to|is)\b", re.IGNORECASE)
#: A person who cannot be told from a pronoun.
_SOMEBODY = "?"


#: What one person tells another of; and words for how it was at first.
_TELLS = re.compile(r"\b(?:told|tells|wrote|writes|heard|informed|says|said)\b", re.IGNORECASE)
_BEGAN = re.compile(
    r"\b(?:begin\w*|began|start\w*|initial\w*|original\w*|at first|first|was)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Asked:
    """What is asked: where, of these places, a thing is, or is believed to be by one of the people.

    `chain` is who believes it: of ("Ben", "Anna"), what Ben believes that Anna believes; nobody,
    for where the thing is, or, with `began`, where it was at first.
    """

    thing: str
    places: Sequence[str]
    people: Sequence[str]
    chain: Sequence[str]
    began: bool = False


@dataclass(frozen=True)
class Said:
    """The place that a text names for what is asked, or why it names none."""

    place: str
    fault: str = ""


@dataclass(frozen=True)
class _Told:
    """A statement: places, whether it is left open, and how well it fits what is asked (0 best)."""

    places: tuple[str, ...]
    is_open: bool
    distance: int


def said(answer: str, asked: Asked) -> Said:
    """Which place an answer names at last for what is asked."""
    reader = _Reader(asked)
    texts = sentences(plain(answer))
    told = [found for text in texts for found in reader.sentence(text, alone=len(texts) == 1)]
    if not told:
        return Said("", "names no place for what is asked")
    best = min(each.distance for each in told)
    last = [each for each in told if each.distance == best][-1]
    if len(last.places) > 1:
        join, why = (" or ", "leaves it open") if last.is_open else (" and ", "names two places")
        return Said("", f"{why}: {join.join(last.places)}")
    return Said(last.places[0])


class _Reader:
    """Reads sentence by sentence, for one question."""

    def __init__(self, asked: Asked) -> None:
        self._chain = tuple(name.lower() for name in asked.chain)
        self._began = asked.began
        places = "|".join(map(re.escape, asked.places))
        self._place = re.compile(rf"\b(?:{places})\b", re.IGNORECASE)
        names = "|".join(map(re.escape, asked.people))
        self._person = re.compile(rf"\b(?:{names})\b", re.IGNORECASE)
        self._holder = re.compile(
            rf"\b(?P<who>{names}|she|he|they)\b(?:(?!\b(?:{names})\b)[^.,;:]){{0,40}}?"
            rf"\b(?:{_BELIEVES})\b",
            re.IGNORECASE,
        )
        self._thing = re.compile(rf"\b(?:{re.escape(asked.thing)}|it)\b", re.IGNORECASE)

    def sentence(self, text: str, *, alone: bool) -> list[_Told]:
        """What a sentence says of what is asked; `alone` is whether it is the whole answer."""
        answered = after_announcement(text)
        if answered != text and self._place.search(answered) and not self._person.search(answered):
            return self._bare(answered)
        if not self._person.search(text) and not self._holder.search(text):
            told = self._bare(text) if alone or _IN.search(text) else []
            if not _IS.search(text):
                return told
            if not self._thing.search(text):
                return []  # of something else
            return [_Told(each.places, each.is_open, 2 if self._chain else 0) for each in told]
        return [
            found
            for start, clause in clauses(text, _BREAK)
            if (found := self._clause(text, start, clause)) is not None
        ]

    def _bare(self, text: str) -> list[_Told]:
        """A statement of a place alone: it answers whatever was asked."""
        happens = _HAPPENS.search(text) and not self._began
        if happens and (self._chain or not _IS.search(text)):
            return []
        found = self._places(text, 0, text)
        return [_Told(found, bool(_OPEN.search(text)), 0)] if found else []

    def _clause(self, text: str, start: int, clause: str) -> _Told | None:
        found = self._places(text, start, clause)
        if not found:
            return None
        chain = tuple(
            _SOMEBODY if match["who"].lower() in ("she", "he", "they") else match["who"].lower()
            for match in self._holder.finditer(clause)
        )
        distance = self._distance(chain, clause, text)
        if distance is None:
            return None
        return _Told(found, bool(_OPEN.search(clause)), distance)

    def _distance(self, chain: tuple[str, ...], clause: str, text: str) -> int | None:
        """How well a clause fits what is asked; None where it does not."""
        if not self._chain:
            return None if chain else self._distance_of_fact(clause)
        if not chain:
            # What happened is no belief, nor is what is left of a sentence that tells it.
            if _HAPPENS.search(clause) or (_HAPPENS.search(text) and not _IS.search(clause)):
                return None
            return 2 if _IS.search(clause) and self._thing.search(clause) else 1
        if len(chain) == len(self._chain) and all(
            a in (b, _SOMEBODY) for a, b in zip(chain, self._chain, strict=True)
        ):
            return 0
        # "Anna will look in the box" answers where Ben thinks that she will look, if need be.
        return 1 if chain in ((self._chain[-1],), (_SOMEBODY,)) else None

    def _distance_of_fact(self, clause: str) -> int | None:
        if self._began:
            return 0 if _BEGAN.search(clause) else 1
        if _TELLS.search(clause) or not _IS.search(clause):
            return None
        last = max(match.start() for match in _IS.finditer(clause))
        return None if any(match.start() > last for match in _HAPPENS.finditer(clause)) else 0

    def _places(self, text: str, start: int, clause: str) -> tuple[str, ...]:
        found = (
            match[0].lower()
            for match in self._place.finditer(clause)
            if not denied(text, start + match.start())
            and not re.search(r"\bfrom\s+(?:the\s+)?$", clause[: match.start()])
        )
        return tuple(dict.fromkeys(found))
