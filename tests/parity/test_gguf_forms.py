"""A checkpoint as a GGUF file is the same model: tensor names, row orders, rotary scalings.

The files are written as llama.cpp's converter writes them: LLaMA's q and k rows reordered, Llama
3.1's rotary scaling worked out into divisors, LongRoPE's factors as tensors.
"""

import math
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from models import checkpoints
from parity.steps import engine_of
from pocketlm.formats.open import open_checkpoint

ARCHITECTURES = {"llama": "llama", "phi3": "phi3", "qwen2": "qwen2", "mistral": "llama"}
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


@pytest.mark.parametrize(
    "name", [name for name in checkpoints.CONFIGURATIONS if name != "mistral with a window"]
)
def test_both_files_give_the_same_logits(name: str, tmp_path: Path) -> None:
    checkpoints.save(name, tmp_path)
    write_gguf(tmp_path, tmp_path / "model.gguf")
    for length in (checkpoints.ORIGINAL, 90):
        tokens = checkpoints.tokens(length)
        found = []
        for path in (tmp_path, tmp_path / "model.gguf"):
            with open_checkpoint(path) as checkpoint:
                found.append(engine_of(checkpoint).logits(tokens))
        # Not to the last bit: pairs side by side are summed in another order, and a factor that
        # was worked out was rounded.
        np.testing.assert_allclose(found[1], found[0], atol=2e-4)


def write_gguf(folder: Path, path: Path) -> None:
    """Convert the safetensors checkpoint in `folder`."""
    config, tensors = checkpoints.stored(folder)
    architecture = ARCHITECTURES[config["model_type"]]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    writer = gguf.GGUFWriter(path, architecture)
    for name, tensor in tensors.items():
        values = tensor.data
        if architecture == "llama" and "self_attn.q_proj" in name:
            values = pairs_side_by_side(values, heads)
        if architecture == "llama" and "self_attn.k_proj" in name:
            values = pairs_side_by_side(values, kv_heads)
        writer.add_tensor(gguf_name(name), values)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if architecture == "phi3":
        writer.add_sliding_window(config["sliding_window"] or 0)
    _add_rope(writer, config, head_dim)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_name(name: str) -> str:
    stem, _, suffix = name.rpartition(".")
    if stem.startswith("model.layers."):
        _, _, layer, part = stem.split(".", 3)
        return f"blk.{layer}.{NAMES[part]}.{suffix}"
    return f"{NAMES[stem]}.{suffix}"


def pairs_side_by_side(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows i and i + half of each head become 2i and 2i + 1."""
    split = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(rows.shape))


def _add_rope(writer: gguf.GGUFWriter, config: dict[str, Any], head_dim: int) -> None:
    rope = config["rope_parameters"]
    dim = int(head_dim * rope.get("partial_rotary_factor", 1.0))
    writer.add_rope_dimension_count(dim)
    writer.add_rope_freq_base(rope["rope_theta"])
    original = rope.get("original_max_position_embeddings")
    if rope["rope_type"] == "longrope":
        writer.add_rope_scaling_orig_ctx_len(original)
        scale = config["max_position_embeddings"] / original
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(original)))
        for length in ("long", "short"):
            factors = np.array(rope[f"{length}_factor"], np.float32)
            writer.add_tensor(f"rope_factors_{length}.weight", factors)
    elif rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    elif rope["rope_type"] == "llama3":
        plain = rope["rope_theta"] ** -(np.arange(0, dim, 2) / dim)
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        turns = original * plain / (2 * math.pi)  # within the original context
        smooth = np.clip((turns - low) / (high - low), 0, 1)
        factors = 1 / ((1 - smooth) / rope["factor"] + smooth)
        writer.add_tensor("rope_freqs.weight", factors.astype(np.float32))
