"""Bytes of strangers into text, or a reason why not.

It knows encodings. Wrong guesses are worse than none here: what cannot be told is refused.
"""

from __future__ import annotations

import codecs
import re

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's, which it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_META = re.compile(rb"<meta[^>]{0,500}charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.I)
_HEADER = re.compile(r"charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.I)
#: What pages name and browsers read as a larger encoding.
_READ_AS = {"iso8859-1": "cp1252", "ascii": "cp1252", "gb2312": "gb18030", "gbk": "gb18030"}
_GUESSED_FROM = 20_000


class UnreadableError(ValueError):
    """The bytes are no text in an encoding that can be told."""


def decoded(data: bytes, content_type: str | None = None) -> str:
    """The text: by its mark, as UTF-8, as its header or the page itself says, or by its letters.

    Raises UnreadableError for what is no text, or whose encoding cannot be told.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _strictly(data, encoding)
    if b"\0" in data:
        raise UnreadableError("not text")
    try:
        return data.decode()
    except UnicodeDecodeError:
        pass
    named = _HEADER.search(content_type or "")
    found = _META.search(data[:4096])
    label = named[1] if named else found[1].decode("ascii", "replace") if found else None
    named_encoding = _encoding(label) if label else None
    return _strictly(data, named_encoding) if named_encoding else _guessed(data)


def _strictly(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        raise UnreadableError("wrong encoding") from None


def _encoding(label: str) -> str | None:
    """Python's name of an encoding of texts; None for what is none."""
    try:
        name = codecs.lookup(label).name
        b"text".decode(name)
    except (LookupError, ValueError):
        return None
    return _READ_AS.get(name, name)


def _guessed(data: bytes) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(data[:_GUESSED_FROM]).best()
    if best is None or best.encoding == "ascii":
        raise UnreadableError("unknown encoding")
    return _strictly(data, best.encoding)
