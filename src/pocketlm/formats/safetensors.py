"""Safetensors: single files, sharded folders, and the checkpoint that they make with config.json.

It knows the container (an 8-byte length, a JSON header, the tensors' bytes without gaps) and
believes none of its numbers. The other JSON files are `config`'s.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pocketlm.errors import ModelFileError
from pocketlm.formats import checked
from pocketlm.formats.checked import Buffer, Cursor
from pocketlm.formats.checkpoint import Checkpoint, Tensor, Tensors, map_file, naming
from pocketlm.formats.config import (
    parse_object,
    read_chat_template,
    read_config,
    read_generation_config,
    read_object,
)

if TYPE_CHECKING:
    from pocketlm.formats.tokenizer import Tokenizer

#: The format's own limit.
_MOST_HEADER_BYTES = 100_000_000
#: JSON values in a header: enough for 50,000 tensors in one file.
_MOST_HEADER_VALUES = 500_000

#: Bytes of an element. All but the first three are refused when a model wants them.
_ELEMENT_BYTES = {
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E5M2": 1,
    "F8_E4M3": 1,
    "F8_E8M0": 1,
    "U16": 2,
    "I16": 2,
    "U32": 4,
    "I32": 4,
    "U64": 8,
    "I64": 8,
    "F64": 8,
    "C64": 8,
}

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
#: A shard lies beside its index: no separator, no drive, no leading dot.
_SHARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}\.safetensors", re.ASCII)


class SafetensorsCheckpoint(Checkpoint):
    """A folder with config.json and safetensors, as the hub has them."""

    kind = "safetensors"

    def __init__(
        self,
        path: Path,
        config: dict[str, Any],
        generation_config: dict[str, Any],
        tensors: Mapping[str, Tensor],
        chat_template: str | None,
    ) -> None:
        """Make a checkpoint of a folder's contents, read."""
        self.path = path
        self.config = config
        self.generation_config = generation_config
        self.tensors = Tensors(tensors)
        self.chat_template = chat_template
        self.metadata = {}

    @classmethod
    def open(cls, folder: Path) -> "SafetensorsCheckpoint":
        """Open a folder. Raises ModelFileError or UnsupportedError."""
        config = read_config(folder)
        return cls(
            folder,
            config,
            read_generation_config(folder, config),
            _read_folder(folder),
            read_chat_template(folder),
        )

    def tokenizer(self) -> "Tokenizer":
        """Build the tokenizer of tokenizer.json or tokenizer.model."""
        from pocketlm.formats.tokenizer import from_folder

        return from_folder(self.path)


def read_safetensors(buffer: Buffer) -> dict[str, Tensor]:
    """Read the tensors of one file; their data stay where they are.

    Raises ModelFileError for a file that is damaged or contradicts itself.
    """
    cursor = Cursor(buffer)
    length = cursor.u64("the length of the header")
    if length > _MOST_HEADER_BYTES:
        raise ModelFileError(
            f"the header is {length} bytes long, more than safetensors allows;"
            " the file is damaged or of another format"
        )
    start = cursor.take(length, "the header")
    try:
        header = parse_object(buffer[start : cursor.position], _MOST_HEADER_VALUES)
    except ModelFileError as error:
        raise ModelFileError(f"the header: {error}") from None
    header.pop("__metadata__", None)
    data: npt.NDArray[np.uint8] = np.frombuffer(buffer, np.uint8)[cursor.position :]

    entries = [(*_extent(name, entry), name, entry) for name, entry in header.items()]
    end = 0
    tensors: dict[str, Tensor] = {}
    for begin, stop, name, entry in sorted(entries, key=lambda entry: entry[:2]):
        what = f"tensor {checked.shown(name)}"
        if begin != end:
            fault = "overlaps the tensor before it" if begin < end else "leaves a gap before it"
            raise ModelFileError(f"{what} {fault}")
        end = checked.within(begin, stop - begin, len(data), what)
        tensors[name] = _tensor(name, entry, data[begin:end])
    if end != len(data):
        raise ModelFileError(f"{len(data) - end} bytes after the last tensor belong to none")
    return {name: tensors[name] for name in header}


def _extent(name: str, entry: object) -> tuple[int, int]:
    """Return where a tensor begins and ends."""
    what = f"tensor {checked.shown(name)}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ModelFileError(f"{what} is not described by dtype, shape and data_offsets alone")
    begin_end = _sizes(entry["data_offsets"], f"data_offsets of {what}")
    if len(begin_end) != 2 or begin_end[0] > begin_end[1]:
        raise ModelFileError(f"data_offsets of {what} are not a beginning and an end")
    return begin_end[0], begin_end[1]


def _tensor(name: str, entry: dict[str, Any], data: npt.NDArray[np.uint8]) -> Tensor:
    what = f"tensor {checked.shown(name)}"
    dtype = entry["dtype"]
    if not isinstance(dtype, str):
        raise ModelFileError(f"dtype of {what} is not a string")
    shape = _sizes(entry["shape"], f"shape of {what}")
    element = _ELEMENT_BYTES.get(dtype)
    if element is not None:
        expected = checked.multiply((*shape, element), f"the size of {what}")
        if expected != data.nbytes:
            raise ModelFileError(
                f"{what} has {data.nbytes} bytes, expected {expected} for {dtype} {shape}"
            )
        if data.ctypes.data % element:
            # Files written before headers were padded may begin their data anywhere.
            data = data.copy()
            data.flags.writeable = False
    return Tensor(name, checked.shown(dtype) if element is None else dtype, tuple(shape), data)


def _sizes(value: object, what: str) -> list[int]:
    if not isinstance(value, list) or not all(
        isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= checked.LARGEST
        for size in value
    ):
        raise ModelFileError(f"{what} is not a list of sizes")
    return value


def _read_folder(folder: Path) -> dict[str, Tensor]:
    """Read the tensors of a folder's one file, or of the shards that its index names."""
    index = folder / _INDEX
    if index.exists():
        return _read_shards(folder, index)
    single = folder / _SINGLE
    if not single.exists():
        files = sorted(folder.glob("*.safetensors"))
        if len(files) != 1:
            with naming(folder):
                raise ModelFileError(
                    f"{len(files)} safetensors files but neither {_SINGLE} nor {_INDEX};"
                    " bring the whole model again"
                )
        single = files[0]
    with naming(single):
        return read_safetensors(map_file(single))


def _read_shards(folder: Path, index: Path) -> dict[str, Tensor]:
    places = read_object(index).get("weight_map")
    with naming(index):
        if not isinstance(places, dict) or not places:
            raise ModelFileError("weight_map is missing or not an object")
        for file in places.values():
            if not isinstance(file, str) or _SHARD.fullmatch(file) is None:
                raise ModelFileError(
                    f"weight_map names {checked.shown(str(file))}, not a safetensors file beside it"
                )
    shards: dict[str, dict[str, Tensor]] = {}
    for file in dict.fromkeys(places.values()):
        with naming(folder / file):
            shards[file] = read_safetensors(map_file(folder / file))
    with naming(index):
        for name, file in places.items():
            if name not in shards[file]:
                raise ModelFileError(f"tensor {checked.shown(name)} is not in {file}")
    return {name: shards[file][name] for name, file in places.items()}
