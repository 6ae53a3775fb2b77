"""Token shards: what the data recipe ends in and what training reads.

A folder with

- `shards.json`: the description (`Description`), written last, so that a folder with it is whole;
- `tokenizer.json`: the tokenizer that made the ids;
- parts: `NAME.bin`, the ids of all documents one after another (uint16 or uint32, little-endian),
  each document followed by the end-of-document id; `NAME.offsets`, where each document begins and,
  last, where the part ends (int64, little-endian).

It knows arrays of ids. It does not know how text became ids, or in what order they are trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pocketlm.errors import Error, ParameterError
from pocketlm.formats.output import new_file

Ids = npt.NDArray[Any]
"""Of uint16 or uint32."""
DESCRIPTION = "shards.json"
TOKENIZER: Literal["tokenizer.json"] = "tokenizer.json"
_OFFSET = np.dtype("<i8")
_Count = Annotated[int, Field(ge=0)]
_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")]


class ShardsError(Error):
    """A folder of shards is missing, empty or damaged; the message says which file and how."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(_Strict):
    """One pair of files of a folder of shards."""

    name: _Name
    tokens: _Count
    """End-of-document ids included."""
    documents: _Count
    sha256: _Sha256
    """Of `NAME.bin`."""


class Description(_Strict):
    """What `shards.json` holds."""

    version: Literal[1] = 1
    source: str
    dtype: Literal["uint16", "uint32"]
    vocabulary: Annotated[int, Field(ge=1)]
    end_of_document: _Count
    tokenizer: Literal["tokenizer.json"] = TOKENIZER
    tokenizer_sha256: _Sha256
    documents: _Count
    tokens: _Count
    parts: tuple[Part, ...]


class Shards:
    """A folder of shards, mapped: documents and tokens in the order of the parts.

    `documents` and `tokens` count; `description` has the rest.
    """

    def __init__(self, folder: Path) -> None:
        """Open `folder`. Raises ShardsError where it is missing, empty or damaged."""
        self.folder = folder
        self.description = _described(folder)
        self.documents, self.tokens = self.description.documents, self.description.tokens
        dtype = np.dtype(self.description.dtype).newbyteorder("<")
        self._ids: list[Ids] = []
        self._starts = np.zeros(1, np.int64)
        """Where each part begins, in tokens; and the end."""
        offsets = [np.zeros(1, np.int64)]
        for part in self.description.parts:
            if part.documents == 0:
                continue
            begins = _mapped(folder / f"{part.name}.offsets", _OFFSET, part.documents + 1)
            _check_offsets(folder / f"{part.name}.offsets", begins, part.tokens)
            self._ids.append(_mapped(folder / f"{part.name}.bin", dtype, part.tokens))
            start = self._starts[-1]
            offsets.append(np.asarray(begins[1:]) + start)
            self._starts = np.append(self._starts, start + part.tokens)
        self.offsets: npt.NDArray[np.int64] = np.concatenate(offsets)
        """Where each document begins, and the end of the last: documents + 1 numbers."""
        if len(self.offsets) != self.documents + 1 or self.offsets[-1] != self.tokens:
            raise ShardsError(
                f"{folder / DESCRIPTION}: says {self.documents:,} documents and {self.tokens:,} "
                f"tokens, its parts have {len(self.offsets) - 1:,} and {self.offsets[-1]:,}"
            )

    @property
    def vocabulary(self) -> int:
        """How many ids the tokenizer has."""
        return self.description.vocabulary

    @property
    def end_of_document(self) -> int:
        """The id after each document."""
        return self.description.end_of_document

    @property
    def tokenizer(self) -> Path:
        """The tokenizer's file."""
        return self.folder / TOKENIZER

    def document(self, number: int) -> Ids:
        """The ids of one document, the end-of-document id last."""
        if not 0 <= number < self.documents:
            raise IndexError(f"document {number} of {self.documents}")
        return self.read(int(self.offsets[number]), int(self.offsets[number + 1]))

    def read(self, start: int, end: int) -> Ids:
        """The ids `start` to `end` of all documents one after another; a view where it can be."""
        if not 0 <= start <= end <= self.tokens:
            raise IndexError(f"tokens {start} to {end} of {self.tokens}")
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        pieces: list[Ids] = []
        while start < end:
            begin, stop = int(self._starts[first]), int(self._starts[first + 1])
            pieces.append(self._ids[first][start - begin : min(end, stop) - begin])
            start, first = min(end, stop), first + 1
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if pieces else np.zeros(0, self.description.dtype)

    def verify(self) -> None:
        """Read everything: checksums, ids within the vocabulary, the end after each document.

        Raises ShardsError for the first file that is not as described.
        """
        if _sha256(self.tokenizer) != self.description.tokenizer_sha256:
            raise ShardsError(f"{self.tokenizer}: not the tokenizer that made these shards")
        held = [part for part in self.description.parts if part.documents]
        for part, ids in zip(held, self._ids, strict=True):
            path = self.folder / f"{part.name}.bin"
            if _sha256(path) != part.sha256:
                raise ShardsError(f"{path}: damaged: its SHA-256 is not the one in {DESCRIPTION}")
            if int(ids.max()) >= self.vocabulary:
                raise ShardsError(f"{path}: has ids beyond the vocabulary of {self.vocabulary:,}")
        for number, stop in enumerate(self.offsets[1:]):
            if self.read(int(stop) - 1, int(stop))[0] != self.end_of_document:
                raise ShardsError(f"{self.folder}: document {number} has no end")


def write_part(
    folder: Path, name: str, documents: Iterable[Sequence[int]], *, vocabulary: int, end: int
) -> Part:
    """Write one part: the ids of each document (without the end, which is added).

    `vocabulary` is how many ids there are; it decides between 16 and 32 bits. Documents without
    ids are left out. Raises ParameterError for an id outside the vocabulary, OutputError where the
    disk is full; a part that is not whole is not there.
    """
    dtype = np.dtype(dtype_of(vocabulary)).newbyteorder("<")
    offsets = [0]
    digest = hashlib.sha256()
    path = folder / f"{name}.bin"
    with new_file(path) as file:
        for ids in documents:
            if not len(ids):
                continue
            wide = np.append(np.asarray(ids, np.int64), end)
            if wide.min() < 0 or wide.max() >= vocabulary:
                raise ParameterError(f"{path}: an id is outside the vocabulary of {vocabulary:,}")
            data = wide.astype(dtype).tobytes()
            digest.update(data)
            file.write(data)
            offsets.append(offsets[-1] + len(wide))
    with new_file(folder / f"{name}.offsets") as file:
        file.write(np.array(offsets, _OFFSET).tobytes())
    return Part(
        name=name, tokens=offsets[-1], documents=len(offsets) - 1, sha256=digest.hexdigest()
    )


def seal(
    folder: Path, parts: Sequence[Part], *, tokenizer: Path, vocabulary: int, end: int, source: str
) -> Description:
    """Copy the tokenizer beside `parts` that are written, and describe them: the folder is whole.

    Raises ShardsError where no part has a document: there would be nothing to train on.
    """
    if not any(part.documents for part in parts):
        raise ShardsError(f"{folder}: no document was left to make shards of")
    text = tokenizer.read_bytes()
    with new_file(folder / TOKENIZER) as file:
        file.write(text)
    description = Description(
        source=source,
        dtype=dtype_of(vocabulary),
        vocabulary=vocabulary,
        end_of_document=end,
        tokenizer_sha256=hashlib.sha256(text).hexdigest(),
        documents=sum(part.documents for part in parts),
        tokens=sum(part.tokens for part in parts),
        parts=tuple(parts),
    )
    with new_file(folder / DESCRIPTION) as file:
        file.write(description.model_dump_json(indent=1).encode() + b"\n")
    return description


def dtype_of(vocabulary: int) -> Literal["uint16", "uint32"]:
    """The smallest type that holds the ids of a vocabulary."""
    return "uint16" if vocabulary <= 1 << 16 else "uint32"


def _described(folder: Path) -> Description:
    path = folder / DESCRIPTION
    try:
        description = Description.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ShardsError(
            f"{folder}: no token shards here ({DESCRIPTION} is missing); "
            "make them with `pocketlm data build`"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ShardsError(f"{path}: damaged: {where or 'the file'}: {first['msg']}") from None
    except OSError as error:
        raise ShardsError(f"{path}: cannot be read: {error.strerror}") from None
    if not description.documents:
        raise ShardsError(f"{folder}: these shards are empty")
    return description


def _mapped(path: Path, dtype: np.dtype[Any], count: int) -> npt.NDArray[Any]:
    """Map a file that must hold exactly `count` numbers."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ShardsError(f"{path}: cannot be read: {error.strerror}") from None
    if size != count * dtype.itemsize:
        raise ShardsError(f"{path}: damaged: {size:,} bytes instead of {count * dtype.itemsize:,}")
    return np.memmap(path, dtype, "r", shape=(count,))


def _check_offsets(path: Path, offsets: npt.NDArray[Any], tokens: int) -> None:
    begins = np.asarray(offsets, np.int64)
    if begins[0] != 0 or begins[-1] != tokens or (np.diff(begins) < 2).any():
        raise ShardsError(f"{path}: damaged: documents overlap or leave gaps")


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ShardsError(f"{path}: cannot be read: {error.strerror}") from None


def texts(shards: Shards) -> Iterator[str]:
    """The documents as text again, by the shards' own tokenizer."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(shards.tokenizer))
    for number in range(shards.documents):
        yield tokenizer.decode(shards.document(number)[:-1].tolist(), skip_special_tokens=False)
