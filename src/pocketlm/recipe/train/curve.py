"""The loss of a run as a picture: SVG, redrawn from the log.

It knows numbers and SVG. Training loss is drawn faint as it was and strong as it runs on average;
each held-back set has a line and its points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from pocketlm.formats.output import new_file
from pocketlm.recipe.train.log import read
from pocketlm.svg import COLOURS, FAINT, GRID, picture, text

_WIDTH, _HEIGHT = 900, 520
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 876, 64, 464
#: Points of a line at most: a picture has no more columns.
_POINTS = 800
Line = list[tuple[float, float]]


def draw(log: Path, target: Path, title: str) -> None:
    """Draw the run that `log` tells of; nothing where it has no step yet."""
    training: Line = []
    measured: dict[str, Line] = {}
    phases: list[tuple[float, str]] = []
    for line in read(log):
        if "validation" in line:
            measured.setdefault(line["validation"], []).append((line["step"], line["loss"]))
            continue
        training.append((line["step"], line["loss"]))
        if not phases or phases[-1][1] != line["phase"]:
            phases.append((line["step"], line["phase"]))
    if training:
        with new_file(target) as file:
            file.write(_svg(training, measured, phases, title).encode())


def _svg(
    training: Line, measured: dict[str, Line], phases: Sequence[tuple[float, str]], title: str
) -> str:
    smooth = _smooth(training)
    shown = [loss for _, loss in smooth] + [loss for line in measured.values() for _, loss in line]
    low, high = min(shown), max(shown)
    margin = 0.05 * (high - low) or 0.1
    low, high = low - margin, high + margin
    end = max(training[-1][0], 2)

    def place(point: tuple[float, float]) -> str:
        x = _LEFT + (point[0] - 1) / (end - 1) * (_RIGHT - _LEFT)
        y = _BOTTOM - (min(max(point[1], low), high) - low) / (high - low) * (_BOTTOM - _TOP)
        return f"{x:.1f},{y:.1f}"

    def path(line: Line, colour: str, width: float, opacity: float = 1) -> str:
        points = " ".join(map(place, _thinned(line)))
        return (
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}" '
            f'stroke-opacity="{opacity}" stroke-linejoin="round"/>'
        )

    parts = [text(_LEFT, 28, title, 17, weight="bold")]
    step = _nice((high - low) / 6)
    for count in range(math.ceil(low / step), math.floor(high / step) + 1):
        down = place((1, count * step)).split(",")[1]
        parts.append(f'<path d="M{_LEFT} {down}H{_RIGHT}" stroke="{GRID}"/>')
        parts.append(text(_LEFT - 8, float(down) + 4, f"{count * step:g}", anchor="end"))
    step = max(1, _nice(end / 8))
    for count in range(1, math.floor(end / step) + 1):
        x = place((count * step, low)).split(",")[0]
        parts.append(text(float(x), _BOTTOM + 20, f"{count * step:,.0f}", anchor="middle"))
    parts.append(text((_LEFT + _RIGHT) / 2, _BOTTOM + 42, "step", 13, anchor="middle"))
    parts.append(text(_LEFT, 50, "loss, nats a token", fill=FAINT))
    for start, name in phases:
        x = place((start, low)).split(",")[0]
        parts.append(f'<path d="M{x} {_TOP}V{_BOTTOM}" stroke="{FAINT}" stroke-dasharray="3 4"/>')
        parts.append(text(float(x) + 5, _BOTTOM - 8, name, fill=FAINT))
    parts += [path(training, COLOURS[0], 1, 0.25), path(smooth, COLOURS[0], 2)]
    names = {"training": COLOURS[0]}
    for index, (name, line) in enumerate(measured.items(), 1):
        colour = names[name] = COLOURS[index % len(COLOURS)]
        parts.append(path(line, colour, 1.5))
        for point in line:
            x, y = place(point).split(",")
            parts.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>')
    right = _RIGHT
    for name, colour in reversed(names.items()):
        parts.append(text(right, 50, name, 13, anchor="end", fill=colour, weight="bold"))
        right -= 16 + 8 * len(name)
    return picture(_WIDTH, _HEIGHT, parts)


def _smooth(line: Line) -> Line:
    """A running mean that forgets over a fiftieth of the run."""
    keep = 1 - 1 / max(5, len(line) / 50)
    mean = weight = 0.0
    smooth = []
    for step, loss in line:
        mean, weight = keep * mean + (1 - keep) * loss, keep * weight + 1 - keep
        smooth.append((step, mean / weight))
    return smooth


def _thinned(line: Line) -> Line:
    every = max(1, len(line) // _POINTS)
    return line[::every] if line[-1] in line[::every] else [*line[::every], line[-1]]


def _nice(step: float) -> float:
    """A round step of at least `step`."""
    size = 10.0 ** math.floor(math.log10(step))
    return next(size * factor for factor in (1, 2, 5, 10) if size * factor >= step)
