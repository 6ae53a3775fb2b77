"""Models in standard forms again: a folder that transformers opens, a GGUF file for llama.cpp.

It decides what is written: names, types, configuration, tokenizer. Bytes are the writers' of
`formats`, arithmetic `floats`'. Weights go through chunk by chunk; none is held whole.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pocketlm import _native
from pocketlm.errors import ModelFileError, OutputError, ParameterError, UnsupportedError
from pocketlm.formats import gguf_writer, safetensors_writer
from pocketlm.formats.checkpoint import Checkpoint, Tensor, let_go
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
from pocketlm.formats.open import open_checkpoint
from pocketlm.formats.output import Buffer, new_folder
from pocketlm.formats.safetensors_writer import SafetensorsWriter
from pocketlm.formats.tokenizer_folder import read_folder
from pocketlm.formats.tokenizer_gguf import read_gguf
from pocketlm.formats.tokenizer_json import tokenizer_config, tokenizer_json
from pocketlm.models import build
from pocketlm.models.program import Program
from pocketlm.quantize.floats import FLOAT_BYTES, Floats, from_floats, matrix_shape, to_floats
from pocketlm.quantize.lora import Adapter

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

#: Numbers that go through at a time.
_CHUNK = 1 << 22

#: Rows of these are reordered where rotary pairs are neighbours.
_ROTATED = re.compile(r"model\.layers\.\d+\.self_attn\.[qk]_proj\.(weight|bias)", re.ASCII)

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
    source's where that is a float, else float16. `adapter` is a LoRA adapter's folder, merged.
    `progress` is told of bytes written, `note` of what does not come along. Raises ParameterError,
    ModelFileError, UnsupportedError, or OutputError where `target` is there and not to be replaced.
    """
    if form not in FORMATS:
        raise ParameterError(f"format is {form!r}; it must be one of {', '.join(FORMATS)}")
    if dtype is not None and dtype not in DTYPES:
        raise ParameterError(f"dtype is {dtype!r}; it must be one of {', '.join(DTYPES)}")
    _check_target(target, form, force)
    merged = None if adapter is None else Adapter(adapter)
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
    adapter: Adapter | None = None,
    progress: Progress = lambda what, done, total: None,
    note: Note = lambda text: None,
) -> None:
    """As `export`, of an open checkpoint; what is at `target` is replaced."""
    weights = _Weights(checkpoint, adapter)
    # Quants of a few bits times a scale of 16: float16 rounds an eighth as much as bfloat16.
    type_ = DTYPES[dtype] if dtype is not None else weights.common_type or "F16"
    if weights.common_type is None:
        note("the source is quantised: what that lost does not come back")
    write = _write_folder if form == "safetensors" else _write_gguf
    write(weights, target, type_, progress, note)


class _Weights:
    """A checkpoint's tensors in the hub's order of rows, the adapter merged, as float32."""

    def __init__(self, checkpoint: Checkpoint, adapter: Adapter | None) -> None:
        self.checkpoint = checkpoint
        self.config = checkpoint.config
        # Refuses what could not be run: a tensor that is missing, left over or of another shape.
        self.program: Program = build(checkpoint.config, checkpoint.tensors)
        self.tensors: Mapping[str, Tensor] = checkpoint.tensors
        self.pool = _native.ThreadPool(_native.default_threads())
        self._adapter = adapter
        if adapter is not None:
            adapter.check(self.tensors)
        rotary = 2 * len(self.program.rope.inverse_frequencies[0])
        self._order = np.arange(self.program.head_dim)
        self._order[:rotary] = np.arange(rotary).reshape(2, -1).T.ravel()
        self._adjacent = self.program.rope.pairing == "adjacent"

    @property
    def common_type(self) -> str | None:
        """The type of most bytes, if no tensor is quantised."""
        sizes: dict[str, int] = {}
        for tensor in self.tensors.values():
            sizes[tensor.type] = sizes.get(tensor.type, 0) + tensor.nbytes
        return max(sizes, key=sizes.__getitem__) if sizes.keys() <= FLOAT_BYTES.keys() else None

    def chunks(self, name: str, *, adjacent: bool) -> Iterator[Floats]:
        """A tensor's rows, some at a time; of q and k in the order of `adjacent` rotary pairs."""
        tensor = self.tensors[name]
        rows, columns = matrix_shape(tensor.shape)
        rotated = _ROTATED.fullmatch(name) is not None
        step = max(1, _CHUNK // columns)
        if rotated:
            step = -(-step // self.program.head_dim) * self.program.head_dim
        for start in range(0, rows, step):
            stop = min(start + step, rows)
            values = self._rows(tensor, start, stop, rotated=rotated)
            yield self._reordered(values, self._order) if rotated and adjacent else values

    def _rows(self, tensor: Tensor, start: int, stop: int, *, rotated: bool) -> Floats:
        """Rows in the hub's order, with what the adapter makes of them."""
        if self._adapter is not None:
            whole = self._adapter.replaced(tensor.name)
            if whole is not None:
                return to_floats(self.pool, whole, start, stop)
        values = to_floats(self.pool, tensor, start, stop)
        if rotated and self._adjacent:
            values = self._reordered(values, np.argsort(self._order))
        if self._adapter is not None:
            added = self._adapter.added(self.pool, tensor.name, start, stop)
            if added is not None:
                values = values + added
        return values

    def _reordered(self, values: Floats, order: npt.NDArray[np.intp]) -> Floats:
        """Rows (of a bias: numbers) of each head in another order."""
        heads = values.reshape(
            -1, self.program.head_dim, 1 if len(values) == 1 else values.shape[1]
        )
        return np.ascontiguousarray(heads[:, order]).reshape(values.shape)


@dataclass
class _Pass:
    """One pass over all weights, with its progress."""

    weights: _Weights
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
        let_go(self.weights.tensors[name])


def _size(tensor: Tensor, type_: str) -> int:
    return math.prod(tensor.shape) * FLOAT_BYTES[type_]


def _write_gguf(
    weights: _Weights, target: Path, type_: str, progress: Progress, note: Note
) -> None:
    checkpoint, tensors = weights.checkpoint, weights.tensors
    model_type = weights.config["model_type"]
    config = _plain_config(weights.config, weights.program)
    if isinstance(checkpoint, GGUFCheckpoint):
        metadata: dict[str, Value] = {
            key: value
            for key, value in checkpoint.raw_metadata.items()
            if not key.startswith(_DROPPED)
        }
    else:
        metadata = _metadata(checkpoint, config, note)
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
    types = {name: type_ if len(tensors[name].shape) > 1 else "F32" for name in tensors}
    for name, own in types.items():
        new.append(
            gguf_writer.NewTensor(
                gguf_name(model_type, name),
                {"F32": 0, "F16": 1, "BF16": 30}[own],
                tensors[name].shape,
                _size(tensors[name], own),
            )
        )
    adjacent = ARCHITECTURES[model_type] in ADJACENT_PAIRS
    going = _Pass(weights, progress, target.name, sum(tensor.nbytes for tensor in new))
    with GGUFWriter(target, metadata, new) as writer:
        for name, values in factors.items():
            writer.write(name, values)
        for name, own in types.items():
            going.tensor(name, own, writer.write, gguf_name(model_type, name), adjacent=adjacent)


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


def _plain_config(config: Mapping[str, Any], program: Program) -> dict[str, Any]:
    """The configuration in the form of `gguf_config.hub_config`, which the program has checked."""
    scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    theta = scaling.get("rope_theta") or config.get("rope_theta") or 10000.0
    rope: dict[str, Any] = {"rope_theta": theta, "rope_type": kind}
    if program.rope.original_context is not None:
        rope |= {
            "rope_type": "longrope",
            "short_factor": scaling["short_factor"],
            "long_factor": scaling["long_factor"],
            "attention_factor": program.rope.scale,
        }
    elif kind == "linear":
        rope["factor"] = scaling["factor"]
    elif "frequency_factors" in scaling:
        rope["frequency_factors"] = scaling["frequency_factors"]
    elif kind == "llama3":
        frequencies = program.rope.inverse_frequencies[0]
        exponents = np.arange(len(frequencies)) / len(frequencies)
        rope["frequency_factors"] = np.power(float(theta), -exponents) / frequencies
    rotary = 2 * len(program.rope.inverse_frequencies[0])
    part = rotary / program.head_dim
    plain: dict[str, Any] = {
        "model_type": config["model_type"],
        "vocab_size": program.vocab_size,
        "max_position_embeddings": program.context,
        "original_max_position_embeddings": program.rope.original_context,
        "hidden_size": config["hidden_size"],
        "intermediate_size": config["intermediate_size"],
        "num_hidden_layers": program.layers,
        "num_attention_heads": program.heads,
        "num_key_value_heads": program.kv_heads,
        "head_dim": program.head_dim,
        "rms_norm_eps": program.norm_eps,
        "sliding_window": program.window,
        # Who multiplies back and rounds down must find the same number.
        "partial_rotary_factor": part
        if int(part * program.head_dim) == rotary
        else math.nextafter(part, 1),
        "rope_parameters": rope,
    }
    return plain


def _write_folder(
    weights: _Weights, target: Path, type_: str, progress: Progress, note: Note
) -> None:
    checkpoint, tensors = weights.checkpoint, weights.tensors
    if isinstance(checkpoint, GGUFCheckpoint):
        files = _folder_files(checkpoint, weights, type_)
    else:
        files = _copied_files(checkpoint.path, type_)
    new = [
        safetensors_writer.NewTensor(name, type_, tensors[name].shape, _size(tensors[name], type_))
        for name in tensors
    ]
    total = sum(tensor.nbytes for tensor in new)
    going = _Pass(weights, progress, target.name, total)
    size = total + sum(map(len, files.values())) + 1000 * len(new)
    with new_folder(target, size) as folder:
        for name, data in files.items():
            (folder / name).write_bytes(data)
        with SafetensorsWriter(folder, new) as writer:
            for name in tensors:
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


def _folder_files(checkpoint: GGUFCheckpoint, weights: _Weights, type_: str) -> dict[str, bytes]:
    """What a hub folder says of a GGUF file's model."""
    vocabulary = read_gguf(checkpoint.metadata)
    config = _hub_config(weights, type_)
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


#: transformers' classes by `model_type`.
_CLASSES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
}


def _hub_config(weights: _Weights, type_: str) -> dict[str, Any]:
    """config.json of a GGUF file's model, in the form that all versions of transformers read."""
    source, program, tensors = weights.config, weights.program, weights.tensors
    plain = _plain_config(source, program)
    kind = plain["model_type"]
    rope = plain.pop("rope_parameters")
    part = plain.pop("partial_rotary_factor")
    config: dict[str, Any] = {
        "architectures": [_CLASSES[kind]],
        **{key: value for key, value in plain.items() if value is not None},
        "hidden_act": "silu",
        "tie_word_embeddings": "lm_head.weight" not in tensors,
        "rope_theta": rope["rope_theta"],
        "rope_scaling": _hub_scaling(rope, program),
        "torch_dtype": _TORCH_NAMES[type_],
        **{f"{name}_token_id": source.get(f"{name}_token_id") for name in ("bos", "eos", "pad")},
    }
    if part != 1.0:
        if kind != "phi3":
            raise UnsupportedError(f"transformers turns whole heads of {kind}, this file only part")
        config["partial_rotary_factor"] = part
    if kind in ("phi3", "mistral"):
        config["sliding_window"] = program.window
    if kind == "llama":
        config["attention_bias"] = "model.layers.0.self_attn.q_proj.bias" in tensors
        config["mlp_bias"] = "model.layers.0.mlp.up_proj.bias" in tensors
    return config


def _hub_scaling(rope: Mapping[str, Any], program: Program) -> dict[str, Any] | None:
    """`rope_scaling` of config.json."""
    if "frequency_factors" in rope:
        return _llama3(rope, program.context)
    if rope["rope_type"] == "longrope":
        scaling = {
            "type": "longrope",
            "short_factor": rope["short_factor"],
            "long_factor": rope["long_factor"],
        }
        original = program.rope.original_context
        assert original is not None
        factor = program.context / original
        usual = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))
        # Older versions refuse a fourth key: it is there where it says something.
        if not math.isclose(rope["attention_factor"], usual, rel_tol=1e-5):
            scaling["attention_factor"] = rope["attention_factor"]
        return scaling
    if rope["rope_type"] == "linear":
        return {"rope_type": "linear", "factor": rope["factor"]}
    return None


def _llama3(rope: Mapping[str, Any], context: int) -> dict[str, Any]:
    """Llama 3.1's parameters, of which a GGUF file holds only what follows from them."""
    factors = np.array(rope["frequency_factors"])
    exponents = np.arange(len(factors)) / len(factors)
    wavelengths = 2 * math.pi * np.power(float(rope["rope_theta"]), exponents)
    # All models of Meta's have low 1 and high 4; the original context is a power of two.
    low, high, factor = 1.0, 4.0, float(factors.max())
    for original in (1 << n for n in range(4, 24)):
        smooth = np.clip((original / wavelengths - low) / (high - low), 0, 1)
        if np.allclose(1 / ((1 - smooth) / factor + smooth), factors, rtol=1e-4):
            return {
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low,
                "high_freq_factor": high,
                "original_max_position_embeddings": original,
            }
    raise UnsupportedError("the file's rotary factors are not those of Llama 3.1's scaling")


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
