"""A file in pieces, each with its SHA-256: who fetches it can go on, and need trust no byte.

Digests are computed once and kept under `POCKETLM_HOME/pieces`, as long as the file has its size
and time of change. It knows files and digests, not what is in a file, nor who fetches it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from pocketlm.errors import Error, StoreError
from pocketlm.formats.output import new_file
from pocketlm.store.names import is_sha256

_log = logging.getLogger("pocketlm.store")

#: Small enough that a phone that loses its network loses little, and below what any host of files
#: takes (25 MiB); large enough that a model has some hundred at most.
PIECE_BYTES = 8 << 20


@dataclass(frozen=True)
class Pieces:
    """A file of `bytes` bytes, its digest, and those of its pieces: all but the last are full."""

    bytes: int
    sha256: str
    piece_bytes: int
    pieces: tuple[str, ...]


def pieces_of(
    path: Path, home: Path, progress: Callable[[str, int, int], None] = lambda *_: None
) -> Pieces:
    """The pieces of the file at `path`, from what is kept in `home` if that is true of it still.

    `progress` is told the file's name, bytes read and bytes in all. Raises StoreError for a file
    that cannot be read, or that changes meanwhile.
    """
    kept = home / "pieces" / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:32]}.json"
    try:
        before = _state(path)
        if (found := _kept(kept, before)) is not None:
            return found
        made = _hashed(path, before[0], progress)
        if _state(path) != before:
            raise StoreError(f"{path} changed while it was read; try again")
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with new_file(kept) as file:
            file.write(json.dumps({"state": before, **asdict(made)}).encode())
    except (OSError, Error) as error:  # then they are computed again
        _log.warning("cannot keep the digests of %s: %s", path, error)
    return made


def _state(path: Path) -> list[int]:
    about = path.stat()
    return [about.st_size, about.st_mtime_ns]


def _hashed(path: Path, size: int, progress: Callable[[str, int, int], None]) -> Pieces:
    whole, pieces, done = hashlib.sha256(), [], 0
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            whole.update(piece)
            pieces.append(hashlib.sha256(piece).hexdigest())
            done += len(piece)
            progress(path.name, done, size)
    return Pieces(done, whole.hexdigest(), PIECE_BYTES, tuple(pieces))


def _kept(path: Path, state: list[int]) -> Pieces | None:
    """What is kept, or None where it is of another state of the file, or is damaged."""
    try:
        content = json.loads(path.read_bytes())
        found = Pieces(
            state[0], content["sha256"], content["piece_bytes"], tuple(content["pieces"])
        )
        sound = (
            content["state"] == state
            and found.piece_bytes == PIECE_BYTES
            and len(found.pieces) == -(-state[0] // PIECE_BYTES)
            and all(is_sha256(digest) for digest in (found.sha256, *found.pieces))
        )
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return found if sound else None
