"""PDF into blocks: the text of each page, where the file has text."""

from __future__ import annotations

import io
import re
import time

from pocketlm.assistant.child import ChildError
from pocketlm.assistant.documents.document import Block, Document

MOST_PAGES = 10_000
MOST_CHARACTERS = 32 << 20
_HYPHEN = re.compile(r"(?<=[a-zà-ÿ])[-\u2010]\n(?=[a-zà-ÿ])")
_PARAGRAPH = re.compile(r"\n\s*\n")


def read_pdf(data: bytes, seconds: float) -> Document:
    """A PDF file; pages that are not read within `seconds` are told of in a note.

    Raises ChildError for a file that is locked, or has no text.
    """
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    deadline = time.process_time() + seconds
    notes: list[str] = []
    blocks: list[Block] = []
    broken = size = 0
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise ChildError("is locked by a password")
        count = len(reader.pages)
        title = str((reader.metadata and reader.metadata.title) or "")
    except PyPdfError as error:
        raise ChildError(f"is no sound PDF file ({error})") from None
    for number in range(count):
        if number >= MOST_PAGES or size > MOST_CHARACTERS or time.process_time() > deadline:
            notes.append(f"only the first {number:,} of {count:,} pages were read")
            break
        try:
            text = reader.pages[number].extract_text()
        except Exception:  # a broken page; whatever the library raises, the others may be sound
            broken += 1
            continue
        size += len(text)
        for part in _PARAGRAPH.split(_HYPHEN.sub("", text)):
            if part.strip():
                blocks.append(Block(part, (f"page {number + 1}",)))
    if broken:
        notes.append(f"{broken:,} of {count:,} pages could not be read")
    if not blocks:
        raise ChildError("has no text; it may be pictures of pages")
    return Document(blocks, title, notes)
