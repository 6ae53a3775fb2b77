"""Models as training wants them: a new Phi-3, one from a folder, and a folder for what came of it.

It knows transformers' classes and files. It knows no data and no loop.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import torch
import transformers

from pocketlm.errors import ModelFileError, ParameterError, UnsupportedError
from pocketlm.formats.checkpoint import naming
from pocketlm.formats.config import parse_object
from pocketlm.formats.tokenizer import Tokenizer, from_folder
from pocketlm.recipe.train.configuration import Architecture

#: A tokenizer's files in a hub folder.
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)


def configuration(
    architecture: Architecture, tokenizer: Tokenizer, context: int
) -> transformers.Phi3Config:
    """The configuration of a new model. Raises ParameterError for fewer rows than tokens."""
    rows = architecture.vocab_size or tokenizer.vocab_size
    if rows < tokenizer.vocab_size:
        raise ParameterError(
            f"model.vocab_size: {rows:,} rows do not hold the tokenizer's "
            f"{tokenizer.vocab_size:,} tokens"
        )
    positions = architecture.max_position_embeddings or context
    if positions < context:
        raise ParameterError(
            f"model.max_position_embeddings: {positions:,} is less than the context of {context:,}"
        )
    values = architecture.model_dump(exclude={"rope_theta", "vocab_size"})
    return transformers.Phi3Config(
        **{
            **values,
            "num_key_value_heads": architecture.num_key_value_heads
            or architecture.num_attention_heads,
            "max_position_embeddings": positions,
            "original_max_position_embeddings": positions,
        },
        vocab_size=rows,
        rope_parameters={"rope_type": "default", "rope_theta": architecture.rope_theta},
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,
        # No row of the embedding stays zero: the padding is the end of a text, which is learned.
        pad_token_id=None,
        attention_dropout=0.0,
    )


def create(
    model: Architecture | Path, tokenizer: Tokenizer, context: int, seed: int
) -> transformers.PreTrainedModel:
    """A new model with weights by `seed`, or the one in a folder; float32.

    Raises ParameterError or ModelFileError where tokenizer, context and model do not fit.
    """
    if isinstance(model, Path):
        return load(model, tokenizer, context)
    torch.manual_seed(seed)
    return transformers.Phi3ForCausalLM(configuration(model, tokenizer, context))


def load(
    folder: Path, tokenizer: Tokenizer | None = None, context: int = 0
) -> transformers.PreTrainedModel:
    """The model in a folder, float32. Raises ModelFileError, or ParameterError where it is short
    of positions for `context` or of rows for `tokenizer`; UnsupportedError for quantised weights.
    """
    check_trainable(folder)
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelFileError(f"{folder}: cannot be opened: {_first_line(error)}") from None
    config = model.config
    if tokenizer is not None and config.vocab_size < tokenizer.vocab_size:
        raise ParameterError(
            f"{folder}: has {config.vocab_size:,} rows, the tokenizer {tokenizer.vocab_size:,} "
            "tokens"
        )
    if context > config.max_position_embeddings:
        raise ParameterError(
            f"context: {folder} has {config.max_position_embeddings:,} positions, not {context:,}"
        )
    return model


def check_trainable(folder: Path) -> None:
    """Raise ModelFileError or UnsupportedError, which say what to do, for what is no folder of
    transformers' with floats.
    """
    source = folder if folder.exists() else folder.name  # of the store, perhaps
    export = f"pocketlm export {source} --format safetensors --out FOLDER"
    if folder.is_file():
        raise UnsupportedError(
            f"{folder}: is a file, and training wants a folder that transformers opens; make one: "
            + export
        )
    if not (folder / "config.json").is_file():
        raise ModelFileError(
            f"{folder}: holds no model that transformers opens (no config.json); of a GGUF file, "
            f"or a model of the store, make one: {export}"
        )
    with naming(folder / "config.json"):
        config = parse_object((folder / "config.json").read_bytes())
    if config.get("quantization_config"):
        raise UnsupportedError(
            f"{folder}: its weights are quantised, and what is trained must be 16- or 32-bit floats"
        )


def open_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a folder, as the engine reads it. Raises ModelFileError."""
    if not (folder / "tokenizer.json").is_file():
        raise ModelFileError(
            f"{folder}: holds no tokenizer.json; make one with `pocketlm train tokenizer`"
        )
    return from_folder(folder)


def tokenizer_digest(folder: Path) -> str:
    """SHA-256 of tokenizer.json, by which shards know their tokenizer."""
    return hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest()


def parameters(model: torch.nn.Module) -> int:
    """How many weights there are, those used twice counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def write(
    folder: Path,
    model: transformers.PreTrainedModel,
    tokenizer: Path,
    state: dict[str, torch.Tensor] | None = None,
) -> None:
    """Write a model into an empty folder: weights, configuration, and its tokenizer's files.

    `state` are the weights where the model at hand holds only a part of them.
    """
    model.save_pretrained(folder, state_dict=state)
    for name in _TOKENIZER_FILES:
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, folder / name)
    generation = folder / "generation_config.json"
    values = json.loads(generation.read_text("utf-8")) if generation.is_file() else {}
    known = from_folder(tokenizer)
    ends = sorted({*known.eot_ids, *([] if known.eos_id is None else [known.eos_id])})
    generation.write_text(json.dumps({**values, "eos_token_id": ends}, indent=2) + "\n", "utf-8")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
