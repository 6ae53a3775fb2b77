"""Rounding a matrix to fewer bits: each weight by itself, or with error feedback.

With feedback (GPTQ, arXiv 2210.17323; LDLQ, arXiv 2307.13304), columns are rounded one after the
other, and what one gets wrong is taken from those that follow, as far as their inputs go together
with its own. Levels and scales are the native code's.
"""

import numpy as np
import numpy.typing as npt

from pocketlm import _native
from pocketlm.formats.checkpoint import PANEL_BITS
from pocketlm.quantize.floats import FLOAT_BYTES

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Doubles = npt.NDArray[np.floating]

#: The least that inputs' mean squares are, as a part of their average, so that there is a factor.
_LEAST = 1e-5
#: Columns whose errors go to the others in one product.
_WIDTH = 512


def factor(covariance: Floats) -> Floats:
    """The upper triangular U with Uᵀ U = H⁻¹, float32 [n, n].

    `covariance` is H, the inputs' Xᵀ X, float32 [n, n], times any number.
    """
    turned = covariance[::-1, ::-1].astype(np.float64)
    # A wide matrix's is a quarter of a GiB; whoever made it for this alone is rid of it here.
    del covariance
    mean = float(np.mean(np.diagonal(turned))) or 1.0
    turned[np.diag_indices_from(turned)] += _LEAST * mean
    # H = L Lᵀ with L upper triangular, since rows and columns are reversed; U = L⁻¹.
    _cholesky(turned)
    _invert(turned)
    return turned[::-1, ::-1].astype(np.float32, order="C")


def _cholesky(matrix: Doubles) -> None:
    """Put L of matrix = L Lᵀ into the lower triangle of a matrix, which may be a GiB: in place."""
    n = len(matrix)
    for start in range(0, n, _WIDTH):
        end = min(start + _WIDTH, n)
        corner = np.linalg.cholesky(matrix[start:end, start:end])
        matrix[start:end, start:end] = corner
        below = matrix[end:, start:end] = matrix[end:, start:end] @ np.linalg.inv(corner).T
        for column in range(end, n, _WIDTH):
            rows = below[column - end :]
            matrix[column:, column : column + _WIDTH] -= rows @ rows[:_WIDTH].T


def _invert(lower: Doubles) -> None:
    """Invert a lower triangular matrix, of which the rest is not looked at, in its place."""
    n = len(lower)
    for start in reversed(range(0, n, _WIDTH)):
        end = min(start + _WIDTH, n)
        corner = np.tril(np.linalg.inv(np.tril(lower[start:end, start:end])))
        lower[start:end, start:end] = corner
        lower[start:end, end:] = 0
        # What is behind is inverted already: -inverse @ below @ corner, from the last rows on,
        # since each of these needs those above it as they were.
        lower[end:, start:end] = lower[end:, start:end] @ corner
        for row in reversed(range(end, n, 4 * _WIDTH)):
            last = min(row + 4 * _WIDTH, n)
            known = lower[row:last, end:last]
            lower[row:last, start:end] = -known @ lower[end:last, start:end]


def rounded(
    pool: _native.ThreadPool, type_: str, weights: Floats, importance: Floats | None = None
) -> Bytes:
    """The matrix as `type_`, as a file holds it, each weight by itself: uint8 [nbytes].

    `weights` float32 [rows, columns]; `importance` float32 [columns] weighs the columns' errors.
    """
    return laid_out(pool, type_, _native.quantise(pool, type_, weights, importance), weights.shape)


def with_feedback(pool: _native.ThreadPool, type_: str, weights: Floats, upper: Floats) -> Bytes:
    """The matrix's rows as `type_`, with error feedback by `factor`'s `upper`: uint8 [rows, n]."""
    if type_ in FLOAT_BYTES:  # nothing to feed back
        return _native.quantise(pool, type_, weights, None)
    columns = weights.shape[1]
    # What an error costs once those that follow have taken their part of it.
    importance = (1 / np.diagonal(upper) ** 2).astype(np.float32)
    left = weights.copy()
    shared = _native.fit_rows(pool, type_, left, importance)
    parts = [shared.astype("<f2").view(np.uint8)]
    for first in range(0, columns, _WIDTH):
        these = slice(first, min(first + _WIDTH, columns))
        data, errors = _native.quantise_columns(
            pool,
            type_,
            np.ascontiguousarray(left[:, these]),
            np.ascontiguousarray(importance[these]),
            np.ascontiguousarray(upper[these, these]),
            shared,
        )
        parts.append(data)
        rest = slice(these.stop, columns)
        left[:, rest] -= errors @ upper[these, rest]
    return np.concatenate(parts, axis=1)


def laid_out(pool: _native.ThreadPool, type_: str, rows: Bytes, shape: tuple[int, ...]) -> Bytes:
    """Rows as a file holds them: uint8 [nbytes]."""
    if type_ in PANEL_BITS:
        rows = _native.interleave(pool, type_, rows.reshape(-1), *shape)
    return rows.reshape(-1)


def read_back(pool: _native.ThreadPool, type_: str, rows: Bytes, shape: tuple[int, ...]) -> Floats:
    """What a reader makes of rows: float32 of `shape`."""
    return _native.dequantise(pool, type_, rows.reshape(-1), *shape)
