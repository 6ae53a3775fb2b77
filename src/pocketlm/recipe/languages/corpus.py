"""A corpus of one language: from files to filtered documents, and from those to shards.

The documents are made by a recipe of `pocketlm data build`, which it writes. Of what is left a
fiftieth is held back, chosen by a hash of each text, and the rest is trained on. It knows recipes
and shards; it knows no model.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pocketlm.errors import ParameterError
from pocketlm.formats.output import new_folder
from pocketlm.recipe.data.readers import files_of
from pocketlm.recipe.data.recipe import Recipe
from pocketlm.recipe.data.shards import DESCRIPTION, seal, write_part
from pocketlm.recipe.languages.language import Language

TRAINING, HELD_BACK = "training", "held-back"
#: Of so many characters one is held back, but this many characters where there are as many twice.
_ONE_OF, _ENOUGH = 50, 40_000
#: Kinds of files that are looked for, and of these what must be freed from its markup.
_KINDS = ("text", "jsonl", "html", "warc", "parquet")
_MARKED_UP = frozenset({"html", "warc"})
_TASKS, _BATCH = 4, 64
#: What ends a document, where the tokenizer has it.
_END = "<|endoftext|>"


def recipe(name: str, data: Path, language: Language | None) -> dict[str, Any]:
    """The recipe of `pocketlm data build` for the files in `data`, as YAML has it.

    Without a `language` it is English. Raises ParameterError where there is no text.
    """
    if not data.is_dir():
        raise ParameterError(f"{data}: is no folder; name the one that the texts are in")
    kinds = [kind for kind in _KINDS if _files(kind, data)]
    if not kinds:
        raise ParameterError(
            f"{data}: there is no text in files with a usual ending (.txt, .md, .jsonl, .html,"
            " .warc, .parquet)"
        )
    stages: list[dict[str, Any]] = []
    if _MARKED_UP.intersection(kinds):
        stages.append({"stage": "extract"})
    quality: dict[str, Any] = {"stage": "gopher-quality"}
    keep: dict[str, Any] = {"stage": "language", "keep": ["en"]}
    if language is not None:
        quality["stop_words"] = list(language.stop_words)
        keep |= {"keep": list(language.identified.codes), "least": language.identified.least}
    stages += [keep, quality, {"stage": "gopher-repetition"}]
    stages += [{"stage": name} for name in ("exact-duplicates", "near-duplicates", "mask")]
    return {
        "name": name,
        "sources": [{"kind": kind, "path": str(data)} for kind in kinds],
        "stages": stages,
        "tasks": _TASKS,
    }


def _files(kind: str, data: Path) -> list[str]:
    source = {"kind": kind, "path": data}
    return files_of(Recipe.model_validate({"name": "looked-at", "sources": [source]}).sources[0])


@dataclass(frozen=True)
class Documents:
    """The documents that a build has left, in the order of its files."""

    folder: Path

    def __iter__(self) -> Iterator[str]:
        """Their texts."""
        for path in sorted((self.folder / "documents").glob("*.jsonl.gz")):
            with gzip.open(path, "rt", encoding="utf-8") as file:
                for line in file:
                    yield json.loads(line)["text"]

    def held_back(self) -> frozenset[bytes]:
        """Hashes of the texts that are not trained on: the least ones, to a fiftieth of all text.

        There are as many as make _ENOUGH characters, where these are not half of the documents.
        Raises ParameterError where fewer than two documents are left.
        """
        sizes = sorted({_hash(text): len(text) for text in self}.items())
        if len(sizes) < 2:
            raise ParameterError(
                f"{self.folder}: of the texts {len(sizes)} documents are left; look at"
                f" `pocketlm data report {self.folder}`, and bring more of them"
            )
        wanted = max(_ENOUGH, sum(size for _, size in sizes) // _ONE_OF)
        apart: list[bytes] = []
        for hashed, size in sizes[: len(sizes) // 2]:
            apart.append(hashed)
            wanted -= size
            if wanted <= 0:
                break
        return frozenset(apart)

    def training(self) -> Iterator[str]:
        """The texts that are trained on."""
        apart = self.held_back()
        return (text for text in self if _hash(text) not in apart)


def write_shards(documents: Documents, tokenizer: Path, out: Path) -> None:
    """Write the shards `out`/training and `out`/held-back, where they are not there yet.

    `tokenizer` is a model's folder.
    """
    apart = documents.held_back()
    for name in (TRAINING, HELD_BACK):
        if not (out / name / DESCRIPTION).is_file():
            out.mkdir(parents=True, exist_ok=True)
            chosen = (text for text in documents if (_hash(text) in apart) == (name == HELD_BACK))
            _write(chosen, tokenizer / "tokenizer.json", out / name, str(documents.folder))


def _write(texts: Iterator[str], file: Path, out: Path, source: str) -> None:
    from tokenizers import Tokenizer

    from pocketlm.recipe.train.models import open_tokenizer

    known = open_tokenizer(file.parent)
    library = Tokenizer.from_file(str(file))
    end = library.token_to_id(_END)
    end = known.eos_id if end is None else end
    if end is None:
        raise ParameterError(f"{file}: has no token that ends a text")

    def ids() -> Iterator[Sequence[int]]:
        while batch := list(islice(texts, _BATCH)):
            yield from (e.ids for e in library.encode_batch(batch, add_special_tokens=False))

    with new_folder(out) as folder:
        size = known.vocab_size
        part = write_part(folder, "00000", ids(), vocabulary=size, end=end)
        seal(folder, [part], tokenizer=file, vocabulary=size, end=end, source=source)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
