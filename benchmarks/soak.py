"""A server under mixed clients for a long time, a fifth of whom go away: what stays behind.

Clients send chats, texts, schemas, functions, long prompts and vectors, in three dialects, streamed
and not; one in five closes its connection at some moment (while it waits, while its prompt is read,
while its answer is written). Every response must be complete, or end with an error that says why.
Memory, file descriptors and threads of the server are looked at all the while; what they rise by
after the first fifth of the time is printed, and what was still running or waiting at the end.

    python benchmarks/soak.py MODEL.gguf --minutes 30
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections import Counter
from pathlib import Path

import httpx
import psutil

from comparison.machine import processor
from serving import free_port, prompt, serving

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}


def request(rng: random.Random, model: str) -> tuple[str, dict[str, object], bool]:
    """A path, a body, and whether the response is a stream."""
    messages = [{"role": "user", "content": prompt(rng, rng.choice((5, 40, 40, 400, 3000)))}]
    chat = {"model": model, "messages": messages, "max_tokens": rng.choice((1, 16, 64))}
    stream = rng.random() < 0.6
    format = {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}
    tool = {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}
    path, more = rng.choice(
        (
            ("/v1/chat/completions", {}),
            ("/v1/chat/completions", {"response_format": format}),
            ("/v1/chat/completions", {"tools": [tool], "tool_choice": "required"}),
            ("/v1/chat/completions", {"n": 2, "temperature": 1.0}),
            ("/v1/messages", {}),
            ("/api/chat", {"options": {"num_predict": 16}}),
            ("/v1/embeddings", {"input": messages[0]["content"]}),
        )
    )
    if path == "/v1/embeddings":
        return path, {"model": model, **more}, False
    return path, {**chat, **more, "stream": stream}, stream


def is_whole(path: str, stream: bool, text: str) -> bool:
    """Whether a response of status 200 came to its end."""
    if not stream:
        return bool(json.loads(text))
    lines = [line for line in text.splitlines() if line]
    if path == "/api/chat":
        return json.loads(lines[-1]).get("done") is True
    return lines[-1] == "data: [DONE]" or "message_stop" in lines[-1]


async def client(url: str, model: str, seed: int, until: float, counts: Counter) -> None:
    """One client, who sends one request after another."""
    rng = random.Random(seed)
    async with httpx.AsyncClient(base_url=url, timeout=300) as http:
        while time.monotonic() < until:
            path, body, stream = request(rng, model)
            leaves = rng.random() < 0.2
            try:
                async with asyncio.timeout(rng.choice((0.01, 0.1, 0.5, 2)) if leaves else 300):
                    response = await http.post(path, json=body)
            except TimeoutError:
                counts["left"] += 1
                continue
            if response.status_code == 200:
                counts["whole" if is_whole(path, stream, response.text) else "broken"] += 1
            else:
                counts[f"status {response.status_code}"] += 1


async def soak(url: str, pid: int, args: argparse.Namespace, counts: Counter) -> list[tuple]:
    """All clients; what the server took, every second."""
    process = psutil.Process(pid)
    began = time.monotonic()
    until = began + args.minutes * 60
    model = Path(args.model).name.removesuffix(".gguf")
    clients = [
        asyncio.create_task(client(url, model, seed, until, counts)) for seed in range(args.clients)
    ]
    samples = []
    while time.monotonic() < until:
        await asyncio.sleep(1)
        taken = process.memory_info().rss / 2**20, process.num_fds(), process.num_threads()
        samples.append((time.monotonic() - began, *taken))
    await asyncio.gather(*clients)
    return samples


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "pocketlm", "serve", args.model, "--port", str(port)]
    command += ["--threads", str(args.threads), "--no-prefix-cache"]
    counts: Counter[str] = Counter()
    with serving(command, url):
        pid = next(c.pid for c in psutil.net_connections() if c.laddr.port == port and c.pid)
        samples = asyncio.run(soak(url, pid, args, counts))
        time.sleep(2)
        (model,) = httpx.get(f"{url}/api/ps").json()["models"]
        stuck = model["running"], model["waiting"]
        descriptors = psutil.Process(pid).num_fds()
    warm = [sample for sample in samples if sample[0] > args.minutes * 60 / 5]
    third = max(len(warm) // 3, 1)
    early, late = (
        [statistics.median(column) for column in zip(*part, strict=True)]
        for part in (warm[:third], warm[-third:])
    )
    print(
        f"{processor()}, {args.threads} threads, {args.clients} clients, {args.minutes:g} minutes"
    )
    print("responses: " + ", ".join(f"{n:,} {what}" for what, n in counts.most_common()))
    print(f"memory: {early[1]:.0f} MiB, later {late[1]:.0f} ({late[1] / early[1] - 1:+.1%})")
    print(f"file descriptors: {early[2]:.0f}, later {late[2]:.0f}, {descriptors} at the end")
    print(f"threads: {early[3]:.0f}, later {late[3]:.0f}")
    print(f"at the end {stuck[0]} answers being written, {stuck[1]} waiting")


if __name__ == "__main__":
    main()
