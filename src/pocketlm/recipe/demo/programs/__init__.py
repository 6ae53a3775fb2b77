"""Synthetic textbook-like English, made by programs: no model, no network, the same by seed.

Each subject is a module with lessons: functions that are given a voice and return the paragraphs of
one lesson. It knows which subjects there are, how lessons become documents, what was said before.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import xxhash

from pocketlm.formats.output import new_file
from pocketlm.recipe.demo.programs import arithmetic, computing, measures, reasoning, world
from pocketlm.recipe.demo.programs.lesson import Lesson, Voice

LESSONS: tuple[Lesson, ...] = (
    *arithmetic.LESSONS,
    *measures.LESSONS,
    *world.LESSONS,
    *reasoning.LESSONS,
    *computing.LESSONS,
)
_NEW = 0.5
"""Least share of a lesson's sentences that were not said before."""
_SENTENCE = re.compile(r"(?<=[.?!:])\s+|\n+")


def write(out: Path, *, megabytes: float, seed: int) -> Path:
    """Write `megabytes` (10**6 bytes of text) into the file `out`; returns it.

    Lines of JSON with `text`, `id`, `source` and `kind`; a document has two to four lessons.
    Raises OutputError where it cannot be written.
    """
    wanted, size, number = int(megabytes * 1e6), 0, 0
    chance, made = random.Random(seed), lessons(seed)
    with new_file(out) as file:
        while size < wanted:
            text = "\n\n".join(islice(made, chance.randint(2, 4)))
            doc = {"text": text, "id": f"programs/{number}", "source": "programs", "kind": "lesson"}
            file.write(json.dumps(doc, ensure_ascii=False).encode() + b"\n")
            size, number = size + len(text.encode()), number + 1
    return out


def lessons(seed: int) -> Iterator[str]:
    """Lessons without end, each subject's in turn; one that says little new is left out."""
    voice, said = Voice(random.Random(seed)), set[int]()
    while True:
        for make in voice.mixed(LESSONS):
            text = "\n\n".join(make(voice))
            sentences = {xxhash.xxh64_intdigest(each.encode()) for each in _SENTENCE.split(text)}
            if len(sentences - said) >= _NEW * len(sentences):
                said |= sentences
                yield text
