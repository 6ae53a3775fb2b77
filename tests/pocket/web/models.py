"""Small models with a real vocabulary, for all that does not depend on sense.

What comes next depends on the last token alone: an embedding has one number, and layers give
nothing.
"""

from pathlib import Path

import numpy as np

from pocketlm.formats.gguf import read_gguf
from pocketlm.formats.gguf_writer import GGUFWriter, NewTensor, Value

HIDDEN, HEADS, LAYERS = 64, 2, 2
_TEMPLATE = "tokenizer.chat_template"
_F32 = 0


def with_vocabulary(
    path: Path, source: Path, *, template: str | None = "", context: int = 256
) -> Path:
    """A tiny LLaMA with the vocabulary of `source`: what comes next depends on the last token.

    Its template is the source's (""), none (None), or the one that is given.
    """
    file = read_gguf(source.read_bytes())
    metadata: dict[str, Value] = {
        "general.architecture": "llama",
        "general.name": path.stem,
        "llama.context_length": context,
        "llama.embedding_length": HIDDEN,
        "llama.block_count": LAYERS,
        "llama.feed_forward_length": HIDDEN,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": HEADS,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.freq_base": 10000.0,
    }
    metadata |= {key: file.raw[key] for key in file.raw if key.startswith("tokenizer.")}
    if template != "":
        metadata.pop(_TEMPLATE, None)
    if template:
        metadata[_TEMPLATE] = template
    words = len(file.metadata["tokenizer.ggml.tokens"])
    embeddings = {"token_embd.weight": (words, HIDDEN), "output.weight": (words, HIDDEN)}
    shapes = {**embeddings, "output_norm.weight": (HIDDEN,)}
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
            shapes[f"blk.{layer}.{name}.weight"] = (HIDDEN, HIDDEN)
        for name in ("attn_norm", "ffn_norm"):
            shapes[f"blk.{layer}.{name}.weight"] = (HIDDEN,)
    chance = np.random.default_rng(3)
    tensors = [
        NewTensor(name, _F32, shape, 4 * int(np.prod(shape))) for name, shape in shapes.items()
    ]
    with GGUFWriter(path, metadata, tensors) as writer:
        for name, shape in shapes.items():
            if name == "output.weight":
                weights = chance.normal(0, 0.3, shape)
            elif name == "token_embd.weight":
                weights = np.eye(HIDDEN)[chance.integers(HIDDEN, size=words)]
            else:
                weights = np.ones(shape) if len(shape) == 1 else np.zeros(shape)
            writer.write(name, weights.astype("<f4").tobytes())
    return path
