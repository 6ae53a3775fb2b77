"""Write a full-size Phi-3-mini with random weights, to measure speed and memory.

    python benchmarks/phi3_random.py --vocabulary ggml-vocab-phi-3.gguf phi3-random.gguf

Of the two published ones it is the 4K model, or with `--context 131072` the 128K model: LongRoPE's
two sets of factors (drawn, rising as the real ones do) and no window within the context. The real
checkpoint's shape, metadata, tensor names and vocabulary, as llama.cpp's converter writes
them; 4-bit files keep their head in Q6_K, as its quantiser does. What it says is noise, but it
costs exactly what the real model costs, and its activations stay as large as a trained model's:
weights have variance 1 / columns. Quantised blocks are drawn as they are, so nothing is quantised
and a 2 GB file takes seconds.
"""

import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import gguf
import numpy as np
import typer

HIDDEN, INTERMEDIATE, VOCABULARY, LAYERS, HEADS = 3072, 8192, 32064, 32, 32
#: Positions of the published models; beyond the first, LongRoPE stretches them.
ORIGINAL, LONG = 4096, 131072
#: The largest factor of each of LongRoPE's sets, about as in the published file.
FACTORS = {"short": 2.8, "long": 65.0}

Q = gguf.GGMLQuantizationType
Blocks = np.ndarray


class Layout(NamedTuple):
    """How a type's blocks are drawn: `scale` writes scales into random blocks, [n, bytes]."""

    type: Q
    file_type: gguf.LlamaFileType
    scale: Callable[[Blocks, np.ndarray], None]
    #: Standard deviation of a weight whose block scale is 1.
    spread: float


def _put(blocks: Blocks, at: int, values: np.ndarray) -> None:
    """Write a float16 into each block."""
    blocks[:, at : at + 2] = values.astype("<f2").view(np.uint8).reshape(-1, 2)


def _q4_0(blocks: Blocks, scales: np.ndarray) -> None:
    # The sign of the scale alternates by chance: 0..15 minus 8 alone would lean to one side.
    _put(blocks, 0, scales)


def _q4_1(blocks: Blocks, scales: np.ndarray) -> None:
    _put(blocks, 0, scales)
    _put(blocks, 2, -7.5 * scales)


def _q4_k(blocks: Blocks, scales: np.ndarray) -> None:
    # All 6-bit scales and minima are 32: 0b100000, low bits and high bits apart.
    _put(blocks, 0, scales / 32)
    _put(blocks, 2, 7.5 * scales / 32)
    blocks[:, 4:12] = 0b10_100000
    blocks[:, 12:16] = 0


def _q6_k(blocks: Blocks, scales: np.ndarray) -> None:
    blocks[:, 192:208] = 32
    _put(blocks, 208, scales / 32)


_NIBBLE, _BYTE, _SIX_BITS = (np.sqrt((levels**2 - 1) / 12) for levels in (16, 256, 64))
LAYOUTS = {
    "q4_0": Layout(Q.Q4_0, gguf.LlamaFileType.MOSTLY_Q4_0, _q4_0, _NIBBLE),
    "q4_1": Layout(Q.Q4_1, gguf.LlamaFileType.MOSTLY_Q4_1, _q4_1, _NIBBLE),
    "q4_k": Layout(Q.Q4_K, gguf.LlamaFileType.MOSTLY_Q4_K_S, _q4_k, _NIBBLE),
    "q6_k": Layout(Q.Q6_K, gguf.LlamaFileType.MOSTLY_Q6_K, _q6_k, _SIX_BITS),
    "q8_0": Layout(Q.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0, _q4_0, _BYTE),
}


def matrix(layout: Layout, rows: int, columns: int, random: np.random.Generator) -> Blocks:
    """A random matrix of variance 1 / columns: uint8 [rows, bytes a row]."""
    block, size = gguf.GGML_QUANT_SIZES[layout.type]
    count = rows * columns // block
    blocks = np.frombuffer(bytearray(random.bytes(count * size)), np.uint8).reshape(count, size)
    scale = columns**-0.5 / layout.spread
    signs = random.integers(0, 2, count) * 2 - 1
    layout.scale(blocks, scale * signs * random.uniform(0.9, 1.1, count))
    return blocks.reshape(rows, -1)


def tensors(type: str, layers: int) -> Iterator[tuple[str, Layout | None, int, int]]:
    """Name, layout (None: float32), rows and columns of each tensor, in the file's order."""
    layout = LAYOUTS[type]
    yield "token_embd.weight", layout, VOCABULARY, HIDDEN
    for layer in range(layers):
        yield f"blk.{layer}.attn_norm.weight", None, HIDDEN, 1
        yield f"blk.{layer}.attn_qkv.weight", layout, 3 * HIDDEN, HIDDEN
        yield f"blk.{layer}.attn_output.weight", layout, HIDDEN, HIDDEN
        yield f"blk.{layer}.ffn_norm.weight", None, HIDDEN, 1
        yield f"blk.{layer}.ffn_up.weight", layout, 2 * INTERMEDIATE, HIDDEN
        yield f"blk.{layer}.ffn_down.weight", layout, HIDDEN, INTERMEDIATE
    yield "output_norm.weight", None, HIDDEN, 1
    yield "output.weight", LAYOUTS["q8_0" if type == "q8_0" else "q6_k"], VOCABULARY, HIDDEN


def write(
    path: Path,
    vocabulary: Path,
    type: str = "q4_0",
    layers: int = LAYERS,
    seed: int = 0,
    context: int = ORIGINAL,
) -> None:
    """Write the file beside `path`, then rename it into place. `context` is ORIGINAL or LONG."""
    random = np.random.default_rng(seed)
    part = path.with_name(path.name + ".part")
    writer = gguf.GGUFWriter(part, "phi3")
    _metadata(writer, vocabulary, type, layers, context)
    factors = {} if context == ORIGINAL else _factors(np.random.default_rng(seed))
    for name, values in factors.items():
        writer.add_tensor_info(name, values.shape, values.dtype, values.nbytes)
    for name, layout, rows, columns in tensors(type, layers):
        if layout is None:
            writer.add_tensor_info(name, (rows,), np.dtype(np.float32), 4 * rows)
            continue
        block, size = gguf.GGML_QUANT_SIZES[layout.type]
        row = columns // block * size
        writer.add_tensor_info(name, (rows, row), np.dtype(np.uint8), rows * row, layout.type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for values in factors.values():
        writer.write_tensor_data(values)
    for _, layout, rows, columns in tensors(type, layers):
        if layout is None:
            writer.write_tensor_data(np.ones(rows, np.float32))
        else:
            writer.write_tensor_data(matrix(layout, rows, columns, random))
    writer.close()
    os.replace(part, path)


def _factors(random: np.random.Generator) -> dict[str, np.ndarray]:
    """LongRoPE's divisors of the frequencies, highest frequency first: float32 [48] each."""
    pairs = HIDDEN // HEADS // 2
    return {
        f"rope_factors_{name}.weight": np.sort(random.uniform(1, most, pairs)).astype(np.float32)
        for name, most in FACTORS.items()
    }


def _metadata(
    writer: gguf.GGUFWriter, vocabulary: Path, type: str, layers: int, context: int
) -> None:
    writer.add_name(f"Phi-3-mini-{context // 1024}k with random weights")
    writer.add_context_length(context)
    writer.add_rope_scaling_orig_ctx_len(ORIGINAL)
    if context != ORIGINAL:
        stretch = math.log(context / ORIGINAL) / math.log(ORIGINAL)
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + stretch))
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INTERMEDIATE)
    writer.add_block_count(layers)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_sliding_window(2047 if context == ORIGINAL else 2 * context)
    writer.add_file_type(LAYOUTS[type].file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for name, field in gguf.GGUFReader(vocabulary).fields.items():
        if name.startswith("tokenizer."):
            item = field.types[1] if len(field.types) > 1 else None
            writer.add_key_value(name, field.contents(), field.types[0], item)


def main(
    path: Annotated[Path, typer.Argument(help="The file to write.")],
    vocabulary: Annotated[Path, typer.Option(help="A GGUF file with Phi-3's vocabulary.")],
    type: Annotated[str, typer.Option(help="q4_0, q4_1, q4_k, q6_k or q8_0.")] = "q4_0",
    layers: Annotated[int, typer.Option(help="Fewer than 32 for a smaller file.")] = LAYERS,
    seed: int = 0,
    context: Annotated[int, typer.Option(help="4096, or 131072 with LongRoPE.")] = ORIGINAL,
) -> None:
    """Write Phi-3-mini with random weights to PATH."""
    if type not in LAYOUTS:
        raise typer.BadParameter(f"{type} is none of {', '.join(LAYOUTS)}")
    if context not in (ORIGINAL, LONG):
        raise typer.BadParameter(f"the context is {ORIGINAL} or {LONG}, not {context}")
    start = time.perf_counter()
    write(path, vocabulary, type, layers, seed, context)
    size, seconds = path.stat().st_size, time.perf_counter() - start
    print(f"{path}: {size:,} bytes in {seconds:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    typer.run(main)
