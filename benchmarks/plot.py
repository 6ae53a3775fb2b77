"""What docs/performance.md shows of a history: a plot, and the tables under it.

    python benchmarks/plot.py benchmarks/history/RELEASE-MACHINE.json …

It knows records as `peers.py` keeps them, a file for each machine. Of rows that several records
have, the latest counts. Bars are pocketlm's ratios to the best setting of llama.cpp, with what
both reach beside them.
"""

import json
import sys
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from comparison.results import OURS, PEER, work_text

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "performance.md"
BEGIN, END = "<!-- tables: benchmarks/plot.py -->", "<!-- end -->"

#: Pixels across: where bars begin and end at most, where numbers end, and the whole.
LEFT, RIGHT, OURS_AT, THEIRS_AT, WIDTH = 250, 680, 806, 884, 900
#: Pixels down: a bar's line, and what heads a file's bars.
LINE, HEAD = 22, 44
MAIN, OTHER, INK, FAINT = "#2563a8", "#8fb3d9", "#1f2328", "#59636e"
NOTE = (
    "ppN: a prompt of N tokens. tgN@D: N tokens generated after D others; tokens a second. "
    "llama.cpp: the best of its settings."
)

Row = dict[str, Any]


def main() -> None:
    """Write the plots and the tables."""
    if not sys.argv[1:]:
        raise SystemExit(__doc__)
    machines = []
    for history in map(Path, sys.argv[1:]):
        records = json.loads(history.read_text())
        picture = PAGE.parent / f"performance-{history.stem}.svg"
        picture.write_text(svg(records))
        machines.append(tables(records, picture.name))
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text("\n".join([before + BEGIN, *machines, END + after]))
    print(f"wrote the tables of {PAGE}, and plots beside it")


def latest(records: list[Row], kind: str, keys: tuple[str, ...]) -> dict[str, list[Row]]:
    """File -> its rows of a `kind` ("rows", "loads"), each in its latest state."""
    files: dict[str, dict[tuple[Any, ...], Row]] = {}
    for record in records:
        rows = files.setdefault(record["file"], {})
        rows |= {tuple(row[key] for key in keys): row for row in record[kind]}
    return {file: list(rows.values()) for file, rows in files.items() if rows}


def works(records: list[Row]) -> dict[str, list[Row]]:
    """File -> rows of works."""
    return latest(records, "rows", ("threads", "work", "depth", "texts", "engine"))


def loads(records: list[Row]) -> dict[str, list[Row]]:
    """File -> rows of loads."""
    return latest(records, "loads", ("threads", "engine"))


class Bar(NamedTuple):
    """A line of the plot: what, how many times as fast, and what pocketlm and the peer reach."""

    label: str
    ratio: float
    ours: str
    theirs: str
    colour: str = MAIN


def bars(records: list[Row]) -> dict[str, list[Bar]]:
    """File -> what there is to draw: our rows that llama.cpp has as well."""
    found: dict[str, list[Bar]] = {}
    for file, rows in works(records).items():
        for row in rows:
            kind = row["engine"].removeprefix(OURS).strip()
            if row["engine"].startswith(OURS) and row["ratio"]:
                label = ", ".join(filter(None, (work_text(row), _threads(row), kind)))
                rates = _rate(row["tokens_per_s"]), _rate(_best(rows, row))
                bar = Bar(label, row["ratio"], *rates, OTHER if kind else MAIN)
                found.setdefault(file, []).append(bar)
    for file, rows in loads(records).items():
        for row in rows:
            if row["engine"] == OURS and row["sooner"]:
                label = f"load to first token, {_threads(row)}"
                times = row["first_token_s"], row["first_token_s"] * row["sooner"]
                bar = Bar(label, row["sooner"], *(f"{time:.2f} s" for time in times))
                found.setdefault(file, []).append(bar)
    return found


def svg(records: list[Row]) -> str:
    """The plot."""
    files = bars(records)
    most = max((bar.ratio for each in files.values() for bar in each), default=1)
    unit = (RIGHT - LEFT) / max(most, 1.5)
    at = 66
    parts = [
        _text(16, 28, "pocketlm beside llama.cpp: how many times as fast", 17, weight="bold"),
        _text(16, 48, f"{_origin(records)}", fill=FAINT),
        _text(OURS_AT, 66, OURS, fill=FAINT, anchor="end"),
        _text(THEIRS_AT, 66, PEER, fill=FAINT, anchor="end"),
    ]
    for file, each in files.items():
        parts.append(_text(16, at + 18, file, 14, weight="bold"))
        top, at = at + HEAD, at + HEAD
        for bar in each:
            parts += _bar(bar, at, unit)
            at += LINE
        line = f"M{LEFT + unit:.1f} {top - 4}V{at + 2}"
        parts.append(f'<path d="{line}" stroke="{INK}" stroke-dasharray="4 3"/>')
        parts.append(_text(LEFT + unit, top - 8, "1", fill=FAINT, anchor="middle"))
        at += 14
    parts.append(_text(16, at + 8, NOTE, fill=FAINT))
    at += 24
    size = f'width="{WIDTH}" height="{at}" viewBox="0 0 {WIDTH} {at}"'
    font = 'font-family="system-ui, DejaVu Sans, sans-serif"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>'
    ground = f'<path d="M0 0H{WIDTH}V{at}H0Z" fill="#ffffff"/>'
    return "\n".join([head, ground, *parts, "</svg>\n"])


def _bar(bar: Bar, at: int, unit: float) -> list[str]:
    long = bar.ratio * unit
    place = f'x="{LEFT}" y="{at + 3}" width="{long:.1f}" height="{LINE - 7}"'
    return [
        _text(LEFT - 10, at + 14, bar.label, anchor="end"),
        f'<rect {place} fill="{bar.colour}"/>',
        _text(LEFT + max(long, unit) + 8, at + 14, f"{bar.ratio:.2f}", weight="bold"),
        _text(OURS_AT, at + 14, bar.ours, anchor="end"),
        _text(THEIRS_AT, at + 14, bar.theirs, fill=FAINT, anchor="end"),
    ]


def _text(x: float, y: float, text: str, size: int = 12, **style: str) -> str:
    names = {"anchor": "text-anchor", "weight": "font-weight"}
    said = {"fill": INK} | style
    attributes = " ".join(f'{names.get(key, key)}="{value}"' for key, value in said.items())
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" {attributes}>{escape(text)}</text>'


def tables(records: list[Row], picture: str) -> str:
    """A machine's tables, in Markdown, under its plot."""
    lines = [f"### {_machine(records)}", "", f"![Ratios]({picture})", "", f"{_origin(records)}."]
    for file, rows in works(records).items():
        lines += ["", f"`{file}`, tokens a second:", ""]
        lines += _markdown(("work", "threads", "engine", "tokens/s", "spread", "ratio", "of one"))
        for row in rows:
            of_one = f"{row['of_one']:.2f}" if "of_one" in row else ""
            cells = (work_text(row), row["threads"], row["engine"], _rate(row["tokens_per_s"]))
            lines.append(_line(*cells, f"{row['spread']:.0%}", _number(row["ratio"]), of_one))
    for file, rows in loads(records).items():
        lines += ["", f"`{file}`, from loading to the first token:", ""]
        lines += _markdown(("engine", "threads", "seconds", "spread", "sooner", "peak MiB", "of"))
        for row in rows:
            cells = (row["engine"], row["threads"], f"{row['first_token_s']:.2f}")
            cells += (f"{row['spread']:.0%}", _number(row["sooner"]), f"{row['peak_mib']:,.0f}")
            lines.append(_line(*cells, _number(row["memory"])))
    return "\n".join(lines)


def _markdown(names: tuple[str, ...]) -> list[str]:
    return [_line(*names), _line(*("---" for _ in names))]


def _line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _best(rows: list[Row], row: Row) -> float:
    """The rate of llama.cpp's best setting in a row's work."""
    same = ("threads", "work", "depth", "texts")
    return max(
        each["tokens_per_s"]
        for each in rows
        if each["engine"].startswith(PEER) and all(each[key] == row[key] for key in same)
    )


def _origin(records: list[Row]) -> str:
    """Machine, dates and versions of the records."""
    dates = sorted({record["date"] for record in records})
    days = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    versions = dict(kv for record in records for kv in record["versions"].items())
    engines = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{_machine(records)}; {engines}; {days}"


def _machine(records: list[Row]) -> str:
    machine = records[-1]["machine"]
    return f"{machine['processor']}, {machine['cores']} cores"


def _threads(row: Row) -> str:
    return "1 thread" if row["threads"] == 1 else f"{row['threads']} threads"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    main()
