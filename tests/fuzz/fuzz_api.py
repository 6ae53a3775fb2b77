"""Fuzz the HTTP API: requests with faults, to every path that takes a body.

An input is a path, a new line and a body. Whatever it is, the answer is a response, soon, and never
the status 500. Answers are written by the real small model, for a moment at most.
"""

import asyncio
import json
import tempfile
import threading
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import driver
import httpx

from pocketlm.serve.app import make_app
from pocketlm.serve.assistant import open_assistant
from pocketlm.serve.pool import Pool
from pocketlm.serve.settings import Settings
from pocketlm.store import Store

#: The only statuses that a request may lead to (307 where a path has a slash too many).
SOUND = {200, 307, 400, 404, 405, 409, 413, 415, 429, 503, 504}
HEADERS = {"Host": "127.0.0.1", "Content-Type": "application/json"}

_Result = TypeVar("_Result")

_ask = [{"role": "user", "content": "Hi"}]
_tool = {"name": "f", "description": "d", "parameters": {"properties": {"a": {"type": "integer"}}}}
_call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
_schema = {"type": "object", "properties": {"a": {"enum": [1, "b"]}}, "required": ["a"]}
_cited = {"number": 1, "source": "/a", "title": "", "passage": "4", "quote": "4", "supported": True}
REQUESTS = (
    (
        "/v1/chat/completions",
        {
            "messages": [
                {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
                *_ask,
                {"role": "assistant", "content": None, "tool_calls": [_call]},
                {"role": "tool", "tool_call_id": "c", "content": "2"},
            ],
            "tools": [{"type": "function", "function": {**_tool, "strict": True}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "parallel_tool_calls": True,
            "max_tokens": 3,
        },
    ),
    (
        "/v1/chat/completions",
        {
            "messages": _ask,
            "max_completion_tokens": 2,
            "temperature": 0.5,
            "top_p": 0.9,
            "n": 2,
            "seed": 1,
            "stop": ["a", "b"],
            "logit_bias": {"5": -3},
            "logprobs": True,
            "top_logprobs": 2,
            "presence_penalty": 0.1,
            "frequency_penalty": -0.1,
            "stream": True,
            "stream_options": {"include_usage": True},
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "s", "schema": _schema, "strict": True},
            },
        },
    ),
    ("/v1/chat/completions", {"messages": _ask, "max_tokens": 2, "regex": "(a|b)+"}),
    (
        "/v1/chat/completions",
        {"messages": _ask, "max_tokens": 2, "grammar": 'start: "a" B\nB: /x+/'},
    ),
    (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "What is 2 + 3?"}], "server_tools": True},
    ),
    (
        "/v1/chat/completions",
        {"messages": _ask, "max_tokens": 2, "server_tools": ["calculate"], "stream": True},
    ),
    ("/v1/completions", {"prompt": [1, 2, 3], "max_tokens": 2, "logprobs": 1, "echo": True}),
    ("/v1/embeddings", {"input": ["a", "b"], "encoding_format": "base64"}),
    (
        "/v1/responses",
        {
            "input": [*_ask, {"type": "function_call_output", "call_id": "c", "output": "x"}],
            "instructions": "Be brief.",
            "max_output_tokens": 2,
            "tools": [{"type": "function", **_tool}],
            "text": {"format": {"type": "json_schema", "name": "s", "schema": _schema}},
            "stream": True,
        },
    ),
    (
        "/v1/messages",
        {
            "messages": [
                *_ask,
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f"}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]},
            ],
            "system": [{"type": "text", "text": "Be brief."}],
            "max_tokens": 2,
            "stop_sequences": ["x"],
            "tools": [{"name": "f", "input_schema": _tool["parameters"]}],
            "tool_choice": {"type": "any"},
            "stream": True,
        },
    ),
    ("/v1/messages/count_tokens", {"messages": _ask}),
    (
        "/api/chat",
        {
            "messages": _ask,
            "options": {"num_predict": 2, "temperature": 0, "repeat_penalty": 1.1, "stop": "x"},
            "format": _schema,
            "keep_alive": "5m",
        },
    ),
    ("/api/generate", {"prompt": "a", "raw": True, "options": {"num_predict": 2}, "stream": False}),
    ("/api/show", {"name": "smollm2"}),
    ("/api/embed", {"input": ["a"]}),
    ("/ui/answer", {"answer": "0" * 32, "text": "Hi", "sampling": {"max_tokens": 2, "seed": 1}}),
    (
        "/ui/answer",
        {
            "answer": "1" * 32,
            "messages": [*_ask, {"role": "assistant", "content": "$x$"}],
            "keep": False,
            "at": 0,
            "files": [{"name": "a", "text": "b"}],
            "system": "Be brief.",
            "sampling": {"max_tokens": 2, "top_p": 0.9, "temperature": 0.5},
        },
    ),
    ("/ui/answer", {"answer": "2" * 32, "text": "Hi", "chat": 1, "revision": 2}),
    (
        "/ui/answer",
        {
            "answer": "3" * 32,
            "messages": [
                *_ask,
                {
                    "role": "assistant",
                    "content": "4 [1]",
                    "sources": {"text": "4 [1]", "found": True, "citations": [_cited]},
                },
            ],
            "keep": False,
            "text": "What is 2 + 3?",
            "search": True,
            "tools": True,
            "sampling": {"max_tokens": 2},
        },
    ),
    ("/ui/stop", {"answer": "0" * 32}),
    ("/ui/chats/1", {"title": "a"}),
)
PIECES = (
    *(b"null,", b"true", b"-1", b"0", b"1e400", b"18446744073709551616", b'""', b"[]", b"{}"),
    *(b'"stream":true,', b'"n":9,', b'"tokens":[1],', b'"type":"image_url",', b'"\\u0000"'),
    *(b'"role":"system",', b'"regex":"[",', b'"content":null,', b'"max_tokens":0,', b'"\\ud800"'),
)


def put_piece(
    rng: driver.Random, data: bytearray, seed: driver.Seed, seeds: Sequence[driver.Seed]
) -> None:
    """Put a piece of JSON after a bracket, a colon or a comma."""
    places = [i + 1 for i, byte in enumerate(data) if byte in b"{[:,"]
    if places:
        place = rng.choice(places)
        data[place:place] = rng.choice(PIECES)


SEEDS = tuple(
    driver.Seed(f"{path}\n{json.dumps({'model': 'smollm2', **body})}".encode())
    for path, body in REQUESTS
)


def main() -> None:
    """Run the server within this process, in a thread, and fuzz it from this one."""
    path = Store(offline=True).resolve("smollm2")
    load = {"threads": 1, "context": 512}
    settings = Settings(
        models={"smollm2": path}, load=load, timeout=0.3, parallel=2, tools=["calculator", "dates"]
    )
    home = tempfile.TemporaryDirectory()  # for a history of our own
    offered = open_assistant(settings, Path(home.name), print)
    pool = Pool(settings, Store(Path(home.name), offline=True))
    app = make_app(settings, pool, offered.__enter__())
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=None)
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    def run(work: Coroutine[Any, Any, _Result]) -> _Result:
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    def target(data: bytes) -> None:
        where, _, body = data.partition(b"\n")
        try:
            url = httpx.URL("http://127.0.0.1", raw_path=b"/" + where.lstrip(b"/"))
        except (httpx.InvalidURL, UnicodeDecodeError):
            return  # no client could send it
        response = run(client.post(url, content=body, headers=HEADERS))
        assert response.status_code in SOUND, response.text

    life = app.router.lifespan_context(app)
    run(life.__aenter__())
    try:
        driver.main("API", target, SEEDS, (*driver.MUTATIONS, put_piece, put_piece))
    finally:
        run(life.__aexit__(None, None, None))
        offered.__exit__(None, None, None)
        home.cleanup()


if __name__ == "__main__":
    main()
