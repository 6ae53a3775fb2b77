"""The report's pictures, as SVG in the page's own colours: levels with intervals, and curves.

It knows numbers and names; it does not know what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pocketlm.svg import colours, inline, text

_WIDTH = 720
_PLAIN = {"fill": "currentColor"}
_FAINT = {"fill": "currentColor", "fill-opacity": "0.75"}
_LINE = 'stroke="currentColor" stroke-opacity="0.15"'


@dataclass(frozen=True)
class Bar:
    """A row: a value with two intervals (thick and thin; nan where there is none), and points."""

    label: str
    value: float
    thick: tuple[float, float]
    thin: tuple[float, float]
    points: Sequence[float] = ()
    colour: int = 0


def intervals(bars: Sequence[Bar], *, name: str, across: str, mark: float | None = None) -> str:
    """Rows of values with their intervals on one axis; `mark` is a line, as at 0 or at chance."""
    left, right, top, row = 210, 690, 12, 34
    ends = [end for bar in bars for end in (*bar.thick, *bar.thin, *bar.points, bar.value)]
    if mark is not None:
        ends.append(mark)
    known = [end for end in ends if not math.isnan(end)]
    margin = 0.06 * (max(known) - min(known)) or 0.1
    low, high = min(known) - margin, max(known) + margin

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (right - left)

    bottom = top + row * len(bars)
    parts = _axis(x, low, high, top, bottom)
    if mark is not None:
        dashed = 'stroke="currentColor" stroke-opacity="0.6" stroke-dasharray="4 3"'
        parts.append(f'<path d="M{x(mark):.1f} {top}V{bottom}" {dashed}/>')
    palette = colours(1 + max(bar.colour for bar in bars))
    for number, bar in enumerate(bars):
        y, colour = top + row * (number + 0.5), palette[bar.colour]
        parts.append(text(left - 12, y + 4, bar.label, 13, anchor="end", **_PLAIN))
        for (begin, end), width, opacity in ((bar.thin, 2, 1.0), (bar.thick, 9, 0.35)):
            if not math.isnan(begin):
                stroke = f'stroke="{colour}" stroke-width="{width}" stroke-opacity="{opacity}"'
                parts.append(f'<path d="M{x(begin):.1f} {y:.1f}H{x(end):.1f}" {stroke}/>')
        for point in bar.points:
            ring = f'fill="none" stroke="{colour}" stroke-width="1.2"'
            parts.append(f'<circle cx="{x(point):.1f}" cy="{y:.1f}" r="3" {ring}/>')
        parts.append(f'<circle cx="{x(bar.value):.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>')
    parts.append(text((left + right) / 2, bottom + 38, across, 13, anchor="middle", **_PLAIN))
    return inline(_WIDTH, bottom + 48, parts, name)


def curves(
    lines: Mapping[str, Sequence[tuple[float, float]]], *, name: str, across: str, up: str
) -> str:
    """A line for each name, from the left to the right, with its points."""
    left, right, top, bottom = 62, 700, 36, 330
    xs = [point[0] for line in lines.values() for point in line]
    ys = [point[1] for line in lines.values() for point in line]
    margin = 0.05 * (max(ys) - min(ys)) or 0.1
    low, high, most = min(ys) - margin, max(ys) + margin, max(xs)

    def x(value: float) -> float:
        return left + value / most * (right - left)

    def y(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - top)

    parts = _axis(x, 0, most, top, bottom)
    for value in _ticks(low, high):
        parts.append(f'<path d="M{left} {y(value):.1f}H{right}" {_LINE}/>')
        parts.append(text(left - 8, y(value) + 4, f"{value:g}", 12, anchor="end", **_FAINT))
    place = float(left)
    for (label, line), colour in zip(lines.items(), colours(len(lines)), strict=True):
        points = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in line)
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        for a, b in line:
            parts.append(f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="3" fill="{colour}"/>')
        parts.append(f'<path d="M{place:.0f} 20h18" stroke="{colour}" stroke-width="4"/>')
        parts.append(text(place + 24, 24, label, 13, **_PLAIN))
        place += 48 + 7.4 * len(label)
    parts.append(text((left + right) / 2, bottom + 38, across, 13, anchor="middle", **_PLAIN))
    turned = f'<g transform="rotate(-90 14 {(top + bottom) / 2:.0f})">'
    label = text(14, (top + bottom) / 2, up, 13, anchor="middle", **_PLAIN)
    return inline(_WIDTH, bottom + 48, [*parts, turned + label + "</g>"], name)


def _axis(
    x: Callable[[float], float], low: float, high: float, top: float, bottom: float
) -> list[str]:
    parts = []
    for value in _ticks(low, high):
        parts.append(f'<path d="M{x(value):.1f} {top}V{bottom}" {_LINE}/>')
        parts.append(text(x(value), bottom + 18, f"{value:g}", 12, anchor="middle", **_FAINT))
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """Five to eight round numbers between two."""
    rough = (high - low) / 7
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(number * step, 12) for number in range(first, last + 1)]
