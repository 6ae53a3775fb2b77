"""Judges for tests: small servers on this machine that answer as they are told."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: What a judge does with a request: it gets the handler, and the body.
Manner = Callable[[BaseHTTPRequestHandler, Any], None]


@dataclass
class Scripted:
    """A judge, what it was asked, and how it answers from now on."""

    url: str
    manner: Manner
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    """Answer with these bytes."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def says(text: str | Callable[[Any], str]) -> Manner:
    """Always this text, or what it makes of the body."""

    def manner(handler: BaseHTTPRequestHandler, body: Any) -> None:
        said = text if isinstance(text, str) else text(body)
        found = {"choices": [{"message": {"role": "assistant", "content": said}}]}
        send(handler, 200, json.dumps(found).encode())

    return manner


def fails(status: int, message: str = "no", **headers: str) -> Manner:
    """Refuse."""
    body = json.dumps({"error": {"message": message}}).encode()
    return lambda handler, _: send(handler, status, body, **headers)


def in_turn(*manners: Manner) -> Manner:
    """One after the other, the last one for ever."""
    left = list(manners)
    lock = threading.Lock()

    def manner(handler: BaseHTTPRequestHandler, body: Any) -> None:
        with lock:
            now = left.pop(0) if len(left) > 1 else left[0]
        now(handler, body)

    return manner


@contextmanager
def judge(manner: Manner, models: tuple[str, ...] = ("wise",)) -> Iterator[Scripted]:
    """Run a judge as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"data": [{"id": name} for name in models]}).encode()
            send(self, 200 if self.path == "/v1/models" else 404, body)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with found.lock:
                found.asked.append({"path": self.path, **body})
                found.keys.append(self.headers["Authorization"])
            # Whoever asked may have gone.
            with suppress(BrokenPipeError, ConnectionResetError):
                found.manner(self, body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found = Scripted(f"http://127.0.0.1:{server.server_address[1]}/v1", manner)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
