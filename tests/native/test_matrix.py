"""Matrix products of every stored type, in every instruction set, against float64."""

import sys
from pathlib import Path

import gguf
import numpy as np
import pytest

from pocketlm import _native

FLOATS = ["F32", "F16", "BF16"]
QUANTISED = [
    *("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"),
]
#: Stored as panels of 16 rows: bytes of 32 columns of a row before it goes into one.
PANELS = {"P3": 13, "P4": 17, "P5": 21, "P6": 25}
#: Where blocks have float16 numbers, if not at their beginning alone.
HALVES = {
    "Q4_1": [0, 2],
    "Q5_1": [0, 2],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
    "Q3_K": [108],
}
POOL = _native.ThreadPool(2)


def random_blocks(type_name: str, rows: int, columns: int, seed: int) -> np.ndarray:
    """Random but sane stored bytes: uint8 [rows, row bytes]."""
    rng = np.random.default_rng(seed)
    kind = gguf.GGMLQuantizationType[type_name]
    if type_name in FLOATS:
        values = rng.standard_normal((rows, columns)).astype(np.float32)
        return gguf.quants.quantize(values, kind).view(np.uint8).reshape(rows, -1)
    block, size = gguf.GGML_QUANT_SIZES[kind]
    data = rng.integers(0, 256, (rows, columns // block, size), dtype=np.uint8)
    for at in HALVES.get(type_name, [0]):
        scales = rng.uniform(0.001, 0.02, (rows, columns // block)).astype(np.float16)
        scales *= rng.choice([-1, 1], scales.shape).astype(np.float16)
        data[:, :, at : at + 2] = scales[..., None].view(np.uint8)
    return data.reshape(rows, -1)


def dequantised(type_name: str, data: np.ndarray) -> np.ndarray:
    if type_name in PANELS:
        columns = 32 * ((data.shape[1] - 4) // PANELS[type_name])
        return _native.dequantise(POOL, type_name, data.reshape(-1), len(data), columns)
    return gguf.quants.dequantize(data, gguf.GGMLQuantizationType[type_name])


def random_weights(
    type_name: str, rows: int, columns: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """What a file stores, uint8 [bytes], and what it means, float32 [rows, columns]."""
    if type_name not in PANELS:
        data = random_blocks(type_name, rows, columns, seed)
        return data.reshape(-1), dequantised(type_name, data)
    weights = np.random.default_rng(seed).laplace(size=(rows, columns)).astype(np.float32)
    data = _native.quantise(POOL, type_name, weights)
    panels = _native.interleave(POOL, type_name, data.reshape(-1), rows, columns)
    return panels.reshape(-1), dequantised(type_name, data)


@pytest.mark.parametrize("instruction_set", _native.instruction_sets())
@pytest.mark.parametrize("type_name", [*FLOATS, *QUANTISED, *PANELS])
def test_product_matches_float64(type_name: str, instruction_set: str) -> None:
    pool = _native.ThreadPool(2, instruction_set)
    rng = np.random.default_rng(1)
    for rows, columns, count in [(16, 256, 1), (33, 512, 7), (48, 768, 37)]:
        data, weights = random_weights(type_name, rows, columns, seed=rows)
        matrix = _native.Matrix(type_name, rows, columns, data, pool)
        x = rng.standard_normal((count, columns)).astype(np.float32)
        got = matrix.multiply(x)
        expected = x.astype(np.float64) @ weights.astype(np.float64).T
        error = np.linalg.norm(got - expected) / np.linalg.norm(expected)
        # What is left is the activations' 8 bits.
        assert error < (1e-5 if type_name in FLOATS else 1e-2)
        for index in range(rows):
            np.testing.assert_allclose(matrix.row(index), weights[index], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("instruction_set", _native.instruction_sets())
@pytest.mark.parametrize("type_name", QUANTISED)
def test_extreme_quants_do_not_overflow(type_name: str, instruction_set: str) -> None:
    pool = _native.ThreadPool(1, instruction_set)
    for byte in (0x00, 0xFF, 0x7F, 0x80):
        data = random_blocks(type_name, 16, 256, seed=3)
        kind = gguf.GGMLQuantizationType[type_name]
        block, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = data.reshape(16, 256 // block, size)
        header = {"Q4_1": 4, "Q5_1": 4, "Q4_K": 16, "Q5_K": 16, "Q6_K": 0, "Q3_K": 0, "IQ4_XS": 8}
        end = {"Q6_K": 192, "Q3_K": 96}.get(type_name, size)
        blocks[:, :, header.get(type_name, 2) : end] = byte
        weights = dequantised(type_name, data)
        matrix = _native.Matrix(type_name, 16, 256, data.reshape(-1), pool)
        for sign in (1.0, -1.0):
            x = np.full((1, 256), sign, np.float32)
            expected = x.astype(np.float64) @ weights.astype(np.float64).T
            np.testing.assert_allclose(matrix.multiply(x), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("instruction_set", _native.instruction_sets())
@pytest.mark.parametrize("index", [0, -1])
@pytest.mark.parametrize("type_name", PANELS)
def test_extreme_indices_do_not_overflow(type_name: str, index: int, instruction_set: str) -> None:
    """The lowest or the highest index everywhere, under the first and the last scale of a row."""
    highest = {"P3": 15.5, "P4": 31.5, "P5": 15.5, "P6": 31.5}[type_name]
    base, step = np.float16([0.01, -0.002])
    head = np.array([base, step]).view(np.uint8)
    block = np.full(PANELS[type_name], index & 0xFF, np.uint8)
    for code in (0, 15):
        block[0] = code
        rows = np.tile(np.concatenate([head, np.tile(block, 512 // 32)]), (16, 1))
        number = -highest if index == 0 else highest
        expected_weight = (float(base) + code * float(step)) * number
        np.testing.assert_allclose(dequantised(type_name, rows), expected_weight, rtol=1e-6)
        panels = _native.interleave(POOL, type_name, rows.reshape(-1), 16, 512)
        pool = _native.ThreadPool(1, instruction_set)
        matrix = _native.Matrix(type_name, 16, 512, panels.reshape(-1), pool)
        for sign in (1.0, -1.0):
            for count in (1, 16):
                got = matrix.multiply(np.full((count, 512), sign, np.float32))
                np.testing.assert_allclose(got, sign * 512 * expected_weight, rtol=1e-5)


@pytest.mark.parametrize("type_name", PANELS)
def test_panels_that_are_not_whole_or_not_finite_are_refused(type_name: str) -> None:
    data, _ = random_weights(type_name, 20, 288, seed=4)
    _native.Matrix(type_name, 20, 288, data, POOL)
    # As many panels hold as many rows as there are, or fewer in the last.
    for rows, columns, end in [
        (20, 288, len(data) - 1),
        (20, 288, len(data) // 2),
        (20, 256, None),
        (20, 280, None),
        (16, 288, None),
        (33, 288, None),
        (0, 288, 0),
    ]:
        with pytest.raises(ValueError, match=r"."):
            _native.Matrix(type_name, rows, columns, data[:end], POOL)
    panel = len(data) // 2
    for at in range(0, 64, 2):
        for high in (0x7C, 0xFC, 0x7E):
            for start in (0, panel):
                broken = data.copy()
                broken[start + at + 1] = high
                with pytest.raises(ValueError, match="not finite"):
                    _native.Matrix(type_name, 20, 288, broken, POOL)


@pytest.mark.parametrize("type_name", PANELS)
def test_any_bytes_as_panels_are_numbers(type_name: str) -> None:
    rng = np.random.default_rng(8)
    data, _ = random_weights(type_name, 40, 544, seed=6)
    heads = rng.integers(0, 0x7C00, (3, 32)).astype(np.uint16)
    heads |= rng.integers(0, 2, heads.shape).astype(np.uint16) << 15
    for instruction_set in _native.instruction_sets():
        pool = _native.ThreadPool(2, instruction_set)
        panels = rng.integers(0, 256, (3, len(data) // 3), dtype=np.uint8)
        panels[:, :64] = heads.view(np.uint8)
        matrix = _native.Matrix(type_name, 40, 544, panels.reshape(-1), pool)
        weights = np.stack([matrix.row(index) for index in range(40)]).astype(np.float64)
        assert np.isfinite(weights).all()
        x = rng.standard_normal((5, 544)).astype(np.float32)
        expected = x.astype(np.float64) @ weights.T
        size = np.abs(x.astype(np.float64)) @ np.abs(weights).T
        assert (np.abs(matrix.multiply(x) - expected) <= 0.02 * size).all()


@pytest.mark.parametrize("type_name", [*FLOATS, *QUANTISED, *PANELS])
def test_threads_and_batches_change_nothing(type_name: str) -> None:
    data, _ = random_weights(type_name, 80, 512, seed=5)
    x = np.random.default_rng(2).standard_normal((23, 512)).astype(np.float32)
    for instruction_set in _native.instruction_sets():
        results = []
        for threads in (1, 2, 3):
            pool = _native.ThreadPool(threads, instruction_set)
            matrix = _native.Matrix(type_name, 80, 512, data, pool)
            results.append(matrix.multiply(x))
            results.append(np.concatenate([matrix.multiply(x[i : i + 1]) for i in range(23)]))
        for result in results[1:]:
            np.testing.assert_array_equal(result, results[0])


@pytest.mark.parametrize("type_name", FLOATS + QUANTISED)
def test_numbers_that_are_not_finite_are_refused(type_name: str) -> None:
    pool = _native.ThreadPool(2)
    data = random_blocks(type_name, 32, 256, seed=7)
    half = {"F32": b"\x00\x00\x80\x7f", "BF16": b"\x80\x7f"}.get(type_name, b"\x00\x7c")
    at = HALVES.get(type_name, [0])[-1]
    data[31, at : at + len(half)] = np.frombuffer(half, np.uint8)
    with pytest.raises(ValueError, match="not finite"):
        _native.Matrix(type_name, 32, 256, data.reshape(-1), pool)


def test_sizes_that_do_not_fit_are_refused() -> None:
    pool = _native.ThreadPool(1)
    data = np.zeros(18 * 16, np.uint8)
    for rows, columns, size in [
        (16, 32, 287),
        (16, 33, 288),
        (0, 32, 0),
        (-1, 32, 288),
        (1 << 30, 32, 288),
        (16, 1 << 30, 288),
    ]:
        with pytest.raises(ValueError, match=r"."):
            _native.Matrix("Q4_0", rows, columns, data[:size], pool)
    with pytest.raises(ValueError, match="IQ2_XS"):
        _native.Matrix("IQ2_XS", 16, 32, data, pool)


def test_released_pages_of_a_mapping_are_read_again(tmp_path: Path) -> None:
    pool = _native.ThreadPool(2)
    data = random_blocks("Q4_0", 512, 4096, seed=9)
    (tmp_path / "weights").write_bytes(data.tobytes())
    mapping = np.memmap(tmp_path / "weights", np.uint8, "r")
    matrix = _native.Matrix("Q4_0", 512, 4096, mapping, pool, release=True)
    assert (mapping == data.reshape(-1)).all()
    expected = dequantised("Q4_0", data)
    for index in (0, 255, 511):
        np.testing.assert_allclose(matrix.row(index), expected[index], rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much memory there is")
def test_a_matrix_gives_its_memory_back_though_others_stay() -> None:
    """All lie in few allocations: each must go by itself."""

    def resident_mib() -> float:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("RssAnon:")[2].split()[0]) / 1024

    pool = _native.ThreadPool(1)
    rows, columns = 4096, 8192
    data = np.zeros(rows * columns // 32 * 34, dtype=np.uint8)
    matrices = [_native.Matrix("Q8_0", n, columns, data[: n * 8704], pool) for n in (16, rows, 16)]
    before = resident_mib()
    del matrices[1]
    assert before - resident_mib() > 30
    x = np.ones((1, columns), dtype=np.float32)
    assert not any(matrix.multiply(x).any() for matrix in matrices)
