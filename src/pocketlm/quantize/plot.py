"""Pictures of what was lost, as SVG: by bits per weight, or by share of the tokens.

It knows numbers and SVG. Losses span decades, so their axis is logarithmic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pocketlm.quantize.quality import Array, Estimate
from pocketlm.svg import FAINT, GRID, colours, picture, text

#: Pixels: the picture, and the plot's edges in it.
_WIDTH, _HEIGHT = 900, 560
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 876, 64, 500
#: Text that is read over lines.
_OUTLINED = {"paint-order": "stroke", "stroke": "#ffffff", "stroke-width": "3"}
#: Shares of the tokens that the axis of `by_share` names; what is beyond the last is not drawn.
_SHARES = (0, 0.5, 0.9, 0.99, 0.999)
#: Decades below the largest loss that are shown at most.
_DECADES = 6


@dataclass(frozen=True)
class Point:
    """A model's place in the picture: `divergence` is the mean, in nats."""

    label: str
    bits_per_weight: float
    divergence: Estimate


def by_bits(series: Mapping[str, Sequence[Point]], title: str) -> str:
    """Mean divergence over bits per weight, a line and its points for each of the series (a text,
    a method), with 95 % intervals.
    """
    points = [point for each in series.values() for point in each]
    bits = [point.bits_per_weight for point in points]
    margin = 0.06 * (max(bits) - min(bits)) or 0.5
    least, most = min(bits) - margin, max(bits) + margin

    def across(bits: float) -> float:
        return _LEFT + (bits - least) / (most - least) * (_RIGHT - _LEFT)

    up = _Decades([e for p in points for e in (p.divergence.low, p.divergence.high)])
    parts = up.grid()
    step = _step(most - least)
    for count in range(math.ceil(least / step), math.floor(most / step) + 1):
        parts += _tick(across(count * step), f"{count * step:g}")
    parts += _head(title, "bits per weight", list(series))
    highest: dict[tuple[str, float], float] = {}
    for colour, each in zip(colours(len(series)), series.values(), strict=True):
        placed = sorted(each, key=lambda point: point.bits_per_weight)
        places = [(across(p.bits_per_weight), up.at(p.divergence.value)) for p in placed]
        parts.append(_line(places, colour))
        for point, (x, y) in zip(placed, places, strict=True):
            low, high = up.at(point.divergence.low), up.at(point.divergence.high)
            parts.append(f'<path d="M{x:.1f} {low:.1f}V{high:.1f}" stroke="{colour}"/>')
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
            key = point.label, x  # a model that read several texts is named once
            highest[key] = min(highest.get(key, high), high)
    return picture(_WIDTH, _HEIGHT, parts + _labels(highest))


def by_share(series: Mapping[str, Array], title: str) -> str:
    """The divergence that a share of the tokens does not exceed, a line for each of the series.

    `series` has the divergences of single tokens, in nats. The axis is that of the share that
    exceeds it, logarithmic: what happens rarely is what matters.
    """

    def across(share: float) -> float:
        return _LEFT + math.log(1 - share) / math.log(1 - _SHARES[-1]) * (_RIGHT - _LEFT)

    shares = 1 - np.logspace(0, math.log10(1 - _SHARES[-1]), 200)
    curves = [np.quantile(divergences, shares) for divergences in series.values()]
    up = _Decades([float(value) for curve in curves for value in curve[1:]])
    parts = up.grid()
    for share in _SHARES:
        parts += _tick(across(share), f"{100 * share:g} %")
    parts += _head(title, "share of the tokens that lose no more", list(series))
    for colour, curve in zip(colours(len(series)), curves, strict=True):
        places = [(across(s), up.at(v)) for s, v in zip(shares, curve, strict=True)]
        parts.append(_line(places, colour))
    return picture(_WIDTH, _HEIGHT, parts)


class _Decades:
    """The logarithmic axis from the bottom up, for these values."""

    def __init__(self, values: Sequence[float]) -> None:
        seen = [value for value in values if value > 0] or [1.0]
        self._most = math.ceil(math.log10(max(seen)) + 1e-9)
        least = math.floor(math.log10(min(seen)))
        self._least = max(min(least, self._most - 1), self._most - _DECADES)

    def at(self, value: float) -> float:
        """Where a value lies; what is below the axis, nothing too, lies on its lower end."""
        log = self._least if value <= 0 else max(math.log10(value), self._least)
        share = (log - self._least) / (self._most - self._least)
        return _BOTTOM - share * (_BOTTOM - _TOP)

    def grid(self) -> list[str]:
        """Lines at 1, 2 and 5 times the powers of ten, with their numbers."""
        parts = []
        few = self._most - self._least <= 3
        for power in range(self._least, self._most + 1):
            for factor in (1, 2, 5) if few and power < self._most else (1,):
                value = factor * 10.0**power
                y = self.at(value)
                parts.append(f'<path d="M{_LEFT} {y:.1f}H{_RIGHT}" stroke="{GRID}"/>')
                parts.append(text(_LEFT - 8, y + 4, f"{value:g}", anchor="end", fill=FAINT))
        return parts


def _labels(points: Mapping[tuple[str, float], float]) -> list[str]:
    """Each label above its point, (label, x) -> y, and above labels that would touch it."""
    parts: list[str] = []
    taken: list[tuple[float, float, float]] = []
    for (label, x), y in sorted(points.items(), key=lambda item: -item[1]):
        width = 7 * len(label)
        left = min(x + 4, _WIDTH - 8 - width)
        y -= 6
        while any(
            left < end and start < left + width and abs(y - other) < 14
            for start, end, other in taken
        ):
            y -= 2
        taken.append((left, left + width, y))
        parts.append(text(left, y, label, 12, **_OUTLINED))
    return parts


def _step(span: float) -> float:
    """A round distance of ticks, at most ten of them in `span`."""
    power = 10.0 ** math.floor(math.log10(span / 10))
    return next(step for step in (power, 2 * power, 5 * power, 10 * power) if span / step <= 10)


def _tick(x: float, label: str) -> list[str]:
    line = f'<path d="M{x:.1f} {_TOP}V{_BOTTOM}" stroke="{GRID}"/>'
    return [line, text(x, _BOTTOM + 20, label, anchor="middle", fill=FAINT)]


def _head(title: str, axis: str, names: Sequence[str]) -> list[str]:
    """Title, axes' names and, for several series, what they are."""
    middle = (_TOP + _BOTTOM) / 2
    turned = f'<g transform="rotate(-90 20 {middle:.0f})">'
    parts = [
        text(16, 28, title, 17, weight="bold"),
        text((_LEFT + _RIGHT) / 2, _BOTTOM + 44, axis, 13, anchor="middle"),
        turned + text(20, middle, "KL divergence (nats)", 13, anchor="middle") + "</g>",
    ]
    if len(names) > 1:
        for number, (colour, name) in enumerate(zip(colours(len(names)), names, strict=True)):
            y = _TOP + 20 + 18 * number
            place = f'x="{_RIGHT - 14}" y="{y - 10}" width="12" height="12"'
            parts.append(f'<rect {place} fill="{colour}"/>')
            parts.append(text(_RIGHT - 20, y, name, 13, anchor="end"))
    return parts


def _line(places: Sequence[tuple[float, float]], colour: str) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
