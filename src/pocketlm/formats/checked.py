"""Arithmetic on numbers that a file gave, and reading that never leaves the file.

Every size, offset and count from a file goes through this module before it is used. Results stay
within a signed 64-bit integer, the type that sizes have in the native runtime; what does not fit,
or lies outside the file, raises ModelFileError. It knows no file format.
"""

import mmap
import struct
from collections.abc import Iterable

from pocketlm.errors import ModelFileError

Buffer = bytes | mmap.mmap

#: The largest size or offset: that of a signed 64-bit integer.
LARGEST = 2**63 - 1

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


def add(a: int, b: int, what: str) -> int:
    """Return a + b, neither of them negative; `what` names the number in the error."""
    if a < 0 or b < 0 or a + b > LARGEST:
        raise ModelFileError(f"{what} is out of range")
    return a + b


def multiply(factors: Iterable[int], what: str) -> int:
    """Return the product of `factors`, none of them negative; 1 if there are none."""
    product = 1
    for factor in factors:
        if factor < 0 or product * factor > LARGEST:
            raise ModelFileError(f"{what} is out of range")
        product *= factor
    return product


def align(offset: int, alignment: int, what: str) -> int:
    """Return the first multiple of `alignment` (a power of two) from `offset` on."""
    return add(offset, -offset % alignment, what)


def divide(size: int, unit: int, what: str) -> int:
    """Return size / unit, which must be whole."""
    if unit < 1 or size % unit:
        raise ModelFileError(f"{what} is {size}, which is not a multiple of {unit}")
    return size // unit


def within(start: int, length: int, limit: int, what: str) -> int:
    """Return start + length, which must not pass `limit`."""
    end = add(start, length, what)
    if end > limit:
        raise ModelFileError(
            f"{what} ends at byte {end} of {limit}; the file is truncated or damaged"
        )
    return end


def shown(name: str) -> str:
    """Return a name from a file as a message shows it: quoted, on one line, not too long."""
    return repr(name if len(name) <= 64 else name[:61] + "...")


class Cursor:
    """Reads a little-endian buffer from front to back, and nothing beyond its end.

    `what` names, in the error, the thing that is being read.
    """

    def __init__(self, buffer: Buffer, position: int = 0) -> None:
        """Start at `position` of `buffer`."""
        self.buffer = buffer
        self.size = len(buffer)
        self.position = position

    def take(self, length: int, what: str) -> int:
        """Move past `length` bytes; return where they start."""
        start = self.position
        self.position = within(start, length, self.size, what)
        return start

    def expect(self, count: int, least: int, what: str) -> None:
        """Check that `count` things of at least `least` bytes each can follow."""
        if multiply((count, least), what) > self.size - self.position:
            raise ModelFileError(f"{what} is {count}, more than the file can hold")

    def u32(self, what: str) -> int:
        """Read a 32-bit unsigned integer."""
        value: int = _U32.unpack_from(self.buffer, self.take(4, what))[0]
        return value

    def u64(self, what: str) -> int:
        """Read a 64-bit unsigned integer."""
        value: int = _U64.unpack_from(self.buffer, self.take(8, what))[0]
        return value

    def text(self, what: str) -> str:
        """Read a string: its length in 64 bits, then that many bytes of UTF-8."""
        start = self.take(self.u64(what), what)
        try:
            return str(self.buffer[start : self.position], "utf-8")
        except UnicodeDecodeError:
            raise ModelFileError(f"{what} is not valid UTF-8") from None

    def skip_texts(self, count: int, what: str) -> None:
        """Move past `count` strings without decoding them."""
        self.expect(count, 8, what)
        # A vocabulary has some hundred thousand: locals and one comparison each keep it at 10 ms.
        unpack, buffer, position, last = _U64.unpack_from, self.buffer, self.position, self.size - 8
        for _ in range(count):
            if position > last:
                break
            position += 8 + unpack(buffer, position)[0]
        else:
            self.take(position - self.position, what)
            return
        raise ModelFileError(f"{what} runs past the end of the file, which is truncated or damaged")
