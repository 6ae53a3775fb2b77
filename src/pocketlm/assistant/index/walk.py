"""The files of a folder that are worth reading. Knows names and folders, opens no file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_FOLDERS = frozenset(("node_modules", "bower_components", "__pycache__"))
#: In a folder with such a file everything can be made again: an environment, a cache.
_SIGNS = frozenset(("pyvenv.cfg", "CACHEDIR.TAG"))
#: Text, but made by programs for programs.
_SUFFIXES = (".svg", ".map", ".lock", ".min.js", ".min.css")


class Found(NamedTuple):
    """A file, and by what a change of it is noticed: its bytes, and nanoseconds since 1970."""

    path: Path
    size: int
    modified: int


class Walk:
    """Walks through a folder, once. Afterwards it tells what was passed over."""

    def __init__(self, root: Path, without: Path) -> None:
        """`root` is a folder or a file; the folder `without` is passed over."""
        self._root = root
        self._without = without
        #: How many of a kind were passed over ("hidden", "links", …).
        self.skipped: Counter[str] = Counter()
        #: Folders that could not be read, with the reasons.
        self.closed: list[tuple[Path, str]] = []

    def files(self) -> Iterator[Found]:
        """The files, in the order of their names. Links are not followed."""
        if not self._root.is_dir():
            about = self._root.lstat()
            yield Found(self._root, about.st_size, about.st_mtime_ns)
            return
        folders = [self._root]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(folder) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except OSError as error:
                self.closed.append((folder, f"cannot be opened: {error.strerror}"))
                continue
            if folder != self._root and not _SIGNS.isdisjoint(entry.name for entry in entries):
                self.skipped["made by programs"] += 1
                continue
            below = []
            for entry in entries:
                path = Path(entry.path)
                if reason := self._reason(entry, path):
                    self.skipped[reason] += 1
                elif entry.is_dir(follow_symlinks=False):
                    below.append(path)
                else:
                    try:
                        about = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:  # it went just now
                        continue
                    yield Found(path, about.st_size, about.st_mtime_ns)
            folders += reversed(below)

    def _reason(self, entry: os.DirEntry[str], path: Path) -> str | None:
        """Why it is passed over, as a kind; None if it is not."""
        if entry.is_symlink():
            return "links"
        if entry.name.startswith("."):
            return "hidden"
        if entry.is_dir(follow_symlinks=False):
            made = entry.name in _FOLDERS or path == self._without
        else:
            made = entry.name.lower().endswith(_SUFFIXES)
            if not entry.is_file(follow_symlinks=False):
                return "devices and pipes"
        return "made by programs" if made else None
