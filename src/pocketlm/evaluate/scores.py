"""The scores of a run: for each task one number an item, from which all else follows.

Results of the harness hold several metrics and filters a task; this says which one counts, reads
it from the samples, and pools the subtasks of a group that states a mean (the 57 subjects of MMLU
are one task here, each of its items counting alike). It knows results and their keys; it knows no
model, and draws no conclusion.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pocketlm.evaluate.results import Run, Sample
from pocketlm.evaluate.statistics import Estimate, mean

#: The metric that counts, where a task has several: the first of these that it has.
METRICS = ("passed", "rating", "acc", "exact_match", "em", "pass@1", "pass_at_1", "mc2", "f1")
#: Metrics that say nothing of one model alone.
_RELATIVE = frozenset({"win", "agreed"})
#: Points of 100 for one unit of a metric: ratings go to 10, all else to 1.
_POINTS = {"rating": 10.0}


@dataclass(frozen=True)
class Item:
    """One item's score. `content` is a digest of what it asked; `group` names items that depend."""

    score: float
    content: str
    group: str | None


@dataclass(frozen=True)
class Task:
    """A task's scores: `metric` as in "acc", `filter` as in "none".

    `items` are by subtask and `doc_id`. Without samples there are none, and `stated` is all there
    is: the mean and, where one was given, its interval from the standard error.
    """

    name: str
    metric: str
    filter: str
    items: Mapping[tuple[str, int], Item]
    shots: int | None
    stated: Estimate | None

    @property
    def points(self) -> float:
        """Points of 100 for one unit of the score."""
        return points(self.metric)

    @cached_property
    def estimate(self) -> Estimate:
        """The mean score, with its interval."""
        if not self.items:
            assert self.stated is not None
            return self.stated
        items = self.items.values()
        return mean([item.score for item in items], groups(list(items)))


def points(metric: str) -> float:
    """Points of 100 for one unit of a metric."""
    return _POINTS.get(metric, 100.0)


def groups(items: Sequence[Item]) -> list[str] | None:
    """The group of each item; None where no two belong together."""
    if all(item.group is None for item in items):
        return None
    return [item.group or f"\0{number}" for number, item in enumerate(items)]


def tasks(run: Run, metric: str | None = None) -> dict[str, Task]:
    """The tasks of a run, in its order; those without a score that can be compared are left out.

    `metric` ("acc_norm", or with a filter "exact_match,strict-match") counts where a task has it.
    """
    stated = run.results["results"]
    members = {name: list(each) for name, each in run.results.get("group_subtasks", {}).items()}
    # A group that states no mean is a list of tasks, not one.
    pooled = [name for name, each in members.items() if each and _keys(stated.get(name, {}))]
    inner = {each for name in pooled for each in _within(name, members)}
    found = {}
    for name in [*pooled, *(name for name in stated if not members.get(name))]:
        if name in inner:
            continue
        leaves = [each for each in _within(name, members) if not members.get(each)] or [name]
        task = _task(run, name, leaves, metric)
        if task is not None:
            found[name] = task
    return found


def _within(name: str, members: Mapping[str, Sequence[str]]) -> list[str]:
    """All that a group holds, at any depth, itself not."""
    found: list[str] = []
    left = list(members.get(name, ()))
    while left:
        each = left.pop(0)
        if each not in found:
            found.append(each)
            left += members.get(each, ())
    return found


def _task(run: Run, name: str, leaves: Sequence[str], metric: str | None) -> Task | None:
    results = run.results["results"]
    sampled = [leaf for leaf in leaves if run.samples.get(leaf)]
    key = _chosen(results.get(name, {}), metric)
    if key is None:
        return None
    chosen, filter = key
    items = {
        (leaf, int(sample["doc_id"])): item
        for leaf in sampled
        for sample in run.samples[leaf]
        if sample.get("filter", filter) == filter and (item := _item(sample, chosen)) is not None
    }
    said = results.get(name, {}).get(f"{chosen},{filter}")
    if not items and not isinstance(said, int | float):
        return None
    error = results.get(name, {}).get(f"{chosen}_stderr,{filter}")
    shots = run.results.get("n-shot", {}).get(leaves[0])
    return Task(
        name,
        chosen,
        filter,
        items,
        shots if isinstance(shots, int) else None,
        None if items else _stated(float(said), error, _count(run, leaves)),
    )


def _keys(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The metrics that a task states, with their filters."""
    pairs = [key.split(",", 1) for key in figures if key.count(",") == 1]
    return [
        (metric, filter)
        for metric, filter in pairs
        if not metric.endswith("_stderr") and isinstance(figures[f"{metric},{filter}"], int | float)
    ]


def _chosen(figures: Mapping[str, Any], wanted: str | None) -> tuple[str, str] | None:
    """The metric that counts: the one that is wanted, a usual one, or one that is a share."""
    keys = _keys(figures)
    if wanted is not None:
        metric, _, filter = wanted.partition(",")
        for key in keys:
            if key[0] == metric and filter in ("", key[1]):
                return key
    for name in METRICS:
        for key in keys:
            if key[0] == name:
                return key
    for key in keys:
        value = figures[",".join(key)]
        if key[0] not in _RELATIVE and 0 <= value <= 1:
            return key
    return None


def _item(sample: Sample, metric: str) -> Item | None:
    """The score of a sample; None where it has none (a judge that said nothing)."""
    score = sample.get(metric)
    if not isinstance(score, int | float) or not math.isfinite(score):
        return None
    document = sample.get("doc")
    asked = json.dumps([document, sample.get("target")], sort_keys=True, default=str)
    group = sample.get("group")
    if group is None and isinstance(document, dict):
        group = document.get("passage")  # questions about one passage
    digest = hashlib.sha256(asked.encode()).hexdigest()
    return Item(float(score), digest, None if group is None else str(group))


def _count(run: Run, leaves: Sequence[str]) -> int:
    counts = [run.results.get("n-samples", {}).get(leaf, {}) for leaf in leaves]
    return sum(int(count.get("effective", 0)) for count in counts)


def _stated(value: float, error: object, count: int) -> Estimate:
    if not isinstance(error, int | float):
        return Estimate(value, math.nan, math.nan, count)
    return Estimate(value, value - 1.96 * error, value + 1.96 * error, count)
