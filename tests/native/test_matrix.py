"""Matrix products of every stored type, in every instruction set, against float64."""

import sys
from pathlib import Path

import gguf
import numpy as np
import pytest

from pocketlm import _native

QUANTISED = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]
FLOATS = ["F32", "F16", "BF16"]


def random_blocks(type_name: str, rows: int, columns: int, seed: int) -> np.ndarray:
    """Random but sane stored bytes: uint8 [rows, row bytes]."""
    rng = np.random.default_rng(seed)
    kind = gguf.GGMLQuantizationType[type_name]
    if type_name in FLOATS:
        values = rng.standard_normal((rows, columns)).astype(np.float32)
        return gguf.quants.quantize(values, kind).view(np.uint8).reshape(rows, -1)
    block, size = gguf.GGML_QUANT_SIZES[kind]
    data = rng.integers(0, 256, (rows, columns // block, size), dtype=np.uint8)
    halves = {"Q4_1": [0, 2], "Q5_1": [0, 2], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
    for at in halves.get(type_name, [0]):
        scales = rng.uniform(0.001, 0.02, (rows, columns // block)).astype(np.float16)
        scales *= rng.choice([-1, 1], scales.shape).astype(np.float16)
        data[:, :, at : at + 2] = scales[..., None].view(np.uint8)
    return data.reshape(rows, -1)


def dequantised(type_name: str, data: np.ndarray) -> np.ndarray:
    return gguf.quants.dequantize(data, gguf.GGMLQuantizationType[type_name])


@pytest.mark.parametrize("instruction_set", _native.instruction_sets())
@pytest.mark.parametrize("type_name", FLOATS + QUANTISED)
def test_product_matches_float64(type_name: str, instruction_set: str) -> None:
    pool = _native.ThreadPool(2, instruction_set)
    rng = np.random.default_rng(1)
    for rows, columns, count in [(16, 256, 1), (33, 512, 7), (48, 768, 37)]:
        data = random_blocks(type_name, rows, columns, seed=rows)
        weights = dequantised(type_name, data)
        matrix = _native.Matrix(type_name, rows, columns, data.reshape(-1), pool)
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
        header = {"Q4_1": 4, "Q5_1": 4, "Q4_K": 16, "Q5_K": 16, "Q6_K": 0}.get(type_name, 2)
        end = 192 if type_name == "Q6_K" else size
        blocks[:, :, header:end] = byte
        weights = dequantised(type_name, data)
        matrix = _native.Matrix(type_name, 16, 256, data.reshape(-1), pool)
        for sign in (1.0, -1.0):
            x = np.full((1, 256), sign, np.float32)
            expected = x.astype(np.float64) @ weights.astype(np.float64).T
            np.testing.assert_allclose(matrix.multiply(x), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("type_name", FLOATS + QUANTISED)
def test_threads_and_batches_change_nothing(type_name: str) -> None:
    data = random_blocks(type_name, 80, 512, seed=5)
    x = np.random.default_rng(2).standard_normal((23, 512)).astype(np.float32)
    for instruction_set in _native.instruction_sets():
        results = []
        for threads in (1, 2, 3):
            pool = _native.ThreadPool(threads, instruction_set)
            matrix = _native.Matrix(type_name, 80, 512, data.reshape(-1), pool)
            results.append(matrix.multiply(x))
            results.append(np.concatenate([matrix.multiply(x[i : i + 1]) for i in range(23)]))
        for result in results[1:]:
            np.testing.assert_array_equal(result, results[0])


@pytest.mark.parametrize("type_name", FLOATS + QUANTISED)
def test_numbers_that_are_not_finite_are_refused(type_name: str) -> None:
    pool = _native.ThreadPool(2)
    data = random_blocks(type_name, 32, 256, seed=7)
    half = {"F32": b"\x00\x00\x80\x7f", "BF16": b"\x80\x7f"}.get(type_name, b"\x00\x7c")
    at = 208 if type_name == "Q6_K" else 0
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
    with pytest.raises(ValueError, match="IQ4_XS"):
        _native.Matrix("IQ4_XS", 16, 32, data, pool)


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
