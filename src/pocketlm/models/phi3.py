"""Phi-3-mini and Phi-3-medium, Phi-3.5-mini and Phi-4-mini (arXiv 2404.14219, 2503.01743).

LLaMA's blocks with two tensors fused (q, k, v rows in one, gate and up rows in another), and

- a sliding window of 2,047 positions in the models of 4K context (llama.cpp leaves it out since
  May 2025; transformers, and so this file, applies it);
- LongRoPE in those of 128K: two sets of factors, from the file, for short and for long sequences;
- in Phi-4-mini grouped queries, a tied head, and rotation of three quarters of each head.
"""

from collections.abc import Mapping
from typing import Any

from pocketlm.models.config import Config, Shape
from pocketlm.models.program import Builder, Linear, Program, TensorInfo
from pocketlm.models.rope import read_rope

#: The windows of models whose early GGUF files lack the key, by (layers, context): the mini and
#: medium models of 4K. Those of 128K have windows no shorter than their context, which is none.
_WINDOWS = {(32, 4096): 2047, (40, 4096): 2047}


def build(config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> Program:
    """The program of a Phi3ForCausalLM checkpoint; errors as `models.build`."""
    read = Config(config)
    shape = Shape.read(read)
    make = Builder(tensors)
    embedding = make.weight("model.embed_tokens.weight", shape.vocab_size, shape.hidden)

    make.embed("x", embedding)
    for layer in range(shape.layers):
        name = f"model.layers.{layer}"
        make.project(
            "x",
            "qkv",
            *_qkv(make, name, shape),
            norm=make.vector(f"{name}.input_layernorm.weight", shape.hidden),
        )
        make.attend("qkv", "attended", layer, shape.queries)
        make.project(
            "attended",
            "x",
            make.linear(f"{name}.self_attn.o_proj", shape.hidden, shape.queries),
            add=True,
        )
        gate, up = _gate_up(make, name, shape)
        norm = make.vector(f"{name}.post_attention_layernorm.weight", shape.hidden)
        make.project("x", "gated", gate, up, norm=norm, gate=True)
        make.project(
            "gated",
            "x",
            make.linear(f"{name}.mlp.down_proj", shape.hidden, shape.intermediate),
            add=True,
        )
    make.pick("x", "last")
    make.project(
        "last",
        "logits",
        Linear(embedding) if shape.tied else make.linear("lm_head", shape.vocab_size, shape.hidden),
        norm=make.vector("model.norm.weight", shape.hidden),
    )
    return shape.program(make, rope=read_rope(read, shape), window=_window(read, shape))


def _qkv(make: Builder, name: str, shape: Shape) -> list[Linear]:
    """The rows of q, k and v: fused, or apart where they differ in type."""
    fused = f"{name}.self_attn.qkv_proj"
    if f"{fused}.weight" in make.tensors:
        return [make.linear(fused, shape.queries + 2 * shape.keys, shape.hidden)]
    rows = {"q": shape.queries, "k": shape.keys, "v": shape.keys}
    return [make.linear(f"{name}.self_attn.{k}_proj", n, shape.hidden) for k, n in rows.items()]


def _gate_up(make: Builder, name: str, shape: Shape) -> list[Linear]:
    fused, rows = f"{name}.mlp.gate_up_proj", shape.intermediate
    if f"{fused}.weight" in make.tensors:
        starts = (0, rows)
        return [make.linear(fused, rows, shape.hidden, start=s, of=2 * rows) for s in starts]
    return [make.linear(f"{name}.mlp.{k}_proj", rows, shape.hidden) for k in ("gate", "up")]


def _window(config: Config, shape: Shape) -> int | None:
    if config.has("sliding_window"):
        return config.optional_count("sliding_window")
    return _WINDOWS.get((shape.layers, shape.context))
