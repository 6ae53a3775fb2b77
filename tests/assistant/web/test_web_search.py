"""A search of the web from question to passages, with sites and a SearXNG of this machine."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from sites import Internet, Site, article, redirect, reply

from pocketlm.assistant.passage import Source
from pocketlm.assistant.web.fetch import Fetcher
from pocketlm.assistant.web.providers import MAX_QUERY, Ddgs, Searxng
from pocketlm.assistant.web.web import PAGES, Web
from pocketlm.errors import OfflineError, ParameterError, WebError

MOON = "The tides are made by the moon, which pulls at the sea, and to a lesser part by the sun."
FUNDY = "The highest tides of the world are those of the Bay of Fundy in Canada, with 16 metres."
CHEESE = "Cheese is made of milk, and ripens for weeks or for years in a cellar that is cool."


def results(*found: tuple[str, str, str]) -> bytes:
    """As SearXNG writes them: https://docs.searxng.org/dev/search_api.html."""
    rows = [
        {"url": url, "title": title, "content": content, "engine": "x", "score": 1.0}
        for url, title, content in found
    ]
    about = {"query": "q", "number_of_results": 0, "answers": [], "infoboxes": []}
    return reply(json.dumps({**about, "results": rows}), "application/json")


@pytest.fixture
def searxng() -> Iterator[Callable[[bytes], Site]]:
    sites = []

    def start(answer: bytes) -> Site:
        sites.append(Site(lambda _: answer))
        return sites[-1]

    yield start
    for site in sites:
        site.close()


@pytest.fixture
def web(
    internet: Internet, searxng: Callable[[bytes], Site], tmp_path: Path
) -> Iterator[Callable[..., Web]]:
    opened = []

    def start(*found: tuple[str, str, str], **options: object) -> Web:
        site = searxng(results(*found))
        internet.configured.append(site)
        options = {"home": tmp_path, "fetcher": internet.fetcher()} | options
        opened.append(Web(f"http://127.0.0.1:{site.port}", **options))
        opened[-1].engine = site
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def test_a_search(internet: Internet, web: Callable[..., Web]) -> None:
    internet.add("moon.example", {"/tides": article("Tides", MOON), "/old": redirect("/tides")})
    internet.add("fundy.example", {"/": article("Fundy", FUNDY, CHEESE)})
    internet.add("cheese.example", {"/": article("Cheese", CHEESE)})
    source: Source = web(
        ("http://cheese.example/", "Cheese", "Of cheese."),
        ("http://moon.example/old", "Tides", "Of tides."),
        ("http://fundy.example/#top", "Fundy", "Of Fundy."),
    )
    assert source.name == "web"
    found = source.search("What are the highest tides of the world?", 5)
    assert found[0].source == "http://fundy.example/"
    assert found[0].title == "Fundy"
    assert FUNDY in found[0].text
    assert [passage.source for passage in found][:2] == [
        "http://fundy.example/",
        "http://moon.example/tides",
    ]
    assert [passage.score for passage in found] == sorted(
        (passage.score for passage in found), reverse=True
    )
    [(target, headers)] = source.engine.requests
    assert parse_qs(urlsplit(target).query) == {
        "q": ["What are the highest tides of the world?"],
        "format": ["json"],
    }
    assert headers["user-agent"].startswith("pocketlm/")


def test_what_was_found_is_kept(
    internet: Internet, web: Callable[..., Web], tmp_path: Path
) -> None:
    site = internet.add("moon.example", {"/": article("Tides", MOON)})
    one = web(("http://moon.example/", "Tides", "x"))
    first = one.search("tides  moon", 3)
    requests = list(site.requests)
    assert one.search("tides moon", 3) == first
    assert site.requests == requests
    assert len(one.engine.requests) == 1
    private = web(("http://moon.example/", "Tides", "x"), keep=False, home=tmp_path / "none")
    assert private.search("tides moon", 3) == first
    assert len(site.requests) == 2 * len(requests)
    assert not (tmp_path / "none").exists()


def test_pages_are_read_at_once_and_for_so_long(
    internet: Internet, web: Callable[..., Web]
) -> None:
    def slow(target: str) -> bytes:
        time.sleep(0.5)
        return article("Tides", MOON) if target == "/" else reply(status=404)

    def stuck(_: str) -> bytes:
        time.sleep(5)
        return b""

    for n in range(PAGES - 1):
        internet.add(f"slow{n}.example", slow)
    internet.add("stuck.example", stuck)
    found = [(f"http://slow{n}.example/", f"Slow {n}", "") for n in range(PAGES - 1)]
    source = web(("http://stuck.example/", "Stuck", "Tides, it says."), *found, seconds=2.5)
    before = time.monotonic()
    findings = source.look("tides moon", 9)
    assert time.monotonic() - before < 3.5
    assert {passage.source for passage in findings.passages} >= {"http://slow0.example/"}
    [unread] = findings.unread
    assert unread.url == "http://stuck.example/"
    assert "took too long" in unread.reason


def test_pages_that_cannot_be_read_are_told_and_quoted(
    internet: Internet, web: Callable[..., Web]
) -> None:
    rules = reply("User-agent: *\nDisallow: /", "text/plain")
    internet.add("shy.example", {"/robots.txt": rules, "/": article("Shy", MOON)})
    internet.add("gone.example", {})
    internet.add("paper.example", {"/": reply(b"%PDF-1.7", "application/pdf")})
    internet.name("inside.example", "10.0.0.1")
    source = web(
        ("http://shy.example/", "Shy\u200b", "Tides\u00ad are shy\U000e0041."),
        ("http://gone.example/x", "Gone", "Tides are gone."),
        ("http://paper.example/", "Paper", "Tides on paper."),
        ("http://inside.example/", "Inside", "Tides inside."),
        ("http://127.0.0.1/", "Here", "Tides here."),
        ("javascript:alert(1)", "Script", "Tides in scripts."),
        ("http://later.example/", "Later", "Tides later."),
        ("http://192.168.0.1/", "Router", "Tides of routers."),
    )
    findings = source.look("tides", 20)
    assert {(passage.source, passage.title, passage.text) for passage in findings.passages} == {
        ("http://shy.example/", "Shy (as the search engine quotes it)", "Tides are shy."),
        ("http://gone.example/x", "Gone (as the search engine quotes it)", "Tides are gone."),
        ("http://paper.example/", "Paper (as the search engine quotes it)", "Tides on paper."),
        ("http://later.example/", "Later (as the search engine quotes it)", "Tides later."),
    }
    reasons = {each.url: each.reason for each in findings.unread}
    assert list(reasons) == [
        *("http://shy.example/", "http://gone.example/x", "http://paper.example/"),
        *("http://inside.example/", "http://127.0.0.1/"),
    ]
    assert "robots.txt" in reasons["http://shy.example/"]
    assert "404" in reasons["http://gone.example/x"]
    assert "no public address" in reasons["http://inside.example/"]
    assert "no public address" in reasons["http://127.0.0.1/"]


def test_nothing_that_an_engine_returns_reaches_this_machine(
    internet: Internet, web: Callable[..., Web]
) -> None:
    trap = Site(lambda _: article("Trap", MOON))
    internet.name("trap.example", "127.0.0.1")
    try:
        source = web(
            (f"http://127.0.0.1:{trap.port}/", "Tides", ""),
            (f"http://localhost:{trap.port}/", "Tides", ""),
            (f"http://2130706433:{trap.port}/", "Tides", ""),
            ("http://trap.example/", "Tides", ""),
            fetcher=Fetcher(offline=False, resolve=internet.resolve),
        )
        with pytest.raises(WebError, match="of 4 pages found none could be read"):
            source.search("tides", 5)
        assert trap.connections == 0
    finally:
        trap.close()


def test_an_engine_that_finds_nothing(web: Callable[..., Web]) -> None:
    assert web().search("tides", 5) == []


@pytest.mark.parametrize("query", ["", " \n", "^", "x" * (MAX_QUERY + 1)])
def test_no_query(web: Callable[..., Web], query: str) -> None:
    source = web()
    with pytest.raises(ParameterError, match=r"no word|characters"):
        source.search(query, 5)
    assert source.engine.requests == []


def test_odd_queries(internet: Internet, web: Callable[..., Web]) -> None:
    internet.add("moon.example", {"/": article("Tides", MOON)})
    source = web(("http://moon.example/", "Tides", ""))
    for query in ("NEAR(tides moon)", '"tides', "tides AND OR *", "tides\0 moon", "tides \ud800"):
        source.search(query, 3)
    assert source.search('tides\' "moon" --', 3)[0].source == "http://moon.example/"


def test_offline(tmp_path: Path, internet: Internet) -> None:
    fetcher = Fetcher(offline=True, resolve=internet.resolve, connect=internet.connect)
    for url in ("http://127.0.0.1:8888", None):
        with (
            Web(url, home=tmp_path, fetcher=fetcher) as source,
            pytest.raises(OfflineError, match="POCKETLM_OFFLINE"),
        ):
            source.search("tides", 5)
    assert internet.connected == []


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (reply("Forbidden", "text/html", 403), "let it write JSON"),
        (reply("slow down", "text/plain", 429), "limits how often"),
        (reply("<html>search</html>"), "'text/html' and no JSON"),
        (reply("oops", status=500), "500 Internal Server Error"),
        (redirect("https://elsewhere.example/"), "leads to 'https://elsewhere.example/'"),
        (reply("{", "application/json"), "no list of results"),
        (reply("[" * 100_000, "application/json"), "no list of results"),
        (reply("[]", "application/json"), "no list of results"),
        (reply("{}", "application/json"), "no list of results"),
        (b"nonsense", "no HTTP"),
        (b"", "no HTTP"),
    ],
)
def test_a_searxng_that_does_not_answer(
    searxng: Callable[[bytes], Site], tmp_path: Path, answer: bytes, word: str
) -> None:
    url = f"http://127.0.0.1:{searxng(answer).port}/search"
    with Web(url, home=tmp_path, offline=False) as source, pytest.raises(WebError, match=word):
        source.search("tides", 5)


def test_a_searxng_that_is_not_there(tmp_path: Path, searxng: Callable[[bytes], Site]) -> None:
    site = searxng(b"")
    site.close()
    with (
        Web(f"http://127.0.0.1:{site.port}", home=tmp_path, offline=False) as source,
        pytest.raises(WebError, match="cannot be reached"),
    ):
        source.search("tides", 5)


def test_results_of_any_form_are_passed_over(searxng: Callable[[bytes], Site]) -> None:
    odd = [
        None,
        5,
        "x",
        [],
        {},
        {"url": 5},
        {"url": None, "title": "x"},
        {"url": "http://a.example/"},
    ]
    odd += [
        {"url": "http://b.example/", "title": 5, "content": ["x"]},
        {"url": "http://a.example/"},
    ]
    for found, expected in ((odd, ["http://a.example/", "http://b.example/"]), ({}, []), (5, [])):
        site = searxng(reply(json.dumps({"results": found}), "application/json; charset=utf-8"))
        engine = Searxng(f"http://127.0.0.1:{site.port}/searxng/", Fetcher(offline=False))
        got = engine.search("q", 10, time.monotonic() + 5)
        assert [result.url for result in got] == expected
        assert site.targets == ["/searxng/search?q=q&format=json"]


@pytest.mark.parametrize("url", ["ftp://x/", "localhost:8888", "http://u:p@localhost/", "nonsense"])
def test_a_searxng_url_that_is_none(url: str, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="SearXNG"):
        Web(url, home=tmp_path)


def test_the_environment_names_a_searxng(
    monkeypatch: pytest.MonkeyPatch, searxng: Callable[[bytes], Site], tmp_path: Path
) -> None:
    site = searxng(results())
    monkeypatch.setenv("POCKETLM_SEARXNG", f"http://localhost:{site.port}/")
    with Web(home=tmp_path, offline=False) as source:
        assert source.search("tides", 5) == []
    assert site.targets == ["/search?q=tides&format=json"]


class TestDdgs:
    """The library itself, with a page of this machine in the place of an engine's."""

    PAGE = """<ul class="results-standard">
    <li><h2><a href="http://moon.example/">Tides</a></h2><p class="s">Of tides.</p></li>
    <li><h2><a href="http://127.0.0.1/">Here</a></h2><p class="s">Of here.</p></li></ul>"""

    @pytest.fixture
    def engine(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], Site]]:
        engines = pytest.importorskip("ddgs.engines").ENGINES["text"]
        sites = []

        def start(answer: bytes) -> Site:
            sites.append(Site(lambda _: answer))
            monkeypatch.setattr(
                engines["mojeek"], "search_url", f"http://127.0.0.1:{sites[-1].port}/search"
            )
            for name in [name for name in engines if name != "mojeek"]:
                monkeypatch.delitem(engines, name)
            return sites[-1]

        yield start
        for site in sites:
            site.close()

    def test_a_search(
        self, internet: Internet, engine: Callable[[bytes], Site], tmp_path: Path
    ) -> None:
        internet.add("moon.example", {"/": article("Tides", MOON)})
        site = engine(reply(self.PAGE))
        with Web(home=tmp_path, fetcher=internet.fetcher()) as source:
            findings = source.look("tides & moon", 5)
        assert [passage.source for passage in findings.passages] == ["http://moon.example/"]
        assert [each.url for each in findings.unread] == ["http://127.0.0.1/"]
        assert parse_qs(urlsplit(site.targets[0]).query)["q"] == ["tides & moon"]

    def test_nothing_found(self, engine: Callable[[bytes], Site]) -> None:
        engine(reply("<ul class='results-standard'></ul>"))
        assert Ddgs(Fetcher(offline=False)).search("q", 5, time.monotonic() + 5) == []

    def test_one_that_does_not_answer(self, engine: Callable[[bytes], Site]) -> None:
        site = engine(b"")
        site.close()
        with pytest.raises(WebError, match="no search engine could be asked"):
            Ddgs(Fetcher(offline=False)).search("q", 5, time.monotonic() + 5)
