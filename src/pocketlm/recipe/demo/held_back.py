"""What models are judged on: held-back text that no arm's text overlaps with, and items made of it.

Documents were held back before anything was built. But texts repeat each other: what shares runs of
words with a text that an arm reads, or with held-back text that came before it, is left out here.
It knows texts and items; it asks no model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from pocketlm.errors import Error
from pocketlm.formats.output import new_file
from pocketlm.formats.tokenizer import from_folder
from pocketlm.recipe.data.runs import Hashes, hashes, plain_words, runs
from pocketlm.recipe.demo import items
from pocketlm.recipe.demo.arms import write_shards
from pocketlm.recipe.demo.configuration import Demonstration
from pocketlm.recipe.demo.items import Choice, Pair
from pocketlm.recipe.demo.layout import ARMS, SETS, Layout
from pocketlm.recipe.demo.material import texts_of
from pocketlm.recipe.demo.ordering import Text, lines
from pocketlm.recipe.train.tell import Tell

#: Words of a run, as decontamination has them.
WORDS = 13
#: Share of a document's runs that may be known, and yet it counts as unseen.
KNOWN = 0.05
#: Tokens of each set that training's curves are drawn by.
CURVE_TOKENS = 16_384
_SEED = 1


class Left(BaseModel):
    """What is left of a set, and why the rest is not."""

    documents: int
    bytes: int
    overlapping: int
    """Documents that share runs of words with an arm's text, or with an earlier document."""
    short: int
    """Documents too short to tell."""


class HeldBack(BaseModel):
    """The sets, and how many items there are."""

    sets: dict[str, Left]
    choices: int
    pairs: int


def prepare(setting: Demonstration, layout: Layout, tell: Tell) -> HeldBack:
    """Choose held-back text and make items of it, or read what was done.

    Raises Error where nothing is left.
    """
    done = layout.out / "held-back.json"
    if done.exists():
        return HeldBack.model_validate_json(done.read_bytes())
    tell("comparing held-back text with what the arms read")
    layout.held_back("raw").parent.mkdir(exist_ok=True)
    layout.items("pairs").parent.mkdir(exist_ok=True)
    known = _runs_of(text for arm in ARMS for _, text in lines(layout.documents(arm)))
    left = {name: _choose(layout, name, arm, known) for name, arm in SETS.items()}
    tokenizer = from_folder(layout.tokenizer)
    for name in SETS:
        if not left[name].documents:
            raise Error(
                f"no held-back document is left for the set {name!r}; say more corpus.megabytes"
            )
        documents = (tokenizer.encode(text) for _, text in lines(layout.held_back(name)))
        some = _some(documents, max(CURVE_TOKENS, setting.training.context + 1))
        write_shards(layout.held_back_shards(name), some, tokenizer, layout.tokenizer, name)
    tell("making items of held-back text")
    # Of all held-back text, not of the filtered: no arm's way of choosing chooses the items.
    texts = [text for _, text in lines(layout.held_back("raw"))]
    choices = items.choices(texts, count=setting.judging.choices, seed=_SEED)
    pairs = items.pairs(texts, count=setting.judging.pairs, seed=_SEED)
    _write(layout.items("choices"), choices)
    _write(layout.items("pairs"), pairs)
    held_back = HeldBack(sets=left, choices=len(choices), pairs=len(pairs))
    with new_file(done) as file:
        file.write(held_back.model_dump_json(indent=1).encode() + b"\n")
    return held_back


def read_choices(layout: Layout) -> list[Choice]:
    """The items of several options."""
    rows = _read(layout.items("choices"))
    return [Choice(**row | {"options": tuple(row["options"])}) for row in rows]


def read_pairs(layout: Layout) -> list[Pair]:
    """The minimal pairs."""
    return [Pair(**row) for row in _read(layout.items("pairs"))]


def _choose(layout: Layout, name: str, arm: str, known: Hashes) -> Left:
    """Write the documents of a set that are unseen, in the order that their hashes decide."""
    own: set[int] = set()
    kept = size = overlapping = short = 0
    texts = (Text(*each) for each in texts_of(layout, f"held-back-{arm}"))
    with new_file(layout.held_back(name)) as file:
        for document in sorted(texts, key=lambda text: text.place):
            found = runs(hashes(plain_words(document.text)), WORDS)
            if not len(found):
                short += 1
                continue
            before = np.fromiter((int(run) in own for run in found), bool, len(found))
            if (before | _within(found, known)).mean() > KNOWN:
                overlapping += 1
                continue
            own.update(found.tolist())
            kept, size = kept + 1, size + document.bytes
            row = {"id": document.id, "text": document.text}
            file.write(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
    return Left(documents=kept, bytes=size, overlapping=overlapping, short=short)


def _runs_of(texts: Iterable[str]) -> Hashes:
    """All runs of words of the texts, sorted, each once."""
    each = [runs(hashes(plain_words(text)), WORDS) for text in texts]
    return np.unique(np.concatenate(each)) if each else np.zeros(0, np.uint64)


def _within(found: Hashes, known: Hashes) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which of `found` are in the sorted `known`."""
    places = np.minimum(np.searchsorted(known, found), len(known) - 1)
    return np.asarray(known[places] == found)


def _some(documents: Iterable[list[int]], tokens: int) -> Iterator[list[int]]:
    """The first documents, of so many tokens or a few more."""
    for ids in documents:
        if tokens <= 0:
            return
        yield ids
        tokens -= len(ids)


def _write(path: Path, rows: Iterable[Choice | Pair]) -> None:
    with new_file(path) as file:
        for row in rows:
            text = json.dumps(row._asdict(), ensure_ascii=False)
            file.write(text.encode("utf-8", "replace") + b"\n")


def _read(path: Path) -> list[dict[str, Any]]:
    with path.open("rb") as file:
        return [json.loads(line) for line in file]
