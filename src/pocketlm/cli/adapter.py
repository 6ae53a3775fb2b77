"""`pocketlm adapter`: adapters of models for languages, which `chat --language` finds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlm.cli.options import models

if TYPE_CHECKING:
    from pocketlm.store.adapters import Installed

app = typer.Typer(
    help="Install adapters for languages; `pocketlm chat --language` picks among them.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.command()
def install(
    adapter: Annotated[
        Path, typer.Argument(metavar="ADAPTER", help="peft's folder, or a GGUF file.")
    ],
    model: Annotated[
        str,
        typer.Option(metavar="MODEL", help="The model that it is of.", autocompletion=models),
    ],
    language: Annotated[str, typer.Option(metavar="CODE", help="Its language, as de.")],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="How to call it (default: MODEL-CODE).")
    ] = None,
) -> None:
    """Copy an adapter into the store, for a language of a model.

    It is then found for every form of that model, quantised or not. It is opened with the model
    first, and refused where it does not fit.

    \b
    Examples:
      pocketlm adapter install german/pretrained/adapter --model smollm2 --language de
    """
    put(adapter, model, language, name)


def put(
    adapter: Path, model: str, language: str, name: str | None = None, *, quiet: bool = False
) -> "Installed":
    """Check an adapter against its model, and install it; says so unless `quiet`."""
    from pocketlm.engine.adapters import bind
    from pocketlm.formats.identity import identity
    from pocketlm.formats.lora import open_lora
    from pocketlm.formats.open import open_checkpoint
    from pocketlm.models import build
    from pocketlm.store import Store
    from pocketlm.store.adapters import Adapters

    store = Store()
    checkpoint = open_checkpoint(store.resolve(model, pull=False))
    try:
        bind(build(checkpoint.config, checkpoint.tensors), [(open_lora(adapter), 1.0)])
        known = identity(checkpoint)
    finally:
        checkpoint.close()
    installed = Adapters(store.home).install(
        adapter, language=language, base=model, model=known, name=name
    )
    if not quiet:
        print(f"installed {installed.name}: {installed.language} of {model} ({installed.path})")
    return installed


@app.command()
def rm(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `pocketlm list` has it.")],
) -> None:
    """Remove an installed adapter.

    \b
    Examples:
      pocketlm adapter rm smollm2-de
    """
    from pocketlm.store import Store
    from pocketlm.store.adapters import Adapters

    print(f"removed {Adapters(Store().home).remove(name)}")
