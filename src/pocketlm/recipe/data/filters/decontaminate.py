"""Documents that hold items of benchmarks: found by runs of words that they share.

datatrove's filter knows one length of run, so that short items (a question of ten words) are never
found, and looks runs up one by one. Here all runs of a document are looked up at once.

It knows what overlaps. Whether a document was there before the benchmark it cannot tell.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter

from pocketlm.errors import ParameterError
from pocketlm.recipe.data.runs import Hashes, hashes, plain_words
from pocketlm.recipe.data.runs import runs as runs_of

_ENDINGS = ("jsonl", "json", "parquet")
#: Fields of items that say which item it is, or are the same in many.
_NAMES = frozenset({"id", "question_id", "subject", "category", "label", "answerKey", "task"})


class Index:
    """Runs of words of benchmarks' items, by their length."""

    def __init__(self, folder: Path, words: int, least: int) -> None:
        """Read every `.jsonl`, `.json` and `.parquet` file under `folder`.

        Of an item's text of at least `words` words, each run of `words` is kept; of one of at least
        `least`, the whole. Raises ParameterError where there is no item, or a file is damaged.
        """
        self.benchmarks: list[str] = []
        runs: dict[int, list[tuple[int, int]]] = {}
        for path in sorted(path for ending in _ENDINGS for path in folder.rglob(f"*.{ending}")):
            number = len(self.benchmarks)
            self.benchmarks.append(path.relative_to(folder).with_suffix("").as_posix())
            for text in _texts(path):
                hashed = hashes(plain_words(text))
                length = min(words, len(hashed))
                if length >= least:
                    for run in runs_of(hashed, length).tolist():
                        runs.setdefault(length, []).append((run, number))
        if not runs:
            raise ParameterError(
                f"{folder}: no benchmark's items here: they are texts of {least} words or more "
                "in .jsonl, .json or .parquet files"
            )
        self._lengths: list[tuple[int, Hashes, npt.NDArray[np.int64]]] = []
        for length, found in sorted(runs.items(), reverse=True):
            unique = dict(reversed(found))  # the first benchmark that has it
            order = sorted(unique)
            self._lengths.append(
                (length, np.array(order, np.uint64), np.array([unique[run] for run in order]))
            )

    def find(self, text: str) -> tuple[str, str] | None:
        """The benchmark that the text shares a run of words with, and the run; or None."""
        words = plain_words(text)
        hashed = hashes(words)
        for length, known, benchmark in self._lengths:
            if len(hashed) < length:
                continue
            runs = runs_of(hashed, length)
            places = np.searchsorted(known, runs)
            places[places == len(known)] = 0
            (hits,) = np.nonzero(known[places] == runs)
            if len(hits):
                first = int(hits[0])
                name = self.benchmarks[int(benchmark[places[first]])]
                return name, " ".join(words[first : first + length])
        return None


class Decontaminate(BaseFilter):  # type: ignore[misc]
    """Drops documents that share a run of words with a benchmark; notes which."""

    name = "decontaminate"

    def __init__(self, folder: Path, words: int, least: int) -> None:
        """As Index."""
        super().__init__()
        self._folder, self._words, self._least = folder, words, least

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """False where the document holds an item, or a part of one."""
        found = _index(self._folder, self._words, self._least).find(doc.text)
        if found is None:
            return True
        benchmark, run = found
        doc.metadata["overlap"] = run
        return False, f"holds {benchmark}"


@functools.lru_cache(maxsize=1)
def _index(folder: Path, words: int, least: int) -> Index:
    """Made in each worker once: it is larger than what it is made from."""
    return Index(folder, words, least)


def _texts(path: Path) -> Iterator[str]:
    """The texts of all items of a file."""
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet

            yield from _strings(pyarrow.parquet.read_table(path).to_pylist())
            return
        text = path.read_text("utf-8")
        for line in text.splitlines() if path.suffix == ".jsonl" else [text]:
            if line.strip():
                yield from _strings(json.loads(line))
    except (ValueError, RecursionError) as error:  # pyarrow's errors are ValueErrors
        raise ParameterError(f"{path}: cannot be read as {path.suffix[1:]}: {error}") from None


def _strings(found: object) -> Iterator[str]:
    if isinstance(found, str):
        yield found
    elif isinstance(found, list):
        for each in found:
            yield from _strings(each)
    elif isinstance(found, dict):
        for name, each in found.items():
            if name not in _NAMES:
                yield from _strings(each)
