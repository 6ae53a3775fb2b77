"""Files of a page: read once, compressed once, asked for again only when they changed."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from pocketlm.serve.errors import ApiError

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "txt": "text/plain; charset=utf-8",
    "wasm": "application/wasm",
    "webmanifest": "application/manifest+json",
}


@dataclass(frozen=True)
class Asset:
    """One file, as it is and compressed."""

    kind: str
    data: bytes
    compressed: bytes
    tag: str


def read_assets(folder: Path | Traversable) -> dict[str, Asset]:
    """Every file in a folder that a page may have, by its name."""
    found = {}
    for file in folder.iterdir():
        kind = _TYPES.get(file.name.rpartition(".")[2])
        if kind is not None and file.is_file():
            data = file.read_bytes()
            tag = f'W/"{hashlib.sha256(data).hexdigest()[:20]}"'
            found[file.name] = Asset(kind, data, gzip.compress(data, mtime=0), tag)
    return found


def answer(
    request: Request, assets: Mapping[str, Asset], name: str, more: Mapping[str, str] | None = None
) -> Response:
    """One of them, with `more` headers. Raises ApiError 404."""
    found = assets.get(name)
    if found is None:
        raise ApiError(404, "the page has no such file", code="not_found")
    headers = {"ETag": found.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    headers |= more or {}
    if found.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    data = found.data
    accepted = re.findall(r"[^\s,;]+", request.headers.get("accept-encoding", "").lower())
    if "gzip" in accepted and len(found.compressed) < len(data):
        data = found.compressed
        headers["Content-Encoding"] = "gzip"
    return Response(data, media_type=found.kind, headers=headers)
