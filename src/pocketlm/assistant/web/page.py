"""The text of a page, and what a site's rules for robots say, found where it can do no harm.

Knows the process in which both are taken apart (`page_worker.py`). Does not know where they come
from.
"""

from __future__ import annotations

import contextlib
import threading
from importlib.util import find_spec
from typing import Any

from pocketlm.assistant.child import Child, ChildError
from pocketlm.assistant.passage import Passage
from pocketlm.assistant.web.exchange import Response
from pocketlm.errors import WebError

#: The media types that are pages.
KINDS = frozenset({"text/html", "application/xhtml+xml", "text/plain"})

#: Processor seconds and bytes of memory for one page; a long article takes a quarter of a second.
CPU_SECONDS = 4.0
MEMORY_BYTES = 1 << 30


class PageReader:
    """Takes apart what came from the web. Safe to use from several threads, one after another."""

    def __init__(self, seconds: float = CPU_SECONDS) -> None:
        """`seconds` of the processor's are the most for one page. The first question starts it."""
        self._child = Child(
            "pocketlm.assistant.web.page_worker", seconds=seconds, memory=MEMORY_BYTES
        )

    def check(self) -> None:
        """Raise WebError where a library that reads pages is missing."""
        missing = [name for name in ("trafilatura", "protego") if find_spec(name) is None]
        if missing:
            raise WebError(
                f"reading pages needs {' and '.join(missing)};"
                " install them with `pip install 'pocketlm[search]'`"
            )

    def warm(self) -> None:
        """Start the process, which imports for a while, without waiting for it."""

        def ask() -> None:
            with contextlib.suppress(ChildError):  # whoever asks next is told
                self._child.ask({"agent": "", "url": ""})

        threading.Thread(target=ask, daemon=True).start()

    def read(self, response: Response, deadline: float) -> list[Passage]:
        """The passages of a page, in its order. Raises WebError for none, or for too late."""
        url = str(response.url)
        request = {
            "charset": response.charset,
            "kind": response.kind,
            "name": response.url.host,
        }
        found = self._ask(url, request, response.body, deadline)["passages"]
        if not found:
            raise WebError(f"{url} holds no text that could be read")
        return [Passage(url, title, text) for title, text in found]

    def allows(self, rules: str, agent: str, url: str, deadline: float) -> bool:
        """Whether a robots.txt lets a robot fetch a URL. Raises WebError where that takes long."""
        request = {"agent": agent, "url": url}
        return bool(self._ask(url, request, rules.encode(), deadline)["allowed"])

    def close(self) -> None:
        """End the process. Another question starts another."""
        self._child.close()

    def _ask(
        self, what: str, request: dict[str, Any], data: bytes, deadline: float
    ) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self._child.ask(request, data, deadline=deadline)
        except ChildError as error:
            raise WebError(f"{what} {error}") from None
        return found
