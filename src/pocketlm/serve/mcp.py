"""Our MCP server over HTTP: the same guard as before all else that we serve, and one path, /mcp.

Knows who may connect; what is offered is the assistant's matter (`assistant/mcp/serve.py`).
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

import uvicorn
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from pocketlm.serve.errors import ApiError
from pocketlm.serve.guard import Guard
from pocketlm.serve.run import GRACE_SECONDS, Impatient, listen
from pocketlm.serve.settings import Settings

if TYPE_CHECKING:
    import socket

    from mcp.server.mcpserver import MCPServer

PATH = "/mcp"
#: JSON-RPC's "invalid request".
_INVALID = -32600


def run(server: MCPServer[None], settings: Settings, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C. `ready` is told the URL once connections are taken.

    Raises Error when the address cannot be had.
    """
    listening = listen(settings)
    host, port = listening.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}{PATH}"

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready(url)

    config = uvicorn.Config(
        make_app(server, settings),
        http=Impatient,
        lifespan="on",
        access_log=False,
        log_level="error",
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    # The server ends well on SIGTERM, and uvicorn raises it once more when it has.
    signal.signal(signal.SIGTERM, lambda *_: None)
    Server(config).run(sockets=[listening])


def make_app(server: MCPServer[None], settings: Settings) -> ASGIApp:
    """The server as an ASGI application. Each request is whole by itself: no session is kept."""
    from mcp.server.transport_security import TransportSecuritySettings

    app = server.streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,
        max_request_body_size=settings.body,
        # The guard has looked at names and origins, on every path.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    return Guard(_Door(app), settings)


class _Door:
    """Answers what the guard refuses, and streams that nothing would ever come from."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal: ApiError | None = scope.get("state", {}).get("refusal")
        if refusal is None and scope["type"] == "http" and scope["method"] != "POST":
            refusal = ApiError(405, "ask by POST: no session is kept, and no stream is open")
        if refusal is None:
            await self._app(scope, receive, send)
            return
        error = {"code": _INVALID, "message": refusal.message}
        body = {"jsonrpc": "2.0", "id": None, "error": error}
        await JSONResponse(body, refusal.status)(scope, receive, send)
