"""The benchmarks' part of a report: scores, published figures beside them, paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pocketlm.errors import ParameterError
from pocketlm.evaluate.comparison import compare
from pocketlm.evaluate.harness import published
from pocketlm.evaluate.report.entries import Entry, by_label, in_order
from pocketlm.evaluate.report.table import Cell, Section, Table, change, p_value, score
from pocketlm.evaluate.scatter import Point, scatter
from pocketlm.evaluate.scores import Task
from pocketlm.evaluate.statistics import mean_of_means

#: Published figures are of weights of 16 bits.
_BYTES_A_WEIGHT = 2
#: Of one model, one column is drawn: the others lie on the same spot.
_NOT_DRAWN = frozenset({"phi3_mini_128k_april"})


def section(found: Sequence[Entry]) -> Section | None:
    """The scores of all tasks but probes and MT-bench; None where there are none."""
    columns = by_label(found, "tasks")
    if not columns:
        return None
    part = Section("scores", "Benchmarks")
    part.words.append(
        "Per cent right, with 95 % confidence intervals over the items. Intervals say how far the"
        " same model may lie on other items of the same kind; they say nothing of whether the"
        " items measure what one wants."
    )
    part.tables.append(_scores(columns))
    return part


def _scores(columns: Mapping[str, Mapping[str, Task]]) -> Table:
    titles = {task.name: task.title for task in published.tasks()}
    rows: list[Sequence[Cell | str]] = []
    for task in in_order(columns):
        tasks = [scores.get(task) for scores in columns.values()]
        cells = ["" if each is None else score(each.estimate, each.points) for each in tasks]
        small = _described(task if task in titles else "", [each for each in tasks if each])
        rows.append([Cell(titles.get(task, task), small), *cells])
    shared = [task for task in in_order(columns) if all(task in each for each in columns.values())]
    if len(shared) > 1:
        means = [
            mean_of_means([each[task].estimate for task in shared]) for each in columns.values()
        ]
        title = "mean of tasks" if len(shared) == len(rows) else f"mean of {len(shared)} tasks"
        small = "" if len(shared) == len(rows) else "those that all did"
        rows.append([Cell(title, small), *(score(mean, 100) for mean in means)])
    return Table(["task", *columns], rows)


def _described(name: str, tasks: Sequence[Task]) -> str:
    """What a row is of: metric, shots and items, as the first one of the models did it."""
    first = tasks[0]
    parts = [name] if name else []
    parts.append(first.metric if first.filter == "none" else f"{first.metric}, {first.filter}")
    if first.shots is not None:
        parts.append(f"{first.shots} shots")
    counts = sorted({each.estimate.count for each in tasks} - {0})
    if counts:
        parts.append(" / ".join(f"{count:,}" for count in counts) + " items")
    return ", ".join(parts)


def published_section(found: Sequence[Entry]) -> Section | None:
    """Ours beside what was published, for the tasks for which that makes sense."""
    columns = by_label(found, "tasks")
    about = {task.name: task for task in published.tasks()}
    shown = [task for task in in_order(columns) if published.beside(task)]
    if not shown:
        return None
    part = Section("published", "Beside published figures")
    part.words.append(
        "What others published for the same benchmarks, in per cent. None of it was measured"
        " here. Prompts are made after the report's, not copied from it, and the items may be a"
        " slice: compare our column's interval, not its digits."
    )
    models = published.models()
    rows: list[Sequence[Cell | str]] = []
    slips = []
    for task in shown:
        figures = {figure.key: figure for figure in published.beside(task)}
        cells: list[Cell | str] = []
        for key in models:
            figure = figures.get(key)
            if figure is None:
                cells.append("")
                continue
            if figure.slip:
                slips.append(f"{about[task].title}, {figure.model}: {figure.slip}")
            cells.append(Cell(f"{figure.value:.1f}", f"note {len(slips)}" if figure.slip else ""))
        ours = [scores.get(task) for scores in columns.values()]
        mine = ["" if each is None else score(each.estimate, each.points) for each in ours]
        shots = f"{about[task].shots} shots, {about[task].form}"
        rows.append([Cell(about[task].title, shots), *mine, *cells])
    part.tables.append(Table(["task", *columns, *models.values()], rows))
    part.notes += [f"Note {number}. {slip}" for number, slip in enumerate(slips, 1)]
    part.notes += [f"{about[task].title}: {about[task].note}" for task in shown if about[task].note]
    sources = {
        (figure.model, figure.source, figure.date)
        for task in shown
        for figure in published.beside(task)
    }
    part.notes += [f"{model}: {source}, {date}." for model, source, date in sorted(sources)]
    return part


def sizes_section(found: Sequence[Entry]) -> Section | None:
    """Quality over size, a picture for each task that has published figures beside it."""
    part = Section("sizes", "Quality over size")
    titles = {task.name: task.title for task in published.tasks()}
    for task in in_order(by_label(found, "tasks")):
        own = [
            Point(
                entry.label,
                entry.about.file_bytes,
                100 * (estimate := entry.tasks[task].estimate).value,
                100 * estimate.low,
                100 * estimate.high,
            )
            for entry in found
            if entry.about is not None and entry.about.file_bytes > 0 and task in entry.tasks
        ]
        others = [
            Point(
                figure.model.replace("-instruct", "").replace("-Instruct", ""),
                figure.parameters * 1e9 * _BYTES_A_WEIGHT,
                figure.value,
                published=True,
            )
            for figure in published.beside(task)
            if figure.parameters is not None and figure.key not in _NOT_DRAWN
        ]
        if own and (others or len(own) > 1):
            title = titles.get(task, task)
            drawn = scatter([*own, *others], title=f"{title} over size", up=f"{title}, %")
            part.pictures.append((title, drawn))
    if not part.pictures:
        return None
    part.words.append(
        "Filled: measured here, with 95 % intervals, at the size of the model's file. Hollow:"
        " published, at the size of its weights in 16 bits, in which it was measured. Models"
        " whose size was not published are not drawn."
    )
    return part


def differences(found: Sequence[Entry], kind: str) -> list[Table | str]:
    """What each model has over the first one, item by item: tables, or why there is none."""
    columns = by_label(found, kind)
    if len(columns) < 2:
        return []
    (base, before), *others = columns.items()
    made: list[Table | str] = []
    for label, after in others:
        try:
            compared = compare(before, after, common=True)
        except ParameterError as error:
            made.append(f"{label} is not compared with {base}: {error}")
            continue
        rows: list[Sequence[Cell | str]] = [
            [
                task,
                f"{pair.difference.count:,}",
                change(pair.difference, compared.p_values[task]),
                f"{pair.difference.better:,}",
                f"{pair.difference.worse:,}",
                p_value(compared.p_values[task]),
            ]
            for task, pair in compared.pairs.items()
        ]
        if len(rows) > 1:
            whole = compared.overall
            rows.append(
                [
                    "mean of tasks",
                    f"{whole.count:,}",
                    change(whole, whole.p),
                    f"{whole.better:,}",
                    f"{whole.worse:,}",
                    p_value(whole.p),
                ]
            )
        title = f"{label} less {base}"
        made.append(Table(["task", "items", title, "better", "worse", "p"], rows))
    return made
