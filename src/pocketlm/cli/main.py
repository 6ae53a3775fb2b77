"""The `pocketlm` program: its commands, and what becomes of errors.

Every command is a module of its own, which imports at its top only what help texts need: the rest
is imported when the command runs, so that help and completion take no time.
"""

import os
import sys
from typing import Annotated

import typer

from pocketlm.cli import (
    adapter,
    ask,
    bench,
    chat,
    code,
    data,
    eval,
    export,
    index,
    list,
    mcp,
    needle,
    preset,
    ps,
    pull,
    quality,
    quantize,
    rm,
    run,
    serve,
    show,
    train,
)
from pocketlm.cli.options import Offline
from pocketlm.cli.output import fail
from pocketlm.errors import Error

app = typer.Typer(
    help="Small language models, offline, on the device in your pocket.",
    epilog="Start with `pocketlm chat`. Each command has examples: `pocketlm chat --help`.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
#: Commands whose packages are an extra, which `pip install pocketlm` does not bring.
_EXTRAS = {"data": "train", "eval": "eval", "train": "train"}
app.command()(chat.chat)
app.command()(run.run)
app.command()(code.code)
app.command()(ask.ask)
app.command()(serve.serve)
app.command()(ps.ps)
app.command()(ps.stop)
app.command()(preset.preset)
app.command()(pull.pull)
app.command("list")(list.list_models)
app.command()(show.show)
app.command()(rm.rm)
app.command()(bench.bench)
app.command()(export.export)
app.command()(quality.quality)
app.command()(needle.needle)
app.command()(quantize.quantize)
app.add_typer(adapter.app, name="adapter")
app.add_typer(data.app, name="data")
app.add_typer(eval.app, name="eval")
app.add_typer(index.app, name="index")
app.add_typer(mcp.app, name="mcp")
app.add_typer(train.app, name="train")


def _version(wanted: bool) -> None:
    if wanted:
        import pocketlm

        print(f"pocketlm {pocketlm.__version__}")
        raise typer.Exit


@app.callback()
def _pocketlm(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    offline: Offline = False,
) -> None:
    pass


def main() -> None:
    """Run the program. Exits 0, 1 (failure) or 2 (misuse); Ctrl-C is the caller's matter."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character shows "?", it does not end the program.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        _run()
    except OSError as error:
        # What is still buffered must not be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # else whoever read our output has seen enough
            fail(f"{error.filename or 'cannot write the output'}: {error.strerror}")
        sys.exit(1)


def _run() -> None:
    try:
        app(prog_name="pocketlm")
    except Error as error:
        fail(error)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
        if command not in _EXTRAS or package == "pocketlm":
            raise
        fail(f"this needs the package {package!r}: pip install 'pocketlm[{_EXTRAS[command]}]'")
        sys.exit(1)
    except MemoryError:
        fail("not enough memory; try a smaller model or a shorter --context")
        sys.exit(1)
    finally:
        sys.stdout.flush()
