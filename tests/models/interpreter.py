"""A program run by NumPy: the meaning of each operation, as plainly as it can be written.

It is the reference for `models` (against transformers) and for the native executor. One sequence,
all its tokens at once, every number in one float type; no cache, no blocks, no speed.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pocketlm.models.program import Attend, Embed, Pick, Program, Project, Rope, Weight

Array = npt.NDArray[np.floating]


def run(
    program: Program,
    weights: Mapping[str, Array],
    tokens: Sequence[int],
    *,
    picks: Sequence[int] | None = None,
    rope_set: int | None = None,
    dtype: type = np.float64,
    cache: Callable[[Array], Array] = lambda rows: rows,
) -> Array:
    """Logits [picks, vocab] of a sequence; `picks` None is every position.

    `weights` holds each stored tensor, dequantised, by its name. `cache` is what a stored key or
    value becomes (rounded to float16, say). `rope_set` None follows the sequence's length.
    """
    n = len(tokens)
    chosen = program.rope.set_for(n) if rope_set is None else rope_set
    rows = {"picked": np.arange(n) if picks is None else np.asarray(picks)}
    buffers: dict[str, Array] = {}

    def value(weight: Weight) -> Array:
        return np.asarray(weights[weight.name][weight.start : weight.start + weight.rows], dtype)

    output = ""
    for operation in program.operations:
        output = operation.output
        match operation:
            case Embed():
                result = value(operation.weight)[np.asarray(tokens)]
            case Project():
                result = _project(operation, buffers[operation.input], value, program.norm_eps)
                if operation.add:
                    result = buffers[output] + result
            case Attend():
                result = _attend(program, buffers[operation.input], chosen, cache)
            case Pick():
                result = buffers[operation.input][rows["picked"]]
        assert result.shape[1] == program.buffers[output]
        buffers[output] = result
    return buffers[output]


def _project(operation: Project, x: Array, value: Callable[[Weight], Array], eps: float) -> Array:
    if operation.norm is not None:
        scale = np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)
        x = x / scale * value(operation.norm)
    outputs = [x @ value(weight).T for weight in operation.weights]
    for output, bias in zip(outputs, operation.biases, strict=True):
        if bias is not None:
            output += value(bias)
    if operation.gate:
        gate, up = outputs
        return gate / (1 + np.exp(-gate)) * up
    return np.concatenate(outputs, axis=-1)


def _attend(program: Program, rows: Array, rope_set: int, cache: Callable[[Array], Array]) -> Array:
    n, heads, kv_heads = len(rows), program.heads, program.kv_heads
    q, k, v = np.split(
        rows.reshape(n, heads + 2 * kv_heads, program.head_dim), [heads, heads + kv_heads], axis=1
    )
    positions = np.arange(n)
    q = _turn(q, program.rope, rope_set, positions)
    k = cache(_turn(k, program.rope, rope_set, positions))
    v = cache(v)
    k, v = (np.repeat(each, heads // kv_heads, axis=1) for each in (k, v))
    distance = positions[:, None] - positions
    seen = distance >= 0
    if program.window is not None:
        seen &= distance < program.window
    scores = np.einsum("qhd,khd->hqk", q, k) * program.attention_scale
    scores = np.where(seen, scores, -np.inf)
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    scores /= scores.sum(axis=-1, keepdims=True)
    return np.einsum("hqk,khd->qhd", scores, v).reshape(n, -1)


def _turn(x: Array, rope: Rope, rope_set: int, positions: npt.NDArray[np.int64]) -> Array:
    """Turn the pairs of each head, [n, heads, head_dim], by float32 angles."""
    frequencies = rope.inverse_frequencies[rope_set]
    half = len(frequencies)
    angles = (positions[:, None].astype(np.float32) * frequencies)[:, None, :]
    cos = np.cos(angles.astype(x.dtype)) * rope.scale
    sin = np.sin(angles.astype(x.dtype)) * rope.scale
    if rope.pairing == "half":
        first, second = slice(0, half), slice(half, 2 * half)
    else:
        first, second = slice(0, 2 * half, 2), slice(1, 2 * half, 2)
    turned = x.copy()
    turned[..., first] = x[..., first] * cos - x[..., second] * sin
    turned[..., second] = x[..., second] * cos + x[..., first] * sin
    return turned
