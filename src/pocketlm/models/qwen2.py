"""Qwen2 and Qwen2.5 (Yang et al. 2024): LLaMA's blocks with biases on queries, keys and values."""

from collections.abc import Mapping
from typing import Any

from pocketlm.errors import ModelFileError, UnsupportedError
from pocketlm.models import llama
from pocketlm.models.config import Config, Shape
from pocketlm.models.program import Program, TensorInfo


def build(config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> Program:
    """The program of a Qwen2ForCausalLM checkpoint; errors as `models.build`."""
    for projection in "qkv":
        name = f"model.layers.0.self_attn.{projection}_proj.bias"
        if name not in tensors:
            raise ModelFileError(f"the checkpoint has no tensor {name!r}")
    read = Config(config)
    return llama.decoder(read, tensors, _window(read))


def _window(config: Config) -> int | None:
    """The window, used only where asked for, and then in the layers above the lowest ones."""
    if not config.flag("use_sliding_window", False):
        return None
    layers = Shape.read(config).layers
    whole = min(config.count("max_window_layers", 28, least=0), layers)
    kinds = config.texts("layer_types") or (
        ["full_attention"] * whole + ["sliding_attention"] * (layers - whole)
    )
    if set(kinds) == {"full_attention"}:
        return None
    if set(kinds) != {"sliding_attention"}:
        raise UnsupportedError("a sliding window in some of the layers alone is not supported")
    return config.optional_count("sliding_window")
