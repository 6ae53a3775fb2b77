"""Markdown into blocks under headings: it is HTML, written shortly."""

from __future__ import annotations

import re

from pocketlm.assistant.documents.characters import decoded
from pocketlm.assistant.documents.document import Document
from pocketlm.assistant.documents.html import parsed

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.{0,20000}?)\n(?:---|\.\.\.)[ \t]*\n", re.DOTALL)
_TITLE = re.compile(r"^title:[ \t]*[\"']?(.+?)[\"']?[ \t]*$", re.MULTILINE)


def read_markdown(data: bytes) -> Document:
    """A Markdown file. Its title is the front matter's, or its first heading of the first level."""
    from markdown_it import MarkdownIt

    text, notes = decoded(data)
    text = text.replace("\r\n", "\n")
    title = None
    if front := _FRONT_MATTER.match(text):
        title = _TITLE.search(front[1])
        text = text[front.end() :]
    page = parsed(MarkdownIt("commonmark").enable("table").render(text))
    first = next((block.headings[0] for block in page.blocks if block.headings), "")
    return Document(page.blocks, title[1] if title else first, notes)
