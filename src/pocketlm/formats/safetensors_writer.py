"""Writing safetensors: one file, or shards and their index, tensor by tensor as data comes.

It knows the container and how the hub names shards. It holds no tensor: `write` appends.
"""

import json
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from pocketlm.formats.output import Buffer, InOrder

#: The largest shard, unless a tensor alone is larger: as transformers has it.
SHARD_BYTES = 5_000_000_000

#: By which a header's length is a multiple, so that data lie where the processor wants them.
_ALIGNMENT = 8


@dataclass(frozen=True, slots=True)
class NewTensor:
    """A tensor to be written: `dtype` by safetensors' name ("BF16"), `nbytes` of data."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int


class SafetensorsWriter:
    """The tensors of a folder in the making; a context manager.

    They become model.safetensors, or shards with an index where they are larger than
    `shard_bytes`. What becomes of the folder when the work fails is its maker's matter.
    """

    def __init__(
        self, folder: Path, tensors: Sequence[NewTensor], shard_bytes: int = SHARD_BYTES
    ) -> None:
        """Share the tensors out; nothing is written yet."""
        self._folder = folder
        shards = _shards(tensors, shard_bytes)
        names = [
            f"model-{number:05}-of-{len(shards):05}.safetensors"
            for number in range(1, len(shards) + 1)
        ]
        if len(shards) == 1:
            names = ["model.safetensors"]
        self._shards = dict(zip(names, shards, strict=True))
        self._places = {t.name: file for file, shard in self._shards.items() for t in shard}
        self._file: BinaryIO | None = None
        self._data: InOrder | None = None
        self._open: str | None = None
        self._waiting = iter(self._shards)

    def __enter__(self) -> Self:
        """Write the index, if there is to be one."""
        if len(self._shards) > 1:
            total = sum(tensor.nbytes for shard in self._shards.values() for tensor in shard)
            index = {"metadata": {"total_size": total}, "weight_map": self._places}
            path = self._folder / "model.safetensors.index.json"
            path.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
        return self

    def write(self, name: str, data: Buffer) -> None:
        """Append `data` to the tensor `name`; tensors come in the order in which they were listed.

        A tensor's data may come in any number of pieces. Raises ValueError for data that are not
        as announced.
        """
        shard = self._places[name]
        if shard != self._open:
            self._finish()
            if shard != next(self._waiting):
                raise ValueError(f"{name!r} is not the next part")
            self._begin(shard)
        assert self._data is not None
        self._data.write(name, data)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the last shard; raise ValueError if something is missing."""
        if error is None:
            self._finish()
            if next(self._waiting, None) is not None:
                raise ValueError("not all tensors were written")
        elif self._file is not None:
            self._file.close()

    def _begin(self, shard: str) -> None:
        tensors = self._shards[shard]
        self._file = (self._folder / shard).open("xb")
        self._file.write(_header(tensors))
        self._data = InOrder(self._file, [(tensor.name, tensor.nbytes) for tensor in tensors])
        self._open = shard

    def _finish(self) -> None:
        if self._file is not None and self._data is not None:
            with self._file:
                self._data.finish()
                self._file.flush()
                os.fsync(self._file.fileno())
            self._file = None


def _shards(tensors: Sequence[NewTensor], shard_bytes: int) -> list[list[NewTensor]]:
    shards: list[list[NewTensor]] = [[]]
    size = 0
    for tensor in tensors:
        if shards[-1] and size + tensor.nbytes > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(tensor)
        size += tensor.nbytes
    return shards


def _header(tensors: Sequence[NewTensor]) -> bytes:
    # transformers refuses a file that does not say "pt".
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": tensor.shape,
            "data_offsets": [end, end + tensor.nbytes],
        }
        end += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return struct.pack("<Q", len(text)) + text
