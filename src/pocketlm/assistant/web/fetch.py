"""Fetching from the web, and from nowhere else.

A name is looked up once; every address that comes back must be public; and the connection is made
to one of these addresses, as a number. There is no second look-up that could answer differently.
Each request has a connection of its own, so none serves another host than the one it was checked
for. Redirects are followed here, each like a URL of its own. Proxies of the environment are not
used: behind one, the address would be the proxy's to choose.

Knows names, addresses and TLS. Does not know what a page is, nor who allows it to be read.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Callable, Sequence
from functools import cached_property

from pocketlm.assistant.web.addresses import Address, is_own, is_public
from pocketlm.assistant.web.exchange import Response, exchange
from pocketlm.assistant.web.patience import by, left
from pocketlm.assistant.web.url import Url
from pocketlm.errors import AddressError, OfflineError, WebError
from pocketlm.network import offline_by_environment

#: Most redirects that are followed, and most addresses of a name that are tried.
MAX_REDIRECTS, MAX_ADDRESSES = 5, 4
#: Longest wait for one address to answer, in seconds.
CONNECT_SECONDS = 4.0

_REDIRECTS = frozenset({301, 302, 303, 307, 308})

#: The addresses of a name, as text.
Resolve = Callable[[str], Sequence[str]]
#: A connection to that address and no other: address, port, seconds to wait.
Connect = Callable[[Address, int, float], socket.socket]
#: Called with each URL before it is requested, redirects' among them; raises WebError to refuse it.
Permit = Callable[[Url, float], None]


def resolve(name: str) -> list[str]:
    """The addresses that the system knows for a name, in its order. Raises OSError."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def connect(address: Address, port: int, seconds: float) -> socket.socket:
    """A connection to an address: a number, so nothing is looked up. Raises OSError."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        connection.connect((str(address), port))
    except BaseException:
        connection.close()
        raise
    return connection


class Fetcher:
    """Brings what URLs name. Safe to use from several threads."""

    def __init__(
        self,
        *,
        offline: bool | None = None,
        resolve: Resolve = resolve,
        connect: Connect = connect,
    ) -> None:
        """With `offline` nothing is fetched (None asks `POCKETLM_OFFLINE`)."""
        self.offline = offline_by_environment() if offline is None else offline
        self._resolve = resolve
        self._connect = connect

    def get(
        self,
        url: str,
        *,
        deadline: float,
        kinds: frozenset[str] | None = None,
        permit: Permit | None = None,
    ) -> Response:
        """What a URL of the public web answers, redirects followed.

        Every name and address on the way must be public, and `permit` let it pass. `kinds` are the
        media types that are read (None: any). `deadline` is a time of `time.monotonic`. Raises
        AddressError for what is not of the public web, OfflineError, and WebError for the rest.
        """
        asked = Url.parse(url)
        for _ in range(MAX_REDIRECTS + 1):
            asked.check_public()
            self._check_online(asked)
            if permit is not None:
                permit(asked, deadline)
            response = self._request(asked, self._public_addresses, kinds, deadline)
            if response.status not in _REDIRECTS or response.location is None:
                return response
            asked = asked.joined(response.location)
        raise WebError(f"{url} is redirected more than {MAX_REDIRECTS} times")

    def get_configured(
        self, url: str, *, deadline: float, kinds: frozenset[str] | None = None
    ) -> Response:
        """What a URL answers that the user configured: any port, also on this machine.

        Redirects are not followed: nobody configured where they lead. Raises as `get` does.
        """
        asked = Url.parse(url)
        self._check_online(asked)
        return self._request(asked, self._addresses, kinds, deadline)

    def _check_online(self, url: Url) -> None:
        if self.offline:
            raise OfflineError(
                f"{url} is not fetched: --offline (POCKETLM_OFFLINE) forbids the network"
            )

    def _request(
        self,
        url: Url,
        addresses_of: Callable[[Url, float], Sequence[Address]],
        kinds: frozenset[str] | None,
        deadline: float,
    ) -> Response:
        try:
            with self._opened(url, addresses_of(url, deadline), deadline) as connection:
                return exchange(connection, url, kinds, deadline)
        except TimeoutError:
            raise WebError(f"{url} took too long") from None
        except ssl.SSLCertVerificationError as error:
            raise WebError(f"{url} cannot prove that it is: {error.verify_message}") from None
        except OSError as error:
            raise WebError(f"{url} cannot be reached: {error.strerror or error}") from None

    def _public_addresses(self, url: Url, deadline: float) -> Sequence[Address]:
        """The addresses of a URL's host. Raises AddressError unless each of them is public."""
        addresses = self._addresses(url, deadline)
        for address in addresses:
            if not is_public(address) or is_own(address):
                raise AddressError(
                    f"{url} is not fetched: {url.host} leads to {address}, no public address"
                )
        return addresses

    def _addresses(self, url: Url, deadline: float) -> Sequence[Address]:
        if url.address is not None:
            return [url.address]
        found = by(deadline, lambda: self._resolve(url.host))
        try:
            addresses = [ipaddress.ip_address(text) for text in found]
        except ValueError as error:
            raise AddressError(f"{url} is not fetched: {error}") from None
        if not addresses:
            raise WebError(f"{url} cannot be reached: {url.host} has no address")
        return addresses

    def _opened(self, url: Url, addresses: Sequence[Address], deadline: float) -> socket.socket:
        """A connection to one of `addresses`, inside TLS where the URL says so."""
        tried = addresses[:MAX_ADDRESSES]
        for index, address in enumerate(tried):
            try:
                connection = self._connect(address, url.port, min(CONNECT_SECONDS, left(deadline)))
                break
            except OSError:
                if index == len(tried) - 1:
                    raise
        if url.scheme == "http":
            return connection
        try:
            connection.settimeout(left(deadline))
            return self._tls.wrap_socket(connection, server_hostname=url.host)
        except BaseException:
            connection.close()
            raise

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Verifies certificates, and that they are the host's."""
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        return context
