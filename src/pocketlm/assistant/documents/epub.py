"""EPUB into blocks: the chapters of a book, in the order in which it is read.

Knows the archive and the package file; chapters are HTML. What an entry claims of its size is not
believed: what comes out is counted.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
from urllib.parse import unquote

from lxml import etree

from pocketlm.assistant.child import ChildError
from pocketlm.assistant.documents.document import Block, Document
from pocketlm.assistant.documents.html import read_html

MOST_ENTRIES = 20_000
#: Bytes that come out of the archive: of one entry, and of all together.
MOST_OF_ENTRY, MOST_OF_ALL = 16 << 20, 128 << 20
_CONTAINER = "META-INF/container.xml"


def read_epub(data: bytes) -> Document:
    """An EPUB file. Raises ChildError for one that is broken, locked, or a bomb."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _Book(archive).document()
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError) as error:
        raise ChildError(f"is no sound EPUB file ({error})") from None


class _Book:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        if len(archive.infolist()) > MOST_ENTRIES:
            raise ChildError(f"has more than {MOST_ENTRIES:,} entries")
        self._archive = archive
        self._left = MOST_OF_ALL

    def document(self) -> Document:
        container = _xml(self._entry(_CONTAINER))
        root = container.find(".//{*}rootfile")
        if root is None or not root.get("full-path"):
            raise ChildError("is no sound EPUB file (no package file)")
        path = str(root.get("full-path"))
        package = _xml(self._entry(path))
        title = package.findtext(".//{*}metadata/{*}title") or ""
        chapters = {
            item.get("id"): item.get("href")
            for item in package.iterfind(".//{*}manifest/{*}item")
            if "html" in item.get("media-type", "")
        }
        blocks: list[Block] = []
        notes: list[str] = []
        missing = 0
        for item in package.iterfind(".//{*}spine/{*}itemref"):
            href = chapters.get(item.get("idref"))
            if href is None:
                continue
            name = posixpath.normpath(posixpath.join(posixpath.dirname(path), unquote(href)))
            try:
                chapter = read_html(self._entry(name))
            except KeyError:
                missing += 1
                continue
            blocks += chapter.blocks
            notes += [note for note in chapter.notes if note not in notes]
        if missing:
            notes.append(f"{missing:,} chapters are missing")
        if not blocks:
            raise ChildError("has no text")
        return Document(blocks, title, notes)

    def _entry(self, name: str) -> bytes:
        """What an entry holds. Raises KeyError where there is none."""
        about = self._archive.getinfo(name)
        if about.flag_bits & 1:
            raise ChildError("is locked by a password")
        most = min(MOST_OF_ENTRY, self._left)
        with self._archive.open(about) as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise ChildError(f"unpacks to more than {most >> 20} MiB ({name[:100]!r})")
        self._left -= len(data)
        return data


def _xml(data: bytes) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        return etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise ChildError(f"is no sound EPUB file ({error.msg})") from None
