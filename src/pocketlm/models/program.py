"""A program: what an architecture compiles to, and what it costs to run.

A program is a flat list of fused operations over named buffers, weights and a cache. It knows
names, shapes and types, and from them what it reads and computes. It does not know file formats,
kernels or threads: `engine.runtime` hands it to the native executor, which does all of a step in
one call.

Every buffer holds one float32 row a token; a buffer's width is its floats a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pocketlm.errors import ModelFileError, UnsupportedError


class TensorInfo(Protocol):
    """What a program needs to know of a stored tensor."""

    @property
    def type(self) -> str:
        """Element type by its GGUF name: "F32", "BF16", "Q4_0", …"""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first: `(rows, columns)` of a matrix, `(n,)` of a vector."""

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""


@dataclass(frozen=True)
class Weight:
    """Rows `start … start + rows` of a stored tensor, as one matrix (or vector, `columns` = 1).

    A fused tensor (`qkv_proj`, `gate_up_proj`) serves as several weights: rows are contiguous.
    """

    name: str
    rows: int
    columns: int
    type: str
    nbytes: int
    start: int = 0


@dataclass(frozen=True)
class Rope:
    """Rotary positions (Su et al. 2021), with one or two sets of inverse frequencies (LongRoPE).

    A head's first `2 * len(inverse_frequencies[0])` floats are turned: pair i by the angle
    position * inverse_frequencies[set][i], in float32; cos and sin are multiplied by `scale`.
    """

    inverse_frequencies: tuple[npt.NDArray[np.float32], ...]
    scale: float = 1.0
    #: "half" pairs float i with i + rotary_dim / 2 (the hub's order); "adjacent" 2i with 2i + 1.
    pairing: str = "half"
    #: With two sets: the longest sequence that uses set 0. A longer one uses set 1 throughout.
    original_context: int | None = None

    def set_for(self, length: int) -> int:
        """Which set a sequence uses that will be `length` positions long."""
        return int(self.original_context is not None and length > self.original_context)

    def adjacent_order(self, head_dim: int) -> npt.NDArray[np.intp]:
        """Where in the hub's order each number of a head lies that has its pairs side by side."""
        order = np.arange(head_dim)
        rotary = 2 * len(self.inverse_frequencies[0])
        order[:rotary] = np.arange(rotary).reshape(2, -1).T.ravel()
        return order


@dataclass(frozen=True)
class Embed:
    """output = the weight's row of each token."""

    output: str
    weight: Weight


@dataclass(frozen=True)
class Project:
    """output (+)= activation(normalise(input) @ weightsᵀ + bias), the weights' rows joined.

    `norm` is the weight of an RMS normalisation of the input, or None. With `gate` there are two
    weights of equal shape, gate and up, and the output is silu(gate) * up. With `add` the result is
    added to what the output holds (the residual stream).
    """

    input: str
    output: str
    weights: tuple[Weight, ...]
    biases: tuple[Weight | None, ...] = ()
    norm: Weight | None = None
    gate: bool = False
    add: bool = False


@dataclass(frozen=True)
class Attend:
    """Turn q and k, append k and v to the layer's cache, and attend causally.

    The input row is q | k | v: `heads`, `kv_heads` and `kv_heads` heads of `head_dim` floats. With
    a `window`, a query sees that many positions, its own among them.
    """

    input: str
    output: str
    layer: int


@dataclass(frozen=True)
class Pick:
    """output = the rows of input whose logits are wanted; what follows runs on these alone."""

    input: str
    output: str


Operation = Embed | Project | Attend | Pick


@dataclass(frozen=True)
class Program:
    """A model, ready to be handed to the executor."""

    vocab_size: int
    context: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    norm_eps: float
    attention_scale: float
    window: int | None
    rope: Rope
    buffers: Mapping[str, int]
    operations: tuple[Operation, ...]

    @property
    def weights(self) -> tuple[Weight, ...]:
        """Every matrix, once, in the order of use (a tied head and embedding are one)."""
        found: dict[Weight, None] = {}
        for operation in self.operations:
            if isinstance(operation, Embed):
                found[operation.weight] = None
            elif isinstance(operation, Project):
                found.update(dict.fromkeys(operation.weights))
        return tuple(found)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all matrices, as stored."""
        return sum(weight.nbytes for weight in self.weights)

    @property
    def parameters(self) -> int:
        """Numbers in all weights, normalisations and biases included."""
        vectors: dict[Weight, None] = {}
        for operation in self.operations:
            if isinstance(operation, Project):
                vectors.update(dict.fromkeys(b for b in operation.biases if b is not None))
                if operation.norm is not None:
                    vectors[operation.norm] = None
        return sum(w.rows * w.columns for w in (*self.weights, *vectors))

    @property
    def step_weights(self) -> tuple[Weight, ...]:
        """The matrices that a step reads whole, in the order of use."""
        projects = (o for o in self.operations if isinstance(o, Project))
        return tuple(weight for project in projects for weight in project.weights)

    def step_bytes(
        self,
        positions: int = 0,
        cache_type: str = "f16",
        nbytes: Callable[[Weight], int] = lambda weight: weight.nbytes,
    ) -> int:
        """Bytes that one token's step reads: weights, and the cache of `positions` positions.

        An embedding counts one row. `nbytes` says what a matrix takes where it is not as stored.
        """
        embeds = (o.weight for o in self.operations if isinstance(o, Embed))
        rows = sum(nbytes(weight) // weight.rows for weight in embeds)
        cache = self.cache_bytes(positions, cache_type)
        return rows + sum(map(nbytes, self.step_weights)) + cache

    def step_macs(self) -> int:
        """Multiply-adds of the projections for one token."""
        return sum(weight.rows * weight.columns for weight in self.step_weights)

    def prompt_macs(self, tokens: int) -> int:
        """Multiply-adds of a prompt of `tokens` tokens: projections and attention.

        What follows a `Pick` (the head) runs for the last token alone. A token attends to itself
        and to those before it, as far as the window reaches.
        """
        full = min(tokens, self.window or tokens)
        seen = full * (full + 1) // 2 + (tokens - full) * full
        total, rows = 0, tokens
        for operation in self.operations:
            if isinstance(operation, Pick):
                rows = 1
            elif isinstance(operation, Project):
                total += rows * sum(w.rows * w.columns for w in operation.weights)
            elif isinstance(operation, Attend):
                total += 2 * self.heads * self.head_dim * seen
        return total

    def cache_bytes(self, tokens: int = 1, cache_type: str = "f16") -> int:
        """Bytes of cache that `tokens` positions of one sequence need, at most the window's.

        `cache_type` is "f32", "f16", "q8" or "q4"; or one for keys and one for values: "q8/q4". A
        head is padded to a multiple of 16 numbers; below 16 bits, each 32 share a 16-bit scale.
        """
        seen = tokens if self.window is None else min(tokens, self.window)
        keys, _, values = cache_type.partition("/")
        padded = -(-self.head_dim // 16) * 16
        scales = 2 * -(-padded // 32)
        per_head = {
            "f32": 4 * padded,
            "f16": 2 * padded,
            "q8": padded + scales,
            "q4": padded // 2 + scales,
        }
        return self.layers * self.kv_heads * (per_head[keys] + per_head[values or keys]) * seen


class Linear(NamedTuple):
    """A layer's weight and, where it has one, its bias."""

    weight: Weight
    bias: Weight | None = None


@dataclass
class Builder:
    """Collects a program's operations, checking each weight against the checkpoint's tensors."""

    tensors: Mapping[str, TensorInfo]
    buffers: dict[str, int] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def weight(
        self, name: str, rows: int, columns: int = 1, *, start: int = 0, of: int | None = None
    ) -> Weight:
        """Rows `start … start + rows` of tensor `name`, which must hold `of` (or `rows`) rows.

        Raises ModelFileError when the tensor is missing or has another shape.
        """
        info = self.tensors.get(name)
        if info is None:
            raise ModelFileError(f"the checkpoint has no tensor {name!r}")
        total = rows if of is None else of
        expected = (total,) if columns == 1 else (total, columns)
        if tuple(info.shape) != expected:
            raise ModelFileError(f"tensor {name!r} has shape {info.shape}, expected {expected}")
        self.used.add(name)
        return Weight(name, rows, columns, info.type, info.nbytes * rows // total, start)

    def vector(self, name: str, length: int) -> Weight:
        """A normalisation weight of `length` numbers."""
        return self.weight(name, length)

    def linear(
        self, name: str, rows: int, columns: int, *, start: int = 0, of: int | None = None
    ) -> Linear:
        """The layer `name`: its weight as `weight` gives it, and its bias where there is one."""
        weight = self.weight(f"{name}.weight", rows, columns, start=start, of=of)
        if f"{name}.bias" not in self.tensors:
            return Linear(weight)
        return Linear(weight, self.weight(f"{name}.bias", rows, start=start, of=of))

    def embed(self, output: str, weight: Weight) -> None:
        """Append an `Embed`."""
        self._write(output, weight.columns)
        self.operations.append(Embed(output, weight))

    def project(
        self,
        input: str,
        output: str,
        *layers: Linear,
        norm: Weight | None = None,
        gate: bool = False,
        add: bool = False,
    ) -> None:
        """Append a `Project` through one layer, or several side by side."""
        weights, biases = zip(*layers, strict=True)
        self._write(output, weights[0].rows if gate else sum(w.rows for w in weights))
        self.operations.append(Project(input, output, weights, biases, norm, gate, add))

    def attend(self, input: str, output: str, layer: int, width: int) -> None:
        """Append an `Attend` whose output rows are `width` floats."""
        self._write(output, width)
        self.operations.append(Attend(input, output, layer))

    def pick(self, input: str, output: str) -> None:
        """Append a `Pick`."""
        self._write(output, self.buffers[input])
        self.operations.append(Pick(input, output))

    def check_all_used(self) -> None:
        """Refuse a checkpoint whose blocks hold more than the program runs.

        A tensor left aside would be a model of another kind, run wrongly and in silence. Raises
        UnsupportedError naming one.
        """
        for name in self.tensors:
            # Files of 2023 hold rotary frequencies, which are a mere table.
            known = name in self.used or name.endswith(".rotary_emb.inv_freq")
            if name.startswith("model.layers.") and not known:
                raise UnsupportedError(f"tensor {name[:80]!r} has no place in this architecture")

    def _write(self, buffer: str, width: int) -> None:
        if self.buffers.setdefault(buffer, width) != width:
            raise ModelFileError(f"buffer {buffer!r} is {self.buffers[buffer]} wide, not {width}")
