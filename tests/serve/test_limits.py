"""Bodies that are too large, too deep or broken: refused soon, and the server lives on."""

import json
import socket
import time
from urllib.parse import urlsplit

import psutil
import pytest
from servers import MODEL

QUESTION = [{"role": "user", "content": "x"}]
BASE = {"model": MODEL, "messages": QUESTION, "max_tokens": 1}
JSON = {"Content-Type": "application/json"}


def processor_seconds(server):
    """What the server has computed so far: a measure that other programs do not disturb."""
    times = psutil.Process(server.process.pid).cpu_times()
    return times.user + times.system


def nested_schema(depth):
    return '{"items":' * depth + "{}" + "}" * depth


def bomb(kind, depth):
    """A body that is nested so deep, in one of the places where something can be."""
    base = json.dumps(BASE)[:-1]
    match kind:
        case "json":
            return base + ',"metadata":' + "[" * depth + "]" * depth + "}"
        case "content":
            head = f'{{"model":"{MODEL}","max_tokens":1,"messages":'
            return head + "[" * depth + "]" * depth + "}"
        case "schema":
            format = '{"type":"json_schema","json_schema":{"name":"x","schema":'
            return base + ',"response_format":' + format + nested_schema(depth) + "}}}"
        case "tool":
            tool = '[{"type":"function","function":{"name":"f","parameters":{"properties":{"a":'
            return base + ',"tools":' + tool + nested_schema(depth) + "}}}}]}"
        case "regex":
            return base + ',"regex":"' + "(" * depth + "a" + ")" * depth + '"}'
        case "grammar":
            return base + ',"grammar":"start: ' + "(" * depth + "A" + ")" * depth + '"}'
    raise AssertionError(kind)


@pytest.mark.parametrize("depth", [10**2, 10**3, 10**4, 10**5, 10**6])
@pytest.mark.parametrize("kind", ["json", "content", "schema", "tool", "regex", "grammar"])
def test_bombs_are_refused_at_once(server, kind, depth):
    server.http.post("/v1/chat/completions", json={**BASE, "regex": "x"})  # all is loaded
    body = bomb(kind, depth)
    before = processor_seconds(server)
    response = server.http.post("/v1/chat/completions", content=body, headers=JSON)
    seconds = processor_seconds(server) - before
    harmless = depth == 100 and kind in ("json", "regex")
    assert response.status_code in ((200, 400) if harmless else (400, 413)), response.text
    assert seconds < (5 if harmless else 0.1 + len(body) / 5e7)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b"3", b'"x"', b"\xff\xfe", b"\x00", b'{"a":1}{"b":2}'),
        *(b'{"messages": [{"role": "user", "content": "\\ud800"}]}', b"{'a': 1}"),
        *(b'{"model": NaN}', b'{"messages": Infinity}', b"{" * 5000, b'{"model": 1e999}'),
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/api/chat"])
def test_what_is_no_request_is_a_400(server, path, body):
    response = server.http.post(path, content=body, headers=JSON)
    assert response.status_code == 400, response.text
    assert json.loads(response.text)


def test_a_body_that_is_too_large_is_a_413(server):
    body = json.dumps({**BASE, "user": "x" * (9 << 20)})
    assert server.http.post("/v1/chat/completions", content=body, headers=JSON).status_code == 413

    def chunks():
        yield b'{"user": "'
        for _ in range(20):
            yield b"x" * (1 << 20)

    assert server.http.post("/v1/messages", content=chunks(), headers=JSON).status_code == 413


@pytest.mark.parametrize(
    ("path", "head", "item", "tail"),
    [
        ("/v1/completions", b'{"prompt":[', b"1,", b"1]}"),
        ("/v1/completions", b'{"prompt":[', b"[1],", b'["a"]]}'),
        ("/v1/completions", b'{"prompt":[', b'"",', b'""]}'),
        ("/v1/chat/completions", b'{"messages":[', b"{},", b"{}]}"),
        ("/v1/chat/completions", b'{"messages":[', b'{"role":"user"},', b'{"role":"user"}]}'),
        ("/v1/messages", b'{"messages":[{"role":"user","content":[', b"{},", b"{}]}]}"),
        ("/v1/embeddings", b'{"input":[', b"[],", b"[]]}"),
        ("/api/chat", b'{"model":"x","x":[', b"[],", b"[]]}"),
    ],
)
@pytest.mark.parametrize("size", [800_000, 8_000_000])
def test_bodies_of_very_many_values_are_refused_soon(server, path, head, item, tail, size):
    body = head + item * (size // len(item)) + tail
    before = processor_seconds(server)
    response = server.http.post(path, content=body, headers=JSON)
    assert response.status_code in (400, 404, 413), response.text
    assert processor_seconds(server) - before < 1
    assert len(response.content) < 2000


@pytest.mark.parametrize(
    "data",
    [
        *(b"\r\n\r\n", b"\x00" * 100, b"GET", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00"),
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\n{",
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"GET /%00%ff%2e%2e/v1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET http://evil.example/v1/models HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\n\r\n",
    ],
)
def test_broken_bytes_hurt_nobody(server, data):
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=2) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        try:
            answer = connection.recv(100)
        except (TimeoutError, ConnectionError):
            answer = b""
    assert not answer or b" 5" not in answer[:13]
    assert server.http.get("/health").status_code == 200


@pytest.mark.slow
def test_a_connection_that_says_nothing_is_closed(server):
    address = urlsplit(server.url)
    sockets = [socket.create_connection((address.hostname, address.port)) for _ in range(20)]
    for number, connection in enumerate(sockets):
        connection.settimeout(15)
        connection.sendall(b"GET / HT"[:number])
    began = time.monotonic()
    for connection in sockets:
        assert connection.recv(1) == b""
        connection.close()
    assert time.monotonic() - began < 14


@pytest.mark.parametrize("path", ["/none", "/v1/none", "/api/none", "/v1/models/../../x", "/api"])
def test_what_is_not_there_is_a_404(server, path):
    response = server.http.get(path)
    assert response.status_code == 404
    assert response.json()["error"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/api/chat", "/api/show"])
def test_the_wrong_method_is_a_405(server, path):
    assert server.http.get(path).status_code == 405
    assert server.http.put(path, json={}).status_code == 405


def test_the_description_of_the_api_names_every_path(server):
    description = server.http.get("/openapi.json").json()
    paths = description["paths"]
    for path in ("/v1/chat/completions", "/v1/messages", "/api/chat", "/health"):
        assert path in paths
    reference = paths["/v1/messages"]["post"]["requestBody"]["content"]["application/json"]
    name = reference["schema"]["$ref"].rpartition("/")[2]
    assert "max_tokens" in description["components"]["schemas"][name]["required"]
    page = server.http.get("/docs").text
    assert "POST /v1/chat/completions" in page
    assert "<script" not in page


def test_metrics_count(server):
    server.http.post("/v1/chat/completions", json=BASE)
    text = server.http.get("/metrics").text
    assert 'pocketlm_requests_total{path="/v1/chat/completions",status="200"}' in text
    assert f'pocketlm_generated_tokens_total{{model="{MODEL}"}}' in text
    server.http.get("/never/seen")
    assert "never/seen" not in server.http.get("/metrics").text
