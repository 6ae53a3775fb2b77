"""A URL has one reading, which other readers share; and which addresses are public."""

import ipaddress
import random

import httpx
import pytest
import urllib3

from pocketlm.assistant.web import addresses
from pocketlm.assistant.web.addresses import is_public
from pocketlm.assistant.web.url import Url
from pocketlm.errors import AddressError


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("http://example.com", "http://example.com/"),
        ("HTTPS://Example.COM:443/A?b#c", "https://example.com/A?b"),
        ("http://example.com:443/", "http://example.com:443/"),
        ("http://example.com./a/../b", "http://example.com/a/../b"),
        ("http://example.com?", "http://example.com/?"),
        ("http://example.com/%7Ea?b=%20c&d=e+f", "http://example.com/%7Ea?b=%20c&d=e+f"),
        ("http://example.com/ä?ö", "http://example.com/%C3%A4?%C3%B6"),
        ('http://example.com/"<>`{}^', "http://example.com/%22%3C%3E%60%7B%7D%5E"),
        ("http://BÜCHER.example/", "http://xn--bcher-kva.example/"),
        ("http://faß.example/", "http://xn--fa-hia.example/"),
        ("http://例え。テスト/", "http://xn--r8jz45g.xn--zckzah/"),
        ("http://a_b.example/", "http://a_b.example/"),
        ("http://8.8.8.8/", "http://8.8.8.8/"),
        ("http://[2606:4700:0::1111]:80/", "http://[2606:4700::1111]/"),
        ("http://1.1.1.1.example/", "http://1.1.1.1.example/"),
    ],
)
def test_how_urls_are_read(text: str, read: str) -> None:
    assert str(Url.parse(text)) == read
    assert Url.parse(read) == Url.parse(text)


@pytest.mark.parametrize(
    ("location", "read"),
    [
        *[("/b", "https://a.example/b"), ("b?c", "https://a.example/x/b?c"), ("", "https://a.example/x/y?z")],
        *[("//b.example", "https://b.example/"), ("?q", "https://a.example/x/y?q")],
        *[("http://b.example/c d", "http://b.example/c%20d"), (" /b ", "https://a.example/b")],
        *[("../../../b", "https://a.example/b"), ("#f", "https://a.example/x/y?z")],
    ],
)  # fmt: skip
def test_where_redirects_lead(location: str, read: str) -> None:
    assert str(Url.parse("https://a.example/x/y?z").joined(location)) == read


def parsed(text: str) -> Url | None:
    """None for what is refused; any error but AddressError fails, and one that cannot be shown."""
    try:
        return Url.parse(text)
    except AddressError as error:
        message = str(error)
    assert message.isprintable()
    return None


def test_other_readers_read_the_same() -> None:
    """What is let through means the same host and port to them."""
    chance = random.Random(20261127)
    # fmt: off
    parts = [
        *("http", "https", ":", "//", "/", "\\", "@", "?", "#", "[", "]", "%", "%2e", "%00", "."),
        *("..", "example", "com", "127.0.0.1", "0x7f", "1", "::1", "::ffff:1.2.3.4", "8.8.8.8"),
        *(":80", ":8080", "ü", "ß", "。", "１", "\u00ad", "\u200b", "\u2100", "\u212a", "xn--"),
        *("-", "_", "a b", "\t", "x", "&", ";", "=", "+", "!", "*", "'", "(", "|", "^", "`", "{"),
        *("\ud800", "\U0001f600"),
    ]
    # fmt: on
    read = 0
    for _ in range(20_000):
        text = "".join(chance.choice(parts) for _ in range(chance.randint(1, 9)))
        if chance.random() < 0.8:
            text = chance.choice(["http://", "https://"]) + text
        url = parsed(text)
        if url is None:
            continue
        read += 1
        assert Url.parse(str(url)) == url
        assert str(url).isascii()
        assert str(url).isprintable()
        theirs = httpx.URL(str(url))
        assert theirs.raw_host.decode().strip("[]") == url.host
        assert (theirs.port or {"http": 80, "https": 443}[theirs.scheme]) == url.port
        others = urllib3.util.parse_url(str(url))
        assert (others.host or "").strip("[]") == url.host
    assert read > 500


def test_public_addresses() -> None:
    for text in ("8.8.8.8", "1.1.1.1", "93.184.216.34", "172.15.255.255", "172.32.0.0", "11.0.0.0"):
        assert is_public(ipaddress.ip_address(text))
    for text in (
        "2606:4700::1111",
        "2a00:1450:4001::1",
        "2001:4860:4860::8888",
        "64:ff9b::808:808",
    ):
        assert is_public(ipaddress.ip_address(text))


def test_no_special_address_is_public() -> None:
    """At the borders of each network, in it, and embedded; the standard library agrees."""
    networks = [*addresses._SPECIAL_4, *addresses._SPECIAL_6]
    for network in networks:
        for address in (network[0], network[-1], network[network.num_addresses // 2]):
            assert not is_public(address)
            if address.version == 4:
                for prefix in ("::ffff:", "64:ff9b::", "::", "64:ff9b:1::", "::ffff:0:"):
                    assert not is_public(ipaddress.ip_address(f"{prefix}{address}"))
    for text in (
        "::",
        "::1",
        "fe80::1",
        "fec0::1",
        "fc00::1",
        "fdff::1",
        "ff02::1",
        "100::1",
        "4000::",
    ):
        assert not is_public(ipaddress.ip_address(text))
    chance = random.Random(20261127)
    for _ in range(20_000):
        four = ipaddress.IPv4Address(chance.getrandbits(32))
        six = ipaddress.IPv6Address((0x2 << 124) | chance.getrandbits(125))
        for address in (four, six):
            assert not is_public(address) or address.is_global
    for network in networks:
        for address in (network[0], network[-1]):
            for neighbour in (int(address) - 1, int(address) + 1):
                if 0 <= neighbour < 1 << address.max_prefixlen:
                    near = type(address)(neighbour)
                    assert not is_public(near) or near.is_global
