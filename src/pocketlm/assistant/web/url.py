"""A URL taken apart once: what is checked, connected to and written into the request is one value.

Two readers of a URL that disagree are how checks are passed by. So a URL is refused unless there
is one way to read it, and nothing after this module sees the text it was made of.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

import idna

from pocketlm.assistant.web.addresses import Address, is_public
from pocketlm.errors import AddressError

#: The longest URL that is looked at, in characters.
MAX_URL = 4096

_PORTS = {"http": 80, "https": 443}
_UNWRITABLE = re.compile(r"[\x00-\x20\x7f-\xa0\ud800-\udfff\\]")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
#: What the system would take for an IPv4 address: "2130706433", "0x7f.1", "127.1".
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
#: Left as they are in a path and a query; a "%" is taken to begin an escape.
_SAFE = "/?:@!$&'()*+,;=~-._%[]|"


@dataclass(frozen=True)
class Url:
    """An http or https URL. `host` is a name in ASCII or an address, `target` path and query."""

    scheme: str
    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, text: str) -> Url:
        """Raise AddressError for what is no such URL, or can be read in more than one way."""
        shown = repr(text[:200])
        if len(text) > MAX_URL:
            raise AddressError(f"the URL {shown}… is longer than {MAX_URL} characters")
        if _UNWRITABLE.search(text):
            raise AddressError(
                f"the URL {shown} has a space, a backslash or a control character in it"
            )
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:  # its text holds what is to be shown to nobody
            raise AddressError(f"{shown} is no URL") from None
        if parts.scheme not in _PORTS:
            raise AddressError(f"{shown} is fetched neither by http: nor by https:")
        if "@" in parts.netloc:
            raise AddressError(f"the URL {shown} has a user's name in it")
        host = _host(parts.hostname or "", shown)
        if port == 0:
            raise AddressError(f"the URL {shown} names no port")
        target = quote(parts.path or "/", safe=_SAFE)
        if "?" in text.partition("#")[0]:
            target += "?" + quote(parts.query, safe=_SAFE)
        return cls(parts.scheme, host, port or _PORTS[parts.scheme], target)

    @property
    def address(self) -> Address | None:
        """The host, where it is an address and not a name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    @property
    def origin(self) -> str:
        """Scheme, host and port, the port where it is not the scheme's own."""
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        """The URL as it is requested."""
        return self.origin + self.target

    def joined(self, location: str) -> Url:
        """Where a redirect to `location` leads. Raises AddressError, as `parse` does."""
        try:
            return Url.parse(urljoin(str(self), location.strip(" ").replace(" ", "%20")))
        except ValueError:
            raise AddressError(f"{self} leads to {location[:200]!r}, which is no URL") from None

    def check_public(self) -> None:
        """Raise AddressError where the URL itself says that it is not of the public web."""
        if self.port not in _PORTS.values():
            raise AddressError(f"{self} is not fetched: port {self.port} is none of the web's")
        address = self.address
        if address is not None and not is_public(address):
            raise AddressError(f"{self} is not fetched: {address} is no public address")
        if address is None and "." not in self.host:
            raise AddressError(f"{self} is not fetched: {self.host!r} is no public name")


def _host(text: str, shown: str) -> str:
    """A host as the system is asked for it. Raises AddressError."""
    if not text:
        raise AddressError(f"the URL {shown} has no host")
    if ":" in text:
        try:
            address = ipaddress.IPv6Address(text)
        except ValueError:
            raise AddressError(f"the URL {shown} has no sound address") from None
        if address.scope_id is not None:
            raise AddressError(f"the URL {shown} names a network of this machine")
        return str(address)
    name = text.lower()
    if not name.isascii() and len(name) <= 253:
        try:
            name = idna.encode(name, uts46=True, transitional=False).decode()
        except (idna.IDNAError, UnicodeError):
            raise AddressError(f"the URL {shown} has a host that is no name") from None
    name = name.removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise AddressError(f"the URL {shown} has a host that is no name")
    if _NUMERIC.fullmatch(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise AddressError(
                f"the URL {shown} has an address that is not written as four numbers"
            ) from None
    return name
