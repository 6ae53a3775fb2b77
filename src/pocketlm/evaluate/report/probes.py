"""The probes' part of a report: what passed in each mode, and what the system adds to the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pocketlm.errors import ParameterError
from pocketlm.evaluate.comparison import Comparison, compare
from pocketlm.evaluate.report.entries import PROBE, Entry, by_label
from pocketlm.evaluate.report.table import Cell, Section, Table, change, score
from pocketlm.evaluate.scores import Task, tasks
from pocketlm.evaluate.statistics import mean_of_means

MODES = ("plain", "constrained", "tools")


def section(found: Sequence[Entry]) -> Section | None:
    """A table of probes by mode for each model; None where nobody was probed."""
    columns = by_label(found, "probes")
    if not columns:
        return None
    part = Section("probes", "Probes")
    part.words.append(
        "Trials that are judged by a program, in many variants each. In a cell: per cent of the"
        " variants that passed, with its 95 % interval; below it the mean of partial credit."
        " Plain is the model alone; constrained, its answer held to a form; tools, the assistant"
        " with calculator, Python in a sandbox and repair. “Seen” is what the project's"
        " source saw Phi-3-mini do, once each."
    )
    about = _about(found)
    names = sorted({_parts(task)[0] for each in columns.values() for task in each})
    names.sort(key=lambda each: about.get(each, {}).get("number", 99))
    credit = _credit(found)
    for label, scores in columns.items():
        modes = [mode for mode in MODES if any(_parts(task)[1] == mode for task in scores)]
        part.tables.append(_table(label, scores, credit.get(label, {}), names, modes, about))
        for what, those in (("passed", scores), ("partial credit", credit.get(label, {}))):
            gains = _gains(f"{label}, {what}: points over plain", those, names, modes)
            if gains is not None:
                part.tables.append(gains)
    return part


def _parts(task: str) -> tuple[str, str]:
    """A probe's name and its mode."""
    name, _, mode = task.removeprefix(PROBE).rpartition("_")
    return name, mode


def _about(found: Sequence[Entry]) -> dict[str, dict[str, Any]]:
    """What runs say of each probe: `number`, `seen`, and `about`, what it asks."""
    known: dict[str, dict[str, Any]] = {}
    for entry in found:
        for task in entry.only("probes"):
            config = entry.run.results.get("configs", {}).get(task, {})
            said = {"about": str(config.get("description", "")), "seen": "", "number": 99}
            metadata = config.get("metadata")
            if isinstance(metadata, dict):
                said["seen"] = str(metadata.get("seen", ""))
                if isinstance(metadata.get("number"), int):
                    said["number"] = metadata["number"]
            known.setdefault(_parts(task)[0], said)
    return known


def _credit(found: Sequence[Entry]) -> dict[str, dict[str, Task]]:
    """The same tasks by their partial credit."""
    columns: dict[str, dict[str, Task]] = {}
    for entry in found:
        scores = tasks(entry.run, "score")
        mine = {task: scores[task] for task in entry.only("probes") if task in scores}
        columns.setdefault(entry.label, {}).update(mine)
    return columns


def _table(
    label: str,
    scores: Mapping[str, Task],
    credit: Mapping[str, Task],
    names: Sequence[str],
    modes: Sequence[str],
    about: Mapping[str, Mapping[str, Any]],
) -> Table:
    rows: list[Sequence[Cell | str]] = []
    for name in names:
        cells: list[Cell | str] = []
        for mode in modes:
            task = scores.get(f"{PROBE}{name}_{mode}")
            part = credit.get(f"{PROBE}{name}_{mode}")
            if task is None:
                cells.append("")
                continue
            cell = score(task.estimate, task.points)
            partial = (
                f"; credit {part.estimate.value:.2f}" if part and part.metric == "score" else ""
            )
            cells.append(Cell(cell.text, cell.small + partial))
        said = about[name]
        number = f"{said['number']}. " if said["number"] != 99 else ""
        rows.append([Cell(f"{number}{name}", said["about"]), *cells, said["seen"]])
    cells = []
    for mode in modes:
        means = [task.estimate for name, task in scores.items() if _parts(name)[1] == mode]
        cells.append(score(mean_of_means(means), 100))
    if len(names) > 1:
        rows.append(["mean of probes", *cells, ""])
    return Table([label, *modes, "seen"], rows)


def _gains(
    title: str, scores: Mapping[str, Task], names: Sequence[str], modes: Sequence[str]
) -> Table | None:
    """What each other mode has over plain, variant by variant."""
    compared: dict[str, Comparison] = {}
    for mode in modes[1:] if modes[:1] == ["plain"] else []:
        sides = (
            {
                name: _variants(name, scores[key])
                for name in names
                if (key := f"{PROBE}{name}_{each}") in scores
            }
            for each in ("plain", mode)
        )
        try:
            compared[mode] = compare(*sides, common=True)
        except ParameterError:
            continue  # not the same variants: there is nothing to pair
    if not compared:
        return None
    rows: list[Sequence[Cell | str]] = []
    for name in names:
        cells = [
            change(each.pairs[name].difference, each.p_values[name]) if name in each.pairs else ""
            for each in compared.values()
        ]
        rows.append([name, *cells])
    whole = [change(each.overall, each.overall.p) for each in compared.values()]
    if len(names) > 1:
        rows.append(["mean of probes", *whole])
    return Table([title, *compared], rows)


def _variants(name: str, task: Task) -> Task:
    """The task without its mode: `doc_id` is the variant, whatever words a mode adds to it."""
    items = {(name, number): replace(item, content="") for (_, number), item in task.items.items()}
    return replace(task, name=name, items=items)
