"""LoRA adapters (Hu et al. 2021) as peft saves them: what they add to which weights.

A module's weight W becomes W + s B A, with s = alpha / r, or alpha / sqrt(r) where the adapter
says so (rank-stabilised, Kalajdzievski 2023). It knows peft's two files and refuses, by name, what
would have to be merged in another way.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pocketlm import _native
from pocketlm.errors import ModelFileError, UnsupportedError
from pocketlm.formats import checked
from pocketlm.formats.checkpoint import Tensor, map_file, naming
from pocketlm.formats.config import read_object
from pocketlm.formats.safetensors import read_safetensors
from pocketlm.models.config import Config
from pocketlm.quantize.floats import to_floats

Floats = npt.NDArray[np.float32]

_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"

#: Options that do not change what merging is.
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
#: A pattern that is a plain name. Others are regular expressions, which a file could make run long.
_PLAIN = re.compile(r"\^?[A-Za-z0-9_.]+\$?", re.ASCII)


class Adapter:
    """An adapter, open. Errors name its folder."""

    def __init__(self, folder: Path) -> None:
        """Open an adapter. Raises ModelFileError or UnsupportedError."""
        with naming(folder):
            if not (folder / _CONFIG).is_file() or not (folder / _WEIGHTS).is_file():
                raise ModelFileError(f"holds no adapter: {_CONFIG} and {_WEIGHTS} are needed")
        with naming(folder / _CONFIG):
            self._read(read_object(folder / _CONFIG))
        with naming(folder / _WEIGHTS):
            #: Whole weights by their name in the model, and pairs (A, B) by their module's.
            self._whole: dict[str, Tensor] = {}
            self._pairs: dict[str, dict[str, Tensor]] = {}
            for tensor in read_safetensors(map_file(folder / _WEIGHTS)).values():
                self._sort(tensor)
        self._path = folder / _WEIGHTS

    def _read(self, values: dict[str, Any]) -> None:
        config = Config(values)
        kind = config.text("peft_type")
        if kind != "LORA":
            raise UnsupportedError(f"the adapter is of type {checked.shown(kind)}, expected 'LORA'")
        for option, value in values.items():
            if option in _HARMLESS | _READ:
                continue
            if value not in _NOTHING.get(option, (None, False, [], {}, "")):
                raise UnsupportedError(
                    f"{checked.shown(option)} = {checked.shown(str(value))} is not supported"
                )
        self._stabilised = config.flag("use_rslora", False)
        self._alpha = config.positive("lora_alpha", 8)
        self._rank = config.count("r", 8)
        self._alphas = _patterns(values, "alpha_pattern")
        self._ranks = _patterns(values, "rank_pattern")

    def _sort(self, tensor: Tensor) -> None:
        match = _NAME.fullmatch(tensor.name)
        if match is None or tensor.type not in ("F32", "F16", "BF16"):
            raise UnsupportedError(f"tensor {checked.shown(tensor.name)} cannot be merged")
        module, side = match.groups()
        if side is None:
            self._whole[f"{module}.weight"] = tensor
        else:
            self._pairs.setdefault(module, {})[side] = tensor

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise ModelFileError unless all of it belongs to the model's tensors, by their shapes."""
        with naming(self._path):
            for name, tensor in self._whole.items():
                if shapes.get(name) != tensor.shape:
                    raise ModelFileError(f"the model has no {checked.shown(name)} of this shape")
            for module, pair in self._pairs.items():
                self._check_pair(module, pair, shapes.get(f"{module}.weight"))

    def _check_pair(
        self, module: str, pair: dict[str, Tensor], weight: tuple[int, ...] | None
    ) -> None:
        what = f"the adapter of {checked.shown(module)}"
        if weight is None or len(weight) != 2:
            raise ModelFileError(f"{what} is for another model, which this is not")
        rank = int(_of(module, self._ranks, self._rank))
        rows, columns = weight
        for side, shape in (("A", (rank, columns)), ("B", (rows, rank))):
            if side not in pair or pair[side].shape != shape:
                held = list(pair[side].shape) if side in pair else "missing"
                raise ModelFileError(f"{what}: {side} is {held}, expected {list(shape)}")

    def replaced(self, name: str) -> Tensor | None:
        """The whole weight that takes the place of the model's, if there is one."""
        return self._whole.get(name)

    def added(self, pool: _native.ThreadPool, name: str, start: int, stop: int) -> Floats | None:
        """What is added to rows of a weight: float32 [stop - start, columns], or None."""
        module = name.removesuffix(".weight")
        pair = self._pairs.get(module)
        if pair is None:
            return None
        a, b = pair["A"], pair["B"]
        rank = a.shape[0]
        scale = _of(module, self._alphas, self._alpha) / (
            math.sqrt(rank) if self._stabilised else rank
        )
        product: Floats = to_floats(pool, b, start, stop) @ to_floats(pool, a, 0, rank)
        product *= np.float32(scale)
        return product


def _patterns(values: Mapping[str, Any], key: str) -> dict[str, float]:
    section = Config(values).section(key)
    if section is None:
        return {}
    found: dict[str, float] = {}
    for pattern in values[key]:
        if _PLAIN.fullmatch(pattern) is None:
            raise UnsupportedError(f"{key}: the pattern {checked.shown(pattern)} is not a name")
        found[pattern] = section.positive(pattern)
    return found


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
