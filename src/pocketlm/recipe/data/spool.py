"""Documents between two rounds: written by a task, read again by the same task, in order.

datatrove's readers deal out whatever files are there; a task that wrote none would shift the
others. These read the file of their own number, and no other.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep

from pocketlm.errors import OutputError
from pocketlm.formats.output import new_file


class Write(PipelineStep):  # type: ignore[misc]
    """Writes a task's documents and passes them on. The file is there when it is whole."""

    type, name = "spool", "write"

    def __init__(self, folder: Path) -> None:
        """Write `NUMBER.jsonl.gz` into `folder`."""
        super().__init__()
        self._folder = folder

    def run(
        self, data: Iterable[Document], rank: int = 0, world_size: int = 1
    ) -> Iterator[Document]:
        """Write and pass on."""
        self._folder.mkdir(parents=True, exist_ok=True)
        # Without a time and a name in it, the same documents are the same file.
        with (
            new_file(path_of(self._folder, rank)) as file,
            gzip.GzipFile("", "wb", 3, file, mtime=0) as packed,
        ):
            for doc in data:
                row = {"text": doc.text, "id": doc.id, "metadata": doc.metadata}
                packed.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
                yield doc


class Read(PipelineStep):  # type: ignore[misc]
    """Reads what `Write` wrote as the same task."""

    type, name = "spool", "read"

    def __init__(self, folder: Path) -> None:
        """Read from `folder`."""
        super().__init__()
        self._folder = folder

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:  # noqa: ANN401
        """The documents, in order."""
        path = path_of(self._folder, rank)
        try:
            with gzip.open(path, "rb") as file:
                for line in file:
                    row = json.loads(line)
                    yield Document(row["text"], row["id"], metadata=row["metadata"])
        except (EOFError, ValueError, gzip.BadGzipFile) as error:
            raise OutputError(
                f"{path}: damaged ({error}); remove the build's folder and begin again"
            ) from None


def path_of(folder: Path, rank: int) -> Path:
    """The file of a task."""
    return folder / f"{rank:05d}.jsonl.gz"


def documents(folder: Path) -> Iterator[Document]:
    """All documents in a folder of such files."""
    for path in sorted(folder.glob("*.jsonl.gz")):
        yield from Read(folder).run(rank=int(path.name.split(".")[0]))
