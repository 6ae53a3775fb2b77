"""A file server on the loopback interface that can misbehave, and the hub's listing of it."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass
class Server:
    """What is served, how, and what was asked."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    #: Hub repositories: name -> {path: bytes}; served under /NAME/resolve/COMMIT/PATH.
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    ranges: bool = True
    etag: str | None = '"v1"'
    #: Close the connection after so many bytes of a body, that many times.
    cut_after: int | None = None
    cuts: int = 0
    #: Send so many bytes of a body, say so, and wait until told to go on.
    stall_after: int | None = None
    stalled: threading.Event = field(default_factory=threading.Event)
    resume: threading.Event = field(default_factory=threading.Event)
    statuses: list[int] = field(default_factory=list)
    redirects: dict[str, str] = field(default_factory=dict)
    #: Whether to refuse whoever sends no login.
    login: bool = False
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def body(self, path: str) -> bytes | None:
        path = path.lstrip("/")
        if "/resolve/" in path:
            repository, rest = path.split("/resolve/")
            return self.repositories.get(repository, {}).get(rest.split("/", 1)[1])
        return self.files.get(path)

    def listing(self, repository: str) -> dict[str, Any] | None:
        """A repository as the hub's API tells it: weights as LFS, small files as git blobs."""
        files = self.repositories.get(repository)
        if files is None:
            return None
        siblings = []
        for path, body in files.items():
            blob = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
            sibling: dict[str, Any] = {"rfilename": path, "size": len(body), "blobId": blob}
            if path.endswith((".gguf", ".safetensors")):
                sha256 = hashlib.sha256(body).hexdigest()
                sibling["lfs"] = {"sha256": sha256, "size": len(body), "pointerSize": 130}
            siblings.append(sibling)
        return {"id": repository, "modelId": repository, "sha": "c" * 40, "siblings": siblings}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_HTTPServer"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        served = self.server.served
        served.requests.append((self.path, dict(self.headers)))
        path = self.path.partition("?")[0]
        if served.statuses:
            return self._answer(served.statuses.pop(0), b"no")
        if served.login and "Authorization" not in self.headers:
            return self._answer(401, b"", **{"WWW-Authenticate": "Basic"})
        if path in served.redirects:
            return self._answer(302, b"", Location=served.redirects[path])
        if path.startswith("/api/models/"):
            name = path.removeprefix("/api/models/").partition("/revision/")[0]
            listing = served.listing(name)
            if listing is None:
                return self._answer(404, b"{}", **{"X-Error-Code": "RepoNotFound"})
            return self._answer(200, json.dumps(listing).encode())
        body = served.body(path)
        if body is None:
            return self._answer(404, b"no such file")
        headers = {} if served.etag is None else {"ETag": served.etag}
        if path.endswith("/"):
            headers["Content-Type"] = "text/html"
        wanted = self.headers.get("Range")
        same = self.headers.get("If-Range") in (None, served.etag)
        if wanted is None or not served.ranges or not same:
            return self._answer(200, body, **headers)
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= len(body):
            return self._answer(416, b"", **{"Content-Range": f"bytes */{len(body)}"})
        headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        return self._answer(206, body[start:], **headers)

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        served = self.server.served
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if served.cuts and served.cut_after is not None and status in (200, 206):
            served.cuts -= 1
            body = body[: served.cut_after]
            self.close_connection = True
        if served.stall_after is not None and len(body) > served.stall_after:
            self.wfile.write(body[: served.stall_after])
            self.wfile.flush()
            served.stalled.set()
            served.resume.wait(60)
            body = body[served.stall_after :]
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)


class _HTTPServer(ThreadingHTTPServer):
    served: Server


@pytest.fixture
def server() -> Iterator[Server]:
    """A file server on 127.0.0.1."""
    http = _HTTPServer(("127.0.0.1", 0), _Handler)
    http.served = Server(url=f"http://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield http.served
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch) -> None:
    """No test sees or touches the models of whoever runs it."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("POCKETLM_HOME", str(tmp_path / "pocketlm"))
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    monkeypatch.delenv("POCKETLM_OFFLINE", raising=False)
    monkeypatch.setattr("pocketlm.store.hub.cache_folder", lambda: tmp_path / "hub")
