"""/pocket: the page, its models and their bytes.

Everything but the models is as public as the server's own page. All of it is isolated from other
sites, for browsers share memory between threads of such pages alone.
"""

from __future__ import annotations

import asyncio
import functools
import html
import logging
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from pocketlm.errors import Error
from pocketlm.serve.assets import Asset, answer, read_assets
from pocketlm.serve.errors import ApiError
from pocketlm.serve.http import Json
from pocketlm.serve.pocket import built, offer
from pocketlm.serve.pool import Pool
from pocketlm.store.pieces import pieces_of

_log = logging.getLogger("pocketlm.serve")

_HEADERS = {
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self';"
        " style-src 'self'; img-src 'self' data:; connect-src 'self'; manifest-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}
_MISSING_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>pocketlm</title>'
    '<meta name="viewport" content="width=device-width"><h1>Not built</h1>'
    f"<p>Here {html.escape(built.MISSING)}.</p>"
)


@functools.cache
def assets() -> dict[str, Asset]:
    """Every file of the page by its name."""
    return read_assets(built.FOLDER)


async def begin(request: Request) -> Response:
    """To the page, from the address that people type."""
    return RedirectResponse("/pocket/", 307)


async def page(request: Request) -> Response:
    """The page that runs a model in the browser. Needs no key: it asks for it."""
    if not built.is_built():
        return HTMLResponse(_MISSING_PAGE, 404)
    return answer(request, await asyncio.to_thread(assets), "index.html", _HEADERS)


async def asset(request: Request) -> Response:
    """A part of that page. Needs no key."""
    if not built.is_built():
        raise ApiError(404, built.MISSING, code="not_found")
    return answer(request, await asyncio.to_thread(assets), request.path_params["name"], _HEADERS)


async def models(request: Request) -> Response:
    """The models that a browser can fetch and run: those of this server and pocketlm's own."""
    pool: Pool = request.app.state.pool
    entries = await asyncio.to_thread(_entries, pool.home, await pool.own())
    return Json(entries, headers={"Cache-Control": "no-cache", **_HEADERS})


async def model(request: Request) -> Response:
    """The bytes of a model, or a range of them."""
    wanted = request.path_params["name"]
    pool: Pool = request.app.state.pool
    found = (await asyncio.to_thread(_files, await pool.own())).get(wanted.removesuffix(".gguf"))
    if found is None or not wanted.endswith(".gguf"):
        raise ApiError(404, "there is no such model; models.json lists them", code="not_found")
    if "," in request.headers.get("range", ""):
        raise ApiError(416, "one range of a model at a time", code="invalid_value")
    # What is fetched goes into the page's own storage: the browser's cache need not have it, too.
    headers = {"Cache-Control": "no-store", **_HEADERS}
    return FileResponse(found[1], media_type="application/octet-stream", headers=headers)


def _files(known: dict[str, Path]) -> dict[str, tuple[str, Path]]:
    """Models that a browser can run, by their names there: names here, and files."""
    found: dict[str, tuple[str, Path]] = {}
    for name, path in known.items():
        try:
            state = path.stat()
        except OSError:  # it was removed meanwhile
            continue
        file = _checked(path, state.st_size, state.st_mtime_ns)
        if file is not None and all(file != other for _, other in found.values()):
            found[offer.slug(name, found)] = (name, file)
    return found


@functools.lru_cache(maxsize=1000)
def _checked(path: Path, size: int, time: int) -> Path | None:
    """The file that a browser takes of a model; None where it cannot. Asked once for each state."""
    try:
        return offer.checked(path)
    except Error as error:
        _log.info("not for browsers: %s", error)
        return None


def _entries(home: Path, known: dict[str, Path]) -> list[dict[str, object]]:
    entries = []
    for slug, (name, file) in _files(known).items():
        try:
            pieces = pieces_of(file, home)
        except Error as error:
            _log.warning("not offered to browsers: %s", error)
            continue
        entries.append(offer.about(slug, offer.title_of(name), pieces))
    return entries


routes = [
    Route("/pocket", begin),
    Route("/pocket/", page),
    Route("/pocket/models.json", models),
    Route("/pocket/models/{name}", model),
    Route("/pocket/{name}", asset),
]
