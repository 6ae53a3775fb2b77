"""Runs with the names that they have in a report, and their scores.

Runs of one model that did different tasks have one name: they are one column. It knows no markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pocketlm.evaluate.report.table import name
from pocketlm.evaluate.results import About, Run
from pocketlm.evaluate.scores import Task, tasks

#: How the tasks of probes begin; the tasks of MT-bench: ratings, and wins over another model.
PROBE, MT_BENCH, PAIRS = "probe_", "mt_bench", "mt_bench_pairs"


@dataclass(frozen=True)
class Entry:
    """A run, its name, and its scores by task."""

    label: str
    run: Run
    about: About | None
    tasks: Mapping[str, Task]

    def only(self, kind: str) -> dict[str, Task]:
        """The tasks that are "probes", "mt-bench" or "tasks", which are all others."""
        return {name: task for name, task in self.tasks.items() if kind_of(name) == kind}


def kind_of(task: str) -> str:
    """Which part of the report a task belongs to."""
    if task.startswith(PROBE):
        return "probes"
    return "mt-bench" if task == MT_BENCH else "tasks"


def entries(runs: Sequence[Run], metric: str | None = None) -> list[Entry]:
    """The runs in their order; where two of one name did the same task, their folders tell."""
    found = [(_label(run), run, tasks(run, metric)) for run in runs]
    made = []
    for number, (label, run, scores) in enumerate(found):
        doubled = any(
            label == other and scores.keys() & theirs.keys()
            for place, (other, _, theirs) in enumerate(found)
            if place != number
        )
        if doubled:
            label = f"{label} ({name(run.folder.resolve().name)})"
        made.append(Entry(label, run, run.about, scores))
    return made


def by_label(found: Sequence[Entry], kind: str) -> dict[str, dict[str, Task]]:
    """The scores of one part of the report, for each name that has any."""
    columns: dict[str, dict[str, Task]] = {}
    for entry in found:
        if scores := entry.only(kind):
            columns.setdefault(entry.label, {}).update(scores)
    return columns


def in_order(columns: Mapping[str, Mapping[str, Task]]) -> list[str]:
    """Every task that anybody did, in the order of who did it first."""
    return list(dict.fromkeys(task for scores in columns.values() for task in scores))


def _label(run: Run) -> str:
    if run.about is not None:
        about = replace(run.about, model=Path(run.about.model).name or run.about.model)
        return name(about.title)
    return name(run.folder.resolve().name)
