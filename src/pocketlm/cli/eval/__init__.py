"""`pocketlm eval`: how good a model is; `eval MODEL` measures, `eval report` and `compare` read."""

import typer
from typer.core import TyperGroup

from pocketlm.cli.eval import compare, report, run


class _Group(TyperGroup):
    """What is no command is a model: `eval MODEL …` is `eval run MODEL …`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Group,
    help="Measure how good a model is, and compare what was measured.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command()(run.run)
app.command()(compare.compare)
app.command()(report.report)
