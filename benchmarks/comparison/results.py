"""What was measured: medians, spreads and ratios; the table for people and the record for later.

It knows numbers and names, and neither an engine nor a clock. Ratios are of medians, to the best
setting of llama.cpp in the same run; the spread is (maximum - minimum) / median.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from comparison.works import Work

OURS, PEER = "pocketlm", "llama.cpp"


def spread(values: Sequence[float]) -> float:
    """(maximum - minimum) / median."""
    return (max(values) - min(values)) / median(values)


@dataclass
class Results:
    """Measurements of one file, from which rows are made."""

    #: (threads, work) -> name of the setting -> seconds of each round.
    seconds: dict[tuple[int, Work], dict[str, list[float]]] = field(default_factory=dict)
    #: threads -> name of the setting -> (seconds to the first token, peak MiB) of each round.
    loads: dict[int, dict[str, list[tuple[float, float]]]] = field(default_factory=dict)

    def add(self, threads: int, work: Work, name: str, seconds: float) -> None:
        """Count a round of a work."""
        self.seconds.setdefault((threads, work), {}).setdefault(name, []).append(seconds)

    def add_load(self, threads: int, name: str, seconds: float, peak_mib: float) -> None:
        """Count a load in a fresh process."""
        self.loads.setdefault(threads, {}).setdefault(name, []).append((seconds, peak_mib))

    def rows(self) -> list[dict[str, Any]]:
        """A row for each work and setting. `ratio` is the rate's; None without llama.cpp.

        `of_one` of several texts is their rate together over that of one text alone.
        """
        rows = []
        for (threads, work), seconds in self.seconds.items():
            rates = {name: [work.tokens / s for s in each] for name, each in seconds.items()}
            best = max((median(rates[name]) for name in _peers(rates)), default=None)
            for name, each in rates.items():
                row = {"threads": threads, "work": work.name, "depth": work.depth}
                row |= {"texts": work.texts, "engine": name}
                row |= {"tokens_per_s": round(median(each), 2), "spread": round(spread(each), 3)}
                row["ratio"] = best and round(median(each) / best, 3)
                alone = Work(0, work.generate, work.depth)
                if work.texts > 1 and name in self.seconds.get((threads, alone), {}):
                    one = work.generate / median(self.seconds[threads, alone][name])
                    row["of_one"] = round(median(each) / one, 3)
                rows.append(row)
        return rows

    def load_rows(self) -> list[dict[str, Any]]:
        """A row for each setting, beside llama.cpp in the setting that is soonest.

        `sooner` is that one's time over this one's, `memory` this one's peak over that one's.
        """
        rows = []
        for threads, loads in self.loads.items():
            times = {name: [time for time, _ in each] for name, each in loads.items()}
            peaks = {name: median(peak for _, peak in each) for name, each in loads.items()}
            best = min(_peers(loads), key=lambda name: median(times[name]), default=None)
            for name, each in times.items():
                row = {"threads": threads, "engine": name}
                row |= {"first_token_s": round(median(each), 3), "spread": round(spread(each), 3)}
                row |= {"peak_mib": round(peaks[name], 1)}
                row["sooner"] = best and round(median(times[best]) / median(each), 3)
                row["memory"] = best and round(peaks[name] / peaks[best], 3)
                rows.append(row)
        return rows


def _peers(names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(PEER)]


def work_text(row: dict[str, Any]) -> str:
    """A row's work in one word or a few: "tg64@1500", "8 x tg64@0"."""
    generated = row["work"].startswith("tg")
    text = f"{row['work']}@{row['depth']}" if generated else row["work"]
    return f"{row['texts']} x {text}" if row["texts"] > 1 else text


def table(record: dict[str, Any]) -> str:
    """The record as text, in columns."""
    machine, versions = record["machine"], record["versions"]
    lines = [
        f"{record['file']} ({record['bytes']:,} bytes), {record['date']}",
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB",
        ", ".join(f"{name} {version}" for name, version in versions.items()),
        "",
    ]
    columns = [("threads", "work", "engine", "tokens/s", "spread", "ratio", "of one")]
    for row in record["rows"]:
        rate, wide = f"{row['tokens_per_s']:,.1f}", f"{row['spread']:.0%}"
        of_one = f"{row['of_one']:.2f}" if "of_one" in row else ""
        name = work_text(row)
        columns.append(
            (str(row["threads"]), name, row["engine"], rate, wide, _ratio(row["ratio"]), of_one)
        )
    lines += _columns(columns)
    columns = [("threads", "engine", "first token", "spread", "sooner", "peak", "of peer's")]
    for row in record["loads"]:
        time, wide = f"{row['first_token_s']:.2f} s", f"{row['spread']:.0%}"
        peak = f"{row['peak_mib']:,.0f} MiB"
        sooner, memory = _ratio(row["sooner"]), _ratio(row["memory"])
        columns.append((str(row["threads"]), row["engine"], time, wide, sooner, peak, memory))
    return "\n".join([*lines, "", *_columns(columns)]) if record["loads"] else "\n".join(lines)


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines: words to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = [
        all(not cell[:1].isdigit() for cell in column[1:]) for column in zip(*rows, strict=True)
    ]
    left = [each or header == "work" for each, header in zip(left, rows[0], strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if words else cell.rjust(width)
            for cell, width, words in zip(row, widths, left, strict=True)
        ).rstrip()
        for row in rows
    ]


def append(path: Path, record: dict[str, Any]) -> None:
    """Add a record to a history file: a JSON array, oldest first. The file is replaced whole."""
    records = json.loads(path.read_text()) if path.exists() else []
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(json.dumps([*records, record], indent=1) + "\n")
    os.replace(beside, path)
