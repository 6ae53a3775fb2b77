"""`pocketlm data report`: look into a build."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Of `pocketlm data build`.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page (default: FOLDER/report.html).")
    ] = None,
    price: Annotated[
        float,
        typer.Option(metavar="DOLLARS", min=0, help="Of a core for an hour, for the cost of 1 TB."),
    ] = 0.04,
) -> None:
    """Write one HTML page: the funnel, reasons, samples, speed, and what 1 TB would cost.

    \b
    Examples:
      pocketlm data report corpus
      pocketlm data report corpus --price 0.02 --out corpus.html
    """
    from pocketlm.recipe.data.report import write
    from pocketlm.recipe.data.tallies import read_tallies

    path = out or folder / "report.html"
    write(read_tallies(folder), path, price=price)
    print(path)
