"""Blocks of the cache kept on disk, so that a beginning is processed once and not once a run.

A file holds one full block: what it belongs to, all token ids up to its end, a checksum, and the
block's bytes. Whoever looks for a block knows everything about its file but those bytes; what
differs in anything else, or fails its checksum, is removed and was never there. Nothing that a file
says is taken on trust, no file depends on another, and any may vanish at any time.

It knows files, ids and a native cache's memory. It does not know which blocks a sequence needs: the
pool does. Saving is done by a thread of its own; when it fails, nothing is saved, and that is all.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import tempfile
import threading
import time
import zlib
from array import array
from collections import deque
from collections.abc import Iterator
from collections.abc import Sequence as Ids
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import pocketlm
from pocketlm.errors import ParameterError

if TYPE_CHECKING:
    from pocketlm._native import KVCache

#: Fewer tokens are as soon processed as they are looked for.
LEAST = 256
#: Bytes of all files, of all models, unless POCKETLM_PREFIX_CACHE says otherwise.
LIMIT = 2 * 10**9

_MAGIC = b"PLMKV\0\0\1"  # the last byte is the version
_NAME = re.compile(r"[0-9a-f]{32}\.kv|tmp.*\.kv")
_FOLDER = re.compile(r"[0-9a-f]{32}")
_UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


@dataclass(frozen=True)
class PrefixFolder:
    """Where the blocks of one model's files are kept, and which state those files are in."""

    path: Path
    #: Path, size and times of change of each file: none of them changes without this.
    files: str
    limit: int


def prefix_folder(home: Path, model: Path) -> PrefixFolder | None:
    """The folder under `home` for the model at `model`, or None where nothing is to be kept.

    Call it before the model is opened: what is replaced in between is then never found again.
    Raises ParameterError for a POCKETLM_PREFIX_CACHE that is no size.
    """
    limit = _limit()
    if limit == 0:
        return None
    from pocketlm.formats.gguf_checkpoint import part_paths

    files = []
    with suppress(OSError):  # which opening the model will tell
        paths = sorted(model.iterdir()) if model.is_dir() else part_paths(model)
        for path in paths:
            about = path.stat()
            files.append((str(path.resolve()), about.st_size, about.st_mtime_ns, about.st_ctime_ns))
    return PrefixFolder(_folder(home, model), repr(files), limit)


def forget(home: Path, model: Path) -> None:
    """Remove what is kept under `home` for the model at `model`, which may be gone itself."""
    folder = _folder(home, model)
    with suppress(OSError):
        for name in os.listdir(folder):
            if _NAME.fullmatch(name):
                (folder / name).unlink()
        folder.rmdir()


@dataclass(frozen=True, slots=True)
class Place:
    """The file of one block. `ids` are those from the beginning to the block's end, as bytes."""

    path: str
    owner: bytes
    ids: memoryview

    def exists(self) -> bool:
        """Whether there is a file of that name."""
        return os.path.lexists(self.path)

    @property
    def head(self) -> bytes:
        """What the file begins with; its checksum and the block's bytes follow."""
        return b"".join([_MAGIC, self.owner, len(self.ids).to_bytes(8, "little"), self.ids])


class PrefixCache:
    """The blocks of one model, in one cache, that are on disk.

    `runtime` names all that makes equal ids of equal files mean equal bytes: how the cache keeps
    numbers, what computes them, and so on.
    """

    def __init__(self, folder: PrefixFolder, cache: KVCache, runtime: str) -> None:
        """Use `folder`, which need not exist."""
        from pocketlm import _native

        build = os.stat(_native.__file__)
        self._folder = folder.path
        self._limit = folder.limit
        self._cache = cache
        about = (pocketlm.__version__, build.st_size, build.st_mtime_ns, sys.byteorder)
        self._owner = repr((about, folder.files, runtime)).encode()
        self._turn = threading.Lock()
        self._saving: list[threading.Thread] = []

    def places(self, tokens: Ids[int], key: bytes) -> list[Place]:
        """Where each whole block of `tokens` is, if it is kept. `key` is its sequence's.

        None of fewer than LEAST tokens is kept.
        """
        if len(tokens) < LEAST:
            return []
        owner = blake2b(self._owner + b"\0" + key, digest_size=32).digest()
        ids = memoryview(array("i", tokens).tobytes())
        size = self._cache.block_positions * array("i").itemsize
        hasher = blake2b(owner, digest_size=16)
        places = []
        for end in range(size, len(ids) + 1, size):
            hasher.update(ids[end - size : end])
            path = f"{self._folder}/{hasher.copy().hexdigest()}.kv"
            places.append(Place(path, owner, ids[:end]))
        return places

    def read(self, place: Place, block: int) -> bool:
        """Fill a native block; False where there is no sound file, and then none is left."""
        with (
            suppress(OSError),
            open(place.path, "rb", buffering=0, opener=_open_plain) as file,
        ):
            if self._filled(file.fileno(), place, self._cache.data(block).data):
                return True
        with suppress(OSError):
            os.unlink(place.path)
        return False

    def save(self, tokens: Ids[int], key: bytes, blocks: Ids[int]) -> None:
        """Keep the native `blocks` of the beginning of `tokens`; -1 stands for one that is gone.

        It is done later, and not at all where two others wait already.
        """
        self._saving = [thread for thread in self._saving if thread.is_alive()]
        if len(self._saving) > 1:
            return
        held = deque(
            (place, self._cache.data(block).data)
            for place, block in zip(self.places(tokens, key), blocks, strict=False)
            if block >= 0
        )
        if not held:
            return
        thread = threading.Thread(target=self._save, args=(held,), name="prefixes")
        with suppress(RuntimeError):  # no more threads, or the program ends
            thread.start()
            self._saving.append(thread)

    def close(self) -> None:
        """Wait until what was to be saved is."""
        for thread in self._saving:
            thread.join()

    def _filled(self, file: int, place: Place, data: memoryview) -> bool:
        expected = place.head
        found = bytearray(len(expected) + 4)
        about = os.fstat(file)
        return (
            stat.S_ISREG(about.st_mode)
            and about.st_uid == os.geteuid()
            and about.st_size == len(found) + len(data)
            and os.readv(file, [found, data]) == about.st_size
            and found[:-4] == expected
            and found[-4:] == _checksum(data)
        )

    def _save(self, held: deque[tuple[Place, memoryview]]) -> None:
        with self._turn, suppress(OSError):
            _make_private(self._folder)
            # The same time for all: among equally recent ones the end goes before the beginning.
            now = time.time_ns()
            missing: deque[tuple[Place, memoryview]] = deque()
            total = need = 0
            while held:
                place, data = held.popleft()
                size = len(place.head) + 4 + len(data)
                total += size
                if total > self._limit:
                    break
                if place.exists():
                    os.utime(place.path, ns=(now, now))
                else:
                    missing.append((place, data))
                    need += size
            held.clear()
            _sweep(self._folder.parent, self._limit - need)
            while missing:  # a block's memory is held no longer than it takes
                _write(*missing.popleft(), now)
            _sweep(self._folder.parent, self._limit)  # others may have saved as well


def _limit() -> int:
    """Bytes that POCKETLM_PREFIX_CACHE allows: "500MB", "2GB", "0"."""
    said = os.environ.get("POCKETLM_PREFIX_CACHE", "").strip()
    if not said:
        return LIMIT
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) *([a-z]*)", said.lower())
    if match is None or match[2] not in _UNITS:
        raise ParameterError(
            f"POCKETLM_PREFIX_CACHE is {said!r}; it must be a size as 500MB or 2GB, or 0 for none"
        )
    return int(float(match[1]) * _UNITS[match[2]])


def _folder(home: Path, model: Path) -> Path:
    return home / blake2b(os.fsencode(os.path.abspath(model)), digest_size=16).hexdigest()


def _make_private(folder: Path) -> None:
    """Make a folder that only its owner reads. Raises OSError, also where it is another's."""
    folder.parent.parent.mkdir(parents=True, exist_ok=True)
    for path in (folder.parent, folder):
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
    os.chmod(folder, 0o700)


def _open_plain(path: str, flags: int) -> int:
    """Open a file itself, not what a link points to, and without waiting if it is a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _checksum(data: memoryview) -> bytes:
    return zlib.crc32(data).to_bytes(4, "little")


def _write(place: Place, data: memoryview, now: int) -> None:
    """Write beside and rename. Without fsync: what a power cut damages fails its checksum."""
    folder = os.path.dirname(place.path)
    descriptor, beside = tempfile.mkstemp(".kv", "tmp", folder)  # readable by its owner alone
    try:
        with open(descriptor, "wb") as file:
            file.write(place.head + _checksum(data))
            file.write(data)
        os.utime(beside, ns=(now, now))
        os.replace(beside, place.path)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise


def _sweep(home: Path, limit: int) -> None:
    """Remove files until `limit` bytes are left: the least recently used, ends first."""
    found = [(about.st_mtime_ns, -about.st_size, path) for path, about in _kept(home)]
    total = -sum(negative for _, negative, _ in found)
    for _, negative, path in sorted(found):
        if total <= limit:
            break
        with suppress(FileNotFoundError):
            os.unlink(path)
        total += negative


def _kept(home: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Files of ours, finished or not: whatever else lies there is not ours to count or remove."""
    for folder in os.scandir(home):
        if _FOLDER.fullmatch(folder.name) and folder.is_dir(follow_symlinks=False):
            for entry in os.scandir(folder):
                with suppress(FileNotFoundError):
                    about = entry.stat(follow_symlinks=False)
                    if _NAME.fullmatch(entry.name) and stat.S_ISREG(about.st_mode):
                        yield entry.path, about
