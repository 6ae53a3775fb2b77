"""Rows in the block formats of GGUF files: what they mean, how much they lose, what is refused."""

from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pocketlm import _native

FLOATS = ["F32", "F16", "BF16"]
QUANTISED = [
    *("Q4_0", "Q4_1", "Q5_0", "Q8_0", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"),
]
#: Types of this project, whose blocks share two float16 numbers at the beginning of their row.
OWN = ["P3", "P4", "P5", "P6"]
POOL = _native.ThreadPool(2)


def weights_of(kind: str, rows: int = 24, columns: int = 512, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    drawn = rng.standard_normal if kind == "normal" else rng.laplace
    return (drawn(size=(rows, columns)) * 0.02).astype(np.float32)


def importance_of(columns: int = 512) -> np.ndarray:
    return np.random.default_rng(2).lognormal(0, 1, columns).astype(np.float32)


def dequantised(type_name: str, data: np.ndarray) -> np.ndarray:
    """By gguf-py, which shares no code with ours, where it knows the type."""
    if type_name in OWN:
        columns = 32 * ((data.shape[1] - 4) // {"P3": 13, "P4": 17, "P5": 21, "P6": 25}[type_name])
        return _native.dequantise(POOL, type_name, data.reshape(-1), len(data), columns)
    with np.errstate(over="ignore", invalid="ignore"):
        return gguf.quants.dequantize(data, gguf.GGMLQuantizationType[type_name])


def with_feedback(
    pool: _native.ThreadPool,
    type_name: str,
    weights: np.ndarray,
    importance: np.ndarray | None,
    factor: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Whole rows at once: their bytes as `quantise` gives them, and the errors."""
    shared = _native.fit_rows(pool, type_name, weights, importance)
    data, errors = _native.quantise_columns(pool, type_name, weights, importance, factor, shared)
    return np.concatenate([shared.astype(np.float16).view(np.uint8), data], axis=1), errors


def columns_in_block(type_name: str) -> int:
    return gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[type_name]][0]


def squares(difference: np.ndarray, importance: np.ndarray | float = 1.0) -> float:
    return float((difference.astype(np.float64) ** 2 * importance).sum())


def as_bytes(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1).view(np.uint8)


@pytest.mark.parametrize("type_name", FLOATS + QUANTISED)
def test_rows_mean_the_same_to_gguf(type_name: str) -> None:
    for rows, columns in [(1, 256), (7, 768), (33, 512)]:
        weights = weights_of("laplace", rows, columns)
        weights[rows // 2] *= 1e-5  # scales below float16's normal numbers
        data = _native.quantise(POOL, type_name, weights)
        kind = gguf.GGMLQuantizationType[type_name]
        assert data.shape == gguf.quants.quant_shape_to_byte_shape((rows, columns), kind)
        got = _native.dequantise(POOL, type_name, data.reshape(-1), rows, columns)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, dequantised(type_name, data))


@pytest.mark.parametrize("type_name", QUANTISED)
def test_any_stored_bytes_mean_the_same_to_gguf(type_name: str) -> None:
    size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[type_name]][1]
    data = np.random.default_rng(3).integers(0, 256, (9, 2 * size), dtype=np.uint8)
    columns = 2 * columns_in_block(type_name)
    got = _native.dequantise(POOL, type_name, data.reshape(-1), 9, columns)
    np.testing.assert_array_equal(got, dequantised(type_name, data))


def test_floats_round_to_nearest_even() -> None:
    bits = np.random.default_rng(4).integers(0, 2**32, (64, 512), dtype=np.uint32)
    weights = bits.view(np.float32)
    # Ties of both types among them, and magnitudes that float16 holds.
    weights[32:] = (bits[32:] & 0x87FFF000 | 0x38000000).view(np.float32)
    weights[~(np.abs(weights) < 3.3e38)] = 0
    assert np.array_equal(as_bytes(_native.quantise(POOL, "F32", weights)), as_bytes(weights))
    rounded = _native.quantise(POOL, "BF16", weights)
    np.testing.assert_array_equal(
        rounded, gguf.quants.quantize(weights, gguf.GGMLQuantizationType.BF16)
    )
    weights[np.abs(weights) > 65519] = 65519
    halves = _native.quantise(POOL, "F16", weights)
    np.testing.assert_array_equal(halves, weights.astype(np.float16).view(np.uint8))


@pytest.mark.parametrize("kind", ["normal", "laplace"])
@pytest.mark.parametrize("type_name", ["Q4_0", "Q4_1", "Q5_0", "Q8_0"])
def test_no_block_is_worse_than_by_its_largest_weight(type_name: str, kind: str) -> None:
    weights = weights_of(kind)
    plain = gguf.quants.quantize(weights, gguf.GGMLQuantizationType[type_name])
    ours = _native.quantise(POOL, type_name, weights)
    errors = [
        ((dequantised(type_name, data).astype(np.float64) - weights) ** 2)
        .reshape(-1, 32)
        .sum(axis=1)
        for data in (ours, plain)
    ]
    assert (errors[0] <= errors[1] * (1 + 1e-4)).all()
    assert errors[0].sum() < 0.93 * errors[1].sum()


def by_extremes(weights: np.ndarray, group: int, low: int, high: int) -> np.ndarray:
    """Rounding with a scale in float32 that puts each group's largest weight at its last level."""
    x = weights.astype(np.float64).reshape(-1, group)
    at = np.abs(x).argmax(axis=1)[:, None]
    scale = np.take_along_axis(x, at, axis=1) / low
    return (np.clip(np.rint(x / scale), low, high) * scale).reshape(weights.shape)


def by_range(weights: np.ndarray, high: int) -> np.ndarray:
    """Rounding with a scale and minimum in float32 that cover each group of 32."""
    x = weights.astype(np.float64).reshape(-1, 32)
    low = x.min(axis=1)[:, None]
    scale = (x.max(axis=1)[:, None] - low) / high
    return (np.rint((x - low) / scale) * scale + low).reshape(weights.shape)


@pytest.mark.parametrize("kind", ["normal", "laplace"])
@pytest.mark.parametrize("type_name", ["Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"])
def test_searched_scales_lose_less_than_plain_ones_before_encoding(
    type_name: str, kind: str
) -> None:
    weights = weights_of(kind)
    plain = {
        "Q3_K": by_extremes(weights, 16, -4, 3),
        "Q4_K": by_range(weights, 15),
        "Q5_K": by_range(weights, 31),
        "Q6_K": by_extremes(weights, 16, -32, 31),
        "IQ4_NL": by_extremes(weights, 32, -8, 7),
        "IQ4_XS": by_extremes(weights, 32, -8, 7),
    }[type_name]
    got = dequantised(type_name, _native.quantise(POOL, type_name, weights))
    assert squares(got - weights) < 0.95 * squares(plain - weights)


@pytest.mark.parametrize("type_name", QUANTISED)
def test_importance_lowers_the_weighted_error(type_name: str) -> None:
    weights, importance = weights_of("laplace"), importance_of()
    equal = dequantised(type_name, _native.quantise(POOL, type_name, weights))
    data = _native.quantise(POOL, type_name, weights, importance)
    weighted = dequantised(type_name, data)
    assert squares(weighted - weights, importance) < 0.97 * squares(equal - weights, importance)
    # Only its proportions count.
    for factor in (2.0**-100, 2.0**90):
        again = _native.quantise(POOL, type_name, weights, importance * np.float32(factor))
        np.testing.assert_array_equal(data, again)


@pytest.mark.parametrize("type_name", QUANTISED + OWN)
def test_threads_change_nothing(type_name: str) -> None:
    weights, importance = weights_of("normal", rows=41), importance_of()
    factor = correlated(512)[1]
    results = []
    for threads in (1, 3):
        pool = _native.ThreadPool(threads)
        plain = _native.quantise(pool, type_name, weights, importance)
        results.append((plain, *with_feedback(pool, type_name, weights, importance, factor)))
    for one, three in zip(*results, strict=True):
        np.testing.assert_array_equal(one, three)


def odd_rows() -> np.ndarray:
    rows = np.zeros((14, 256), np.float32)
    ramp = np.linspace(-1, 1, 256, dtype=np.float32)
    for i, size in enumerate((1e38, 1e10, 1e-7, 1e-20, 1e-42)):
        rows[1 + i] = ramp * np.float32(size)
    rows[6], rows[7] = 5.0, -5.0
    rows[8] = 3.4e38
    rows[9, 17] = 1e30  # alone
    rows[10] = 1e-3
    rows[10, 200] = 1e30
    rows[11] = 100 + 0.01 * ramp
    rows[12] = np.exp2(np.linspace(-140, 120, 256))
    rows[13] = np.float32(1e-45)
    return rows


@pytest.mark.parametrize("type_name", QUANTISED + OWN)
def test_odd_rows_survive(type_name: str) -> None:
    rows = odd_rows()
    for importance in (None, np.zeros(256, np.float32), np.eye(1, 256, 3, dtype=np.float32)[0]):
        data = _native.quantise(POOL, type_name, rows, importance)
        got = dequantised(type_name, data)
        assert np.isfinite(got).all()
        assert (got[0] == 0).all()
        if importance is None or not importance.any():
            # Never worse than to write zeros, whatever the size.
            assert all(squares(g - x) <= squares(x) * 1.001 for g, x in zip(got, rows, strict=True))
            for constant in (6, 7):
                np.testing.assert_allclose(got[constant], rows[constant], rtol=0.01)


@settings(max_examples=200, deadline=None)
@given(
    type_name=st.sampled_from(FLOATS + QUANTISED + OWN),
    weights=hnp.arrays(np.float32, (2, 256), elements=st.floats(-(2.0**127), 2.0**127, width=32))
    | hnp.arrays(np.float32, (2, 256), elements=st.floats(width=32)),
    importance=st.none()
    | hnp.arrays(np.float32, 256, elements=st.floats(width=32, min_value=0, allow_infinity=False)),
)
def test_any_weights_are_rounded_or_refused(
    type_name: str, weights: np.ndarray, importance: np.ndarray | None
) -> None:
    largest = {"F16": 65519.0, "BF16": 3.3895e38}.get(type_name, np.inf)
    if not np.isfinite(weights).all() or np.abs(weights).max() > largest:
        with pytest.raises(ValueError, match="cannot hold"):
            _native.quantise(POOL, type_name, weights, importance)
        return
    data = _native.quantise(POOL, type_name, weights, importance)
    got = _native.dequantise(POOL, type_name, data.reshape(-1), 2, 256)
    assert np.isfinite(got).all()
    np.testing.assert_array_equal(got, dequantised(type_name, data))


def correlated(n: int) -> tuple[np.ndarray, np.ndarray]:
    """H of activations that depend on each other, and the upper factor of its inverse."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((2 * n, n)) @ (np.eye(n) + rng.standard_normal((n, n)) / n**0.5)
    h = x.T @ x / len(x)
    h += 0.01 * np.diag(h).mean() * np.eye(n)
    return h, np.ascontiguousarray(np.linalg.cholesky(np.linalg.inv(h)).T, np.float32)


def by_columns(
    type_name: str, weights: np.ndarray, importance: np.ndarray, factor: np.ndarray, width: int
) -> np.ndarray:
    """A whole matrix with error feedback, `width` columns at a time."""
    left = weights.copy()
    shared = _native.fit_rows(POOL, type_name, weights, importance)
    parts = [shared.astype(np.float16).view(np.uint8)]
    for at in range(0, weights.shape[1], width):
        these, rest = slice(at, at + width), slice(at + width, None)
        part = np.ascontiguousarray(left[:, these])
        square = np.ascontiguousarray(factor[these, these])
        data, errors = _native.quantise_columns(
            POOL, type_name, part, importance[these], square, shared
        )
        left[:, rest] -= errors @ factor[these, rest]
        parts.append(data)
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("type_name", QUANTISED + OWN)
def test_feedback_lowers_the_error_of_products(type_name: str) -> None:
    weights = weights_of("normal")
    h, factor = correlated(512)
    importance = np.diag(h).astype(np.float32)

    def loss(data: np.ndarray) -> float:
        off = dequantised(type_name, data).astype(np.float64) - weights
        return float(np.einsum("ij,jk,ik->", off, h, off))

    rounded = loss(_native.quantise(POOL, type_name, weights, importance))
    for width in (256, 512):
        assert loss(by_columns(type_name, weights, importance, factor, width)) < 0.7 * rounded


@pytest.mark.parametrize("type_name", QUANTISED + OWN)
def test_what_feedback_returns_adds_up(type_name: str) -> None:
    weights, importance = weights_of("laplace", rows=11), importance_of()
    factor = correlated(512)[1]
    data, errors = with_feedback(POOL, type_name, weights, importance, factor)
    # Each weight is its value, its own error and what it took from columns before.
    rebuilt = dequantised(type_name, data) + errors.astype(np.float64) @ np.triu(factor)
    np.testing.assert_allclose(rebuilt, weights, rtol=0, atol=1e-5 * np.abs(weights).max())
    below = factor.copy()
    below[np.tril_indices(512, -1)] = np.nan
    for again, first in zip(
        with_feedback(POOL, type_name, weights, importance, below),
        (data, errors),
        strict=True,
    ):
        np.testing.assert_array_equal(again, first)


@pytest.mark.parametrize("type_name", QUANTISED + OWN)
def test_without_feedback_it_is_plain_rounding(type_name: str) -> None:
    weights, importance = weights_of("laplace", rows=11), importance_of()
    for given_importance in (None, importance):
        plain = _native.quantise(POOL, type_name, weights, given_importance)
        data, errors = with_feedback(
            POOL, type_name, weights, given_importance, np.eye(512, dtype=np.float32)
        )
        values = dequantised(type_name, data)
        np.testing.assert_array_equal(errors, weights - values)
        if type_name in ("Q4_0", "IQ4_NL", *OWN):
            # Scales on either side of the fitted one are tried: what is left is not more.
            assert squares(errors) <= squares(weights - dequantised(type_name, plain))
        else:
            np.testing.assert_array_equal(data, plain)
    shared = _native.fit_rows(POOL, type_name, weights, importance)
    assert shared.shape == (11, 2 if type_name in OWN else 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused_by_row(bad: float) -> None:
    weights = weights_of("normal")
    weights[[20, 13], [511, 300]] = bad
    for type_name in FLOATS + QUANTISED + OWN:
        with pytest.raises(ValueError, match=rf"row 13 .* {type_name} cannot hold"):
            _native.quantise(POOL, type_name, weights)
    with pytest.raises(ValueError, match=r"row 13 .* not finite"):
        _native.quantise_columns(POOL, "Q4_0", weights, None, np.eye(512, dtype=np.float32))
    with pytest.raises(ValueError, match=r"row 13 .* not finite"):
        _native.fit_rows(POOL, "Q4_0", weights)


def test_floats_too_large_for_16_bits_are_refused() -> None:
    for type_name, size in [("F16", 65520.0), ("BF16", 3.4e38)]:
        weights = np.zeros((3, 4), np.float32)
        weights[1, 2] = -size
        with pytest.raises(ValueError, match=r"row 1 .* too large"):
            _native.quantise(POOL, type_name, weights)


def test_feedback_that_runs_away_is_refused() -> None:
    factor = np.triu(np.full((256, 256), 1e30, np.float32))
    np.fill_diagonal(factor, 1e-30)
    for type_name in QUANTISED:
        with pytest.raises(ValueError, match="became so by feedback"):
            _native.quantise_columns(POOL, type_name, weights_of("normal", 3, 256), None, factor)


def test_what_does_not_fit_is_refused() -> None:
    weights = weights_of("normal", 2, 256)
    eye = np.eye(256, dtype=np.float32)

    def refused(message: str, function: Any, *arguments: Any) -> None:
        with pytest.raises(ValueError, match=message):
            function(POOL, *arguments)

    for unknown in ("", "q4_k", "Q2_K", "IQ4"):
        refused("no weights can be written as type", _native.quantise, unknown, weights)
        refused("no weights", _native.dequantise, unknown, as_bytes(weights), 2, 256)
        refused("no weights", _native.quantise_columns, unknown, weights, None, eye)
    part = np.ascontiguousarray(weights[:, :96])
    refused("blocks of 256 columns", _native.quantise, "Q4_K", part)
    refused("blocks of 32 columns", _native.quantise, "Q4_0", np.ascontiguousarray(part[:, :33]))
    for shape in ((0, 256), (2, 0)):
        refused("out of range", _native.quantise, "Q4_0", np.zeros(shape, np.float32))
    refused("differ in columns", _native.quantise, "Q4_0", weights, np.ones(255, np.float32))
    for wrong in (-1.0, np.nan, np.inf):
        importance = np.ones(256, np.float32)
        importance[7] = wrong
        refused("importance of column 7", _native.quantise, "Q4_0", weights, importance)
    columns = _native.quantise_columns
    refused("takes no error feedback", columns, "F16", weights, None, eye)
    refused("differ in columns", columns, "Q4_0", weights, None, eye[:, :128].copy())
    refused("shared is not", columns, "Q4_0", weights, None, eye, np.ones((2, 1), np.float32))
    refused("shared is not", columns, "P4", weights, None, eye)
    refused("shared is not", columns, "P4", weights, None, eye, np.ones((1, 2), np.float32))
    wide = np.ones((1, 1280), np.float32)
    refused("1024 columns", columns, "Q4_K", wide, None, np.eye(1280, dtype=np.float32))
    for at, wrong in [((3, 3), 0.0), ((3, 3), -1.0), ((3, 9), np.nan), ((3, 9), np.inf)]:
        factor = eye.copy()
        factor[at] = wrong
        refused("row 3 of the factor", columns, "Q4_0", weights, None, factor)
    data = _native.quantise(POOL, "Q4_0", weights).reshape(-1)
    for rows, width in [(3, 256), (2, 224), (0, 256), (-2, 256), (2, -256), (2**31 - 1, 32)]:
        refused("data is not|range", _native.dequantise, "Q4_0", data, rows, width)
    refused("data is not", _native.dequantise, "Q4_0", data[:-1].copy(), 2, 256)
    for other in (weights.astype(np.float64), np.asfortranarray(weights), weights[:, ::2]):
        with pytest.raises(TypeError):
            _native.quantise(POOL, "Q4_0", other)
