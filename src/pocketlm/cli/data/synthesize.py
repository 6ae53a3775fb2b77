"""`pocketlm data synthesize`: have a larger model write documents."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlm.cli.data.endpoint import Model, Url, endpoint
from pocketlm.cli.options import Json
from pocketlm.cli.output import Status, printable, table
from pocketlm.errors import Error, ParameterError

if TYPE_CHECKING:
    from pocketlm.recipe.data.synthesis.counts import Counts
    from pocketlm.recipe.data.synthesis.plan import Plan


def synthesize(
    plan: Annotated[
        Path,
        typer.Argument(metavar="PLAN", help="A YAML file; docs/synthesis.md has its fields."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where (default: the plan's name, here)."),
    ] = None,
    url: Url = None,
    model: Model = None,
    parallel: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=256, help="Requests side by side (default: 4)."),
    ] = None,
    show: Annotated[
        bool,
        typer.Option("--show", help="Print what would be asked, a request a kind; ask nothing."),
    ] = False,
    json: Json = False,
) -> None:
    """Have a larger model write textbooks, exercises, dialogues and reasoning; keep what is fit.

    The same command goes on where it was stopped; a plan that wants more adds to what is there.
    Ctrl-C waits for the answers that are on their way.
    --endpoint, --model and --parallel come before what the plan says.

    \b
    Examples:
      pocketlm data synthesize lessons.yaml --show
      pocketlm data synthesize lessons.yaml --endpoint http://127.0.0.1:8000/v1
      POCKETLM_ENDPOINT_KEY=… pocketlm data synthesize lessons.yaml --parallel 32
    """
    from pocketlm.recipe.data.synthesis.plan import read
    from pocketlm.recipe.data.synthesis.run import synthesise

    wanted = read(plan)
    if show:
        _show(wanted)
        return
    address = url or wanted.endpoint.url
    if address is None:
        raise ParameterError(
            "nobody is named who writes: give --endpoint URL, or `endpoint: {url: URL}` in the plan"
        )
    folder = out or Path(wanted.name)
    with Status() as status:
        asked = endpoint(address, model or wanted.endpoint.model, wanted.endpoint.seconds)
        counts = synthesise(
            wanted, folder, asked, parallel or wanted.endpoint.parallel, status.show
        )
    if json:
        print(counts.model_dump_json(indent=1))
    else:
        _print(counts, folder)
    if given_up := [name for name, kind in counts.kinds.items() if kind.given_up]:
        raise Error(
            f"{', '.join(given_up)}: given up, as too few answers were fit: see their reasons in "
            f"{folder / 'dropped.jsonl'}, change the prompt or the model, and take another folder"
        )


def _print(counts: "Counts", folder: Path) -> None:
    from pocketlm.recipe.data.synthesis.counts import money

    rows = [("kind", counts.counted, "of", "answers", "dropped for")]
    for name, kind in counts.kinds.items():
        reasons = ", ".join(f"{reason} ({count:,})" for reason, count in kind.dropped.items())
        rows.append((name, f"{kind.done:,}", f"{kind.wanted:,}", f"{kind.answers:,}", reasons))
    print(table(rows))
    cost = "" if counts.dollars is None else f", {money(counts.dollars)}"
    print(f"{counts.prompt_tokens:,} tokens read, {counts.completion_tokens:,} written{cost}")
    print(f"in a recipe: - kind: jsonl\n               path: {folder / 'documents'}")


def _show(plan: "Plan") -> None:
    from pocketlm.recipe.data.synthesis.run import series_of

    unit = "documents" if plan.tokens is None else "tokens"
    for series in series_of(plan):
        request = series.request(0)
        print(
            f"--- {series.name}: {series.wanted:,} {unit};"
            f" {series.seeds.distinct:,} different seeds; {series.kind.version}\n\n"
            f"{printable(request.prompt)}"
        )
