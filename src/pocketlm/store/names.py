"""Names of models and files, by allow-list.

A name from a user, a catalogue, a manifest or a hub listing becomes part of a path only after it
has passed here. It knows no store and touches no disk.
"""

import re
from dataclasses import dataclass

from pocketlm.errors import StoreError

#: One component of a name: no separator, no control character, never "." or "..".
_PART = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}"
_SHORT = re.compile(rf"{_PART}(?::{_PART})?")
_FILE = re.compile(_PART)
_HUB = re.compile(
    rf"(?P<repository>{_PART}/{_PART})(?::(?P<file>{_PART}(?:/{_PART}){{0,3}}\.gguf))?"
)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class HubName:
    """A hub repository, and the GGUF file in it that is meant (None: the store chooses)."""

    repository: str
    file: str | None = None

    def __str__(self) -> str:
        """As a user writes it: `org/name` or `org/name:file.gguf`."""
        return self.repository if self.file is None else f"{self.repository}:{self.file}"


def parse_hub_name(text: str) -> HubName | None:
    """`org/name` or `org/name:path/file.gguf`, or None when `text` is neither."""
    match = _HUB.fullmatch(text)
    if match is None or ".." in text or "--" in match["repository"]:
        return None
    return HubName(match["repository"], match["file"])


def is_short_name(text: str) -> bool:
    """Whether `text` may name a catalogue entry: `name` or `name:variant`."""
    return _SHORT.fullmatch(text) is not None and ".." not in text


def is_file_name(text: str) -> bool:
    """Whether `text` may name a file or folder, alone, on every system."""
    return _FILE.fullmatch(text) is not None and ".." not in text and not text.endswith(".")


def is_sha256(text: object) -> bool:
    """Whether `text` is a SHA-256 in lower-case hexadecimal."""
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None


def folder_name(name: str) -> str:
    """The folder of a model in our store: one for each name, and none outside the store.

    Neither "@" nor "=" may occur in a name, and "--" not in a repository's, so that two names never
    share a folder.
    """
    hub = parse_hub_name(name)
    if hub is not None:
        return str(hub).replace("/", "--", 1).replace(":", "@").replace("/", "@")
    if is_short_name(name):
        return name.replace(":", "=")
    raise StoreError(f"{name!r} is not a name of a model")
