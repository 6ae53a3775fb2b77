"""The native tokenizer as a program that answers, and its vocabulary from GGUF metadata."""

import struct
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

KEY = "tokenizer.ggml."
NO_TOKEN = -1


class NativeTokenizer:
    """A running `tokenize`, which tests/pocket/tokenize.cpp describes."""

    def __init__(self, program: Path, *arguments: str | Path) -> None:
        self._process = subprocess.Popen(
            [program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def encode(self, text: str | bytes, *, special: bool = False) -> list[int]:
        return self._ask(b"c" if special else b"p", NO_TOKEN, text)

    def encode_run(self, text: str, *, after: int) -> list[int]:
        return self._ask(b"p", after, text)

    def decode(self, ids: Sequence[int], *, after: int | None = None) -> str:
        data = struct.pack(f"<{len(ids)}i", *ids)
        characters = self._ask(b"t", NO_TOKEN if after is None else after, data)
        return bytes(character & 0xFF for character in characters).decode()

    def words(self, text: str) -> list[str]:
        data = text.encode()
        words, begin = [], 0
        for length in self._ask(b"p", NO_TOKEN, data):
            words.append(data[begin : begin + length].decode())
            begin += length
        assert begin == len(data)
        return words

    def compose(self, text: str) -> str:
        return bytes(byte & 0xFF for byte in self._ask(b"p", NO_TOKEN, text)).decode()

    def close(self) -> str:
        """End it, and tell what it said on stderr."""
        _, said = self._process.communicate()
        return said.decode()

    def _ask(self, mode: bytes, after: int, text: str | bytes) -> list[int]:
        data = text.encode() if isinstance(text, str) else text
        self._process.stdin.write(mode + struct.pack("<iI", after, len(data)) + data)
        self._process.stdin.flush()
        (count,) = struct.unpack("<I", self._read(4))
        return list(struct.unpack(f"<{count}i", self._read(4 * count)))

    def _read(self, size: int) -> bytes:
        data = self._process.stdout.read(size)
        assert len(data) == size, self.close()
        return data


def vocabulary_file(metadata: Mapping[str, Any], path: Path) -> Path:
    """Write the fields of `Vocabulary`, as `tokenize` reads them."""

    def text(value: str) -> bytes:
        data = value.encode()
        return struct.pack("<I", len(data)) + data

    def texts(key: str) -> bytes:
        values = metadata.get(KEY + key, [])
        return struct.pack("<I", len(values)) + b"".join(map(text, values))

    def numbers(key: str, code: str) -> bytes:
        values = list(metadata.get(KEY + key, []))
        return struct.pack(f"<I{len(values)}{code}", len(values), *values)

    byte_level = metadata[KEY + "model"] == "gpt2"
    ids = ("bos_token_id", "eos_token_id", "padding_token_id", "unknown_token_id", "eot_token_id")
    path.write_bytes(
        struct.pack("<i", byte_level)
        + text(metadata.get(KEY + "pre", "default"))
        + texts("tokens")
        + numbers("token_type", "i")
        + numbers("scores", "f")
        + texts("merges")
        + struct.pack("<5i", *(metadata.get(KEY + key, NO_TOKEN) for key in ids))
        + struct.pack("<i", metadata.get(KEY + "add_space_prefix", True))
    )
    return path
