"""A table of shares as a picture: SVG with a cell for each share, its number in it.

It knows numbers, labels and SVG. One hue from light to dark, so that it reads in grey too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

#: Pixels: a cell's least width and its height, the space around the cells, and the picture's least
#: width, which the texts above the cells need.
_WIDE, _HIGH = 84, 44
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 110, 84, 64
_LEAST = 640
_INK, _FAINT, _NONE = "#1f2328", "#59636e", "#f6f8fa"
#: The colours of 0 and of 1, as red, green, blue.
_LOW, _HIGH_COLOUR = (236, 243, 250), (16, 62, 122)
#: From this share on the ground is dark, and the number on it white.
_DARK = 0.55


def heat_map(
    shares: Mapping[tuple[str, str], float],
    columns: Sequence[str],
    rows: Sequence[str],
    *,
    title: str,
    subtitle: str,
    across: str,
    down: str,
) -> str:
    """The picture of `shares`, (column, row) -> 0 to 1, in the order of `columns` and `rows`.

    A cell without a share stays empty. `across` and `down` name the axes.
    """
    wide = max(_WIDE, (_LEAST - _LEFT - _RIGHT) / len(columns))
    right, bottom = _LEFT + wide * len(columns), _TOP + _HIGH * len(rows)
    width, height = right + _RIGHT, bottom + _BOTTOM
    middle = (_TOP + bottom) / 2
    parts = [
        _text(16, 28, title, 17, weight="bold"),
        _text(16, 50, subtitle, fill=_FAINT),
        _text((_LEFT + right) / 2, bottom + 46, across, 13, anchor="middle"),
        f'<g transform="rotate(-90 22 {middle:.1f})">'
        + _text(22, middle, down, 13, anchor="middle")
        + "</g>",
    ]
    for i, column in enumerate(columns):
        parts.append(_text(_LEFT + (i + 0.5) * wide, bottom + 22, column, 13, anchor="middle"))
    for j, row in enumerate(rows):
        y = _TOP + j * _HIGH
        parts.append(_text(_LEFT - 10, y + _HIGH / 2 + 5, row, 13, anchor="end"))
        for i, column in enumerate(columns):
            parts += _cell(_LEFT + i * wide, y, wide, shares.get((column, row)))
    parts += _scale(right + 28, bottom)
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    font = 'font-family="system-ui, DejaVu Sans, sans-serif"'
    ground = f'<path d="M0 0H{width:.0f}V{height:.0f}H0Z" fill="#ffffff"/>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>'
    return "\n".join([head, ground, *parts, "</svg>\n"])


def _cell(x: float, y: float, wide: float, share: float | None) -> list[str]:
    place = f'x="{x + 1:.1f}" y="{y + 1:.1f}" width="{wide - 2:.1f}" height="{_HIGH - 2}"'
    ground = _NONE if share is None else _colour(share)
    parts = [f'<rect {place} rx="3" fill="{ground}"/>']
    if share is not None:
        ink = "#ffffff" if share >= _DARK else _INK
        number = _text(
            x + wide / 2, y + _HIGH / 2 + 5, f"{100 * share:.0f} %", 14, anchor="middle", fill=ink
        )
        parts.append(number)
    return parts


def _scale(x: float, bottom: float) -> list[str]:
    """The colours of all shares beside the cells, 1 on top."""
    stops = "".join(
        f'<stop offset="{1 - share}" stop-color="{_colour(share)}"/>' for share in (1.0, 0.5, 0.0)
    )
    parts = [
        f'<linearGradient id="scale" x1="0" y1="0" x2="0" y2="1">{stops}</linearGradient>',
        f'<rect x="{x:.1f}" y="{_TOP}" width="14" height="{bottom - _TOP}" fill="url(#scale)"/>',
    ]
    for share in (1.0, 0.5, 0.0):
        y = bottom - share * (bottom - _TOP)
        y = min(max(y + 4, _TOP + 10), bottom)
        parts.append(_text(x + 20, y, f"{100 * share:.0f} %", fill=_FAINT))
    return parts


def _colour(share: float) -> str:
    mixed = (round(a + (b - a) * share) for a, b in zip(_LOW, _HIGH_COLOUR, strict=True))
    return "#" + "".join(f"{value:02x}" for value in mixed)


def _text(x: float, y: float, text: str, size: int = 12, **style: str) -> str:
    names = {"anchor": "text-anchor", "weight": "font-weight"}
    said = {"fill": _INK} | style
    attributes = " ".join(f'{names.get(key, key)}="{value}"' for key, value in said.items())
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" {attributes}>{escape(text)}</text>'
