"""Sessions: what a good server gives, and how a bad one ends: in one Error, soon, and all of it."""

import json
import re
import subprocess
import sys
import time
from urllib.parse import urlsplit

import pytest
from strangers import alive

from pocketlm.assistant.mcp import client, process
from pocketlm.assistant.mcp.client import MOST_RESULT, Session, event_loop
from pocketlm.assistant.mcp.servers import made
from pocketlm.errors import Error, OfflineError


def session(server, loop):
    return Session("s", server, loop)


ECHO = {"name": "echo", "description": "Says it again.", "does": ["text", "again"]}


def test_tools_are_listed_and_called(stranger, loop):
    check_tools(stranger, loop)


def test_tools_are_listed_and_called_over_http(remote, remote_json, loop):
    check_tools(remote, loop)
    check_tools(remote_json, loop)


def check_tools(stranger, loop):
    stranger.offer({**ECHO, "annotations": {"readOnlyHint": True}}, {"name": "other"})
    with session(stranger.server, loop) as asked:
        echo, other = asked.offers()
        assert (echo.name, echo.description) == ("echo", "Says it again.")
        assert echo.claims_to_read_only
        assert not other.claims_to_read_only
        assert asked.call("echo", {"a": [1, "ü"]}) == "again"
    assert stranger.calls == [["echo", {"a": [1, "ü"]}]]


def test_what_is_no_text_is_named_and_long_text_is_cut_with_a_word(remote, loop):
    does = [
        *("parts", {"type": "text", "text": "here:"}),
        {"type": "image", "data": "aGk=", "mimeType": "image/png"},
        {"type": "audio", "data": "aGk=", "mimeType": "audio/wav"},
        {"type": "resource_link", "name": "x", "uri": "file:///etc/passwd"},
        {"type": "resource", "resource": {"uri": "a:b", "text": "inner"}},
        {"type": "resource", "resource": {"uri": "a:c", "blob": "aGk="}},
    ]
    remote.offer(
        {"name": "parts", "does": does},
        {"name": "data", "does": ["data", {"a": 1}]},
        {"name": "long", "does": ["text", "x" * (MOST_RESULT + 5)]},
        {"name": "none", "does": ["parts"]},
        {"name": "fails", "does": ["error", "no such file"]},
    )
    with session(remote.server, loop) as asked:
        assert asked.call("parts", {}).split("\n") == [
            *("here:", "[image: image/png]", "[audio: audio/wav]", "[link: file:///etc/passwd]"),
            *("[a:b]", "inner", "[data: a:c, of no said type]"),
        ]
        assert asked.call("data", {}) == '{"a": 1}'
        assert asked.call("long", {}) == "x" * MOST_RESULT + " [… 5 characters more]"
        assert asked.call("none", {}) == ""
        with pytest.raises(Error, match="s: fails failed: no such file"):
            asked.call("fails", {})
        with pytest.raises(Error, match="surrogate"):
            asked.call("none", {"a": "\ud800"})
        assert asked.call("none", {}) == ""


def test_a_server_is_given_nothing_that_it_asks_for(stranger, loop):
    methods = ("sampling", "roots")
    stranger.offer(*({"name": method, "does": ["ask", method]} for method in methods))
    with session(stranger.server, loop) as asked:
        for method in methods:
            with pytest.raises(Error) as caught:
                asked.call(method, {})
            assert "it was given" not in str(caught.value)


def test_an_environment_has_what_was_said_and_no_keys_of_ours(loop, tmp_path, monkeypatch):
    monkeypatch.setenv("POCKETLM_API_KEY", "ours")
    monkeypatch.setenv("SECRET", "ours")
    program = "import json, os, sys; sys.exit(json.dumps(dict(os.environ)))"
    server = made(command=(sys.executable, "-c", program), environment={"TOKEN": "theirs"})
    with pytest.raises(Error) as caught, session(server, loop):
        pass
    found = str(caught.value)
    assert '"TOKEN": "theirs"' in found or "characters more" in found
    assert "ours" not in found
    assert "PATH" in found


NOTHING = "there was no answer within"
BAD_STARTS = {
    "silent": NOTHING,
    "ends": re.escape(r"it ended (exit status 3): \u{1b}[31mno \u{7}luck"),
    "closes": "it closed its output",
    "garbage": "it writes what is no message: this is no message",
    "binary": "it writes what is no message",
    "line": "it writes a message of more than 4,194,304 bytes",
    "asks": "it asks for more than it lets us answer",
}


@pytest.mark.parametrize("how", BAD_STARTS)
def test_a_bad_start_is_an_error_soon(rude, loop, patience, how):
    patience(1 if BAD_STARTS[how] == NOTHING else 20)
    begun = time.monotonic()
    server = rude(how)
    with pytest.raises(Error, match=BAD_STARTS[how]) as caught, session(server, loop) as asked:
        asked.offers()
    assert str(caught.value).startswith("MCP server s: ")
    assert time.monotonic() - begun < 15


BAD_LISTS = {
    "hangs": NOTHING,
    "dies": r"it ended \(exit status 7\)",
    "chatters": "it writes more than 16,777,216 bytes for one question",
    "huge": "it writes a message of more than 4,194,304 bytes",
    "deep": NOTHING,
    "many": "it offers more than 256 tools",
    "pages": "its list of tools has more than 32 pages",
    "unsound": "the answer is not what the protocol says: ",
    "other": "the answer is not what the protocol says: ",
    "refuses": re.escape(r"go \u{202e}away\u{1b}[2J!!!"),
    "strange": NOTHING,
}


@pytest.mark.parametrize("how", BAD_LISTS)
def test_a_bad_answer_is_an_error_soon(rude, loop, patience, how):
    begun = time.monotonic()
    patience(20)
    with session(rude(how), loop) as asked:
        patience(0.5 if BAD_LISTS[how] == NOTHING else 20)
        with pytest.raises(Error, match=BAD_LISTS[how]) as caught:
            asked.offers()
    assert "\x1b" not in str(caught.value)
    assert time.monotonic() - begun < 15


def test_greetings_are_forgiven(rude, loop):
    with session(rude("greets"), loop) as asked:
        assert [offer.name for offer in asked.offers()] == ["t"]


def test_a_pattern_of_the_servers_is_not_matched(rude, loop):
    with session(rude("pattern"), loop) as asked:
        asked.offers()
        assert asked.call("t", {}) == json.dumps({"a": "a" * 60 + "!"})


def test_a_call_that_does_not_return_ends_and_the_session_goes_on(remote, loop, patience):
    remote.offer({"name": "wait", "does": ["wait"]}, ECHO)
    with session(remote.server, loop) as asked:
        patience(0.5)
        with pytest.raises(Error, match="there was no answer within"):
            asked.call("wait", {})
        patience(20)
        assert asked.call("echo", {}) == "again"


def test_a_session_that_is_over_says_so(remote):
    with event_loop() as own, session(remote.server, own) as asked:
        pass
    with pytest.raises(Error):
        asked.offers()


@pytest.mark.usefixtures("patience")
def test_nothing_is_left_of_a_program_that_will_not_end(rude, loop, tmp_path):
    with session(rude("deaf"), loop) as asked:
        asked.offers()
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        assert all(map(alive, pids))
    assert not any(map(alive, pids))


def test_a_server_ends_with_us_however_we_end(stranger, tmp_path):
    stranger.offer(ECHO)
    program = f"""
import os
from pocketlm.assistant.mcp.client import Session, event_loop
from pocketlm.assistant.mcp.servers import made
with event_loop() as loop, Session("s", made(command={list(stranger.server.command)}), loop):
    here = os.getpid()
    print(*open(f"/proc/{{here}}/task/{{here}}/children").read().split(), flush=True)
    for task in os.listdir(f"/proc/{{here}}/task"):
        print(open(f"/proc/{{here}}/task/{{task}}/children").read(), flush=True)
    print("end", flush=True)
    os.kill(here, 9)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    children = {int(pid) for pid in done.stdout.split() if pid.isdigit()}
    assert children, done
    deadline = time.monotonic() + 10
    while any(map(alive, children)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_network_is_asked_only_where_it_may_be(loop, monkeypatch):
    monkeypatch.setenv("POCKETLM_OFFLINE", "1")
    with (
        pytest.raises(OfflineError, match="s is on the network"),
        session(made(url="https://example.com/mcp"), loop),
    ):
        pass


class TestHttp:
    """Bad servers over HTTP: answers that are written by hand."""

    @pytest.fixture
    def answering(self):
        """A server that answers each request with these bytes, and keeps what it was asked."""
        import socket
        import threading

        listening = socket.create_server(("127.0.0.1", 0))
        asked: list[bytes] = []

        def start(head: bytes, *pieces: bytes, times: int = 1) -> str:
            def answer(connection):
                with connection:
                    asked.append(connection.recv(1 << 16))
                    try:
                        connection.sendall(head)
                        for _ in range(times):
                            for piece in pieces:
                                connection.sendall(piece)
                    except OSError:
                        pass

            def run():
                while True:
                    try:
                        connection, _ = listening.accept()
                    except OSError:
                        return
                    threading.Thread(target=answer, args=(connection,), daemon=True).start()

            threading.Thread(target=run, daemon=True).start()
            return f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"

        start.asked = asked
        yield start
        listening.close()

    HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"

    @pytest.mark.parametrize(
        ("head", "piece", "times"),
        [
            (HEAD + b"Content-Type: application/json\r\n\r\n", b" " * 65536, 1000),
            (HEAD + b"Content-Type: text/event-stream\r\n\r\n", b"data: x" * 9362, 1000),
            (HEAD + b"Content-Type: text/event-stream\r\n\r\n", b": x\n\n" * 9362, 1000),
            (HEAD + b"Content-Type: application/json\r\n\r\n", b"{", 1),
            (HEAD + b"Content-Type: text/html\r\n\r\n", b"<p>Sign in", 1),
            (HEAD + b"Content-Type: application/json\r\nContent-Encoding: gzip\r\n\r\n", b"", 1),
            (b"HTTP/1.1 401 No\r\nConnection: close\r\n\r\n", b"key?", 1),
            (b"HTTP/1.1 202 Yes\r\nConnection: close\r\n\r\n", b"", 1),
            (b"HTTP/1.1 500 No\r\nConnection: close\r\n\r\n", b"", 1),
            (b"not HTTP at all\r\n\r\n", b"", 1),
            (b"", b"", 1),
        ],
    )
    def test_a_bad_answer_is_an_error_soon(self, answering, loop, patience, head, piece, times):
        patience(2)
        begun = time.monotonic()
        url = answering(head, piece, times=times)
        with pytest.raises(Error, match="MCP server s: "), session(made(url=url), loop):
            pass
        assert time.monotonic() - begun < 10

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_no_redirect_leads_to_another_site(self, answering, remote, loop, status):
        remote.offer(ECHO)
        trap = urlsplit(remote.server.url).port
        head = f"HTTP/1.1 {status} Go\r\nLocation: http://127.0.0.1:{trap}/mcp\r\n".encode()
        url = answering(head + b"Connection: close\r\nContent-Length: 0\r\n\r\n")
        server = made(url=url, headers={"Authorization": "Bearer secret"})
        with pytest.raises(Error), session(server, loop) as asked:
            asked.offers()
        assert all(b"Bearer secret" in each for each in answering.asked)

    def test_what_is_sent(self, answering, loop):
        url = answering(b"HTTP/1.1 401 No\r\nConnection: close\r\n\r\n")
        server = made(url=url, headers={"X-Key": "k"})
        with pytest.raises(Error), session(server, loop):
            pass
        head = answering.asked[0].decode().lower()
        assert "x-key: k\r\n" in head
        assert "accept-encoding: identity\r\n" in head

    def test_nobody_listens(self, loop):
        with (
            pytest.raises(Error, match="MCP server s: "),
            session(made(url="http://127.0.0.1:1/mcp"), loop),
        ):
            pass


def test_limits_are_what_the_documents_say():
    assert (client.START_SECONDS, client.LIST_SECONDS, client.CALL_SECONDS) == (60, 20, 120)
    assert (process.MOST_LINE, process.MOST_ANSWER) == (4 << 20, 16 << 20)
