"""Raw sources into documents: WARC, HTML, text, JSON lines, Parquet, sets of the hub.

datatrove deals the files out and runs the readers. Its own readers end a file, or the whole task,
at the first broken record; these refuse the record with a reason and go on. They know formats of
files; they judge no text.

A document's identity is its place in the source, the same on every machine.
"""

from __future__ import annotations

import json
import zlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.readers import HuggingFaceDatasetReader
from datatrove.pipeline.readers.base import BaseDiskReader

from pocketlm.errors import ParameterError
from pocketlm.recipe.data import recipe
from pocketlm.recipe.data.characters import UnreadableError, decoded

if TYPE_CHECKING:
    from warcio.recordloader import ArcWarcRecord  # type: ignore[import-untyped]

LARGEST = 50_000_000
"""Bytes of one page, text or line, beyond which it is refused."""
_OTHER_RECORDS = ("warcinfo", "request", "metadata", "resource", "revisit", "continuation")
_ENDINGS = {
    "warc": (".warc", ".warc.gz", ".warc.wet", ".warc.wet.gz", ".wet", ".wet.gz"),
    "html": (".html", ".htm", ".xhtml"),
    "text": (".txt", ".text", ".md", ".rst"),
    "jsonl": (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz"),
    "parquet": (".parquet",),
}


class Sources(PipelineStep):  # type: ignore[misc]
    """Reads this task's share of all sources, one after another."""

    type, name = "read", "sources"

    def __init__(self, sources: Sequence[recipe.Source]) -> None:
        """Read a recipe's `sources`. Raises ParameterError for one without files."""
        super().__init__()
        self.exclusion_writer: Any = None
        self._readers = [_reader(source, number) for number, source in enumerate(sources)]

    def run(self, data: None = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """The documents."""
        for reader in self._readers:
            reader.exclusion_writer = self.exclusion_writer
            yield from reader.run(None, rank, world_size)


def _reader(source: recipe.Source, number: int) -> Reader | HubReader:
    if isinstance(source, recipe.Hub):
        return HubReader(source, f"{number}")
    files = files_of(source)
    if not files:
        wanted = source.files or ", ".join(_ENDINGS[source.kind])
        raise ParameterError(f"sources.{number + 1}: {source.path} has no file that is {wanted}")
    kinds_of: dict[str, type[Reader]] = {
        "warc": WarcReader,
        "html": PageReader,
        "text": TextReader,
        "jsonl": LinesReader,
        "parquet": ParquetReader,
    }
    folder = source.path if source.path.is_dir() else source.path.parent
    column = source.text if isinstance(source, recipe.Jsonl | recipe.Parquet) else "text"
    return kinds_of[source.kind](folder, files, f"{number}", column)


def files_of(source: recipe.Source) -> list[str]:
    """The files of a source, relative to its folder, in order."""
    if isinstance(source, recipe.Hub):
        return []
    if source.path.is_file():
        return [source.path.name]
    found = source.path.glob(source.files or "**/*")
    endings = ("",) if source.files else _ENDINGS[source.kind]
    return sorted(
        path.relative_to(source.path).as_posix()
        for path in found
        if path.is_file() and path.name.endswith(endings)
    )


def passed_over(source: recipe.Source) -> int:
    """How many files of a source's folder are not read for the ending of their name."""
    if isinstance(source, recipe.Hub) or source.files or source.path.is_file():
        return 0
    return sum(path.is_file() for path in source.path.glob("**/*")) - len(files_of(source))


class Reader(BaseDiskReader):  # type: ignore[misc]
    """Reads the files of this task one after another; `exclusion_writer` gets what is refused."""

    def __init__(self, folder: Path, files: list[str], source: str, column: str = "text") -> None:
        """Read `files` of `folder`; `source` begins each identity; `column` has the text."""
        self.name = f"{source} {folder.name}"
        super().__init__(str(folder))
        self.exclusion_writer: Any = None
        self.files, self.source, self.column = files, source, column

    def run(self, data: None = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Documents of every `world_size`th file from `rank` on."""
        for file in self.files[rank::world_size]:
            try:
                yield from self.read_file(file)
            except FileNotFoundError:
                self.refuse(file, "gone")
            except (EOFError, OSError, zlib.error) as error:
                if getattr(error, "errno", None) is not None:
                    raise  # the disk's fault, not the file's
                self.refuse(file, "broken compression")

    @abstractmethod
    def read_file(self, filepath: str) -> Iterator[Document]:
        """The documents of one file."""

    def document(self, place: str, text: str, **metadata: str | bool) -> Iterator[Document]:
        """The document at a place, if there is anything in it."""
        if text.strip():
            yield Document(text, f"{self.source}/{place}", metadata=metadata)
        else:
            self.refuse(place, "empty")

    def refuse(self, place: str, reason: str, text: str = "") -> None:
        """Count something that is no document, and why."""
        if self.exclusion_writer is not None:
            found = {"filter_reason": reason}
            self.exclusion_writer.write(Document(text, f"{self.source}/{place}", metadata=found))

    def open(self, filepath: str) -> IO[bytes]:
        """A file's bytes, unpacked."""
        file: IO[bytes] = self.data_folder.open(filepath, "rb", compression="infer")
        return file


class TextReader(Reader):
    """One document a file."""

    html = False

    def read_file(self, filepath: str) -> Iterator[Document]:
        """The file's text."""
        with self.open(filepath) as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            self.refuse(filepath, "too large")
            return
        try:
            text = decoded(data)
        except UnreadableError as error:
            self.refuse(filepath, str(error))
            return
        yield from self.document(filepath, text, **({"html": True} if self.html else {}))


class PageReader(TextReader):
    """One page a file."""

    html = True


class LinesReader(Reader):
    """One document a line of JSON."""

    def read_file(self, filepath: str) -> Iterator[Document]:
        """The documents of the lines that are sound."""
        with self.open(filepath) as file:
            number = 0
            while line := file.readline(LARGEST + 1):
                number += 1
                place = f"{filepath}/{number}"
                if len(line) > LARGEST:
                    self.refuse(place, "too large")
                    while line and not line.endswith(b"\n"):
                        line = file.readline(LARGEST)
                elif line.strip():
                    yield from self._line(place, line)

    def _line(self, place: str, line: bytes) -> Iterator[Document]:
        try:
            found = json.loads(line.decode())
        except UnicodeDecodeError:
            self.refuse(place, "wrong encoding")
            return
        except (ValueError, RecursionError):
            self.refuse(place, "no JSON", line[:200].decode("utf-8", "replace"))
            return
        yield from self.row(place, found)

    def row(self, place: str, found: object) -> Iterator[Document]:
        """The document of one object, if it has a text; with `html` true, it is a page."""
        row = found if isinstance(found, dict) else {}
        text, url = row.get(self.column), row.get("url")
        if isinstance(text, str):
            # Halves of pairs can be written in JSON, and are no text.
            text = text.encode("utf-8", "replace").decode()
            about: dict[str, str | bool] = {"url": url} if isinstance(url, str) else {}
            if row.get("html") is True:
                about["html"] = True
            yield from self.document(place, text, **about)
        else:
            self.refuse(place, f"no {self.column}")


class ParquetReader(LinesReader):
    """One document a row."""

    def read_file(self, filepath: str) -> Iterator[Document]:
        """The documents of the rows; a file that breaks off ends there."""
        import pyarrow
        import pyarrow.parquet

        number = 0
        with self.data_folder.open(filepath, "rb") as file:
            try:
                table = pyarrow.parquet.ParquetFile(file)
                held = table.schema_arrow.names
                columns = [name for name in (self.column, "url") if name in held]
                for batch in table.iter_batches(1000, columns=columns):
                    for row in batch.to_pylist():
                        number += 1
                        yield from self.row(f"{filepath}/{number}", row)
            except (pyarrow.ArrowException, OSError) as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise
                self.refuse(filepath, "broken Parquet")


class WarcReader(Reader):
    """One document for each HTML response, or each text that a crawler made of one."""

    def read_file(self, filepath: str) -> Iterator[Document]:
        """The documents of the records that are sound; after a broken one, the next is sought."""
        from warcio.archiveiterator import ArchiveIterator  # type: ignore[import-untyped]
        from warcio.exceptions import ArchiveLoadFailed  # type: ignore[import-untyped]

        with self.data_folder.open(filepath, "rb") as file:
            size = self.data_folder.size(filepath)
            start = 0
            while start < size:
                file.seek(start)
                records = ArchiveIterator(file)
                try:
                    for record in records:  # `offset` is where it begins, until it is read
                        yield from self._record(f"{filepath}/{records.offset}", record)
                    return
                except (ArchiveLoadFailed, EOFError, zlib.error, ValueError, AttributeError):
                    self.refuse(f"{filepath}/{records.offset}", "broken record")
                    start = _next_record(file, records.offset + 1, size)

    def _record(self, place: str, record: ArcWarcRecord) -> Iterator[Document]:
        kind = record.rec_type
        if kind not in ("response", "conversion"):
            if kind not in _OTHER_RECORDS:
                self.refuse(place, "broken record")
            return
        headers = record.http_headers if kind == "response" else record.rec_headers
        media = (headers.get_header("Content-Type") or "") if headers else ""
        wanted = ("text/html", "application/xhtml+xml") if kind == "response" else ("text/plain",)
        if not media.lower().startswith(wanted):
            self.refuse(place, "not a page")
            return
        data = record.content_stream().read(LARGEST + 1)
        if len(data) > LARGEST:
            self.refuse(place, "too large")
            return
        try:
            text = decoded(data, media)
        except UnreadableError as error:
            self.refuse(place, str(error))
            return
        found = {"url": record.rec_headers.get_header("WARC-Target-URI") or ""}
        yield from self.document(
            place, text, **found, **({"html": True} if kind == "response" else {})
        )


def _next_record(file: IO[bytes], start: int, size: int) -> int:
    """Where the next record of a WARC may begin, at or after `start`."""
    marks = (b"\x1f\x8b\x08", b"WARC/1.")
    held, at = b"", start
    file.seek(start)
    while data := file.read(1 << 20):
        block = held + data
        places = [place for mark in marks if (place := block.find(mark)) >= 0]
        if places:
            return at - len(held) + min(places)
        held = block[-8:]
        at += len(data)
    return size


class HubReader(HuggingFaceDatasetReader):  # type: ignore[misc]
    """Rows of a set that the `datasets` package brings."""

    def __init__(self, source: recipe.Hub, number: str) -> None:
        """Read `source`, the recipe's source of this number."""
        options = {"name": source.config, "split": source.split, "revision": source.revision}
        super().__init__(
            source.name,
            {name: value for name, value in options.items() if value is not None},
            streaming=True,
            limit=-1 if source.documents is None else source.documents,
            adapter=_row,
            text_key=source.text,
        )
        self.name = f"{number} {source.name}"
        self.exclusion_writer: Any = None
        self.source = number


def _row(self: HubReader, data: dict[str, Any], path: str, place: str) -> dict[str, Any]:
    url = data.get("url")
    return {
        "text": data.get(self.text_key) or "",
        "id": f"{self.source}/{place}",
        "metadata": {"url": url} if isinstance(url, str) else {},
    }
