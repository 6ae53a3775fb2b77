"""What a report consists of: sections of words, tables, pictures. It knows no markup."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from pocketlm.assistant.visible import shortened, visible
from pocketlm.evaluate.statistics import Difference, Estimate

#: A name in a table is no longer than this.
_NAME = 120


@dataclass(frozen=True)
class Cell:
    """What stands in a cell, what stands small beside it, and whether it is good or bad news."""

    text: str
    small: str = ""
    news: str = ""


@dataclass(frozen=True)
class Table:
    """A table: the first column names the rows; `numbers` is the first column that has numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    numbers: int = 1


@dataclass
class Section:
    """A part of the report. `pictures` are SVG of our own drawing; `notes` stand below all.

    `links` are what they say and where they lead, a path beside the report.
    """

    name: str
    title: str
    words: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    pictures: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)


def name(text: object) -> str:
    """A name of a stranger's: one short line, nothing of it unseen (in pictures too)."""
    return shortened(visible(" ".join(str(text).split())), _NAME)


def score(found: Estimate, points: float) -> Cell:
    """A mean with its interval: in per cent, or as it is where it is a rating."""
    scale, digits = (1, 2) if points == 10 else (100, 1)
    value = f"{found.value * scale:.{digits}f}"
    if math.isnan(found.low):
        return Cell(value)
    # Few items give intervals that are wider than the scale.
    least, most = (1.0, 10.0) if points == 10 else (0.0, 100.0)
    low, high = max(found.low * scale, least), min(found.high * scale, most)
    return Cell(value, f"{low:.{digits}f} to {high:.{digits}f}")


def change(found: Difference, p: float) -> Cell:
    """A difference in points with its interval, good or bad news where it is significant."""
    low, high = found.interval()
    interval = "" if math.isnan(low) else f"{low:+.1f} to {high:+.1f}"
    news = ("good" if found.value > 0 else "bad") if p < 0.05 else ""
    return Cell(f"{found.value:+.1f}", interval, news)


def p_value(p: float) -> str:
    """A p value."""
    return f"{p:.3f}" if p >= 0.0005 else "< 0.001"
