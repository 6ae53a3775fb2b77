"""One request and its response over a connection that is open already, within limits.

Knows HTTP/1.1 (h11 keeps its rules) and compression. Does not know where the connection leads, and
follows nothing.
"""

from __future__ import annotations

import socket
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus

import h11

import pocketlm
from pocketlm.assistant.web.patience import left
from pocketlm.assistant.web.url import Url
from pocketlm.errors import WebError

#: Most bytes of a body, as it comes and as it is when unpacked.
MAX_BODY = 4 << 20
#: Most bytes of a response's first line and headers.
MAX_HEAD = 64 << 10

_CHUNK = 64 << 10


@dataclass(frozen=True)
class Response:
    """What a server answered. `body` is unpacked, and empty unless the status is 200."""

    url: Url
    status: int
    #: The media type, in small letters; empty where none is given.
    kind: str
    charset: str | None
    location: str | None
    body: bytes

    def __str__(self) -> str:
        """The status in words."""
        try:
            return f"{self.status} {HTTPStatus(self.status).phrase}"
        except ValueError:
            return str(self.status)


def exchange(
    connection: socket.socket, url: Url, kinds: frozenset[str] | None, deadline: float
) -> Response:
    """Ask for `url`, and read the answer; the body only of a 200 of one of `kinds` (None: of any).

    Sends no cookie and no referrer. Raises WebError for an answer that is malformed, too long or of
    another kind; TimeoutError and OSError as the connection does.
    """
    wire = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    request = h11.Request(
        method="GET",
        target=url.target,
        headers=[
            ("Host", url.authority),
            ("User-Agent", f"pocketlm/{pocketlm.__version__}"),
            ("Accept", "*/*" if kinds is None else ", ".join(sorted(kinds))),
            ("Accept-Encoding", "gzip, deflate"),
            ("Connection", "close"),
        ],
    )
    connection.settimeout(left(deadline))
    connection.sendall((wire.send(request) or b"") + (wire.send(h11.EndOfMessage()) or b""))
    events = _events(wire, connection, url, deadline)
    head = next(events)
    while isinstance(head, h11.InformationalResponse):
        head = next(events)
    assert isinstance(head, h11.Response)
    response = _described(head, url)
    if response.status != HTTPStatus.OK:
        return response
    if kinds is not None and response.kind not in kinds:
        kind = repr(response.kind[:80]) if response.kind else "of no stated type"
        raise WebError(f"{url} is not read: it is {kind}")
    pieces = (bytes(event.data) for event in events if isinstance(event, h11.Data))
    body = _unpacked(pieces, _header(head, b"content-encoding") or "identity", url)
    return Response(url, response.status, response.kind, response.charset, None, body)


def _events(
    wire: h11.Connection, connection: socket.socket, url: Url, deadline: float
) -> Iterator[h11.Event]:
    """What comes, until the message ends."""
    received = 0
    has_head = False
    try:
        while True:
            event = wire.next_event()
            if event is h11.NEED_DATA:
                if not has_head and received > MAX_HEAD:
                    raise WebError(f"{url} answers with a head that has no end")
                if received > MAX_HEAD + MAX_BODY:
                    raise _too_long(url)
                connection.settimeout(left(deadline))
                data = connection.recv(_CHUNK)
                received += len(data)
                wire.receive_data(data)
            elif isinstance(event, h11.EndOfMessage):
                return
            elif isinstance(event, h11.Event):
                has_head = has_head or isinstance(event, h11.Response)
                yield event
            else:  # the connection is closed, or no longer speaks HTTP
                raise WebError(f"{url} ends before its answer does")
    except h11.ProtocolError as error:
        raise WebError(f"{url} answers what is no HTTP: {error}") from None


def _described(head: h11.Response, url: Url) -> Response:
    """The response without its body."""
    message = Message()
    message["Content-Type"] = stated = _header(head, b"content-type") or ""
    length = _header(head, b"content-length")
    if head.status_code == HTTPStatus.OK and length and int(length) > MAX_BODY:
        raise _too_long(url)
    kind = stated.partition(";")[0].strip().lower()
    charset = message.get_content_charset()
    return Response(url, head.status_code, kind, charset, _header(head, b"location"), b"")


def _too_long(url: Url) -> WebError:
    return WebError(f"{url} is longer than {MAX_BODY >> 20} MiB")


def _header(head: h11.Response, name: bytes) -> str | None:
    """The first header of that name; bytes beyond ASCII as UTF-8 where they are that."""
    found = next((value for key, value in head.headers if key == name), None)
    if found is None:
        return None
    try:
        return bytes(found).decode()
    except UnicodeDecodeError:
        return bytes(found).decode("latin-1")


def _unpacked(pieces: Iterator[bytes], encoding: str, url: Url) -> bytes:
    """The body; never more than MAX_BODY of it is in memory."""
    encoding = encoding.strip().lower()
    body = bytearray()
    if encoding == "identity":
        for piece in pieces:
            body += piece
            if len(body) > MAX_BODY:
                raise _too_long(url)
        return bytes(body)
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise WebError(f"{url} is packed by {encoding[:40]!r}, which was not asked for")
    inflater = None
    try:
        for piece in pieces:
            if inflater is None:
                inflater = _inflater(piece)
            body += inflater.decompress(piece, MAX_BODY + 1 - len(body))
            if len(body) > MAX_BODY:
                raise _too_long(url)
    except zlib.error as error:
        raise WebError(f"{url} is packed wrongly: {error}") from None
    if inflater is not None and (not inflater.eof or inflater.unused_data.strip(b"\0")):
        raise WebError(f"{url} is packed wrongly: it does not end where it should")
    return bytes(body)


def _inflater(start: bytes) -> zlib._Decompress:
    """For gzip and zlib, and for "deflate" as some servers mean it: without any header."""
    is_gzip = start[:1] == b"\x1f"
    is_zlib = start[:1] and start[0] & 0x0F == 8 and start[0] >> 4 <= 7
    return zlib.decompressobj(zlib.MAX_WBITS | 32 if is_gzip or is_zlib else -zlib.MAX_WBITS)
