"""The raw corpus of the demonstration: web-like text, its noise included, from this machine.

Documents of every kind are taken in turn, by the kinds' shares, until there is as much as is asked
for; of what a kind has, those whose places hash lowest come first. So the same machine gives the
same bytes, a smaller corpus is much like a larger one, and a kind that ends leaves its share to the
others. It knows shares and files; where text is, `sources` knows.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple

import xxhash

from pocketlm.formats.output import new_folder
from pocketlm.recipe.demo.sources import Candidate, UnreadableError, candidates

SHARES = {
    "page": 26,
    "manual": 14,
    "text": 14,
    "docstrings": 13,
    "changes": 7,
    "library": 6,
    "info": 4,
    "licence": 4,
    "listing": 4,
    "description": 3,
    "foreign": 3,
    "code": 3,
    "metadata": 2,
}
"""Of the corpus' bytes, as long as a kind lasts. Bulk, logs and forms are there as on the web."""
FILES = 8
"""Into which the documents are dealt: as many tasks can work on them."""
ABOUT = "about.json"
_HELD_BACK = 20
"""One document of so many."""
_LEAST = 200
"""Characters of a document."""
Tell = Callable[[str], None]


class Document(NamedTuple):
    """A document of the corpus, as its lines of JSON have it."""

    text: str
    id: str
    source: str
    kind: str
    licence: str
    html: bool


def collect(out: Path, *, megabytes: float, seed: int, tell: Tell) -> Path:
    """Write some `megabytes` (10**6 bytes of text) into the folder `out`; returns it.

    A line of its `N.jsonl` is a document; one with `html` is a page as it came. `about.json` says
    what was found and taken of each kind, and what was skipped and why. With less on the machine,
    there is less.
    Raises OutputError where it cannot be written.
    """
    tell("looking for text")
    found: dict[str, list[Candidate]] = defaultdict(list)
    for each in candidates():
        found[each.kind].append(each)
    skipped: Counter[str] = Counter()
    taken: dict[str, Counter[str]] = {kind: Counter() for kind in SHARES}
    streams = {kind: _documents(found[kind], seed, skipped) for kind in SHARES if found[kind]}
    wanted, total, told = int(megabytes * 1e6), 0, 0
    with new_folder(out) as folder, ExitStack() as files:
        writers = [
            files.enter_context((folder / f"{number}.jsonl").open("wb")) for number in range(FILES)
        ]
        while streams and total < wanted:
            kind = min(streams, key=lambda each: taken[each]["bytes"] / SHARES[each])
            doc = next(streams[kind], None)
            if doc is None:
                del streams[kind]
                continue
            _write(writers[_file_of(doc.id)], doc)
            size = len(doc.text.encode())
            taken[kind].update(documents=1, bytes=size)
            total += size
            if total - told > 1e6:
                told = total
                tell(f"{total / 1e6:.0f} of {megabytes:.0f} MB, {kind}")
        about = {
            "seed": seed,
            "bytes": total,
            "kinds": {kind: {"candidates": len(found[kind]), **taken[kind]} for kind in SHARES},
            "skipped": dict(sorted(skipped.items())),
        }
        (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n", "utf-8")
    return out


def held_back(id: str) -> bool:
    """Whether a document is kept from all training: one of twenty, by a hash.

    The hash is of what the id ends with: the lowest of the hashes of the text's lines. Documents
    that share most lines share it most likely, so that copies stay on one side.
    """
    return xxhash.xxh64_intdigest(id.rpartition("~")[2].encode()) % _HELD_BACK == 0


def _documents(found: list[Candidate], seed: int, skipped: Counter[str]) -> Iterator[Document]:
    """The documents of candidates, those whose places hash lowest first."""
    for each in sorted(
        found, key=lambda one: (xxhash.xxh64_intdigest(one.id.encode(), seed), one.id)
    ):
        try:
            for name, text in each.read():
                if len(text.strip()) < _LEAST:
                    skipped["short"] += 1
                    continue
                id = f"{each.id}#{name}" if name else each.id
                id = f"{id}~{_lowest(text):016x}"
                html = each.kind == "page"
                yield Document(text, id, each.source, each.kind, each.licence, html)
        except UnreadableError as why:
            skipped[str(why)] += 1


def _lowest(text: str) -> int:
    """The lowest hash of a text's longer lines, space and case apart (a MinHash of one hash)."""
    lines = {" ".join(line.lower().split()) for line in text.splitlines()}
    long = [line for line in lines if len(line) >= 30] or [" ".join(text.lower().split())]
    return min(xxhash.xxh64_intdigest(line.encode("utf-8", "replace")) for line in long)


def _file_of(id: str) -> int:
    return xxhash.xxh64_intdigest(id.encode(), 1) % FILES


def _write(file: BinaryIO, doc: Document) -> None:
    file.write(json.dumps(doc._asdict(), ensure_ascii=False).encode("utf-8", "replace") + b"\n")
