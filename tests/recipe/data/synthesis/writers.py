"""Endpoints for tests: small servers on this machine that write what they are told to."""

from __future__ import annotations

import json
import random
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pocketlm.recipe.data.synthesis.plan import Plan
from pocketlm.recipe.data.synthesis.run import series_of

#: Gets the body of a request; gives an answer, or an HTTP status.
Reply = Callable[[dict[str, Any]], "str | int"]
WORDS = re.findall(
    r"\w+",
    """
    water bread stone river light morning teacher number garden machine window winter metal
    question answer pressure circle border market island engine valley shadow thread kitchen
    bridge colour hammer letter memory mountain needle orange paper pocket rabbit season silver
    summer table tunnel village wagon weather wheel finger forest flower candle barrel basket
    """,
)


@dataclass
class Writer:
    """A running endpoint, and what it was asked."""

    url: str
    reply: Reply
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def prompts(self) -> list[str]:
        return [body["messages"][0]["content"] for body in self.asked]


@contextmanager
def writing(reply: Reply, model: str = "author") -> Iterator[Writer]:
    """Run an endpoint as long as the block lasts; each word of an answer counts as a token."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(200, {"object": "list", "data": [{"id": model, "object": "model"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with found.lock:
                found.asked.append(body)
                found.keys.append(self.headers["Authorization"])
                found.at_once += 1
                found.most_at_once = max(found.most_at_once, found.at_once)
            try:
                said = found.reply(body)
            finally:
                with found.lock:
                    found.at_once -= 1
            # Whoever asked may have been killed.
            with suppress(BrokenPipeError, ConnectionResetError):
                if isinstance(said, int):
                    self._send(said, {"error": {"message": "not this one"}})
                    return
                words, most = said.split(), body["max_tokens"]
                choice = {
                    "index": 0,
                    "message": {"role": "assistant", "content": said},
                    "finish_reason": "length" if len(words) > most else "stop",
                }
                usage = {"prompt_tokens": 100, "completion_tokens": len(words), "total_tokens": 0}
                self._send(200, {"id": "1", "object": "chat.completion", "created": 0,
                                 "model": model, "choices": [choice], "usage": usage})  # fmt: skip

        def _send(self, status: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found = Writer(f"http://127.0.0.1:{server.server_port}/v1", reply)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()


def prose(seed: object, words: int = 60) -> str:
    """Words that no other seed has in this order; they mean nothing."""
    chance = random.Random(f"{seed}")
    return " ".join(chance.choice(WORDS) for _ in range(words)) + "."


def good(plan: Plan, numbers: int = 200) -> Reply:
    """An author who does what is asked, and knows the answers of the plan's first problems."""
    answers = {}
    for series in series_of(plan):
        for number in range(numbers):
            seed = series.seeds[number]
            request = series.request(number)
            answers[request.prompt, request.seed] = written(series, seed)
    return lambda body: answers[body["messages"][0]["content"], body["seed"]]


def written(series: Any, seed: Any) -> str:
    """A fit answer to a seed."""
    said = prose(f"{series.name} {seed.random}")
    if series.name == "textbook":
        return f"## About {seed.topic}\n\n{said}\n\nAnd 3 × 4 = 12."
    if series.name == "exercise":
        return f"Exercise: {said}\nSolution: There are 3 of 4, so 3 × 4 = 12.\nAnswer: 12"
    if series.name == "dialogue":
        parts = [said[:80], said[80:160], said[160:240], said[240:]]
        names = ["User", "Assistant"] * 2
        return "\n".join(f"{name}: {part}" for name, part in zip(names, parts, strict=True))
    problem = series.kind.problem(seed)
    facts = ". ".join(problem.facts)
    return (
        f"Problem: {said} {facts}. {problem.question}\n"
        f"Solution: It follows from the facts.\nAnswer: {problem.answer}"
    )
