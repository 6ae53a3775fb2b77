"""What all pictures have in common, as SVG: text, the colours of series, the whole around parts.

It knows numbers and markup; it knows no subject.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

#: Colours on a white ground: text, text that matters less, lines behind everything.
INK, FAINT, GRID = "#1f2328", "#59636e", "#d8dee4"
#: Told apart by people who do not see all colours (Okabe and Ito 2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def colours(count: int) -> list[str]:
    """A colour for each of the series; they come again where there are many."""
    return [COLOURS[number % len(COLOURS)] for number in range(count)]


def text(x: float, y: float, words: str, size: int = 12, **style: str) -> str:
    """A line of text; `style` has attributes of SVG, and `anchor` and `weight` for short."""
    names = {"anchor": "text-anchor", "weight": "font-weight"}
    said = {"fill": INK} | style
    attributes = " ".join(f'{names.get(key, key)}="{value}"' for key, value in said.items())
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" {attributes}>{escape(words)}</text>'


def picture(width: float, height: float, parts: Sequence[str]) -> str:
    """A file: the parts on a white ground. What is drawn in `currentColor` is ink."""
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    font = f'font-family="system-ui, DejaVu Sans, sans-serif" color="{INK}"'
    ground = f'<path d="M0 0H{width:.0f}V{height:.0f}H0Z" fill="#ffffff"/>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>'
    return "\n".join([head, ground, *parts, "</svg>\n"])


def inline(width: float, height: float, parts: Sequence[str], name: str) -> str:
    """A part of a page: in its font and, drawn in `currentColor`, its colours; `name` is read out.

    It is as wide as the page lets it be.
    """
    box = f'viewBox="0 0 {width:.0f} {height:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img" aria-label="{escape(name)}">'
    return "\n".join([head, *parts, "</svg>"])
