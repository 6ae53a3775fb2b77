"""A model's configuration in the forms that others have for it: transformers' config.json, GGUF's.

It knows transformers' keys, and goes by the program, which has checked what the file said.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from pocketlm.errors import UnsupportedError
from pocketlm.models.program import Program

#: transformers' classes by `model_type`.
_CLASSES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
}


def hub_config(
    source: Mapping[str, Any], program: Program, tensors: Collection[str], dtype: str
) -> dict[str, Any]:
    """config.json of a GGUF file's model, in the form that all versions of transformers read.

    `source` is the checkpoint's configuration, `tensors` are the names in the folder, `dtype` is
    torch's name. Raises UnsupportedError for what transformers does not have.
    """
    plain = plain_config(source, program)
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
        "torch_dtype": dtype,
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


def plain_config(config: Mapping[str, Any], program: Program) -> dict[str, Any]:
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
    elif "frequency_factors" in scaling:  # which say all, whatever the type is called
        rope |= {"rope_type": "default", "frequency_factors": scaling["frequency_factors"]}
    elif kind == "linear":
        rope["factor"] = scaling["factor"]
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
