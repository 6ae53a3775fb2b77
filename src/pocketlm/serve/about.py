"""What the server says of itself: health, metrics, a description of the API."""

from __future__ import annotations

import html
import inspect
from collections.abc import Iterator
from typing import Any

from pydantic.json_schema import models_json_schema
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

import pocketlm
from pocketlm.serve.http import Json, body_of


async def health(request: Request) -> Response:
    """That the server lives. Needs no key."""
    return Json({"status": "ok"})


async def metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    state = request.app.state
    text = state.metrics.text(state.pool)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


async def openapi(request: Request) -> Response:
    """This API's description, in OpenAPI's form."""
    return Json(_description(request.app))


async def docs(request: Request) -> Response:
    """The same for people."""
    return HTMLResponse("".join(_page(_description(request.app))))


def _description(app: Starlette) -> dict[str, Any]:
    routes = [route for route in app.routes if isinstance(route, Route)]
    kinds = [kind for route in routes if (kind := body_of(route.endpoint)) is not None]
    references, definitions = models_json_schema(
        [(kind, "validation") for kind in dict.fromkeys(kinds)],
        ref_template="#/components/schemas/{model}",
    )
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        about = (inspect.getdoc(route.endpoint) or "").strip()
        kind = body_of(route.endpoint)
        name = f"{route.endpoint.__module__.removeprefix('pocketlm.serve.')}.{route.name}"
        operation: dict[str, Any] = {
            "operationId": name,
            "summary": about.split("\n")[0],
            "description": about,
            "responses": {
                "200": {"description": "as asked"},
                "4XX": {"description": "an error"},
                "503": {"description": "too much is under way, or the server ends"},
                "504": {"description": "there was no answer in the server's --timeout"},
            },
        }
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in route.param_convertors
        ]
        if parameters:
            operation["parameters"] = parameters
        if kind is not None:
            content = {"application/json": {"schema": references[(kind, "validation")]}}
            operation["requestBody"] = {"required": True, "content": content}
        path = route.path_format
        for method in sorted((route.methods or set()) - {"HEAD"}):
            paths.setdefault(path, {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "pocketlm", "version": pocketlm.__version__},
        "paths": paths,
        "components": {"schemas": definitions.get("$defs", {})},
    }


def _page(description: dict[str, Any]) -> Iterator[str]:
    yield '<!doctype html><html lang="en"><meta charset="utf-8"><title>pocketlm: API</title>'
    yield '<meta name="viewport" content="width=device-width"><h1>pocketlm: API</h1>'
    yield '<p>Also as <a href="/openapi.json">OpenAPI</a>.</p>'
    schemas = description["components"]["schemas"]
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            yield f"<h2><code>{method.upper()} {html.escape(path)}</code></h2>"
            yield f"<p>{html.escape(operation['description'])}</p>"
            if "requestBody" in operation:
                reference = operation["requestBody"]["content"]["application/json"]["schema"]
                yield from _fields(schemas[reference["$ref"].rpartition("/")[2]])


def _fields(schema: dict[str, Any]) -> Iterator[str]:
    yield "<ul>"
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        kinds = [each for each in field.get("anyOf", [field]) if each.get("type") != "null"]
        words = " or ".join(
            each.get("type") or each.get("$ref", "anything").rpartition("/")[2] for each in kinds
        )
        need = ", required" if name in required else ""
        yield f"<li><code>{html.escape(name)}</code>: {html.escape(words)}{need}</li>"
    yield "</ul>"


routes = [
    Route("/health", health),
    Route("/metrics", metrics),
    Route("/openapi.json", openapi),
    Route("/docs", docs),
]
