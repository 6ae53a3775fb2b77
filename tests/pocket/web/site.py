"""A web server with the browser's scripts and models, that can behave badly."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TYPES = {
    ".js": "text/javascript",
    ".wasm": "application/wasm",
    ".json": "application/json",
    ".html": "text/html",
}
#: With these a page may share memory between threads.
ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}


@dataclass
class Site:
    """What is served, and how: tests change it while it runs."""

    port: int
    models: dict[str, bytes] = field(default_factory=dict)
    entries: list[dict[str, Any]] = field(default_factory=list)
    #: (model, Range) of each request for a model.
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    isolated: bool = True
    #: A model's answer breaks off after so many bytes.
    cut: int | None = None
    #: Seconds between two parts of 64 KiB.
    pause: float = 0.0
    #: This byte of models is wrong.
    spoil: int | None = None
    #: Models are answered by this status alone.
    status: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(
        self, name: str, content: bytes, piece_bytes: int = 1 << 18, *, listed: bool = True
    ) -> dict[str, Any]:
        """Offer a model; its entry. The same name again replaces it."""
        pieces = [content[at : at + piece_bytes] for at in range(0, len(content), piece_bytes)]
        entry = {
            "name": name,
            "title": name.title(),
            "file": f"models/{name}.gguf",
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "piece_bytes": piece_bytes,
            "pieces": [hashlib.sha256(piece).hexdigest() for piece in pieces],
        }
        self.models[name] = content
        self.entries = [each for each in self.entries if each["name"] != name]
        if listed:
            self.entries.append(entry)
        return entry


@contextmanager
def serving(folder: Path) -> Iterator[Site]:
    """Serve a folder of scripts as `/web/`, as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/":
                self._send(b"<!doctype html><title>a page</title>", ".html")
            elif path == "/web/models.json":
                self._send(json.dumps(site.entries).encode(), ".json")
            elif path.startswith("/web/models/"):
                self._model(Path(path).stem)
            else:
                file = folder / path.removeprefix("/web/")
                if path.startswith("/web/") and ".." not in path and file.is_file():
                    self._send(file.read_bytes(), file.suffix)
                else:
                    self.send_error(404)

        def _head(self, status: int, length: int, **headers: str) -> None:
            self.send_response(status)
            isolated = ISOLATED if site.isolated else {}
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            for name, value in {**isolated, **headers, "Content-Length": str(length)}.items():
                self.send_header(name, value)
            self.end_headers()

        def _send(self, content: bytes, suffix: str) -> None:
            kind = TYPES.get(suffix, "application/octet-stream")
            self._head(200, len(content), Content_Type=kind, Cache_Control="no-cache")
            self.wfile.write(content)

        def _model(self, name: str) -> None:
            wanted = self.headers.get("Range")
            site.asked.append((name, wanted))
            content = site.models.get(name)
            if content is None or site.status is not None:
                self.send_error(site.status or 404)
                return
            begin = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
            rest = bytearray(content[begin:])
            if site.spoil is not None and site.spoil >= begin:
                rest[site.spoil - begin] ^= 1
            at = f"bytes {begin}-{len(content) - 1}/{len(content)}"
            self._head(206 if wanted else 200, len(rest), Content_Range=at)
            part = 1 << 16
            try:
                for sent in range(0, len(rest), part):
                    if site.cut is not None and sent >= site.cut:
                        # What a browser has not handed to the page yet goes with the connection.
                        time.sleep(0.5)
                        self.close_connection = True
                        return
                    self.wfile.write(rest[sent : sent + part])
                    time.sleep(site.pause)
            except OSError:
                self.close_connection = True  # the page is gone

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site = Site(server.server_port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
