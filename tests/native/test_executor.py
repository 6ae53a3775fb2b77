"""The module's arguments: whatever Python hands it, the answer is an exception, never a crash."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from pocketlm import _native

VOCABULARY, HIDDEN, HEADS, HEAD_DIM = 11, 8, 2, 4
#: Buffers: hidden, qkv, attention's output, picked, logits.
WIDTHS = [HIDDEN, 3 * HIDDEN, HIDDEN, HIDDEN, VOCABULARY]


def matrix(rows: int, columns: int, pool: _native.ThreadPool) -> _native.Matrix:
    numbers = np.random.default_rng(rows * columns).standard_normal((rows, columns))
    data = numbers.astype(np.float32).view(np.uint8).reshape(-1)
    return _native.Matrix("F32", rows, columns, data, pool)


class Tiny:
    """A program of one layer, and what it is made of."""

    def __init__(self, **changes: Any) -> None:
        self.pool = _native.ThreadPool(2)
        self.cache = _native.KVCache(1, HEADS, HEAD_DIM)
        arguments: dict[str, Any] = {
            "pool": self.pool,
            "cache": self.cache,
            "buffers": WIDTHS,
            "heads": HEADS,
            "kv_heads": HEADS,
            "head_dim": HEAD_DIM,
            "norm_eps": 1e-5,
            "attention_scale": 0.5,
            "window": 0,
            "inverse_frequencies": [np.array([1.0, 0.1], np.float32)],
            "rope_scale": 1.0,
            "rope_adjacent": False,
        }
        self.executor = _native.Executor(**(arguments | changes))

    def matrix(self, rows: int, columns: int = HIDDEN) -> _native.Matrix:
        return matrix(rows, columns, self.pool)

    def project(self, input: int, output: int, rows: int, **changes: Any) -> None:
        arguments: dict[str, Any] = {
            "weights": [self.matrix(rows)],
            "biases": [None],
            "norm": None,
            "gate": False,
            "add": False,
        }
        self.executor.project(input, output, **(arguments | changes))


@pytest.fixture
def built() -> Tiny:
    tiny = Tiny()
    tiny.executor.embed(0, tiny.matrix(VOCABULARY))
    tiny.project(0, 1, 3 * HIDDEN, norm=np.ones(HIDDEN, np.float32))
    tiny.executor.attend(1, 2, 0)
    tiny.project(2, 0, HIDDEN, add=True)
    tiny.executor.pick(0, 3)
    tiny.project(3, 4, VOCABULARY, biases=[np.ones(VOCABULARY, np.float32)])
    return tiny


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def refused(
    error: type[Exception] | tuple[type[Exception], ...], call: Callable[..., Any], *args: Any
) -> None:
    with pytest.raises(error):
        call(*args)


def test_a_good_step_runs(built: Tiny) -> None:
    block = built.cache.allocate()
    logits = built.executor.run(ints(1, 2, 3), [(3, 0, 0, ints(block))], ints(0, 2))
    assert logits.shape == (2, VOCABULARY)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    again = built.executor.run(ints(3), [(1, 2, 0, ints(block))], ints(0))
    np.testing.assert_array_equal(again[0], logits[1])
    nothing = built.executor.run(ints(3), [(1, 2, 0, ints(block))], ints())
    assert nothing.shape == (0, VOCABULARY)
    assert built.executor.run(ints(), [], ints()).shape == (0, VOCABULARY)


def test_wrong_steps_are_refused(built: Tiny) -> None:
    run = built.executor.run
    block = built.cache.allocate()
    gone = built.cache.allocate()
    built.cache.release(gone)

    def segment(
        count: int = 3, position: int = 0, rope_set: int = 0, blocks: Sequence[int] = (block,)
    ) -> list[Any]:
        return [(count, position, rope_set, ints(*blocks))]

    tokens, picks = ints(1, 2, 3), ints(2)
    run(tokens, segment(), picks)
    for token in (-1, VOCABULARY, 2**31 - 1):
        refused(ValueError, run, ints(1, token, 3), segment(), picks)
    for count in (0, -1, 2, 4, 2**31 - 1):
        refused(ValueError, run, tokens, segment(count=count), picks)
    for position in (-1, 30, 2**28, 2**31 - 1):
        refused(ValueError, run, tokens, segment(position=position), picks)
    for rope_set in (-1, 1):
        refused(ValueError, run, tokens, segment(rope_set=rope_set), picks)
    for blocks in ((), (-1,), (gone,), (2**31 - 1,)):
        refused(ValueError, run, tokens, segment(blocks=blocks), picks)
    for wrong in ((3,), (-1,), (1, 1), (2, 1)):
        refused(ValueError, run, tokens, segment(), ints(*wrong))
    refused(ValueError, run, tokens, [], picks)
    refused(ValueError, run, tokens, segment() + segment(), picks)
    run(tokens, segment(), picks)


def test_wrong_kinds_of_step_arguments_are_refused(built: Tiny) -> None:
    run = built.executor.run
    block = ints(built.cache.allocate())
    good = [(3, 0, 0, block)]
    for tokens in (None, [1, 2, 3], "abc", np.ones(3, np.float32), ints(1, 2, 3).reshape(1, 3)):
        refused(TypeError, run, tokens, good, ints(0))
        refused(TypeError, run, ints(1, 2, 3), [(3, 0, 0, tokens)], ints(0))
        refused(TypeError, run, ints(1, 2, 3), good, tokens)
    for segments in (None, 3, [3], [(3, 0, 0)], [(3, 0, None, block)], [(2**40, 0, 0, block)]):
        refused(TypeError, run, ints(1, 2, 3), segments, ints(0))


def test_programs_in_a_wrong_order_are_refused() -> None:
    tiny = Tiny()
    refused(ValueError, tiny.executor.run, ints(), [], ints())
    refused(ValueError, tiny.project, 0, 3, HIDDEN)
    refused(ValueError, tiny.executor.attend, 1, 2, 0)
    refused(ValueError, tiny.executor.pick, 0, 3)
    tiny.executor.embed(0, tiny.matrix(VOCABULARY))
    refused(ValueError, tiny.executor.embed, 0, tiny.matrix(VOCABULARY))
    refused(ValueError, tiny.executor.run, ints(), [], ints())
    tiny.executor.pick(0, 3)
    refused(ValueError, tiny.executor.pick, 0, 3)
    refused(ValueError, tiny.executor.attend, 1, 2, 0)
    refused(ValueError, tiny.executor.run, ints(), [], ints())


def test_a_result_in_a_buffer_of_all_rows_is_refused() -> None:
    tiny = Tiny()
    tiny.executor.embed(0, tiny.matrix(VOCABULARY))
    tiny.executor.pick(0, 3)
    tiny.project(3, 0, HIDDEN)
    block = ints(tiny.cache.allocate())
    refused(ValueError, tiny.executor.run, ints(1, 2, 3), [(3, 0, 0, block)], ints(0))


def test_operations_that_do_not_fit_are_refused(built: Tiny) -> None:
    tiny = Tiny()
    tiny.executor.embed(0, tiny.matrix(VOCABULARY))
    for buffer in (-1, 5, 2**31 - 1):
        refused(ValueError, Tiny().executor.embed, buffer, tiny.matrix(VOCABULARY))
        refused(ValueError, tiny.project, buffer, 3, HIDDEN)
        refused(ValueError, tiny.project, 0, buffer, HIDDEN)
        refused(ValueError, tiny.executor.attend, buffer, 2, 0)
        refused(ValueError, tiny.executor.attend, 1, buffer, 0)
        refused(ValueError, tiny.executor.pick, buffer, 3)
        refused(ValueError, tiny.executor.pick, 0, buffer)
    for layer in (-1, 1, 2**31 - 1):
        refused(ValueError, tiny.executor.attend, 1, 2, layer)
    with pytest.raises(ValueError, match="as wide as"):
        tiny.project(0, 3, HIDDEN, weights=[tiny.matrix(HIDDEN, 9)])
    wrong: list[dict[str, Any]] = [
        {"weights": []},
        {"weights": [tiny.matrix(9)]},
        {"biases": [None, None]},
        {"biases": [np.ones(9, np.float32)]},
        {"norm": np.ones(9, np.float32)},
        {"gate": True},
    ]
    for changes in wrong:
        with pytest.raises(ValueError, match=r"."):
            tiny.project(0, 3, HIDDEN, **changes)
    kinds: list[dict[str, Any]] = [
        {"weights": None},
        {"weights": [None]},
        {"weights": [np.ones((8, 8), np.float32)]},
        {"biases": None},
        {"biases": [[1.0]]},
        {"norm": np.ones(8, np.float64)},
        {"norm": np.ones((8, 1), np.float32)},
        {"gate": "yes"},
    ]
    for changes in kinds:
        with pytest.raises(TypeError):
            tiny.project(0, 3, HIDDEN, **changes)
    refused(TypeError, Tiny().executor.embed, 0, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"buffers": [0]},
        {"buffers": [-1]},
        {"buffers": [(1 << 24) + 1]},
        {"heads": 3, "kv_heads": 2},
        {"heads": 0},
        {"heads": -2},
        {"heads": 2**30},
        {"kv_heads": 0},
        {"kv_heads": 1},
        {"head_dim": 8},
        {"head_dim": 0},
        {"window": -1},
        {"inverse_frequencies": []},
        {"inverse_frequencies": [np.ones(3, np.float32)]},
        {"inverse_frequencies": [np.ones(2, np.float32), np.ones(1, np.float32)]},
    ],
)
def test_shapes_that_contradict_each_other_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Tiny(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"pool": None},
        {"cache": None},
        {"buffers": None},
        {"buffers": [2**40]},
        {"heads": 2**40},
        {"heads": "two"},
        {"inverse_frequencies": [[1.0, 0.1]]},
        {"inverse_frequencies": [None]},
        {"norm_eps": None},
    ],
)
def test_wrong_kinds_of_arguments_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Tiny(**changes)


def ups(*given: tuple[int, int, int] | None) -> list[Any]:
    """Projections up: (first, rows, rank) of each weight."""
    numbers = np.random.default_rng(5)
    return [up and (up[0], numbers.standard_normal(up[1:], np.float32)) for up in given]


def test_an_adapter_is_for_its_segments_alone(built: Tiny) -> None:
    down = built.matrix(2)
    adapter = _native.Adapter([(1, down, ups((0, 3 * HIDDEN, 2))), (3, down, ups((1, HIDDEN, 1)))])
    assert adapter.nbytes == 2 * 4 * 2 * HIDDEN + 4 * 16 * 2 * 2 + 4 * 16
    blocks = [ints(built.cache.allocate()) for _ in range(4)]

    def run(*adapters: _native.Adapter | None) -> np.ndarray:
        count = max(len(adapters), 1)
        segments = [(3, 0, 0, block) for block in blocks[:count]]
        tokens = ints(*[1, 2, 3] * count)
        return built.executor.run(tokens, segments, ints(*range(2, 3 * count, 3)), adapters)

    (plain,) = run()
    (changed,) = run(adapter)
    assert np.abs(changed - plain).max() > 0.01
    np.testing.assert_array_equal(run(None)[0], plain)
    mixed = run(adapter, None, None, adapter)
    np.testing.assert_array_equal(mixed, [changed, plain, plain, changed])
    del adapter  # what a step is given, it keeps
    (again,) = run(_native.Adapter([(1, built.matrix(2), ups(None))]))
    np.testing.assert_array_equal(again, plain)


def test_wrong_adapters_are_refused(built: Tiny) -> None:
    block = ints(built.cache.allocate())
    down = built.matrix(2)

    def run(adapters: Any) -> None:
        built.executor.run(ints(1), [(1, 0, 0, block)], ints(0), adapters)

    good = _native.Adapter([(1, down, ups((0, 3 * HIDDEN, 2)))])
    run([good])
    refused(ValueError, run, [good, good])
    refused(ValueError, run, [None, None])
    for wrong in (None, good, [3], [down]):
        refused(TypeError, run, wrong)
    for operation, rows in ((0, VOCABULARY), (2, HIDDEN), (4, HIDDEN), (5, VOCABULARY), (6, 8)):
        refused(ValueError, run, [_native.Adapter([(operation, down, ups((0, rows, 2)))])])
    refused(ValueError, run, [_native.Adapter([(1, down, [])])])
    refused(ValueError, run, [_native.Adapter([(1, down, ups((0, HIDDEN, 2)))])])
    narrow = built.matrix(2, HIDDEN - 1)
    refused(ValueError, run, [_native.Adapter([(1, narrow, ups((0, 3 * HIDDEN, 2)))])])

    for parts in (
        [(-1, down, [])],
        [(2**16, down, [])],
        [(1, down, []), (1, down, [])],
        [(1, down, ups((1, 8, 2)))],
        [(1, down, ups((-1, 8, 2)))],
        [(1, down, ups((2**31 - 1, 8, 2)))],
        [(1, down, ups((0, 0, 2)))],
        [(1, down, ups((0, 8, 0)))],
    ):
        refused(ValueError, _native.Adapter, parts)
    for kinds in (
        None,
        [None],
        [(1, None)],
        [(1, down, None)],
        [(2**40, down, [])],
        [(1, np.ones((2, 8), np.float32), [])],
        [(1, down, [(0, np.ones((8, 2)))])],
        [(1, down, [(0, np.ones(8, np.float32))])],
        [(1, down, [(0, np.ones((2, 8), np.float32).T)])],
    ):
        refused(TypeError, _native.Adapter, kinds)
    refused(ValueError, _native.Adapter, [(1, None, [])])


@pytest.mark.usefixtures("limited_memory")
def test_a_step_that_needs_too_much_memory_is_an_error() -> None:
    # A row of the last buffer takes 64 MiB.
    tiny = Tiny(buffers=[*WIDTHS, 1 << 24])
    tiny.executor.embed(0, tiny.matrix(VOCABULARY))
    tiny.executor.pick(0, 3)
    tiny.project(3, 4, VOCABULARY)
    block = ints(tiny.cache.allocate())
    for _ in range(2):
        with pytest.raises(MemoryError):
            tiny.executor.run(np.zeros(32, np.int32), [(32, 0, 0, block)], ints(0))
    assert tiny.executor.run(ints(1), [(1, 0, 0, block)], ints(0)).shape == (1, VOCABULARY)


def test_thread_counts_are_checked() -> None:
    assert _native.ThreadPool(1).threads == 1
    for threads in (0, -1, 1025, 10**6):
        with pytest.raises(ValueError, match=f"1 to 1024, not {threads}"):
            _native.ThreadPool(threads)
    for wrong in (None, "two", 1.5, 2**40):
        refused(TypeError, _native.ThreadPool, wrong)
    with pytest.raises(ValueError, match="mmx"):
        _native.ThreadPool(1, "mmx")


@pytest.mark.skipif(sys.platform != "linux", reason="limits addresses as Linux does")
def test_threads_that_cannot_be_had_are_an_error() -> None:
    # Each thread wants eight MiB of addresses for its stack.
    script = """
import resource
from pocketlm import _native
resource.setrlimit(resource.RLIMIT_STACK, (8 << 20, 8 << 20))
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
try:
    _native.ThreadPool(1024)
except MemoryError as error:
    print("refused:", error)
assert _native.ThreadPool(2).threads == 2
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("refused:")


def test_matrix_arguments_are_checked() -> None:
    pool = _native.ThreadPool(1)
    weight = matrix(5, 8, pool)
    for index in (-1, 5, 2**31 - 1):
        refused(IndexError, weight.row, index)
    refused(TypeError, weight.row, 2**40)
    refused(ValueError, weight.multiply, np.ones((1, 9), np.float32))
    for wrong in (
        None,
        [[1.0] * 8],
        np.ones(8, np.float32),
        np.ones((1, 8), np.float64),
        np.ones((8, 2), np.float32).T,
    ):
        refused(TypeError, weight.multiply, wrong)
    assert weight.multiply(np.ones((0, 8), np.float32)).shape == (0, 5)
    data = np.zeros(160, np.uint8)
    for wrong in (
        None,
        data.reshape(5, 32),
        data.view(np.int8),
        np.zeros(320, np.uint8)[::2],
    ):
        refused(TypeError, _native.Matrix, "F32", 5, 8, wrong, pool)
    refused(TypeError, _native.Matrix, "F32", 5, 8, data, None)
    refused(TypeError, _native.Matrix, "F32", 2**40, 8, data, pool)
    refused(ValueError, _native.Matrix, "F64", 5, 8, data, pool)


def test_a_mapping_stays_alive_while_it_is_used() -> None:
    pool = _native.ThreadPool(1)
    data = np.arange(40, dtype=np.float32)
    weight = _native.Matrix("F32", 5, 8, data.view(np.uint8), pool)
    del data
    junk = [np.full(40, np.nan, np.float32) for _ in range(100)]
    np.testing.assert_array_equal(weight.row(4), np.arange(32, 40, dtype=np.float32))
    assert len(junk) == 100
