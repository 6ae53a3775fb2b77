"""`pocketlm export`: a model in a standard form, for other programs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pocketlm.cli.options import Model, Offline


class Form(StrEnum):
    """What other programs open."""

    SAFETENSORS = "safetensors"
    GGUF = "gguf"


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
            help="A hub folder (transformers, vLLM) or an unquantised GGUF file (llama.cpp).",
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

    A quantised model is written out in 16 bits; what quantisation lost does not come back.
    Interrupted, it leaves nothing behind.

    \b
    Examples:
      pocketlm export smollm2 --out smollm2-hf
      pocketlm export ./folder --format gguf --out model.gguf
      pocketlm export ./folder --adapter ./lora --out merged --dtype bfloat16
    """
    from pocketlm.cli.output import Download, Status
    from pocketlm.quantize.export import export as write
    from pocketlm.store import Store

    with Download() as progress:
        path = Store().resolve(model, progress=progress)
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
