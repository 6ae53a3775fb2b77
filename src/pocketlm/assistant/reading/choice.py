"""Which reader suits a model: measured once for each, on passages that say what nobody else says.

A model that is large enough answers better in its own words; a small one does better by extraction.
Where the border lies differs between models, so it is measured on the model at hand: both readers
answer the questions of `probes.json`, whose facts are made up, and the free one is taken where it
is right at least as often. What was measured is kept in a file. Knows models and readers.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pocketlm.api import Model
from pocketlm.assistant.reading.extraction import Extractor
from pocketlm.assistant.reading.free import answer_freely

_KEPT = "readers.json"


@dataclass(frozen=True)
class Measured:
    """How many of so many questions each reader answered right."""

    free: int
    extracted: int
    questions: int

    @property
    def freely(self) -> bool:
        """Whether the model is to answer in its own words."""
        return self.free >= self.extracted


def measured(model: Model, home: Path, tell: Callable[[str], None] = lambda _: None) -> Measured:
    """What was measured of this model, now or before; `tell` hears of it when it takes time."""
    path = home / _KEPT
    kept = _read(path)
    name = _name(model)
    try:
        return Measured(**kept[name])
    except (KeyError, TypeError):
        found = measure(model, tell)
        _write(path, {**kept, name: vars(found)})
        return found


def measure(model: Model, tell: Callable[[str], None] = lambda _: None) -> Measured:
    """Have both readers answer all questions."""
    extractor = Extractor(model)
    questions = _probes()
    free = extracted = 0
    for number, (passage, question, known) in enumerate(questions, 1):
        tell(f"trying out how this model reads, once: {number} of {len(questions)}")
        said = answer_freely(model, question, [passage])
        free += said is None if known is None else _has(said, known)
        if known is not None:
            phrase = extractor.read(question, passage)
            extracted += phrase is not None and _has(phrase.text, known)
    return Measured(free, extracted, len(questions))


def _has(said: str | None, known: str) -> bool:
    return said is not None and known.lower() in said.lower()


@cache
def _probes() -> list[tuple[str, str, str | None]]:
    text = (Path(__file__).parent / "probes.json").read_text(encoding="utf-8")
    return [
        (each["passage"], question, known)
        for each in json.loads(text)
        for question, known in each["asked"]
    ]


def _name(model: Model) -> str:
    """The same for the same weights run the same way."""
    digest = hashlib.sha256(model.engine.runtime.identity.encode())
    for name, tensor in sorted(model.checkpoint.tensors.items()):
        digest.update(name.encode() + bytes(tensor.data[:64]))
    return digest.hexdigest()[:32]


def _read(path: Path) -> dict[str, dict[str, int]]:
    """What is kept; a file that cannot be read is as good as none: it is measured again."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _write(path: Path, kept: dict[str, dict[str, int]]) -> None:
    """Where it cannot be kept it is measured again the next time."""
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(json.dumps(kept, indent=1))
        os.replace(file.name, path)
