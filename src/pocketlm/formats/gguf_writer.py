"""Writing GGUF, version 3: metadata and the list of tensors first, then their data as it comes.

It knows the container (docs/gguf.md of ggml). It does not know what keys and tensors mean, and
holds no tensor: `write` appends to the file.
"""

import struct
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from pocketlm.formats.gguf import DEFAULT_ALIGNMENT, MAGIC
from pocketlm.formats.output import Buffer, InOrder, new_file

#: A value of metadata. An int becomes U32 (or, where it does not fit, I32, U64, I64), a float F32;
#: a NumPy scalar or array keeps its own type. Bytes are a value as a file has it, its type before
#: it: what `GGUF.raw` gives.
Value = (
    bytes
    | memoryview
    | str
    | bool
    | int
    | float
    | np.generic
    | npt.NDArray[np.generic]
    | Sequence[str]
)

_VERSION = 3
_ALIGNMENT_KEY = "general.alignment"
_STRING, _ARRAY = 8, 9
#: The numbers of value types by NumPy's letters.
_KINDS = {
    "u1": 0,
    "i1": 1,
    "u2": 2,
    "i2": 3,
    "u4": 4,
    "i4": 5,
    "f4": 6,
    "b1": 7,
    "u8": 10,
    "i8": 11,
    "f8": 12,
}


@dataclass(frozen=True, slots=True)
class NewTensor:
    """A tensor to be written.

    `type` is the element type's number in GGUF, whatever it means; `shape` has rows first;
    `nbytes` is the length of the data.
    """

    name: str
    type: int
    shape: tuple[int, ...]
    nbytes: int


class GGUFWriter:
    """A GGUF file in the making: a context manager, beside `path` until all is written.

    Raises OutputError where the disk has too little space (before anything is written) or a write
    fails, ValueError for data that are not as announced.
    """

    def __init__(
        self,
        path: Path,
        metadata: Mapping[str, Value],
        tensors: Sequence[NewTensor],
        alignment: int = DEFAULT_ALIGNMENT,
    ) -> None:
        """Lay out the file; nothing is written yet.

        The key general.alignment follows `alignment`, whatever `metadata` says of it.
        """
        metadata = {key: value for key, value in metadata.items() if key != _ALIGNMENT_KEY}
        if alignment != DEFAULT_ALIGNMENT:
            metadata[_ALIGNMENT_KEY] = alignment
        self._path = path
        self._alignment = alignment
        self._tensors = tensors
        header = _header(metadata, tensors, alignment)
        self._header = header + bytes(-len(header) % alignment)
        self.nbytes = len(self._header) + sum(_padded(t.nbytes, alignment) for t in tensors)
        self._data: InOrder | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Open the file and write what comes before the tensors' data."""
        with ExitStack() as stack:
            file = stack.enter_context(new_file(self._path, self.nbytes))
            file.write(self._header)
            parts = [(tensor.name, tensor.nbytes) for tensor in self._tensors]
            self._data = InOrder(file, parts, self._alignment)
            self._stack = stack.pop_all()
        return self

    def write(self, name: str, data: Buffer) -> None:
        """Append `data` to the tensor `name`; tensors come in the order in which they were listed.

        A tensor's data may come in any number of pieces.
        """
        assert self._data is not None
        self._data.write(name, data)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put the file into its place, or remove it if the block failed."""
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            assert self._data is not None
            self._data.finish()


def _padded(size: int, alignment: int) -> int:
    return size + -size % alignment


def _header(
    metadata: Mapping[str, Value], tensors: Sequence[NewTensor], alignment: int
) -> bytearray:
    header = bytearray(MAGIC + struct.pack("<IQQ", _VERSION, len(tensors), len(metadata)))
    for key, value in metadata.items():
        header += _text(key)
        header += encoded(value)
    offset = 0
    for tensor in tensors:
        header += _text(tensor.name)
        header += struct.pack("<I", len(tensor.shape))
        # The file has the fastest dimension, a row's length, first.
        header += struct.pack(f"<{len(tensor.shape)}Q", *reversed(tensor.shape))
        header += struct.pack("<IQ", tensor.type, offset)
        offset += _padded(tensor.nbytes, alignment)
    return header


def encoded(value: Value) -> bytes | memoryview:
    """A value of metadata as a file has it: the number of its type, then the value."""
    if isinstance(value, bytes | memoryview):
        return value
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _text(value)
    if isinstance(value, int | float) and not isinstance(value, np.generic):
        value = _scalar(value)
    if isinstance(value, np.generic):
        return struct.pack("<I", _kind(value.dtype)) + _little(value)
    if isinstance(value, np.ndarray):
        return struct.pack("<IIQ", _ARRAY, _kind(value.dtype), len(value)) + _little(value)
    return struct.pack("<IIQ", _ARRAY, _STRING, len(value)) + b"".join(map(_text, value))


def _scalar(value: float) -> np.generic:
    if isinstance(value, bool):
        return np.bool_(value)
    if isinstance(value, float):
        return np.float32(value)
    types = (np.uint32, np.int32, np.uint64, np.int64)
    return next(t for t in types if np.iinfo(t).min <= value <= np.iinfo(t).max)(value)


def _kind(dtype: np.dtype[np.generic]) -> int:
    return _KINDS[f"{dtype.kind}{dtype.itemsize}"]


def _little(value: np.generic | npt.NDArray[np.generic]) -> bytes:
    return value.astype(value.dtype.newbyteorder("<")).tobytes()


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data
