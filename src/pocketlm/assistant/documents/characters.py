"""Bytes into text, and text without characters that show nothing.

Knows encodings and Unicode. Knows no format of files.
"""

from __future__ import annotations

import codecs
import re

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's, which it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: Control characters but tab and new line; soft hyphen; what has no width, turns the direction or
#: chooses a variant; tags; halves of surrogate pairs; what no font has.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]+"
)
_JOINERS = "\u200c\u200d"
_BREAKS = re.compile("\r\n?|[\x0c\x85\u2028\u2029]")


def is_text(data: bytes) -> bool:
    """Whether these bytes, the beginning of a file, are text in some encoding."""
    return data.startswith(tuple(mark for mark, _ in _MARKS)) or b"\0" not in data


def decoded(data: bytes, declared: str | None = None) -> tuple[str, list[str]]:
    """The text of a file, and notes on what was guessed.

    By its byte order mark, as UTF-8, as it is `declared`, or else as Windows-1252.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            text = data.decode(encoding, "replace").lstrip("\ufeff")
            return text, ["some characters were damaged"] if "\ufffd" in text else []
    try:
        return data.decode(), []
    except UnicodeDecodeError:
        pass
    if declared is not None:
        try:
            return str(codecs.decode(data, declared, "replace")), []
        except (LookupError, TypeError, ValueError):
            pass  # no encoding of that name, or none of text
    return data.decode("cp1252", "replace"), ["not UTF-8; read as Windows-1252"]


def shown(text: str) -> str:
    """The text without what shows nothing, lines ended by new lines alone.

    A single joiner between letters that are not ASCII stays: Persian and Hindi are written so.
    """
    return _HIDDEN.sub(_kept, _BREAKS.sub("\n", text).replace("\v", "\n"))


def _kept(found: re.Match[str]) -> str:
    before = found.string[found.start() - 1 : found.start()]
    after = found.string[found.end() : found.end() + 1]
    joins = found[0] in _JOINERS and before.isalpha() and after.isalpha()
    return found[0] if joins and not before.isascii() and not after.isascii() else ""
