"""What a finished model scores, item by item, by the engine that people run it with.

- Held-back text: nats of each document (what its tokens cost), to be divided by its bytes.
- Items of several options: the log of the right option's share, of the options' probabilities per
  byte (DataDecide, arXiv 2504.11393: at this size accuracy is chance, and this is not).
- Minimal pairs: 1 where the good text is more probable as a whole than the bad one.

It knows the engine and items; it compares no models.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import pocketlm
from pocketlm.api import Model
from pocketlm.evaluate.harness.scoring import Ids, scores
from pocketlm.formats.output import new_file
from pocketlm.recipe.demo import held_back
from pocketlm.recipe.demo.configuration import Demonstration
from pocketlm.recipe.demo.items import Choice, Pair
from pocketlm.recipe.demo.layout import SETS, Layout
from pocketlm.recipe.demo.ordering import Text, lines
from pocketlm.recipe.demo.training import Run
from pocketlm.recipe.train.loop import MODEL
from pocketlm.recipe.train.tell import Tell

Values = npt.NDArray[np.float64]

#: Characters of a held-back document that count, so that a long one does not count for many.
_CUT = 4_000


@dataclass(frozen=True)
class Asked:
    """What all models are asked."""

    texts: dict[str, list[str]]
    """Held-back text by set."""
    choices: list[Choice]
    pairs: list[Pair]


def asked(setting: Demonstration, layout: Layout) -> Asked:
    """Read what models are judged on; texts are the first of their order."""
    texts = {name: _some(layout, name, setting.judging.bytes) for name in SETS}
    return Asked(texts, held_back.read_choices(layout), held_back.read_pairs(layout))


def judge(setting: Demonstration, layout: Layout, run: Run, what: Asked, tell: Tell) -> None:
    """Judge a finished model and keep its scores; nothing where that was done."""
    target = layout.judged(run.arm, run.seed)
    if target.exists():
        return
    target.parent.mkdir(exist_ok=True)
    folder = layout.run(run.arm, run.seed) / MODEL
    with pocketlm.load(folder, threads=setting.threads, cache_type="f32") as model:
        tell("judging: held-back text")
        found = {f"text-{name}": _nats(model, texts) for name, texts in what.texts.items()}
        tell(f"judging: {len(what.choices):,} items of several options")
        found["choices"], found["choices-right"] = choices(model, what.choices)
        tell(f"judging: {len(what.pairs):,} minimal pairs")
        found["pairs"] = pairs(model, what.pairs)
    with new_file(target) as file:
        np.savez_compressed(file, allow_pickle=False, **found)


def read_scores(layout: Layout, run: Run) -> dict[str, Values]:
    """What `judge` kept: `text-SET`, `choices`, `choices-right`, `pairs`; an array each."""
    with np.load(layout.judged(run.arm, run.seed), allow_pickle=False) as held:
        return {name: np.asarray(held[name], np.float64) for name in held.files}


def choices(model: Model, items: Sequence[Choice]) -> tuple[Values, Values]:
    """Of each item the log of the right option's share, and whether it is the largest."""
    begin = model.text_tokens("")
    wanted: list[tuple[Ids, Ids]] = []
    for item in items:
        context = model.tokenizer.encode(item.context)
        wholes = [model.tokenizer.encode(f"{item.context} {each}") for each in item.options]
        # What follows may change how the end of the context is cut into tokens: options are
        # compared after what they all begin with.
        common = min(_shared(context, whole) for whole in wholes)
        wanted += [([*begin, *whole[:common]], whole[common:]) for whole in wholes]
    found = iter(logprobs(model, wanted))
    shares, right = [], []
    for item in items:
        each = np.array([next(found) / len(option.encode()) for option in item.options])
        each -= each.max()
        shares.append(float(each[item.right] - math.log(np.exp(each).sum())))
        right.append(float(each.argmax() == item.right))
    return np.array(shares), np.array(right)


def pairs(model: Model, items: Sequence[Pair]) -> Values:
    """Of each pair 1 where the good text is more probable, 0 where the bad one is; a half where
    they are alike. Each is taken as a whole text, with its end: a comma may be as probable as a
    full stop, but nothing ends with it.
    """
    begin = model.text_tokens("")  # what begins a text also ends it
    texts = [text for item in items for text in (item.good, item.bad)]
    wanted = [(begin, [*model.tokenizer.encode(text), *begin]) for text in texts]
    found = np.array(logprobs(model, wanted))
    gains = found[::2] - found[1::2]
    return np.where(gains > 0, 1.0, np.where(gains < 0, 0.0, 0.5))


def logprobs(model: Model, wanted: Sequence[tuple[Ids, Ids]]) -> list[float]:
    """The log-probability of each continuation after its context; what is longer than the model's
    window goes in pieces, each after the last token of the one before.
    """
    pieces: list[tuple[Ids, Ids]] = []
    owners: list[int] = []
    for owner, (context, continuation) in enumerate(wanted):
        for piece in _pieces(context, continuation, model.context):
            pieces.append(piece)
            owners.append(owner)
    totals = [0.0] * len(wanted)
    for index, score in scores(model.engine, pieces):
        totals[owners[index]] += score.logprob
    return totals


def _pieces(context: Ids, continuation: Ids, most: int) -> Iterable[tuple[Ids, Ids]]:
    if len(continuation) <= most:
        yield context[-(most + 1 - len(continuation)) :], continuation
        return
    before = context[-1:]
    for start in range(0, len(continuation), most):
        piece = continuation[start : start + most]
        yield before, piece
        before = piece[-1:]


def _nats(model: Model, texts: Sequence[str]) -> Values:
    begin = model.text_tokens("")
    return -np.array(logprobs(model, [(begin, model.tokenizer.encode(text)) for text in texts]))


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two texts begin with alike."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _some(layout: Layout, name: str, size: int) -> list[str]:
    """The first documents of a set, cut, of `size` bytes or a few more."""
    found: list[str] = []
    for id, text in lines(layout.held_back(name)):
        if size <= 0:
            break
        found.append(text[:_CUT])
        size -= Text(id, text[:_CUT]).bytes
    return found
