"""What the machine allows, as the native module measures it. How fast that is, no test demands."""

import math

import numpy as np
import pytest

from pocketlm import _native


@pytest.mark.parametrize("instruction_set", _native.instruction_sets())
@pytest.mark.parametrize("threads", [1, 3])
def test_integer_rate(instruction_set: str, threads: int) -> None:
    rate = _native.ThreadPool(threads, instruction_set).int8_gmac_s()
    assert math.isfinite(rate)
    assert rate > 0.01


def test_reading_rate() -> None:
    pool = _native.ThreadPool(2)
    data = np.zeros(4096 * 1024 * 34 // 32, np.uint8)
    matrices = [_native.Matrix("Q8_0", 4096, 1024, data, pool) for _ in range(2)]
    rate = pool.read_gb_s(matrices)
    assert math.isfinite(rate)
    assert rate > 0.01
    with pytest.raises(TypeError):
        pool.read_gb_s([None])
