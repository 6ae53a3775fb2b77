"""`--then quantize[:ARGS]`: the finished model as a GGUF file, by the command `quantize` itself."""

import contextlib
import io
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

import typer

from pocketlm.errors import ParameterError

_DEFAULT = "--type q8_0"


class Quantization:
    """What `--then` asked for, checked before anything is trained."""

    def __init__(self, text: str, base: Path | None = None) -> None:
        """Read `quantize[:ARGS]`; `base` is the model that an adapter belongs to.

        Raises ParameterError for another step and for options that `quantize` does not have.
        """
        from pocketlm.cli.quantize import quantize

        step, _, arguments = text.partition(":")
        if step.strip() != "quantize":
            raise ParameterError(f"--then is {text!r}; it must be quantize or quantize:ARGS")
        program = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
        program.command()(quantize)
        self._command: Any = typer.main.get_command(program)
        self._base = base
        try:
            self._arguments = shlex.split(arguments) or shlex.split(_DEFAULT)
            names = self._command.make_context("quantize", ["m", "--out", "o", *self._arguments])
        except Exception as error:
            said = getattr(error, "message", None) or str(error)
            raise ParameterError(f"--then quantize:{arguments}: {said}") from None
        given = names.params
        if sum(given[name] is not None for name in ("size", "bits", "type_")) != 1:
            raise ParameterError(f"--then {text}: say how small: one of --size, --bits and --type")

    def run(self, place: Path, *, quiet: bool) -> Path:
        """Write the file beside `place`, a model's folder or an adapter's; `quiet` prints nothing.

        Raises what `quantize` does.
        """
        out = place.with_suffix(".gguf")
        with tempfile.TemporaryDirectory(dir=place.parent) as folder:
            source = place
            if self._base is not None:
                from pocketlm.quantize.export import export

                source = Path(folder) / place.parent.resolve().name
                export(self._base, source, "safetensors", adapter=place)
            arguments = [str(source), "--out", str(out), "--force", *self._arguments]
            with contextlib.redirect_stdout(io.StringIO() if quiet else sys.stdout):
                self._command.main(arguments, prog_name="quantize", standalone_mode=False)
        return out
