"""What a classifier finds worth learning from."""

from __future__ import annotations

import functools
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter

from pocketlm.recipe.data.classifier import Classifier, read_classifier


class Quality(BaseFilter):  # type: ignore[misc]
    """Keeps documents that a classifier gives a probability of `least` or more; notes it."""

    name = "quality"

    def __init__(self, folder: Path, least: float) -> None:
        """By the classifier in `folder`. Raises ParameterError where there is none."""
        super().__init__()
        read_classifier(folder)
        self._folder, self._least = folder, least

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Whether it is likely enough."""
        probability = float(_classifier(self._folder).probabilities([doc.text])[0])
        doc.metadata["quality"] = round(probability, 3)
        if probability >= self._least:
            return True
        return False, "teaches little"


@functools.lru_cache(maxsize=1)
def _classifier(folder: Path) -> Classifier:
    return read_classifier(folder)
