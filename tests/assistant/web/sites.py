"""Web sites on this machine, at addresses that look public to the guard, and a trap that is not.

A guard that let loopback pass for tests would not be the product's. So names and addresses here are
public ones, and only what opens the connection, which gets an address that was checked already,
leads it to a server of ours.
"""

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from pocketlm.assistant.web.addresses import Address
from pocketlm.assistant.web.fetch import Fetcher

#: What a site answers to a target ("/page?x"): bytes, or pieces of them.
Answer = Callable[[str], bytes | Iterator[bytes]]


def reply(
    body: bytes | str = b"", kind: str | None = "text/html", status: int = 200, **headers: str
) -> bytes:
    """A sound response; `content_encoding` and the like are further headers."""
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(data)}", "Connection: close"]
    if kind is not None:
        lines.append(f"Content-Type: {kind}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + data


def redirect(location: str, status: int = 302) -> bytes:
    return reply(status=status, location=location)


def zipped(text: str) -> bytes:
    return reply(gzip.compress(text.encode()), content_encoding="gzip")


def article(title: str, *paragraphs: str) -> bytes:
    """A page as sites make them, with what is no text around its text."""
    text = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
    return reply(
        f"<!doctype html><html><head><title>{title}</title></head><body>"
        f"<nav><a href='/'>Home</a> <a href='/about'>About us</a></nav>"
        f"<article><h1>{title}</h1>{text}</article><footer>All rights reserved</footer></body>"
    )


class Site:
    """A server on loopback. `requests` are the targets that were asked for, with their headers."""

    def __init__(
        self,
        answer: Answer | None = None,
        wrap: Callable[[socket.socket], socket.socket] | None = None,
    ):
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.connections = 0
        self._answer = answer
        self._wrap = wrap
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def targets(self) -> list[str]:
        return [target for target, _ in self.requests]

    def close(self) -> None:
        with suppress(OSError):  # closed before
            # Wakes the thread that accepts, which `close` alone does not.
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(5)
            if self._wrap is not None:
                connection = self._wrap(connection)
            with connection:
                head = b""
                while b"\r\n\r\n" not in head:
                    if not (data := connection.recv(65536)):
                        return
                    head += data
                first, *lines = head.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
                target = first.split(" ")[1]
                headers = dict(line.split(": ", 1) for line in lines)
                self.requests.append((target, {k.lower(): v for k, v in headers.items()}))
                if self._answer is None:
                    return
                answer = self._answer(target)
                for piece in [answer] if isinstance(answer, bytes) else answer:
                    connection.sendall(piece)
        except OSError:  # whoever asked has gone
            return


@dataclass
class Internet:
    """Sites by name, and what leads a fetcher to them."""

    _sites: dict[str, Site] = field(default_factory=dict)
    _names: dict[str, list[str]] = field(default_factory=dict)
    #: Every name that was looked up, and every address that was connected to.
    looked_up: list[str] = field(default_factory=list)
    connected: list[tuple[str, int]] = field(default_factory=list)
    #: Servers that a user configured: the only ones of this machine that may be connected to.
    configured: list[Site] = field(default_factory=list)

    def add(
        self,
        name: str,
        answer: Answer | dict[str, bytes],
        **options: Callable[[socket.socket], socket.socket],
    ) -> Site:
        """A site of that name, at a public address of its own; a dict is of its pages."""
        if isinstance(answer, dict):
            pages = answer
            answer = lambda target: pages.get(target, reply("not here", status=404))  # noqa: E731
        site = Site(answer, **options)
        address = f"93.184.216.{len(self._sites) + 1}"
        self._sites[address] = site
        self._names[name] = [address]
        return site

    def name(self, name: str, *addresses: str) -> None:
        """What a name leads to, whatever that is."""
        self._names[name] = list(addresses)

    def resolve(self, name: str) -> list[str]:
        self.looked_up.append(name)
        if name not in self._names:
            raise socket.gaierror(-2, "Name or service not known")
        return self._names[name]

    def connect(self, address: Address, port: int, seconds: float) -> socket.socket:
        if address.is_loopback:
            assert port in [site.port for site in self.configured], f"{address}:{port}"
            return socket.create_connection((str(address), port), timeout=seconds)
        self.connected.append((str(address), port))
        site = self._sites.get(str(address))
        if site is None:
            raise ConnectionRefusedError(111, "Connection refused")
        return socket.create_connection(("127.0.0.1", site.port), timeout=seconds)

    def fetcher(self) -> Fetcher:
        return Fetcher(offline=False, resolve=self.resolve, connect=self.connect)

    def close(self) -> None:
        for site in self._sites.values():
            site.close()
