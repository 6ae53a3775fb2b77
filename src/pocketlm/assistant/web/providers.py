"""Search engines: a question into addresses of pages. What they return is not trusted.

Knows the interfaces of SearXNG and of ddgs. Fetches no page.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from importlib.util import find_spec
from typing import Protocol
from urllib.parse import urlencode, urlsplit

from pocketlm.assistant.documents.characters import shown
from pocketlm.assistant.web.fetch import Fetcher
from pocketlm.assistant.web.patience import by, left
from pocketlm.assistant.web.url import Url
from pocketlm.errors import AddressError, OfflineError, ParameterError, WebError

#: Most characters of a question; engines cut or refuse longer ones.
MAX_QUERY = 400
#: Most characters of what an engine quotes from a page.
_MOST_SNIPPET = 1000


@dataclass(frozen=True)
class Result:
    """A page that an engine names, and what it quotes from it. Nothing of it is checked."""

    url: str
    title: str
    snippet: str


class Provider(Protocol):
    """A search engine."""

    #: What it is called in messages and in the cache.
    name: str

    def search(self, query: str, count: int, deadline: float) -> Sequence[Result]:
        """Up to `count` results, the best first. Raises WebError or OfflineError."""
        ...


class Searxng:
    """A SearXNG server whose URL the user configured: it may be on this machine, at any port."""

    def __init__(self, url: str, fetcher: Fetcher) -> None:
        """Ask the server at `url`. Raises ParameterError for what is no http or https URL."""
        try:
            Url.parse(url)
        except AddressError as error:
            raise ParameterError(
                f"the SearXNG URL cannot be used: {error}; give one like http://localhost:8888"
            ) from None
        parts = urlsplit(url)
        path = parts.path.rstrip("/").removesuffix("/search")
        self.name = f"{parts.scheme}://{parts.netloc}{path}"
        self._fetcher = fetcher

    def search(self, query: str, count: int, deadline: float) -> Sequence[Result]:
        """Results of the server's engines. Raises WebError with what to change in its settings."""
        asked = f"{self.name}/search?{urlencode({'q': query, 'format': 'json'})}"
        try:
            response = self._fetcher.get_configured(asked, deadline=deadline)
        except WebError as error:
            raise self._error(str(error)) from None
        if response.status == HTTPStatus.FORBIDDEN:
            raise self._error("it answers 403: let it write JSON (search: formats: [html, json])")
        if response.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise self._error("it answers 429: it limits how often it is asked (server: limiter)")
        if response.location is not None:
            raise self._error(f"it leads to {response.location[:200]!r}; configure where it is")
        if response.status != HTTPStatus.OK:
            raise self._error(f"it answers {response}")
        if response.kind != "application/json":
            raise self._error(
                f"it answers {response.kind[:80]!r} and no JSON; is the URL that of SearXNG, and"
                " does it write JSON (search: formats: [html, json])?"
            )
        try:
            found = json.loads(response.body)["results"]
        except (ValueError, RecursionError, KeyError, TypeError):
            raise self._error("its JSON holds no list of results") from None
        return _results(found, "url", "title", "content", count)

    def _error(self, message: str) -> WebError:
        return WebError(f"SearXNG at {self.name} cannot be used: {message}")


class Ddgs:
    """Public search engines, through the library ddgs, which speaks with them by itself."""

    name = "ddgs"

    def __init__(self, fetcher: Fetcher) -> None:
        """`fetcher` only tells whether the network may be used."""
        self._fetcher = fetcher

    def search(self, query: str, count: int, deadline: float) -> Sequence[Result]:
        """Results of the engines that the library chooses. Raises WebError."""
        if self._fetcher.offline:
            raise OfflineError(
                "the web is not searched: --offline (POCKETLM_OFFLINE) forbids the network"
            )
        if find_spec("ddgs") is None:
            raise WebError(
                "searching the web needs ddgs, or a SearXNG server in POCKETLM_SEARXNG;"
                " install it with `pip install 'pocketlm[search]'`"
            )
        from ddgs import DDGS
        from ddgs.exceptions import DDGSException, RatelimitException, TimeoutException

        logging.getLogger("ddgs").setLevel(logging.ERROR)
        seconds = max(1, int(left(deadline)))
        try:
            found = by(deadline, lambda: DDGS(timeout=seconds).text(query, max_results=count))
        except RatelimitException:
            raise WebError("the search engines limit how often they are asked; wait") from None
        except (TimeoutException, TimeoutError):
            raise WebError("the search engines took too long") from None
        except DDGSException as error:
            if "no results" in str(error).lower():
                return []
            raise WebError(f"no search engine could be asked: {_line(error)}") from None
        return _results(found, "href", "title", "body", count)


def _results(found: object, url: str, title: str, snippet: str, count: int) -> list[Result]:
    """The results among what came; anything else in it is passed over."""
    results: dict[str, Result] = {}
    for entry in found if isinstance(found, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get(url), str):
            texts = (str(entry.get(key) or "")[:_MOST_SNIPPET] for key in (title, snippet))
            plain = (" ".join(shown(text).split()) for text in texts)
            results.setdefault(entry[url], Result(entry[url], *plain))
    return list(results.values())[:count]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
