"""What came from the web, taken apart: pages, and rules for robots.

Both were written by strangers, and parsers can be made to run or grow without end: this runs in a
process of its own (`child.py`), and opens no file and no socket once it has begun.
"""

from __future__ import annotations

import codecs
import contextlib
import copy
import re
import resource
from collections.abc import Iterator
from encodings.aliases import aliases
from typing import TYPE_CHECKING, Any

from pocketlm.assistant.child import ChildError, serve
from pocketlm.assistant.documents.characters import decoded
from pocketlm.assistant.documents.document import Block, Document
from pocketlm.assistant.documents.html import is_hidden, parsed
from pocketlm.assistant.documents.plain import read_text
from pocketlm.assistant.documents.split import passages

if TYPE_CHECKING:
    from lxml.html import HtmlElement

#: Most elements of a page, and most of them inside each other.
MAX_ELEMENTS, MAX_DEPTH = 100_000, 200
#: Characters of a page's main text, of which less is no article but a few words between others.
_LEAST = 250

_UNSEEN = frozenset(
    {"title", "script", "style", "noscript", "template", "iframe", "object", "embed", "svg", "math"}
    | {"canvas", "audio", "video", "dialog", "select", "datalist"}
)
#: What pages name and browsers read as a larger encoding, by Python's names.
_READ_AS = {"iso8859-1": "cp1252", "iso8859-9": "cp1254", "gb2312": "gb18030", "gbk": "gb18030"}
_READ_AS |= {"big5": "big5hkscs", "shift_jis": "cp932", "euc_kr": "cp949", "ascii": "cp1252"}
_META_CHARSET = re.compile(rb"<meta[^>]{0,500}charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.I)


def answer(request: dict[str, Any], data: bytes) -> dict[str, Any]:
    """The passages of a page; or, for an `agent`, whether rules for robots let it fetch a URL."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))  # what is open stays so
    if "agent" in request:
        return _allows(data.decode("utf-8", "replace"), request["agent"], request["url"])
    document = _document(data, request["charset"], request["kind"])
    return {"passages": list(passages(document, request["name"]))}


def _document(data: bytes, charset: str | None, kind: str) -> Document:
    declared = _META_CHARSET.search(data[:4096])
    text, _ = decoded(data, _encoding(charset or (declared[1].decode() if declared else "")))
    return read_text(text.encode()) if kind == "text/plain" else _article(text.replace("\0", ""))


def _encoding(label: str) -> str | None:
    """What an encoding that a page names is read as; None for what is no encoding of texts."""
    try:
        name = codecs.lookup(label).name
        b"text".decode(name, "replace")
    except (LookupError, ValueError, OSError):
        return None
    return _READ_AS.get(name, name)


def _article(text: str) -> Document:
    """The main text of a page; or all that it shows, where that is little."""
    import lxml.etree
    import lxml.html
    import trafilatura
    from trafilatura.settings import Document as Article

    # As bytes: a text that says which encoding it has is refused as text.
    parser = lxml.html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
    try:
        tree = lxml.html.document_fromstring(text.encode() or b"<p>", parser=parser)
    except lxml.etree.ParserError:  # there is no element in it
        return Document([])
    _bound(tree)
    title = " ".join((tree.findtext(".//title") or "").split())
    _drop_hidden(tree)
    article = trafilatura.bare_extraction(
        copy.deepcopy(tree), include_comments=False, include_tables=True
    )
    blocks = list(_blocks(article.body)) if isinstance(article, Article) else []
    if sum(len(block.text) for block in blocks) >= _LEAST:
        return Document(blocks, title)
    return Document(parsed(lxml.html.tostring(tree, encoding="unicode")).blocks, title)


def _bound(tree: HtmlElement) -> None:
    """Raise for a page that is too large or too deep for what comes after, which calls itself."""
    from lxml import etree

    depth = count = 0
    for event, _ in etree.iterwalk(tree, events=("start", "end")):
        depth += 1 if event == "start" else -1
        count += event == "start"
        if depth > MAX_DEPTH or count > MAX_ELEMENTS:
            raise ChildError(
                f"is more than {MAX_DEPTH} elements deep, or has more than {MAX_ELEMENTS}"
            )


def _drop_hidden(tree: HtmlElement) -> None:
    """Remove what a reader would not see; with the styles, which others read more roughly."""
    for element in list(tree.iter()):
        if _is_hidden(element):
            element.drop_tree()
        else:
            element.attrib.pop("style", None)


def _is_hidden(element: HtmlElement) -> bool:
    if not isinstance(element.tag, str) or element.getparent() is None:
        return False
    if element.tag == "dialog" and element.get("open") is not None:
        return False
    return element.tag in _UNSEEN or is_hidden(element)


def _blocks(body: HtmlElement) -> Iterator[Block]:
    """Paragraphs under their headings, of a text as trafilatura gives it."""
    headings: list[tuple[int, str]] = []
    for element in body:
        above = tuple(name for _, name in headings)
        if element.tag == "head":
            rank = element.get("rend") or ""
            level = int(rank[1]) if re.fullmatch("h[1-6]", rank) else 2
            headings = [each for each in headings if each[0] < level]
            headings.append((level, " ".join(_words(element).split())))
        elif element.tag == "table":
            rows = (
                " | ".join(_words(cell) for cell in row.iter("cell")) for row in element.iter("row")
            )
            yield Block("\n".join(" ".join(row.split()) for row in rows), above, lines=True)
        elif element.tag == "list":
            items = (" ".join(_words(item, but="list").split()) for item in element.iter("item"))
            yield Block("\n".join(f"• {item}" for item in items if item), above, lines=True)
        else:
            yield Block(_words(element), above, lines=element.tag == "code")


def _words(element: HtmlElement, but: str = "") -> str:
    pieces = [element.text or ""]
    for child in element:
        if child.tag == "lb":
            pieces.append("\n")
        elif child.tag != but:
            pieces.append(_words(child))
        pieces.append(child.tail or "")
    return "".join(pieces)


def _allows(rules: str, agent: str, url: str) -> dict[str, Any]:
    from protego import Protego

    return {"allowed": Protego.parse(rules).can_fetch(url, agent)}


def _warm() -> None:
    """Import what is needed, and read a page, while files can still be opened."""
    for encoding in set(aliases.values()):
        with contextlib.suppress(LookupError):  # of Windows alone
            codecs.lookup(encoding)
    for words in (3, 300):  # short pages and long ones are read in different ways
        _document(b"<h1>a heading</h1><p>" + b"some words" * words, None, "text/html")
    _allows("User-agent: *\nDisallow: /", "a", "http://a/")


if __name__ == "__main__":
    _warm()
    serve(answer)
