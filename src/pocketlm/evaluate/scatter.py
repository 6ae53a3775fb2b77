"""Quality over size as a picture: a point for each model, sizes on a logarithmic axis, SVG.

It knows numbers, labels and SVG; it does not know where they come from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pocketlm.svg import colours, inline, text

#: Pixels: the picture, and the plot's edges in it.
_WIDTH, _HEIGHT = 720, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 700, 20, 400
_FAINT = {"fill": "currentColor", "fill-opacity": "0.75"}
#: About how wide a character is, and one of a bold label, for labels that must not touch.
_CHARACTER, _BOLD = 6.6, 7.8


@dataclass(frozen=True)
class Point:
    """A model: its size in bytes, its quality in per cent, and the interval of that.

    `published` points are others' word: drawn hollow, without an interval.
    """

    label: str
    size: float
    quality: float
    low: float | None = None
    high: float | None = None
    published: bool = False


def scatter(points: Sequence[Point], *, title: str, up: str) -> str:
    """A part of a page: the points, their labels and intervals; `up` names the quality.

    Raises ValueError where there is no point.
    """
    plot = _Plot(points)
    parts = plot.grid()
    middle = (_TOP + _BOTTOM) / 2
    style = {"anchor": "middle", "fill": "currentColor"}
    across = "size of the weights (logarithmic)"
    parts.append(text((_LEFT + _RIGHT) / 2, _BOTTOM + 44, across, 13, **style))
    turned = f'<g transform="rotate(-90 16 {middle:.0f})">'
    parts.append(turned + text(16, middle, up, 13, **style) + "</g>")
    own = [point for point in points if not point.published]
    of_own = dict(zip(map(id, own), colours(len(own)), strict=True))
    for point in points:
        x, y = plot.at(point)
        colour = of_own.get(id(point))
        if colour is None:
            ring = 'fill="none" stroke="currentColor" stroke-opacity="0.6" stroke-width="1.5"'
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" {ring}/>')
            continue
        if point.low is not None and point.high is not None:
            low, high = plot.height(point.low), plot.height(point.high)
            ends = f"M{x - 4:.1f} {low:.1f}h8M{x - 4:.1f} {high:.1f}h8"
            bar = f"M{x:.1f} {low:.1f}V{high:.1f}{ends}"
            parts.append(f'<path d="{bar}" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{colour}"/>')
    return inline(_WIDTH, _HEIGHT, parts + plot.labels(), title)


class _Plot:
    """Where sizes and qualities lie in the picture."""

    def __init__(self, points: Sequence[Point]) -> None:
        sizes = [math.log10(point.size) for point in points]
        margin = max(0.12 * (max(sizes) - min(sizes)), 0.15)
        self._left, self._right = min(sizes) - margin, max(sizes) + margin
        lows = [p.quality if p.low is None else p.low for p in points]
        highs = [p.quality if p.high is None else p.high for p in points]
        self._step = 20 if max(highs) - min(lows) > 50 else 10
        self._low = max(0, self._step * math.floor(min(lows) / self._step))
        self._high = max(self._step * math.ceil(max(highs) / self._step), self._low + self._step)
        self._high = min(self._high, 100)
        self._points = points

    def across(self, size: float) -> float:
        share = (math.log10(size) - self._left) / (self._right - self._left)
        return _LEFT + share * (_RIGHT - _LEFT)

    def height(self, quality: float) -> float:
        share = (quality - self._low) / (self._high - self._low)
        return _BOTTOM - min(max(share, 0.0), 1.0) * (_BOTTOM - _TOP)

    def at(self, point: Point) -> tuple[float, float]:
        return self.across(point.size), self.height(point.quality)

    def grid(self) -> list[str]:
        """Lines at 1, 2 and 5 times the powers of ten, and at each ten per cent."""
        line = 'stroke="currentColor" stroke-opacity="0.15"'
        parts = []
        for power in range(math.floor(self._left), math.ceil(self._right)):
            for factor in (1, 2, 5):
                size = factor * 10.0**power
                if self._left <= math.log10(size) <= self._right:
                    x = self.across(size)
                    parts.append(f'<path d="M{x:.1f} {_TOP}V{_BOTTOM}" {line}/>')
                    parts.append(text(x, _BOTTOM + 20, _size(size), 12, anchor="middle", **_FAINT))
        for quality in range(self._low, self._high + 1, self._step):
            y = self.height(quality)
            parts.append(f'<path d="M{_LEFT} {y:.1f}H{_RIGHT}" {line}/>')
            parts.append(text(_LEFT - 8, y + 4, str(quality), 12, anchor="end", **_FAINT))
        return parts

    def labels(self) -> list[str]:
        """Each label beside its point, where it touches no other and no point."""
        taken = [self._box(point) for point in self._points]
        parts = []
        # One's own are placed first.
        for point in sorted(self._points, key=lambda each: each.published):
            x, y = self.at(point)
            width = (_CHARACTER if point.published else _BOLD) * len(point.label)
            spots = [(x + 10, y + 4), (x - 10 - width, y + 4)]
            for far in range(16, 130, 6):
                for side in (-1, 1):
                    for left in (x - width / 2, x + 4, x - width - 4):
                        spots.append((left, y + side * far + 4))
            left, base = next(
                (spot for spot in spots if self._is_free(spot, width, taken)), spots[0]
            )
            taken.append((left, base - 11, left + width, base + 3))
            style = _FAINT if point.published else {"fill": "currentColor", "weight": "bold"}
            if abs(base - 4 - y) > 20:  # far from its point: a line leads there
                end = base + 3 if base < y else base - 11
                line = 'stroke="currentColor" stroke-opacity="0.4"'
                parts.append(
                    f'<path d="M{x:.1f} {y:.1f}L{left + width / 2:.1f} {end:.1f}" {line}/>'
                )
            parts.append(text(left, base, point.label, 12, **style))
        return parts

    def _box(self, point: Point) -> tuple[float, float, float, float]:
        """What a point and its interval take up: left, top, right, bottom."""
        x, y = self.at(point)
        top = y if point.high is None else self.height(point.high)
        bottom = y if point.low is None else self.height(point.low)
        return x - 7, min(top, y - 7), x + 7, max(bottom, y + 7)

    def _is_free(
        self,
        spot: tuple[float, float],
        width: float,
        taken: Sequence[tuple[float, float, float, float]],
    ) -> bool:
        left, base = spot
        right, top, bottom = left + width, base - 11, base + 3
        if left < _LEFT or right > _RIGHT + 16 or top < _TOP - 12 or bottom > _BOTTOM - 2:
            return False
        return all(right < a or left > c or bottom < b or top > d for a, b, c, d in taken)


def _size(count: float) -> str:
    return f"{count / 1e9:g} GB" if count >= 1e9 else f"{count / 1e6:g} MB"
