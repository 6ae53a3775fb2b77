"""Models in standard forms again: a folder that transformers opens, a GGUF file for llama.cpp.

It decides what is written: names, types, files, tokenizer. Bytes are the writers' of `formats`,
numbers `weights`', config.json `configuration`'s.
"""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pocketlm.errors import ModelFileError, OutputError, ParameterError, UnsupportedError
from pocketlm.formats import gguf_writer, safetensors_writer
from pocketlm.formats.checkpoint import Checkpoint
from pocketlm.formats.config import read_object
from pocketlm.formats.gguf_checkpoint import GGUFCheckpoint
from pocketlm.formats.gguf_config import ADJACENT_PAIRS, ROPE_FACTORS, gguf_name
from pocketlm.formats.gguf_keys import (
    ARCHITECTURES,
    FILE_TYPES,
    architecture_keys,
    losses,
    tokenizer_keys,
)
from pocketlm.formats.gguf_writer import GGUFWriter, Value
from pocketlm.formats.lora import Lora, open_lora
from pocketlm.formats.open import open_checkpoint
from pocketlm.formats.output import Buffer, new_folder
from pocketlm.formats.safetensors_writer import SafetensorsWriter
from pocketlm.formats.tokenizer_folder import read_folder
from pocketlm.formats.tokenizer_gguf import read_gguf
from pocketlm.formats.tokenizer_json import tokenizer_config, tokenizer_json
from pocketlm.quantize.configuration import hub_config, plain_config
from pocketlm.quantize.floats import FLOAT_BYTES, from_floats
from pocketlm.quantize.weights import Weights

FORMATS = ("safetensors", "gguf")
#: Element types by what people call them.
DTYPES = {
    "float32": "F32",
    "f32": "F32",
    "float16": "F16",
    "f16": "F16",
    "bfloat16": "BF16",
    "bf16": "BF16",
}
_TORCH_NAMES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}

#: Files of a hub folder that are copied as they are.
_COPIED = (
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)
#: Larger than any of them.
_MOST_COPIED = 1 << 26
#: What a folder may hold that --force replaces.
_REPLACEABLE = re.compile(
    "|".join(map(re.escape, ("config.json", "model.safetensors.index.json", *_COPIED)))
    + r"|model(-\d{5}-of-\d{5})?\.safetensors"
)
#: Keys of a GGUF file that are not true of what is made of it.
_DROPPED = ("split.", "quantize.", "pocketlm.", "general.file_type")

Progress = Callable[[str, int, int], None]
Note = Callable[[str], None]


def export(
    source: Path,
    target: Path,
    form: str,
    *,
    dtype: str | None = None,
    adapter: Path | None = None,
    force: bool = False,
    progress: Progress = lambda what, done, total: None,
    note: Note = lambda text: None,
) -> None:
    """Write the model at `source` to `target` in a standard form.

    `form` is "safetensors" (a folder) or "gguf" (a file); `dtype` one of DTYPES, by default the
    source's where that is a float, else float16. `adapter` is a LoRA adapter, merged.
    `progress` is told of bytes written, `note` of what does not come along. Raises ParameterError,
    ModelFileError, UnsupportedError, or OutputError where `target` is there and not to be replaced.
    """
    if form not in FORMATS:
        raise ParameterError(f"format is {form!r}; it must be one of {', '.join(FORMATS)}")
    if dtype is not None and dtype not in DTYPES:
        raise ParameterError(f"dtype is {dtype!r}; it must be one of {', '.join(DTYPES)}")
    _check_target(target, form, force)
    merged = None if adapter is None else open_lora(adapter)
    with open_checkpoint(source) as checkpoint:
        try:
            write_checkpoint(checkpoint, target, form, dtype, merged, progress, note)
        except (ModelFileError, UnsupportedError) as error:
            if str(error).startswith(str(source)):  # it names its file
                raise
            raise type(error)(f"{source}: {error}") from None


def write_checkpoint(
    checkpoint: Checkpoint,
    target: Path,
    form: str,
    dtype: str | None = None,
    adapter: Lora | None = None,
    progress: Progress = lambda what, done, total: None,
    note: Note = lambda text: None,
) -> None:
    """As `export`, of an open checkpoint; what is at `target` is replaced."""
    weights = Weights(checkpoint, adapter)
    # Quants of a few bits times a scale of 16: float16 rounds an eighth as much as bfloat16.
    type_ = DTYPES[dtype] if dtype is not None else weights.common_type or "F16"
    if weights.common_type is None:
        note("the source is quantised: what that lost does not come back")
    write = _write_folder if form == "safetensors" else _write_gguf
    write(weights, target, type_, progress, note)


@dataclass
class _Pass:
    """One pass over all weights, with its progress."""

    weights: Weights
    progress: Progress
    what: str
    total: int
    done: int = 0

    def tensor(
        self,
        name: str,
        type_: str,
        write: Callable[[str, Buffer], None],
        stored: str,
        *,
        adjacent: bool,
    ) -> None:
        """Write a tensor as `type_` under the name `stored`."""
        for values in self.weights.chunks(name, adjacent=adjacent):
            data = from_floats(self.weights.pool, values, type_, name)
            write(stored, data)
            self.done += data.nbytes
            self.progress(self.what, self.done, self.total)


def _size(shape: tuple[int, ...], type_: str) -> int:
    return math.prod(shape) * FLOAT_BYTES[type_]


def _write_gguf(weights: Weights, target: Path, type_: str, progress: Progress, note: Note) -> None:
    shapes = weights.shapes
    model_type = weights.config["model_type"]
    config = plain_config(weights.config, weights.program)
    metadata = gguf_metadata(weights, note)
    metadata["general.file_type"] = FILE_TYPES[type_]

    factors = {
        name: np.array(config["rope_parameters"][key], np.float32)
        for name, key in ROPE_FACTORS.items()
        if key in config["rope_parameters"]
    }
    new = [
        gguf_writer.NewTensor(name, 0, values.shape, values.nbytes)
        for name, values in factors.items()
    ]
    # llama.cpp adds and multiplies vectors in float32 alone.
    types = {name: type_ if len(shape) > 1 else "F32" for name, shape in shapes.items()}
    for name, own in types.items():
        new.append(
            gguf_writer.NewTensor(
                gguf_name(model_type, name),
                {"F32": 0, "F16": 1, "BF16": 30}[own],
                shapes[name],
                _size(shapes[name], own),
            )
        )
    adjacent = ARCHITECTURES[model_type] in ADJACENT_PAIRS
    going = _Pass(weights, progress, target.name, sum(tensor.nbytes for tensor in new))
    with GGUFWriter(target, metadata, new) as writer:
        for name, values in factors.items():
            writer.write(name, values)
        for name, own in types.items():
            going.tensor(name, own, writer.write, gguf_name(model_type, name), adjacent=adjacent)


def gguf_metadata(weights: Weights, note: Note) -> dict[str, Value]:
    """The metadata of a GGUF file, without what tells of element types.

    A GGUF source's are copied to the byte; `note` is told what of a hub folder gets lost.
    """
    if not isinstance(weights.checkpoint, GGUFCheckpoint):
        return _metadata(weights.checkpoint, plain_config(weights.config, weights.program), note)
    metadata: dict[str, Value] = {
        key: value
        for key, value in weights.checkpoint.raw_metadata.items()
        if not key.startswith(_DROPPED)
    }
    # A file of ours has its own.
    metadata["general.architecture"] = ARCHITECTURES[weights.config["model_type"]]
    return metadata


def _metadata(checkpoint: Checkpoint, config: dict[str, Any], note: Note) -> dict[str, Value]:
    """The metadata of a GGUF file for a hub folder."""
    vocabulary = read_folder(checkpoint.path)
    for loss in losses(vocabulary):
        note(loss)
    if config.get("sliding_window") and ARCHITECTURES[config["model_type"]] != "phi3":
        note(
            f"GGUF's {ARCHITECTURES[config['model_type']]} has no window: texts beyond"
            f" {config['sliding_window']:,} tokens will differ"
        )
    name = checkpoint.path.resolve().name
    if vocabulary.strips and "phi3" in config["model_type"] and "phi-3" not in name.lower():
        # llama.cpp knows by this name that Phi-3's control tokens swallow whitespace.
        name = f"Phi-3 {name}"
    ends = checkpoint.generation_config.get("eos_token_id", [])
    metadata: dict[str, Value] = {
        **architecture_keys(config),
        "general.name": name,
        "general.quantization_version": 2,
        **tokenizer_keys(vocabulary, config["vocab_size"], ends),
    }
    if checkpoint.chat_template is not None:
        metadata["tokenizer.chat_template"] = checkpoint.chat_template
    return metadata


def _write_folder(
    weights: Weights, target: Path, type_: str, progress: Progress, note: Note
) -> None:
    checkpoint, shapes = weights.checkpoint, weights.shapes
    if isinstance(checkpoint, GGUFCheckpoint):
        files = _folder_files(checkpoint, weights, type_)
    else:
        files = _copied_files(checkpoint.path, type_)
    new = [
        safetensors_writer.NewTensor(name, type_, shape, _size(shape, type_))
        for name, shape in shapes.items()
    ]
    total = sum(tensor.nbytes for tensor in new)
    going = _Pass(weights, progress, target.name, total)
    size = total + sum(map(len, files.values())) + 1000 * len(new)
    with new_folder(target, size) as folder:
        for name, data in files.items():
            (folder / name).write_bytes(data)
        with SafetensorsWriter(folder, new) as writer:
            for name in shapes:
                going.tensor(name, type_, writer.write, name, adjacent=False)


def _copied_files(folder: Path, type_: str) -> dict[str, bytes]:
    """The files of a hub folder, config.json with the new type."""
    files = {name: _small(folder / name) for name in _COPIED if (folder / name).is_file()}
    config = read_object(folder / "config.json")
    for key in ("torch_dtype", "dtype", "auto_map"):  # code of the source's folder is not copied
        config.pop(key, None)
    config["torch_dtype"] = _TORCH_NAMES[type_]
    return {"config.json": _json(config), **files}


def _small(path: Path) -> bytes:
    if path.stat().st_size > _MOST_COPIED:
        raise ModelFileError(f"{path} is larger than {_MOST_COPIED >> 20} MiB")
    return path.read_bytes()


def _folder_files(checkpoint: GGUFCheckpoint, weights: Weights, type_: str) -> dict[str, bytes]:
    """What a hub folder says of a GGUF file's model."""
    vocabulary = read_gguf(checkpoint.metadata)
    config = hub_config(weights.config, weights.program, weights.shapes, _TORCH_NAMES[type_])
    # Tokens that end a turn are known by name; a GGUF file names one end of a text, often another.
    ends = checkpoint.generation_config.get("eos_token_id", [])
    ends = [*ends, *sorted(checkpoint.tokenizer().eot_ids.difference(ends))]
    generation = {
        key: value
        for key, value in (
            ("bos_token_id", config["bos_token_id"]),
            ("pad_token_id", config["pad_token_id"]),
            ("eos_token_id", ends or None),
        )
        if value is not None
    }
    return {
        "config.json": _json(config),
        "generation_config.json": _json(generation),
        "tokenizer.json": _json(tokenizer_json(vocabulary)),
        "tokenizer_config.json": _json(
            tokenizer_config(vocabulary, weights.program.context, checkpoint.chat_template)
        ),
    }


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _check_target(target: Path, form: str, force: bool) -> None:
    """Raise OutputError unless `target` is free, or is such a thing as may be replaced."""
    if not target.name or not target.parent.is_dir():
        raise OutputError(f"{target}: there is no folder {target.parent}")
    if not target.exists() and not target.is_symlink():
        return
    if not force:
        raise OutputError(f"{target} is there already; replace it with --force")
    if form == "gguf":
        if not target.is_file():
            raise OutputError(f"{target} is not a file; name another --out")
        return
    if not target.is_dir() or target.is_symlink():
        raise OutputError(f"{target} is not a folder; name another --out")
    for entry in sorted(target.iterdir()):
        if not entry.is_file() or _REPLACEABLE.fullmatch(entry.name) is None:
            raise OutputError(
                f"{target} holds {entry.name!r}, which no export wrote; name another --out"
            )
