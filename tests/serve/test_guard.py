"""Who may speak to the server: names that are its own, no other site, the right type, the key.

These requests are made as a browser would make them, header by header, on a real connection.
"""

import http.client
import itertools
import json
from urllib.parse import urlsplit

import pytest
from servers import MODEL

KEY = "a key that nobody guesses"
BODY = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "x"}], "max_tokens": 1})


@pytest.fixture(scope="module")
def port(server):
    return urlsplit(server.url).port


def ask(port, method, path, headers, body=None):
    """A request with exactly these headers; several of one name are given as a list."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    if body is not None:
        headers = {"Content-Length": str(len(body)), **headers}
    for name, values in headers.items():
        for value in [values] if isinstance(values, str) else values:
            connection.putheader(name, value)
    connection.endheaders(None if body is None else body.encode())
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response, data


READ = [("GET", path) for path in ("/v1/models", "/api/tags", "/health", "/docs", "/", "/metrics")]
WRITE = [("POST", path) for path in ("/v1/chat/completions", "/api/generate", "/v1/messages")]
OWN = ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST:{port}", "[::1]:{port}", "127.0.0.1"]
FOREIGN = [
    *("evil.example:{port}", "evil.example", "127.0.0.1.evil.example:{port}", "0.0.0.0:{port}"),
    *("[::]:{port}", "localhost.evil.example", "192.168.0.1:{port}", "", "127.0.0.1:99999999"),
    *("user@127.0.0.1:{port}", "127.0.0.1:{port}/x", "2130706433", "0x7f.1", "localhost:{port}, x"),
    *("[::ffff:127.0.0.1]:{port}", "127.0.0.1:{port}#", "127.0.0.1\\evil.example"),
]


@pytest.mark.parametrize(("method", "path"), READ)
@pytest.mark.parametrize("host", OWN)
def test_the_servers_own_names_are_answered(port, method, path, host):
    response, _ = ask(port, method, path, {"Host": host.format(port=port)})
    assert response.status == 200


@pytest.mark.parametrize(("method", "path"), READ + WRITE)
@pytest.mark.parametrize("host", FOREIGN)
def test_any_other_name_is_refused(port, method, path, host):
    headers = {"Host": host.format(port=port), "Content-Type": "application/json"}
    response, data = ask(port, method, path, headers, BODY if method == "POST" else None)
    assert response.status in (400, 403)
    assert MODEL not in data.decode()


def test_no_name_and_two_names_are_refused(port):
    assert ask(port, "GET", "/v1/models", {})[0].status in (400, 403)
    hosts = [f"127.0.0.1:{port}", "evil.example"]
    assert ask(port, "GET", "/v1/models", {"Host": hosts})[0].status in (400, 403)


ORIGINS = [
    *("null", "http://evil.example", "https://127.0.0.1.evil.example", "http://localhost:3000"),
    *("http://127.0.0.1", "http://0.0.0.0:{port}", "file://", "http://localhost:{port}@evil"),
    *("http://[::1]:{port}", "ftp://127.0.0.1:{port}", "", "http://127.0.0.1:{port}.evil.example"),
    *("chrome-extension://abcdef", "http://127.0.0.1:{port}/", "http://LOCALHOST:{port}x"),
]


@pytest.mark.parametrize(("method", "path"), READ[:2] + WRITE)
@pytest.mark.parametrize("origin", ORIGINS)
def test_a_page_of_another_site_is_refused(port, method, path, origin):
    headers = {
        "Host": f"127.0.0.1:{port}",
        "Origin": origin.format(port=port),
        "Content-Type": "application/json",
    }
    response, _ = ask(port, method, path, headers, BODY if method == "POST" else None)
    assert response.status == 403
    assert not any("access-control" in name.lower() for name in response.headers)


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}"])
def test_the_servers_own_page_is_answered(port, host):
    host = host.format(port=port)
    headers = {"Host": host, "Origin": f"http://{host}", "Content-Type": "application/json"}
    assert ask(port, "POST", "/v1/chat/completions", headers, BODY)[0].status == 200


@pytest.mark.parametrize(
    "kind",
    [
        *("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"),
        *("", "text/plain; application/json", "application/jsonx", "text/json"),
    ],
)
@pytest.mark.parametrize(("method", "path"), WRITE)
def test_a_type_that_a_form_can_send_is_refused(port, method, path, kind):
    headers = {"Host": f"127.0.0.1:{port}", "Content-Type": kind}
    assert ask(port, method, path, headers, BODY)[0].status == 415


@pytest.mark.parametrize(
    ("site", "dest", "path", "status"),
    [
        ("cross-site", "image", "/v1/models", 403),
        ("cross-site", "document", "/v1/models", 403),
        ("same-site", "empty", "/v1/models", 403),
        ("cross-site", "iframe", "/", 403),
        ("cross-site", "document", "/", 200),
        ("cross-site", "script", "/page/app.js", 403),
        ("same-origin", "empty", "/v1/models", 200),
        ("none", "document", "/v1/models", 200),
    ],
)
def test_what_a_browser_says_of_a_request_counts(port, site, dest, path, status):
    headers = {"Host": f"127.0.0.1:{port}", "Sec-Fetch-Site": site, "Sec-Fetch-Dest": dest}
    assert ask(port, "GET", path, headers)[0].status == status


def test_no_preflight_is_answered(port):
    headers = {
        "Host": f"127.0.0.1:{port}",
        "Origin": "http://evil.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    response, _ = ask(port, "OPTIONS", "/v1/chat/completions", headers)
    assert response.status == 403
    assert not any("access-control" in name.lower() for name in response.headers)


def test_every_response_is_under_a_strict_policy(server):
    for path in ("/docs", "/v1/models", "/none", "/v1/chat/completions"):
        headers = server.http.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


def test_a_listed_site_may_use_the_server_and_no_other(serve, smollm2):
    own = serve(smollm2, "--allow-origin", "http://localhost:3000", "--allow-host", "box.lan")
    port = urlsplit(own.url).port
    headers = {"Host": f"box.lan:{port}", "Origin": "http://localhost:3000"}
    response, _ = ask(port, "GET", "/v1/models", headers)
    assert response.status == 200
    assert response.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    assert response.headers["Vary"] == "Origin"
    preflight = {**headers, "Access-Control-Request-Method": "POST"}
    response, _ = ask(port, "OPTIONS", "/v1/chat/completions", preflight)
    assert response.status == 204
    assert response.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    other = {**headers, "Origin": "http://localhost:3001"}
    assert ask(port, "GET", "/v1/models", other)[0].status == 403


def test_a_key_is_asked_for_on_every_path_but_health(serve, smollm2):
    own = serve(smollm2, "--host", "0.0.0.0", POCKETLM_API_KEY=KEY)
    port = urlsplit(own.url).port
    host = {"Host": f"127.0.0.1:{port}", "Content-Type": "application/json"}
    paths = [*READ, *WRITE, ("GET", "/openapi.json"), ("GET", "/none")]
    wrong = [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": KEY},
        {"Authorization": "Bearer "},
        {"X-Api-Key": "wrong"},
        {"X-Api-Key": ""},
        {"Authorization": f"Bearer {KEY}", "X-Api-Key": "wrong"},
        {"Authorization": [f"Bearer {KEY}", "Bearer wrong"]},
        {"Authorization": f"Bearer {KEY}\xff"},
    ]
    for (method, path), headers in itertools.product(paths, wrong):
        body = BODY if method == "POST" else None
        response, _ = ask(port, method, path, {**host, **headers}, body)
        assert response.status == (401 if path not in ("/", "/health") else response.status)
        assert response.status in (401, 200)
    for headers in ({"Authorization": f"bearer {KEY}"}, {"X-Api-Key": KEY}):
        assert ask(port, "GET", "/v1/models", {**host, **headers})[0].status == 200
    # On the network it goes by its addresses, and by no name that is not its own.
    for name in ("192.168.7.7", "evil.example", "0.0.0.0"):
        headers = {"Host": f"{name}:{port}", "X-Api-Key": KEY}
        expected = 200 if name == "192.168.7.7" else 403
        assert ask(port, "GET", "/v1/models", headers)[0].status == expected
    assert KEY not in own.log.read_text()
