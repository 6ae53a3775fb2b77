"""A table of shares as a picture: SVG with a cell for each share, its number in it.

It knows numbers, labels and SVG. One hue from light to dark, so that it reads in grey too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pocketlm.svg import FAINT, INK, picture, text

#: Pixels: a cell's least width and its height, the space around the cells, and the picture's least
#: width, which the texts above the cells need.
_WIDE, _HIGH = 84, 44
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 110, 84, 64
_LEAST = 640
#: The ground of a cell without a share.
_NONE = "#f6f8fa"
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
        text(16, 28, title, 17, weight="bold"),
        text(16, 50, subtitle, fill=FAINT),
        text((_LEFT + right) / 2, bottom + 46, across, 13, anchor="middle"),
        f'<g transform="rotate(-90 22 {middle:.1f})">'
        + text(22, middle, down, 13, anchor="middle")
        + "</g>",
    ]
    for i, column in enumerate(columns):
        parts.append(text(_LEFT + (i + 0.5) * wide, bottom + 22, column, 13, anchor="middle"))
    for j, row in enumerate(rows):
        y = _TOP + j * _HIGH
        parts.append(text(_LEFT - 10, y + _HIGH / 2 + 5, row, 13, anchor="end"))
        for i, column in enumerate(columns):
            parts += _cell(_LEFT + i * wide, y, wide, shares.get((column, row)))
    parts += _scale(right + 28, bottom)
    return picture(width, height, parts)


def _cell(x: float, y: float, wide: float, share: float | None) -> list[str]:
    place = f'x="{x + 1:.1f}" y="{y + 1:.1f}" width="{wide - 2:.1f}" height="{_HIGH - 2}"'
    ground = _NONE if share is None else _colour(share)
    parts = [f'<rect {place} rx="3" fill="{ground}"/>']
    if share is not None:
        ink = "#ffffff" if share >= _DARK else INK
        number = text(
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
        parts.append(text(x + 20, y, f"{100 * share:.0f} %", fill=FAINT))
    return parts


def _colour(share: float) -> str:
    mixed = (round(a + (b - a) * share) for a, b in zip(_LOW, _HIGH_COLOUR, strict=True))
    return "#" + "".join(f"{value:02x}" for value in mixed)
