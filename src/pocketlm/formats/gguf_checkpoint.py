"""A checkpoint in GGUF: one file, or the parts of a split one.

It knows how parts belong together. The container is `gguf`'s, the meaning of keys `gguf_config`'s.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pocketlm.errors import ModelFileError
from pocketlm.formats import gguf_config, panels
from pocketlm.formats.checkpoint import Checkpoint, Tensor, Tensors, map_file, naming
from pocketlm.formats.gguf import GGUF, read_gguf

if TYPE_CHECKING:
    from pocketlm.formats.tokenizer import Tokenizer

#: The name of a part: its number and how many there are.
_PART = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf", re.ASCII | re.DOTALL)


class GGUFCheckpoint(Checkpoint):
    """A GGUF checkpoint. One that holds a vocabulary alone has no tensors.

    `raw_metadata` has the keys of `metadata`, their values byte for byte as `GGUF.raw` gives them.
    """

    kind = "gguf"

    def __init__(self, path: Path, parts: Sequence[GGUF]) -> None:
        """Make one checkpoint of a file's parts, read. Metadata is the first part's."""
        first = parts[0]
        tensors = panels.restored(first.metadata, _joined(parts))
        self.path = path
        self.metadata = first.metadata
        self.raw_metadata: Mapping[str, memoryview] = first.raw
        self.config = gguf_config.hub_config(first.metadata, tensors)
        self.generation_config = gguf_config.generation_config(self.config, first.metadata)
        self.tensors = Tensors(gguf_config.hub_tensors(self.config["model_type"], tensors))
        self.chat_template = gguf_config.Keys(first.metadata).text("tokenizer.chat_template")

    @classmethod
    def open(cls, path: Path) -> "GGUFCheckpoint":
        """Open a GGUF file; the parts of a split one lie beside each other, `path` names any.

        Raises ModelFileError or UnsupportedError.
        """
        parts = []
        for part in part_paths(path):
            with naming(part):
                parts.append(read_gguf(map_file(part)))
        with naming(path):
            return cls(path, parts)

    def close(self) -> None:
        """Let go of the files."""
        super().close()
        self.raw_metadata = {}

    def tokenizer(self) -> "Tokenizer":
        """Build the tokenizer that the metadata describes."""
        from pocketlm.formats.tokenizer import from_gguf

        with naming(self.path):
            return from_gguf(self.metadata)


def part_paths(path: Path) -> list[Path]:
    """Return the paths of all parts of the file that `path` belongs to: itself, if not split."""
    match = _PART.fullmatch(path.name)
    if match is None or not 1 <= int(match[2]) <= int(match[3]):
        return [path]
    stem, _, count = match.groups()
    # A name promises at most 99,999 files; none is opened before the one before it was there.
    return [path.with_name(f"{stem}-{n:05}-of-{count}.gguf") for n in range(1, int(count) + 1)]


def _joined(parts: Sequence[GGUF]) -> dict[str, Tensor]:
    """Return the tensors of all parts, checking that they are the parts of one file in order."""
    tensors: dict[str, Tensor] = {}
    for number, part in enumerate(parts):
        keys = gguf_config.Keys(part.metadata)
        count = keys.count("split.count") or 1
        if count != len(parts):
            raise ModelFileError(
                f"the file is in {count} parts, expected {len(parts)} by its name;"
                " open it under the name that the split gave it (…-00001-of-0000N.gguf)"
            )
        if count > 1 and keys.count("split.no") != number:
            raise ModelFileError(f"part {number + 1} says that it is another; restore the names")
        for name, tensor in part.tensors.items():
            if name in tensors:
                raise ModelFileError(f"tensor {name!r:.70} is in two parts")
            tensors[name] = tensor
    promised = gguf_config.Keys(parts[0].metadata).count("split.tensors.count")
    if promised is not None and promised != len(tensors):
        raise ModelFileError(f"the parts hold {len(tensors)} tensors, expected {promised}")
    return tensors
