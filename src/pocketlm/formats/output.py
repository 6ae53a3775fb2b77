"""Output that is whole or not there: written beside its place, renamed into it when it is done.

It knows files, folders, disk space and interruption. It knows no format. What is being written is
locked, so that what a killed process left behind can be told from it, and goes with the next
attempt at the same output.
"""

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt

from pocketlm.errors import OutputError

Buffer = bytes | bytearray | memoryview | npt.NDArray[np.generic]


@contextlib.contextmanager
def new_file(path: Path, size: int = 0) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when the block ends, and goes if it fails.

    `size` bytes must be free on the disk. Raises OutputError where they are not, or where the file
    cannot be written; a KeyboardInterrupt or any other exception leaves nothing behind either.
    """
    with writing(path):
        _sweep(path)
        _check_space(path, size)
        beside = _beside(path)
        try:
            with beside.open("xb") as file:
                _lock(file.fileno())
                yield file
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: Path, size: int = 0) -> Iterator[Path]:
    """Make a folder that takes the place of `path` when the block ends, and goes if it fails.

    As `new_file`; files are written into the folder that it gives. What was at `path` is removed
    when the new folder is in its place.
    """
    with writing(path):
        _sweep(path)
        _check_space(path, size)
        beside, before = _beside(path), _beside(path, "before")
        try:
            beside.mkdir()
            with _locked(beside):
                yield beside
                if path.exists():
                    path.rename(before)
                beside.rename(path)
        finally:
            if before.exists() and not path.exists():
                before.rename(path)
            for left in (beside, before):
                if left.exists():
                    shutil.rmtree(left)


@contextlib.contextmanager
def scratch_beside(path: Path, size: int) -> Iterator[BinaryIO]:
    """A file without a name in the folder of `path`, gone when the block ends; as `new_file`."""
    with writing(path):
        _check_space(path, size)
        with tempfile.TemporaryFile(dir=path.parent) as file:
            yield cast(BinaryIO, file)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError within into an OutputError that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            with contextlib.suppress(OSError):
                free = shutil.disk_usage(path.parent).free
                raise OutputError(
                    f"{path}: the disk is full: {path.parent} has {free:,} bytes left"
                ) from None
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from None


def _beside(path: Path, kind: str = "part") -> Path:
    """A name in the same folder that nobody has."""
    return path.with_name(f".{path.name[:200]}.{secrets.token_hex(6)}.{kind}")


def _lock(descriptor: int) -> None:
    # Where a disk knows no locks, what is left of a killed process stays.
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _sweep(path: Path) -> None:
    """Remove what processes that were killed left of the output `path`, as far as that can be."""
    name = re.compile(rf"\.{re.escape(path.name[:200])}\.[0-9a-f]{{12}}\.part")
    with contextlib.suppress(OSError):
        for left in path.parent.iterdir():
            if name.fullmatch(left.name):
                _remove_unlocked(left)


def _remove_unlocked(part: Path) -> None:
    descriptor = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if part.is_dir():
                shutil.rmtree(part)
            else:
                part.unlink()
    finally:
        os.close(descriptor)


def _check_space(path: Path, size: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise OutputError(
            f"{path}: no space: {size:,} bytes are needed, {free:,} are free in {path.parent}"
        )


class InOrder:
    """The data of named parts on their way to a file, in the order that was announced.

    Each part begins at a multiple of `alignment`. Raises ValueError for data that are not as
    announced.
    """

    def __init__(
        self, file: BinaryIO, parts: Sequence[tuple[str, int]], alignment: int = 1
    ) -> None:
        """Append to `file` the `parts`: names, and lengths in bytes."""
        self._file = file
        self._parts = iter(parts)
        self._alignment = alignment
        self._advance()

    def write(self, name: str, data: Buffer) -> None:
        """Append `data` to the part `name`; a part may come in any number of pieces."""
        if name != self._name:
            raise ValueError(f"{name!r} is not the next part")
        view = np.ascontiguousarray(data).data if isinstance(data, np.ndarray) else memoryview(data)
        if view.nbytes > self._left:
            raise ValueError(f"{name!r} has {view.nbytes - self._left} bytes too many")
        self._file.write(view.cast("B"))
        self._left -= view.nbytes
        if self._left == 0:
            self._file.write(bytes(-self._size % self._alignment))
            self._advance()

    def finish(self) -> None:
        """Raise ValueError where something is missing."""
        if self._name is not None:
            raise ValueError(f"{self._name!r} is not complete")

    def _advance(self) -> None:
        self._name: str | None
        self._name, self._size = next(self._parts, (None, 0))
        self._left = self._size
