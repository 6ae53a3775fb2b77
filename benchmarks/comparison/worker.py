"""An engine in a process of its own: both ends.

The parent writes a work a line, the child answers with a line of JSON. What the child imports is
its engine alone, so that its Python need not be ours, and its memory is the engine's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from comparison.works import Work

#: Tokens of the prompt, and positions of the context, when the first token is waited for.
FIRST_PROMPT, FIRST_CONTEXT = 16, 512


@dataclass(frozen=True)
class Setting:
    """An engine, how it is to run, and the Python that has it."""

    #: As tables name it.
    name: str
    #: The module of this package that drives it.
    engine: str
    path: str
    python: str = sys.executable
    options: dict[str, Any] = field(default_factory=dict)


class _Child:
    """A process that answers with lines of JSON."""

    def __init__(self, setting: Setting, threads: int, wanted: dict[str, Any]) -> None:
        self.name = setting.name
        job = {"engine": setting.engine, "path": setting.path, "threads": threads}
        job |= {"options": setting.options, **wanted}
        # A file, since a pipe that nobody reads fills up. It goes with this object.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [setting.python, "-m", "comparison.worker", json.dumps(job)],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Put a question, and read the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """Read a line. Ends the program where there is none, with the last that the child said."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.close()
            self._errors.seek(0)
            said = self._errors.read().strip().splitlines() or ["no word why"]
            raise SystemExit(f"peers: {self.name} ended early: {said[-1]}")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


class Worker:
    """The parent's end: the engine of a setting, loaded."""

    def __init__(self, setting: Setting, threads: int, works: Sequence[Work]) -> None:
        self.name = setting.name
        self._child = _Child(setting, threads, {"works": [asdict(work) for work in works]})
        self.version: str = self._child.answer()["version"]

    def seconds(self, work: Work) -> float | None:
        """How long the work takes; None where the engine does not do such work."""
        return self._child.ask(asdict(work))["seconds"]

    def close(self) -> None:
        """End the process."""
        self._child.close()


def first_token(setting: Setting, threads: int) -> tuple[float, float]:
    """Load in a fresh process: seconds to the first token, and the peak of memory in MiB."""
    child = _Child(setting, threads, {"first_token": True})
    answer = child.answer()
    child.close()
    return answer["seconds"], answer["peak_mib"]


def _serve(job: dict[str, Any]) -> None:
    """The child's end."""
    engine = import_module(f"comparison.{job['engine']}")
    path, threads, options = job["path"], job["threads"], job["options"]
    if "first_token" in job:
        seconds = engine.first_token_s(path, threads, FIRST_PROMPT, FIRST_CONTEXT, **options)
        print(json.dumps({"seconds": seconds, "peak_mib": _peak_mib()}), flush=True)
        return
    works = [Work(**work) for work in job["works"]]
    model = engine.Engine(path, threads, works, **options)
    print(json.dumps({"version": model.version}), flush=True)
    for line in sys.stdin:
        print(json.dumps({"seconds": model.seconds(Work(**json.loads(line)))}), flush=True)


def _peak_mib() -> float:
    """The most memory that this process had resident (getrusage would count its parent's)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    _serve(json.loads(sys.argv[1]))
