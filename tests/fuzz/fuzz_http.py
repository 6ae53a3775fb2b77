"""Fuzz the server below HTTP: broken heads, lengths, chunks and bytes on a real connection.

An input is what a client sends before it stops sending. Whatever it is, the connection ends, no
answer has the status 500, and the server goes on to answer others. No model is loaded.
"""

import logging
import socket
import threading
import time

import driver
import uvicorn

from pocketlm.serve.app import make_app
from pocketlm.serve.run import Impatient
from pocketlm.serve.settings import Settings

BODY = b'{"model": "none", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}'
HEAD = b"Host: 127.0.0.1\r\nContent-Type: application/json\r\n"
POST = b"POST /v1/chat/completions HTTP/1.1\r\n" + HEAD
SEEDS = tuple(
    driver.Seed(data)
    for data in (
        b"GET /health HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET /v1/models HTTP/1.1\r\n" + HEAD + b"Connection: close\r\n\r\n",
        b"%sContent-Length: %d\r\n\r\n%s" % (POST, len(BODY), BODY),
        b"%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (POST, len(BODY), BODY),
        b"%sExpect: 100-continue\r\nContent-Length: %d\r\n\r\n%s" % (POST, len(BODY), BODY),
        b"OPTIONS /api/chat HTTP/1.1\r\n" + HEAD + b"Origin: http://a\r\n\r\n",
        b"GET /docs HTTP/1.0\r\n\r\nGET /health HTTP/1.1\r\n" + HEAD + b"\r\n",
    )
)
#: How long an answer to a whole request may take, in seconds.
PATIENCE = 5.0


class Address:
    """Where the server listens."""

    port = 0


def exchange(data: bytes) -> bytes:
    """Send bytes, say that there are no more, and read to the end."""
    received = b""
    with socket.create_connection(("127.0.0.1", Address.port), timeout=PATIENCE) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                received += chunk
        except ConnectionError:
            pass
    return received


def target(data: bytes) -> None:
    """Send broken bytes, and see that the server lives on."""
    for line in exchange(data).split(b"\r\n"):
        assert not line.startswith(b"HTTP/1.1 500"), line
    assert b'"ok"' in exchange(SEEDS[0].data)


def main() -> None:
    """Run the server in a thread, and fuzz it."""
    logging.disable()  # of what it thinks of broken requests
    config = uvicorn.Config(make_app(Settings()), http=Impatient, port=0, log_config=None)
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    Address.port = server.servers[0].sockets[0].getsockname()[1]
    driver.main("HTTP", target, SEEDS)


if __name__ == "__main__":
    main()
