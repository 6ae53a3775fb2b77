"""What the machine allows, as the native module measures it."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from pocketlm import _native


@pytest.mark.parametrize("instruction_set", _native.instruction_sets())
def test_a_product_stays_below_the_integer_rate(instruction_set: str) -> None:
    pool = _native.ThreadPool(1, instruction_set)
    data = np.zeros(1024 * 1024 // 32 * 18, np.uint8)
    matrix = _native.Matrix("Q4_0", 1024, 1024, data, pool)
    x = np.ones((64, 1024), np.float32)
    rates = []
    for _ in range(5):
        seconds = timed(lambda: matrix.multiply(x))
        rates.append(1024 * 1024 * 64 / seconds / 1e9)
    limit = max(pool.int8_gmac_s() for _ in range(5))
    assert 0 < min(rates)
    if instruction_set != "portable":  # where the limit is whatever the compiler made of a loop
        assert max(rates) < 1.2 * limit


def test_reading_rate() -> None:
    pool = _native.ThreadPool(2)
    data = np.zeros(4096 * 1024 * 34 // 32, np.uint8)
    matrices = [_native.Matrix("Q8_0", 4096, 1024, data, pool) for _ in range(2)]
    assert pool.read_gb_s(matrices) > 0.1
    with pytest.raises(TypeError):
        pool.read_gb_s([None])


def timed(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start
