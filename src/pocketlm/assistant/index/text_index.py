"""An inverted index of passages with BM25 (tantivy), in a folder or in memory.

Knows terms, and passages by number. The texts themselves it does not keep: see `catalogue.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pocketlm.assistant.index.words import analyzer, words
from pocketlm.errors import SearchError

if TYPE_CHECKING:
    from tantivy import Index, IndexWriter

_FIELDS = ("title", "text")
#: Bytes of memory for what is not written yet; for an index in memory, the least there can be.
_HEAP, _SMALL_HEAP = 128_000_000, 15_000_000


class Hit(NamedTuple):
    """A passage's number, and its BM25 score."""

    passage: int
    score: float


class TextIndex:
    """Passages by their words. Not for use by two threads at a time.

    What is added and removed is found, and is on disk, after `commit`; before that, ending the
    process in any way leaves what was there.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Open the index in `folder`, made if missing; without one it is in memory.

        Raises SearchError for a folder that holds something else, or is damaged.
        """
        self._analyzer = analyzer()
        import tantivy

        builder = tantivy.SchemaBuilder()
        for field in _FIELDS:
            builder.add_text_field(field, tokenizer_name="words", index_option="freq")
        # Not unsigned: tantivy 0.27 removes nothing by such a term.
        builder.add_integer_field("content", indexed=True)
        builder.add_integer_field("passage", stored=True)
        self._schema = builder.build()
        self._writer: IndexWriter | None = None
        self._heap = _SMALL_HEAP if folder is None else _HEAP
        self._folder = folder
        with self._explained():
            if folder is None:
                self._index: Index = tantivy.Index(self._schema)
            else:
                folder.mkdir(mode=0o700, exist_ok=True)
                self._index = tantivy.Index(self._schema, path=str(folder))
        self._index.register_tokenizer("words", self._analyzer)

    def add(self, passage: int, content: int, title: str, text: str) -> None:
        """Add a passage, one of those that make up `content`."""
        import tantivy

        document = tantivy.Document()
        document.add_text("title", title)
        document.add_text("text", text)
        document.add_integer("content", content)
        document.add_integer("passage", passage)
        self._writing().add_document(document)

    def remove(self, content: int) -> None:
        """Remove the passages of `content`."""
        self._writing().delete_documents_by_term("content", content)

    def is_empty(self) -> bool:
        """Whether it has no passage."""
        return bool(self._index.searcher().num_docs == 0)

    def commit(self) -> None:
        """Make all changes last."""
        if self._writer is not None:
            with self._explained():
                self._writer.commit()
                self._index.reload()

    def close(self) -> None:
        """Forget what was not committed."""
        if self._writer is not None:
            self._writer.rollback()
            self._writer = None

    def search(self, query: str, count: int) -> list[Hit]:
        """The `count` passages with the greatest scores. Raises ParameterError for no word."""
        from tantivy import Occur, Query

        terms = dict.fromkeys(self._analyzer.analyze(" ".join(words(query))))
        either = [
            (Occur.Should, Query.term_query(self._schema, field, term, "freq"))
            for term in terms
            for field in _FIELDS
        ]
        with self._explained():
            self._index.reload()  # another process may have committed
            searcher = self._index.searcher()
            hits = searcher.search(Query.boolean_query(either), count, count=False).hits
            return [Hit(searcher.doc(address)["passage"][0], score) for score, address in hits]

    def _writing(self) -> IndexWriter:
        if self._writer is None:
            with self._explained():
                self._writer = self._index.writer(self._heap, 1)
        return self._writer

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors of tantivy as SearchError: of the file system, and of files that are damaged."""
        try:
            yield
        except BaseException as error:
            # What Rust calls a panic derives from no Exception; Ctrl-C is not among these.
            panic = type(error).__name__ == "PanicException"
            if not panic and not isinstance(error, ValueError | OSError):
                raise
            raise SearchError(
                f"the index cannot be used ({error}); if it is damaged, remove the folder"
                f" {self._folder} and `pocketlm index refresh`"
            ) from None
