"""Answers that are cut off, queues that are full, models that come and go, and the server's end."""

import asyncio
import itertools
import json
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
import openai
import psutil
import pytest
from servers import MODEL, Running

LONG = {"model": MODEL, "prompt": "word " * 7000, "max_tokens": 8, "temperature": 0}
ENDLESS = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "Count from 1 to 1000."}],
    "max_tokens": 3000,
    "regex": "([0-9]+, )+end",
    "stream": True,
}
SHORT = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "max_tokens": 24,
    "temperature": 0,
}


def send(server: Running, path: str, body: dict[str, object]) -> socket.socket:
    """Send a request, and read nothing."""
    data = json.dumps(body).encode()
    address = urlsplit(server.url)
    connection = socket.create_connection((address.hostname, address.port), timeout=30)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\n\r\n"
    )
    connection.sendall(head.encode() + data)
    return connection


def busy(server: Running) -> tuple[int, int]:
    """How many answers are being written, and how many wait."""
    return tuple(
        map(sum, zip(*((m["running"], m["waiting"]) for m in server.models()), strict=True))
    )


def until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def quiet(server):
    server.settled()
    yield server
    server.settled()


def test_who_leaves_while_the_prompt_is_read_stops_it(quiet):
    text = quiet.http.post("/v1/chat/completions", json=SHORT).json()["choices"][0]["message"]
    connection = send(quiet, "/v1/completions", LONG)
    until(lambda: busy(quiet) == (1, 0))
    with ThreadPoolExecutor() as pool:
        neighbour = pool.submit(quiet.http.post, "/v1/chat/completions", json=SHORT)
        time.sleep(0.1)
        assert busy(quiet)[0] >= 1  # the prompt takes seconds
        connection.close()
        began = time.monotonic()
        assert neighbour.result().json()["choices"][0]["message"] == text
    until(lambda: busy(quiet) == (0, 0))
    assert time.monotonic() - began < 5


def test_who_leaves_while_an_answer_is_written_stops_it(quiet):
    text = quiet.http.post("/v1/chat/completions", json=SHORT).json()["choices"][0]["message"]
    connection = send(quiet, "/v1/chat/completions", ENDLESS)
    received = b""
    while received.count(b"data:") < 5:
        received += connection.recv(65536)
    with ThreadPoolExecutor() as pool:
        neighbour = pool.submit(quiet.http.post, "/v1/chat/completions", json=SHORT)
        connection.close()
        assert neighbour.result().json()["choices"][0]["message"] == text
    until(lambda: busy(quiet) == (0, 0), 2)


def test_who_leaves_without_a_stream_stops_it_too(quiet):
    connection = send(quiet, "/v1/chat/completions", {**ENDLESS, "stream": False})
    until(lambda: busy(quiet) == (1, 0))
    connection.close()
    until(lambda: busy(quiet) == (0, 0), 2)


def test_who_leaves_the_queue_takes_nobody_along(serve, smollm2):
    own = serve(smollm2, "--parallel", "1", "--queue", "2")
    own.http.post("/v1/chat/completions", json=SHORT)  # it is loaded
    first = send(own, "/v1/chat/completions", ENDLESS)
    until(lambda: busy(own) == (1, 0))
    second = send(own, "/v1/chat/completions", ENDLESS)
    until(lambda: busy(own) == (1, 1))
    with ThreadPoolExecutor() as pool:
        third = pool.submit(own.http.post, "/v1/chat/completions", json=SHORT)
        until(lambda: busy(own) == (1, 2))
        full = own.http.post("/v1/chat/completions", json=SHORT)
        assert full.status_code == 429
        assert int(full.headers["retry-after"]) >= 1
        assert full.json()["error"]["type"] == "rate_limit_error"
        for path in ("/v1/messages", "/api/chat"):
            assert own.http.post(path, json=SHORT).status_code == 429
        second.close()
        until(lambda: busy(own) == (1, 1))
        first.close()
        assert third.result().status_code == 200
    until(lambda: busy(own) == (0, 0))


def test_answers_are_the_same_alone_and_together(quiet):
    def ask(seed):
        body = {**SHORT, "temperature": 1.0, "seed": seed, "max_tokens": 16}
        body["messages"] = [{"role": "user", "content": f"Tell me of the number {seed}. " * seed}]
        if seed % 2:
            body["regex"] = "[A-Z][a-z ]{10,40}[.]"
        return quiet.http.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]

    alone = [ask(seed) for seed in range(1, 9)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(ask, range(1, 9)))
    assert together == alone


def test_a_long_prompt_leaves_room_for_others_tokens(quiet):
    """Others' answers flow while a long prompt is read."""
    quiet.http.post("/v1/chat/completions", json=SHORT)
    connection = send(quiet, "/v1/completions", {**LONG, "prompt": "other " * 7000})
    until(lambda: busy(quiet) == (1, 0))
    moments = []
    with quiet.http.stream("POST", "/v1/chat/completions", json={**SHORT, "stream": True}) as got:
        for line in got.iter_lines():
            if line.startswith("data:"):
                moments.append(time.monotonic())
    assert busy(quiet)[0] == 1, "the long prompt was done first: nothing was shown"
    connection.close()
    assert max(b - a for a, b in itertools.pairwise(moments[2:])) < 4


def test_progress_is_reported_where_it_is_wanted(quiet):
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "tree " * 1500}],
        "max_tokens": 1,
        "stream": True,
        "return_progress": True,
    }
    with quiet.http.stream("POST", "/v1/chat/completions", json=body) as got:
        chunks = [json.loads(line[6:]) for line in got.iter_lines() if line.startswith("data: {")]
    progress = [chunk["prompt_progress"] for chunk in chunks if "prompt_progress" in chunk]
    assert len(progress) > 4
    done = [each["processed"] for each in progress]
    assert done == sorted(done)
    assert done[-1] == progress[-1]["total"] > 1500


def test_a_request_that_takes_too_long_ends(serve, smollm2):
    own = serve(smollm2, "--timeout", "1")
    response = own.http.post("/v1/chat/completions", json={**ENDLESS, "stream": False})
    assert response.status_code == 504
    with own.http.stream("POST", "/v1/chat/completions", json=ENDLESS) as got:
        lines = [line for line in got.iter_lines() if line]
    assert json.loads(lines[-1].removeprefix("data: "))["error"]["code"] == "timeout"
    assert own.http.post("/v1/chat/completions", json=SHORT).status_code == 200


# Models


def test_models_come_when_they_are_asked_for_and_go_when_memory_is_wanted(serve, smollm2, tmp_path):
    other = tmp_path / "other.gguf"
    other.symlink_to(smollm2)
    size = smollm2.stat().st_size
    own = serve(smollm2, other, "--memory", str(int(size * 1.6)))

    def ask(name):
        return own.http.post("/v1/chat/completions", json={**SHORT, "model": name})

    first, second = ask(MODEL), ask("other")
    assert first.json()["choices"] == second.json()["choices"]
    assert [model["name"] for model in own.models()] == ["other"]
    assert ask(MODEL).status_code == 200
    assert [model["name"] for model in own.models()] == [MODEL]
    # One that is in use does not go: the other cannot come.
    connection = send(own, "/v1/chat/completions", ENDLESS)
    until(lambda: busy(own) == (1, 0))
    refused = ask("other")
    assert refused.status_code == 503
    assert "retry-after" in refused.headers
    connection.close()
    until(lambda: busy(own) == (0, 0))
    assert ask("other").status_code == 200


def test_a_model_that_nobody_uses_goes(serve, smollm2):
    own = serve(smollm2)
    client = own.ollama
    client.generate(model=MODEL, keep_alive=-1)
    assert len(own.models()) == 1
    client.generate(model=MODEL, keep_alive="1s")
    until(lambda: own.models() == [], 5)
    client.generate(model=MODEL)
    assert client.generate(model=MODEL, keep_alive=0).done_reason == "unload"
    assert own.models() == []
    assert own.http.post("/v1/chat/completions", json=SHORT).status_code == 200


def test_a_damaged_model_is_told_and_nothing_else_suffers(serve, smollm2, tmp_path):
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(smollm2.read_bytes()[:5_000_000])
    own = serve(smollm2, damaged)
    response = own.http.post("/v1/chat/completions", json={**SHORT, "model": "damaged"})
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "model_not_loaded"
    assert own.http.post("/api/show", json={"model": "damaged"}).status_code == 503
    assert own.http.post("/v1/chat/completions", json=SHORT).status_code == 200


def test_a_preset_is_a_model_with_a_prompt_of_its_own(serve, smollm2):
    own = serve(smollm2)
    folder = own.home / "presets"
    folder.mkdir()
    text = f'model = "{MODEL}"\nsystem = "You are a pirate."\n[sampling]\nmax_tokens = 5\n'
    (folder / "pirate.toml").write_text(text + "temperature = 0\n")
    assert "pirate" in [model.id for model in own.openai.models.list()]
    body = {"messages": SHORT["messages"], "model": "pirate"}
    found = own.http.post("/v1/chat/completions", json=body).json()
    assert found["model"] == "pirate"
    assert found["usage"]["completion_tokens"] == 5
    system = {"role": "system", "content": "You are a pirate."}
    same = {
        **SHORT,
        "messages": [system, *SHORT["messages"]],
        "max_tokens": 5,
    }
    plain = own.http.post("/v1/chat/completions", json=same).json()
    assert found["choices"] == plain["choices"]
    said_nothing = {"role": "user", "content": []}
    body = {"model": "pirate", "max_tokens": 2, "messages": [said_nothing]}
    assert own.http.post("/v1/messages", json=body).status_code == 200
    body = {"messages": SHORT["messages"], "model": "pirate"}
    (folder / "broken.toml").write_text("model = 3")
    response = own.http.post("/v1/chat/completions", json={**body, "model": "broken"})
    assert response.status_code == 503
    assert "broken.toml" in response.text


# The end


def test_the_server_answers_soon_after_its_start(serve, smollm2):
    began = time.monotonic()
    own = serve(smollm2)
    assert own.http.get("/health").json() == {"status": "ok"}
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_and_what_it_was_writing(serve, smollm2, number):
    own = serve(smollm2)
    # More than can be written in the time that answers under way are given.
    long = {**ENDLESS, "max_tokens": 8000}
    with own.http.stream("POST", "/v1/chat/completions", json=long) as got:
        lines = got.iter_lines()
        next(lines)
        own.process.send_signal(number)
        began = time.monotonic()
        with suppress(httpx.HTTPError):
            assert not any('"finish_reason":"length"' in line for line in lines)
    code = own.process.wait(20)
    assert time.monotonic() - began < 10
    assert code == (0 if number == signal.SIGTERM else 130)
    assert list((own.home / "servers").glob("*")) == []
    if number == signal.SIGINT:
        own.process.returncode = 0  # for the fixture: this end is as good


def test_an_address_in_use_is_a_clear_error(server):
    import subprocess
    import sys

    port = str(urlsplit(server.url).port)
    result = subprocess.run(
        [sys.executable, "-m", "pocketlm", "serve", "--port", port],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert "cannot listen on 127.0.0.1 port" in result.stderr
    assert "Traceback" not in result.stderr


def test_many_clients_who_come_and_go_leave_nothing_behind(quiet):
    """A tenth of a soak: a fifth of the clients leave at any moment; nothing is stuck or lost."""
    process = psutil.Process(quiet.process.pid)

    async def one(client, number):
        body = {**SHORT, "messages": [{"role": "user", "content": f"Say {number}."}]}
        body |= {"max_tokens": 8, "stream": number % 2 == 0}
        try:
            timeout = 0.05 + number % 7 / 20 if number % 5 == 0 else 60
            response = await client.post("/v1/chat/completions", json=body, timeout=timeout)
        except httpx.TimeoutException:
            return None
        return response.status_code

    async def all_of_them(start):
        limits = httpx.Limits(max_connections=12)
        async with httpx.AsyncClient(base_url=quiet.url, limits=limits) as client:
            return await asyncio.gather(*(one(client, start + n) for n in range(60)))

    asyncio.run(all_of_them(0))
    quiet.settled()
    descriptors, threads = process.num_fds(), process.num_threads()
    found = asyncio.run(all_of_them(100))
    assert {code for code in found if code is not None} == {200}
    quiet.settled()
    time.sleep(0.3)
    assert process.num_fds() <= descriptors + 2
    assert process.num_threads() <= threads + 8


def test_threads_of_clients_see_no_fault(server):
    errors = []

    def talk():
        try:
            server.openai.chat.completions.create(**SHORT)
        except openai.OpenAIError as error:
            errors.append(error)

    threads = [threading.Thread(target=talk) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
