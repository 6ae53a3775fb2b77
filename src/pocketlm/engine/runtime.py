"""A program bound to its weights: what a step runs.

It knows programs, tensors and the native module, and makes the one out of the others: each weight a
prepared matrix, each operation a call of the executor's. It knows no sequence and no sampling.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pocketlm import _native
from pocketlm.errors import Error, ModelFileError, ParameterError, UnsupportedError
from pocketlm.models.program import Attend, Embed, Operation, Pick, Program, Project, Weight

if TYPE_CHECKING:
    from pocketlm.formats.checkpoint import Tensor

_KINDS = ("f32", "f16", "q8", "q4")
#: In 8 bits what is lost drowns in what rounding activations to 8 bits changes (docs/decisions.md).
DEFAULT_CACHE_TYPE = "q8"
#: Of keys and values alike, or keys/values.
CACHE_TYPES = (*_KINDS, *(f"{k}/{v}" for k in _KINDS for v in _KINDS if k != v))
QUANTIZED = ("q4_0", "q8_0")
FLOATS = ("F32", "F16", "BF16")
MOST_THREADS = 1024
#: With a sliding window, how far a text can be rewound before anything is processed again.
REWIND = 512

#: One part of a step: (count, first position, rope set, block table), as the executor takes it.
Segment = tuple[int, int, int, npt.NDArray[np.int32]]
#: What is added for each part of a step, or for none.
Adapters = Sequence[_native.Adapter | None]


class Runtime:
    """A program, its weights in native form, and the cache it reads and writes."""

    def __init__(
        self,
        program: Program,
        tensors: Mapping[str, Tensor],
        *,
        threads: int | None = None,
        cache_type: str = DEFAULT_CACHE_TYPE,
        quantize: str | None = None,
        instruction_set: str | None = None,
    ) -> None:
        """Prepare the weights. `instruction_set` None is the best that the processor has.

        With `quantize`, float matrices take that type. An embedding that is not also the output
        head stays as it is (one row is read a token), and the head, the most sensitive matrix,
        takes 8 bits at least.

        Raises ParameterError for an argument, ModelFileError for weights that are not finite.
        """
        if threads is None:
            threads = _native.default_threads()
        if isinstance(threads, bool) or not isinstance(threads, int):
            raise ParameterError(f"threads is {threads!r}; it must be a whole number")
        if not 1 <= threads <= MOST_THREADS:
            raise ParameterError(f"threads is {threads}; it must be 1 to {MOST_THREADS}")
        _one_of("cache_type", cache_type, CACHE_TYPES)
        if quantize is not None:
            _one_of("quantize", quantize, QUANTIZED)
        self.program = program
        self.cache_type = cache_type
        self.pool = _native.ThreadPool(threads, instruction_set)
        if "q4" in cache_type and program.head_dim % 32:
            raise ParameterError(
                f"cache_type {cache_type!r} needs heads of a multiple of 32 numbers; this model's "
                f"have {program.head_dim}: use 'q8'"
            )
        self.cache = _native.KVCache(program.layers, program.kv_heads, program.head_dim, cache_type)
        types = {} if quantize is None else _quantized_types(program, quantize.upper())
        self._tensors = tensors
        self._matrices = {w: self._matrix(w, types.get(w)) for w in program.weights}
        self._vectors: dict[Weight, npt.NDArray[np.float32]] = {}
        self._executor = self._build(program.operations, program.buffers, self._matrices)
        del self._tensors

    @property
    def weight_bytes(self) -> int:
        """Bytes of all matrices, as prepared."""
        return sum(matrix.nbytes for matrix in self._matrices.values())

    @property
    def identity(self) -> str:
        """What decides, beside the weights' own numbers, which bytes a step writes to the cache."""
        types = [matrix.type for matrix in self._matrices.values()]
        return repr((self.program, self.cache_type, types))

    def step_bytes(self, positions: int) -> int:
        """Bytes that generating a token reads: weights as prepared, a cache of `positions`."""
        return self.program.step_bytes(
            positions, self.cache_type, lambda weight: self._matrices[weight].nbytes
        )

    def read_gb_s(self) -> float:
        """10^9 bytes a second at which the threads read a step's weights, and do nothing else."""
        return self.pool.read_gb_s([self._matrices[w] for w in self.program.step_weights])

    def cache_budget(self, context: int) -> int:
        """Bytes of cache worth keeping: what one sequence of `context` positions needs, if sane.

        With a window it needs the window, and a little more so that a short rewind finds its
        blocks. A quarter of the machine's memory is the most.
        """
        window = self.program.window
        positions = context if window is None else min(context, window + REWIND)
        blocks = -(-positions // self.cache.block_positions) + 1
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return min(blocks * self.cache.block_bytes, physical // 4)

    def run(
        self,
        tokens: Sequence[int],
        segments: Sequence[Segment],
        picks: Sequence[int],
        adapters: Adapters = (),
    ) -> npt.NDArray[np.float32]:
        """One step: the logits, float32 [len(picks), vocabulary]. See `_native.Executor.run`."""
        return self._run(self._executor, tokens, segments, picks, adapters)

    def run_hidden(
        self,
        tokens: Sequence[int],
        segments: Sequence[Segment],
        picks: Sequence[int],
        adapters: Adapters = (),
    ) -> npt.NDArray[np.float32]:
        """As `run`, for what the output head reads: float32 [len(picks), hidden size]."""
        return self._run(self._without_head, tokens, segments, picks, adapters)

    @functools.cached_property
    def _without_head(self) -> _native.Executor:
        """The same program, with an identity matrix for its output head."""
        operations = self.program.operations
        at = next(i for i, operation in enumerate(operations) if isinstance(operation, Pick))
        picked, head = operations[at], operations[at + 1]
        assert isinstance(picked, Pick)
        assert isinstance(head, Project)
        width = self.program.buffers[picked.output]
        identity = Weight("identity", width, width, "F32", 4 * width * width)
        ones = np.eye(width, dtype=np.float32).view(np.uint8).reshape(-1)
        matrix = _native.Matrix("F32", width, width, ones, self.pool, False)
        last = Project(picked.output, "hidden", (identity,), norm=head.norm)
        return self._build(
            (*operations[: at + 1], last),
            {**self.program.buffers, "hidden": width},
            {**self._matrices, identity: matrix},
        )

    @staticmethod
    def _run(
        executor: _native.Executor,
        tokens: Sequence[int],
        segments: Sequence[Segment],
        picks: Sequence[int],
        adapters: Adapters,
    ) -> npt.NDArray[np.float32]:
        try:
            return executor.run(
                np.array(tokens, dtype=np.int32),
                segments,
                np.array(picks, dtype=np.int32),
                adapters,
            )
        except (MemoryError, RuntimeError):
            raise Error(
                f"no memory to process {len(tokens):,} tokens at once, with {len(picks):,} rows of "
                "logits; process fewer at a time"
            ) from None

    def _build(
        self,
        operations: Sequence[Operation],
        buffers: Mapping[str, int],
        matrices: Mapping[Weight, _native.Matrix],
    ) -> _native.Executor:
        program = self.program
        executor = _native.Executor(
            self.pool,
            self.cache,
            list(buffers.values()),
            program.heads,
            program.kv_heads,
            program.head_dim,
            program.norm_eps,
            program.attention_scale,
            program.window or 0,
            list(program.rope.inverse_frequencies),
            program.rope.scale,
            program.rope.pairing == "adjacent",
        )
        place = {name: index for index, name in enumerate(buffers)}
        for operation in operations:
            match operation:
                case Embed(output, weight):
                    executor.embed(place[output], matrices[weight])
                case Project(input, output, weights, biases, norm, gate, add):
                    executor.project(
                        place[input],
                        place[output],
                        [matrices[weight] for weight in weights],
                        [self._vector(bias) for bias in biases or [None] * len(weights)],
                        self._vector(norm),
                        gate,
                        add,
                    )
                case Attend(input, output, layer):
                    executor.attend(place[input], place[output], layer)
                case Pick(input, output):
                    executor.pick(place[input], place[output])
        return executor

    def _matrix(self, weight: Weight, quantize: str | None) -> _native.Matrix:
        data = self._rows(weight)
        kind = weight.type
        mapped = kind not in FLOATS  # its pages can go once they are prepared
        if quantize is not None and kind in FLOATS:
            data, kind = _quantize(data, weight, quantize), quantize
        try:
            return _native.Matrix(kind, weight.rows, weight.columns, data, self.pool, mapped)
        except ValueError as error:
            raise ModelFileError(f"tensor {weight.name!r}: {error}") from None
        except (MemoryError, RuntimeError):
            raise Error(
                f"no memory for the weights ({self.program.weight_bytes:,} bytes); use a smaller "
                "model, or one with fewer bits a weight"
            ) from None

    def _vector(self, weight: Weight | None) -> npt.NDArray[np.float32] | None:
        if weight is None:
            return None
        if weight in self._vectors:
            return self._vectors[weight]
        if weight.type not in FLOATS:
            raise UnsupportedError(f"tensor {weight.name!r} is a vector of type {weight.type}")
        values = floats_of(self._rows(weight), weight.type)
        if not np.isfinite(values).all():
            raise ModelFileError(f"tensor {weight.name!r} holds values that are not finite")
        self._vectors[weight] = values
        return values

    def _rows(self, weight: Weight) -> npt.NDArray[np.uint8]:
        """The weight's rows within its tensor: uint8 [weight.nbytes]."""
        row = weight.nbytes // weight.rows
        return self._tensors[weight.name].data[weight.start * row :][: weight.rows * row]


def _one_of(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ParameterError(f"{name} is {value!r}; it must be one of {', '.join(choices)}")


def floats_of(data: npt.NDArray[np.uint8], kind: str) -> npt.NDArray[np.float32]:
    """Stored F32, F16 or BF16 numbers as a float32 array of their own."""
    if kind == "BF16":
        return (data.view("<u2").astype(np.uint32) << 16).view(np.float32)
    return data.view("<f4" if kind == "F32" else "<f2").astype(np.float32)


def _quantized_types(program: Program, kind: str) -> dict[Weight, str]:
    """The type that each matrix takes on load; one that is only looked up in takes none."""
    types: dict[Weight, str] = {}
    head = False
    for operation in program.operations:
        if isinstance(operation, Pick):
            head = True
        elif isinstance(operation, Project):
            types.update(dict.fromkeys(operation.weights, "Q8_0" if head else kind))
    return types


def _quantize(data: npt.NDArray[np.uint8], weight: Weight, kind: str) -> npt.NDArray[np.uint8]:
    """Quantise a float matrix some rows at a time: little memory beside the result."""
    from gguf import GGMLQuantizationType, quants

    target = GGMLQuantizationType[kind]
    if weight.columns % 32:
        raise ParameterError(f"cannot quantize {weight.name!r}: {weight.columns} columns a row")
    row = data.size // weight.rows
    step = max(1, (1 << 22) // weight.columns)
    parts = []
    for start in range(0, weight.rows, step):
        values = floats_of(data[start * row : (start + step) * row], weight.type)
        if not np.isfinite(values).all():
            raise ModelFileError(f"tensor {weight.name!r} holds values that are not finite")
        parts.append(quants.quantize(values.reshape(-1, weight.columns), target).reshape(-1))
    return np.concatenate(parts)
