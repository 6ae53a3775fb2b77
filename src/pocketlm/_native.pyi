"""The native runtime: operations, kernels by instruction set, threads and the KV cache.

It knows no file format and no model. Arguments are checked: a violated precondition raises
ValueError, an argument of another kind TypeError, memory or threads that cannot be had
MemoryError. The GIL is released while it works.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]

def instruction_sets() -> list[str]:
    """The kernel tables that this processor runs, slowest first: "portable", "avx2", "avx512", …"""

def default_threads() -> int:
    """Physical cores that our affinity and control group leave us."""

class ThreadPool:
    """Threads that share one step's work, and the kernel table they use (chosen once).

    `instruction_set` None is the fastest one that the processor has.
    """

    def __init__(self, threads: int, instruction_set: str | None = None) -> None: ...
    @property
    def threads(self) -> int: ...
    @property
    def instruction_set(self) -> str: ...
    def read_gb_s(self, matrices: Sequence[Matrix]) -> float:
        """10^9 bytes a second at which the threads read these matrices' memory, once through.

        It says something of the memory only where they are much larger than the caches.
        """
    def int8_gmac_s(self) -> float:
        """10^9 8-bit multiply-adds a second, on registers, in the way of the kernel table."""

class Matrix:
    """A weight matrix in the layout that the kernels read.

    F32, F16 and BF16 stay the mapping itself (`data` is kept alive, not copied); quantised types
    are interleaved by 16 rows.
    """

    def __init__(
        self,
        type: str,
        rows: int,
        columns: int,
        data: Bytes,
        pool: ThreadPool,
        release: bool = False,
    ) -> None:
        """Prepare `rows * columns` weights stored row by row in `data`.

        With `release`, `data` is a file mapping, whose pages are let go as they are read. Raises
        ValueError for an unknown type, a size that does not fit, or weights that are not finite.
        """
    @property
    def type(self) -> str: ...
    @property
    def rows(self) -> int: ...
    @property
    def columns(self) -> int: ...
    @property
    def nbytes(self) -> int:
        """Bytes that the prepared form occupies (the mapping's, where it is used as it lies)."""
    def row(self, index: int) -> Floats:
        """One row, dequantised: float32 [columns]."""
    def multiply(self, x: Floats) -> Floats:
        """x @ weightsᵀ: float32 [n, columns] -> [n, rows], by the kernels that a step uses."""

class KVCache:
    """Reference-counted blocks of 32 (`block_positions`) positions: all layers' keys and values.

    Memory is taken when a block is allocated and given back when its last reference goes.
    """

    def __init__(self, layers: int, kv_heads: int, head_dim: int, type: str = "f16") -> None:
        """`type` is "f32", "f16", "q8" or "q4" (quants: one float16 scale for each 32 numbers)."""
    @property
    def block_positions(self) -> int: ...
    @property
    def block_bytes(self) -> int: ...
    @property
    def blocks_in_use(self) -> int: ...
    def allocate(self) -> int:
        """A new block with one reference."""
    def retain(self, block: int) -> None: ...
    def release(self, block: int) -> None: ...
    def copy(self, block: int) -> int:
        """A new block with the same contents and one reference."""
    def data(self, block: int) -> Bytes:
        """A block's memory, not a copy: uint8 [block_bytes], writable. It has a reference."""

class Adapter:
    """What a low-rank adapter (LoRA) adds to the projections of an executor. It never changes."""

    def __init__(
        self, parts: Sequence[tuple[int, Matrix, Sequence[tuple[int, Floats] | None]]]
    ) -> None:
        """Each part is (operation, down, ups): what is added to the operation of that number.

        `down` is a float matrix [n, input's width], which is kept. For each weight of the operation
        there is, in `ups`, None or (first, up), which is copied: up float32 [weight's rows, rank]
        times the numbers first … first + rank - 1 of down @ input is added to the weight's
        product. Raises ValueError for parts that contradict themselves or each other.
        """
    @property
    def nbytes(self) -> int:
        """Bytes of all parts."""

class Executor:
    """Runs a program. Operations are appended once, then `run` does a whole step in one call.

    Buffers are named by their index in `buffers` (widths in floats a token).
    """

    def __init__(
        self,
        pool: ThreadPool,
        cache: KVCache,
        buffers: Sequence[int],
        heads: int,
        kv_heads: int,
        head_dim: int,
        norm_eps: float,
        attention_scale: float,
        window: int,
        inverse_frequencies: Sequence[Floats],
        rope_scale: float,
        rope_adjacent: bool,
    ) -> None:
        """`window` 0 is none. `inverse_frequencies` holds the rope sets, of equal length."""
    def embed(self, output: int, weight: Matrix) -> None: ...
    def project(
        self,
        input: int,
        output: int,
        weights: Sequence[Matrix],
        biases: Sequence[Floats | None],
        norm: Floats | None,
        gate: bool,
        add: bool,
    ) -> None: ...
    def attend(self, input: int, output: int, layer: int) -> None: ...
    def pick(self, input: int, output: int) -> None: ...
    def run(
        self,
        tokens: Ints,
        segments: Sequence[tuple[int, int, int, Ints]],
        picks: Ints,
        adapters: Sequence[Adapter | None] = (),
    ) -> Floats:
        """One step over the tokens of several sequences at once.

        `tokens` int32 [n]. Each segment is (count, first position, rope set, block table): the next
        `count` tokens continue one sequence from that position; `table[p // block_positions]` is
        the block that holds position p, or -1 where the window has passed it. `picks` int32 [m] are
        indices into `tokens`, ascending. `adapters` has one, or None, for each segment; or it is
        empty. Returns the last buffer written: float32 [m, width] (logits), or [0, width].
        """

def quantise(
    pool: ThreadPool, type: str, weights: Floats, importance: Floats | None = None
) -> Bytes:
    """Rows in a GGUF block format: float32 [rows, columns] -> uint8 [rows, row bytes].

    `type` is F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q8_0, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL or IQ4_XS.
    Each weight goes to its nearest value; scales make sum(importance * (weight - value)²) small,
    where `importance` is float32 [columns] from 0 up, or None for all equal. Raises ValueError for
    another type, columns that are not whole blocks, or a weight that the type cannot hold (not
    finite, or too large for F16 or BF16), and names its row.
    """

def fit_rows(
    pool: ThreadPool, type: str, weights: Floats, importance: Floats | None = None
) -> Floats:
    """The numbers that the blocks of each row share: float32 [rows, n]; n is 0 for GGUF's types.

    For `quantise_columns`, which sees a part of a row at a time. Raises ValueError as `quantise`.
    """

def quantise_columns(
    pool: ThreadPool,
    type: str,
    weights: Floats,
    importance: Floats | None,
    factor: Floats,
    shared: Floats | None = None,
) -> tuple[Bytes, Floats]:
    """Some columns of a matrix, with error feedback (GPTQ, arXiv 2210.17323, algorithm 1).

    `weights` float32 [rows, width] hold what earlier columns' errors made of them; width is at
    most 1024 and whole blocks. `factor` float32 [width, width] is these columns' part of the upper
    triangular U with Uᵀ U = H⁻¹, H = Xᵀ X; what is below its diagonal is not read. `shared` is
    what `fit_rows` made of the whole rows; it may be None where that has no columns. Returns the
    blocks' bytes, uint8 [rows, bytes], and errors e = (weight - value) / factor[j, j], float32
    [rows, width], for the caller to take from those that follow: rest -= e @ U[these, rest].
    Raises ValueError as `quantise` does, and for a factor that is not finite or not positive on
    the diagonal.
    """

def dequantise(pool: ThreadPool, type: str, data: Bytes, rows: int, columns: int) -> Floats:
    """Stored rows as float32 [rows, columns]: uint8 [bytes], of a type that `quantise` knows.

    Raises ValueError where type, shape and size do not fit each other.
    """

def interleave(pool: ThreadPool, type: str, data: Bytes, rows: int, columns: int) -> Bytes:
    """Rows of P3 or P4, as `quantise` makes them, to panels, which files hold and kernels read.

    uint8 [panels, panel bytes]; a panel has 16 rows. Raises ValueError as `quantise`.
    """
