"""What scores of items say of a model: means and paired differences, with intervals and p values.

It knows numbers, and which of them belong together; no task, no model and no file. Everything is
computed the same way each time: what is drawn is drawn with a fixed seed.

- The mean of 0/1 scores: Wilson's score interval ("Probable inference", 1927), which holds for few
  items and for scores that are all alike.
- The mean of other scores: Student's t.
- A paired difference of 0/1 scores: the adjusted interval of Bonett and Price (2012, "Adjusted
  Wald confidence interval for a difference of binomial proportions based on paired data"), and
  McNemar's test, exact.
- A paired difference of other scores: Student's t, and a test that flips the signs of the
  differences: all ways where there are few items, DRAWS random ones where there are many.
- Where items come in groups (questions about one passage), a group is what was drawn at random:
  errors are those of sums over groups, with as many degrees of freedom as there are groups less one
  (Miller 2024, "Adding error bars to evals"), and signs are flipped by group.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

CONFIDENCE = 0.95
#: Random flips of the permutation test: p values down to 5e-5.
DRAWS = 20_000
#: Up to so many differences that are not 0, all flips are tried.
_EXACT = 14
#: Beyond so many degrees of freedom Student's distribution is the normal one.
_MANY = 2_000


@dataclass(frozen=True)
class Estimate:
    """A mean, its confidence interval, and of how many items."""

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Difference:
    """The mean of B's scores less that of A's, on the same items.

    Intervals lie about `centre`, which the adjustment for few items moves from `value`; `error` is
    the standard error, `freedom` its degrees of freedom. `p` is of "there is no difference", two
    sided. `better` and `worse` count items.
    """

    value: float
    centre: float
    error: float
    freedom: float
    p: float
    count: int
    better: int
    worse: int

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Both ends; each end alone is a one-sided bound, of half the risk of being wrong."""
        reach = student_quantile((1 + confidence) / 2, self.freedom) * self.error
        return self.centre - reach, self.centre + reach

    def p_below(self, limit: float) -> float:
        """One-sided p value of "the difference is `limit` or more": small where it is less."""
        if math.isnan(self.error):
            return 1.0  # one item, or one group, tells nothing
        if self.error == 0:
            return float(self.centre >= limit)
        return student_cdf((self.centre - limit) / self.error, self.freedom)


def mean(values: Sequence[float], groups: Sequence[Hashable] | None = None) -> Estimate:
    """The mean of scores. Raises ValueError where there are none."""
    if not len(values):
        raise ValueError("there are no scores")
    scores = np.asarray(values, dtype=np.float64)
    value, count = float(scores.mean()), len(scores)
    if clusters := _clusters(groups):
        error, freedom = _clustered_error(scores, clusters)
    elif set(scores) <= {0.0, 1.0}:
        low, high = wilson(int(scores.sum()), count)
        return Estimate(value, low, high, count)
    elif count == 1:
        error, freedom = math.nan, 1.0
    else:
        error, freedom = float(scores.std(ddof=1)) / math.sqrt(count), count - 1.0
    reach = student_quantile((1 + CONFIDENCE) / 2, freedom) * error
    return Estimate(value, value - reach, value + reach, count)


def mean_of_means(means: Sequence[Estimate]) -> Estimate:
    """The mean over tasks, each counting alike however many items it has.

    Its interval comes from theirs (Zou and Donner 2008, "method of variance estimates recovery"),
    so that it is not symmetric where they are not.
    """
    tasks = len(means)
    value = math.fsum(each.value for each in means) / tasks
    below = math.sqrt(math.fsum((each.value - each.low) ** 2 for each in means)) / tasks
    above = math.sqrt(math.fsum((each.high - each.value) ** 2 for each in means)) / tasks
    return Estimate(value, value - below, value + above, sum(each.count for each in means))


def wilson(right: int, count: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's interval of a share, `right` of `count`."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, weight = right / count, z * z / count
    middle = (share + weight / 2) / (1 + weight)
    reach = z / (1 + weight) * math.sqrt(share * (1 - share) / count + weight / (4 * count))
    # The ends of what is all right or all wrong are exact, not 1e-17 beside.
    return (0.0 if right == 0 else middle - reach), (1.0 if right == count else middle + reach)


def paired(
    before: Sequence[float], after: Sequence[float], groups: Sequence[Hashable] | None = None
) -> Difference:
    """How much better `after` is than `before`, item by item in the same order.

    Raises ValueError where there are no items, or not the same number of both.
    """
    if len(before) != len(after) or not len(before):
        raise ValueError(f"{len(before)} and {len(after)} scores are not pairs")
    changes = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    value, count = float(changes.mean()), len(changes)
    better, worse = int((changes > 0).sum()), int((changes < 0).sum())
    centre, freedom = value, math.inf
    if clusters := _clusters(groups):
        error, freedom = _clustered_error(changes, clusters)
        p = flip_p([float(changes[places].sum()) for places in clusters])
    elif {*before, *after} <= {0, 1}:
        gained, lost = (better + 1) / (count + 2), (worse + 1) / (count + 2)
        centre = gained - lost
        error = math.sqrt((gained + lost - centre**2) / (count + 2))
        p = mcnemar_p(better, worse)
    else:
        freedom = max(count - 1.0, 1.0)
        error = float(changes.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
        p = flip_p(changes.tolist())
    return Difference(value, centre, error, freedom, p, count, better, worse)


def mean_of_differences(differences: Sequence[Difference]) -> Difference:
    """The mean over tasks, each counting alike; degrees of freedom by Satterthwaite.

    It lies about what was seen: the shift that helps one task of few items would add up.
    """
    tasks = len(differences)
    errors = [each.error**2 for each in differences]
    whole = math.fsum(errors)
    parts = math.fsum(e**2 / d.freedom for e, d in zip(errors, differences, strict=True))
    freedom = whole**2 / parts if parts else math.inf
    value = math.fsum(each.value for each in differences) / tasks
    error = math.sqrt(whole) / tasks
    p = 2 * student_cdf(-abs(value) / error, freedom) if error else float(value == 0)
    return Difference(
        value,
        value,
        error,
        freedom,
        p,
        sum(each.count for each in differences),
        sum(each.better for each in differences),
        sum(each.worse for each in differences),
    )


def mcnemar_p(better: int, worse: int) -> float:
    """The exact two-sided p value of McNemar's test: a fair coin for each item that changed."""
    changed = better + worse
    tail = sum(math.comb(changed, k) for k in range(min(better, worse) + 1))
    return min(1.0, float(2 * tail / 2**changed)) if changed else 1.0


def flip_p(changes: Sequence[float]) -> float:
    """Two-sided p value of "each change is as likely with the other sign"."""
    moved = np.array([change for change in changes if change])
    if not len(moved):
        return 1.0
    # As rounding has it, sums that are equal may differ in their last digits.
    seen = abs(float(moved.sum())) * (1 - 1e-9)
    if len(moved) <= _EXACT:
        bits = np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved))
        sums = (1 - 2 * (bits & 1)) @ moved
        return float((np.abs(sums) >= seen).mean())
    random = np.random.default_rng(0)
    extreme, rest = 0, DRAWS
    while rest:
        rows = min(rest, max(1, 2**20 // len(moved)))
        signs = 1.0 - 2.0 * random.integers(2, size=(rows, len(moved)))
        extreme += int((np.abs(signs @ moved) >= seen).sum())
        rest -= rows
    return (extreme + 1) / (DRAWS + 1)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p values corrected for how many there are (Holm 1979), so that seldom any of them errs."""
    adjusted: dict[str, float] = {}
    highest = 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p))
        adjusted[name] = highest
    return adjusted


def _clusters(groups: Sequence[Hashable] | None) -> list[Array]:
    """The places of each group; empty where each item stands alone."""
    if groups is None or len(set(groups)) == len(groups):
        return []
    places: dict[Hashable, list[int]] = {}
    for place, group in enumerate(groups):
        places.setdefault(group, []).append(place)
    return [np.array(each) for each in places.values()]


def _clustered_error(scores: Array, clusters: Sequence[Array]) -> tuple[float, float]:
    """The standard error of the mean of scores that come in clusters, and its freedom."""
    number = len(clusters)
    if number == 1:
        return math.nan, 1.0
    left = scores - scores.mean()
    sums = math.fsum(float(left[places].sum()) ** 2 for places in clusters)
    return math.sqrt(number / (number - 1) * sums) / len(scores), number - 1.0


def student_cdf(t: float, freedom: float) -> float:
    """The share of Student's distribution below `t`.

    By its finite sum for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4);
    between two of them the reciprocals are interpolated.
    """
    if math.isnan(t) or math.isnan(freedom):
        return math.nan
    if freedom > _MANY:
        return NormalDist().cdf(t)
    low = max(1, math.floor(freedom))
    if freedom <= low:
        return (1 + _within(t, low)) / 2
    share = (1 / low - 1 / freedom) / (1 / low - 1 / (low + 1))
    return (1 + (1 - share) * _within(t, low) + share * _within(t, low + 1)) / 2


def _within(t: float, freedom: int) -> float:
    """The share of Student's distribution between -t and t (of -t: the same, below 0)."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    if freedom == 1:
        return 2 * angle / math.pi
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = term
    for k in range(2 if odd else 1, freedom - 1, 2):
        term *= square * k / (k + 1)
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


@lru_cache(maxsize=1024)
def student_quantile(share: float, freedom: float) -> float:
    """Below which t `share` (more than a half) of Student's distribution lies; by bisection."""
    if freedom > _MANY:
        return NormalDist().inv_cdf(share)
    low, high = 0.0, 1.0
    while student_cdf(high, freedom) < share:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, freedom) < share else (low, middle)
    return (low + high) / 2
