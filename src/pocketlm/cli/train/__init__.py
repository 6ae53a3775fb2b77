"""`pocketlm train`: token shards and examples into a model, from a file that says how."""

from __future__ import annotations

import json as json_format
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlm.cli.options import Json
from pocketlm.cli.train.demo import demo
from pocketlm.cli.train.language import language

if TYPE_CHECKING:
    from pocketlm.cli.train.then import Quantization
    from pocketlm.recipe.train.configuration import DpoRun, LoraRun, PretrainRun, SftRun

app = typer.Typer(
    help="Train a model: tokenizer, pretraining, tuning, preference, distillation, a language.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

app.command()(language)
app.command()(demo)

Configuration = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="A YAML file; docs/training.md has its fields.")
]
Show = Annotated[
    bool, typer.Option("--show", help="Print what would be done and what it takes; do nothing.")
]
Then = Annotated[
    str | None,
    typer.Option(
        metavar="quantize[:ARGS]",
        help="Write a GGUF file of the finished model too, with these options of"
        " `pocketlm quantize` (default: --type q8_0).",
    ),
]


@app.command()
def tokenizer(configuration: Configuration, show: Show = False, json: Json = False) -> None:
    """Train a tokenizer (byte-pair encoding) on texts, with Phi-3's control tokens and template.

    \b
    Examples:
      pocketlm train tokenizer tokenizer.yaml
    """
    from pocketlm.cli.output import Status, table
    from pocketlm.recipe.train import tokenizer as trainer
    from pocketlm.recipe.train.configuration import TokenizerRun
    from pocketlm.recipe.yaml_file import read

    run = read(configuration, TokenizerRun)
    if show:
        values = run.model_dump(mode="json").items()
        print(table([(name, str(value)) for name, value in values]))
        return
    with Status() as status:
        status.show("training the tokenizer")
        trained = trainer.train(run)
    if json:
        found = {"out": str(run.out), "vocabulary": trained.vocabulary, "bytes": trained.bytes}
        print(json_format.dumps(found))
    else:
        print(f"wrote {run.out}: {trained.vocabulary:,} tokens from {trained.bytes:,} bytes")


@app.command()
def pretrain(
    configuration: Configuration, show: Show = False, then: Then = None, json: Json = False
) -> None:
    """Train a Phi-3 of any size on token shards, in phases.

    Stopped or killed at any moment, the same command goes on as if it had not been. Several
    processes: torchrun --nproc-per-node 2 -m pocketlm train pretrain CONFIG.

    \b
    Examples:
      pocketlm train pretrain model.yaml --show
      pocketlm train pretrain model.yaml
      pocketlm train pretrain model.yaml --then "quantize:--bits 4.5 --calibrate default"
    """
    from pocketlm.recipe.train.configuration import PretrainRun
    from pocketlm.recipe.yaml_file import read

    _pretrain(read(configuration, PretrainRun), show, then, json)


@app.command()
def distill(
    configuration: Configuration, show: Show = False, then: Then = None, json: Json = False
) -> None:
    """Pretrain on a teacher's distribution as well as on the text.

    \b
    Examples:
      pocketlm train distill student.yaml
    """
    from pocketlm.recipe.train.configuration import DistilRun
    from pocketlm.recipe.yaml_file import read

    _pretrain(read(configuration, DistilRun), show, then, json)


@app.command()
def sft(
    configuration: Configuration, show: Show = False, then: Then = None, json: Json = False
) -> None:
    """Fine-tune a model on conversations: what the assistant says is learned, nothing else.

    \b
    Examples:
      pocketlm train sft chat.yaml --then quantize
    """
    from pocketlm.recipe.train.configuration import SftRun
    from pocketlm.recipe.yaml_file import read

    _tune(read(configuration, SftRun), None, show, then, json)


@app.command()
def lora(
    configuration: Configuration, show: Show = False, then: Then = None, json: Json = False
) -> None:
    """Fine-tune an adapter on conversations; the model itself stays as it is.

    The adapter has peft's form: `pocketlm export MODEL --adapter` merges it. With --then, the GGUF
    file is of the merged model.

    \b
    Examples:
      pocketlm train lora adapter.yaml
    """
    from pocketlm.recipe.train.configuration import LoraRun
    from pocketlm.recipe.yaml_file import read

    run = read(configuration, LoraRun)
    _tune(run, run.model, show, then, json)


@app.command()
def dpo(
    configuration: Configuration, show: Show = False, then: Then = None, json: Json = False
) -> None:
    """Teach a model which of two answers is the better one.

    \b
    Examples:
      pocketlm train dpo preferences.yaml
    """
    from pocketlm.recipe.train.configuration import DpoRun
    from pocketlm.recipe.yaml_file import read

    run = read(configuration, DpoRun)
    _tune(run, run.model if run.adapter else None, show, then, json)


def _pretrain(run: PretrainRun, show: bool, then: str | None, json: bool) -> None:
    from pocketlm.cli.output import Status, table

    quantization = _quantization(then)
    quietly()
    if show:
        from pocketlm.recipe.train.plan import plan

        print(table(plan(run).rows()))
        return
    from pocketlm.recipe.train.loop import pretrain as train

    with Status() as status:
        place = train(run, show=status.show, note=status.note)
    _finish(place, quantization, json)


def _tune(
    run: SftRun | LoraRun | DpoRun, base: Path | None, show: bool, then: str | None, json: bool
) -> None:
    """`base` is the model that the run trains an adapter for."""
    from pocketlm.cli.output import Status, table

    quantization = _quantization(then, base)
    quietly()
    if show:
        from pocketlm.recipe.train.tuning_plan import rows

        print(table(rows(run)))
        return
    from pocketlm.recipe.train.configuration import DpoRun
    from pocketlm.recipe.train.tuning import prefer, tune

    with Status() as status:
        if isinstance(run, DpoRun):
            place = prefer(run, show=status.show, note=status.note)
        else:
            place = tune(run, show=status.show, note=status.note)
    _finish(place, quantization, json)


def _quantization(then: str | None, base: Path | None = None) -> Quantization | None:
    from pocketlm.cli.train.then import Quantization

    return None if then is None else Quantization(then, base)


def _finish(place: Path, quantization: Quantization | None, json: bool) -> None:
    if os.environ.get("RANK", "0") != "0":  # one of torchrun's other processes
        return
    found = {"model": str(place)}
    if not json:
        print(f"wrote {place}")
    if quantization is not None:
        found["gguf"] = str(quantization.run(place, quiet=json))
    if json:
        print(json_format.dumps(found))


def quietly() -> None:
    """Keep libraries from writing between our lines."""
    import logging
    import warnings

    for name, value in (
        ("TOKENIZERS_PARALLELISM", "false"),
        ("TRANSFORMERS_VERBOSITY", "error"),
        ("TQDM_DISABLE", "1"),
    ):
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore")
    for name in ("accelerate", "trl", "torch"):
        logging.getLogger(name).setLevel(logging.ERROR)
