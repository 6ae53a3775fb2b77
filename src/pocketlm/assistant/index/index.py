"""The index of a person's documents: adding, keeping up to date, and searching.

Knows the catalogue, the text index and the reader of files, and keeps the first two in step. Can be
ended at any moment: what was read stays, and the rest is read the next time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from pocketlm.assistant import zim
from pocketlm.assistant.index.catalogue import Catalogue, Entry
from pocketlm.assistant.index.ranking import CANDIDATES, Ranker
from pocketlm.assistant.index.text_index import TextIndex
from pocketlm.assistant.index.update import Progress, Report, Update
from pocketlm.assistant.passage import Passage
from pocketlm.errors import ParameterError, SearchError

#: How often the text index is made to have what was read, in seconds.
_COMMIT_SECONDS = 30.0


class Index:
    """The indexed documents. A context manager; not for use by two threads at a time.

    Several processes may search while one changes it. Methods raise SearchError for an index that
    is damaged or in use, ParameterError for what is no source.
    """

    def __init__(self, folder: Path, ranker: Ranker | None = None) -> None:
        """See `open`. Without a `ranker` there is the one that is installed."""
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SearchError(f"the index {folder} cannot be made: {error.strerror}") from None
        self._text = TextIndex(folder / "words")
        self._catalogue = Catalogue(folder / "catalogue.sqlite")
        self._ranker = ranker

    @classmethod
    def open(cls, home: Path, ranker: Ranker | None = None) -> Index:
        """The index under pocketlm's `home`, made if missing, for its owner alone."""
        return cls(home / "index", ranker)

    def close(self) -> None:
        """Close it."""
        self._text.close()
        self._catalogue.close()

    def __enter__(self) -> Self:
        """Return the index."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def sources(self) -> list[Entry]:
        """What was added, by paths."""
        return self._catalogue.sources()

    def problems(self) -> list[tuple[str, str]]:
        """Files that could not be read, and why."""
        return self._catalogue.problems()

    def add(self, path: Path, progress: Progress = lambda path: None) -> list[Report]:
        """Add a folder with all that is in it, or a file, and read what is new or changed.

        A folder takes in sources that lie in it. What lies in a source already is that source's:
        it is refreshed. An encyclopedia (.zim) is noted only: it brings an index of its own.
        """
        path = _there(path)
        if path.suffix.lower() == ".zim" and path.is_file():
            child = zim.opener()
            zim.Archive(path, child).about()  # which raises for what is none
            child.close()
            with self._changing(), self._catalogue.transaction():
                self._catalogue.complete(self._catalogue.add_source(str(path), "zim"))
            return [Report(str(path), added=1)]
        for entry in self.sources():
            if entry.kind == "folder" and Path(entry.path) in path.parents:
                reports = self.refresh(Path(entry.path), progress)
                if not path.is_dir() and not self._catalogue.has_file(str(path)):
                    raise ParameterError(f"{path} lies in {entry.path}, and is passed over there")
                return reports
        with self._changing():
            with self._catalogue.transaction():
                kind = "folder" if path.is_dir() else "file"
                source = self._catalogue.add_source(str(path), kind)
                for entry in self.sources():
                    if entry.kind != "zim" and path in Path(entry.path).parents:
                        inner = self._catalogue.add_source(entry.path, entry.kind)
                        self._catalogue.merge(inner, source)
            return [self._updated(source, path, progress)]

    def refresh(
        self, path: Path | None = None, progress: Progress = lambda path: None
    ) -> list[Report]:
        """Read what is new or changed in a source, or in all, and forget what is gone.

        A source that is not there at all (a drive that is not plugged in) is left as it is.
        """
        wanted = self.sources() if path is None else [self._entry(path)]
        reports = []
        with self._changing():
            for entry in wanted:
                if not os.path.lexists(entry.path):
                    reason = "is not there now; what was read of it is kept"
                    reports.append(Report(entry.path, notes=[(entry.path, reason)]))
                elif entry.kind != "zim":
                    source = self._catalogue.add_source(entry.path, entry.kind)
                    reports.append(self._updated(source, Path(entry.path), progress))
        return reports

    def remove(self, path: Path) -> Entry:
        """Forget a source. The files themselves stay where they are."""
        entry = self._entry(path)
        with self._changing():
            with self._catalogue.transaction():
                self._catalogue.remove_source(entry.path)
            self._catch_up()
        return entry

    def search(self, query: str, count: int = 5) -> list[Passage]:
        """The `count` best passages, the best first. Raises ParameterError for no word."""
        hits = self._text.search(query, max(CANDIDATES, count))
        there = self._catalogue.passages([hit.passage for hit in hits])
        found = [
            Passage(p.source, p.title, p.text, hit.score)
            for hit in hits
            if (p := there.get(hit.passage)) is not None
        ]
        if self._ranker is None:
            self._ranker = Ranker.installed()
        return self._ranker.ordered(query, found, count)

    def _entry(self, path: Path) -> Entry:
        named = {entry.path: entry for entry in self.sources()}
        for name in (str(path), str(Path(os.path.abspath(path))), str(path.resolve())):
            if name in named:
                return named[name]
        raise ParameterError(f"{path} was not added; see `pocketlm index list`")

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One process at a time, from a state in which catalogue and text index agree."""
        lock = FileLock(self._folder / "lock", timeout=0, mode=0o600)
        try:
            lock.acquire()
        except Timeout:
            raise SearchError(
                "another process is changing the index; try again when it is done"
            ) from None
        try:
            if self._text.is_empty():  # it may have been removed because it was damaged
                self._catalogue.unsettle()
            self._catch_up()
            yield
        finally:
            self._text.close()
            lock.release()

    def _catch_up(self) -> None:
        """Bring the text index to what the catalogue says."""
        waiting, dropped = self._catalogue.waiting_contents(), self._catalogue.dropped()
        if not waiting and not dropped:
            return
        for content in (*waiting, *dropped):
            self._text.remove(content)
        for passage in self._catalogue.waiting():
            self._text.add(*passage)
        self._text.commit()
        with self._catalogue.transaction():
            self._catalogue.settle()

    def _updated(self, source: int, root: Path, progress: Progress) -> Report:
        committed = time.monotonic()
        with Update(self._catalogue, source, root, self._folder, progress) as update:
            try:
                more = True
                while more:
                    with self._catalogue.transaction():
                        more = update.read_some()
                    if time.monotonic() > committed + _COMMIT_SECONDS:
                        self._catch_up()
                        committed = time.monotonic()
                with self._catalogue.transaction():
                    update.finish()
            finally:
                self._catch_up()
            return update.report


def _there(path: Path) -> Path:
    """The absolute path without links. Raises ParameterError where there is nothing."""
    try:
        found = path.expanduser().resolve(strict=True)
        str(found).encode()
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ParameterError(f"{path} cannot be added: {reason}") from None
    except UnicodeEncodeError:
        raise ParameterError(f"{path!r} cannot be added: its name is not UTF-8") from None
    if not found.is_dir() and not found.is_file():
        raise ParameterError(f"{path} cannot be added: it is neither a folder nor a file")
    return found
