"""A report as Markdown: tables, and failures in blocks of code, where nothing is markup."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pocketlm.assistant.visible import visible
from pocketlm.evaluate.report.again import Again
from pocketlm.evaluate.report.failures import Failures
from pocketlm.evaluate.report.table import Cell, Section, Table

#: What is markup within a line; what is so at its start alone never stands there.
_MARKS = re.compile(r"([\\`*_\[\]<>|~&$])")


def written(
    title: str,
    date: str,
    version: str,
    sections: Sequence[Section],
    failures: Sequence[Failures],
    runs: Sequence[Again],
) -> str:
    """The whole text."""
    parts = [f"# {escaped(title)}", f"Written by pocketlm {version}, {date}."]
    for section in sections:
        if not (section.words or section.tables):
            continue
        parts.append(f"## {escaped(section.title)}")
        parts += [escaped(words) for words in section.words]
        if section.links:
            parts.append(", ".join(f"[{escaped(said)}](<{to}>)" for said, to in section.links))
        parts += [table(each) for each in section.tables]
        if section.notes:
            parts.append("\n".join(f"- {escaped(note)}" for note in section.notes))
    if failures:
        parts.append("## Failures, one by one")
    for of in failures:
        count = f"{of.count:,} of {of.items:,} items"
        left = f" ({len(of.shown)} shown, {of.left_out:,} left out)" if of.left_out else ""
        parts.append(f"### {escaped(f'{of.label}, {of.task}: {count}{left}')}")
        for one in of.shown:
            parts.append(f"**{escaped(one.item)}**, score {escaped(one.score)}")
            said = [("asked", one.prompt), ("answered", one.answer)]
            said += [("right", one.expected), ("why", one.why)]
            parts += [f"{label}:\n\n{block(text)}" for label, text in said if text]
    parts.append("## Run it again")
    for run in runs:
        parts.append(f"### {escaped(run.label)}")
        if run.command:
            parts.append(block(run.command))
        parts.append("\n".join(f"- {escaped(f'{fact}: {value}')}" for fact, value in run.facts))
        parts += [block(run.settings), table(run.items)]
    return "\n\n".join(parts) + "\n"


def table(shown: Table) -> str:
    """A table, as GitHub and most others read it; numbers to the right."""
    ruler = ["---" if place < shown.numbers else "---:" for place in range(len(shown.columns))]
    rows = [[_cell(value) for value in row] for row in [shown.columns, *shown.rows]]
    lines = [f"| {' | '.join(row)} |" for row in (rows[0], ruler, *rows[1:])]
    return "\n".join(lines)


def _cell(value: Cell | str) -> str:
    if isinstance(value, str):
        return escaped(value)
    small = f" ({escaped(value.small)})" if value.small else ""
    return escaped(value.text) + small


def escaped(text: str) -> str:
    """Text on one line in which nothing is markup."""
    return _MARKS.sub(r"\\\1", visible(" ".join(text.split())))


def block(text: str) -> str:
    """Text as it is, behind a fence longer than any in it."""
    text = visible(text)
    longest = max((len(found) for found in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
