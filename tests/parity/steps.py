"""Driving a runtime step by step: one sequence, in pieces of any size."""

from collections.abc import Sequence

import numpy as np

from pocketlm.engine.runtime import Runtime


class Steps:
    """A sequence in a runtime's cache. `rope_set` is fixed from its final length, as it must be."""

    def __init__(self, runtime: Runtime, length: int) -> None:
        self._runtime = runtime
        self._rope_set = runtime.program.rope.set_for(length)
        self._table: list[int] = []
        self._length = 0

    def segment(self, count: int) -> tuple[int, int, int, np.ndarray]:
        """Make place for the next `count` tokens."""
        cache, start = self._runtime.cache, self._length
        self._length += count
        while len(self._table) * cache.block_positions < self._length:
            self._table.append(cache.allocate())
        return count, start, self._rope_set, np.array(self._table, np.int32)

    def run(self, tokens: Sequence[int]) -> np.ndarray:
        """The logits of each of the next tokens."""
        return self._runtime.run(tokens, [self.segment(len(tokens))], range(len(tokens)))

    def free(self) -> None:
        for block in self._table:
            self._runtime.cache.release(block)
        self._table = []


def logits(runtime: Runtime, tokens: Sequence[int], chunk: int | None = None) -> np.ndarray:
    """float32 [n, vocab], the tokens processed `chunk` at a time."""
    steps = Steps(runtime, len(tokens))
    chunk = chunk or len(tokens)
    parts = [steps.run(tokens[start : start + chunk]) for start in range(0, len(tokens), chunk)]
    steps.free()
    return np.concatenate(parts)


def greedy(runtime: Runtime, prompt: Sequence[int], count: int) -> list[int]:
    """The `count` likeliest next tokens, one after the other."""
    steps = Steps(runtime, len(prompt) + count)
    found = [int(steps.run(prompt)[-1].argmax())]
    while len(found) < count:
        found.append(int(steps.run(found[-1:])[-1].argmax()))
    steps.free()
    return found
