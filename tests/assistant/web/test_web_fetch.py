"""What comes over a connection: right responses, and every kind of wrong one, within limits."""

import gzip
import random
import socket
import ssl
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from sites import Internet, Site, redirect, reply, zipped

import pocketlm
from pocketlm.assistant.web import exchange, fetch
from pocketlm.assistant.web.exchange import MAX_BODY, MAX_HEAD, Response
from pocketlm.assistant.web.fetch import Fetcher
from pocketlm.assistant.web.page import KINDS
from pocketlm.assistant.web.patience import soon
from pocketlm.errors import Error, OfflineError, WebError

TEXT = "<p>The tide turns.</p>"


def fetched(
    internet: Internet, answer: bytes | Callable[[str], object], seconds: float = 5
) -> Response:
    internet.add("site.example", answer if callable(answer) else lambda _: answer)
    return internet.fetcher().get("http://site.example/", deadline=soon(seconds), kinds=KINDS)


def test_what_is_asked(internet: Internet) -> None:
    """One request, which says who asks and nothing else of them."""
    site = internet.add("site.example", lambda _: reply(TEXT, "text/html; charset=Latin-1"))
    got = internet.fetcher().get(
        "http://SITE.example/ä?q=a b#part".replace(" ", "+"), deadline=soon(5), kinds=KINDS
    )
    assert (got.status, got.kind, got.charset, got.body) == (
        *(200, "text/html", "latin-1"),
        TEXT.encode(),
    )
    assert str(got.url) == "http://site.example/%C3%A4?q=a+b"
    [(target, headers)] = site.requests
    assert target == "/%C3%A4?q=a+b"
    assert headers == {
        "host": "site.example",
        "user-agent": f"pocketlm/{pocketlm.__version__}",
        "accept": "application/xhtml+xml, text/html, text/plain",
        "accept-encoding": "gzip, deflate",
        "connection": "close",
    }
    assert internet.connected == [("93.184.216.1", 80)]


def test_redirects_are_followed(internet: Internet) -> None:
    one = internet.add(
        "one.example",
        {
            "/a": redirect("b?x", 301),
            "/b?x": redirect("//two.example/c d", 302),
            "/e": redirect("http://one.example:80/f", 303),
            "/f": redirect("/g", 307),
            "/g": reply(TEXT),
        },
    )
    two = internet.add("two.example", {"/c%20d": redirect("http://one.example/e", 308)})
    got = internet.fetcher().get("http://one.example/a", deadline=soon(5))
    assert (str(got.url), got.body) == ("http://one.example/g", TEXT.encode())
    assert one.targets == ["/a", "/b?x", "/e", "/f", "/g"]
    assert two.targets == ["/c%20d"]
    assert all("referer" not in headers and "cookie" not in headers for _, headers in one.requests)


def test_no_more_than_five_redirects(internet: Internet) -> None:
    site = internet.add("site.example", lambda target: redirect(f"{target}x"))
    with pytest.raises(WebError, match="redirected more than 5 times"):
        internet.fetcher().get("http://site.example/", deadline=soon(5))
    assert len(site.requests) == 6


def test_each_url_on_the_way_is_permitted(internet: Internet) -> None:
    internet.add("one.example", lambda _: redirect("http://two.example/"))
    two = internet.add("two.example", lambda _: reply(TEXT))

    def permit(url: object, deadline: float) -> None:
        asked.append(str(url))
        if "two" in str(url):
            raise WebError("not there")

    asked: list[str] = []
    with pytest.raises(WebError, match="not there"):
        internet.fetcher().get("http://one.example/", deadline=soon(5), permit=permit)
    assert asked == ["http://one.example/", "http://two.example/"]
    assert two.connections == 0


def test_cookies_are_not_kept(internet: Internet) -> None:
    site = internet.add(
        "site.example",
        {"/": reply(status=302, location="/next", set_cookie="a=b"), "/next": reply(TEXT)},
    )
    internet.fetcher().get("http://site.example/", deadline=soon(5))
    assert "cookie" not in site.requests[1][1]


@pytest.mark.parametrize(
    "answer",
    [
        zipped(TEXT),
        reply(zlib.compress(TEXT.encode()), content_encoding="deflate"),
        reply(zlib.compress(TEXT.encode(), wbits=-15), content_encoding="Deflate"),
        reply(gzip.compress(TEXT.encode()), content_encoding="x-gzip"),
        reply(TEXT, content_encoding="identity"),
        b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n" + TEXT.encode(),
        b"HTTP/1.1 200\r\nContent-Type: TEXT/HTML\r\n\r\n" + TEXT.encode(),
        b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n8\r\n<p>The t\r\n0e;x=y\r\nide turns.</p>\r\n0\r\n\r\n",
        reply(TEXT) + b"HTTP/1.1 200 OK\r\n\r\nwhat comes after is not read",
    ],
)
def test_sound_responses(internet: Internet, answer: bytes) -> None:
    assert fetched(internet, answer).body == TEXT.encode()


def test_a_head_in_pieces_before_a_long_body(internet: Internet) -> None:
    """What arrives with the end of a head does not count as head."""
    body = b"<p>" + b"x" * (MAX_BODY - 3)

    def answer(_: str) -> Iterator[bytes]:
        for piece in (b"HTTP/1.1 200 OK\r\n", b"Content-Type: text/html\r\nX: y\r"):
            yield piece
            time.sleep(0.05)
        yield b"\n\r\n" + body

    assert fetched(internet, answer).body == body


BOMB = gzip.compress(bytes(1 << 26))
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (b"", "no HTTP"),
        (b"hello", "no HTTP"),
        (b"<p>text</p>\r\n\r\n", "no HTTP"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "no HTTP"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", "no HTTP"),
        (HEAD + b"Content-Length: 100\r\n\r\nshort", "no HTTP"),
        (HEAD + b"Content-Length: -5\r\n\r\n", "no HTTP"),
        (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "no HTTP"),
        (HEAD + b"Content-Length: 9999999999999999999\r\n\r\n", "longer than 4 MiB"),
        (HEAD + b"Bad Header: x\r\n\r\n", "no HTTP"),
        (HEAD + b"A: b\0c\r\n\r\n", "no HTTP"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "no HTTP"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", "longer|no HTTP"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel", "no HTTP"),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "no HTTP"),
        (HEAD + b"X: " + b"y" * (MAX_HEAD + 10), "no HTTP|head that has no end"),
        (HEAD + b"X: y\r\n" * 50_000, "no HTTP|head that has no end"),
        (HEAD + b"\r\n" + bytes(MAX_BODY + 1), "longer than 4 MiB"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 200_000, "no HTTP|head that has no end"),
        (reply(BOMB, content_encoding="gzip"), "longer than 4 MiB"),
        (reply(zlib.compress(bytes(1 << 24)), content_encoding="deflate"), "longer than 4 MiB"),
        (reply(gzip.compress(BOMB), content_encoding="gzip, gzip"), "not asked for"),
        (reply(TEXT, content_encoding="br"), "not asked for"),
        (reply(TEXT, content_encoding="gzip"), "packed wrongly"),
        (reply(gzip.compress(TEXT.encode())[:-9], content_encoding="gzip"), "packed wrongly"),
        (reply(gzip.compress(TEXT.encode()) + b"more", content_encoding="gzip"), "packed wrongly"),
        (reply(TEXT, "application/pdf"), "it is 'application/pdf'"),
        (reply(TEXT, "image/svg+xml"), "it is 'image/svg"),
        (reply(TEXT, "text/html, application/x"), "it is"),
        (reply(TEXT, None), "no stated type"),
    ],
)  # fmt: skip
def test_unsound_responses(internet: Internet, answer: bytes, word: str) -> None:
    before = time.monotonic()
    with pytest.raises(WebError, match=word) as caught:
        fetched(internet, answer)
    assert str(caught.value).isprintable()
    assert time.monotonic() - before < 3


def slowly(piece: bytes, head: bytes = b"") -> Callable[[str], Iterator[bytes]]:
    def answer(_: str) -> Iterator[bytes]:
        yield head
        while True:
            time.sleep(0.02)
            yield piece

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        slowly(b"x", HEAD + b"Content-Length: 1000000\r\n\r\n"),
        slowly(b"X: y\r\n", HEAD),
        slowly(b"HTTP/1.1 102 Wait\r\n\r\n"),
        slowly(b"1\r\nx\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
        slowly(b"", HEAD + b"\r\n"),
    ],
)
def test_who_drips_is_not_waited_for(internet: Internet, answer: Callable[[str], object]) -> None:
    before = time.monotonic()
    with pytest.raises(WebError, match="took too long"):
        fetched(internet, answer, seconds=0.3)
    assert 0.25 < time.monotonic() - before < 1


def test_endless_bodies_end(internet: Internet) -> None:
    def endless(_: str) -> Iterator[bytes]:
        yield HEAD + b"\r\n"
        while True:
            yield bytes(1 << 16)

    with pytest.raises(WebError, match="longer than 4 MiB"):
        fetched(internet, endless)


def test_what_follows_a_packed_body_is_bounded_too(internet: Internet) -> None:
    def endless(_: str) -> Iterator[bytes]:
        yield HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(TEXT.encode())
        while True:
            yield bytes(1 << 16)

    with pytest.raises(WebError, match="longer than 4 MiB"):
        fetched(internet, endless)


def test_a_bomb_takes_no_memory(internet: Internet) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(WebError, match="longer than 4 MiB"):
            fetched(internet, reply(BOMB, content_encoding="gzip"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MAX_BODY  # it would be 64 MiB


def test_redirects_share_the_time(internet: Internet) -> None:
    def answer(target: str) -> Iterator[bytes]:
        time.sleep(0.15)
        yield redirect(f"{target}x")

    internet.add("site.example", answer)
    before = time.monotonic()
    with pytest.raises(WebError, match="took too long"):
        internet.fetcher().get("http://site.example/", deadline=soon(0.4))
    assert time.monotonic() - before < 1


def test_a_look_up_that_hangs(internet: Internet) -> None:
    fetcher = Fetcher(
        offline=False, resolve=lambda _: time.sleep(3) or [], connect=internet.connect
    )
    before = time.monotonic()
    with pytest.raises(WebError, match="took too long"):
        fetcher.get("http://site.example/", deadline=soon(0.2))
    assert time.monotonic() - before < 1


def test_another_address_is_tried(internet: Internet) -> None:
    internet.add("site.example", lambda _: reply(TEXT))
    internet.name("both.example", "2606:2800:21f::9", "93.184.216.99", "93.184.216.1")
    got = internet.fetcher().get("http://both.example/", deadline=soon(5))
    assert got.body == TEXT.encode()
    assert [address for address, _ in internet.connected][-1] == "93.184.216.1"


def test_what_cannot_be_reached(internet: Internet) -> None:
    internet.name("dead.example", "93.184.216.99")
    for url, word in (
        ("http://nowhere.example/", "Name or service not known"),
        ("http://dead.example/", "Connection refused"),
        ("http://93.184.216.98/", "Connection refused"),
    ):
        with pytest.raises(WebError, match=word):
            internet.fetcher().get(url, deadline=soon(5))


@pytest.mark.parametrize("value", ["1", "yes"])
def test_offline(monkeypatch: pytest.MonkeyPatch, internet: Internet, value: str) -> None:
    monkeypatch.setenv("POCKETLM_OFFLINE", value)
    fetcher = Fetcher(resolve=internet.resolve, connect=internet.connect)
    with pytest.raises(OfflineError, match="POCKETLM_OFFLINE"):
        fetcher.get("http://site.example/", deadline=soon(5))
    with pytest.raises(OfflineError, match="POCKETLM_OFFLINE"):
        fetcher.get_configured("http://127.0.0.1:8888/", deadline=soon(5))
    assert internet.looked_up == internet.connected == []


def test_a_configured_url_may_be_here_but_leads_nowhere_else(internet: Internet) -> None:
    here = Site(lambda target: redirect("/there") if target == "/turn" else reply("{}", "text/x"))
    try:
        fetcher = Fetcher(offline=False)
        got = fetcher.get_configured(f"http://127.0.0.1:{here.port}/", deadline=soon(5))
        assert got.body == b"{}"
        got = fetcher.get_configured(f"http://localhost:{here.port}/turn", deadline=soon(5))
        assert (got.status, got.location, got.body) == (302, "/there", b"")
        assert here.targets == ["/", "/turn"]
    finally:
        here.close()


def mutated(data: bytes, chance: random.Random) -> bytes:
    """One to four changes: of a byte, a stretch, a number; or an end, or something in between."""
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        before, some, after = data[:at], data[at : at + 20], data[at + 20 :]
        changed = [
            before + bytes([chance.randrange(256)]) + data[at + 1 :],
            before + after,
            before + some * chance.randint(2, 5) + after,
            before,
            before + chance.choice([b"\r\n", b"\0", b": ", b"\xff", b"-1"]) + data[at:],
            data.replace(b"2", chance.choice([b"3", b"1", b"999999", b""]), 1),
        ]
        data = chance.choice(changed)
    return data


def test_a_thousand_mutated_responses() -> None:
    chance = random.Random(20261127)
    sound = [
        reply(TEXT * 20),
        zipped(TEXT * 50),
        redirect("https://other.example/a?b#c"),
        redirect("/a"),
        reply(
            zlib.compress(TEXT.encode()), content_encoding="deflate", kind="text/plain; charset=x"
        ),
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\nyou\r\n0\r\nA: b\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"\r\n" + TEXT.encode(),
    ]

    def connect(address: object, port: int, seconds: float) -> socket.socket:
        ours, theirs = socket.socketpair()
        theirs.sendall(mutated(chance.choice(sound), chance))
        theirs.shutdown(socket.SHUT_WR)
        kept.append(theirs)
        return ours

    fetcher = Fetcher(offline=False, resolve=lambda _: ["93.184.216.34"], connect=connect)
    refused = 0
    for _ in range(1000):
        kept: list[socket.socket] = []
        before = time.monotonic()
        message = ""
        try:
            fetcher.get("http://site.example/", deadline=soon(2), kinds=KINDS)
        except Error as error:
            message = str(error)
            refused += 1
        assert message == "" or message.isprintable()
        for each in kept:
            each.close()
        assert time.monotonic() - before < 2.5
    assert 200 < refused < 990


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority's certificate, and one of its for secure.example."""
    pytest.importorskip("cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    def key() -> ec.EllipticCurvePrivateKey:
        return ec.generate_private_key(ec.SECP256R1())

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def certificate(subject: str, issuer: str, public: object, by: object, *more: object) -> bytes:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder(
                name(issuer), name(subject), public, x509.random_serial_number()
            )
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )
        for extension in more:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    folder = tmp_path_factory.mktemp("authority")
    root, leaf = key(), key()
    own = x509.SubjectKeyIdentifier.from_public_key(root.public_key())
    (folder / "root.pem").write_bytes(
        certificate(
            *("root", "root", root.public_key(), root, own),
            x509.BasicConstraints(ca=True, path_length=None),
        )
    )
    names = x509.SubjectAlternativeName([x509.DNSName("secure.example")])
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key())
    (folder / "leaf.pem").write_bytes(
        certificate("leaf", "root", leaf.public_key(), root, names, above)
        + leaf.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder


def test_tls_is_verified_against_the_host(
    monkeypatch: pytest.MonkeyPatch, internet: Internet, authority: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "leaf.pem")
    wrap = partial(context.wrap_socket, server_side=True)
    site = internet.add("secure.example", lambda _: reply(TEXT), wrap=wrap)
    internet.name("other.example", "93.184.216.1")
    with pytest.raises(WebError, match="cannot prove that it is"):  # an authority unknown here
        internet.fetcher().get("https://secure.example/", deadline=soon(5))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "root.pem"))
    fetcher = internet.fetcher()
    assert fetcher.get("https://secure.example/", deadline=soon(5)).body == TEXT.encode()
    for host in ("other.example", "93.184.216.1"):  # the same server by a name it cannot prove
        with pytest.raises(WebError, match="cannot prove that it is"):
            fetcher.get(f"https://{host}/", deadline=soon(5))
    assert site.targets == ["/"]
    assert internet.connected == [("93.184.216.1", 443)] * 4


def test_a_handshake_that_hangs(internet: Internet) -> None:
    held = threading.Event()

    def hold(connection: socket.socket) -> socket.socket:
        held.wait(5)
        return connection

    internet.add("secure.example", lambda _: b"", wrap=hold)
    before = time.monotonic()
    with pytest.raises(WebError, match="took too long"):
        internet.fetcher().get("https://secure.example/", deadline=soon(0.3))
    held.set()
    assert time.monotonic() - before < 1


def test_limits_are_as_the_documents_say() -> None:
    assert (exchange.MAX_BODY, exchange.MAX_HEAD) == (4 << 20, 64 << 10)
    assert (fetch.MAX_REDIRECTS, fetch.MAX_ADDRESSES) == (5, 4)
