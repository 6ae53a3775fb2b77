"""A real server in a process of its own, and the clients of others for it."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import anthropic
import httpx
import ollama
import openai

#: What the server calls the model of the fixture `smollm2`.
MODEL = "SmolLM2-135M-Instruct.Q4_1"


@dataclass
class Running:
    """A server, and the clients of others for it."""

    url: str
    process: subprocess.Popen[str]
    home: Path
    log: Path

    @property
    def openai(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=60)

    @property
    def anthropic(self) -> anthropic.Anthropic:
        return anthropic.Anthropic(base_url=self.url, api_key="none", max_retries=0, timeout=60)

    @property
    def ollama(self) -> ollama.Client:
        return ollama.Client(host=self.url, timeout=60)

    @property
    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def models(self) -> list[dict[str, object]]:
        """What is loaded, as /api/ps tells."""
        return self.http.get("/api/ps").json()["models"]

    def settled(self) -> None:
        """Wait until nothing is being written, and nothing waits."""
        deadline = time.monotonic() + 5
        while any(m["running"] or m["waiting"] for m in self.models()):
            assert time.monotonic() < deadline, "an answer does not end"
            time.sleep(0.02)


def start(home: Path, *arguments: str | Path, port: int = 0, **environment: str) -> Running:
    """Run `pocketlm serve` with these arguments, on any port unless one is named."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("POCKETLM_", "HF_", "OLLAMA"))}
    log = home / "log"
    home.mkdir(parents=True, exist_ok=True)
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "pocketlm", "serve", *map(str, arguments), "--port", str(port)],
            env={
                **kept,
                "HOME": str(home),
                "POCKETLM_HOME": str(home),
                "POCKETLM_OFFLINE": "1",
                **environment,
            },
            stderr=stderr,
            text=True,
        )
    deadline = time.monotonic() + 60
    while not (found := re.search(r"listening on (http://\S+);", log.read_text())):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, "the server does not start"
        time.sleep(0.02)
    return Running(found[1].replace("0.0.0.0", "127.0.0.1"), process, home, log)


def end(server: Running) -> None:
    """End a server as systemd would; it must end well, and have written of no fault."""
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(20) == 0, server.log.read_text()
    assert "Traceback" not in server.log.read_text(), server.log.read_text()
