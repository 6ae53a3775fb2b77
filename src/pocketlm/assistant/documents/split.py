"""A document into passages: short stretches that end where sentences, lines and sections end.

Knows lengths and borders. Does not know what reads the passages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pocketlm.assistant.documents.characters import shown
from pocketlm.assistant.documents.document import Block, Document

#: Characters of a passage: it ends at the first border after `_ENOUGH` (some 130 words of English),
#: before `_MOST`. A section of less than `_FEW` is joined with the next, a rest of less with what
#: is before it.
_ENOUGH, _MOST, _FEW = 750, 1250, 300
#: The last sentence begins the next passage too, where it is not longer than this.
_OVERLAP = 150
_LONGEST_TITLE = 200
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+(?=[\"'“‘(\[]?[^\Wa-z_])|(?<=[。！？])")
#: White space that is not one space.
_SPACE = re.compile(r" *[^\S ]\s*| {2,}")
_BETWEEN = " › "


class Piece(NamedTuple):
    """A passage of a document: its title with the headings, and its text."""

    title: str
    text: str


class _Unit(NamedTuple):
    """What is not parted: a sentence or a line, and what stands before it in its passage."""

    before: str
    text: str


def sentences(text: str) -> list[str]:
    """The sentences of a text that flows."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part and part.strip()]


def passages(document: Document, name: str) -> Iterator[Piece]:
    """The passages of a document, in their order, without characters that show nothing.

    `name` is its title where it has none.
    """
    title = " ".join(document.title.split()) or name
    for headings, units in _sections(document.blocks):
        for text in _packed(units):
            yield Piece(shown(_title(title, headings)), shown(text))


def _sections(blocks: Sequence[Block]) -> Iterator[tuple[tuple[str, ...], list[_Unit]]]:
    """Blocks under the same headings together; small sections with those that follow them.

    Joined sections are under the headings that they share; their others become lines of the text.
    """
    headings: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    units: list[_Unit] = []
    size = 0
    for block in blocks:
        if units and block.headings != last:
            if size >= _FEW:
                yield headings, units
                units, size = [], 0
            else:
                shared = _shared(headings, block.headings)
                units[:0] = _lines(headings[len(shared) :], units[0].text)
                new = block.headings[len(_shared(last, block.headings)) :]
                units += _lines(new, block.text)
                headings = shared
        if not units:
            headings = block.headings
        last = block.headings
        found = list(_units(block))
        size += _length(found)
        units += found
    if units:
        yield headings, units


def _lines(headings: Sequence[str], below: str) -> list[_Unit]:
    """Headings as lines; not those that the text below begins with, as a definition does."""
    return [
        _Unit("\n", short)
        for heading in headings
        if not below.startswith(heading)
        for short in _cut(heading)
    ]


def _units(block: Block) -> Iterator[_Unit]:
    if block.lines:
        parts = [line.rstrip() for line in block.text.split("\n")]
    else:
        parts = sentences(_SPACE.sub(" ", block.text))
    before = "\n"
    for part in parts:
        for short in _cut(part):
            yield _Unit(before, short)
            before = " " if not block.lines else "\n"


def _cut(text: str) -> Iterator[str]:
    """A text in parts of at most `_MOST` characters, at spaces where there are any."""
    begin = 0
    while len(text) - begin > _MOST:
        space = text.rfind(" ", begin + _ENOUGH // 2, begin + _ENOUGH)
        end = space if space > 0 else begin + _ENOUGH
        yield text[begin:end]
        begin = end + (space > 0)
    if begin < len(text):
        yield text[begin:]


def _packed(units: Sequence[_Unit]) -> Iterator[str]:
    """Units in passages; what would be too little at the end joins the passage before it."""
    groups: list[list[_Unit]] = [list(units[:1])]
    size = _length(units[:1])
    for unit in units[1:]:
        if size >= _ENOUGH or size + len(unit.text) > _MOST:
            groups.append([])
            size = 0
        groups[-1].append(unit)
        size += _length([unit])
    if len(groups) > 1 and size < _FEW:
        groups[-2:] = [groups[-2] + groups[-1]]
    before: list[_Unit] = []
    for group in groups:
        first, *others = [unit for unit in before[-1:] if len(unit.text) <= _OVERLAP] + group
        text = (first.text + "".join(unit.before + unit.text for unit in others)).strip("\n")
        if text.strip():
            yield text
        before = group


def _length(units: Sequence[_Unit]) -> int:
    return sum(len(unit.before) + len(unit.text) for unit in units)


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return one[:count]


def _title(title: str, headings: Sequence[str]) -> str:
    parts = [title, *(" ".join(heading.split()) for heading in headings)]
    # A page's title is most often its first heading again.
    parts = [part for at, part in enumerate(parts) if part and part not in parts[:at]]
    full = _BETWEEN.join(parts)
    return full if len(full) <= _LONGEST_TITLE else full[: _LONGEST_TITLE - 1] + "…"
