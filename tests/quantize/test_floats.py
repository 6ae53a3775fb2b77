"""Stored rows as float32, any stretch of them, and float32 as the types of float files."""

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize

from pocketlm import _native
from pocketlm.errors import ModelFileError
from pocketlm.formats.checkpoint import ELEMENT_TYPES, PANEL_BITS, Tensor
from pocketlm.quantize.floats import from_floats, to_floats

POOL = _native.ThreadPool(2)
ROWS, COLUMNS = 40, 512
VALUES = np.random.default_rng(0).standard_normal((ROWS, COLUMNS)).astype("f4")
STRETCHES = ((0, ROWS), (0, 1), (5, 37), (16, 32), (39, 40))


@pytest.mark.parametrize("name", ELEMENT_TYPES)
def test_any_stretch_of_rows(name: str) -> None:
    kind = GGMLQuantizationType[name]
    if name == "Q5_1":
        data = quantize(VALUES, kind).reshape(-1)
    else:
        data = _native.quantise(POOL, name, VALUES).reshape(-1)
    tensor = Tensor("x", name, VALUES.shape, data)
    expected = dequantize(data.reshape(ROWS, -1), kind)
    for start, stop in STRETCHES:
        np.testing.assert_array_equal(to_floats(POOL, tensor, start, stop), expected[start:stop])


@pytest.mark.parametrize("name", PANEL_BITS)
def test_any_stretch_of_panels(name: str) -> None:
    rows = _native.quantise(POOL, name, VALUES).reshape(-1)
    expected = _native.dequantise(POOL, name, rows, ROWS, COLUMNS)
    panels = _native.interleave(POOL, name, rows, ROWS, COLUMNS)
    tensor = Tensor("x", name, VALUES.shape, panels.reshape(-1))
    for start, stop in STRETCHES:
        np.testing.assert_allclose(
            to_floats(POOL, tensor, start, stop), expected[start:stop], atol=1e-6
        )


def test_a_vector_is_one_row() -> None:
    tensor = Tensor("x", "F32", (COLUMNS,), VALUES[0].view(np.uint8))
    np.testing.assert_array_equal(to_floats(POOL, tensor, 0, 1), VALUES[:1])


def test_narrower_types_round_to_the_nearest() -> None:
    values = np.array([[1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-9, -1e-3]], np.float32)
    found = from_floats(POOL, values, "BF16", "x").view(np.uint16).astype(np.uint32) << 16
    # Ties go to the even one.
    np.testing.assert_array_equal(found.view(np.float32)[0][:3], np.float32([1, 1 + 4 * 2**-8, 1]))
    half = from_floats(POOL, values, "F16", "x").view(np.float16)
    np.testing.assert_array_equal(half, values.astype(np.float16))
    with pytest.raises(ModelFileError, match="'x' has a number too large for f16"):
        from_floats(POOL, np.full((1, 4), 7e4, np.float32), "F16", "x")
