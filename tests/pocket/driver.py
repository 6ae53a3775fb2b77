"""The C API, driven through the program `drive` (tests/pocket/drive.c)."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np


class Driver:
    """A model, a session and a sampler, behind the C API with one thread.

    `said` of a call is its answer; one that fails raises RuntimeError with "STATUS TEXT".
    """

    def __init__(self, program: Path, model: Path, *options: object) -> None:
        self._process = subprocess.Popen(
            [program, model, *map(str, options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def __enter__(self) -> "Driver":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)
        assert self._process.returncode == 0

    def step(self, tokens: Sequence[int]) -> None:
        self._ask("step", *tokens)

    def logits(self) -> np.ndarray:
        return np.frombuffer(bytes.fromhex(self._ask("logits")), ">u4").astype("u4").view("f4")

    def rewind(self, length: int) -> None:
        self._ask("rewind", length)

    def sampler(self, prompt: Sequence[int], **parameters: float) -> None:
        names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
        names += ("presence_penalty", "frequency_penalty", "seed")
        defaults = {"top_p": 1.0, "repetition_penalty": 1.0}
        values = [parameters.pop(name, defaults.get(name, 0)) for name in names]
        assert not parameters
        self._ask("sampler", *map(repr, values), *prompt)

    def sample(self) -> int:
        return int(self._ask("sample"))

    def generate(self, prompt: Sequence[int], count: int) -> list[int]:
        """Up to `count` tokens after the prompt, to the first that ends an answer."""
        ends = self.ends()
        tokens: list[int] = []
        pending = list(prompt)
        while len(tokens) < count:
            self.step(pending)
            token = self.sample()
            if token in ends:
                break
            tokens.append(token)
            pending = [token]
        return tokens

    def tokenize(self, text: str, flags: int = 0) -> list[int]:
        return [int(word) for word in self._ask("tokenize", flags, text.encode().hex()).split()]

    def text(self, tokens: Sequence[int], after: int = -1) -> str:
        return bytes.fromhex(self._ask("text", after, *tokens)).decode()

    def token_bytes(self, token: int) -> bytes:
        return bytes.fromhex(self._ask("bytes", token))

    def facts(self) -> dict[str, str]:
        return dict(word.split("=") for word in self._ask("facts").split())

    def ends(self) -> set[int]:
        return {int(word) for word in self._ask("ends").split()}

    def _ask(self, *words: object) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        said = self._process.stdout.readline().rstrip("\n")
        if said.startswith("error "):
            raise RuntimeError(said.removeprefix("error "))
        return said
