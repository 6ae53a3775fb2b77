"""The GGUF container, versions 2 and 3, little endian: bytes to metadata and tensors.

It knows the layout (the specification is docs/gguf.md of ggml) and believes none of its numbers.
It does not know what the keys or the tensors mean: `gguf_config` and `gguf_checkpoint` do.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from pocketlm.errors import ModelFileError, UnsupportedError
from pocketlm.formats import checked
from pocketlm.formats.checked import Buffer, Cursor
from pocketlm.formats.checkpoint import ELEMENT_TYPES, Tensor

MAGIC = b"GGUF"

#: Where tensor data may begin, unless `general.alignment` says otherwise.
DEFAULT_ALIGNMENT = 32

#: The numbers of the element types that pocketlm runs. `gguf` has all; importing it takes 40 ms.
TYPE_NUMBERS = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    6: "Q5_0",
    7: "Q5_1",
    8: "Q8_0",
    11: "Q3_K",
    12: "Q4_K",
    13: "Q5_K",
    14: "Q6_K",
    20: "IQ4_NL",
    23: "IQ4_XS",
    30: "BF16",
}

#: Bytes, which mean something by metadata alone (`panels`).
_I8 = 24

_FLOAT32, _BOOL, _STRING, _ARRAY = 6, 7, 8, 9
#: Metadata numbers by the number of their type, in the letters that struct and NumPy share.
_LETTERS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "B",
    10: "Q",
    11: "q",
    12: "d",
}
_SCALARS = {kind: struct.Struct("<" + letter) for kind, letter in _LETTERS.items()}
_DTYPES = {kind: np.dtype("<" + letter) for kind, letter in _LETTERS.items()}

_MOST_DIMENSIONS = 4
#: How many keys and how many tensors a file may have: far more than any model.
_MOST_ENTRIES = 1 << 16
# The fewest bytes that one entry takes: an entry of metadata has a key (8), a type (4) and a value
# (1); a tensor a name (8), the number of its dimensions (4), one dimension (8), a type (4) and an
# offset (8).
_LEAST_METADATA_BYTES = 13
_LEAST_TENSOR_BYTES = 32


@dataclass(frozen=True)
class GGUF:
    """What a GGUF file holds.

    `metadata` values are int, float, bool, str, a NumPy array of numbers (a view of the file), a
    `Texts`. `raw` has the same keys, and the values as they lie in the file, type first, so that
    they can be copied exactly. `tensors` have the file's own names.
    """

    version: int
    metadata: dict[str, Any]
    raw: dict[str, memoryview]
    tensors: dict[str, Tensor]


class Texts(Sequence[str]):
    """An array of strings, decoded when first looked into: a vocabulary costs nothing to open."""

    __slots__ = ("_count", "_place", "_texts", "_what")

    def __init__(self, buffer: Buffer, start: int, end: int, count: int, what: str) -> None:
        """Offer the `count` strings between `start` and `end` of `buffer`."""
        self._place = (buffer, start, end)
        self._count = count
        self._what = what
        self._texts: list[str] | None = None

    def _decoded(self) -> list[str]:
        if self._texts is None:
            buffer, start, end = self._place
            data = buffer[start:end]
            unpack, position = struct.Struct("<Q").unpack_from, 0
            texts = []
            try:
                for _ in range(self._count):
                    begin = position + 8
                    position = begin + unpack(data, position)[0]
                    texts.append(data[begin:position].decode())
            except UnicodeDecodeError:
                raise ModelFileError(
                    f"string {len(texts)} of {self._what} is not valid UTF-8"
                ) from None
            self._texts = texts
        return self._texts

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """Return one string, or a list of some."""
        return self._decoded()[index]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the strings."""
        return iter(self._decoded())

    def __len__(self) -> int:
        """Return how many there are."""
        return self._count


def read_gguf(buffer: Buffer) -> GGUF:
    """Read a GGUF file's metadata and tensors; the tensors' data stay where they are.

    Raises ModelFileError for a file that is damaged or contradicts itself, UnsupportedError for
    another version or byte order.
    """
    cursor = Cursor(buffer)
    start = cursor.take(len(MAGIC), "the magic number")
    if buffer[start : cursor.position] != MAGIC:
        raise ModelFileError("not a GGUF file (it does not begin with 'GGUF')")
    version = cursor.u32("the version")
    if version not in (2, 3):
        if version in (2 << 24, 3 << 24):
            raise UnsupportedError("a big-endian GGUF file; convert it to little endian")
        raise UnsupportedError(f"GGUF version {version} is not supported, only 2 and 3 are")

    tensor_count = _entries(cursor, _LEAST_TENSOR_BYTES, "the number of tensors")
    metadata_count = _entries(cursor, _LEAST_METADATA_BYTES, "the number of metadata keys")
    metadata: dict[str, Any] = {}
    raw: dict[str, memoryview] = {}
    view = memoryview(buffer)
    for _ in range(metadata_count):
        key = cursor.text("a metadata key")
        what = f"metadata key {checked.shown(key)}"
        if key in metadata:
            raise ModelFileError(f"{what} is there twice")
        start = cursor.position
        metadata[key] = _value(cursor, cursor.u32(what), what)
        raw[key] = view[start : cursor.position]

    headers = [_TensorHeader.read(cursor) for _ in range(tensor_count)]
    return GGUF(version, metadata, raw, _tensors(cursor, headers, _alignment(metadata)))


def _entries(cursor: Cursor, least_bytes: int, what: str) -> int:
    """Read how many entries of at least `least_bytes` each follow."""
    count = cursor.u64(what)
    cursor.expect(count, least_bytes, what)
    if count > _MOST_ENTRIES:
        raise ModelFileError(f"{what} is {count}, expected at most {_MOST_ENTRIES}")
    return count


def _value(cursor: Cursor, kind: int, what: str) -> object:
    """Read one value of metadata."""
    if kind in _SCALARS:
        scalar = _SCALARS[kind]
        start = cursor.take(scalar.size, what)
        if kind == _FLOAT32:
            # The decimal that the writer meant: 1e-05, not 9.999999747378752e-06.
            return float(str(np.frombuffer(cursor.buffer, "<f4", 1, start)[0]))
        value = scalar.unpack_from(cursor.buffer, start)[0]
        if kind == _BOOL:
            if value > 1:
                raise ModelFileError(f"{what} is {value}, expected true (1) or false (0)")
            return bool(value)
        return value
    if kind == _STRING:
        return cursor.text(what)
    if kind == _ARRAY:
        return _array(cursor, what)
    raise ModelFileError(f"{what} is of type {kind}, which GGUF does not have")


def _array(cursor: Cursor, what: str) -> object:
    kind = cursor.u32(what)
    count = cursor.u64(what)
    if kind == _STRING:
        start = cursor.position
        cursor.skip_texts(count, what)
        return Texts(cursor.buffer, start, cursor.position, count, what)
    if kind == _ARRAY:
        raise UnsupportedError(f"{what} is an array of arrays, which is not supported")
    if kind not in _DTYPES:
        raise ModelFileError(f"{what} has elements of type {kind}, which GGUF does not have")
    dtype = _DTYPES[kind]
    start = cursor.take(checked.multiply((count, dtype.itemsize), what), what)
    if count == 0:
        return np.empty(0, dtype)
    array = np.frombuffer(cursor.buffer, dtype, count, start)
    if kind == _BOOL:
        if array.max() > 1:
            raise ModelFileError(f"{what} has values other than true (1) and false (0)")
        return array.view(np.bool_)
    return array


def _alignment(metadata: dict[str, Any]) -> int:
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    # Eight at least, so that every number lies where the processor wants it.
    if (
        not isinstance(alignment, int)
        or isinstance(alignment, bool)
        or not 8 <= alignment <= 2**31
        or alignment & (alignment - 1)
    ):
        raise ModelFileError(
            f"general.alignment is {str(alignment)[:40]!r}, expected a power of two from 8 on"
        )
    return alignment


@dataclass(frozen=True, slots=True)
class _TensorHeader:
    """A tensor as the file describes it; `nbytes` is None for a type that is not known at all."""

    name: str
    type: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int | None

    @classmethod
    def read(cls, cursor: Cursor) -> "_TensorHeader":
        name = cursor.text("a tensor's name")
        what = f"tensor {checked.shown(name)}"
        dimensions = cursor.u32(what)
        if not 1 <= dimensions <= _MOST_DIMENSIONS:
            raise ModelFileError(f"{what} has {dimensions} dimensions, expected 1 to 4")
        # The file has the fastest dimension, a row's length, first.
        shape = tuple(cursor.u64(what) for _ in range(dimensions))[::-1]
        if 0 in shape:
            raise ModelFileError(f"{what} has a dimension of 0")
        numbers = checked.multiply(shape, f"the size of {what}")
        type_, layout = _element_type(cursor.u32(what))
        nbytes = None
        if layout is not None:
            block, block_bytes = layout
            checked.divide(shape[-1], block, f"the row length of {what} ({type_})")
            nbytes = checked.multiply((numbers // block, block_bytes), f"the size of {what}")
        return cls(name, type_, shape, cursor.u64(what), nbytes)


def _element_type(number: int) -> tuple[str, tuple[int, int] | None]:
    """Return an element type's name and its layout (numbers in a block, bytes of a block)."""
    name = TYPE_NUMBERS.get(number)
    if name is not None:
        return name, ELEMENT_TYPES[name]
    if number == _I8:
        return "I8", (1, 1)
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    try:
        kind = GGMLQuantizationType(number)
    except ValueError:
        return f"type number {number}", None
    return kind.name, GGML_QUANT_SIZES[kind]


def _tensors(cursor: Cursor, headers: list[_TensorHeader], alignment: int) -> dict[str, Tensor]:
    """Cut the tensors' data out of the file, checking that they lie in it and apart."""
    if not headers:
        return {}
    base = checked.align(cursor.position, alignment, "the start of the tensor data")
    data: npt.NDArray[np.uint8] = np.frombuffer(cursor.buffer, np.uint8)
    tensors: dict[str, Tensor] = {}
    end = base
    for header in sorted(headers, key=lambda header: header.offset):
        what = f"tensor {checked.shown(header.name)}"
        if header.name in tensors:
            raise ModelFileError(f"{what} is there twice")
        if header.offset % alignment:
            raise ModelFileError(f"{what} begins at {header.offset}, not a multiple of {alignment}")
        start = checked.add(base, header.offset, f"the offset of {what}")
        if start < end:
            raise ModelFileError(f"{what} overlaps the tensor before it")
        end = checked.within(start, header.nbytes or 0, cursor.size, what)
        tensors[header.name] = Tensor(header.name, header.type, header.shape, data[start:end])
    # In the order of the file's list, which is the model's.
    return {header.name: tensors[header.name] for header in headers}
