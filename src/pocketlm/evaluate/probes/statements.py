"""Which of an answer's sentences is the answer, and what in it is said to be so.

The last statement counts: people who think aloud correct themselves. What is denied ("not 8
hours"), given as a reason ("because …") or supposed ("if …") is no statement. It knows English
sentences; it does not know what is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from pocketlm.evaluate.probes.quantities import plain

#: What announces an answer; the last one of a sentence is where the answer begins.
_ANNOUNCED = re.compile(
    r"\b(?:answer|conclusion)(?:\s+(?:to|of|for)\s[^.:]{1,60}?)?"
    r"\s*(?:\s(?:is|are|would be|will be|should be)\b"
    r"(?!\s+(?:not|based|correct|because|wrong|incorrect|obtained|found|given)\b)|:|=)\s*:?|####",
    re.IGNORECASE,
)
_HEADING = re.compile(r"\b(?:answer|conclusion)\s*:?\s*$|####\s*$", re.IGNORECASE)
#: What takes back the answer before it.
_TAKEN_BACK = re.compile(
    r"^\W*(?:wait|actually|correction|sorry|hold on|oops|let me (?:re|correct)|i made a mistake"
    r"|no,|on second thought|i was wrong|that(?:'s| is) (?:wrong|not right|incorrect))"
    r"|\b(?:correct(?:ed)? answer|i was wrong|made a mistake|let me re-?\w+)\b",
    re.IGNORECASE,
)
_CONCLUDES = re.compile(
    r"^\W*(?:so|therefore|thus|hence|in conclusion|in total|finally|overall|consequently|but"
    r"|however|in reality|in fact|as a result)\b",
    re.IGNORECASE,
)
#: Sentences that explain or check an answer, and what begins a check that goes to the end.
_EXPLAINS = re.compile(
    r"^\W*(?:this is (?:because|since)|that is (?:because|since)|it is because|because|the reason"
    r"|this answer|note|remember|explanation|assuming|for (?:example|instance)"
    r"|in other words, if|similarly"
    r"|(?:we|i|you) (?:can )?(?:find|found|calculate[ds]?|divide[ds]?) (?:this|that|it) by)\b",
    re.IGNORECASE,
)
_CHECKS = re.compile(
    r"^\W*(?:check|checking|verif\w+|proof|to (?:check|verify)|(?:we|you) can (?:check|verify)"
    r"|let(?:'s| us) (?:check|verify)|substitut\w+|plugging)\b",
    re.IGNORECASE,
)
#: A sentence that was cut short.
_UNFINISHED = re.compile(
    r"\b(?:the|an?|of|to|for|in|on|at|by|and|or|but|with|that|it|is|are|was|be|from|into)\s*$",
    re.IGNORECASE,
)
_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+|\s*\n\s*|(?<=[^\d])(?<!\b[A-Z])[.!?]\s*$")
_REASON = re.compile(
    r"[,;]?\s*\b(?:because|since|as (?:the|each|all|every|they|it)|given that|due to"
    r"|which (?:is|are|means)|considering|although|even though|while|whereas|no matter|regardless"
    r"|knowing|assuming|compared (?:to|with))\b.*",
    re.IGNORECASE | re.DOTALL,
)
_SUPPOSED = re.compile(
    r"^(\W*(?:(?:so|therefore|thus|hence|and|but|then),?\s+)?)"
    r"(?:if|since|because|as|given(?: that)?|when|assuming|although|while)\s[^,]{1,300},\s*",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"(?:\bnot|n't|\bnever|\brather than|\binstead of|\bas opposed to|\bunlike|\bneither|\bnor"
    r"|\bno longer|\bcannot)\b(?:(?!\bbut\b)[^.,;:])*$",
    re.IGNORECASE,
)
_RANGE = re.compile(r"^\W*(?:or|to|and/or|and maybe)\W+(?:\w+\W+){0,2}$|^-$", re.IGNORECASE)
_CHOICE = re.compile(r"\b(?:or|alternatively)\b(?! less| more| so\b)", re.IGNORECASE)
_BOUND = re.compile(
    r"\b(?:(?:more|less|longer|shorter|fewer|greater|faster|slower|higher|lower) than|up to|over"
    r"|under|above|below)\s*$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Final:
    """The sentence that is the answer, and others that announce one and were not taken back.

    `said` is the sentence without what announces it; `announced` is whether it had that.
    """

    said: str
    announced: bool
    rivals: tuple[str, ...] = ()


def sentences(text: str) -> list[str]:
    """The sentences and lines of a `plain` text, none of them blank."""
    return [part.strip() for part in _END.split(text) if part and part.strip()]


def own(answer: str, question: str) -> str:
    """An answer without the sentences that only repeat the question, as `plain` text."""
    asked = {_bare(sentence) for sentence in sentences(plain(question))}
    return "\n".join(s for s in sentences(plain(answer)) if _bare(s) not in asked)


def final(text: str, tells: Callable[[str], bool]) -> Final | None:
    """The statement that counts in a `plain` text, of those that `tells` says to tell something.

    An announced answer counts before others, unless a later conclusion follows it. None where
    nothing is told.
    """
    found = _joined(sentences(text))
    if len(found) > 1 and _UNFINISHED.search(found[-1]):
        found.pop()
    told = [n for n, sentence in enumerate(found) if tells(sentence)]
    checks = [n for n, sentence in enumerate(found) if _CHECKS.match(sentence)]
    if told and checks and checks[-1] > told[0]:
        cut = next(n for n in checks if n > told[0])
        told = [n for n in told if n < cut or _ANNOUNCED.search(found[n])]
    if not told:
        return None
    announced = [
        n for n in told if tells(after_announcement(found[n])) and _ANNOUNCED.search(found[n])
    ]
    plain = [n for n in told if not _EXPLAINS.match(found[n])] or told
    last = announced[-1] if announced else plain[-1]
    if announced:
        concluded = [n for n in plain if n > last and _CONCLUDES.match(found[n])]
        last = concluded[-1] if concluded else last
    back = [n for n, sentence in enumerate(found) if n <= last and _TAKEN_BACK.search(sentence)]
    since = back[-1] if back else 0
    rivals = tuple(after_announcement(found[n]) for n in announced if since <= n and n != last)
    return Final(after_announcement(found[last]), last in announced, rivals)


def after_announcement(sentence: str) -> str:
    """What follows the last announcement in a sentence, or all of it."""
    *_, last = (0, *(match.end() for match in _ANNOUNCED.finditer(sentence)))
    return sentence[last:]


def clauses(sentence: str, breaks: re.Pattern[str]) -> list[tuple[int, str]]:
    """What stands between breaks in a sentence, each with where it begins; none of it blank."""
    found = list(breaks.finditer(sentence))
    ends = [0, *(match.end() for match in found)]
    begins = [*(match.start() for match in found), len(sentence)]
    spans = zip(ends, begins, strict=True)
    return [(a, sentence[a:b]) for a, b in spans if sentence[a:b].strip()]


def main_clause(sentence: str) -> str:
    """A sentence without its reasons and suppositions, unless nothing else is in it."""
    bare = _SUPPOSED.sub(r"\1", sentence)
    rest = _REASON.sub("", bare).strip()
    return rest or bare


def denied(text: str, start: int) -> bool:
    """Whether what begins at `start` is said not to be so."""
    return _DENIED.search(text[max(0, start - 80) : start]) is not None


def hedged(text: str, end: int, start: int) -> bool:
    """Whether two things, one that ends at `end` and one that begins at `start`, are a choice."""
    between = text[end:start]
    return ranges(between) or _CHOICE.search(between) is not None


def ranges(between: str) -> bool:
    """Whether what stands between two things makes a range or a choice of them: "4 or 5"."""
    return _RANGE.match(between) is not None


def bounds(text: str, start: int) -> bool:
    """Whether what begins at `start` is said to be a bound: "more than", "up to"."""
    return _BOUND.search(text[max(0, start - 40) : start]) is not None


def _bare(sentence: str) -> str:
    return re.sub(r"\W+", " ", sentence).strip().casefold()


def _joined(found: list[str]) -> list[str]:
    """Sentences, a heading ("Answer:") with the one after it."""
    joined: list[str] = []
    for sentence in found:
        if joined and _HEADING.search(joined[-1]):
            joined[-1] = f"{joined[-1].rstrip(': ')}: {sentence}"
        else:
            joined.append(sentence)
    return joined
