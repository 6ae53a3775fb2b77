"""`pocketlm data label`: have documents scored, by a larger model or in the terminal."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pocketlm.cli.data.endpoint import Model, Parallel, Url, endpoint
from pocketlm.cli.output import Status, printable


def label(
    documents: Annotated[
        Path,
        typer.Argument(
            metavar="DOCUMENTS",
            help="A folder of `data build`, or lines of JSON with `text`: a file or a folder.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where labels go.")] = Path(
        "labels.jsonl"
    ),
    sample: Annotated[int, typer.Option(metavar="N", min=1, help="How many documents.")] = 500,
    url: Url = None,
    model: Model = None,
    parallel: Parallel = 4,
) -> None:
    """Score how much documents teach, 0 to 5; without --endpoint, you are asked.

    The same command goes on where it was stopped; a larger --sample adds to what is there.

    \b
    Examples:
      pocketlm data label corpus --endpoint http://127.0.0.1:8080/v1 --sample 500
      pocketlm data label raw.jsonl --out mine.jsonl --sample 100
      pocketlm data classifier labels.jsonl
    """
    from pocketlm.recipe.data import label as labels

    if url is None:
        count = labels.by_person(documents, out, sample, _ask)
        print(f"{count:,} labels in {out}")
        return
    with Status() as status:
        count, without = labels.by_model(
            documents, out, sample, endpoint(url, model), parallel, status.show
        )
    print(f"{count:,} labels in {out}; {without:,} answers had no score")


def _ask(text: str, number: int, of: int) -> int | None:
    """Show a text and read its points; None to end."""
    from pocketlm.recipe.data.prompts import prompt

    if number == 1:
        rubric = prompt("educational-1").split("==========")[0]
        print(printable(rubric), file=sys.stderr)
    print(f"\n--- {number} of {of} " + "-" * 40 + f"\n{printable(text)}\n", file=sys.stderr)
    while True:
        try:
            said = input("points, 0 to 5 (q ends): ").strip()
        except EOFError:
            return None
        if said in {"0", "1", "2", "3", "4", "5"}:
            return int(said)
        if said == "q":
            return None
