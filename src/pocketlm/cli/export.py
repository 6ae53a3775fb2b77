"""`pocketlm export`: a model in a standard form, for other programs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pocketlm.cli.options import Model, Offline, called
from pocketlm.errors import ParameterError


class Form(StrEnum):
    """What other programs open, browsers among them."""

    SAFETENSORS = "safetensors"
    GGUF = "gguf"
    WEB = "web"


class Dtype(StrEnum):
    """Element types, by both of the names that people know."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"


def export(
    model: Model,
    out: Annotated[
        Path, typer.Option("--out", metavar="PATH", help="The folder or GGUF file to write.")
    ],
    form: Annotated[
        Form,
        typer.Option(
            "--format",
            help="A hub folder (transformers, vLLM), an unquantised GGUF file (llama.cpp), or a"
            " page that runs the model in browsers, for any web server to host.",
        ),
    ] = Form.SAFETENSORS,
    dtype: Annotated[
        Dtype | None,
        typer.Option(help="Numbers of the weights (default: the model's; float16 if quantised)."),
    ] = None,
    adapter: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Merge a LoRA adapter: peft's folder, or a GGUF file."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is at --out.")] = False,
    offline: Offline = False,
) -> None:
    """Write a model in a standard form, for other programs.

    A quantised model is written out in 16 bits; what quantisation lost does not come back. For
    browsers it is a GGUF file as it is, in pieces. Interrupted, it leaves nothing behind.

    \b
    Examples:
      pocketlm export smollm2 --out smollm2-hf
      pocketlm export ./folder --format gguf --out model.gguf
      pocketlm export ./folder --adapter ./lora --out merged --dtype bfloat16
      pocketlm export smollm2 --format web --out site
    """
    from pocketlm.cli.output import Download, Status
    from pocketlm.quantize.export import export as write
    from pocketlm.serve.pocket import site
    from pocketlm.store import Store

    if form is Form.WEB and (dtype is not None or adapter is not None):
        raise ParameterError(
            "--dtype and --adapter do not go with --format web, which takes a GGUF file as it is"
        )
    store = Store()
    with Download() as progress:
        path = store.resolve(model, progress=progress)
    if form is Form.WEB:
        with Download("writing") as progress:
            site.write(path, out, called(model), store.home, force=force, progress=progress)
        print(f"wrote {out}")
        return
    with Download("writing") as progress, Status() as status:
        write(
            path,
            out,
            form.value,
            dtype=None if dtype is None else dtype.value,
            adapter=adapter,
            force=force,
            progress=progress,
            note=status.note,
        )
    print(f"wrote {out}")
