"""Running the server in this process, until a signal ends it."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from pocketlm.errors import Error
from pocketlm.serve.app import make_app
from pocketlm.serve.assistant import Assistant
from pocketlm.serve.pool import Pool
from pocketlm.serve.registry import registered
from pocketlm.serve.settings import Settings

#: How long answers may go on after SIGTERM, in seconds; then they end with an error.
GRACE_SECONDS = 3


#: How long the head of a connection's first request may take to arrive, in seconds.
HEAD_SECONDS = 10


class Impatient(H11Protocol):
    """Closes a connection that says nothing: uvicorn alone would wait for ever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait. A TCP connection's transport is one for both ways, as uvicorn takes it."""
        super().connection_made(transport)
        self.loop.call_later(HEAD_SECONDS, self._lose_patience)

    def _lose_patience(self) -> None:
        if self.cycle is None:
            self.transport.close()


def run(settings: Settings, home: Path, ready: Callable[[str], None], assistant: Assistant) -> None:
    """Serve until SIGTERM or Ctrl-C. `ready` is told the address once connections are taken.

    As long as it lasts, the server is listed in `home`.

    Raises Error when the address cannot be had.
    """
    listening = listen(settings)
    host, port = listening.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready(url)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            pool: Pool = app.state.pool
            asyncio.get_running_loop().call_later(GRACE_SECONDS, assistant.threads.halt)
            halting = asyncio.ensure_future(pool.halt(GRACE_SECONDS))
            await super().shutdown(sockets)
            halting.cancel()

    app = make_app(settings, assistant=assistant)
    config = uvicorn.Config(
        app,
        http=Impatient,
        lifespan="on",
        access_log=False,
        log_level="error",
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_keep_alive=30,
        timeout_graceful_shutdown=2 * GRACE_SECONDS,
    )
    # The server ends well on SIGTERM, and uvicorn raises it once more when it has.
    signal.signal(signal.SIGTERM, lambda *_: None)
    reached = url.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")
    with registered(home, reached):
        Server(config).run(sockets=[listening])


def listen(settings: Settings) -> socket.socket:
    """A socket at the address of the settings. Raises Error when it cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or error
        raise Error(f"cannot listen on {settings.host} port {settings.port}: {reason}") from None
    return listening
