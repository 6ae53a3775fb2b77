"""What a run found, as a table for people."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pocketlm.evaluate.scores import Task

#: The published column that stands beside ours: the latest of the model that the suite is of.
_BESIDE = "phi3_mini_4k_june"


def shown(folder: Path) -> str:
    """The table of the results in `folder`: per cent, but for ratings and perplexities."""
    from pocketlm.cli.output import table
    from pocketlm.evaluate.results import read
    from pocketlm.evaluate.scores import tasks

    run = read(folder)
    found = tasks(run)
    rows: list[Sequence[str]] = [("task", "shots", "metric", "score", "95 %", "items")]
    rows += [_row(task) for task in found.values()]
    rows += _others(run.results, found)
    published = _published(found)
    if published:
        name, values = published
        rows = [(*rows[0], name), *((*row, values.get(row[0], "")) for row in rows[1:])]
    return table(rows)


def _row(task: "Task") -> Sequence[str]:
    estimate = task.estimate
    scale = 1 if task.metric == "rating" else 100
    value, low, high = (scale * part for part in (estimate.value, estimate.low, estimate.high))
    metric = task.metric if task.filter == "none" else f"{task.metric} ({task.filter})"
    shots = "" if task.shots is None else str(task.shots)
    return (
        task.name,
        shots,
        metric,
        f"{value:.1f}",
        f"{low:.1f} to {high:.1f}",
        f"{estimate.count:,}",
    )


def _others(results: Mapping[str, Any], known: Mapping[str, "Task"]) -> Iterator[Sequence[str]]:
    """Tasks whose scores are no shares of items (perplexity, bits per byte), as they are stated."""
    inner = {task for of in results.get("group_subtasks", {}).values() for task in of}
    for name, figures in results["results"].items():
        if name in known or name in inner:
            continue
        shots = str(results.get("n-shot", {}).get(name, ""))
        count = results.get("n-samples", {}).get(name, {}).get("effective", 0)
        for key, value in figures.items():
            metric, _, filter = key.partition(",")
            if filter and not metric.endswith("_stderr") and isinstance(value, int | float):
                error = figures.get(f"{metric}_stderr,{filter}")
                spread = f"± {1.96 * error:.4g}" if isinstance(error, int | float) else ""
                yield name, shots, metric, f"{value:.4g}", spread, f"{count:,}"


def _published(names: Mapping[str, "Task"]) -> tuple[str, dict[str, str]] | None:
    """The title and the values of the published column, where there are any for these tasks."""
    if not any(name.startswith("phi3_") for name in names):
        return None
    from pocketlm.evaluate.harness.published import beside, models

    values = {
        figure.task: f"{figure.value:.1f}"
        for name in names
        for figure in beside(name)
        if figure.key == _BESIDE
    }
    return (f"{models()[_BESIDE]}, published", values) if values else None
