"""How fast files of one model are that hold its weights in different types.

    python benchmarks/file_speed.py phi3-random-q4_0.gguf phi3-p4.gguf phi3-1.8gib.gguf

All are open at once and do the same work in turns, since the machine's speed changes meanwhile.
Ratios are to the first file, medians of those of each turn: of tokens a second for a prompt, and
for generating; and, by the byte, of the bytes a second that generating reads. With one instruction
set after the other, if some are named.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from comparison.machine import processor
from pocketlm import models
from pocketlm.engine.engine import Engine
from pocketlm.engine.runtime import Runtime
from pocketlm.engine.work import Place, Work
from pocketlm.formats.open import open_checkpoint


@dataclass(frozen=True)
class File:
    """A model that is open, and room for a text."""

    path: Path
    engine: Engine
    place: Place

    def rate(self, work: Work) -> float:
        """Tokens a second."""
        return work.tokens / self.place.seconds(work)

    @property
    def gigabytes(self) -> float:
        """What generating one token reads, in 10^9 bytes."""
        return self.engine.runtime.step_bytes(0) / 1e9


def opened(
    path: Path, threads: int, instruction_set: str | None, length: int, stack: ExitStack
) -> File:
    """The file, until the stack ends."""
    checkpoint = stack.enter_context(open_checkpoint(path))
    program = models.build(checkpoint.config, checkpoint.tensors)
    runtime = Runtime(program, checkpoint.tensors, threads=threads, instruction_set=instruction_set)
    engine = Engine(runtime, length)
    stack.callback(engine.close)
    return File(path, engine, Place(engine, length))


def measure(files: list[File], reading: Work, writing: Work, turns: int) -> None:
    """Print a line for each file."""
    rates: dict[Work, list[list[float]]] = {reading: [], writing: []}
    for turn in range(turns + 1):
        for work, found in rates.items():
            row = [file.rate(work) for file in files]
            if turn > 0:  # the first brings pages
                found.append(row)
    for index, file in enumerate(files):
        prompts, tokens = (median(row[index] for row in found) for found in rates.values())
        reads, writes = (median(row[index] / row[0] for row in found) for found in rates.values())
        bytes_ratio = writes * file.gigabytes / files[0].gigabytes
        print(
            f"{file.path.name:28}  {file.gigabytes:7.3f}  {prompts:9.1f}  {reads:5.2f}"
            f"  {tokens:9.2f}  {writes:5.2f}  {tokens * file.gigabytes:6.1f}  {bytes_ratio:7.2f}"
        )


def main(
    files: Annotated[list[Path], typer.Argument(help="Files; ratios are to the first.")],
    prompt: Annotated[int, typer.Option(help="Tokens of a prompt.")] = 256,
    tokens: Annotated[int, typer.Option(help="Tokens that are generated.")] = 32,
    turns: Annotated[int, typer.Option(help="Turns.")] = 5,
    threads: Annotated[int, typer.Option(help="Threads.")] = 2,
    instruction_set: Annotated[list[str] | None, typer.Option(help="The best.")] = None,
) -> None:
    """Measure, and print a table for each instruction set."""
    reading, writing = Work(prompt), Work(tokens, generate=True)
    names: list[str | None] = [*(instruction_set or [])] or [None]
    for name in names:
        with ExitStack() as stack:
            group = [opened(path, threads, name, max(prompt, tokens), stack) for path in files]
            used = group[0].engine.runtime.pool.instruction_set
            print(f"{processor()}; {threads} threads; {used}; {turns} turns")
            work = f"{reading.name + '/s':>9}  ratio  {writing.name + '/s':>9}  ratio"
            print(f"{'':28}  GB read  {work}    GB/s  by byte")
            measure(group, reading, writing, turns)
            print()


if __name__ == "__main__":
    typer.run(main)
