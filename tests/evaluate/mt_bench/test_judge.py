"""The judge's end of the line: patience, limits, and errors that say what to do."""

import socket
import threading
import time

import pytest

from evaluate.mt_bench.judges import fails, in_turn, judge, says, send
from pocketlm.errors import JudgeError, OfflineError, ParameterError
from pocketlm.evaluate.mt_bench.judge import KEY, MOST_BYTES, Judge

MESSAGES = [{"role": "user", "content": "Rate this."}]
QUICK = (0.01, 0.02)


def _ask(url, *, stop=None, **options):
    options = {"model": "wise", "pauses": QUICK, "seconds": 5.0} | options
    return Judge(url, **options).ask(MESSAGES, stop or threading.Event())


def test_an_answer(monkeypatch):
    monkeypatch.setenv(KEY, "secret")
    with judge(says("Good. [[7]]")) as server:
        found = Judge.of(server.url, "wise")
        assert found.ask(MESSAGES, threading.Event()) == "Good. [[7]]"
        (asked,) = server.asked
    assert asked["path"] == "/v1/chat/completions"
    assert (asked["model"], asked["messages"], asked["temperature"]) == ("wise", MESSAGES, 0)
    assert server.keys == ["Bearer secret"]
    assert "secret" not in repr(found)


def test_a_url_may_name_the_whole_path():
    with judge(says("x")) as server:
        _ask(f"{server.url}/chat/completions")
        _ask(f"{server.url}/")
        assert [asked["path"] for asked in server.asked] == ["/v1/chat/completions"] * 2
        assert server.keys == [None, None]


def test_the_only_model_is_taken():
    with judge(says("x")) as server:
        assert Judge(server.url).named(threading.Event()).model == "wise"
    with judge(says("x"), models=("a", "b")) as server:
        with pytest.raises(JudgeError, match=r"has 2 models \(a, b\): name one by --judge-model"):
            Judge(server.url).named(threading.Event())
        assert Judge(server.url, "b").named(threading.Event()).model == "b"
    with judge(says("x"), models=()) as server, pytest.raises(JudgeError, match="0 models"):
        Judge(server.url).named(threading.Event())


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(status):
    with judge(in_turn(fails(status), fails(status), says("at last"))) as server:
        assert _ask(server.url) == "at last"
        assert len(server.asked) == 3


def test_it_gives_up_in_the_end():
    with judge(fails(503, "too busy")) as server:
        with pytest.raises(JudgeError, match=r"answers 503: too busy \(tried 3 times\)"):
            _ask(server.url)
        assert len(server.asked) == 3


def test_a_server_may_ask_for_more_patience():
    with judge(in_turn(fails(429, Retry_After="1"), says("rested"))) as server:
        started = time.monotonic()
        assert _ask(server.url) == "rested"
        assert time.monotonic() - started >= 1


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "answers 400: no"),
        (401, f"answers 401: no; set {KEY}"),
        (404, "answers 404: no; --judge-model, or the path"),
        (302, "answers 302: no"),
    ],
)
def test_what_will_not_pass_is_not_tried_again(status, words):
    with judge(fails(status, Location="http://127.0.0.1:1/")) as server:
        with pytest.raises(JudgeError, match=words):
            _ask(server.url)
        assert len(server.asked) == 1


def test_nobody_is_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        with pytest.raises(JudgeError, match=r"cannot be reached: Connection refused \(tried 3"):
            _ask(url)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>a proxy</html>", "what is no JSON"),
        (b"[1, 2]", "what is no JSON"),
        (b"[" * 100_000, "what is no JSON"),
        (b"{}", "no chat completion"),
        (b'{"choices": []}', "no chat completion"),
        (b'{"choices": [{"message": {"content": null}}]}', "no chat completion"),
        (b'{"choices": [{"message": {"content": ["x"]}}]}', "no chat completion"),
    ],
)
def test_answers_that_are_none(body, words):
    manner = in_turn(lambda handler, _: send(handler, 200, body))
    with judge(manner) as server, pytest.raises(JudgeError, match=words):
        _ask(server.url)


def test_an_answer_without_end():
    def manner(handler, _):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(64):
            handler.wfile.write(b" " * (1 << 18))

    words = f"answers more than {MOST_BYTES >> 20} MiB"
    with judge(manner) as server, pytest.raises(JudgeError, match=words):
        _ask(server.url)


@pytest.mark.parametrize("slow", ["head", "body"])
def test_one_byte_at_a_time_is_too_slow(slow):
    def manner(handler, _):
        if slow == "head":
            handler.wfile.write(b"HTTP/1.0 200 OK\r\nX-Long: ")
        else:
            handler.send_response(200)
            handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.05)

    with judge(manner) as server:
        started = time.monotonic()
        with pytest.raises(JudgeError, match=r"took too long \(tried 2 times\)"):
            _ask(server.url, seconds=0.5, pauses=(0.01,))
        assert time.monotonic() - started < 3


def test_a_connection_that_breaks():
    def manner(handler, _):
        handler.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: 500\r\n\r\n{")

    with judge(in_turn(manner, says("whole"))) as server:
        assert _ask(server.url) == "whole"


def test_what_is_no_http():
    def manner(handler, _):
        handler.wfile.write(b"\x00\x01\x02\r\n\r\n")

    with judge(manner) as server, pytest.raises(JudgeError, match="cannot be reached"):
        _ask(server.url)


def test_stopping_does_not_wait():
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    with judge(lambda *_: time.sleep(4)) as server:
        started = time.monotonic()
        with pytest.raises(JudgeError, match="stopped"):
            _ask(server.url, stop=stop, seconds=60, pauses=(30,))
        assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "write the URL"),
        ("localhost:8000", "write the URL"),
        ("ftp://127.0.0.1/v1", "write the URL"),
        ("http://127.0.0.1:99999/v1", "write the URL"),
        ("http://[::1/v1", "write the URL"),
        ("http://127.0.0.1/v1\r\nX: y", "write the URL"),
        ("http://me:secret@127.0.0.1/v1", f"give a key by {KEY}"),
        ("https://example.org/v1?key=secret", f"give a key by {KEY}"),
    ],
)
def test_urls_of_no_judge(url, words, monkeypatch):
    monkeypatch.delenv("POCKETLM_OFFLINE", raising=False)
    with pytest.raises(ParameterError, match=words):
        Judge(url)


def test_where_a_key_and_a_request_may_go(monkeypatch):
    monkeypatch.delenv("POCKETLM_OFFLINE", raising=False)
    with pytest.raises(ParameterError, match="unencrypted"):
        Judge("http://example.org/v1", key="secret")
    with pytest.raises(ParameterError, match="characters that no key has"):
        Judge("https://example.org/v1", key="a\nb")
    Judge("https://example.org/v1", key="secret")
    Judge("http://localhost/v1", key="secret")
    monkeypatch.setenv("POCKETLM_OFFLINE", "1")
    with pytest.raises(OfflineError, match="forbids the network"):
        Judge("https://example.org/v1")
    Judge("http://[::1]:80/v1")
