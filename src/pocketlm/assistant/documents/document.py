"""What a file holds once it is read: blocks of text under headings. Knows no kind of file."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Block:
    """A paragraph, a list's item, a stretch of code, under `headings`, the outermost first.

    Its lines are kept as they are where `lines` says so (code, verse); otherwise they flow.
    """

    text: str
    headings: tuple[str, ...] = ()
    lines: bool = False


@dataclass(frozen=True)
class Document:
    """A file's text. `notes` tell people what was not read, or read by a guess."""

    blocks: list[Block]
    title: str = ""
    notes: list[str] = field(default_factory=list)
