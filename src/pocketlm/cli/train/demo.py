"""`pocketlm train demo`: the recipe's claim at small scale, from raw text to a report."""

from pathlib import Path
from typing import Annotated

import typer

from pocketlm.cli.options import Json


def demo(
    setting: Annotated[
        str,
        typer.Argument(
            metavar="SETTING",
            help="demo, larger or smoke; or a YAML file, which may say `like: larger` and what is"
            " different.",
        ),
    ] = "demo",
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where all of it goes.")] = Path(
        "recipe-demo"
    ),
    show: Annotated[
        bool, typer.Option("--show", help="Print what would be done and what it takes; do nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what the choice of text does: train on raw, filtered, and filtered + synthetic text.

    The text is this machine's own documentation; nothing is fetched. Models are equal in all but
    what they read, and are judged on text and items that none of them read. The report is
    FOLDER/report.html. Stopped or killed at any moment, the same command goes on.

    \b
    Examples:
      pocketlm train demo                    under 60 minutes on two cores
      pocketlm train demo smoke --out try    seconds; what it finds means nothing
      pocketlm train demo larger --show
    """
    from pocketlm.cli.output import Status, table
    from pocketlm.cli.train import quietly
    from pocketlm.recipe.demo import configuration

    wanted = configuration.read(setting)  # before PyTorch, which takes seconds
    quietly()
    from pocketlm.recipe.demo import wording
    from pocketlm.recipe.demo.run import demonstrate, preview

    if show:
        print(table(preview(wanted)))
        return
    with Status() as status:
        found = demonstrate(wanted, out, show=status.show, note=status.note)
    if json:
        print((out / "report.json").read_text("utf-8"), end="")
        return
    for sentence in wording.headlines(found):
        print(sentence)
    print(f"look at it: {out / 'report.html'}")
