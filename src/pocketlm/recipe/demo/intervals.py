"""What scores of arms say: levels and paired differences, with intervals over seeds and over items.

Seeds say how much chance in training matters: Student's t over the seeds' means. Items say how much
the choice of items matters: a bootstrap of items, each with its mean over the seeds. Runs of one
seed share initial weights and the order of places, and all answer the same items, so differences
are paired in both. Two arms are told apart only where both intervals leave 0 out.

It knows arrays of numbers; it does not know what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pocketlm.evaluate.statistics import CONFIDENCE, student_quantile

Values = npt.NDArray[np.float64]
Interval = tuple[float, float]
#: Of the bootstrap.
_DRAWS = 2_000
_AT_ONCE = 100


@dataclass(frozen=True)
class Found:
    """A mean or a difference of means; `of_seeds` are those of each seed."""

    value: float
    of_seeds: tuple[float, ...]
    by_seeds: Interval
    """Both ends are nan with one seed."""
    by_items: Interval

    @property
    def told_apart(self) -> bool:
        """Whether both intervals lie on the same side of 0."""
        ends = (*self.by_seeds, *self.by_items)
        return all(end > 0 for end in ends) or all(end < 0 for end in ends)


def level(scores: Values, weights: Values, groups: Sequence[str] | None = None) -> Found:
    """The mean of `scores` [seeds, items]: sums over items by sums of `weights` [items].

    For bits a byte, scores are bits and weights bytes; for other items weights are 1. Items of one
    group are drawn together.
    """
    of_seeds, items = scores.sum(axis=1) / weights.sum(), scores.mean(axis=0)
    if groups is not None:
        group_of = np.unique(groups, return_inverse=True)[1]
        items = np.bincount(group_of, items).astype(np.float64)
        weights = np.bincount(group_of, weights).astype(np.float64)
    return Found(
        float(of_seeds.mean()),
        tuple(map(float, of_seeds)),
        _student(of_seeds),
        _bootstrap(items, weights),
    )


def difference(
    before: Values, after: Values, weights: Values, groups: Sequence[str] | None = None
) -> Found:
    """How much more `after` has than `before`: seeds and items in the same order in both."""
    return level(after - before, weights, groups)


def _student(of_seeds: Values) -> Interval:
    count = len(of_seeds)
    if count < 2:
        return math.nan, math.nan
    error = float(of_seeds.std(ddof=1)) / math.sqrt(count)
    reach = student_quantile((1 + CONFIDENCE) / 2, count - 1.0) * error
    middle = float(of_seeds.mean())
    return middle - reach, middle + reach


def _bootstrap(scores: Values, weights: Values) -> Interval:
    """Percentiles of the mean over items drawn again; the draws are the same each time."""
    count = len(scores)
    generator = np.random.default_rng(0)
    means: list[Values] = []
    for _ in range(0, _DRAWS, _AT_ONCE):
        drawn = generator.integers(count, size=(_AT_ONCE, count))
        means.append(scores[drawn].sum(axis=1) / weights[drawn].sum(axis=1))
    low, high = np.quantile(np.concatenate(means), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
