"""Work of a known size, for measuring: what it costs at least, and how long it takes.

It knows the runtime and the clock. It samples nothing and reuses nothing: every token is computed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from pocketlm.engine.engine import CHUNK, Engine
from pocketlm.engine.runtime import Runtime


@dataclass(frozen=True)
class Work:
    """`tokens` tokens after `depth` others: a prompt, or (`generate`) one token after the other."""

    tokens: int
    depth: int = 0
    generate: bool = False

    @property
    def name(self) -> str:
        """As benchmarks of language models name it."""
        return f"{'tg' if self.generate else 'pp'}{self.tokens}"

    def least_seconds(self, runtime: Runtime, read_gb_s: float, int8_gmac_s: float) -> float:
        """Seconds that it takes at the machine's limit: to read the bytes, or to multiply."""
        if not self.generate:
            return runtime.program.prompt_macs(self.tokens) / int8_gmac_s / 1e9
        positions = range(self.depth + 1, self.depth + self.tokens + 1)
        return sum(map(runtime.step_bytes, positions)) / read_gb_s / 1e9


class Place:
    """Cache for one text of `length` tokens, in which any part of it can run again and again.

    Blocks that a window has passed serve again for later positions.
    """

    def __init__(self, engine: Engine, length: int) -> None:
        """Take the blocks. Raises Error where there is no memory for them."""
        self._engine = engine
        program, size = engine.runtime.program, engine.runtime.cache.block_positions
        whole = -(-length // size)
        kept = whole if program.window is None else -(-(program.window + CHUNK) // size) + 1
        blocks = [engine.blocks.allocate().number for _ in range(min(whole, kept))]
        self._table = np.resize(np.array(blocks, dtype=np.int32), whole)
        self._tokens = [7 * i % program.vocab_size for i in range(whole * size)]

    def seconds(self, work: Work) -> float:
        """How long the work takes."""
        start = time.perf_counter()
        if work.generate:
            for at in range(work.depth, work.depth + work.tokens):
                self._step(at, 1, pick=True)
        else:
            self.prompt(0, work.tokens)
        return time.perf_counter() - start

    def prompt(self, start: int, count: int) -> None:
        """Process `count` tokens as the engine does: in chunks, with logits for the last one."""
        end = min(start + count, len(self._tokens))
        for at in range(start, end, CHUNK):
            size = min(CHUNK, end - at)
            self._step(at, size, pick=at + size == end)

    def _step(self, at: int, count: int, *, pick: bool) -> None:
        runtime = self._engine.runtime
        rope_set = runtime.program.rope.set_for(at + count)
        segment = (count, at, rope_set, self._table)
        picks = [count - 1] if pick else []
        adapters = [self._engine.adapter.native]
        runtime.run(self._tokens[at : at + count], [segment], picks, adapters)
