"""Arithmetic on a file's numbers: exact within 63 bits, an error beyond, never a wrapped result."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketlm.errors import ModelFileError
from pocketlm.formats import checked
from pocketlm.formats.checked import LARGEST, Cursor

EDGES = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 64, 2**64 - 1, -1)
NUMBERS = st.one_of(
    st.sampled_from(EDGES), st.integers(-(2**65), 2**65), st.integers(0, 2**20), st.integers(0, 40)
)


@given(NUMBERS, NUMBERS)
def test_a_sum_is_exact_or_refused(a, b):
    if a >= 0 and b >= 0 and a + b <= LARGEST:
        assert checked.add(a, b, "x") == a + b
    else:
        with pytest.raises(ModelFileError, match="x is out of range"):
            checked.add(a, b, "x")


@given(st.lists(NUMBERS, max_size=5))
def test_a_product_is_exact_or_refused(factors):
    product, sound = 1, True
    for factor in factors:
        product *= factor
        sound = sound and factor >= 0 and product <= LARGEST
    if sound:
        assert checked.multiply(factors, "x") == product
    else:
        with pytest.raises(ModelFileError, match="x is out of range"):
            checked.multiply(factors, "x")


@given(NUMBERS, st.integers(0, 31))
def test_aligning_moves_to_the_next_multiple(offset, power):
    alignment = 1 << power
    expected = -(-offset // alignment) * alignment
    if offset >= 0 and expected <= LARGEST:
        assert checked.align(offset, alignment, "x") == expected
    else:
        with pytest.raises(ModelFileError):
            checked.align(offset, alignment, "x")


@given(NUMBERS, NUMBERS, NUMBERS)
def test_an_end_lies_within_the_limit(start, length, limit):
    if start >= 0 and length >= 0 and start + length <= min(limit, LARGEST):
        assert checked.within(start, length, limit, "x") == start + length
    else:
        with pytest.raises(ModelFileError):
            checked.within(start, length, limit, "x")


def test_division_is_whole():
    assert checked.divide(96, 32, "x") == 3
    for size, unit in ((95, 32), (1, 0)):
        with pytest.raises(ModelFileError):
            checked.divide(size, unit, "x")


@given(st.binary(max_size=40), st.lists(st.sampled_from(("u32", "u64", "text")), max_size=6))
def test_a_cursor_never_leaves_the_buffer(data, reads):
    cursor = Cursor(data)
    try:
        for read in reads:
            before = cursor.position
            value = getattr(cursor, read)("x")
            assert before < cursor.position <= len(data)
            if read == "text":
                (length,) = struct.unpack_from("<Q", data, before)
                assert data[before + 8 :][:length].decode() == value
    except ModelFileError:
        assert cursor.position <= len(data)


@given(st.lists(st.binary(max_size=12), max_size=8), st.integers(-8, 8))
def test_skipping_texts_ends_where_reading_them_ends(texts, off):
    data = b"".join(struct.pack("<Q", len(text)) + text for text in texts)
    cursor = Cursor(data)
    cursor.skip_texts(len(texts), "x")
    assert cursor.position == len(data)
    if off < 0 and data:
        with pytest.raises(ModelFileError):
            Cursor(data[:off]).skip_texts(len(texts), "x")


@pytest.mark.parametrize("length", EDGES[:-1])
def test_texts_that_claim_to_be_long_are_refused(length):
    data = struct.pack("<QQ", length, 0) + b"1234567"
    if length in (0, 1):
        Cursor(data).skip_texts(1, "x")
    else:
        with pytest.raises(ModelFileError):
            Cursor(data).skip_texts(1, "x")
    with pytest.raises(ModelFileError, match=r"more than the file can hold|out of range"):
        Cursor(data).skip_texts(max(length, 3), "x")


def test_a_name_is_shown_on_one_short_line():
    assert checked.shown("a\nb\ud800") == r"'a\nb\ud800'"
    assert len(checked.shown("x" * 1000)) < 80
