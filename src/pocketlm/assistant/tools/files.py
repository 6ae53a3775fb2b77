"""The tools `read_file` and `list_folder`: text files within granted folders, and nothing beyond.

A path is walked from the granted folder's descriptor, one part at a time, and no part may be a
link: whatever is renamed or replaced meanwhile, the walk stays below. Knows files; what they say is
data.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pocketlm.assistant.tools.skill import Skill
from pocketlm.chat.tools import Tool
from pocketlm.errors import Error, ParameterError

#: Largest file that is read, most of it that is told at once, and most names of a folder.
MOST_BYTES, MOST_CHARACTERS, MOST_NAMES = 10 << 20, 8000, 200
MOST_PATH, MOST_PARTS = 1000, 50
#: Folders that are no place for documents: what the kernel tells, devices, sockets.
_NEVER = ("/proc", "/sys", "/dev", "/run", "/var/run")


class Grants:
    """Folders that may be read, held open; each is known by its own name."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Open them. Raises ParameterError for what is no folder, or none to grant."""
        self._held: dict[str, tuple[Path, int]] = {}
        for folder in folders:
            path = Path(os.path.realpath(folder.expanduser()))
            if path == Path("/") or any(path.is_relative_to(never) for never in _NEVER):
                raise ParameterError(f"{folder} cannot be granted: it is no folder of documents")
            name = path.name
            while name in self._held:
                name += "+"
            try:
                held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                self.close()
                raise ParameterError(f"cannot grant {folder}: {error.strerror}") from None
            self._held[name] = (path, held)

    @property
    def names(self) -> list[str]:
        """What the folders are called in paths."""
        return list(self._held)

    def close(self) -> None:
        """Let go of the folders."""
        for _, descriptor in self._held.values():
            os.close(descriptor)
        self._held = {}

    @contextmanager
    def opened(self, path: str, flags: int) -> Iterator[int]:
        """A descriptor of what lies at a path: FOLDER/…/NAME, or a path on this machine.

        Raises Error for what is not below a granted folder, is a link or leads through one.
        """
        folder, parts = self._place(path)
        descriptor = os.dup(folder)
        try:
            for index, part in enumerate(parts):
                last = index == len(parts) - 1
                wanted = flags if last else os.O_RDONLY | os.O_DIRECTORY
                # Not to wait for whoever writes into a pipe.
                wanted |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
                below = os.open(part, wanted, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        except OSError as error:
            linked = error.errno == errno.ELOOP or (
                error.errno == errno.ENOTDIR and _is_link(parts, descriptor)
            )
            reason = "it is a link, or leads through one" if linked else error.strerror
            raise Error(f"cannot open {path[:200]!r}: {reason}") from None
        finally:
            os.close(descriptor)

    def _place(self, path: str) -> tuple[int, list[str]]:
        """The granted folder that a path begins with, and the parts below it."""
        if not path or len(path) > MOST_PATH or "\0" in path:
            raise ParameterError(f"a path has 1 to {MOST_PATH} characters, and no zero bytes")
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts or len(parts) > MOST_PARTS:
            raise ParameterError(f"{path[:200]!r} is not within a granted folder")
        for name, (folder, descriptor) in self._held.items():
            above = list(folder.parts[1:])
            if path.startswith("/"):
                if parts[: len(above)] == above:
                    return descriptor, parts[len(above) :]
            elif parts[:1] == [name]:
                return descriptor, parts[1:]
        if not path.startswith("/") and len(self._held) == 1:
            ((_, descriptor),) = self._held.values()
            return descriptor, parts
        raise ParameterError(
            f"{path[:200]!r} is not within a granted folder; granted: {', '.join(self.names)}"
        )


def skills(grants: Grants) -> list[Skill]:
    """Both tools."""
    path = {
        "type": "string",
        "minLength": 1,
        "maxLength": MOST_PATH,
        "description": f"within {', '.join(grants.names)}",
    }
    start = {"type": "integer", "minimum": 0, "description": "first character, for long files"}
    read = Tool(
        "read_file",
        "Reads a text file.",
        {"properties": {"path": path, "start": start}, "required": ["path"]},
    )
    names = Tool(
        "list_folder",
        "Lists the files and folders in a folder.",
        {"properties": {"path": path}, "required": ["path"]},
    )

    def run_read(arguments: Mapping[str, Any]) -> str:
        return read_file(grants, arguments["path"], arguments.get("start", 0))

    def run_list(arguments: Mapping[str, Any]) -> str:
        return list_folder(grants, arguments["path"])

    return [Skill(read, run_read), Skill(names, run_list)]


def read_file(grants: Grants, path: str, start: int = 0) -> str:
    """What a text file says from a character on; a note at the end says what is left.

    Raises Error for what is not granted, no plain file, too large, or no text.
    """
    with grants.opened(path, os.O_RDONLY) as descriptor:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise Error(f"{path[:200]!r} is no plain file")
        if about.st_size > MOST_BYTES:
            raise Error(
                f"{path[:200]!r} has {about.st_size:,} bytes; {MOST_BYTES:,} are read at most"
            )
        data = b""
        while len(data) <= MOST_BYTES and (more := os.read(descriptor, 1 << 20)):
            data += more
    if len(data) > MOST_BYTES:
        raise Error(f"{path[:200]!r} grows beyond {MOST_BYTES:,} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Error(f"{path[:200]!r} is not UTF-8 text (byte {error.start})") from None
    if "\0" in text:
        raise Error(f"{path[:200]!r} is not text: it holds zero bytes")
    if start and start >= len(text):
        raise ParameterError(f"{path[:200]!r} has {len(text):,} characters, none from {start:,} on")
    shown = text[start : start + MOST_CHARACTERS]
    rest = len(text) - start - len(shown)
    note = f"\n[{rest:,} more characters: read on from start {start + len(shown)}]" if rest else ""
    return (shown or "[the file is empty]") + note


def list_folder(grants: Grants, path: str) -> str:
    """The names in a folder, a line each: folders end with "/", links are said to be links."""
    with grants.opened(path, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
        names = sorted(os.listdir(descriptor))
        lines = [_entry(name, descriptor) for name in names[:MOST_NAMES]]
    if len(names) > MOST_NAMES:
        lines.append(f"[{len(names) - MOST_NAMES:,} more]")
    return "\n".join(lines) or "[the folder is empty]"


def _entry(name: str, folder: int) -> str:
    """A name as it is told: on one line, whatever it holds."""
    shown = "".join(char if char.isprintable() else "\ufffd" for char in name)
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except OSError:
        return shown
    if stat.S_ISDIR(mode):
        return f"{shown}/"
    return shown if stat.S_ISREG(mode) else f"{shown} (a link, or no plain file)"


def _is_link(parts: Sequence[str], folder: int) -> bool:
    """Whether the part at which the walk ended is a link: O_DIRECTORY hides that."""
    for part in parts:
        try:
            if stat.S_ISLNK(os.stat(part, dir_fd=folder, follow_symlinks=False).st_mode):
                return True
        except OSError:
            continue
    return False
