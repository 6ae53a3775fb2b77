"""Rules for robots are asked for before a page, kept, and obeyed; also where a redirect leads."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sites import Internet, article, redirect, reply

from pocketlm.assistant.web.cache import Cache
from pocketlm.assistant.web.page import PageReader
from pocketlm.assistant.web.patience import soon
from pocketlm.assistant.web.robots import Robots
from pocketlm.assistant.web.url import Url
from pocketlm.errors import AddressError, WebError

PAGE = article("Tides", "The tide turns.")


@pytest.fixture(scope="module")
def reader() -> Iterator[PageReader]:
    found = PageReader()
    yield found
    found.close()


def check(internet: Internet, reader: PageReader, url: str, cache: Cache | None = None) -> None:
    Robots(internet.fetcher(), reader, cache).check(Url.parse(url), soon(10))


def rules(text: str) -> bytes:
    return reply(text, "text/plain")


def test_they_are_obeyed(internet: Internet, reader: PageReader) -> None:
    site = internet.add(
        "site.example",
        {
            "/robots.txt": rules("\ufeffUser-agent: *\nDisallow: /private\nDisallow: /*?x"),
            "/": PAGE,
        },
    )
    check(internet, reader, "http://site.example/")
    for path in ("/private/a", "/a?x=1"):
        with pytest.raises(WebError, match="asks robots not to"):
            check(internet, reader, f"http://site.example{path}")
    assert set(site.targets) == {"/robots.txt"}
    assert site.requests[0][1]["user-agent"].startswith("pocketlm/")


def test_rules_for_us_go_before_rules_for_all(internet: Internet, reader: PageReader) -> None:
    text = "User-agent: *\nDisallow: /\n\nUser-agent: PocketLM\nDisallow: /a\n"
    internet.add("site.example", {"/robots.txt": rules(text)})
    check(internet, reader, "http://site.example/b")
    with pytest.raises(WebError):
        check(internet, reader, "http://site.example/a")


@pytest.mark.parametrize(
    ("answer", "allowed"),
    [
        *[(reply(status=status), True) for status in (400, 401, 403, 404, 410)],
        *[(reply(status=status), False) for status in (429, 500, 503)],
        (rules(""), True),
        (reply("<html>no rules here</html>", "text/html"), True),
        (redirect("/rules"), False),
        (redirect("/robots.txt"), False),
        (b"garbage", False),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"#" * (5 << 20), False),
        (rules("#" + "x" * 600_000 + "\nUser-agent: *\nDisallow: /"), True),  # beyond what counts
        (rules("User-agent: *\nDisallow: /\n" + "#" * 600_000), False),
    ],
)
def test_rules_that_are_none(
    internet: Internet, reader: PageReader, answer: bytes, allowed: bool
) -> None:
    pages = {"/robots.txt": answer, "/rules": rules("User-agent: *\nDisallow: /page")}
    internet.add("site.example", pages)
    if allowed:
        check(internet, reader, "http://site.example/page")
    else:
        with pytest.raises(WebError, match="robots"):
            check(internet, reader, "http://site.example/page")


def test_their_address_is_guarded(internet: Internet, reader: PageReader) -> None:
    internet.add("site.example", {"/robots.txt": redirect("http://127.0.0.1/robots.txt")})
    with pytest.raises(AddressError):
        check(internet, reader, "http://site.example/page")


def test_they_are_kept(internet: Internet, reader: PageReader, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "web.db")
    site = internet.add("site.example", {"/robots.txt": rules("User-agent: *\nDisallow: /a")})
    other = internet.add("other.example", {})
    for _ in range(3):
        check(internet, reader, "http://site.example/b", cache)
        check(internet, reader, "http://other.example/b", cache)
        with pytest.raises(WebError):
            check(internet, reader, "http://site.example/a", cache)
    assert site.targets == other.targets == ["/robots.txt"]
