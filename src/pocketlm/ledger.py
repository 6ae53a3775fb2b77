"""Work that is done stays done: a file to which each finished piece is added as it is finished.

Lines of JSON. A run that was killed reads them and goes on with what is missing; a line that was
cut while it was written is forgotten. It knows keys and values; it does not know what they mean.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pocketlm.errors import ParameterError
from pocketlm.formats.output import writing


class Ledger:
    """Keys (any JSON) to values (JSON objects), of one piece of work. A context manager."""

    def __init__(self, path: Path, work: Mapping[str, Any]) -> None:
        """Open or begin the ledger at `path` of the work that `work` describes (any JSON).

        Raises ParameterError where it is of other work: such results must not be mixed.
        """
        self._path = path
        self._done: dict[str, dict[str, Any]] = {}
        whole = self._read(work)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                with path.open("r+b") as file:
                    file.truncate(whole)
            self._file = path.open("ab")
        if not whole:
            self._write({"work": work})

    def __len__(self) -> int:
        """How many pieces are done."""
        return len(self._done)

    def __contains__(self, key: object) -> bool:
        """Whether the piece is done."""
        return _name(key) in self._done

    def __getitem__(self, key: object) -> dict[str, Any]:
        """What the piece gave. Raises KeyError for one that is not done."""
        return self._done[_name(key)]

    def __setitem__(self, key: object, value: dict[str, Any]) -> None:
        """Keep what a piece gave, at once."""
        name = _name(key)
        self._write({"key": name, "value": value})
        self._done[name] = value

    def _write(self, line: Mapping[str, Any]) -> None:
        with writing(self._path):
            # Half a pair of surrogates, which a text may hold and UTF-8 may not, is escaped.
            text = json.dumps(line, ensure_ascii=False).encode(errors="backslashreplace")
            self._file.write(text + b"\n")
            self._file.flush()

    def _read(self, work: Mapping[str, Any]) -> int:
        """Read what is there; how many bytes of it are whole lines."""
        if not self._path.exists():
            return 0
        whole = 0
        with self._path.open("rb") as file:
            for line in file:
                try:
                    found = json.loads(line)
                except ValueError:
                    break
                if not line.endswith(b"\n"):
                    break
                if "work" in found:
                    self._compare(found["work"], json.loads(json.dumps(work)))
                else:
                    self._done[found["key"]] = found["value"]
                whole += len(line)
        return whole

    def _compare(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        names = sorted(set(before) | set(now))
        other = [name for name in names if before.get(name) != now.get(name)]
        if other:
            said = ", ".join(f"{name} {before.get(name)!r}" for name in other)
            raise ParameterError(
                f"{self._path.parent}: holds results of another run ({said}); "
                "name another folder by --out, or remove this one"
            )

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()


def values(path: Path) -> list[dict[str, Any]]:
    """What the pieces of a ledger gave, whatever work it is of, in the order they were done.

    Raises OSError, and ValueError, KeyError or TypeError for a file that is no ledger.
    """
    with path.open("rb") as file:
        lines = [json.loads(line) for line in file if line.endswith(b"\n")]
    return [line["value"] for line in lines if "work" not in line]


def _name(key: object) -> str:
    text = json.dumps(key, ensure_ascii=False, sort_keys=True)
    if len(text) <= 64:
        return text
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()
