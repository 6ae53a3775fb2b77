"""Whether a text says that room is short: that so many cannot work in one place at once.

It knows how people say so, and how they suppose it away. It does not know whether it is so.
"""

from __future__ import annotations

import re
from typing import Literal

from pocketlm.evaluate.probes.quantities import plain
from pocketlm.evaluate.probes.statements import sentences

_OTHER = r"(?:each|one\s?an)\s?other"
_NOT = r"(?:n't|\bcannot|\bnot|\bnever|\bno|\bimpossible|\bunlikely|\bhard|\bhardly|\bdifficult)"
_ROOM = r"(?:room|space|area)"


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_SHORT = _any(
    # "limited space", "lack of working room", "there isn't enough room"
    r"\b(?:insufficient|limit\w*|little|lack\w*|no|shortage|restrict\w*|confin\w*|cramped|tight"
    rf"|constrain\w*|small|narrow|run\w* out)\b[^.;]{{0,30}}?\b{_ROOM}\b",
    rf"(?:n't|\bnot)\s(?:\w+\s){{0,2}}(?:enough|sufficient)\s(?:\w+\s)?{_ROOM}\b",
    # "the space is limited", "the size of the hole limits how many"
    rf"\b(?:{_ROOM}|size|hole)\b[^.;]{{0,40}}\b(?:limit\w*|constrain\w*|restrict\w*|too small"
    r"|too narrow|crowded|run\w* out)\b",
    # "cannot all fit", "it is impossible for 50 people to dig there at once"
    rf"{_NOT}\b[^.;]{{0,70}}\b(?:fit|at once|at the same time|at one time|simultaneously"
    r"|all (?:dig|work|paint|stand|help)|have room|work on it together)\b",
    r"\bnot (?:all|every\w+)\b[^.;]{0,40}\b(?:can|could|have room|be able)\b",
    # "only a few can dig", "too many people for one hole"
    r"\bonly (?:a |so |about |up to )?(?:\w+ ){1,4}(?:can|could|would|fits?|may|will)\b",
    r"\b(?:overcrowd\w*|crowding|crowded|too many|diminishing returns|bottleneck)\b",
    # "they get in each other's way"
    rf"\b(?:in|into|on) {_OTHER}\b",
    rf"\b(?:imped|hinder|obstruct|block|bump|interfer)\w*\b[^.;]{{0,20}}{_OTHER}\b",
)
#: That it does not matter, or that there is room after all.
_ENOUGH = _any(
    r"(?<!not )(?<!n't )(?<!not have )(?<!n't have )(?<!not be )(?<!n't be )"
    rf"\b(?:enough|plenty of|ample|sufficient)\s(?:\w+\s)?{_ROOM}\b",
    rf"\b(?:no (?:lack|limit\w*|shortage) (?:of|on|to))\b[^.;]{{0,30}}{_ROOM}",
    rf"\bwithout\b[^.;]{{0,40}}(?:{_OTHER}|interfer|crowd)",
    r"(?:n't|\bnot|\bnever)\s(?:\w+\s){0,2}(?:in|into|crowd\w*|interfer\w*|hinder)\b[^.;]{0,20}"
    rf"{_OTHER}",
    rf"\b{_ROOM} (?:is|was) (?:not|no) (?:a |an )?(?:issue|problem|limit)",
    r"(?:n't|\bnot)\s(?:matter|change|affect|depend|need|require|mean)\b",
)
_SUPPOSES = _any(
    r"\b(?:assum|suppos|ignor|ideal|theoretical)\w*\b|\b(?:provided|as long as|in theory)\b",
    r"\bif (?:there|they|all|everyone|everybody|we|the|space|room)\b",
)
_UNREAL = _any(
    r"\b(?:unrealistic|impractical|impossible|infeasible|unlikely|unreasonable)\b",
    r"\bin (?:practice|reality)\b|\brealistically\b|\bpractically\b|\bhowever\b|\bbut\b",
    r"(?:n't|\bnot)\s(?:\w+\s)?(?:realistic|practical|possible|feasible|likely|true|reasonable)\b",
)
_ABOUT = _any(
    rf"\b(?:{_ROOM}|fit|crowd\w*|all (?:dig|work)|at once|at the same time|simultaneously)\b",
    rf"\b(?:in|into|on|with) {_OTHER}\b|\binterfer\w*\b",
)


def room_short(text: str) -> Literal["said", "supposed", ""]:
    """Whether a text says that room is short, or only supposes that it is not, or neither."""
    supposed = False
    for sentence in sentences(plain(text)):
        supposes, unreal = _SUPPOSES.search(sentence), _UNREAL.search(sentence)
        if supposes and not unreal:
            supposed |= _ABOUT.search(sentence) is not None
            continue
        if _SHORT.search(sentence) and not (_ENOUGH.search(sentence) and not unreal):
            return "said"
        if supposes and unreal and _ABOUT.search(sentence):
            return "said"
    return "supposed" if supposed else ""
