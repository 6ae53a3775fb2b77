"""Documents into token shards: one part for each task, and a description when all are written.

It knows a tokenizer's file and shards. It chooses no documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep

from pocketlm.errors import ParameterError
from pocketlm.recipe.data.shards import Part, seal, write_part

_BATCH = 64


class Tokenise(PipelineStep):  # type: ignore[misc]
    """Writes the part of this task."""

    type, name = "tokens", "tokenise"

    def __init__(self, folder: Path, tokenizer: Path, end: str) -> None:
        """Write into `folder` by the `tokenizer`'s file, with the token `end` after each document.

        Raises ParameterError where the tokenizer cannot be read, or has no such token.
        """
        super().__init__()
        self.vocabulary, self.end = vocabulary_of(tokenizer, end)
        self._folder, self._tokenizer = folder, tokenizer

    def run(self, data: Iterable[Document], rank: int = 0, world_size: int = 1) -> tuple[()]:
        """Tokenise all, a few documents at a time; nothing comes after."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self._tokenizer))

        def ids() -> Iterator[Sequence[int]]:
            for batch in _batches(data):
                texts = [doc.text for doc in batch]
                for each in tokenizer.encode_batch(texts, add_special_tokens=False):
                    self.stat_update("tokens", value=len(each.ids) + 1)
                    yield each.ids

        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{rank:05d}"
        part = write_part(self._folder, name, ids(), vocabulary=self.vocabulary, end=self.end)
        (self._folder / f"{name}.json").write_text(part.model_dump_json())
        return ()


class Seal(PipelineStep):  # type: ignore[misc]
    """Describes the parts that all tasks have written. One task."""

    type, name = "tokens", "seal"

    def __init__(
        self, folder: Path, tokenizer: Path, end: str, source: str, parts: Sequence[str]
    ) -> None:
        """Seal `parts` in `folder`; `source` is what they are of."""
        super().__init__()
        self.vocabulary, self.end = vocabulary_of(tokenizer, end)
        self._folder, self._tokenizer, self._source = folder, tokenizer, source
        self._parts = tuple(parts)

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> None:  # noqa: ANN401
        """Seal."""
        seal(
            self._folder,
            [
                Part.model_validate_json((self._folder / f"{name}.json").read_bytes())
                for name in self._parts
            ],
            tokenizer=self._tokenizer,
            vocabulary=self.vocabulary,
            end=self.end,
            source=self._source,
        )


def vocabulary_of(tokenizer: Path, end: str) -> tuple[int, int]:
    """How many ids a tokenizer has, and the id of the token `end`."""
    from tokenizers import Tokenizer

    try:
        found = Tokenizer.from_file(str(tokenizer))
    except Exception as error:  # the package raises nothing more special
        raise ParameterError(f"{tokenizer}: no tokenizer: {error}") from None
    number = found.token_to_id(end)
    if number is None:
        raise ParameterError(f"{tokenizer}: has no token {end!r} to end documents with")
    ids = found.get_vocab(with_added_tokens=True).values()
    return max(ids) + 1, number


def _batches(data: Iterable[Document]) -> Iterator[list[Document]]:
    documents = iter(data)
    while batch := list(islice(documents, _BATCH)):
        yield batch
