"""The main text of a page.

Pages are strangers' input, and parsers can be made to run or grow without end: datatrove's sandbox
parses them in a process of its own, with a limit of time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from datatrove.data import Document
from datatrove.pipeline.extractors.base import ExtractorSandbox
from datatrove.pipeline.filters.base_filter import BaseFilter


class Extract(BaseFilter):  # type: ignore[misc]
    """Puts the main text in the place of a page; documents that are no pages pass."""

    name = "extract"

    def __init__(self, seconds: float, precision: bool) -> None:
        """Give each page at most `seconds`; with `precision`, rather miss text than keep a menu."""
        super().__init__()
        self._seconds, self._precision = seconds, precision
        self._sandbox: ExtractorSandbox | None = None

    def run(
        self, data: Iterable[Document], rank: int = 0, world_size: int = 1
    ) -> Iterator[Document]:
        """Filter, with a sandbox open."""
        import trafilatura  # noqa: F401  # so that the sandbox, a fork, has it at once

        with ExtractorSandbox(timeout=self._seconds) as self._sandbox:
            yield from super().run(data, rank, world_size)

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Extract; False where there is nothing."""
        assert self._sandbox is not None
        if not doc.metadata.pop("html", False):
            return True
        try:
            text = self._sandbox.process_document(doc.text, self._extract)
        except TimeoutError:
            return False, "took too long"
        except EOFError:
            return False, "parser died"
        if not text:
            return False, "no main text"
        doc.text = text
        return True

    def _extract(self, html: str) -> str:
        """Runs in the sandbox, first with nothing."""
        return main_text(html, self._precision) if html else ""


def main_text(html: str, precision: bool) -> str:
    """The main text of a page; empty where there is none."""
    import logging

    from trafilatura import extract

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    try:
        # Its own removal of duplicates remembers pages before: the result would depend on them.
        return (
            extract(html, favor_precision=precision, include_comments=False, deduplicate=False)
            or ""
        )
    except Exception:  # whatever a page provokes in a parser, it has no text
        return ""
