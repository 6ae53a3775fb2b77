"""`pocketlm data build`: carry out a recipe."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pocketlm.cli.options import Json, Offline
from pocketlm.cli.output import Status, size, table


class ExecutorKind(StrEnum):
    """What runs the jobs."""

    LOCAL = "local"
    SLURM = "slurm"
    RAY = "ray"


def build(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML file.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where (default: the recipe's name, here)."),
    ] = None,
    executor: Annotated[ExecutorKind, typer.Option(help="What runs the jobs.")] = (
        ExecutorKind.LOCAL
    ),
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Tasks at a time (default: the cores)."),
    ] = None,
    json: Json = False,
    offline: Offline = False,
) -> None:
    """Turn raw pages into filtered documents and token shards, as a recipe says.

    The same command goes on with what a build that was stopped has left to do.

    \b
    Examples:
      pocketlm data build recipe.yaml
      pocketlm data build recipe.yaml --out corpus --workers 8
      pocketlm data build recipe.yaml --executor ray    (RAY_ADDRESS names a cluster)
      pocketlm data build recipe.yaml --executor slurm
    """
    import os

    from pocketlm.recipe.data.build import build as carry_out
    from pocketlm.recipe.data.readers import passed_over
    from pocketlm.recipe.data.recipe import read
    from pocketlm.recipe.data.tallies import read_tallies

    wanted = read(recipe)
    folder = out or Path(wanted.name)
    with Status() as status:
        for number, source in enumerate(wanted.sources, 1):
            if count := passed_over(source):
                status.note(
                    f"source {number}: {count:,} files are not read, as their names do not end as"
                    f' those of {source.kind} do; `files: "**/*"` takes all'
                )
        submitted = carry_out(
            wanted, folder, executor.value, workers or os.cpu_count() or 1, status.show
        )
    if submitted is not None:
        print(f"submitted; the last job is {submitted}. Then: pocketlm data report {folder}")
        return
    tallies = read_tallies(folder)
    if json:
        print(tallies.model_dump_json(indent=1))
        return
    rows = [("stage", "documents", "text", "dropped most for")]
    for stage in tallies.deciding:
        most = max(stage.reasons, key=lambda reason: reason.documents, default=None)
        said = f"{most.name} ({most.documents:,})" if most else ""
        rows.append((stage.key, f"{stage.documents_out:,}", size(stage.bytes_out), said))
    print(table(rows))
    if tallies.tokens:
        print(f"{tallies.tokens:,} tokens in {folder / 'shards'}")
    print(f"look at it: pocketlm data report {folder}")
