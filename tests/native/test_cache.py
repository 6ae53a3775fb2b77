"""Cache blocks from Python: references, sizes, and what is refused."""

import gc

import numpy as np
import pytest

from pocketlm import _native


@pytest.mark.parametrize("cache_type", ["f32", "f16", "q8", "q4", "q8/q4"])
def test_blocks_live_until_their_last_reference(cache_type: str) -> None:
    cache = _native.KVCache(2, 3, 64, cache_type)
    assert cache.block_positions == 32
    first = cache.allocate()
    copied = cache.copy(first)
    assert copied != first
    assert cache.blocks_in_use == 2
    cache.retain(first)
    cache.release(first)
    assert cache.blocks_in_use == 2
    cache.release(first)
    assert cache.blocks_in_use == 1
    cache.release(copied)
    assert cache.blocks_in_use == 0


@pytest.mark.parametrize("cache_type", ["f16", "q8"])
def test_a_view_is_the_memory_itself_and_keeps_it(cache_type: str) -> None:
    cache = _native.KVCache(2, 3, 64, cache_type)
    block = cache.allocate()
    view = cache.data(block)
    assert view.dtype == np.uint8
    assert view.shape == (cache.block_bytes,)
    view[:] = np.arange(len(view)) % 251
    np.testing.assert_array_equal(cache.data(block), view)
    copied = cache.copy(block)
    np.testing.assert_array_equal(cache.data(copied), view)
    view[7] += 1
    assert cache.data(block)[7] == view[7] != cache.data(copied)[7]
    cache.release(block)
    cache.release(copied)
    assert cache.blocks_in_use == 1  # the view's
    part = view[5:9]
    del view, cache
    gc.collect()
    part[:] = 1  # the cache lives as long as the view does


def test_a_view_that_goes_lets_go_of_its_block() -> None:
    cache = _native.KVCache(1, 1, 8)
    block = cache.allocate()
    view = cache.data(block)
    cache.release(block)
    del view
    assert cache.blocks_in_use == 0


def test_block_bytes_are_those_of_the_positions() -> None:
    # Phi-3-mini: 384 KiB a token in 16 bits.
    assert _native.KVCache(32, 32, 96).block_bytes == 32 * 384 * 1024
    assert _native.KVCache(32, 32, 96, "q8").block_bytes == 32 * 2 * 32 * 32 * (96 + 3 * 2)


def test_blocks_released_twice_or_never_allocated_are_refused() -> None:
    cache = _native.KVCache(1, 1, 8)
    block = cache.allocate()
    cache.release(block)
    for wrong in (block, -1, 7, 2**31 - 1, -(2**31)):
        for use in (cache.release, cache.retain, cache.copy, cache.data):
            with pytest.raises(ValueError, match=f"no block {wrong}"):
                use(wrong)
    with pytest.raises(TypeError):
        cache.release(2**40)
    with pytest.raises(TypeError):
        cache.release(None)
    assert cache.blocks_in_use == 0


def test_shapes_out_of_range_are_refused() -> None:
    for wrong in (0, -1, 4097, 2**31 - 1):
        for shape in ((wrong, 1, 8), (1, wrong, 8), (1, 1, wrong)):
            with pytest.raises(ValueError, match="out of range"):
                _native.KVCache(*shape)
    for cache_type in ("", "F16", "q5", "q8/q5", "/"):
        with pytest.raises(ValueError, match="f16, q8 or q4"):
            _native.KVCache(1, 1, 8, cache_type)
    with pytest.raises(ValueError, match="a multiple of 32 numbers, not 80"):
        _native.KVCache(1, 1, 80, "q8/q4")


@pytest.mark.usefixtures("limited_memory")
def test_memory_that_cannot_be_had_is_an_error() -> None:
    cache = _native.KVCache(64, 64, 4096)
    with pytest.raises(MemoryError):
        cache.allocate()
    assert cache.blocks_in_use == 0
