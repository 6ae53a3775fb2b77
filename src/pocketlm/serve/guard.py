"""Who may speak to the server: checked before anything else, on every route.

A server on a loopback address is reached by every web page that a browser on the machine shows, if
it lets itself: by a form or an image of another site, or by a site whose name was made to point to
127.0.0.1. So each request must call the server by its own name, come from no other site, carry a
type that no form can send, and know the key, where there is one.

It knows headers. It does not know what a request asks for.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pocketlm.network import is_loopback
from pocketlm.serve.errors import ApiError
from pocketlm.serve.settings import Settings

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_READING = frozenset({"GET", "HEAD"})
#: The pages, to which a link may be followed from anywhere.
_PAGES = ("/", "/pocket", "/pocket/")
#: Paths that need no key: what says that the server lives, and pages that ask for the key.
_OPEN = (*_PAGES, "/health")
_OPEN_BELOW = ("/page/", "/pocket/")
#: What needs it all the same: models.json, and the models.
_KEPT_BELOW = "/pocket/models"

_CSP = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script';"
    " trusted-types rendered"
)
_HEADERS = {
    "Content-Security-Policy": _CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard:
    """The outermost layer of the server.

    What it refuses is an ApiError in `scope["state"]`, which the next layer answers in the path's
    dialect.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        """Guard `app`."""
        self._app = app
        self._key = None if settings.api_key is None else settings.api_key.encode()
        self._origins = settings.origins
        self._any_address = not is_loopback(settings.host)
        names = set(_LOOPBACK) | {name.lower() for name in settings.hosts}
        if self._any_address:
            own = socket.gethostname().lower()
            names |= {own, f"{own}.local"}
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets here
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        try:
            self._check(scope["method"], scope["path"], headers)
        except ApiError as error:
            scope["state"] = {**scope.get("state", {}), "refusal": error}
        else:
            if scope["method"] == "OPTIONS":
                await self._answer_preflight(headers, send)
                return
        origin = headers.get("origin")

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                dress = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    dress.setdefault(name, value)
                if origin in self._origins:
                    dress["Access-Control-Allow-Origin"] = origin
                    dress.add_vary_header("Origin")
            await send(message)

        await self._app(scope, receive, dressed)

    @staticmethod
    async def _answer_preflight(headers: Headers, send: Send) -> None:
        """A browser asks whether a listed site's page may send what it wants to."""
        answer = MutableHeaders(
            {
                "Access-Control-Allow-Origin": headers["origin"],
                "Access-Control-Allow-Methods": "GET, POST",
                "Access-Control-Allow-Headers": headers.get(
                    "access-control-request-headers", "authorization, content-type"
                ),
                "Access-Control-Max-Age": "600",
                "Vary": "Origin",
            }
        )
        await send({"type": "http.response.start", "status": 204, "headers": answer.raw})
        await send({"type": "http.response.body", "body": b""})

    def _check(self, method: str, path: str, headers: Headers) -> None:
        """Raise ApiError for a request that must not go on."""
        host = self._checked_host(headers.getlist("host"))
        listed = self._check_origin(method, path, host, headers)
        if method == "OPTIONS":
            if listed:
                return
            raise ApiError(403, "no other site may use this server; see --allow-origin")
        if self._key is not None and not _is_open(path):
            self._check_key(headers)
        if method not in _READING:
            kind = headers.get("content-type", "").split(";")[0].strip().lower()
            if kind != "application/json":
                raise ApiError(
                    415, "send the header Content-Type: application/json", code="unsupported_type"
                )

    def _checked_host(self, hosts: Sequence[str]) -> str:
        """The Host header, if it is a name of this server's."""
        if len(hosts) == 1:
            try:
                parts = urlsplit(f"//{hosts[0]}")
                name, _ = (parts.hostname or "").rstrip("."), parts.port
                plain = parts.netloc == hosts[0] and "@" not in hosts[0]
            except ValueError:
                name, plain = "", False
            if plain and (name in self._names or (self._any_address and _is_address(name))):
                return hosts[0].lower()
        raise ApiError(403, "the request calls the server by a name that is not its own (Host)")

    def _check_origin(self, method: str, path: str, host: str, headers: Headers) -> bool:
        """Raise ApiError for a request of another site; whether it is one that is listed."""
        origins = headers.getlist("origin")
        if origins:
            if len(origins) == 1 and origins[0] in self._origins:
                return True
            if len(origins) > 1 or origins[0].lower() not in (f"http://{host}", f"https://{host}"):
                raise ApiError(403, "the request comes from another site (Origin)")
        elif headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            # A link to a page may be followed from anywhere; nothing may be fetched or framed.
            page = method in _READING and path in _PAGES
            if not page or headers.get("sec-fetch-dest") != "document":
                raise ApiError(403, "the request comes from another site (Sec-Fetch-Site)")
        return False

    def _check_key(self, headers: Headers) -> None:
        """Every key that is given must be right, and one must be given."""
        given = [key.encode() for key in headers.getlist("x-api-key")]
        for value in headers.getlist("authorization"):
            scheme, _, key = value.partition(" ")
            given.append(key.strip().encode() if scheme.lower() == "bearer" else b"")
        assert self._key is not None
        right = [hmac.compare_digest(key, self._key) for key in given]
        if not right or not all(right):
            raise ApiError(401, "the API key is missing or wrong", code="invalid_api_key")


def _is_open(path: str) -> bool:
    """Whether a path needs no key."""
    if path.startswith(_KEPT_BELOW):
        return False
    return path in _OPEN or path.startswith(_OPEN_BELOW)


def _is_address(name: str) -> bool:
    """Whether a name is an address: no other site can have it. 0.0.0.0 means any, and is none."""
    try:
        return not ipaddress.ip_address(name).is_unspecified
    except ValueError:
        return False
