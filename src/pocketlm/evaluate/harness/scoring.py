"""How probable continuations of texts are: many at a time, what they share processed once.

It knows token ids and the engine. It does not know texts, tasks or the harness.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pocketlm.engine.engine import Engine
from pocketlm.errors import ModelFileError

#: Tokens of a batch beyond those that its texts share: enough to fill steps, of which the cache
#: must hold all at once.
BATCH = 1024

Ids = Sequence[int]


@dataclass(frozen=True)
class Score:
    """A continuation's log-probability (natural), and whether the likeliest tokens spell it."""

    logprob: float
    greedy: bool


def scores(engine: Engine, pairs: Sequence[tuple[Ids, Ids]]) -> Iterator[tuple[int, Score]]:
    """The score of each continuation after its context, both not empty, as it is known.

    With the index of the pair; pairs whose contexts begin alike come one after the other. Raises
    ContextError for a pair of more tokens than the context has, and one for the last, which is not
    processed. Raises ModelFileError for logits that are no numbers.
    """
    for batch in _batches(pairs):
        among = [pairs[index] for index in batch]
        # The last token is predicted and predicts nothing.
        texts = [[*context, *continuation[:-1]] for context, continuation in among]
        firsts = [len(context) - 1 for context, _ in among]
        logprobs, agreed, rows_of = [0.0] * len(batch), [True] * len(batch), [0] * len(batch)
        for rows in engine.branching(texts, firsts):
            likeliest, totals = _summary(rows.logits)
            for place in rows.texts:
                begin = rows_of[place]
                right = np.array(among[place][1][begin : begin + len(totals)], dtype=np.intp)
                found = rows.logits[np.arange(len(right)), right].astype(np.float64) - totals
                logprobs[place] += float(found.sum())
                agreed[place] &= bool((likeliest == right).all())
                rows_of[place] += len(right)
                if rows_of[place] == len(among[place][1]):
                    yield batch[place], Score(logprobs[place], agreed[place])


def _summary(
    logits: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Of logits [n, vocabulary] the likeliest token of each row, and the log of its sum of exp."""
    likeliest = logits.argmax(axis=1)
    greatest = logits[np.arange(len(logits)), likeliest]
    if not np.isfinite(greatest).all():
        raise ModelFileError(
            "the model's output is not a number: the weights are damaged; pull the model again"
        )
    sums = np.exp(logits - greatest[:, None]).sum(axis=1, dtype=np.float64)
    return likeliest, greatest + np.log(sums)


def _batches(pairs: Sequence[tuple[Ids, Ids]]) -> Iterator[list[int]]:
    """Indices of pairs by what they begin with, so many at a time as BATCH allows."""
    # Big-endian bytes are in the order of the ids, and quickly compared.
    keys = [np.array([*c, *t], dtype=">u4").tobytes() for c, t in pairs]
    batch: list[int] = []
    size = 0
    for index in sorted(range(len(pairs)), key=keys.__getitem__):
        if batch:
            size += (len(keys[index]) - shared(keys[batch[-1]], keys[index])) // 4
            if size > BATCH and pairs[index][0] != pairs[batch[-1]][0]:
                yield batch
                batch, size = [], 0
        batch.append(index)
    if batch:
        yield batch


def shared(one: bytes | str, other: bytes | str) -> int:
    """How long a beginning two texts share; by halving, as comparing slices takes no time."""
    least, most = 0, min(len(one), len(other))
    while least < most:
        middle = (least + most + 1) // 2
        if one[:middle] == other[:middle]:
            least = middle
        else:
            most = middle - 1
    return least
