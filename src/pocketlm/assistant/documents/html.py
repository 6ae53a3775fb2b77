"""HTML into blocks under headings: what a reader of the page sees as its text.

Knows elements. Scripts, styles, comments, forms, navigation and whatever is hidden are no text; nor
are pictures, and what is said in their place. Lays nothing out: a style sheet is not applied.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from lxml import etree

from pocketlm.assistant.documents.characters import decoded
from pocketlm.assistant.documents.document import Block, Document


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SKIPPED = _names(
    "audio button canvas datalist dialog embed form frame head iframe input math menu nav noscript"
    " object script select style svg template textarea video"
)
_BLOCKS = _names(
    "address article aside blockquote body caption center dd details div dl dt fieldset figcaption"
    " figure footer header hr html li main ol p pre section summary table tbody tfoot thead tr ul"
)
_HEADINGS = _names("h1 h2 h3 h4 h5 h6")
_CELLS = frozenset(("td", "th"))
#: Declarations that hide an element, of a style without comments and blanks.
_HIDING = re.compile(
    r"(?:^|;)(?:display:none|(?:content-)?visibility:(?:hidden|collapse)|color:transparent"
    r"|(?:opacity|font-size):0*(?:\.0*)?(?:[a-z]+|%)?|(?:left|top|text-indent):-\d{4,}[^;]*)"
    r"(?:!important)?(?:;|$)"
)
_COMMENTS = re.compile(r"/\*.*?\*/", re.DOTALL)
_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([\w-]{1,40})", re.IGNORECASE)
#: White space that is not one space.
_SPACE = re.compile(r" *[^\S ]\s*| {2,}")
#: Signs that link a heading to itself.
_PERMALINK = re.compile(r"\s*[¶§#]\s*$")


def read_html(data: bytes) -> Document:
    """An HTML or XHTML file."""
    declared = _CHARSET.search(data[:4096])
    text, notes = decoded(data, declared[1].decode() if declared else None)
    document = parsed(text)
    return Document(document.blocks, document.title, notes)


def parsed(text: str, drop: Callable[[etree._Element], bool] = lambda _: False) -> Document:
    """The blocks of a page, without the elements for which `drop` is true."""
    parser = etree.HTMLParser(
        encoding="utf-8", remove_comments=True, remove_pis=True, no_network=True, huge_tree=True
    )
    root = etree.fromstring(text.encode(), parser)
    if root is None:
        return Document([])
    title = root.findtext(".//title") or ""
    return Document(_Page(drop).blocks_of(root), " ".join(title.split()))


class _Page:
    """Walks through a page, gathering text into blocks."""

    def __init__(self, drop: Callable[[etree._Element], bool]) -> None:
        self._drop = drop
        self._blocks: list[Block] = []
        self._headings: list[tuple[int, str]] = []
        self._text: list[str] = []
        self._pre = 0
        self._skipped: etree._Element | None = None

    def blocks_of(self, root: etree._Element) -> list[Block]:
        walk = etree.iterwalk(root, events=("start", "end"))
        for event, element in walk:
            tag = element.tag if isinstance(element.tag, str) else ""
            if event == "start":
                if not tag or tag in _SKIPPED or is_hidden(element) or self._drop(element):
                    walk.skip_subtree()
                    self._skipped = element  # its end comes next, and ends nothing
                else:
                    self._begin(tag, element.text)
            else:
                if element is not self._skipped:
                    self._end(tag)
                self._text.append(element.tail or "")
        self._flush()
        return self._blocks

    def _begin(self, tag: str, text: str | None) -> None:
        if tag in _BLOCKS or tag in _HEADINGS:
            self._flush()
        elif tag == "br":
            self._text.append("\n")
        if tag == "pre":
            self._pre += 1
        if tag == "li":
            self._text.append("• ")
        self._text.append(text or "")

    def _end(self, tag: str) -> None:
        if tag in _HEADINGS:
            heading = _PERMALINK.sub("", " ".join("".join(self._text).split()))
            self._text.clear()
            level = int(tag[1])
            self._headings = [each for each in self._headings if each[0] < level]
            if heading:
                self._headings.append((level, heading))
        elif tag in _CELLS:
            self._text.append(" | ")
        elif tag in _BLOCKS:
            self._flush()
        if tag == "pre":
            self._pre -= 1

    def _flush(self) -> None:
        text = "".join(self._text)
        self._text.clear()
        headings = tuple(heading for _, heading in self._headings)
        text = text.strip("\n") if self._pre else _SPACE.sub(" ", text).strip(" |")
        if text.strip(" •\n\t"):
            self._blocks.append(Block(text, headings, lines=bool(self._pre)))


def is_hidden(element: etree._Element) -> bool:
    """Whether an element's own attributes hide it. Style sheets are not looked at."""
    style = _COMMENTS.sub("", element.get("style") or "").lower()
    return (
        element.get("hidden") is not None
        or (element.get("aria-hidden") or "").strip().lower() == "true"
        or _HIDING.search("".join(style.split())) is not None
    )
