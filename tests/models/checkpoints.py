"""Tiny random checkpoints, made and saved by transformers, in both forms of config.json."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file

VOCABULARY = 160
CONTEXT = 128
ORIGINAL = 32
WINDOW = 20

_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": CONTEXT,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
}
_FACTORS = np.random.default_rng(5)


def _longrope(count: int) -> dict[str, Any]:
    return {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": _FACTORS.uniform(1, 1.5, count).round(3).tolist(),
        "long_factor": np.sort(_FACTORS.uniform(1, 8, count)).round(3).tolist(),
    }


#: Each a transformers configuration, by what it shows.
CONFIGURATIONS: dict[str, Callable[[], Any]] = {
    "phi3 with a window": lambda: transformers.Phi3Config(
        **_SIZES, hidden_size=96, sliding_window=WINDOW
    ),
    "phi3 with heads of 32": lambda: transformers.Phi3Config(
        **_SIZES, hidden_size=128, num_key_value_heads=2, sliding_window=WINDOW
    ),
    "phi3 with longrope": lambda: transformers.Phi3Config(
        **_SIZES,
        hidden_size=96,
        sliding_window=262144,
        original_max_position_embeddings=ORIGINAL,
        rope_parameters=_longrope(12),
    ),
    "phi4-mini's form": lambda: transformers.Phi3Config(
        **{**_SIZES, "num_attention_heads": 6},
        hidden_size=96,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        original_max_position_embeddings=ORIGINAL,
        rope_parameters={**_longrope(6), "partial_rotary_factor": 0.75},
    ),
    "llama, grouped and tied": lambda: transformers.LlamaConfig(
        **_SIZES, hidden_size=64, num_key_value_heads=2, head_dim=24, tie_word_embeddings=True
    ),
    "llama with llama3 rope": lambda: transformers.LlamaConfig(
        **_SIZES,
        hidden_size=64,
        num_key_value_heads=1,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": ORIGINAL,
        },
    ),
    "llama with linear rope and biases": lambda: transformers.LlamaConfig(
        **_SIZES,
        hidden_size=64,
        attention_bias=True,
        mlp_bias=True,
        rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0},
    ),
    "mistral with a window": lambda: transformers.MistralConfig(
        **_SIZES, hidden_size=64, num_key_value_heads=2, sliding_window=WINDOW
    ),
    "qwen2": lambda: transformers.Qwen2Config(
        **_SIZES, hidden_size=64, num_key_value_heads=2, tie_word_embeddings=True
    ),
}


@dataclass(frozen=True)
class Stored:
    """A tensor of a safetensors file, as `models` sees it and as an array."""

    data: np.ndarray

    @property
    def type(self) -> str:
        return {"float32": "F32"}[self.data.dtype.name]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def nbytes(self) -> int:
        return self.data.nbytes


def save(
    name: str, folder: Path, *, older: bool = False, dtype: torch.dtype = torch.float32
) -> None:
    """Make the checkpoint `name` and save it, with config.json in the present or the older form."""
    torch.manual_seed(0)
    config = CONFIGURATIONS[name]()
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            # Large enough that attention is far from even: a wrong angle or window shows. The last
            # norm is small, so that what a float16 cache rounds off stays within 1e-3 of logits.
            if key == "model.norm.weight":
                parameter.copy_(0.05 + 0.005 * torch.randn_like(parameter))
            elif "norm" in key:
                parameter.copy_(1 + 0.1 * torch.randn_like(parameter))
            else:
                parameter.copy_(0.12 * torch.randn_like(parameter))
    model.to(dtype).save_pretrained(folder)
    if older:
        path = folder / "config.json"
        path.write_text(json.dumps(_older(json.loads(path.read_text()))))


def _older(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration as it was written before transformers 5: `rope_scaling`, `rope_theta`."""
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    part = rope.pop("partial_rotary_factor", None)
    if part is not None:
        config["partial_rotary_factor"] = part
    if kind == "longrope":
        del rope["original_max_position_embeddings"]  # it is beside rope_scaling
    config["rope_scaling"] = None if kind == "default" else {"type": kind, **rope}
    return config


def reference(folder: Path) -> Any:
    """The checkpoint, loaded by transformers: float32, attention as plainly as it has it."""
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()


def reference_logits(model: Any, tokens: list[int]) -> np.ndarray:
    """float32 [n, vocab] of one forward over the whole sequence."""
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].numpy()


def stored(folder: Path) -> tuple[dict[str, Any], dict[str, Stored]]:
    """The configuration and tensors of a folder."""
    tensors = load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    return config, {name: Stored(data) for name, data in tensors.items()}


def tokens(count: int, seed: int = 0) -> list[int]:
    """Random token ids."""
    return np.random.default_rng(seed).integers(3, VOCABULARY, count).tolist()
