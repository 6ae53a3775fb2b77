"""The process in which files are read: bytes of a kind in, passages out.

Started by `reader.py`. It opens no file: what it reads is sent to it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from pocketlm.assistant.child import ChildError, serve
from pocketlm.assistant.documents.document import Document
from pocketlm.assistant.documents.split import passages

#: Most characters of all passages of a file.
MOST_CHARACTERS = 64 << 20
#: What part of the time a PDF's pages may take; the rest is for what follows.
_PART_FOR_PAGES = 0.7


def _reader(kind: str) -> Callable[[bytes], Document]:
    """Imports what the kind needs: a process that reads text starts at once."""
    if kind == "text":
        from pocketlm.assistant.documents.plain import read_text

        return read_text
    if kind == "code":
        from pocketlm.assistant.documents.plain import read_code

        return read_code
    if kind == "html":
        from pocketlm.assistant.documents.html import read_html

        return read_html
    if kind == "markdown":
        from pocketlm.assistant.documents.markdown import read_markdown

        return read_markdown
    if kind == "epub":
        from pocketlm.assistant.documents.epub import read_epub

        return read_epub
    if kind == "pdf":
        from pocketlm.assistant.documents.pdf import read_pdf

        seconds = float(sys.argv[1]) * _PART_FOR_PAGES
        return lambda data: read_pdf(data, seconds)
    raise ChildError(f"is of an unknown kind ({kind})")


def _answer(request: dict[str, str], data: bytes) -> dict[str, Any]:
    document = _reader(request["kind"])(data)
    pieces = []
    size = 0
    for piece in passages(document, request["name"]):
        size += len(piece.text)
        if size > MOST_CHARACTERS:
            document.notes.append(f"only the first {MOST_CHARACTERS:,} characters were read")
            break
        pieces.append(piece)
    return {"passages": pieces, "notes": document.notes}


if __name__ == "__main__":
    serve(_answer)
