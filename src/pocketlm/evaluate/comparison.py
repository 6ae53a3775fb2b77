"""Is B as good as A? The same items, pair by pair, and a rule that says what follows.

The rule, in points of 100 (a rating of 1 to 10 counts ten points a step), for a margin M:

- B is **worse** where a one-sided test at 5 % rejects "B is at most M points below A": in the mean
  over tasks, or in any single task after Holm's correction for how many tasks there are.
- B is **no worse** where it is not worse, and the lower end of the one-sided 95 % interval of the
  mean over tasks lies above -M.
- Else the items are too few to tell: **undecided**.

It knows scores; it knows no file and no model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import Literal

from pocketlm.errors import ParameterError
from pocketlm.evaluate.scores import Task, groups
from pocketlm.evaluate.statistics import Difference, holm, mean_of_differences, paired

#: The risk of calling B worse when it is just M points below A; and of calling it no worse.
RISK = 0.05

Verdict = Literal["worse", "no worse", "undecided"]


@dataclass(frozen=True)
class Pair:
    """One task of both runs: means, and the difference, all in points of 100."""

    task: str
    metric: str
    before: float
    after: float
    difference: Difference


@dataclass(frozen=True)
class Comparison:
    """What was found for each task; see the module's first lines for the rule."""

    pairs: Mapping[str, Pair]
    margin: float

    @cached_property
    def overall(self) -> Difference:
        """The mean over tasks."""
        return mean_of_differences([pair.difference for pair in self.pairs.values()])

    @cached_property
    def p_values(self) -> dict[str, float]:
        """Of "there is no difference", for each task, after Holm's correction."""
        return holm({name: pair.difference.p for name, pair in self.pairs.items()})

    @cached_property
    def worse_tasks(self) -> list[str]:
        """The tasks that are worse beyond the margin by themselves."""
        below = holm({n: pair.difference.p_below(-self.margin) for n, pair in self.pairs.items()})
        return [name for name, p in below.items() if p < RISK and name in self.pairs]

    @property
    def lower_bound(self) -> float:
        """The lower end of the one-sided interval of the mean over tasks."""
        return self.overall.interval(1 - 2 * RISK)[0]

    @cached_property
    def verdict(self) -> Verdict:
        """What follows, by the rule."""
        if self.overall.p_below(-self.margin) < RISK or self.worse_tasks:
            return "worse"
        return "no worse" if self.lower_bound > -self.margin else "undecided"

    @property
    def items_needed(self) -> int | None:
        """About how many items would show that B is no worse, if it is just as good as A.

        None where no number would: there is no margin, or nothing was seen of how scores vary.
        """
        reach = self.overall.centre - self.lower_bound
        if self.margin <= 0 or not math.isfinite(reach):
            return None
        return math.ceil(self.overall.count * (reach / self.margin) ** 2)


def compare(
    before: Mapping[str, Task],
    after: Mapping[str, Task],
    *,
    margin: float = 1.0,
    common: bool = False,
) -> Comparison:
    """Compare runs A (`before`) and B (`after`) on the same items; `margin` is in points of 100.

    Raises ParameterError where they did not do the same tasks and items, by the same metric; with
    `common`, what only one of them did is left out.
    """
    if not (math.isfinite(margin) and margin >= 0):
        raise ParameterError(f"margin is {margin}; it must be 0 or more points of 100")
    if not common:
        _refuse_other_tasks(before, after)
    shared = [name for name in before if name in after]
    pairs = {}
    for name in shared:
        found = pair_of(before[name], after[name], common=common)
        if found is not None:
            pairs[name] = found
    if not pairs:
        raise ParameterError(
            f"the two runs have no item in common; A did {_listed(before)}, B did {_listed(after)}"
        )
    return Comparison(pairs, margin)


def pair_of(before: Task, after: Task, *, common: bool = False) -> Pair | None:
    """One task of two runs, item by item; None where they have no item in common.

    Raises ParameterError as `compare` does.
    """
    name = before.name
    if (before.metric, before.filter) != (after.metric, after.filter):
        raise ParameterError(
            f"{name}: A has {before.metric},{before.filter}, B has {after.metric},{after.filter}; "
            "name the metric that both have by --metric"
        )
    for which, task in (("A", before), ("B", after)):
        if not task.items:
            raise ParameterError(
                f"{name}: {which} has no samples (samples_{name}.jsonl), only a mean: nothing can "
                "be compared item by item"
            )
    keys = [key for key in before.items if key in after.items]
    if not common:
        _refuse_other_items(before, after)
    changed = [key for key in keys if before.items[key].content != after.items[key].content]
    if changed:
        raise ParameterError(
            f"{name}: {_items(changed)} ask different things in A and B; both must be run on the "
            "same data, with the same seed"
        )
    if not keys:
        return None
    mine = [before.items[key] for key in keys]
    first, second = [item.score for item in mine], [after.items[key].score for key in keys]
    points = before.points
    # Scores of 0 and 1 stay what they are for the test that counts them; points come after.
    difference = _in_points(paired(first, second, groups(mine)), points)
    return Pair(name, before.metric, fmean(first) * points, fmean(second) * points, difference)


def _in_points(found: Difference, points: float) -> Difference:
    return replace(
        found,
        value=found.value * points,
        centre=found.centre * points,
        error=found.error * points,
    )


def _refuse_other_tasks(before: Mapping[str, Task], after: Mapping[str, Task]) -> None:
    for which, mine, other in (("A", before, after), ("B", after, before)):
        only = [name for name in mine if name not in other]
        if only:
            raise ParameterError(
                f"only {which} did {_listed(only)}; run the same tasks for both, or compare what "
                "both did by --common"
            )


def _refuse_other_items(before: Task, after: Task) -> None:
    for which, mine, other in (("A", before, after), ("B", after, before)):
        only = [key for key in mine.items if key not in other.items]
        if only:
            raise ParameterError(
                f"{before.name}: only {which} did {_items(only)}; run both with the same --limit, "
                "or compare what both did by --common"
            )


def _items(keys: list[tuple[str, int]]) -> str:
    few = ", ".join(f"{number} of {task}" for task, number in keys[:3])
    more = f" and {len(keys) - 3:,} more" if len(keys) > 3 else ""
    return f"item{'s' if len(keys) > 1 else ''} {few}{more}"


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - 5:,} more" if len(found) > 5 else ""
    return (", ".join(found[:5]) or "nothing") + more
