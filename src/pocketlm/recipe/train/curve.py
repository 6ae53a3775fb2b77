"""The loss of a run as a picture: SVG, redrawn from the log.

It knows numbers and SVG. Training loss is drawn faint as it was and strong as it runs on average;
each held-back set has a line and its points. What probes scored is drawn below.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketlm.formats.output import new_file
from pocketlm.recipe.train.log import read
from pocketlm.svg import COLOURS, FAINT, GRID, colours, picture, text

_WIDTH, _HEIGHT = 900, 520
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 876, 64, 464
#: Of the probes' part, below the losses.
_SHARES_TOP, _SHARES_BOTTOM = 560, 730
#: Points of a line at most: a picture has no more columns.
_POINTS = 800
Line = list[tuple[float, float]]


def draw(log: Path, target: Path, title: str) -> None:
    """Draw the run that `log` tells of; nothing where it has no step yet."""
    training: Line = []
    measured: dict[str, Line] = {}
    shares: dict[str, Line] = {}
    phases: list[tuple[float, str]] = []
    for line in read(log):
        if "validation" in line:
            measured.setdefault(line["validation"], []).append((line["step"], line["loss"]))
        elif "probe" in line:
            for name, share in _shares(line).items():
                shares.setdefault(name, []).append((line["step"], share))
        else:
            training.append((line["step"], line["loss"]))
            if not phases or phases[-1][1] != line["phase"]:
                phases.append((line["step"], line["phase"]))
    if training:
        with new_file(target) as file:
            file.write(_svg(training, measured, shares, phases, title).encode())


def _shares(line: Mapping[str, Any]) -> dict[str, float]:
    """A probe's scores, as parts of 1."""
    if "share" in line:
        return {"good one likelier": line["share"]}
    return {
        "right option's probability": math.exp(line["log_probability"]),
        "likeliest": line["accuracy"],
    }


@dataclass(frozen=True)
class _Axes:
    """A part of the picture in which lines run over the steps, the first of which is 1."""

    top: float
    bottom: float
    low: float
    high: float
    end: float

    def x(self, step: float) -> float:
        return _LEFT + (step - 1) / (self.end - 1) * (_RIGHT - _LEFT)

    def y(self, value: float) -> float:
        within = min(max(value, self.low), self.high)
        share = (within - self.low) / (self.high - self.low)
        return self.bottom - share * (self.bottom - self.top)

    def path(self, line: Line, colour: str, width: float, opacity: float = 1) -> str:
        points = " ".join(f"{self.x(step):.1f},{self.y(value):.1f}" for step, value in line)
        return (
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}" '
            f'stroke-opacity="{opacity}" stroke-linejoin="round"/>'
        )

    def dotted(self, line: Line, colour: str) -> list[str]:
        """A line with its points."""
        return [
            self.path(_thinned(line), colour, 1.5),
            *(
                f'<circle cx="{self.x(step):.1f}" cy="{self.y(value):.1f}" r="3" fill="{colour}"/>'
                for step, value in line
            ),
        ]

    def grid(self, about: str) -> list[str]:
        """Values on the left, steps below, and what the values are."""
        parts = [text(_LEFT, self.top - 14, about, fill=FAINT)]
        step = _nice((self.high - self.low) / 6)
        for count in range(math.ceil(self.low / step), math.floor(self.high / step) + 1):
            y = self.y(count * step)
            parts.append(f'<path d="M{_LEFT} {y:.1f}H{_RIGHT}" stroke="{GRID}"/>')
            parts.append(text(_LEFT - 8, y + 4, f"{count * step:g}", anchor="end"))
        step = max(1, _nice(self.end / 8))
        for count in range(1, math.floor(self.end / step) + 1):
            where = self.x(count * step), self.bottom + 20
            parts.append(text(*where, f"{count * step:,.0f}", anchor="middle"))
        middle = (_LEFT + _RIGHT) / 2
        return [*parts, text(middle, self.bottom + 42, "step", 13, anchor="middle")]

    def names(self, colours: dict[str, str]) -> list[str]:
        """What the colours stand for."""
        parts, right = [], float(_RIGHT)
        for name, colour in reversed(colours.items()):
            where = right, self.top - 14
            parts.append(text(*where, name, 13, anchor="end", fill=colour, weight="bold"))
            right -= 16 + 8 * len(name)
        return parts


def _svg(
    training: Line,
    measured: dict[str, Line],
    shares: dict[str, Line],
    phases: Sequence[tuple[float, str]],
    title: str,
) -> str:
    smooth = _smooth(training)
    shown = [loss for _, loss in smooth] + [loss for line in measured.values() for _, loss in line]
    low, high = min(shown), max(shown)
    margin = 0.05 * (high - low) or 0.1
    end = max(training[-1][0], 2)
    losses = _Axes(_TOP, _BOTTOM, low - margin, high + margin, end)
    parts = [text(_LEFT, 28, title, 17, weight="bold"), *losses.grid("loss, nats a token")]
    for start, name in phases:
        x = losses.x(start)
        line = f"M{x:.1f} {_TOP}V{_BOTTOM}"
        parts.append(f'<path d="{line}" stroke="{FAINT}" stroke-dasharray="3 4"/>')
        parts.append(text(x + 5, _BOTTOM - 8, name, fill=FAINT))
    parts.append(losses.path(_thinned(training), COLOURS[0], 1, 0.25))
    parts.append(losses.path(_thinned(smooth), COLOURS[0], 2))
    names = {"training": COLOURS[0]}
    for index, (name, curve) in enumerate(measured.items(), 1):
        names[name] = COLOURS[index % len(COLOURS)]
        parts += losses.dotted(curve, names[name])
    parts += losses.names(names)
    if not shares:
        return picture(_WIDTH, _HEIGHT, parts)
    probes = _Axes(_SHARES_TOP, _SHARES_BOTTOM, 0, 1, end)
    named = dict(zip(shares, colours(len(shares)), strict=True))
    parts += probes.grid("probes, part of 1")
    for name, curve in shares.items():
        parts += probes.dotted(curve, named[name])
    parts += probes.names(named)
    return picture(_WIDTH, _SHARES_BOTTOM + _HEIGHT - _BOTTOM, parts)


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
