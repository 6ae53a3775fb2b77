"""What the fuzzers share: mutation, the loop, the watch over time and memory, the report.

    python tests/fuzz/fuzz_gguf.py --seconds 60
    python tests/fuzz/fuzz_gguf.py --count 1000000

Only `pocketlm.errors.Error` may come out of the code under test. Anything else, more than a second
of processor time for one input, or memory beyond the limit, ends the run with exit code 1; the
input is written to `--keep`.
"""

import argparse
import ctypes
import random
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketlm.errors import Error

#: Most processor seconds that one input may take.
HANG_SECONDS = 1.0
#: Most address space that the process may take beyond what it has at the start.
MEMORY_BYTES = 256 << 20

Random = random.Random


@dataclass(frozen=True)
class Seed:
    """A sound input, and where its integers are: (offset, size)."""

    data: bytes
    integers: Sequence[tuple[int, int]] = ()


Mutation = Callable[[Random, bytearray, Seed, Sequence[Seed]], None]


def flip_bit(rng: Random, data: bytearray, seed: Seed, seeds: Sequence[Seed]) -> None:
    """Turn one bit."""
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def set_byte(rng: Random, data: bytearray, seed: Seed, seeds: Sequence[Seed]) -> None:
    """Replace one byte, often by one that text formats give a meaning."""
    data[rng.randrange(len(data))] = rng.choice(b'\x00\x7f\x80\xff"\\{}[]:,-09eE tn\n')


def set_integer(rng: Random, data: bytearray, seed: Seed, seeds: Sequence[Seed]) -> None:
    """Put a boundary value in place of one of the seed's integers, or anywhere."""
    if seed.integers and rng.random() < 0.8:
        offset, size = rng.choice(seed.integers)
    else:
        offset, size = rng.randrange(len(data)), rng.choice((1, 2, 4, 8))
    value = rng.choice((0, 1, 1 << 8 * size - 1, 1 << 4 * size, rng.getrandbits(8 * size)))
    value += rng.choice((0, 0, -1, 1, -32, 32, -64))
    data[offset : offset + size] = (value % (1 << 8 * size)).to_bytes(size, "little")


def add_to_integer(rng: Random, data: bytearray, seed: Seed, seeds: Sequence[Seed]) -> None:
    """Make one of the seed's integers a little larger or smaller."""
    if seed.integers:
        offset, size = rng.choice(seed.integers)
        value = int.from_bytes(data[offset : offset + size], "little") + rng.randint(-40, 40)
        data[offset : offset + size] = (value % (1 << 8 * size)).to_bytes(size, "little")


def truncate(rng: Random, data: bytearray, seed: Seed, seeds: Sequence[Seed]) -> None:
    """Cut the end off."""
    del data[rng.randrange(len(data)) :]


def delete(rng: Random, data: bytearray, seed: Seed, seeds: Sequence[Seed]) -> None:
    """Take a few bytes out."""
    start = rng.randrange(len(data))
    del data[start : start + rng.randint(1, 16)]


def repeat(rng: Random, data: bytearray, seed: Seed, seeds: Sequence[Seed]) -> None:
    """Write a stretch twice."""
    start = rng.randrange(len(data))
    stretch = data[start : start + rng.randint(1, 200)]
    data[start:start] = stretch * rng.choice((1, 1, 1, 50))


def splice(rng: Random, data: bytearray, seed: Seed, seeds: Sequence[Seed]) -> None:
    """Put a stretch of a seed over, or into, this one."""
    other = rng.choice(seeds).data
    start, length = rng.randrange(len(other)), rng.randint(1, 200)
    place = rng.randrange(len(data))
    data[place : place + rng.choice((0, length))] = other[start : start + length]


MUTATIONS: tuple[Mutation, ...] = (
    flip_bit,
    set_byte,
    set_integer,
    set_integer,
    add_to_integer,
    truncate,
    delete,
    repeat,
    splice,
)


def mutate(rng: Random, seeds: Sequence[Seed], mutations: Sequence[Mutation]) -> bytes:
    """Return a seed with one to four faults."""
    seed = rng.choice(seeds)
    data = bytearray(seed.data)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        if data:
            rng.choice(mutations)(rng, data, seed, seeds)
    return bytes(data)


class Hang(BaseException):
    """One input took too long."""


def main(
    name: str,
    target: Callable[[bytes], None],
    seeds: Sequence[Seed],
    mutations: Sequence[Mutation] = MUTATIONS,
) -> None:
    """Run a fuzzer by its command line and exit."""
    parser = argparse.ArgumentParser(description=f"Fuzz the {name} reader.")
    parser.add_argument("--seconds", type=float, help="stop after this time (default: 60)")
    parser.add_argument("--count", type=int, help="stop after this many inputs")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers")
    parser.add_argument("--keep", type=Path, default=Path(), help="folder for an input that fails")
    arguments = parser.parse_args()
    seconds = arguments.seconds or (60.0 if arguments.count is None else None)

    for seed in seeds:
        target(seed.data)
    sys.exit(_run(name, target, seeds, mutations, seconds, arguments))


def _run(
    name: str,
    target: Callable[[bytes], None],
    seeds: Sequence[Seed],
    mutations: Sequence[Mutation],
    seconds: float | None,
    arguments: argparse.Namespace,
) -> int:
    _limit_memory()
    signal.signal(signal.SIGPROF, _hang)
    rng = random.Random(arguments.seed)
    outcomes: Counter[str] = Counter()
    begin = time.perf_counter()
    count, slowest = 0, 0.0
    while arguments.count is None or count < arguments.count:
        if seconds is not None and time.perf_counter() - begin > seconds:
            break
        data = mutate(rng, seeds, mutations)
        count += 1
        started = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
        try:
            target(data)
            outcomes["read"] += 1
        except Error as error:
            outcomes[type(error).__name__] += 1
            if "\n" in str(error) or len(str(error)) > 400:
                return _failed(name, arguments, count, data, "a message of more than one line")
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                break
            traceback.print_exc()
            return _failed(name, arguments, count, data, type(error).__name__)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        slowest = max(slowest, time.process_time() - started)

    wall = time.perf_counter() - begin
    listed = ", ".join(f"{number:,} {outcome}" for outcome, number in outcomes.most_common())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name}: {count:,} inputs in {wall:.1f} s ({count / wall:,.0f}/s), seed {arguments.seed}:"
        f" {listed}; slowest {slowest * 1000:.1f} ms, peak memory {peak:.0f} MiB; no failure"
    )
    return 0


def _failed(name: str, arguments: argparse.Namespace, count: int, data: bytes, what: str) -> int:
    path = arguments.keep / f"fuzz-{name}-{arguments.seed}-{count}.bin"
    path.write_bytes(data)
    print(f"{name}: input {count:,} FAILED: {what}; kept as {path}")
    return 1


def _hang(signum: int, frame: object) -> None:
    raise Hang(f"more than {HANG_SECONDS} s of processor time")


def _limit_memory() -> None:
    # Pools of threads come and go; an arena of malloc for each would take the address space.
    m_arena_max = -8
    ctypes.CDLL(None).mallopt(m_arena_max, 1)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
