"""What the parity tests do with an engine, and with one sequence of a runtime by hand."""

from collections.abc import Sequence

import numpy as np

from pocketlm import models
from pocketlm.engine.engine import Engine
from pocketlm.engine.runtime import Runtime
from pocketlm.engine.sampling import SamplingParameters
from pocketlm.formats.checkpoint import Checkpoint


def engine_of(
    checkpoint: Checkpoint, *, threads: int | None = None, cache_type: str = "f16"
) -> Engine:
    """The checkpoint, ready to generate, with its whole context."""
    program = models.build(checkpoint.config, checkpoint.tensors)
    runtime = Runtime(program, checkpoint.tensors, threads=threads, cache_type=cache_type)
    return Engine(runtime, program.context)


def greedy(engine: Engine, prompt: Sequence[int], count: int) -> list[int]:
    """The `count` likeliest next tokens, one after the other; none of them ends the text."""
    with engine.generate(prompt, SamplingParameters(max_tokens=count)) as request:
        for _ in request:
            pass
        return request.generated


class Steps:
    """One sequence in a runtime's cache, to be put in steps together with others."""

    def __init__(self, runtime: Runtime, length: int) -> None:
        """A sequence that will be `length` tokens long, which decides LongRoPE's factors."""
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

    def free(self) -> None:
        """Let go of the blocks."""
        for block in self._table:
            self._runtime.cache.release(block)
        self._table = []
