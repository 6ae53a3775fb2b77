"""A trap on this machine receives nothing, however a URL, a name or a redirect leads to it."""

import ipaddress
import socket
import urllib.request
from collections.abc import Iterator
from itertools import cycle

import pytest
from sites import Internet, Site, redirect, reply

from pocketlm.assistant.web.addresses import Address
from pocketlm.assistant.web.fetch import Fetcher, resolve
from pocketlm.assistant.web.patience import soon
from pocketlm.errors import AddressError, Error, WebError

# fmt: off
#: Hosts that are this machine or a private network, as the system or some reader of URLs has it.
HOSTS = [
    *("127.0.0.1", "127.0.0.2", "127.1", "127.0.1", "127.255.255.254", "2130706433"),
    *("017700000001", "0x7f000001", "0x7f.1", "0x7f.0.0.0x1", "0177.0.0.1", "127.0.0.01"),
    *("127.0.0.1.", "127.0.0.1..", "00000127.0.0.1", "4294967297", "127.0.0.1%00", "127%2e0.0.1"),
    *("%31%32%37.0.0.1", "127。0。0。1", "１２７.０.０.１", "①②⑦.⓪.⓪.①", "127．0．0．1", "0x7F.1"),
    *("localhost", "LOCALHOST", "localhost.", "localhost.localdomain", "trap.localhost"),
    *("ｌｏｃａｌｈｏｓｔ", "loc\u00adalhost", "xn--localhost-", "0", "0.0.0.0", "0x0", "00"),
    *("[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::7f00:1]"),
    *("[0000:0000::0001]", "[::1%25lo]", "[::1%lo]", "[fe80::1%25lo]", "[fe80::1]", "[fc00::1]"),
    *("[fd00:ec2::254]", "[fec0::1]", "[ff02::1]", "[64:ff9b::7f00:1]", "[64:ff9b::127.0.0.1]"),
    *("[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2001:0:7f00:1::]", "[2001:db8::1]", "[100::1]"),
    *("[::ffff:0:127.0.0.1]", "[::ffff:169.254.169.254]", "[v1.127.0.0.1]", "[127.0.0.1]", "[]"),
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "169.254.169.254", "100.64.0.1"),
    *("2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "100.100.100.200", "192.0.0.192"),
    *("168.63.129.16", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1"),
    *("metadata", "router", "trap", "127.0.0.1.nip.io", "7f000001.nip.io", "rebound.example"),
    *("mixed.example", "six.example", "mapped.example", "odd.example", "empty.example"),
    *("good.example@127.0.0.1", "good.example:8@127.0.0.1", "@127.0.0.1", "127.0.0.1@good.example"),
    *("good.example\\@127.0.0.1", "127.0.0.1\\.good.example", "good.example%40127.0.0.1", "a b"),
    *("127.0.0.1\t", "127.0.\n0.1", "\t127.0.0.1", "127.0.0.1\r\nHost: x", "good.example\0.x", ""),
]
#: URLs that are of no scheme of the web, or have no way to be read.
URLS = [
    *("file:///etc/passwd", "file://127.0.0.1/etc/passwd", "gopher://127.0.0.1/_x", "data:,x"),
    *("ftp://127.0.0.1/x", "javascript:alert(1)", "ws://127.0.0.1/", "dict://127.0.0.1:11211/stat"),
    *("jar:http://127.0.0.1!/", "view-source:http://127.0.0.1/", "blob:http://127.0.0.1/x"),
    *("http:127.0.0.1", "http:/127.0.0.1/", "http:///127.0.0.1/", "//127.0.0.1"),
    *("http:\\\\127.0.0.1\\", "http:\\/127.0.0.1"),
    *("127.0.0.1", "", " ", "http", "http:", "http://", "http://:80/", "http://[::1", "http://::1]/"),
    *("http://127.0.0.1:0/", "http://127.0.0.1:99999/", "http://127.0.0.1:8a/", "http://[::1]:-1/"),
    *("http\t://127.0.0.1/", "ht\ntp://127.0.0.1/", "\x00http://127.0.0.1/", " http://127.0.0.1/"),
    *("HTTP://127.0.0.1/", "hTtPs://127.0.0.1/", "http://a.b/\ud800", "http://" + "a" * 5000),
    *("http://" + "a." * 150 + "example/", "http://" + "a" * 64 + ".example/", "http://-a.example/"),
]
#: What names lead to.
NAMES = {
    "trap": ["127.0.0.1"], "router": ["192.168.1.1"], "metadata": ["169.254.169.254"],
    "127.0.0.1.nip.io": ["127.0.0.1"], "7f000001.nip.io": ["127.0.0.1"],
    "mixed.example": ["93.184.216.34", "10.0.0.7"], "six.example": ["2606:2800:21f::1", "::1"],
    "mapped.example": ["::ffff:127.0.0.1"], "odd.example": ["fe80::1%eth0"],
    "rebound.example": ["127.0.0.1"], "empty.example": [], "good.example": ["93.184.216.34"],
}
#: Where the last of several redirects leads.
LAST = [
    *("http://127.0.0.1/", "http://2130706433/", "//127.0.0.1/", "http://trap.example/"),
    *("http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://x@127.0.0.1/", "file:///etc/passwd"),
    *("http://169.254.169.254/latest/meta-data/", "gopher://127.0.0.1/", "http:\\\\127.0.0.1\\"),
    *("http://93.184.216.34:22/", "http://localhost/", "data:text/plain,x", "http://[::1"),
]
# fmt: on


@pytest.fixture
def trap() -> Iterator[Site]:
    site = Site(lambda _: reply("you should not read this"))
    yield site
    site.close()


def names(name: str) -> list[str]:
    """The made up names; the system for all others, which knows localhost and odd numbers."""
    return NAMES[name] if name in NAMES else resolve(name)


def springs(trap: Site, allowed: str = "") -> object:
    """Connects to the trap whatever the address is: so none may come this far, but `allowed`."""

    def connect(address: Address, port: int, seconds: float) -> socket.socket:
        if str(address) == allowed:
            raise ConnectionRefusedError(111, "Connection refused")
        return socket.create_connection(("127.0.0.1", trap.port), timeout=seconds)

    return connect


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_form_of_a_url_reaches_the_trap(trap: Site, scheme: str) -> None:
    guarded = Fetcher(offline=False, resolve=names, connect=springs(trap, "93.184.216.34"))
    plain = Fetcher(offline=False, resolve=names)
    assert len(HOSTS) + len(URLS) > 120
    for url in [*URLS, *(f"{scheme}://{host}/x" for host in HOSTS)]:
        for fetcher in (guarded, plain):
            with pytest.raises(WebError):
                fetcher.get(url, deadline=soon(2))
    for host in HOSTS:  # and at the very port that it listens at
        with pytest.raises(AddressError):
            plain.get(f"{scheme}://{host.rstrip('/')}:{trap.port}/x", deadline=soon(2))
    assert trap.connections == 0


def test_the_trap_works(trap: Site) -> None:
    """Without the guard, odd forms do reach it: the test above shows something."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for host in ("127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "localhost"):
        opener.open(f"http://{host}:{trap.port}/", timeout=5).close()
    fetcher = Fetcher(offline=False, resolve=names, connect=springs(trap))
    assert fetcher.get("http://good.example/", deadline=soon(5)).status == 200
    assert trap.connections == 7


@pytest.mark.parametrize("hops", range(1, 6))
@pytest.mark.parametrize("last", LAST)
def test_no_redirect_reaches_the_trap(internet: Internet, trap: Site, hops: int, last: str) -> None:
    pages = {f"/{hop}": redirect(f"/{hop + 1}") for hop in range(1, hops)}
    site = internet.add("good.example", pages | {f"/{hops}": redirect(last)})
    internet.name("trap.example", "127.0.0.1")
    local = internet.connect

    def connect(address: Address, port: int, seconds: float) -> socket.socket:
        if not ipaddress.ip_address(str(address)).is_global:
            return socket.create_connection(("127.0.0.1", trap.port), timeout=seconds)
        return local(address, port, seconds)

    fetcher = Fetcher(offline=False, resolve=internet.resolve, connect=connect)
    with pytest.raises(AddressError):
        fetcher.get("http://good.example/1", deadline=soon(5))
    assert site.targets == [f"/{hop}" for hop in range(1, hops + 1)]
    assert trap.connections == 0


def test_a_name_that_changes_between_check_and_connection(internet: Internet, trap: Site) -> None:
    """It is looked up once for each request; a redirect to itself is another request."""
    internet.add("turns.example", {"/": reply("<p>text</p>"), "/again": redirect("/")})
    answers = cycle([["93.184.216.1"], ["127.0.0.1"]])
    looked_up: list[str] = []

    def turning(name: str) -> list[str]:
        looked_up.append(name)
        return next(answers)

    fetcher = Fetcher(offline=False, resolve=turning, connect=internet.connect)
    assert fetcher.get("http://turns.example/", deadline=soon(5)).status == 200
    assert len(looked_up) == 1
    with pytest.raises(AddressError):
        fetcher.get("http://turns.example/", deadline=soon(5))
    with pytest.raises(AddressError):
        fetcher.get("http://turns.example/again", deadline=soon(5))
    assert internet.connected == [("93.184.216.1", 80), ("93.184.216.1", 80)]
    assert trap.connections == 0


def test_connecting_looks_nothing_up(monkeypatch: pytest.MonkeyPatch, trap: Site) -> None:
    """The real connection is made to a number, with no way for a name to come between."""
    from pocketlm.assistant.web.fetch import connect

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a look-up")

    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    connect(ipaddress.ip_address("127.0.0.1"), trap.port, 5).close()


def test_an_address_of_this_machine_is_none_of_the_web(
    monkeypatch: pytest.MonkeyPatch, trap: Site
) -> None:
    """Also where it is a public one: a service that listens everywhere listens there."""
    import pocketlm.assistant.web.fetch as fetch

    assert fetch.is_own(ipaddress.ip_address("127.0.0.1"))
    monkeypatch.setattr(fetch, "is_public", lambda _: True)
    fetcher = Fetcher(offline=False, resolve=lambda _: ["127.0.0.1"])
    with pytest.raises(AddressError):
        fetcher.get("http://good.example/", deadline=soon(5))
    assert trap.connections == 0


def test_the_environment_chooses_no_proxy(
    monkeypatch: pytest.MonkeyPatch, internet: Internet, trap: Site
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{trap.port}")
    internet.add("good.example", {"/": reply("<p>text</p>")})
    assert internet.fetcher().get("http://good.example/", deadline=soon(5)).status == 200
    assert trap.connections == 0


def test_errors_are_one_line() -> None:
    fetcher = Fetcher(offline=False, resolve=names)
    for url in [*URLS, *(f"http://{host}/" for host in HOSTS)]:
        with pytest.raises(Error) as caught:
            fetcher.get(url, deadline=soon(2))
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 500
