"""Text on this machine that may be used freely: what Debian's packages and Python's brought.

It knows where such text is, what kind of text it is, and where its licence is. It reads files and
asks apt's own helper; it reaches no network, no home directory but rustup's books, and no log.
A source gives candidates, in an order of its own; a candidate gives its documents when it is asked.
"""

from __future__ import annotations

import ast
import csv
import functools
import gzip
import importlib.metadata
import re
import subprocess
import sysconfig
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pocketlm.recipe.demo import roff
from pocketlm.recipe.demo.licences import is_free

LARGEST = 4_000_000
"""Bytes of a file, beyond which it is skipped."""
_PIECE = 20_000
"""Characters of a document; longer texts are cut between paragraphs."""
_PIECES = 8
"""Of one text at most."""
_DPKG = Path("/var/lib/dpkg")
_LISTS = Path("/var/lib/apt/lists")
_HELPER = Path("/usr/lib/apt/apt-helper")

Parts = Iterable[tuple[str, str]]
"""What a candidate holds: a name within it (empty for the whole) and a text."""


class UnreadableError(Exception):
    """A file is no text for us; the message says why."""


class Candidate(NamedTuple):
    """Something that has one document or several."""

    kind: str
    source: str
    """Path of the file."""
    licence: str
    """Path of what says the licence."""
    read: Callable[[], Parts]
    name: str = ""
    """Which part of the file, where a file has several."""

    @property
    def id(self) -> str:
        """Its place on this machine."""
        return f"{self.kind}{self.source}" + (f"#{self.name}" if self.name else "")


def candidates() -> Iterator[Candidate]:
    """All there is."""
    yield from _of_debian()
    yield from _descriptions()
    yield from _of_python()
    yield from _of_rust()


# Debian: every package's list of files, and its copyright file


def _of_debian() -> Iterator[Candidate]:
    for listing in sorted((_DPKG / "info").glob("*.list")):
        package = listing.stem.split(":")[0]
        copyright_file = Path("/usr/share/doc") / package / "copyright"
        if not _is_free_file(copyright_file):
            continue
        for line in listing.read_text("utf-8", "replace").splitlines():
            if (kind := _kind_of_path(line)) and (path := Path(line)).is_file():
                yield Candidate(
                    kind, line, str(copyright_file), functools.partial(_READ[kind], path)
                )


_CHANGES = re.compile(
    r"/(?:changelog|changes|news|history|todo|thanks|authors|relnotes|release)", re.I
)
_LICENCES = re.compile(r"/(?:copyright|licen[sc]e|copying|notice)[^/]*$|/common-licenses/", re.I)
_LISTS_OF_NAMES = re.compile(
    r"/(?:cmakelists|requirements|sources|top_level|entry_points|record)", re.I
)


def _kind_of_path(path: str) -> str | None:
    """What kind of text is at a path of a package, by its name; None for none."""
    bare = path.removesuffix(".gz")
    ending = bare.rpartition(".")[2] if "." in bare.rpartition("/")[2] else ""
    if path.startswith("/usr/share/man/"):
        if path.startswith("/usr/share/man/man"):
            return "manual"
        return (
            "foreign" if "/man" in path[15:] and not path.startswith("/usr/share/man/en") else None
        )
    if path.startswith("/usr/share/info/") and ".info" in path and ending != "png":
        return "info"
    if ending in ("html", "htm"):
        return "page"
    if not path.startswith(("/usr/share/", "/usr/lib/")) or _LISTS_OF_NAMES.search(path):
        return None
    if _LICENCES.search(bare):
        return "licence"
    if path.startswith("/usr/share/doc/") or ending in ("txt", "md", "rst"):
        if _CHANGES.search(bare):
            return "changes"
        if ending in ("c", "h", "pl", "py", "sh", "js", "go", "awk", "cpp", "conf", "xml", "css"):
            return "code"
        if ending in ("txt", "md", "rst", "") or "/README" in path:
            return "text"
    return None


@functools.cache
def _is_free_file(path: Path) -> bool:
    try:
        return is_free(read_text(path))
    except (UnreadableError, OSError):
        return False


def _descriptions() -> Iterator[Candidate]:
    """Descriptions of packages, and the records of apt's lists as they are."""
    status = _DPKG / "status"
    licence = "/usr/share/doc/dpkg/copyright"
    if status.exists():
        for record in status.read_text("utf-8", "replace").split("\n\n"):
            yield from _description(record, status, licence)
    for path in sorted(_LISTS.glob("*_Packages*")):
        records = [each for each in _listed(path).split("\n\n") if each.strip()]
        for number in range(0, len(records), 4):
            text = "\n\n".join(records[number : number + 4])
            yield Candidate(
                "listing", str(path), licence, functools.partial(_given, text), str(number)
            )
    for path in sorted(_LISTS.glob("*_i18n_Translation-en*")):
        for record in _listed(path).split("\n\n"):
            yield from _description(record, path, licence)


def _description(record: str, path: Path, licence: str) -> Iterator[Candidate]:
    name = re.search(r"^Package: (.+)$", record, re.M)
    found = re.search(r"^Description(?:-en)?: (.+)\n((?: .*\n?)+)", record, re.M)
    if name and found:
        short, long = found.groups()
        lines = [line[1:] if line != " ." else "" for line in long.splitlines()]
        text = f"{name[1]} - {short}\n\n" + "\n".join(lines)
        yield Candidate("description", str(path), licence, functools.partial(_given, text), name[1])


def _listed(path: Path) -> str:
    """One of apt's lists, unpacked by apt itself."""
    if not _HELPER.exists():
        return ""
    made = subprocess.run([_HELPER, "cat-file", path], capture_output=True, check=False)
    return made.stdout.decode("utf-8", "replace")


# Python: the standard library, and the distributions that are installed


def _of_python() -> Iterator[Candidate]:
    library = Path(sysconfig.get_paths()["stdlib"])
    licence = library / "LICENSE.txt"
    for path in sorted(library.rglob("*.py")):
        parts = set(path.relative_to(library).parts)
        if not parts & {"site-packages", "dist-packages", "test", "tests", "idle_test"}:
            yield Candidate(
                "library", str(path), str(licence), functools.partial(_docstrings, path)
            )
            if len(path.name) % 3 == 0:  # listings are on the web too
                yield Candidate("code", str(path), str(licence), functools.partial(_whole, path))
    for found in sorted(importlib.metadata.distributions(), key=lambda each: str(each.name)):
        yield from _of_distribution(found)


def _of_distribution(found: importlib.metadata.Distribution) -> Iterator[Candidate]:
    record, about = found.read_text("RECORD"), found.metadata
    fields = ("License-Expression", "License", "Classifier")
    said = [each for field in fields for each in about.get_all(field, [])]
    if not record or not is_free(" ; ".join(said)):
        return
    base = Path(str(found.locate_file("")))
    names = sorted(row[0] for row in csv.reader(record.splitlines()) if row)
    metadata = next((name for name in names if name.endswith(".dist-info/METADATA")), None)
    if metadata is None:
        return
    for name in names:
        kind = _kind_in_distribution(name)
        if kind and not name.startswith(".."):
            path = base / name
            yield Candidate(
                kind, str(path), str(base / metadata), functools.partial(_READ[kind], path)
            )


def _kind_in_distribution(name: str) -> str | None:
    folders = name.split("/")
    if {"test", "tests", "testing", "_vendor", "site-packages"} & set(folders):
        return None
    if name.endswith(".py"):
        return "docstrings"
    if name.endswith("/METADATA"):
        return "metadata"
    if _LICENCES.search("/" + name):
        return "licence"
    if name.endswith((".html", ".htm")):
        return "page"
    if name.endswith((".md", ".rst", ".txt")) and not _LISTS_OF_NAMES.search("/" + name):
        return "text"
    return None


def _of_rust() -> Iterator[Candidate]:
    """The books of a Rust toolchain (the 45,000 pages of its interfaces would drown the rest)."""
    for root in sorted(Path.home().glob(".rustup/toolchains/*/share/doc/rust"))[:1]:
        licence = next(iter(sorted(root.glob("COPYRIGHT*"))), root)
        for book in sorted((root / "html").glob("*/print.html")):
            for path in sorted(book.parent.rglob("*.html")):
                if path != book:
                    yield Candidate(
                        "page", str(path), str(licence), functools.partial(_READ["page"], path)
                    )


# Reading


def read_text(path: Path) -> str:
    """A file's text, unpacked. Raises UnreadableError that says why it is none for us."""
    try:
        if path.stat().st_size > LARGEST:
            raise UnreadableError("huge")
        data = path.read_bytes()
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                data = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error):
        raise UnreadableError("unreadable") from None
    if len(data) > LARGEST:
        raise UnreadableError("huge")
    if b"\0" in data:
        raise UnreadableError("no text")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise UnreadableError("no UTF-8") from None


def _whole(path: Path) -> Parts:
    """A file as it is."""
    yield "", read_text(path)


def _first(path: Path) -> Parts:
    """A file's first piece: logs and licences go on and on."""
    yield "", next(_pieces(read_text(path)), "")


def _in_pieces(path: Path) -> Parts:
    yield from _numbered(read_text(path))


def _manual(path: Path) -> Parts:
    source = read_text(path)
    if not source.startswith(".so "):  # another name of a page that is elsewhere
        yield from _numbered(roff.text_of(source))


def _info(path: Path) -> Parts:
    """The nodes of an Info file."""
    for number, node in enumerate(read_text(path).split("\x1f")[1:]):
        header, _, text = node.strip().partition("\n")
        if header.startswith("File:") and "\x7f" not in node:
            yield str(number), text.strip()


def _docstrings(path: Path) -> Parts:
    """Long docstrings each as a document, the short ones of a module together."""
    text = read_text(path)
    if '"""' not in text:
        return
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UnreadableError("no Python") from None
    short = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        said = ast.get_docstring(node)
        if not said:
            continue
        if isinstance(node, ast.Module):
            name, head = "", ""
        else:
            name, head = f"{node.name}:{node.lineno}", _head(node) + "\n\n"
        if len(said) >= 600:
            yield name, head + said
        else:
            short.append(head + said)
    together = "\n\n".join(short)
    if len(together) >= 200:
        yield "short", next(_pieces(together))


def _head(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    if isinstance(node, ast.ClassDef):
        return f"class {node.name}"
    return f"{node.name}({', '.join(each.arg for each in node.args.args if each.arg != 'self')})"


def _given(text: str) -> Parts:
    yield "", text


def _numbered(text: str) -> Parts:
    for number, piece in enumerate(_pieces(text)):
        yield (str(number) if number else ""), piece


def _pieces(text: str) -> Iterator[str]:
    """A text cut between paragraphs into pieces of some `_PIECE` characters, the first few."""
    held: list[str] = []
    size = pieces = 0
    for paragraph in re.split(r"\n\s*\n", text):
        if held and size + len(paragraph) > _PIECE:
            yield "\n\n".join(held)
            held, size, pieces = [], 0, pieces + 1
            if pieces == _PIECES:
                return
        held.append(paragraph[:_PIECE])
        size += len(paragraph)
    if held:
        yield "\n\n".join(held)


_READ: dict[str, Callable[[Path], Parts]] = {
    "manual": _manual,
    "foreign": _manual,
    "info": _info,
    "page": _whole,
    "text": _in_pieces,
    "changes": _first,
    "licence": _first,
    "code": _first,
    "metadata": _first,
    "docstrings": _docstrings,
}
