"""A server under several clients, beside llama.cpp's; and what a constraint costs a token.

Each client asks for one text after another, streamed, all at the same time; every text has another
prompt. The servers take turns, round by round, on the same file with the same threads. Printed are
medians over rounds: tokens a second of all clients together, the median time to the first token,
and the 95th percentile of the time between two pieces of a text.

    python benchmarks/serving.py MODEL.gguf --peer-python PEER/bin/python
    python benchmarks/serving.py MODEL.gguf --constraint

PEER is a virtual environment with `llama-cpp-python[server]`.
"""

import argparse
import asyncio
import itertools
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from comparison.machine import processor

WORDS = (
    *("river", "stone", "morning", "letter", "garden", "winter", "market", "paper", "engine"),
    *("island", "music", "window", "teacher", "silver", "forest", "journey", "bread", "number"),
    *("harbour", "story", "mountain", "doctor", "language", "summer", "village"),
)
SCHEMA = {
    "type": "array",
    "minItems": 40,
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 30},
            "kind": {"enum": ["cat", "dog", "bird", "fish"]},
            "description": {"type": "string", "minLength": 60, "maxLength": 200},
            "age": {"type": "integer", "minimum": 0, "maximum": 30},
        },
        "required": ["name", "kind", "description", "age"],
    },
}


@dataclass
class Text:
    """When the pieces of one text came, in seconds since it was asked for."""

    text: str
    moments: list[float]


@contextmanager
def serving(command: list[str], url: str):
    """A server process, from when it answers until the end of the block."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    with tempfile.NamedTemporaryFile("w", suffix=".log", delete=False) as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                httpx.get(f"{url}/v1/models", timeout=5).raise_for_status()
                break
            except httpx.HTTPError:
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"the server did not start: see {out.name}")
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(30)


def prompt(rng: random.Random, words: int) -> str:
    """A text of words that no other text begins with."""
    return "Once there was " + " ".join(rng.choices(WORDS, k=words)) + ". The story goes on:"


async def ask(client: httpx.AsyncClient, model: str, text: str, tokens: int) -> Text:
    """One streamed text."""
    body = {
        "model": model,
        "prompt": text,
        "max_tokens": tokens,
        "temperature": 0.8,
        "top_p": 1.0,
        "seed": len(text),
        "stream": True,
    }
    began = time.perf_counter()
    pieces, moments = [], []
    async with client.stream("POST", "/v1/completions", json=body) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                piece = json.loads(line[6:])["choices"][0]["text"]
                if piece:
                    pieces.append(piece)
                    moments.append(time.perf_counter() - began)
    return Text("".join(pieces), moments)


async def load(url: str, model: str, clients: int, args, rng: random.Random) -> dict[str, float]:
    """So many clients at the same time; see the module."""
    prompts = [[prompt(rng, args.words) for _ in range(args.texts)] for _ in range(clients)]
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=url, timeout=None, limits=limits) as client:

        async def one(mine: list[str]) -> list[Text]:
            return [await ask(client, model, text, args.tokens) for text in mine]

        began = time.perf_counter()
        found = [text for texts in await asyncio.gather(*map(one, prompts)) for text in texts]
        seconds = time.perf_counter() - began
    gaps = sorted(b - a for text in found for a, b in itertools.pairwise(text.moments))
    return {
        "tokens_per_s": sum(args.count(text.text) for text in found) / seconds,
        "first_s": statistics.median(text.moments[0] for text in found),
        "gap_p95_s": gaps[int(len(gaps) * 0.95)],
    }


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def compare(args) -> None:
    """Measure both servers and print a table."""
    import pocketlm

    with pocketlm.load(Path(args.model)) as model:
        tokenizer = model.tokenizer
    args.count = lambda text: len(tokenizer.encode(text))
    ports = free_port(), free_port()
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    threads, most = str(args.threads), str(max(args.clients))
    ours = [sys.executable, "-m", "pocketlm", "serve", args.model, "--port", str(ports[0])]
    ours += ["--threads", threads, "--parallel", most, "--no-prefix-cache"]
    servers = [("pocketlm", ours, urls[0], re.sub(r"\.gguf$", "", Path(args.model).name))]
    if args.peer_python:
        peer = [args.peer_python, "-m", "llama_cpp.server", "--model", args.model]
        peer += ["--port", str(ports[1]), "--n_ctx", "2048", "--n_threads", threads]
        # Else a request that comes cuts off the one that is being answered.
        peer += ["--n_threads_batch", threads, "--interrupt_requests", "False"]
        servers.append(("llama.cpp", peer, urls[1], args.model))
    rows: dict[tuple[str, int], list[dict[str, float]]] = {}
    for round_ in range(args.rounds):
        for name, command, url, model_name in servers:
            with serving(command, url):
                rng = random.Random(round_)
                asyncio.run(load(url, model_name, 1, args, rng))  # it is warm
                for clients in args.clients:
                    found = asyncio.run(load(url, model_name, clients, args, rng))
                    rows.setdefault((name, clients), []).append(found)
                    print(f"# {round_} {name} {clients} {found}", file=sys.stderr)
    print(f"{processor()}, {args.threads} threads, {Path(args.model).name},")
    print(f"{args.texts} texts of {args.tokens} tokens a client, median of {args.rounds} rounds\n")
    print("| clients | server | tokens/s | first token, s | between pieces, p95, ms |")
    print("| --- | --- | --- | --- | --- |")
    for clients in args.clients:
        for name, *_ in servers:
            found = rows[name, clients]
            rate, first, gap = (
                statistics.median(each[key] for each in found)
                for key in ("tokens_per_s", "first_s", "gap_p95_s")
            )
            print(f"| {clients} | {name} | {rate:.1f} | {first:.3f} | {gap * 1000:.1f} |")


def constraint(args) -> None:
    """Measure what a schema costs a token, and what it saves where drafts are tried."""
    import pocketlm

    path, count = Path(args.model), args.tokens
    plain = pocketlm.load(path, threads=args.threads, speculate=False)
    drafting = pocketlm.load(path, threads=args.threads)
    text = "A list of animals as JSON:\n"
    times: dict[str, list[float]] = {"free": [], "schema": [], "schema, drafts": []}
    for round_ in range(args.rounds + 1):
        for name, model, options in (
            ("free", plain, {}),
            ("schema", plain, {"schema": SCHEMA}),
            ("schema, drafts", drafting, {"schema": SCHEMA}),
        ):
            sampling = {"max_tokens": count, "temperature": 0.8, "seed": round_}
            moments = []
            for piece in model.stream(text, **sampling, **options):
                if piece.token is not None:
                    moments.append(time.perf_counter())
            if round_:  # the first one compiles
                seconds = moments[-1] - moments[0]
                times[name].append(seconds / (len(moments) - 1) * 1000)
    print(f"{processor()}, {args.threads} threads, {path.name},")
    print(f"{count} tokens a text, median of {args.rounds} rounds\n")
    print("| text | ms a token | beside free |")
    print("| --- | --- | --- |")
    for name, found in times.items():
        ratios = [one / other for one, other in zip(found, times["free"], strict=True)]
        print(f"| {name} | {statistics.median(found):.3f} | {statistics.median(ratios):.3f} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--peer-python", help="Python of an environment with llama_cpp.server")
    parser.add_argument("--constraint", action="store_true", help="measure constraints instead")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--texts", type=int, default=2, help="of each client")
    parser.add_argument("--tokens", type=int, default=48, help="of each text")
    parser.add_argument("--words", type=int, default=40, help="of each prompt")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if args.constraint:
        constraint(args)
    else:
        compare(args)


if __name__ == "__main__":
    main()
