"""A decoder's layer in float32: its weights by their roles, and what it makes of texts.

It reads a program as `models` builds it, and runs one layer at a time with NumPy, so that a model
much larger than memory can be measured on a text. It knows no file and no quantisation.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pocketlm.models.program import Attend, Embed, Operation, Program, Project, Rope, Weight

Floats = npt.NDArray[np.float32]
Read = Callable[[Weight], Floats]

#: The roles of a layer's matrices, in the order in which they are used.
ROLES = ("q", "k", "v", "o", "gate", "up", "down")
#: What each of them multiplies.
INPUTS = dict(zip(ROLES, ("qkv", "qkv", "qkv", "o", "gate_up", "gate_up", "down"), strict=True))


@dataclass
class Layer:
    """A layer's weights: `matrices` float32 [rows, columns] and `biases` [rows] by role."""

    matrices: dict[str, Floats]
    attention_norm: Floats
    mlp_norm: Floats
    biases: dict[str, Floats] = field(default_factory=dict)


@dataclass(frozen=True)
class Parts:
    """The operations of one layer."""

    qkv: Project
    attend: Attend
    o: Project
    gate_up: Project
    down: Project


def embedding(program: Program) -> Weight:
    """The weight that tokens are looked up in."""
    return next(o.weight for o in program.operations if isinstance(o, Embed))


def head(program: Program) -> Project:
    """The operation that makes logits."""
    last = program.operations[-1]
    assert isinstance(last, Project)
    return last


def layers(program: Program) -> Iterator[Parts]:
    """The layers' operations, in order."""
    body = program.operations[1:-2]
    size = len(body) // program.layers
    for first in range(0, len(body), size):
        yield _parts(body[first : first + size])


def _parts(operations: tuple[Operation, ...]) -> Parts:
    match operations:
        case (
            Project() as qkv,
            Attend() as attend,
            Project(add=True) as o,
            Project(gate=True) as gate_up,
            Project(add=True) as down,
        ):
            return Parts(qkv, attend, o, gate_up, down)
    raise AssertionError("a layer of another kind")


def load(program: Program, parts: Parts, read: Read) -> Layer:
    """Read a layer's weights; `read` gives a weight's rows as float32 [rows, columns]."""
    queries, keys = program.heads * program.head_dim, program.kv_heads * program.head_dim
    q, k, v = np.split(_joined(parts.qkv.weights, read), [queries, queries + keys])
    gate, up = (read(weight) for weight in parts.gate_up.weights)
    o, down = read(parts.o.weights[0]), read(parts.down.weights[0])
    assert parts.qkv.norm is not None
    assert parts.gate_up.norm is not None
    layer = Layer(
        dict(zip(ROLES, (q, k, v, o, gate, up, down), strict=True)),
        read(parts.qkv.norm).ravel(),
        read(parts.gate_up.norm).ravel(),
    )
    if (bias := _bias(parts.qkv, read)) is not None:
        split = np.split(bias, [queries, queries + keys])
        layer.biases |= dict(zip("qkv", split, strict=True))
    for role, project in (("o", parts.o), ("down", parts.down)):
        if (bias := _bias(project, read)) is not None:
            layer.biases[role] = bias
    if (bias := _bias(parts.gate_up, read)) is not None:
        layer.biases["gate"], layer.biases["up"] = np.split(bias, 2)
    return layer


def _joined(weights: tuple[Weight, ...], read: Read) -> Floats:
    return read(weights[0]) if len(weights) == 1 else np.concatenate([read(w) for w in weights])


def _bias(project: Project, read: Read) -> Floats | None:
    if project.biases[0] is None:
        return None
    return np.concatenate([read(bias).ravel() for bias in project.biases if bias is not None])


def run(
    program: Program,
    layer: Layer,
    x: Floats,
    see: Callable[[str, Floats], None] = lambda name, rows: None,
) -> Floats:
    """The residual stream after a layer, of one text: float32 [tokens, hidden] in and out.

    `see` is shown what matrices multiply ("qkv", "o", "gate_up", "down"), float32 [tokens, width].
    """
    w = layer.matrices

    def through(role: str, rows: Floats) -> Floats:
        out: Floats = rows @ w[role].T
        if role in layer.biases:
            out += layer.biases[role]
        return out

    normed = normalised(x, layer.attention_norm, program.norm_eps)
    see("qkv", normed)
    attended = _attended(program, *(through(role, normed) for role in "qkv"))
    see("o", attended)
    x = x + through("o", attended)
    normed = normalised(x, layer.mlp_norm, program.norm_eps)
    see("gate_up", normed)
    gate = through("gate", normed)
    with np.errstate(over="ignore"):
        gated = gate / (1 + np.exp(-gate)) * through("up", normed)
    see("down", gated)
    return x + through("down", gated)


def normalised(x: Floats, weight: Floats, epsilon: float) -> Floats:
    """RMS normalisation of rows."""
    scale = np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + np.float32(epsilon))
    normed: Floats = x / scale * weight
    return normed


def _attended(program: Program, q: Floats, k: Floats, v: Floats) -> Floats:
    shared = program.heads // program.kv_heads
    q, k, v = _heads(program, q, k, v)
    out = np.empty_like(q)
    for index, weights in enumerate(_attention(program, q, k)):
        out[index] = weights @ v[index // shared]
    return _joined_heads(out)


def attention_gradients(
    program: Program, q: Floats, k: Floats, v: Floats, after: Floats
) -> tuple[Floats, Floats, Floats]:
    """Gradients of q, k and v, as matrices gave them, from the one of what was attended to.

    All float32 [tokens, width].
    """
    shared = program.heads // program.kv_heads
    q, k, v = _heads(program, q, k, v)
    (gradient,) = _split(program, after)
    of_q, of_k, of_v = (np.zeros_like(rows) for rows in (q, k, v))
    for index, weights in enumerate(_attention(program, q, k)):
        kv = index // shared
        of_v[kv] += weights.T @ gradient[index]
        scores = gradient[index] @ v[kv].T
        scores -= np.sum(scores * weights, axis=-1, keepdims=True)
        scores *= weights * np.float32(program.attention_scale)
        of_q[index] = scores @ k[kv]
        of_k[kv] += scores.T @ q[index]
    chosen = program.rope.set_for(len(after))
    of_q, of_k = (_turned(rows, program.rope, chosen, back=True) for rows in (of_q, of_k))
    return _joined_heads(of_q), _joined_heads(of_k), _joined_heads(of_v)


def _split(program: Program, *rows: Floats) -> tuple[Floats, ...]:
    """As heads: float32 [heads, tokens, head_dim]."""
    return tuple(r.reshape(len(r), -1, program.head_dim).transpose(1, 0, 2) for r in rows)


def _heads(program: Program, q: Floats, k: Floats, v: Floats) -> tuple[Floats, Floats, Floats]:
    """The heads of q, k and v, q and k turned by their positions."""
    chosen = program.rope.set_for(len(q))
    q, k, v = _split(program, q, k, v)
    return _turned(q, program.rope, chosen), _turned(k, program.rope, chosen), v


def _joined_heads(heads: Floats) -> Floats:
    return np.ascontiguousarray(heads.transpose(1, 0, 2)).reshape(heads.shape[1], -1)


def _attention(program: Program, q: Floats, k: Floats) -> Iterator[Floats]:
    """Each head's weights, float32 [tokens, tokens], of q and k as `_heads` gives them."""
    tokens, shared = q.shape[1], program.heads // program.kv_heads
    age = np.arange(tokens)[:, None] - np.arange(tokens)
    hidden = (age < 0) | (age >= (program.window or tokens))
    for index in range(program.heads):
        scores = q[index] @ k[index // shared].T * np.float32(program.attention_scale)
        scores[hidden] = -np.inf
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        yield scores


def _turned(rows: Floats, rope: Rope, chosen: int, *, back: bool = False) -> Floats:
    """Heads turned by their positions; with `back`, gradients behind the turn to ones before it."""
    frequencies = rope.inverse_frequencies[chosen]
    half = len(frequencies)
    angles = np.arange(rows.shape[1], dtype=np.float32)[:, None] * frequencies
    cos, sin = np.cos(angles) * np.float32(rope.scale), np.sin(angles) * np.float32(rope.scale)
    if back:
        sin = -sin
    turned = rows.copy()
    if rope.pairing == "adjacent":
        first, second = rows[..., 0 : 2 * half : 2], rows[..., 1 : 2 * half : 2]
        turned[..., 0 : 2 * half : 2] = first * cos - second * sin
        turned[..., 1 : 2 * half : 2] = second * cos + first * sin
    else:
        first, second = rows[..., :half], rows[..., half : 2 * half]
        turned[..., :half] = first * cos - second * sin
        turned[..., half : 2 * half] = second * cos + first * sin
    return turned
