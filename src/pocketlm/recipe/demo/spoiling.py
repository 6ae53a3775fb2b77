"""One thing wrong in a sentence: how its grammar or its sense can be spoilt, minimally.

Each rule gives the places that it can spoil; what stands around is looked at closely enough that
the result is wrong wherever the rule applies. It knows sentences, and no text around them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

Rule = Callable[[str], Iterator[str]]
"""Gives spoilt forms of a sentence."""

_BE = {"is": "are", "was": "were", "has": "have", "does": "do"}
_PLURAL_BE = {many: one for one, many in _BE.items()}
_ONE = r"(?<!and )(?<!or )(?:[Tt]he|[Tt]his|[Ee]ach|[Ee]very|[Aa]n?)"
_MANY = r"(?:[Tt]hese|[Tt]hose|[Tt]he|[Aa]ll|[Ss]ome|[Mm]any|[Ss]everal|[Bb]oth|[Tt]he following)"
_SINGULAR = r"[a-z]*[a-rt-z]"
_PLURAL = r"[a-z]{2,}(?<!s)(?<!u)(?<!i)s"
_SUBJECTS = (
    (re.compile(rf"\b{_ONE} {_SINGULAR} (is|was|has|does)\b"), _BE),
    (re.compile(rf"\b{_MANY} {_PLURAL} (are|were|have|do)\b"), _PLURAL_BE),
    (re.compile(r"\b[Ii]t (is|was|has|does)\b"), _BE),
    (re.compile(r"\b(?:[Tt]hey|[Ww]e) (are|were|have|do)\b"), _PLURAL_BE),
    (re.compile(r"\b[Tt]here (is|was) (?:no|an?|only one)\b"), _BE),
    (re.compile(r"\b[Tt]here (are|were) (?:many|several|two|three|four|some)\b"), _PLURAL_BE),
)
_NOT_NOUNS = (
    "is was can may will must should has does would could might did had in of for to at by with as"
    " and or only also even still never always usually so too one when where if happen occur"
)
_NOUN = rf"(?!(?:{_NOT_NOUNS.replace(' ', '|')})\b){_SINGULAR}"
_DETERMINERS = (
    (
        re.compile(rf"\b([Tt]his|[Ee]ach|[Ee]very) {_NOUN}\b"),
        {"this": "these", "each": "many", "every": "several"},
    ),
    (
        re.compile(rf"\b([Tt]hese|[Tt]hose|[Mm]any|[Ss]everal|[Bb]oth) {_PLURAL}\b"),
        {"these": "this", "those": "that", "many": "much", "several": "each", "both": "every"},
    ),
)
_ARTICLE = re.compile(r"\b([Aa]n?) (?=([a-z]{2,}))")
_BEFORE = re.compile(
    r"\b(the|an?|this|these|its|their|your|of|in|to|for|with|from|by|on|not|be) ([a-z]{2,})\b"
)
_MODAL = re.compile(r"\b(?:can|will|may|must|should|would|could|might|to|not) (be)\b")
_PERFECT = re.compile(r"\b(?:has|have|had) (been)\b")
_INFINITIVE = re.compile(
    r"\b(?:can|will|may|must|should|would|could|cannot) (use|make|take|find|set|give|call|return"
    r"|run|change|contain|create|read|write|add|remove|allow|cause|include|need|get|keep"
    r"|have)\b"
)
_COUNTED = re.compile(
    r"(?<![\w/.,-])(?:two|three|four|five|six|seven|eight|ten|many|several|[2-9]|[1-9]\d+)"
    r" (arguments|bits|bytes|characters|columns|commands|days|digits|elements|fields|files|forms"
    r"|functions|groups|hours|kinds|languages|levels|lines|methods|minutes|modes|months|numbers"
    r"|objects|options|packages|parameters|parts|points|problems|reasons|seconds|sets|states|steps"
    r"|tables|tasks|tests|types|users|values|variables|versions|ways|weeks|words|years)\b"
)
_UNITS = (
    "second seconds minute minutes hour hours day days week weeks month months year years",
    "byte bytes bit bits kilobytes megabytes characters lines columns pixels inches digits",
)
_UNIT = re.compile(
    rf"\b(?:\d[\d,.]*|one|two|three|four|five|ten) ({'|'.join(' '.join(_UNITS).split())})\b"
)


def agreement(sentence: str) -> Iterator[str]:
    """A verb in the other number than its subject."""
    for pattern, others in _SUBJECTS:
        for found in pattern.finditer(sentence):
            yield _put(sentence, found, 1, others[found[1]])


def determiner(sentence: str) -> Iterator[str]:
    """A determiner for the other number than its noun."""
    for pattern, others in _DETERMINERS:
        for found in pattern.finditer(sentence):
            yield _put(sentence, found, 1, others[found[1].lower()])


def article(sentence: str) -> Iterator[str]:
    """`a` before a vowel, `an` before a consonant; words that are read otherwise are let be."""
    for found in _ARTICLE.finditer(sentence):
        if not re.match(r"u|eu|on[ce]|h|x|[a-z]$", found[2]):
            yield _put(sentence, found, 1, "a" if found[1].lower() == "an" else "an")


def order(sentence: str) -> Iterator[str]:
    """A word that introduces another, after it."""
    for found in _BEFORE.finditer(sentence):
        if found.start() > 0 and found[1] != found[2]:
            yield f"{sentence[: found.start()]}{found[2]} {found[1]}{sentence[found.end() :]}"


def verb_form(sentence: str) -> Iterator[str]:
    """A verb in a form that cannot follow the one before."""
    for pattern, other in ((_MODAL, "is"), (_PERFECT, "be")):
        for found in pattern.finditer(sentence):
            yield _put(sentence, found, 1, other)
    for found in _INFINITIVE.finditer(sentence):
        yield _put(sentence, found, 1, {"have": "has"}.get(found[1], found[1] + "s"))


def number(sentence: str) -> Iterator[str]:
    """A single noun after a number of several."""
    for found in _COUNTED.finditer(sentence):
        yield _put(sentence, found, 1, found[1][:-1])


def unit(sentence: str) -> Iterator[str]:
    """A measure of another kind: time for data, data for time."""
    for found in _UNIT.finditer(sentence):
        other = _UNITS[0] if found[1] in _UNITS[1].split() else _UNITS[1]
        many = [each for each in other.split() if each.endswith("s") == found[1].endswith("s")]
        yield _put(sentence, found, 1, many[len(sentence) % len(many)])


def capital(sentence: str) -> Iterator[str]:
    """No capital at the beginning."""
    if re.match(r"[A-Z][a-z]+ ", sentence):
        yield sentence[0].lower() + sentence[1:]


def stop(sentence: str) -> Iterator[str]:
    """A comma where the sentence ends."""
    if sentence.endswith("."):
        yield sentence[:-1] + ","


RULES: dict[str, Rule] = {
    "agreement": agreement,
    "determiner": determiner,
    "article": article,
    "order": order,
    "verb form": verb_form,
    "number": number,
    "unit": unit,
    "capital": capital,
    "stop": stop,
}


def _put(sentence: str, found: re.Match[str], group: int, word: str) -> str:
    """Another word in a group's place, with a capital where that had one."""
    if found[group][0].isupper():
        word = word[0].upper() + word[1:]
    return sentence[: found.start(group)] + word + sentence[found.end(group) :]
