"""`pocketlm eval compare`: is one run as good as another, item by item?"""

import json as json_format
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pocketlm.cli import options

if TYPE_CHECKING:
    from pocketlm.evaluate.comparison import Comparison
    from pocketlm.evaluate.statistics import Difference


def compare(
    before: Annotated[
        Path, typer.Argument(metavar="A", help="Results of the model before: a folder.")
    ],
    after: Annotated[Path, typer.Argument(metavar="B", help="Results of the model to judge.")],
    margin: Annotated[
        float,
        typer.Option(metavar="POINTS", help="How many points of 100 B may be below A."),
    ] = 1.0,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[,FILTER]",
            help="What counts where a task has it (acc_norm; exact_match,strict-match).",
        ),
    ] = None,
    common: Annotated[
        bool, typer.Option("--common", help="Leave out what only one of them did.")
    ] = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Exit with 1 also where there are too few items to tell."),
    ] = False,
    json: options.Json = False,
) -> None:
    """Compare two runs on the same items; exit with 1 when B is worse than A beyond the margin.

    B is worse where a one-sided test at 5 % rejects that it is at most --margin points below A: in
    the mean over tasks, or in a single task (corrected for their number). It is no worse where
    the one-sided 95 % interval of the mean lies above minus the margin. Else there are too few
    items to tell. Points are of 100; a rating of 1 to 10 counts ten points a step.

    \b
    Examples:
      pocketlm eval compare full/ quantised/
      pocketlm eval compare base/ tuned/ --margin 0.5 --strict
      pocketlm eval compare a/ b/ --metric exact_match,strict-match --json
    """
    from pocketlm.evaluate import comparison
    from pocketlm.evaluate.results import read
    from pocketlm.evaluate.scores import tasks

    runs = [read(folder) for folder in (before, after)]
    found = comparison.compare(*(tasks(run, metric) for run in runs), margin=margin, common=common)
    names = [run.about.title if run.about else str(run.folder) for run in runs]
    if json:
        print(json_format.dumps(_as_json(found, names), ensure_ascii=False))
    else:
        print(_text(found, names))
    if found.verdict == "worse" or (strict and found.verdict == "undecided"):
        raise typer.Exit(1)


def _as_json(found: "Comparison", names: list[str]) -> dict[str, Any]:
    def described(difference: "Difference") -> dict[str, Any]:
        low, high = difference.interval()
        return {
            "difference": difference.value,
            "low": low,
            "high": high,
            "p": difference.p,
            "items": difference.count,
            "better": difference.better,
            "worse": difference.worse,
        }

    return {
        "a": names[0],
        "b": names[1],
        "margin": found.margin,
        "tasks": {
            name: {
                "metric": pair.metric,
                "a": pair.before,
                "b": pair.after,
                **described(pair.difference),
                "p_corrected": found.p_values[name],
            }
            for name, pair in found.pairs.items()
        },
        "overall": described(found.overall) | {"lower_bound": found.lower_bound},
        "worse_tasks": found.worse_tasks,
        "verdict": found.verdict,
    }


def _text(found: "Comparison", names: list[str]) -> str:
    from pocketlm.cli.output import printable, table

    rows: list[tuple[str, ...]] = [
        ("task", "items", "A", "B", "B - A", "95 % interval", "better", "worse", "p")
    ]
    for name, pair in found.pairs.items():
        rows.append(
            (
                name,
                f"{pair.difference.count:,}",
                f"{pair.before:.1f}",
                f"{pair.after:.1f}",
                *_cells(pair.difference, found.p_values[name]),
            )
        )
    if len(found.pairs) > 1:
        count = f"{found.overall.count:,}"
        before = fmean(pair.before for pair in found.pairs.values())
        after = fmean(pair.after for pair in found.pairs.values())
        cells = _cells(found.overall, found.overall.p)
        rows.append(("mean of tasks", count, f"{before:.1f}", f"{after:.1f}", *cells))
    a, b = (printable(name) for name in names)
    return f"A  {a}\nB  {b}\n\n{table(rows)}\n\n{_said(found)}"


def _cells(difference: "Difference", p: float) -> tuple[str, ...]:
    low, high = difference.interval()
    return (
        f"{difference.value:+.1f}",
        f"{low:+.1f} to {high:+.1f}",
        f"{difference.better:,}",
        f"{difference.worse:,}",
        f"{p:.3f}" if p >= 0.0005 else "< 0.001",
    )


def _said(found: "Comparison") -> str:
    margin = f"the margin of {found.margin:g}"
    if found.verdict == "worse":
        where = f" in {', '.join(found.worse_tasks)}" if found.worse_tasks else " in the mean"
        return f"B is worse than A beyond {margin}{where}."
    if found.verdict == "no worse":
        return f"B is no worse than A beyond {margin}: at the lowest {found.lower_bound:+.1f}."
    needed = found.items_needed
    more = f"; about {needed:,} items would tell, were they alike" if needed else ""
    return f"Too few items to tell whether B is worse beyond {margin}{more}."
