"""LoRA adapters (Hu et al. 2021): what a file says is added to which weights.

A module's weight W becomes W + s B A, with s = alpha / r, or alpha / sqrt(r) where the adapter
says so (rank-stabilised, Kalajdzievski 2023). It knows peft's two files and the one that
llama.cpp's converter makes of them, and refuses, by name, what means more than that. It does not
know models: whoever merges or runs an adapter says which shapes its own weights have.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketlm.errors import ModelFileError, UnsupportedError
from pocketlm.formats import checked
from pocketlm.formats.checked import Buffer
from pocketlm.formats.checkpoint import Tensor, map_file, naming
from pocketlm.formats.config import read_object
from pocketlm.formats.gguf import MAGIC, read_gguf
from pocketlm.formats.gguf_config import ADJACENT_PAIRS, Keys, hub_name
from pocketlm.formats.safetensors import read_safetensors

_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"

#: Options that do not change what is added.
_HARMLESS = {
    "auto_mapping",
    "base_model_name_or_path",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "lora_dropout",
    "megatron_core",
    "modules_to_save",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
}
_READ = {"peft_type", "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern"}
#: Values of other options with which they do nothing.
_NOTHING = {"init_lora_weights": (None, True, False, "gaussian"), "bias": ("none",)}

_NAME = re.compile(r"base_model\.model\.(.+?)(?:\.lora_([AB]))?\.weight", re.ASCII)
#: The same in GGUF.
_GGUF_NAME = re.compile(r"(.+)\.weight\.lora_([ab])", re.ASCII)
#: A pattern that is a plain name. Others are regular expressions, which a file could make run long.
_PLAIN = re.compile(r"\^?[A-Za-z0-9_.]+\$?", re.ASCII)

#: What adapters may hold that is more than pairs of matrices, by a part of its name.
_OTHER_KINDS = {
    "lora_embedding": "adapts an embedding",
    "token_embd": "adapts an embedding",
    "lora_magnitude": "belongs to DoRA",
    ".bias": "is a bias",
}

#: Above any real rank or alpha.
_MOST = 1e30


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """What is added to one weight: scale * b @ a, with a [rank, columns] and b [rows, rank].

    Both are F32, F16 or BF16.
    """

    a: Tensor
    b: Tensor
    scale: float


class Lora:
    """An adapter, open. Errors name its file.

    `pairs` are by their module's name in the hub ("model.layers.0.self_attn.q_proj"); `whole` are
    weights, by name, that take the place of the model's. With `adjacent`, the rows of q and k are
    in the order of adjacent rotary pairs, as GGUF files of some architectures have them.
    """

    def __init__(
        self,
        path: Path,
        pairs: Mapping[str, Pair],
        whole: Mapping[str, Tensor] | None = None,
        *,
        adjacent: bool = False,
    ) -> None:
        """Make one of what a file holds."""
        self.path = path
        self.pairs = pairs
        self.whole = whole or {}
        self.adjacent = adjacent

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise ModelFileError unless all of it belongs to the model's tensors, by their shapes."""
        with naming(self.path):
            for name, tensor in self.whole.items():
                if shapes.get(name) != tensor.shape:
                    raise ModelFileError(f"the model has no {checked.shown(name)} of this shape")
        for module in self.pairs:
            self.pair(module, shapes.get(f"{module}.weight"))

    def pair(self, module: str, shape: tuple[int, ...] | None) -> Pair:
        """What is added to a module's weight of that shape; None says that the model has none.

        Raises ModelFileError where it is for another shape.
        """
        pair = self.pairs[module]
        what = f"the adapter of {checked.shown(module)}"
        with naming(self.path):
            if shape is None or len(shape) != 2:
                raise ModelFileError(f"{what} is for another model, which this is not")
            rows, columns = shape
            rank = pair.a.shape[0]
            for side, tensor, expected in (
                ("A", pair.a, (rank, columns)),
                ("B", pair.b, (rows, rank)),
            ):
                if tensor.shape != expected:
                    held = list(tensor.shape)
                    raise ModelFileError(f"{what}: {side} is {held}, expected {list(expected)}")
        return pair


def open_lora(path: Path) -> Lora:
    """Open an adapter: a folder that peft saved, or a GGUF file.

    Raises ModelFileError where there is none or it is damaged, UnsupportedError for one of another
    kind than LoRA.
    """
    with naming(path):
        if path.name == _WEIGHTS:
            path = path.parent
        if path.is_dir():
            if not (path / _CONFIG).is_file() or not (path / _WEIGHTS).is_file():
                raise ModelFileError(f"holds no adapter: {_CONFIG} and {_WEIGHTS} are needed")
        elif not path.exists():
            raise ModelFileError("no such file or folder")
    if path.is_dir():
        with naming(path / _CONFIG):
            config = PeftConfig(read_object(path / _CONFIG))
        with naming(path / _WEIGHTS):
            return read_peft(path / _WEIGHTS, config, map_file(path / _WEIGHTS))
    with naming(path):
        data = map_file(path)
        if data[: len(MAGIC)] != MAGIC:
            raise ModelFileError("holds no adapter: name peft's folder, or a GGUF file")
        return read_gguf_lora(path, data)


class PeftConfig:
    """What adapter_config.json says of ranks and scales."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Judge the file's values. Raises ModelFileError, or UnsupportedError naming an option."""
        kind = values.get("peft_type")
        if kind != "LORA":
            raise UnsupportedError(
                f"the adapter is of type {checked.shown(str(kind))}, expected 'LORA'"
            )
        for option, value in values.items():
            if option in _HARMLESS | _READ:
                continue
            if value not in _NOTHING.get(option, (None, False, [], {}, "")):
                raise UnsupportedError(
                    f"{checked.shown(option)} = {checked.shown(str(value))} is not supported"
                )
        stabilised = values.get("use_rslora")
        if not isinstance(stabilised, bool | None):
            raise _wrong("use_rslora", stabilised, "true or false")
        self._stabilised = bool(stabilised)
        self._alpha = _positive("lora_alpha", values.get("lora_alpha"), 8)
        self._rank = _positive("r", values.get("r"), 8)
        self._alphas = _patterns(values, "alpha_pattern")
        self._ranks = _patterns(values, "rank_pattern")

    def rank(self, module: str) -> int:
        """The rank of a module's pair."""
        return int(_of(module, self._ranks, self._rank))

    def scale(self, module: str) -> float:
        """What the product of a module's pair is multiplied with."""
        rank = self.rank(module)
        alpha = _of(module, self._alphas, self._alpha)
        return alpha / (math.sqrt(rank) if self._stabilised else rank)


def read_peft(path: Path, config: PeftConfig, data: Buffer) -> Lora:
    """The adapter of peft's safetensors file; `path` is for messages. Errors as `open_lora`."""
    whole: dict[str, Tensor] = {}
    sides: dict[str, dict[str, Tensor]] = {}
    for tensor in read_safetensors(data).values():
        match = _NAME.fullmatch(tensor.name)
        if match is None:
            raise _refusal(tensor.name)
        module, side = match.groups()
        if side is None:
            whole[f"{module}.weight"] = _floats(tensor)
        else:
            sides.setdefault(module, {})[side] = _floats(tensor)
    pairs = {}
    for module, found in sides.items():
        pairs[module] = pair = _pair(module, found, config.scale(module))
        if pair.a.shape[0] != config.rank(module):
            raise ModelFileError(
                f"the adapter of {checked.shown(module)}: A has {pair.a.shape[0]} rows, expected"
                f" {config.rank(module)}, the rank of {_CONFIG}"
            )
    return Lora(path, pairs, whole)


def read_gguf_lora(path: Path, data: Buffer) -> Lora:
    """The adapter of a GGUF file; `path` is for messages. Errors as `open_lora`."""
    file = read_gguf(data)
    keys = Keys(file.metadata)
    if (keys.text("general.type"), keys.text("adapter.type")) != ("adapter", "lora"):
        raise UnsupportedError("the file holds no LoRA adapter")
    for key in file.metadata:
        if key.startswith("adapter.alora."):
            raise UnsupportedError(f"{checked.shown(key)} is not supported")
    architecture = keys.text("general.architecture") or ""
    # 0, or none, is the format's way to say that B holds the scale.
    alpha = keys.number("adapter.lora.alpha") or 0
    if not 0 <= alpha < _MOST:
        raise ModelFileError(f"adapter.lora.alpha is {alpha}, expected a number from 0 up")
    sides: dict[str, dict[str, Tensor]] = {}
    for tensor in file.tensors.values():
        match = _GGUF_NAME.fullmatch(tensor.name)
        if match is None or match[1] == "token_embd":
            raise _refusal(tensor.name)
        module = hub_name(architecture, match[1])
        sides.setdefault(module, {})[match[2].upper()] = _floats(tensor)
    pairs = {}
    for module, found in sides.items():
        rank = found["A"].shape[0] if "A" in found else 1
        pairs[module] = _pair(module, found, alpha / rank if alpha else 1.0)
    return Lora(path, pairs, adjacent=architecture in ADJACENT_PAIRS)


def _floats(tensor: Tensor) -> Tensor:
    if tensor.type not in ("F32", "F16", "BF16"):
        raise UnsupportedError(
            f"tensor {checked.shown(tensor.name)} is {tensor.type}, expected F32, F16 or BF16"
        )
    return tensor


def _refusal(name: str) -> UnsupportedError:
    kind = next((kind for part, kind in _OTHER_KINDS.items() if part in name), "is no LoRA matrix")
    return UnsupportedError(f"tensor {checked.shown(name)} {kind}, which is not supported")


def _pair(module: str, sides: Mapping[str, Tensor], scale: float) -> Pair:
    """A and B of a module, as far as they fit each other."""
    what = f"the adapter of {checked.shown(module)}"
    for side in ("A", "B"):
        if side not in sides:
            raise ModelFileError(f"{what}: {side} is missing")
        if len(sides[side].shape) != 2:
            raise ModelFileError(f"{what}: {side} is no matrix")
    a, b = sides["A"], sides["B"]
    if a.shape[0] != b.shape[1] or not a.shape[0]:
        raise ModelFileError(
            f"{what}: A is {list(a.shape)} and B is {list(b.shape)}; B must have as many columns"
            " as A has rows"
        )
    return Pair(a, b, scale)


def _wrong(key: str, value: object, expected: str) -> ModelFileError:
    return ModelFileError(f"{key} is {checked.shown(repr(value))}, expected {expected}")


def _positive(key: str, value: object, default: float) -> float:
    if value is None:
        return default
    # Compared before it becomes a float: a huge integer has none. NaN compares false.
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _MOST:
        return value
    raise _wrong(key, value, "a number above 0")


def _patterns(values: Mapping[str, Any], key: str) -> dict[str, float]:
    section = values.get(key) or {}
    if not isinstance(section, Mapping):
        raise _wrong(key, section, "an object")
    for pattern in section:
        if _PLAIN.fullmatch(pattern) is None:
            raise UnsupportedError(f"{key}: the pattern {checked.shown(pattern)} is not a name")
    return {pattern: _positive(f"{key}.{pattern}", section[pattern], 1) for pattern in section}


def _of(module: str, patterns: Mapping[str, float], default: float) -> float:
    """The value of the first pattern that is the module's name, or the end of it."""
    for pattern, value in patterns.items():
        name = pattern.removesuffix("$")
        if name.startswith("^"):
            if module == name[1:]:
                return value
        elif module == name or module.endswith(f".{name}"):
            return value
    return default
