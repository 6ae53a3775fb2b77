"""Text of a stranger's, so that what a person sees is all that a model gets.

It knows characters that show nothing, and characters that steer a terminal. It knows no words: an
order in plain letters stays, for a person to see.
"""

from __future__ import annotations

import re
import unicodedata

#: What the standard counts as letters, marks and symbols, but no font shows.
_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
#: Controls, formats (zero width, bidirectional, tags), surrogates, what is private or not assigned,
#: and ends of lines and paragraphs.
_HIDDEN_KINDS = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
#: These join what is written in many scripts, and the parts of pictures.
_JOINERS = frozenset(("\u200c", "\u200d", "\ufe0e", "\ufe0f", "\ufe0f\u200d"))
_NOT_PLAIN = re.compile(r"[^\n\t\x20-\x7e]+")


def visible(text: str) -> str:
    """`text` with each character that shows nothing written as `\\u{…}`; lines and tabs stay.

    A single joiner after a letter or picture that is not ASCII stays as well: it is part of how
    Persian, Hindi and pictures of families are written, and says nothing by itself.
    """
    return _NOT_PLAIN.sub(_shown, text.replace("\r\n", "\n"))


def _shown(found: re.Match[str]) -> str:
    written: list[str] = []
    run = ""  # of hidden characters
    for char in f"{found[0]} ":
        if _is_hidden(char):
            run += char
            continue
        if run in _JOINERS and written:
            written.append(run)
        else:
            written.extend(f"\\u{{{ord(each):x}}}" for each in run)
        written.append(char)
        run = ""
    return "".join(written)[:-1]


def _is_hidden(char: str) -> bool:
    return char in _BLANK or unicodedata.category(char) in _HIDDEN_KINDS


def shortened(text: str, most: int) -> str:
    """At most `most` characters of `text`, and a word of how many more there were."""
    if len(text) <= most:
        return text
    return f"{text[:most]} [… {len(text) - most:,} characters more]"
