"""The run's log: a line of JSON a step, and what a run that goes on does to it.

A line of a step has its `phase`, loss, rate and the like; a measurement on held-back text has the
name of the set as `validation`, scores of a probe have its name as `probe`. It knows lines; it
knows no training.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pocketlm.formats.output import new_file, writing


class Log:
    """An append-only file of JSON lines, each with a `step`."""

    def __init__(self, path: Path, step: int) -> None:
        """Go on after `step`: what an earlier process wrote beyond it will be written again."""
        self._path = path
        kept = [line for line in read(path) if line["step"] <= step]
        with new_file(path) as file:
            file.writelines(_line(line) for line in kept)
        with writing(path):
            self._file = path.open("ab")

    def write(self, line: Mapping[str, Any]) -> None:
        """Add a line, at once. Raises OutputError where the disk is full."""
        with writing(self._path):
            self._file.write(_line(line))
            self._file.flush()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a log; none where there is no file."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                yield json.loads(line)
            except ValueError:  # a process was killed while it wrote
                return


def _line(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"
