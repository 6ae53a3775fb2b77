"""pocketlm, by the runtime that its engine uses."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import pocketlm
from comparison.works import Place, Places, Work, token
from pocketlm.engine.engine import CHUNK
from pocketlm.engine.runtime import Runtime
from pocketlm.engine.sampling import SamplingParameters, Token
from pocketlm.formats.open import open_checkpoint
from pocketlm.models import build


class Engine(Places):
    """A model of ours; `cache_type` None is the default, `window` False does without its window."""

    def __init__(
        self,
        path: str,
        threads: int,
        works: Sequence[Work],
        cache_type: str | None = None,
        window: bool = True,
    ) -> None:
        super().__init__(works)
        checkpoint = open_checkpoint(Path(path))
        program = build(checkpoint.config, checkpoint.tensors)
        #: Works that end before this are the same with a window as without.
        self._least = 0 if window else (program.window or program.context) + 1
        program = program if window else replace(program, window=None)
        kinds = {} if cache_type is None else {"cache_type": cache_type}
        self.runtime = Runtime(program, checkpoint.tensors, threads=threads, **kinds)
        self.version = f"{pocketlm.__version__} ({self.runtime.pool.instruction_set})"

    def open(self, context: int, texts: int) -> Place:
        return _Place(self.runtime, context, texts)

    def seconds(self, work: Work) -> float | None:
        return None if work.context < self._least else super().seconds(work)


class _Place:
    def __init__(self, runtime: Runtime, context: int, texts: int) -> None:
        self.runtime = runtime
        blocks = -(-context // runtime.cache.block_positions)
        self.tables = [
            np.array([runtime.cache.allocate() for _ in range(blocks)], dtype=np.int32)
            for _ in range(texts)
        ]
        self.rope_set = runtime.program.rope.set_for(context)
        self.position = 0

    def rewind(self, position: int) -> None:
        self.position = position

    def prompt(self, count: int) -> None:
        for text in range(len(self.tables)):
            end = self.position + count
            for start in range(self.position, end, CHUNK):
                size = min(CHUNK, end - start)
                self._run([text], start, size, [size - 1] if start + size == end else [])
        self.position += count

    def step(self) -> None:
        texts = range(len(self.tables))
        self._run(texts, self.position, 1, texts)
        self.position += 1

    def _run(self, texts: Sequence[int], start: int, size: int, picks: Sequence[int]) -> None:
        vocab_size = self.runtime.program.vocab_size
        tokens = [token(text, start + i, vocab_size) for text in texts for i in range(size)]
        segments = [(size, start, self.rope_set, self.tables[text]) for text in texts]
        self.runtime.run(tokens, segments, picks)


def first_token_s(path: str, threads: int, prompt: int, context: int) -> float:
    """Seconds from loading to the first token after a prompt of `prompt` tokens."""
    start = time.perf_counter()
    with pocketlm.load(Path(path), threads=threads, context=context) as model:
        tokens = [token(0, i, model.program.vocab_size) for i in range(prompt)]
        with model.engine.generate(tokens, SamplingParameters(max_tokens=1)) as request:
            next(event for event in request if isinstance(event, Token))
        return time.perf_counter() - start
