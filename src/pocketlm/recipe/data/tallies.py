"""What a build counted: every stage's documents, bytes, reasons, time and samples, of all tasks.

It reads what stages left in the build's folder, finished or not. It judges nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pocketlm.errors import ParameterError
from pocketlm.recipe.data.build import STATE
from pocketlm.recipe.data.plan import JOBS, SAMPLES
from pocketlm.recipe.data.stage import SAMPLES as SHOWN


class Sample(BaseModel):
    """A document to look at; its text may be cut."""

    id: str
    text: str
    metadata: dict[str, Any]


class Reason(BaseModel):
    """Why documents were dropped, and how many."""

    name: str
    documents: int
    bytes: int
    samples: list[Sample]


class StageTally(BaseModel):
    """One stage. `seconds` are its own, of all tasks together."""

    key: str
    decides: bool
    """Whether it may drop documents: reading, and what the recipe lists."""
    documents_in: int
    bytes_in: int
    documents_out: int
    bytes_out: int
    seconds: float
    reasons: list[Reason]
    kept: list[Sample]
    noted: dict[str, int]
    """Other counts of the step's own, as how many addresses it masked."""

    @property
    def speed(self) -> float:
        """Bytes of text a second on one core."""
        taken = self.bytes_in or self.bytes_out
        return taken / self.seconds if self.seconds else 0.0


class Tallies(BaseModel):
    """A build."""

    name: str
    files: int
    raw_bytes: int
    """Of the files read, as they are on the disk."""
    stages: list[StageTally]
    tokens: int
    tasks_done: int
    tasks: int

    @property
    def deciding(self) -> list[StageTally]:
        """The stages that may drop documents, in order."""
        return [stage for stage in self.stages if stage.decides]


def read_tallies(folder: Path) -> Tallies:
    """Read the folder of a build. Raises ParameterError where it is none."""
    try:
        state = json.loads((folder / STATE).read_text("utf-8"))
    except (OSError, ValueError):
        raise ParameterError(f"{folder}: is no folder of `pocketlm data build`") from None
    deciding = {"read", *(step["stage"] for step in state["recipe"]["stages"])}
    stages: dict[str, StageTally] = {}
    tokens = done = tasks = 0
    for job in sorted((folder / JOBS).iterdir()) if (folder / JOBS).is_dir() else ():
        executor = json.loads((job / "executor.json").read_text("utf-8"))
        done += sum(1 for _ in (job / "completions").glob("*"))
        tasks += executor["world_size"]
        for path in sorted((job / "stats").glob("*.json")):
            for step in json.loads(path.read_text("utf-8")):
                counts = {name: _total(value) for name, value in step["stats"].items()}
                if "seconds" in counts:
                    key = step["name"].split(": ", 1)[1]
                    _add(stages.setdefault(key, _empty(key, key in deciding)), counts)
                    tokens += int(counts.get("noted/tokens", 0))
    for stage in stages.values():
        _add_samples(stage, folder / SAMPLES / stage.key)
    return Tallies(
        name=state["recipe"]["name"],
        files=sum(each["files"] for each in state["files"].values()),
        raw_bytes=sum(each["bytes"] for each in state["files"].values()),
        stages=list(stages.values()),
        tokens=tokens,
        tasks_done=done,
        tasks=tasks,
    )


def _empty(key: str, decides: bool) -> StageTally:
    return StageTally(
        key=key,
        decides=decides,
        documents_in=0,
        bytes_in=0,
        documents_out=0,
        bytes_out=0,
        seconds=0,
        reasons=[],
        kept=[],
        noted={},
    )


def _total(value: float | Mapping[str, float]) -> float:
    """datatrove writes a bare number where there is nothing but a total."""
    return value["total"] if isinstance(value, Mapping) else value


def _add(stage: StageTally, counts: Mapping[str, float]) -> None:
    """Add one task's counts."""
    stage.documents_in += int(counts.get("documents/in", 0))
    stage.bytes_in += int(counts.get("bytes/in", 0))
    stage.documents_out += int(counts.get("documents/out", 0))
    stage.bytes_out += int(counts.get("bytes/out", 0))
    stage.seconds += counts["seconds"]
    reasons = {reason.name: reason for reason in stage.reasons}
    for name, value in counts.items():
        what, _, rest = name.partition("/")
        if what == "noted":
            stage.noted[rest] = stage.noted.get(rest, 0) + int(value)
        elif rest.startswith("dropped/") and what == "documents":
            why = rest.removeprefix("dropped/")
            reason = reasons.setdefault(why, Reason(name=why, documents=0, bytes=0, samples=[]))
            reason.documents += int(value)
            reason.bytes += int(counts.get(f"bytes/{rest}", 0))
    stage.reasons = sorted(reasons.values(), key=lambda each: (-each.documents, each.name))


def _add_samples(stage: StageTally, folder: Path) -> None:
    found = list(_samples(folder))
    stage.kept = _lowest([sample for each in found for sample in each["kept"]])
    for reason in stage.reasons:
        reason.samples = _lowest(
            [sample for each in found for sample in each["dropped"].get(reason.name, ())]
        )


def _samples(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.json")):
        try:
            yield json.loads(path.read_text("utf-8"))
        except ValueError:  # cut off when its task was killed
            continue


def _lowest(samples: list[dict[str, Any]]) -> list[Sample]:
    first = sorted(samples, key=lambda sample: (sample["place"], sample["id"]))[:SHOWN]
    return [Sample.model_validate(sample) for sample in first]
