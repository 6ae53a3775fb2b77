"""LLaMA (Touvron et al. 2023) and all that share its blocks: Llama 2 and 3, SmolLM2, TinyLlama.

Each block adds to the residual stream x what attention, then a gated unit, make of x normalised:

    x += o(attend(q(norm(x)), k(norm(x)), v(norm(x))))
    x += down(silu(gate(norm(x))) * up(norm(x)))
"""

from collections.abc import Mapping
from typing import Any

from pocketlm.models.config import Config, Shape
from pocketlm.models.program import Builder, Linear, Program, TensorInfo
from pocketlm.models.rope import read_rope


def build(config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> Program:
    """The program of a LlamaForCausalLM checkpoint; errors as `models.build`."""
    return decoder(Config(config), tensors, window=None)


def decoder(config: Config, tensors: Mapping[str, TensorInfo], window: int | None) -> Program:
    """The program of LLaMA's blocks, with biases where the checkpoint has them."""
    shape = Shape.read(config)
    make = Builder(tensors)
    embedding = make.weight("model.embed_tokens.weight", shape.vocab_size, shape.hidden)

    make.embed("x", embedding)
    for layer in range(shape.layers):
        name = f"model.layers.{layer}"
        make.project(
            "x",
            "qkv",
            make.linear(f"{name}.self_attn.q_proj", shape.queries, shape.hidden),
            make.linear(f"{name}.self_attn.k_proj", shape.keys, shape.hidden),
            make.linear(f"{name}.self_attn.v_proj", shape.keys, shape.hidden),
            norm=make.vector(f"{name}.input_layernorm.weight", shape.hidden),
        )
        make.attend("qkv", "attended", layer, shape.queries)
        make.project(
            "attended",
            "x",
            make.linear(f"{name}.self_attn.o_proj", shape.hidden, shape.queries),
            add=True,
        )
        make.project(
            "x",
            "gated",
            make.linear(f"{name}.mlp.gate_proj", shape.intermediate, shape.hidden),
            make.linear(f"{name}.mlp.up_proj", shape.intermediate, shape.hidden),
            norm=make.vector(f"{name}.post_attention_layernorm.weight", shape.hidden),
            gate=True,
        )
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
    return shape.program(make, rope=read_rope(config, shape), window=window)
