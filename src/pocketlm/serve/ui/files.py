"""The page's own files."""

from __future__ import annotations

import functools
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pocketlm.serve.assets import Asset, answer, read_assets


@functools.cache
def assets() -> dict[str, Asset]:
    """Every file of the page by its name."""
    return read_assets(resources.files("pocketlm.serve") / "page")


async def page(request: Request) -> Response:
    """The page. Needs no key: it asks for it."""
    return answer(request, assets(), "index.html")


async def asset(request: Request) -> Response:
    """A part of the page. Needs no key."""
    return answer(request, assets(), request.path_params["name"])


routes = [Route("/", page), Route("/page/{name}", asset)]
