"""What models are judged on: held-back text that no arm's text overlaps with, and items made of it.

Documents were held back before anything was built. But texts repeat each other: what shares runs of
words with a text that an arm reads, or with held-back text that came before it, is left out here.
It knows texts and items; it asks no model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

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
#: Words of a run that no item may share with a text that an arm reads.
ITEM_WORDS = 8
#: Tokens of each set that training's curves are drawn by.
CURVE_TOKENS = 16_384
_SEED = 1
_Item = TypeVar("_Item", Choice, Pair)


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
    known_items: int
    """Items left out because words of them are in a text that an arm reads."""


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
    read = [hashes(plain_words(text)) for arm in ARMS for _, text in lines(layout.documents(arm))]
    known = _runs_of(read, WORDS)
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
    known = _runs_of(read, ITEM_WORDS)
    wanted = setting.judging
    # More than is wanted, as some will be known.
    more = items.choices(texts, count=2 * wanted.choices, seed=_SEED)
    choices = _unknown(more, [f"{each.context} {each.options[each.right]}" for each in more], known)
    others = items.pairs(texts, count=2 * wanted.pairs, seed=_SEED)
    pairs = _unknown(others, [each.good for each in others], known)
    left_out = len(more) + len(others) - len(choices) - len(pairs)
    # Items come kind by kind in turn: the first of them are of all kinds.
    choices, pairs = choices[: wanted.choices], pairs[: wanted.pairs]
    _write(layout.items("choices"), choices)
    _write(layout.items("pairs"), pairs)
    held_back = HeldBack(sets=left, choices=len(choices), pairs=len(pairs), known_items=left_out)
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


def _unknown(made: Sequence[_Item], texts: Sequence[str], known: Hashes) -> list[_Item]:
    """Items, each with its right text, that share no run of words with `known`."""
    return [
        item
        for item, text in zip(made, texts, strict=True)
        if not _within(runs(hashes(plain_words(text)), ITEM_WORDS), known).any()
    ]


def _runs_of(texts: Iterable[Hashes], length: int) -> Hashes:
    """All runs of so many words of texts whose words are hashed; sorted, each once."""
    return np.unique(np.concatenate([runs(words, length) for words in texts]))


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
