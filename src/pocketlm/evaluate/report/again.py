"""What is needed to run it again: of each run its command, settings, machine and versions."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from pocketlm.assistant.visible import shortened
from pocketlm.evaluate.report.entries import Entry
from pocketlm.evaluate.report.table import Cell, Section, Table, name
from pocketlm.evaluate.scores import Task

#: Most characters of a command or of settings.
_MOST = 4_000


@dataclass(frozen=True)
class Again:
    """One run: facts in words, its command line, its settings and versions as JSON."""

    label: str
    facts: Sequence[tuple[str, str]]
    command: str
    settings: str
    items: Table


def overview(found: Sequence[Entry]) -> Section:
    """The models and runs that the report is of."""
    rows: list[Sequence[Cell | str]] = []
    for entry in found:
        about = entry.about
        if about is None:
            rows.append([entry.label, "another program's results", "", "", "", "", ""])
            continue
        rows.append(
            [
                entry.label,
                name(about.suite),
                f"{about.parameters / 1e6:,.0f} M",
                size(about.file_bytes),
                f"{about.bits_per_weight:.2f}",
                lasting(about.seconds),
                name(about.date)[:10],
            ]
        )
    columns = ["model", "suite", "weights", "file", "bits a weight", "took", "date"]
    return Section("runs", "Runs", tables=[Table(columns, rows, numbers=2)])


def again(entry: Entry) -> Again:
    """How this run is run again."""
    about = entry.about
    facts = [("results", str(entry.run.folder))]
    command, settings = "", {}
    if about is not None:
        facts += [
            ("model", about.title),
            ("pocketlm", name(about.pocketlm)),
            ("machine", name(about.machine)),
            ("threads", str(about.threads)),
            ("date", name(about.date)),
            ("took", lasting(about.seconds)),
        ]
        command = shlex.join(map(str, about.command))
        settings = {"settings": about.settings}
    results = entry.run.results
    for key in ("lm_eval_version", "transformers_version", "git_hash", "model_name", "date"):
        if isinstance(results.get(key), str | int | float):
            facts.append((key, name(results[key])))
    settings |= {key: results[key] for key in ("versions", "n-shot") if results.get(key)}
    rows = [
        [name(task.name), task.metric, f"{task.estimate.count:,}", digest(task)]
        for task in entry.tasks.values()
    ]
    said = json.dumps(settings, ensure_ascii=False, indent=2, default=str)
    return Again(
        entry.label,
        facts,
        shortened(command, _MOST),
        shortened(said, _MOST),
        Table(["task", "metric", "items", "digest of the items"], rows, numbers=2),
    )


def digest(task: Task) -> str:
    """Of what the items ask: the same digest, the same items."""
    if not task.items:
        return ""
    sum = hashlib.sha256()
    for (leaf, number), item in sorted(task.items.items()):
        sum.update(f"{leaf} {number} {item.content}\n".encode(errors="backslashreplace"))
    return sum.hexdigest()[:16]


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def lasting(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
