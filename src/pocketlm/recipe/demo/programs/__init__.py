"""Synthetic textbook-like English, made by programs: no model, no network, the same by seed.

Each subject is a module with lessons: functions that are given a source of chance and return the
paragraphs of one lesson. It knows which subjects there are, and how much is wanted.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from pocketlm.formats.output import new_file
from pocketlm.recipe.demo.programs import arithmetic
from pocketlm.recipe.demo.programs.lesson import Lesson

LESSONS: tuple[Lesson, ...] = (*arithmetic.LESSONS,)


def write(out: Path, *, megabytes: float, seed: int) -> Path:
    """Write `megabytes` (10**6 bytes of text) of lessons into the file `out`; returns it.

    Lines of JSON with `text`, `id`, `source` and `kind`. Raises OutputError where it cannot be
    written.
    """
    wanted, size = int(megabytes * 1e6), 0
    with new_file(out) as file:
        for number, (kind, text) in enumerate(lessons(seed)):
            if size >= wanted:
                break
            doc = {
                "text": text,
                "id": f"program/{kind}/{number}",
                "source": "programs",
                "kind": kind,
            }
            file.write(json.dumps(doc, ensure_ascii=False).encode() + b"\n")
            size += len(text.encode())
    return out


def lessons(seed: int) -> Iterator[tuple[str, str]]:
    """Lessons without end: the kind of each, and its text."""
    chance = random.Random(seed)
    while True:
        order = list(LESSONS)
        chance.shuffle(order)
        for make in order:
            yield make.__name__, "\n\n".join(make(chance))
