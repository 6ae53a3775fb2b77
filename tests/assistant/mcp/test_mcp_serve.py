"""`pocketlm mcp serve`, as the SDK's own client and a web page's tricks find it."""

import http.client
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from urllib.parse import urlsplit

import anyio
import pytest
from mcp import Client, MCPError, StdioServerParameters

PROGRAM = [sys.executable, "-m", "pocketlm", "mcp", "serve"]
KEY = "a key that nobody guesses"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A home with an index of one text."""
    home = tmp_path_factory.mktemp("home")
    (home / "notes").mkdir()
    (home / "notes" / "mill.txt").write_text("The mill at Lowby was built in 1871 by Ada Thorne.")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("POCKETLM_", "HF_"))}
    own = {"HOME": str(home), "POCKETLM_HOME": str(home), "POCKETLM_OFFLINE": "1"}
    add = [sys.executable, "-m", "pocketlm", "index", "add", str(home / "notes")]
    subprocess.run(add, env={**kept, **own}, check=True, capture_output=True)
    return {**kept, **own}


@pytest.fixture(scope="module")
def serve(smollm2, environment, tmp_path_factory):
    """Start `mcp serve --http` with these options; its port."""
    started = []

    def run(*options, **more):
        log = (tmp_path_factory.mktemp("log") / "log").open("w+")
        command = [*PROGRAM, str(smollm2), "--http", "0", *options]
        process = subprocess.Popen(command, env={**environment, **more}, stderr=log)
        started.append((process, log))
        while not (found := re.search(r"listening on (\S+);", _read(log))):
            assert process.poll() is None, _read(log)
            time.sleep(0.02)
        return urlsplit(found[1]).port

    yield run
    for process, log in started:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert "Traceback" not in _read(log)
        assert KEY not in _read(log)
        log.close()


def _read(log):
    log.seek(0)
    return log.read()


@pytest.fixture(scope="module")
def port(serve):
    return serve()


async def check(client):
    """What a client of the protocol finds."""
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert sorted(tools) == ["ask", "chat", "search"]
    assert all(tool.annotations.read_only_hint for tool in tools.values())
    found = await client.call_tool("search", {"query": "mill", "count": 2})
    (passage,) = found.structured_content["result"]
    assert passage["source"].endswith("mill.txt")
    assert json.loads(found.content[0].text) == passage
    said = await client.call_tool("chat", {"prompt": "Name a colour.", "max_tokens": 4})
    assert not said.is_error
    assert 0 < len(said.content[0].text) < 60
    assert said.structured_content is None
    bad = {"chat": [{}, {"prompt": ""}, {"prompt": "x", "max_tokens": 0}, {"prompt": 1}]}
    bad["chat"] += [{"prompt": "x", "max_tokens": 5000}, {"prompt": "x" * (1 << 18)}]
    bad["search"] = [{"query": "x", "count": 21}, {"query": "x", "count": -1}, {"query": ""}]
    bad["none"] = [{}]
    for name, arguments in ((n, a) for n, each in bad.items() for a in each):
        assert (await client.call_tool(name, arguments)).is_error


def test_the_sdks_client_over_stdio(smollm2, environment):
    steps = []

    async def tell(progress, total, message):
        steps.append(message)

    async def run():
        server = StdioServerParameters(
            command=PROGRAM[0],
            args=[*PROGRAM[1:], str(smollm2), "--reader", "extract"],
            env=environment,
        )
        async with Client(server) as client:
            assert client.server_info.name == "pocketlm"
            await check(client)
            question = {"question": "When was the mill built?"}
            asked = await client.call_tool("ask", question, progress_callback=tell)
            answer = asked.structured_content
            assert "1871" in answer["answer"]
            assert answer["citations"][0]["source"].endswith("mill.txt")
            assert steps == ["searching docs", "searching wiki", "reading 1 passage"]

    anyio.run(run)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_sdks_client_over_http(port, mode):
    async def run():
        async with Client(f"http://127.0.0.1:{port}/mcp", mode=mode) as client:
            await check(client)

    anyio.run(run)


def test_a_client_that_leaves_does_not_keep_it_busy(port):
    async def run():
        async with Client(f"http://127.0.0.1:{port}/mcp") as client:
            long = {"prompt": "Write a very long story.", "max_tokens": 4096}
            for _ in range(8):  # more than are answered at once
                with pytest.raises(MCPError):
                    await client.call_tool("chat", long, read_timeout_seconds=0.3)
            begun = time.monotonic()
            await client.call_tool("chat", {"prompt": "x", "max_tokens": 1})
            assert time.monotonic() - begun < 20

    anyio.run(run)


@pytest.mark.parametrize("ends", ["its client leaves", "Ctrl-C"])
def test_standard_output_carries_the_protocol_alone(smollm2, environment, ends):
    """Whatever comes in, and whatever our code prints."""
    asked = [
        {"id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "x", "version": "1"}}},
        {"method": "notifications/initialized"},
        {"id": 1, "method": "tools/call", "params": {
            "name": "chat", "arguments": {"prompt": "Hi", "max_tokens": 2}}},
        {"id": 2, "method": "none"},
        {"id": 3, "method": "tools/call", "params": {"name": 1}},
    ]  # fmt: skip
    lines = [json.dumps({"jsonrpc": "2.0", **each}) for each in asked]
    process = subprocess.Popen(
        [*PROGRAM, str(smollm2)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdin.write("\n".join([*lines[:2], "no JSON", "{}", "[" * 5000, *lines[2:]]) + "\n")
    process.stdin.flush()
    answered = {}
    while not {0, 1, 2, 3} <= answered.keys():
        answer = json.loads(process.stdout.readline())
        assert answer["jsonrpc"] == "2.0"
        answered[answer.get("id")] = answer
    if ends == "Ctrl-C":
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    rest, errors = process.communicate(timeout=30)  # which closes its input
    assert rest == ""
    assert process.returncode == (130 if ends == "Ctrl-C" else 0), errors
    assert "Traceback" not in errors
    assert "result" in answered[1]
    assert "error" in answered[2]


CALL = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "search", "arguments": {"query": "mill"}},
}
INITIALIZE = {
    **CALL,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "x", "version": "1"},
    },
}
PATHS = ("/mcp", "/mcp/", "/", "/sse", "/messages/", "/none")
REQUESTS = [
    *(("POST", path, INITIALIZE) for path in PATHS),
    *(("GET", path, None) for path in PATHS),
    *((method, "/mcp", None) for method in ("DELETE", "OPTIONS", "HEAD", "PUT", "PATCH")),
    ("POST", "/mcp", CALL),
]
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2025-06-18",
}
FOREIGN = [
    *("evil.example:{port}", "evil.example", "127.0.0.1.evil.example:{port}", "0.0.0.0:{port}"),
    *("[::]:{port}", "localhost.evil.example", "192.168.0.1:{port}", "", "127.0.0.1:99999999"),
    *("user@127.0.0.1:{port}", "127.0.0.1:{port}/x", "2130706433", "0x7f.1", "localhost:{port}, x"),
    *("[::ffff:127.0.0.1]:{port}", "127.0.0.1:{port}#", "127.0.0.1\\evil.example"),
]
ORIGINS = [
    *("null", "http://evil.example", "https://127.0.0.1.evil.example", "http://localhost:3000"),
    *("http://127.0.0.1", "http://0.0.0.0:{port}", "file://", "http://localhost:{port}@evil"),
    *("http://[::1]:{port}", "ftp://127.0.0.1:{port}", "", "http://127.0.0.1:{port}.evil.example"),
    *("chrome-extension://abcdef", "http://127.0.0.1:{port}/", "http://LOCALHOST:{port}x"),
]


def ask(port, method, path, headers, body):
    """A request with exactly these headers on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    data = None if body is None else json.dumps(body).encode()
    if data is not None:
        headers = {"Content-Length": str(len(data)), **headers}
    for name, values in headers.items():
        for value in [values] if isinstance(values, str) else values:
            connection.putheader(name, value)
    connection.endheaders(data)
    response = connection.getresponse()
    read = response.read()
    connection.close()
    return response, read.decode()


@pytest.mark.parametrize("host", FOREIGN)
def test_no_other_name_is_answered_on_any_path(port, host):
    for method, path, body in REQUESTS:
        headers = {**HEADERS, "Host": host.format(port=port)}
        response, data = ask(port, method, path, headers, body)
        assert response.status in (400, 403), (method, path)
        assert "mill" not in data
        assert "serverInfo" not in data
        assert "event-stream" not in (response.headers["content-type"] or "")


@pytest.mark.parametrize("origin", ORIGINS)
def test_no_page_of_another_site_is_answered_on_any_path(port, origin):
    for method, path, body in REQUESTS:
        own = {"Host": f"127.0.0.1:{port}", "Origin": origin.format(port=port)}
        response, data = ask(port, method, path, {**HEADERS, **own}, body)
        assert response.status == 403, (method, path)
        assert "mill" not in data
        assert not any("access-control" in name.lower() for name in response.headers)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_no_request_that_a_browser_makes_for_another_site_is_answered(port, site):
    for method, path, body in REQUESTS:
        own = {"Host": f"127.0.0.1:{port}", "Sec-Fetch-Site": site}
        response, data = ask(port, method, path, {**HEADERS, **own}, body)
        assert response.status == 403, (method, path)
        assert "mill" not in data


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "", "text/json"]
)
def test_what_a_form_can_send_is_refused(port, kind):
    headers = {**HEADERS, "Host": f"127.0.0.1:{port}", "Content-Type": kind}
    assert ask(port, "POST", "/mcp", headers, CALL)[0].status == 415


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}"])
def test_its_own_names_are_answered(port, host):
    headers = {**HEADERS, "Host": host.format(port=port)}
    response, data = ask(port, "POST", "/mcp", headers, INITIALIZE)
    assert response.status == 200
    assert '"serverInfo"' in data
    own = {**headers, "Origin": f"http://{host.format(port=port)}"}
    assert ask(port, "POST", "/mcp", own, INITIALIZE)[0].status == 200


def test_no_stream_without_a_question_is_held_open(port):
    headers = {"Host": f"127.0.0.1:{port}", "Accept": "text/event-stream"}
    assert ask(port, "GET", "/mcp", headers, None)[0].status == 405


def test_a_large_body_is_refused(port):
    headers = {**HEADERS, "Host": f"127.0.0.1:{port}", "Content-Length": str(1 << 40)}
    assert ask(port, "POST", "/mcp", headers, CALL)[0].status == 413


def test_a_key_is_wanted_on_other_addresses_and_on_each_path(serve):
    port = serve("--host", "0.0.0.0", POCKETLM_API_KEY=KEY)
    host = {**HEADERS, "Host": f"127.0.0.1:{port}"}
    wrong = [
        *({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}),
        *({"Authorization": KEY}, {"X-Api-Key": "wrong"}, {"Authorization": f"Bearer {KEY}x"}),
        {"Authorization": f"Bearer {KEY}", "X-Api-Key": "wrong"},
        {"Authorization": [f"Bearer {KEY}", "Bearer wrong"]},
    ]
    for (method, path, body), more in itertools.product(REQUESTS, wrong):
        response, data = ask(port, method, path, {**host, **more}, body)
        assert response.status in (401, 403, 404, 405), (method, path, more)
        assert response.status < 404 or path == "/"  # where there is nothing
        assert "mill" not in data
    right = {**host, "Authorization": f"Bearer {KEY}"}
    assert "mill" in ask(port, "POST", "/mcp", right, CALL)[1]
    for name, status in {"192.168.7.7": 200, "evil.example": 403, "0.0.0.0": 403}.items():
        headers = {**right, "Host": f"{name}:{port}"}
        assert ask(port, "POST", "/mcp", headers, INITIALIZE)[0].status == status

    async def run():
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}) as keyed:
            url = f"http://127.0.0.1:{port}/mcp"
            async with Client(streamable_http_client(url, http_client=keyed)) as client:
                assert len((await client.list_tools()).tools) == 3

    anyio.run(run)
