"""`pocketlm eval MODEL`: measure a model by benchmarks, probes or a judge."""

from typing import Annotated

import typer

from pocketlm.errors import UnsupportedError


def run(model: Annotated[str, typer.Argument(metavar="MODEL")]) -> None:
    """Measure a model."""
    raise UnsupportedError(f"nothing measures {model} yet")
