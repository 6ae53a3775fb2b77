"""The page's own files: read once, compressed once, asked for again only when they changed."""

from __future__ import annotations

import functools
import gzip
import hashlib
import re
from dataclasses import dataclass
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pocketlm.serve.errors import ApiError

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "webmanifest": "application/manifest+json",
}


@dataclass(frozen=True)
class Asset:
    """One file, as it is and compressed."""

    kind: str
    data: bytes
    compressed: bytes
    tag: str


@functools.cache
def assets() -> dict[str, Asset]:
    """Every file of the page by its name."""
    found = {}
    for file in (resources.files("pocketlm.serve") / "page").iterdir():
        kind = _TYPES.get(file.name.rpartition(".")[2])
        if kind is not None:
            data = file.read_bytes()
            tag = f'W/"{hashlib.sha256(data).hexdigest()[:20]}"'
            found[file.name] = Asset(kind, data, gzip.compress(data, mtime=0), tag)
    return found


async def page(request: Request) -> Response:
    """The page. Needs no key: it asks for it."""
    return _answer(request, "index.html")


async def asset(request: Request) -> Response:
    """A part of the page. Needs no key."""
    return _answer(request, request.path_params["name"])


def _answer(request: Request, name: str) -> Response:
    found = assets().get(name)
    if found is None:
        raise ApiError(404, "the page has no such file", code="not_found")
    headers = {"ETag": found.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if found.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    data = found.data
    accepted = re.findall(r"[^\s,;]+", request.headers.get("accept-encoding", "").lower())
    if "gzip" in accepted and len(found.compressed) < len(data):
        data = found.compressed
        headers["Content-Encoding"] = "gzip"
    return Response(data, media_type=found.kind, headers=headers)


routes = [Route("/", page), Route("/page/{name}", asset)]
