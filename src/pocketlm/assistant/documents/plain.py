"""Plain text and source code into blocks: paragraphs, and definitions under their first line."""

from __future__ import annotations

import re

from pocketlm.assistant.documents.characters import decoded, shown
from pocketlm.assistant.documents.document import Block, Document

_EMPTY_LINES = re.compile(r"\n(?:[ \t]*\n)+")
#: A line at the left margin that begins a definition, in the languages that people index most.
_DEFINITION = re.compile(
    r"(?:(?:export|default|public|private|protected|internal|static|final|abstract|async|pub"
    r"(?:\(\w+\))?|inline|extern|constexpr|typedef|template\s*<[^\n]{0,80}>)\s+)*"
    r"(?:def|class|function|func|fn|interface|struct|enum|impl|trait|module|namespace|type|sub"
    r"|CREATE\s+(?:TABLE|VIEW|FUNCTION|INDEX))\b[^\n]*",
    re.IGNORECASE,
)
_LONGEST_HEADING = 80


def read_text(data: bytes) -> Document:
    """A text file: paragraphs are what empty lines part. Lines of verse and tables stay lines."""
    text, notes = decoded(data)
    blocks = []
    for part in _EMPTY_LINES.split(shown(text)):
        if part.strip():
            blocks.append(Block(part.strip("\n"), lines=not _flows(part)))
    return Document(blocks, notes=notes)


def read_code(data: bytes) -> Document:
    """A source file: each definition at the left margin is a heading of what follows it."""
    text, notes = decoded(data)
    blocks = []
    headings: tuple[str, ...] = ()
    for part in _EMPTY_LINES.split(shown(text)):
        begun = 0
        lines = part.strip("\n").split("\n")
        for number, line in enumerate(lines):
            if _DEFINITION.match(line):
                if number > begun:
                    blocks.append(Block("\n".join(lines[begun:number]), headings, lines=True))
                begun = number
                headings = (line.strip()[:_LONGEST_HEADING].rstrip(" {:("),)
        rest = "\n".join(lines[begun:])
        if rest.strip():
            blocks.append(Block(rest, headings, lines=True))
    return Document(blocks, notes=notes)


def _flows(part: str) -> bool:
    """Whether lines were broken because they were full, and not where the author broke them."""
    lines = part.strip("\n").split("\n")
    if len(lines) == 1:
        return True
    inner = lines[:-1]
    return all(len(line.rstrip()) > 50 for line in inner) and not any(
        line.startswith((" ", "\t")) for line in lines[1:]
    )
