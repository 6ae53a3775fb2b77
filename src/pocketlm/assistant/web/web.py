"""The web as a source: a question to a search engine, the pages it names, their best passages.

Knows the order of things and the time there is. Does not know how a page is fetched or read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

from pocketlm.assistant.index.ranking import Ranker
from pocketlm.assistant.index.words import words
from pocketlm.assistant.passage import Passage
from pocketlm.assistant.web.cache import Cache
from pocketlm.assistant.web.fetch import Fetcher
from pocketlm.assistant.web.page import KINDS, PageReader
from pocketlm.assistant.web.patience import soon
from pocketlm.assistant.web.providers import MAX_QUERY, Ddgs, Provider, Result, Searxng
from pocketlm.assistant.web.robots import Robots
from pocketlm.assistant.web.url import Url
from pocketlm.errors import AddressError, ParameterError, WebError
from pocketlm.store.store import default_home

#: Results that an engine is asked for, and how many of their pages are read.
RESULTS, PAGES = 10, 5
#: Seconds for a whole search; the engine has half of them.
SEARCH_SECONDS = 15.0
#: How long pages and results count, in seconds.
_PAGE_SECONDS, _RESULT_SECONDS = 24 * 3600.0, 3600.0


@dataclass(frozen=True)
class Unread:
    """A page that was found and not read, and why."""

    url: str
    reason: str


@dataclass(frozen=True)
class Findings:
    """What a search of the web gave: passages, the best first, and the pages that gave none."""

    passages: Sequence[Passage]
    unread: Sequence[Unread]


class Web:
    """A `Source` named "web". A context manager; safe to use from several threads."""

    name = "web"

    def __init__(
        self,
        searxng: str | None = None,
        *,
        home: Path | None = None,
        ranker: Ranker | None = None,
        keep: bool = True,
        offline: bool | None = None,
        seconds: float = SEARCH_SECONDS,
        fetcher: Fetcher | None = None,
    ) -> None:
        """Search by the SearXNG server at that URL, or `POCKETLM_SEARXNG`; without, by ddgs.

        What is brought is cached in `home` (None: `default_home`), unless `keep` is False. Without
        a `ranker` words alone count. `offline` None asks `POCKETLM_OFFLINE`. Raises ParameterError
        for a URL that is none.
        """
        self._fetcher = fetcher or Fetcher(offline=offline)
        self._seconds = seconds
        self._ranker = ranker or Ranker(None)
        self._cache = Cache((home or default_home()) / "web.db") if keep else None
        self._reader = PageReader()
        self._robots = Robots(self._fetcher, self._reader, self._cache)
        searxng = searxng or os.environ.get("POCKETLM_SEARXNG")
        self._provider: Provider = (
            Searxng(searxng, self._fetcher) if searxng else Ddgs(self._fetcher)
        )

    def close(self) -> None:
        """End the process that reads pages."""
        self._reader.close()

    def __enter__(self) -> Self:
        """Return the web."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def search(self, query: str, count: int) -> Sequence[Passage]:
        """The `count` best passages of the pages that a search engine names for `query`.

        Raises OfflineError; ParameterError for a query that no engine takes; WebError where the
        engine cannot be asked, or none of its pages read.
        """
        return self.look(query, count).passages

    def look(self, query: str, count: int) -> Findings:
        """As `search`, with the pages that were not read and why.

        Of these, and of results beyond the first, stands what the engine quotes, and its passage's
        title says so.
        """
        query = " ".join(query.encode("utf-8", "replace").decode().split())
        words(query)  # there must be some
        if len(query) > MAX_QUERY:
            raise ParameterError(
                f"the query has {len(query)} characters; a search engine takes {MAX_QUERY}"
            )
        self._reader.check()
        deadline = soon(self._seconds)
        if not self._fetcher.offline:
            self._reader.warm()  # while the engine is asked
        results = self._results(query)
        with ThreadPoolExecutor(PAGES, thread_name_prefix="web") as pool:
            outcomes = list(
                pool.map(lambda result: self._outcome(result, deadline), results[:PAGES])
            )
        passages: list[Passage] = []
        unread: list[Unread] = []
        for result, outcome in zip(results, [*outcomes, *results[PAGES:]], strict=True):
            if isinstance(outcome, list):
                passages.extend(outcome)
                continue
            if isinstance(outcome, WebError):
                unread.append(Unread(result.url, str(outcome)))
            if not isinstance(outcome, AddressError):
                passages.extend(_quoted(result))
        if unread and not passages:
            raise WebError(f"of {len(results)} pages found none could be read: {unread[0].reason}")
        return Findings(self._ranker.best(query, passages, count), unread)

    def read(self, url: str, deadline: float) -> list[Passage]:
        """The passages of one page, from the cache or the web. Raises WebError, OfflineError."""
        key = f"page {url}"
        kept = None if self._cache is None else self._cache.get(key, _PAGE_SECONDS)
        if kept is not None:
            return [Passage(**each) for each in json.loads(kept)]
        response = self._fetcher.get(url, deadline=deadline, kinds=KINDS, permit=self._robots.check)
        if response.status != HTTPStatus.OK:
            raise WebError(f"{response.url} is not read: it answers {response}")
        passages = self._reader.read(response, deadline)
        if self._cache is not None:
            self._cache.put(key, json.dumps([asdict(passage) for passage in passages]))
        return passages

    def _outcome(self, result: Result, deadline: float) -> list[Passage] | WebError:
        try:
            return self.read(result.url, deadline)
        except WebError as error:
            return error

    def _results(self, query: str) -> Sequence[Result]:
        key = f"results {self._provider.name} {query}"
        kept = None if self._cache is None else self._cache.get(key, _RESULT_SECONDS)
        if kept is not None:
            return [Result(**each) for each in json.loads(kept)]
        results = self._provider.search(query, RESULTS, soon(self._seconds / 2))
        if results and self._cache is not None:
            self._cache.put(key, json.dumps([asdict(result) for result in results]))
        return results


def _quoted(result: Result) -> Sequence[Passage]:
    """What an engine quotes from a page, if its URL is one that could be read."""
    try:
        url = Url.parse(result.url)
        url.check_public()
    except AddressError:
        return []
    if not result.snippet:
        return []
    title = f"{result.title or url.host} (as the search engine quotes it)"
    return [Passage(str(url), title, result.snippet)]
