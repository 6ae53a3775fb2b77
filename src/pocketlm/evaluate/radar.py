"""Scores by category as a picture: a polygon for each model on one axis a category, SVG.

It knows numbers, labels and SVG.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pocketlm.svg import colours, inline, picture, text

#: Pixels: the picture, and the circle of the highest score.
_WIDTH, _HEIGHT = 560, 470
_MIDDLE_X, _MIDDLE_Y, _RADIUS = 280, 235, 160
_LEGEND = 20


def radar(
    series: Mapping[str, Mapping[str, float]],
    axes: Sequence[str],
    *,
    most: float,
    title: str,
    page: bool = False,
) -> str:
    """The scores, 0 to `most`, of each of the series by axis, clockwise from the top.

    An axis on which a series has no score is left out of its polygon. With `page` it is a part of
    a page, which says the title; else a file.
    """
    height = _HEIGHT + _LEGEND * len(series)
    parts = [] if page else [text(16, 28, title, 17, weight="bold")]
    parts += _grid(axes, most)
    for number, (colour, (name, scores)) in enumerate(
        zip(colours(len(series)), series.items(), strict=True)
    ):
        places = [
            _place(index, len(axes), scores[axis] / most)
            for index, axis in enumerate(axes)
            if axis in scores
        ]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        look = f'fill="{colour}" fill-opacity="0.1" stroke="{colour}" stroke-width="2"'
        parts.append(f'<polygon points="{points}" {look}/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        y = _HEIGHT + _LEGEND * number
        parts.append(f'<rect x="120" y="{y - 10}" width="12" height="12" fill="{colour}"/>')
        parts.append(text(140, y, name, 13, fill="currentColor"))
    if page:
        return inline(_WIDTH, height, parts, title)
    return picture(_WIDTH, height, parts)


def _place(index: int, count: int, share: float) -> tuple[float, float]:
    angle = 2 * math.pi * index / count
    return (
        _MIDDLE_X + share * _RADIUS * math.sin(angle),
        _MIDDLE_Y - share * _RADIUS * math.cos(angle),
    )


def _grid(axes: Sequence[str], most: float) -> list[str]:
    """Rings at each fifth, an axis for each category, and their names."""
    faint = 'fill="none" stroke="currentColor" stroke-opacity="0.2"'
    parts = []
    for fifth in range(1, 6):
        ring = [_place(index, len(axes), fifth / 5) for index in range(len(axes))]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in ring)
        parts.append(f'<polygon points="{points}" {faint}/>')
        label = f"{most * fifth / 5:g}"
        y = _MIDDLE_Y - _RADIUS * fifth / 5
        style = {"fill": "currentColor", "fill-opacity": "0.75"}
        parts.append(text(_MIDDLE_X + 4, y + 12, label, 11, **style))
    for index, axis in enumerate(axes):
        x, y = _place(index, len(axes), 1)
        parts.append(f'<path d="M{_MIDDLE_X} {_MIDDLE_Y}L{x:.1f} {y:.1f}" {faint}/>')
        x, y = _place(index, len(axes), 1.12)
        side = x - _MIDDLE_X
        anchor = "middle" if abs(side) < 8 else "start" if side > 0 else "end"
        parts.append(text(x, y + 5, axis, 14, anchor=anchor, fill="currentColor"))
    return parts
