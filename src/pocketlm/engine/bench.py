"""How fast a model runs on this machine, and how near that comes to what the machine allows.

It knows the engine, its runtime and the clock. What a program reads and computes it asks of the
program; what the machine reads and computes it measures just before and after each run, since both
change from one moment to the next on a machine that others use too.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from pocketlm.engine.engine import CHUNK, Engine
from pocketlm.engine.runtime import Runtime
from pocketlm.engine.sampling import SamplingParameters, Token
from pocketlm.engine.work import Place, Work
from pocketlm.errors import ParameterError

#: What is measured unless something else is said, as far as the context allows it.
PROMPTS = (128, 512, 2048)
DEPTHS = (0, 1024, 3500)
#: Tokens of the prompt whose first token is waited for.
FIRST_PROMPT = 16
#: How long, and how often at least, a limit is measured each time.
LIMIT_S, LIMIT_BURSTS = 0.1, 3


class Loaded(Protocol):
    """A loaded model, as `pocketlm.load` returns it."""

    @property
    def engine(self) -> Engine:
        """What generates."""

    def close(self) -> None:
        """Give the memory back."""


@dataclass
class Row:
    """What was measured of a work, a number for each repetition."""

    work: Work
    tokens_per_s: list[float] = field(default_factory=list)
    of_limit: list[float] = field(default_factory=list)

    @property
    def spread(self) -> float:
        """(maximum - minimum) / median of the rates."""
        rates = self.tokens_per_s
        return (max(rates) - min(rates)) / median(rates)

    def as_json(self) -> dict[str, Any]:
        """Medians, and the spread of the rate."""
        return {
            "work": self.work.name,
            "depth": self.work.depth,
            "tokens_per_s": round(median(self.tokens_per_s), 2),
            "spread": round(self.spread, 3),
            "of_limit": round(median(self.of_limit), 3),
        }


class Bench:
    """Measurements; those made so far can be read at any time, after Ctrl-C too.

    `prompts` are lengths of prompts, `generate` how many tokens are generated after each of
    `depths` tokens, `repeat` how often everything is done. `progress` is told what is under way.
    """

    def __init__(
        self,
        prompts: Sequence[int] | None = None,
        generate: int = 128,
        depths: Sequence[int] | None = None,
        repeat: int = 3,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Plan it. Raises ParameterError for a number that is too small."""
        for name, numbers, least in (
            ("pp", prompts or (), 1),
            ("tg", (generate,), 1),
            ("depth", depths or (), 0),
            ("repeat", (repeat,), 1),
        ):
            for number in numbers:
                if number < least:
                    raise ParameterError(f"{name} is {number}; it must be at least {least}")
        self._prompts, self._depths = prompts, depths
        self._generate, self._repeat = generate, repeat
        self._progress = progress
        self.threads: int | None = None
        self.load_s: list[float] = []
        self.first_token_s: list[float] = []
        self.read_gb_s: list[float] = []
        self.int8_gmac_s: list[float] = []
        self.rows: list[Row] = []

    def run(self, load: Callable[[], Loaded]) -> None:
        """Measure the model that `load` loads, which is loaded `repeat` times.

        Raises what `load` raises, and ParameterError for work that the context has no room for.
        """
        for turn in range(1, self._repeat + 1):
            self._progress(f"loading (run {turn} of {self._repeat})")
            self._open(load, last=turn == self._repeat)

    def as_json(self) -> dict[str, Any]:
        """Medians of what was measured; null for what was not."""
        return {
            "threads": self.threads,
            "limits": {
                "read_gb_s": _median(self.read_gb_s),
                "int8_gmac_s": _median(self.int8_gmac_s),
            },
            "load_s": _median(self.load_s),
            "first_token_s": _median(self.first_token_s),
            "peak_rss_mib": round(peak_rss_mib(), 1),
            "rows": [row.as_json() for row in self.rows],
        }

    def _open(self, load: Callable[[], Loaded], last: bool) -> None:
        """Load a model, which is gone at the end: two at once would count as peak memory."""
        start = time.perf_counter()
        with closing(load()) as model:
            load_s = time.perf_counter() - start
            self.threads = model.engine.runtime.pool.threads
            works = self._works(model.engine.context)
            self.load_s.append(load_s)
            self.first_token_s.append(_first_token_s(model.engine))
            if last:
                self._rounds(model.engine, works)

    def _works(self, context: int) -> list[Work]:
        prompts = [Work(n) for n in self._prompts or PROMPTS]
        texts = [Work(self._generate, n, generate=True) for n in self._depths or DEPTHS]
        asked = [*(prompts if self._prompts else []), *(texts if self._depths else texts[:1])]
        for work in asked:
            end = work.depth + work.tokens
            if end > context:
                raise ParameterError(
                    f"{work.name} at depth {work.depth:,} ends at {end:,} tokens; the context "
                    f"window has {context:,}"
                )
        return [work for work in prompts + texts if work.depth + work.tokens <= context]

    def _rounds(self, engine: Engine, works: Sequence[Work]) -> None:
        place = Place(engine, max((work.depth + work.tokens for work in works), default=1))
        for at in range(0, max((work.depth for work in works), default=0), CHUNK):
            self._progress(f"filling the cache, from {at:,} tokens on")
            place.prompt(at, CHUNK)
        runtime = engine.runtime
        rows = {work: Row(work) for work in works}
        before = _limits(runtime)
        for turn in range(1, self._repeat + 1):
            for work, row in rows.items():
                self._progress(
                    f"{work.name} at depth {work.depth:,} (run {turn} of {self._repeat})"
                )
                seconds = place.seconds(work)
                after = _limits(runtime)
                read_gb_s, int8_gmac_s = map(max, before, after)
                before = after
                self.read_gb_s.append(read_gb_s)
                self.int8_gmac_s.append(int8_gmac_s)
                least = work.least_seconds(runtime, read_gb_s, int8_gmac_s)
                row.tokens_per_s.append(work.tokens / seconds)
                row.of_limit.append(least / seconds)
                if turn == 1:
                    self.rows.append(row)


def peak_rss_mib() -> float:
    """The most memory that this process has had resident so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says there includes the program that started this one
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _limits(runtime: Runtime) -> tuple[float, float]:
    """What the threads read (10^9 bytes a second) and multiply (10^9 pairs a second) at best."""
    return _best(runtime.read_gb_s), _best(runtime.pool.int8_gmac_s)


def _best(rate: Callable[[], float]) -> float:
    """The best of short bursts: one that another program interrupts shows less than there is."""
    end = time.perf_counter() + LIMIT_S
    rates = [rate() for _ in range(LIMIT_BURSTS)]
    while time.perf_counter() < end:
        rates.append(rate())
    return max(rates)


def _first_token_s(engine: Engine) -> float:
    """Seconds from asking to the first token, after a prompt of FIRST_PROMPT tokens."""
    count = min(FIRST_PROMPT, engine.context - 1)
    prompt = [7 * i % engine.runtime.program.vocab_size for i in range(count)]
    start = time.perf_counter()
    with engine.generate(prompt, SamplingParameters(max_tokens=1)) as request:
        next(event for event in request if isinstance(event, Token))
    return time.perf_counter() - start


def _median(values: Sequence[float]) -> float | None:
    return round(median(values), 4) if values else None
