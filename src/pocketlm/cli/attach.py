"""What a prompt is made of: words, piped text and files."""

import sys
from collections.abc import Sequence
from pathlib import Path

from pocketlm.chat.files import File, joined
from pocketlm.errors import ParameterError


def piped_input() -> str:
    """What was piped to standard input; "" when that is a terminal, closed or empty."""
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        return ""
    return _text(sys.stdin.buffer.read(), "standard input")


def compose(prompt: str, piped: str, files: Sequence[Path]) -> str:
    """The prompt, then the piped text, then each file in a frame that names it.

    Raises ParameterError when a file cannot be read or is no text, or when all is empty.
    """
    said = "\n\n".join(part for part in (prompt, piped.strip("\n")) if part.strip())
    text = joined(said, (File(path.name, text_of(path)) for path in files))
    if not text:
        raise ParameterError("there is no prompt: give one, or pipe text to standard input")
    return text


def text_of(path: Path) -> str:
    """What a file holds. Raises ParameterError when it cannot be read or is no text."""
    try:
        return _text(path.read_bytes(), str(path))
    except OSError as error:
        raise ParameterError(f"cannot read {path}: {error.strerror}") from error


def _text(data: bytes, name: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ParameterError(f"{name} is not UTF-8 text (byte {error.start})") from error
    if "\0" in text:
        raise ParameterError(f"{name} is not text: it holds zero bytes")
    return text
