"""`pocketlm train language`: a model in another language, from texts to an adapter or a model."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlm.cli.options import Json, models
from pocketlm.errors import ParameterError

if TYPE_CHECKING:
    from pocketlm.cli.train.then import Quantization

_INSTALL = "install"


def language(
    code: Annotated[
        str,
        typer.Argument(metavar="LANGUAGE", help="A code (de, cs, …), or a YAML file of one's own."),
    ],
    model: Annotated[
        str,
        typer.Option(
            metavar="BASE",
            help="The model that learns it: a name or a path.",
            autocompletion=models,
        ),
    ],
    data: Annotated[Path, typer.Option(metavar="CORPUS", help="A folder of texts in it.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where all of it is made.")],
    english: Annotated[
        Path | None,
        typer.Option(metavar="CORPUS", help="A folder of English texts, against forgetting."),
    ] = None,
    chats: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Conversations (.jsonl) that are learned after the texts."
        ),
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Train all weights and new tokens, not an adapter.")
    ] = False,
    vocabulary: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, help="With --whole: new tokens (default: the language's)."
        ),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Train on so many (default: all texts once)."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Threads of PyTorch, tasks of the build.")
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print the steps and what they take; do nothing.")
    ] = False,
    then: Annotated[
        str | None,
        typer.Option(
            metavar="install | quantize[:ARGS]",
            help="Install the adapter for `chat --language`; or write a GGUF file of the model.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Teach a model a language: filter texts, train on them, then on conversations.

    Each step is written as a file of `pocketlm data build` or `train` first, and goes on where it
    was stopped. An adapter leaves the model as it is; --whole makes another model.

    \b
    Examples:
      pocketlm train language de --model smollm2 --data texts --out german --show
      pocketlm train language de --model smollm2 --data texts --out german --then install
      pocketlm train language uk --model ./phi --data texts --out uk --whole --chats chats.jsonl
    """
    from pocketlm.cli.train import quietly

    quietly()  # before the libraries are there, which read it once
    from pocketlm.cli.output import Status, table
    from pocketlm.recipe.languages import language as languages
    from pocketlm.recipe.languages.version import Version, Wanted
    from pocketlm.store import Store

    if then == _INSTALL and whole:
        raise ParameterError("--then install is for adapters; --whole makes a model of its own")
    own = Path(code)
    known = languages.read(own) if own.suffix in (".yaml", ".yml") else languages.language(code)
    version = Version(
        Wanted(
            known,
            Store().resolve(model),
            data,
            out,
            english,
            chats,
            whole,
            vocabulary,
            tokens,
            threads,
        )
    )
    quantization = _quantization(then, None if whole else version.base)
    if show:
        print(table(version.rows()))
        return
    with Status() as status:
        place = version.make(status.show, status.note)
    found = {"model" if whole else "adapter": str(place)}
    if not json:
        print(f"wrote {place}")
    if then == _INSTALL:
        from pocketlm.cli.adapter import put

        found["installed"] = put(place, model, known.code, quiet=json).name
    elif quantization is not None:
        found["gguf"] = str(quantization.run(place, quiet=json))
    if json:
        print(json_format.dumps(found))


def _quantization(then: str | None, base: Path | None) -> Quantization | None:
    from pocketlm.cli.train.then import Quantization

    return None if then in (None, _INSTALL) else Quantization(str(then), base)
