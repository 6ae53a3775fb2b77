"""Looking through a source: what is new or changed is read, what is gone is forgotten.

Knows files and the catalogue. Does not know the text index, which follows the catalogue.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from pocketlm.assistant.documents.reader import (
    MissingReaderError,
    NotTextError,
    Reader,
    ReadingError,
    load,
)
from pocketlm.assistant.index.catalogue import Catalogue, Known
from pocketlm.assistant.index.walk import Found, Walk

#: For how long files are read until that is made to last, in seconds.
_SAVE_SECONDS = 0.5
#: When a file was changed for which a package was missing: at a time that it never has again.
_NEVER = -1

#: Told the path of each file that is looked at.
Progress = Callable[[str], None]


@dataclass
class Report:
    """What came of looking through a source.

    `added`, `changed`, `removed` and `same` count files, `duplicates` those of the first two that
    hold what another file holds; `skipped` counts what was passed over, by kinds. `problems` are
    files that could not be read, and `notes` what was read in part or by a guess, with the reasons.
    """

    path: str
    added: int = 0
    changed: int = 0
    removed: int = 0
    same: int = 0
    duplicates: int = 0
    passages: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    problems: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)


class Update:
    """One look through a source, in steps. A context manager."""

    def __init__(
        self, catalogue: Catalogue, source: int, root: Path, without: Path, progress: Progress
    ) -> None:
        """Of the source with that number, at `root`; the folder `without` is passed over."""
        self.report = Report(str(root))
        self._catalogue = catalogue
        self._source = source
        self._progress = progress
        self._walk = Walk(root, without)
        self._files = self._walk.files()
        self._unseen = catalogue.files(source)
        self._reader = Reader()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process that reads."""
        self._reader.close()

    def read_some(self) -> bool:
        """Read for a while, within one transaction. Returns whether there is more."""
        enough = time.monotonic() + _SAVE_SECONDS
        for found in self._files:
            self._look(found)
            if time.monotonic() > enough:
                return True
        return False

    def finish(self) -> None:
        """Forget what was not there, and say that the source is complete."""
        closed = {folder for folder, _ in self._walk.closed}
        vanished = [path for path in self._unseen if closed.isdisjoint(Path(path).parents)]
        self._catalogue.remove_files(vanished)
        self._catalogue.complete(self._source)
        self.report.removed = len(vanished)
        self.report.skipped += self._walk.skipped
        self.report.problems += [(str(folder), reason) for folder, reason in self._walk.closed]

    def _look(self, found: Found) -> None:
        path = os.fsencode(found.path).decode(errors="backslashreplace")
        self._progress(path)
        if path != str(found.path):
            self.report.problems.append((path, "has a name that is not UTF-8"))
            return
        before = self._unseen.pop(path, None)
        if before is not None and before[:2] == (found.size, found.modified):
            self.report.same += 1
            return
        content, problem, modified = None, None, found.modified
        try:
            content = self._content(found.path, path)
        except NotTextError:
            problem = ""
            self.report.skipped["not text"] += 1
        except ReadingError as error:
            problem = str(error)
            self.report.problems.append((path, problem))
            if isinstance(error, MissingReaderError):
                modified = _NEVER
        known = Known(found.size, modified, problem)
        self._catalogue.put_file(self._source, path, known, content)
        if content is not None:
            self.report.added += before is None
            self.report.changed += before is not None

    def _content(self, file: Path, path: str) -> int:
        """The number of what a file holds, read if no other file holds the same."""
        loaded = load(file)
        content = self._catalogue.content(loaded.digest)
        if content is not None:
            self.report.duplicates += 1
            return content
        pieces, notes = self._reader.read(loaded, file)
        self.report.passages += len(pieces)
        self.report.notes += [(path, note) for note in notes]
        return self._catalogue.add_content(loaded.digest, pieces)
