"""`pocketlm ps` and `pocketlm stop`: servers that run, and the models that they hold."""

import json as json_format
import os
import signal
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pocketlm.cli.options import Json
from pocketlm.errors import Error

if TYPE_CHECKING:
    from pocketlm.serve.registry import Server

ApiKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY", envvar="POCKETLM_API_KEY", show_envvar=False, help="The servers' key."
    ),
]
#: Longest wait for a server's word, in seconds.
_PATIENCE = 5.0


def ps(json: Json = False, api_key: ApiKey = None) -> None:
    """List the servers that run, and the models that they hold in memory.

    \b
    Examples:
      pocketlm ps
      pocketlm ps --json
    """
    from pocketlm.cli.output import size, table

    held = [(server, _asked(server, "/api/ps", api_key)["models"]) for server in _servers()]
    if json:
        found = [{"url": s.url, "pid": s.pid, "models": models} for s, models in held]
        print(json_format.dumps(found, indent=1))
        return
    if not held:
        print("no server runs; start one with `pocketlm serve`")
        return
    rows = [("server", "model", "memory", "answers", "unloaded")]
    for server, models in held:
        for about in models:
            until = datetime.fromisoformat(about["expires_at"])
            when = "never" if until.year > 9000 else until.astimezone().strftime("%H:%M:%S")
            busy = f"{about['running']}, {about['waiting']} wait"
            rows.append((server.url, about["name"], size(about["size"]), busy, when))
        if not models:
            rows.append((server.url, "none", "", "", ""))
    print(table(rows))


def stop(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="What to unload; without it: all.")
    ] = None,
    api_key: ApiKey = None,
) -> None:
    """Unload a model from the servers that run, or end the servers themselves.

    \b
    Examples:
      pocketlm stop smollm2
      pocketlm stop
    """
    found = _servers()
    if not found:
        raise Error("no server runs")
    if model is None:
        for server in found:
            os.kill(server.pid, signal.SIGTERM)
            print(f"told {server.url} to end")
        return
    holders = []
    for server in found:
        models = _asked(server, "/api/ps", api_key)["models"]
        if any(about["name"] == model for about in models):
            body = {"model": model, "keep_alive": 0}
            said = _asked(server, "/api/generate", api_key, body)
            holders.append((server, said["done_reason"]))
    if not holders:
        raise Error(f"no server holds {model}; see `pocketlm ps`")
    for server, reason in holders:
        done = "unloaded from" if reason == "unload" else "still in use at"
        print(f"{model} is {done} {server.url}")


def _servers() -> "list[Server]":
    from pocketlm.serve.registry import servers
    from pocketlm.store.store import default_home

    return servers(default_home())


def _asked(server: "Server", path: str, key: str | None, body: object = None) -> dict[str, Any]:
    """What a server answers. Raises Error."""
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import ProxyHandler, Request, build_opener

    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    data = None if body is None else json_format.dumps(body).encode()
    request = Request(server.url + path, data, headers)
    try:
        # A server on this machine is not asked through a proxy.
        with build_opener(ProxyHandler({})).open(request, timeout=_PATIENCE) as response:
            answer: dict[str, Any] = json_format.load(response)
    except HTTPError as error:
        hint = "; give its key in POCKETLM_API_KEY" if error.code == 401 else ""
        raise Error(f"{server.url} refuses: {error.reason}{hint}") from None
    except (URLError, HTTPException, OSError, ValueError) as error:
        raise Error(f"{server.url} does not answer: {error}") from None
    return answer
