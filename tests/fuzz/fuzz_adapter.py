"""Fuzz LoRA adapters: peft's two files and GGUF's one, bound to a model, and run.

An input is a GGUF file, or adapter_config.json and the safetensors file one after another. What is
bound adds finite numbers of the right shapes: a step with it must come to its end.
"""

import json
from pathlib import Path

import driver
import gguf_bytes as make
import numpy as np
from fuzz_export import sound
from fuzz_safetensors import BETWEEN, replace_value, safetensors_bytes

from pocketlm.engine.adapters import NONE, bind
from pocketlm.engine.engine import Engine
from pocketlm.engine.runtime import Runtime
from pocketlm.formats.checkpoint import Tensor
from pocketlm.formats.config import parse_object
from pocketlm.formats.lora import PeftConfig, read_gguf_lora, read_peft
from pocketlm.models import build

HIDDEN, WIDE, VOCABULARY = 32, 48, 16
CONFIG = {
    "model_type": "phi3",
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "intermediate_size": WIDE,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "original_max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "pad_token_id": 0,
}
SHAPES = {
    "self_attn.qkv_proj": (64, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_up_proj": (2 * WIDE, HIDDEN),
    "mlp.down_proj": (HIDDEN, WIDE),
}
STEMS = ("attn_qkv", "attn_output", "ffn_up", "ffn_down")


def engine() -> Engine:
    """A tiny random Phi-3."""
    rng = np.random.default_rng(0)
    shapes = {f"model.layers.0.{name}.weight": shape for name, shape in SHAPES.items()}
    shapes["model.embed_tokens.weight"] = (VOCABULARY, HIDDEN)
    norms = ("model.norm", *(f"model.layers.0.{n}_layernorm" for n in ("input", "post_attention")))
    tensors = {}
    for name, shape in {**shapes, **{f"{n}.weight": (HIDDEN,) for n in norms}}.items():
        data = (0.1 * rng.standard_normal(shape)).astype(np.float32)
        tensors[name] = Tensor(name, "F32", shape, data.view(np.uint8).reshape(-1))
    program = build(CONFIG, tensors)
    return Engine(Runtime(program, tensors, threads=1), program.context)


ENGINE = engine()
PATH = Path("adapter")


def target(data: bytes) -> None:
    """Read an adapter, bind it, and make a step with it."""
    if data.startswith(b"GGUF"):
        lora = read_gguf_lora(PATH, data)
    else:
        config, _, weights = data.partition(BETWEEN)
        lora = read_peft(PATH, PeftConfig(parse_object(config)), weights)
    adapter = bind(ENGINE.runtime.program, [(lora, 1.0)])
    logits = ENGINE.logits([1, 2, 3], None, adapter)
    assert logits.shape == (3, VOCABULARY)
    assert (adapter is NONE) == (not lora.pairs)


def seeds() -> list[driver.Seed]:
    """Sound adapters of both forms."""
    made = []
    for type_ in ("F32", "F16", "BF16"):
        tensors = {}
        for name, (rows, columns) in SHAPES.items():
            key = f"base_model.model.model.layers.0.{name}.lora_"
            tensors[f"{key}A.weight"] = (type_, [2, columns])
            tensors[f"{key}B.weight"] = (type_, [rows, 2])
        config = {
            "peft_type": "LORA",
            "r": 2,
            "lora_alpha": 4,
            "use_rslora": True,
            "rank_pattern": {"down_proj": 2},
            "alpha_pattern": {"qkv_proj": 1.5},
            "bias": "none",
            "target_modules": ["qkv_proj"],
        }
        text = json.dumps(config).encode() + b" " * 40
        weights = safetensors_bytes(tensors)
        start = 8 + int.from_bytes(weights[:8], "little")
        small = bytes(i % 59 for i in range(len(weights) - start))  # the bytes of no NaN
        made.append(driver.Seed(text + BETWEEN + weights[:start] + small))
        metadata = [
            ("general.architecture", make.TEXT, "phi3"),
            ("general.type", make.TEXT, "adapter"),
            ("adapter.type", make.TEXT, "lora"),
            ("adapter.lora.alpha", make.F32, 4.0),
        ]
        sides = [
            (f"blk.0.{stem}.weight.lora_{side}", type_, shape)
            for stem, (rows, columns) in zip(STEMS, SHAPES.values(), strict=True)
            for side, shape in (("a", (2, columns)), ("b", (rows, 2)))
        ]
        file = make.gguf_bytes(metadata, sides)
        places = [(field.offset, field.size) for field in file.fields]
        made.append(driver.Seed(sound(bytes(file.data)), places))
    return made


if __name__ == "__main__":
    driver.main("adapter", target, seeds(), (*driver.MUTATIONS, replace_value, replace_value))
