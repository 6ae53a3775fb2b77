"""Rows of stored tensors as float32, and float32 as the types that float files have.

It knows element types; the native code computes. It does not know files or models.
"""

from math import prod

import numpy as np
import numpy.typing as npt

from pocketlm import _native
from pocketlm.errors import ModelFileError
from pocketlm.formats import checked
from pocketlm.formats.checkpoint import (
    ELEMENT_TYPES,
    PANEL_BITS,
    PANEL_ROWS,
    Tensor,
    panel_bytes,
)

Floats = npt.NDArray[np.float32]

#: Bytes of a number, by the types that `from_floats` makes.
FLOAT_BYTES = {"F32": 4, "F16": 2, "BF16": 2}


def matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """A tensor's rows and columns; a vector is one row."""
    return prod(shape[:-1]), shape[-1]


def to_floats(pool: _native.ThreadPool, tensor: Tensor, start: int, stop: int) -> Floats:
    """Rows of a tensor (a vector is one row): float32 [stop - start, columns].

    Raises ModelFileError for numbers that are not finite.
    """
    if tensor.type in PANEL_BITS:
        values = _panels(pool, tensor, start, stop)
    else:
        values = _rows(pool, tensor, start, stop)
    if not np.isfinite(values).all():
        raise ModelFileError(
            f"tensor {checked.shown(tensor.name)} holds values that are not finite"
        )
    return values


def _rows(pool: _native.ThreadPool, tensor: Tensor, start: int, stop: int) -> Floats:
    block, block_bytes = ELEMENT_TYPES[tensor.type]
    columns = tensor.shape[-1]
    row_bytes = columns // block * block_bytes
    data = tensor.data[start * row_bytes : stop * row_bytes]
    if tensor.type == "Q5_1":  # which nobody writes any more, nor does the native code
        return _q5_1(data, stop - start, columns)
    return _native.dequantise(pool, tensor.type, data, stop - start, columns)


def _panels(pool: _native.ThreadPool, tensor: Tensor, start: int, stop: int) -> Floats:
    """Rows of a matrix in panels: those panels that hold them, as the runtime reads them."""
    rows, columns = tensor.shape
    first, last = start // PANEL_ROWS, -(-stop // PANEL_ROWS)
    size = panel_bytes(tensor.type, columns)
    held = min(last * PANEL_ROWS, rows) - first * PANEL_ROWS
    data = tensor.data.reshape(-1)[first * size : last * size]
    try:
        matrix = _native.Matrix(tensor.type, held, columns, data, pool)
    except ValueError as error:
        raise ModelFileError(f"tensor {checked.shown(tensor.name)}: {error}") from None
    before = first * PANEL_ROWS
    return np.stack([matrix.row(row - before) for row in range(start, stop)])


def _q5_1(data: npt.NDArray[np.uint8], rows: int, columns: int) -> Floats:
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    with np.errstate(all="ignore"):
        values: Floats = dequantize(data.reshape(rows, -1), GGMLQuantizationType.Q5_1)
    return values.reshape(rows, columns)


def from_floats(
    pool: _native.ThreadPool, values: Floats, type_: str, name: str
) -> npt.NDArray[np.uint8]:
    """The numbers as `type_` (F32, F16, BF16), each rounded to the nearest: their bytes.

    Raises ModelFileError for a number that is too large for the type; `name` is the tensor's.
    """
    try:
        return _native.quantise(pool, type_, values)
    except ValueError:
        raise ModelFileError(
            f"tensor {checked.shown(name)} has a number too large for {type_.lower()};"
            " use a wider --dtype"
        ) from None
