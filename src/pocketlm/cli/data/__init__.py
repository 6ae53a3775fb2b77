"""`pocketlm data`: from raw pages to token shards."""

import typer

from pocketlm.cli.data import build, classifier, label, report, synthesize

app = typer.Typer(
    help="Make the data that a model learns from: filter, deduplicate, mask, synthesize, tokenise.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command()(build.build)
app.command()(synthesize.synthesize)
app.command()(label.label)
app.command()(classifier.classifier)
app.command()(report.report)
