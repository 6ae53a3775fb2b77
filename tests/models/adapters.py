"""LoRA adapters: of the tiny checkpoints, by peft, and as llama.cpp's converter writes them."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import peft
import torch
from safetensors.numpy import load_file, save_file

from models import checkpoints

#: All projections of a layer, by architecture.
TARGETS = {
    "phi3": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"],
    "llama": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}


def save(
    model: Path, folder: Path, targets: list[str], seed: int = 0, dtype: Any = None, **options: Any
) -> Any:
    """Save an adapter of random numbers; returns peft's model, which the tests compare with."""
    torch.manual_seed(seed)
    config = peft.LoraConfig(target_modules=targets, task_type="CAUSAL_LM", **options)
    adapted = peft.get_peft_model(checkpoints.reference(model), config).eval()
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.1 * torch.randn_like(parameter))
                if dtype is not None:
                    parameter.data = parameter.data.to(dtype)
    adapted.save_pretrained(folder)
    return adapted.float()


#: Hub names of modules in GGUF, but for the layer's number.
_STEMS = {
    "q_proj": "attn_q",
    "k_proj": "attn_k",
    "v_proj": "attn_v",
    "o_proj": "attn_output",
    "gate_proj": "ffn_gate",
    "up_proj": "ffn_up",
    "down_proj": "ffn_down",
    "qkv_proj": "attn_qkv",
    "gate_up_proj": "ffn_up",
}


def to_gguf(folder: Path, file: Path, architecture: str, alpha: float, head_dim: int) -> None:
    """Write peft's adapter as convert_lora_to_gguf.py does: for "llama", rotary pairs adjacent."""
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    for name, values in load_file(folder / "adapter_model.safetensors").items():
        parts = name.split(".")
        layer, module, side = parts[parts.index("layers") + 1], parts[-3], parts[-2]
        if architecture == "llama" and side == "lora_B" and module in ("q_proj", "k_proj"):
            heads = values.reshape(-1, 2, head_dim // 2, values.shape[1])
            values = np.ascontiguousarray(heads.swapaxes(1, 2)).reshape(values.shape)
        writer.add_tensor(f"blk.{layer}.{_STEMS[module]}.weight.{side.lower()}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


#: Modules of SmolLM2-135M: rows and columns.
SMOLLM2 = {
    "self_attn.q_proj": (576, 576),
    "self_attn.v_proj": (192, 576),
    "mlp.up_proj": (1536, 576),
}


def save_random(folder: Path, seed: int, *, rank: int = 8, scale: float = 0.2) -> None:
    """Save an adapter of SmolLM2-135M in peft's form; `scale` is how strange its texts become."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for layer in range(30):
        for module, (rows, columns) in SMOLLM2.items():
            name = f"base_model.model.model.layers.{layer}.{module}.lora_"
            a = rng.standard_normal((rank, columns)) / columns**0.5
            tensors[f"{name}A.weight"] = a.astype(np.float32)
            b = scale * rng.standard_normal((rows, rank))
            tensors[f"{name}B.weight"] = b.astype(np.float32)
    folder.mkdir(exist_ok=True)
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": rank}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "adapter_model.safetensors")
