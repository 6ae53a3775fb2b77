"""What a site lets robots read (robots.txt, RFC 9309), asked before a page is.

Knows where the rules lie and how long they count. Does not know what they mean (`page.py` asks).
"""

from __future__ import annotations

from http import HTTPStatus

from pocketlm.assistant.web.cache import Cache
from pocketlm.assistant.web.fetch import Fetcher
from pocketlm.assistant.web.page import PageReader
from pocketlm.assistant.web.url import Url
from pocketlm.errors import AddressError, WebError

#: The name that rules know us by.
AGENT = "pocketlm"

#: How long rules count, in seconds.
_SECONDS = 24 * 3600
#: Most characters of rules that count; the standard asks for 500 KiB, and ignores the rest.
_MOST = 500 << 10


class Robots:
    """The rules of sites. Safe to use from several threads."""

    def __init__(self, fetcher: Fetcher, reader: PageReader, cache: Cache | None) -> None:
        """Bring rules by `fetcher`, read them by `reader`, keep them in `cache`."""
        self._fetcher = fetcher
        self._reader = reader
        self._cache = cache

    def check(self, url: Url, deadline: float) -> None:
        """Raise WebError for a page that its site lets no robot read, or no one can tell."""
        rules = self._rules(url, deadline)
        if rules and not self._reader.allows(rules, AGENT, str(url), deadline):
            raise WebError(f"{url} is not read: its site asks robots not to (robots.txt)")

    def _rules(self, url: Url, deadline: float) -> str:
        key = f"robots {url.origin}"
        kept = None if self._cache is None else self._cache.get(key, _SECONDS)
        if kept is not None:
            return kept
        where = f"{url.origin}/robots.txt"
        try:
            response = self._fetcher.get(where, deadline=deadline)
        except AddressError:
            raise
        except WebError as error:
            raise WebError(
                f"{url} is not read: its rules for robots are unknown; {error}"
            ) from None
        if response.status == HTTPStatus.OK:
            rules = response.body.decode("utf-8", "replace").removeprefix("\ufeff")[:_MOST]
        elif 400 <= response.status < 500 and response.status != HTTPStatus.TOO_MANY_REQUESTS:
            rules = ""  # a site without rules
        else:
            raise WebError(
                f"{url} is not read: its rules for robots are unknown; {where} answers {response}"
            )
        if self._cache is not None:
            self._cache.put(key, rules)
        return rules
