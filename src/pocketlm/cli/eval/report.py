"""`pocketlm eval report`: what was measured, as a page to read."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS…",
            help="Folders that `pocketlm eval … --out` or the harness wrote; the first is what the"
            " others are compared with.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="The page, in one file.")] = Path(
        "report.html"
    ),
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="Write it as Markdown as well.")
    ] = None,
    failures: Annotated[
        int, typer.Option(metavar="N", min=0, help="Failures of each task to read.")
    ] = 10,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[,FILTER]",
            help="What counts where a task has it (acc_norm; exact_match,strict-match).",
        ),
    ] = None,
) -> None:
    """Write a report of one run or several: one page that works offline, with all that matters.

    Scores with 95 % confidence intervals, published figures beside them, quality over size, the
    probes with what the system adds to the model, ratings by category, differences item by item,
    failures to read one by one, and what is needed to run it again.

    \b
    Examples:
      pocketlm eval report eval-smollm2-probes/
      pocketlm eval report full/ quantised/ --out loss.html --markdown loss.md
      pocketlm eval report mmlu/ probes/ mt-bench/ --failures 30
    """
    import time

    from pocketlm.evaluate.report.report import report as made
    from pocketlm.evaluate.results import read
    from pocketlm.formats.output import new_file

    found = made(
        [read(folder) for folder in results],
        date=time.strftime("%F"),
        each=failures,
        metric=metric,
    )
    files = [(out, found.html())]
    if markdown is not None:
        files.append((markdown, found.markdown()))
    for path, text in files:
        with new_file(path) as file:
            file.write(text.encode(errors="backslashreplace"))
        print(path)
