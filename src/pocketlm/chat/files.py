"""Text files within a message: each in a frame that names it, after what was said.

Knows texts alone: reading files is for those who have them.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

_END = re.compile(r"(?:^|\n)--- end of ([^\n]{1,255}) ---\Z")


class File(NamedTuple):
    """A file's name, and the text that it holds."""

    name: str
    text: str


def joined(said: str, files: Iterable[File]) -> str:
    """A message: what was said, and then each file in its frame."""
    return "\n\n".join(part for part in (said, *map(_framed, files)) if part.strip())


def parted(message: str) -> tuple[str, list[File]]:
    """What was said in a message that `joined` made, and the files; `joined` makes it again."""
    said, files = message, list[File]()
    while end := _END.search(said):
        opening = f"--- {end[1]} ---\n"
        begin = said.rfind(f"\n\n{opening}", 0, end.start() + 1)
        if not (said[:begin].strip() if begin >= 0 else said.startswith(opening)):
            break
        body = begin + 2 if begin >= 0 else 0
        files.insert(0, File(end[1], said[body + len(opening) : max(end.start(), body)]))
        if joined("", files[:1]) != said[body:]:  # the frame of no file
            del files[0]
            break
        said = said[: max(begin, 0)]
    return said, files


def _framed(file: File) -> str:
    name = " ".join(file.name.split()) or "file"
    body = file.text.strip("\n")
    return f"--- {name} ---\n{body}\n--- end of {name} ---"
