"""Where a text says that a thing is: "the marble lies on the table, and the cup is in the oven".

The last statement about the thing counts; what is said of other things, what happened to it before
and what is denied does not. It knows English sentences and the names that it is given; it does not
know where the thing is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from pocketlm.evaluate.probes.quantities import plain
from pocketlm.evaluate.probes.statements import clauses, denied, sentences

_BREAK = re.compile(
    r"[,;:()]|\b(?:but|so|therefore|while|because|since|when|after|before|as|once|although|though"
    r"|where|which|whereas|and|then|if|that|meaning|until)\b",
    re.IGNORECASE,
)
#: What says that something is somewhere, and what says that it came there by itself.
_FALLS = r"falls?|fell|fallen|falling|drops|lands?|landed|rolls?|rolled"
_STAYS = r"remains?|remained|stays?|stayed|left(?: behind)?|lies|lying|rests?|resting"
_IS = re.compile(
    rf"\b(?:is|are|be|being|sits?|located|ends? up|ended up|found|goes|went|{_FALLS}|{_STAYS})\b"
    r"|'s\b",
    re.IGNORECASE,
)
_BY_ITSELF = re.compile(rf"\b(?:{_FALLS}|{_STAYS})\b", re.IGNORECASE)
_CAME = re.compile(
    r"\b(?:moves?|travels?|travell?ed|moved|carried|taken|transported|brought)\b", re.IGNORECASE
)
#: What somebody does to a thing.
_DOES = re.compile(
    r"\b(?:puts?|plac(?:es?|ed)|takes?|took|carr(?:y|ies)|turn(?:s|ed)?|lift(?:s|ed)?|picks?"
    r"|picked|sets?|slid(?:es?)?|covers?|closes?|tips?|flips?|flipped|pours?)\b",
    re.IGNORECASE,
)
#: Beside a place rather than at it; on or under what should be within it.
_BESIDE = re.compile(
    r"\b(?:on top of|on|onto|atop|under|underneath|beneath|below|behind|beside|next to|near|outside"
    r"(?: of)?)\s+(?:the\s+|a\s+)?$",
    re.IGNORECASE,
)
_FROM = re.compile(r"\b(?:from|off|out of)\s+(?:the\s+)?$", re.IGNORECASE)
_EARLIER = re.compile(
    r"\b(?:was|were|had|has been|have been|initially|originally|at first|first|started|starts"
    r"|beginning)\b",
    re.IGNORECASE,
)
_WITHIN = r"(?:in|inside|within|inside of|into|at the bottom of|at the top of|contained in)"
_OPEN = re.compile(
    r"\b(?:or|either|depending|possibly|perhaps|maybe|unclear|could|might)\b", re.IGNORECASE
)
_PREPOSITION = re.compile(
    r"\b(?:in|inside|within|into|of|under|underneath|beneath|below|from|with|to|on|onto|at|by|near"
    r"|beside|through|over|above|against|around)\s+(?:(?:the|a|an|its|that|this|upside-down"
    r"|upside down|overturned|inverted|turned-over|same|bottom of|top of)\s+)*$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Said:
    """Where a text says that a thing is: the place by its name, and whether in the container.

    `place` is "" where none is named; `within` is None where nothing is said; `beside` is whether
    it is said to be on, under or beside the place. `fault` says why the text says nothing that can
    be judged, or is "".
    """

    place: str
    within: bool | None
    beside: bool = False
    fault: str = ""


def said(
    answer: str,
    thing: str,
    container: str,
    places: Mapping[str, Sequence[str]],
    others: Sequence[str] = (),
) -> Said:
    """Where an answer says at last that a thing is.

    `places` are the names that each may go by; `others` are things and people of which else
    something may be said.
    """
    reader = _Reader(thing, container, places, others)
    told = [found for text in sentences(plain(answer)) if (found := reader.sentence(text))]
    if not told:
        return Said("", None, fault=f"does not say where the {thing} is")
    last = told[-1]
    named = list(dict.fromkeys(each.place for each in last if each.place))
    if len(named) > 1:
        join, fault = (" or ", "leaves it open") if last[-1].is_open else (" and ", "two places")
        return Said("", None, fault=f"{fault}: {join.join(named)}")
    left_open = {each.place for each in chain(*told) if each.is_open and each.place}
    if len(left_open) > 1 and named and named[0] in left_open:
        return Said("", None, fault=f"leaves it open: {' or '.join(sorted(left_open))}")
    within = next((each.within for each in reversed(last) if each.within is not None), None)
    if not named:
        # "It is still in the cup. The cup is in the oven." is one statement.
        return Said(reader.container_at if within else "", within)
    return Said(named[0], within, all(each.beside for each in last if each.place))


@dataclass(frozen=True)
class _Told:
    """A statement: a place or "", whether in the container, beside the place, and left open."""

    place: str
    within: bool | None
    beside: bool
    is_open: bool


class _Reader:
    """Reads sentence by sentence; knows of what was spoken last."""

    def __init__(
        self,
        thing: str,
        container: str,
        places: Mapping[str, Sequence[str]],
        others: Sequence[str],
    ) -> None:
        self._thing, self._container = thing, container
        self._names = {name.lower(): place for place, names in places.items() for name in names}
        longest = sorted(self._names, key=len, reverse=True)
        self._place = re.compile(rf"\b(?:{'|'.join(map(re.escape, longest))})\b", re.IGNORECASE)
        heads = [thing, container, *others]
        self._subject = re.compile(
            rf"\b(?P<noun>{'|'.join(map(re.escape, heads))})\b(?!'s (?:rim|mouth|bottom|opening))"
            r"|\b(?P<it>it|they)\b|\b(?P<who>he|she|someone|somebody|you|we|I)\b",
            re.IGNORECASE,
        )
        self._in = re.compile(
            rf"\b(?:(?P<in>{_WITHIN})|under|underneath|beneath|below|out of|outside(?: of)?)"
            rf"\s+(?:(?:the|a|its|this|that|upside-down|upside down|overturned|inverted|turned-over"
            rf"|same)\s+)*{re.escape(container)}\b",
            re.IGNORECASE,
        )
        self._of = thing
        self.container_at = ""

    def sentence(self, text: str) -> list[_Told]:
        """What a sentence says of the thing."""
        told: list[_Told] = []
        is_open = bool(_OPEN.search(text))
        bare = not self._subject.search(text)
        if bare:
            self._of = self._thing
        spoken = False  # of the thing, in this sentence
        for start, clause in clauses(text, _BREAK):
            subject = self._subject_of(clause, spoken)
            self._of = subject or self._of
            spoken |= subject == self._thing
            if not self._tells(clause, bare or subject is None):
                continue
            found = [
                (match, self._names[match[0].lower()])
                for match in self._place.finditer(clause)
                if not denied(text, start + match.start())
                and not _FROM.search(clause[: match.start()])
            ]
            if self._of == self._container and found:
                self.container_at = found[-1][1]
            if self._of != self._thing:
                continue
            within = self._within(text, start, clause)
            for match, place in found:
                beside = _BESIDE.search(clause[: match.start()]) is not None
                told.append(_Told(place, within, beside, is_open))
            if not found and within is not None:
                told.append(_Told("", within, False, is_open))
        return told

    def _tells(self, clause: str, verbless: bool) -> bool:
        """Whether a clause says where something is, not what was done to it or was so before."""
        if _BY_ITSELF.search(clause):
            return True
        came = self._of == self._thing and _CAME.search(clause)
        if _DOES.search(clause) or (_EARLIER.search(clause) and not came):
            return False
        return verbless or bool(came or _IS.search(clause))

    def _subject_of(self, clause: str, spoken: bool) -> str | None:
        """Of what a clause speaks; None where it goes on as the one before.

        "It" is the thing where the sentence spoke of it before, or else what was spoken of last.
        """
        for match in self._subject.finditer(clause):
            if _PREPOSITION.search(clause[: match.start()]):
                continue
            if match["it"]:
                thing = spoken or self._of != self._container or _BY_ITSELF.search(clause)
                return self._thing if thing else self._container
            return (match["noun"] or match["who"]).lower()
        return None

    def _within(self, text: str, start: int, clause: str) -> bool | None:
        found = list(self._in.finditer(clause))
        if not found or denied(text, start + found[-1].start()):
            return None
        return found[-1]["in"] is not None
