"""A file into passages: opened with care here, read in a process of its own.

Knows kinds of files by their names and first bytes, and how many bytes are read of each. Does not
know which files people want (`index/walk.py`), nor what becomes of the passages.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import stat
from pathlib import Path
from typing import NamedTuple

from pocketlm.assistant.child import Child, ChildError
from pocketlm.assistant.documents.characters import is_text, shown
from pocketlm.assistant.documents.split import Piece
from pocketlm.errors import Error

#: Most bytes of a file: of one that is text, and of one that is a container.
MOST_OF_TEXT, MOST_OF_CONTAINER = 64 << 20, 512 << 20
#: Changed whenever the same file would give other passages: files are then read again.
VERSION = "1"
_KINDS = {
    "markdown": "md markdown mdown mkd",
    "html": "html htm xhtml xht",
    "pdf": "pdf",
    "epub": "epub",
    "code": "bash c cc cpp cs css cu cuh cxx dart ex exs fish go gradle h hpp hs hxx java jl js jsx"
    " kt kts lua m ml mjs mm php pl pm proto ps1 py pyi pyx r rb rs scala sh sql swift tcl ts tsx"
    " vim vue zig zsh",
}
_KIND_OF = {suffix: kind for kind, suffixes in _KINDS.items() for suffix in suffixes.split()}
_NEEDED = {"pdf": "pypdf", "html": "lxml", "markdown": "lxml", "epub": "lxml"}


class ReadingError(Error):
    """A file could not be read; the message says why, in words that follow its name."""


class MissingReaderError(ReadingError):
    """A package that reads this kind of file is not installed: worth another try later."""


class NotTextError(ReadingError):
    """The file is of no kind that has text: a picture, a program, an archive."""


class Content(NamedTuple):
    """What lies in a file, before it is read. `digest` is the same for the same passages."""

    kind: str
    data: bytes
    digest: bytes


def load(path: Path) -> Content:
    """The bytes of a regular file (not of what a link leads to), and what kind they are.

    Raises ReadingError, NotTextError.
    """
    try:
        # Without waiting: a pipe of that name would never open.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                raise NotTextError("is no regular file")
            head = file.read(8192)
            kind = _kind(path, head)
            most = MOST_OF_CONTAINER if kind in ("pdf", "epub") else MOST_OF_TEXT
            data = head + file.read(most + 1 - len(head)) if about.st_size <= most else b""
            if about.st_size > most or len(data) > most:
                raise ReadingError(f"has {about.st_size:,} bytes; at most {most:,} are read")
    except OSError as error:
        raise ReadingError(f"cannot be opened: {error.strerror}") from None
    digest = hashlib.blake2b(data, digest_size=20, person=f"{VERSION}{kind}".encode()).digest()
    return Content(kind, data, digest)


def _kind(path: Path, head: bytes) -> str:
    kind = _KIND_OF.get(path.suffix.lower().removeprefix("."), "text")
    if head.startswith(b"%PDF-"):
        return "pdf"
    if kind in ("pdf", "epub"):  # what it is not is found by its reader
        return kind
    if not is_text(head):
        raise NotTextError("is no text")
    return kind


class Reader:
    """Reads files into passages. The process behind it ends with `close`."""

    def __init__(self, seconds: float | None = None) -> None:
        """`seconds` of the processor's are the most for one file."""
        worker = "pocketlm.assistant.documents.worker"
        self._child = Child(worker) if seconds is None else Child(worker, seconds=seconds)

    def read(self, content: Content, path: Path) -> tuple[list[Piece], list[str]]:
        """The passages of a file, and notes for people. Raises ReadingError."""
        package = _NEEDED.get(content.kind)
        if package is not None and importlib.util.find_spec(package) is None:
            raise MissingReaderError(f"needs {package}: pip install 'pocketlm[search]'")
        name = " ".join(shown(os.fsencode(path.name).decode(errors="replace")).split())
        try:
            answer = self._child.ask({"kind": content.kind, "name": name}, content.data)
        except ChildError as error:
            raise ReadingError(str(error)) from None
        return [Piece(*piece) for piece in answer["passages"]], answer["notes"]

    def close(self) -> None:
        """End the process."""
        self._child.close()
