"""What LoRA adapters cost: the same work without one, with one, and with one for each text.

    python benchmarks/adapters.py smollm2
    python benchmarks/adapters.py phi3-random.gguf --rank 16 --rank 64

First what a model that has an adapter costs a text without one: beside the model opened by itself,
which is measured before and after, so that its second ratio says how much the machine wavers.

Then adapters of random numbers for all projections of all layers, at each rank. A prompt of 512
tokens, a text that is generated, and a batch of texts that are generated together; in turns, since
the machine's speed changes while it is measured. The ratio is the median of those of neighbouring
turns; the share is what adapters have of the bytes that a step reads.
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import typer
from safetensors.numpy import save_file

import pocketlm
from comparison.machine import processor
from pocketlm.api import Adapter, Model
from pocketlm.engine.sampling import SamplingParameters
from pocketlm.engine.work import Place, Work
from pocketlm.models.program import Pick, Project


def random_adapter(model: Model, folder: Path, rank: int, seed: int) -> Adapter:
    """An adapter of all projections, whose products are small beside the weights'."""
    rng = np.random.default_rng(seed)
    rows: dict[str, int] = {}
    columns: dict[str, int] = {}
    for operation in model.program.operations:
        if isinstance(operation, Pick):
            break
        if isinstance(operation, Project):
            for weight in operation.weights:
                module = weight.name.removesuffix(".weight")
                rows[module] = rows.get(module, 0) + weight.rows
                columns[module] = weight.columns
    tensors = {}
    for module in rows:
        key = f"base_model.model.{module}.lora_"
        tensors[f"{key}A.weight"] = rng.standard_normal((rank, columns[module]), np.float32)
        tensors[f"{key}B.weight"] = 1e-4 * rng.standard_normal((rows[module], rank), np.float32)
    folder.mkdir()
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": rank}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "adapter_model.safetensors")
    return model.adapter([(folder, 1.0)])


def single(model: Model, place: Place, work: Work, adapter: Adapter) -> float:
    """Tokens a second of one text."""
    model.engine.adapter = adapter
    return work.tokens / place.seconds(work)


def together(model: Model, tokens: int, adapters: list[Adapter]) -> float:
    """Tokens a second of texts that are generated together, one an adapter."""
    engine = model.engine
    parameters = SamplingParameters(max_tokens=tokens, temperature=1.0, seed=1)
    requests = [
        engine.generate([7 * i + 1, 5, 6], parameters, adapter=adapter)
        for i, adapter in enumerate(adapters)
    ]
    for request in requests:
        request.begin()
    for request in requests:
        next(request)
    begun = sum(len(request.generated) for request in requests)
    start = time.perf_counter()
    for request in requests:
        for _ in request:
            pass
    seconds = time.perf_counter() - start
    return (sum(len(request.generated) for request in requests) - begun) / seconds


def unused(model: str, lora: Path, works: list[Work], repeat: int, threads: int | None) -> None:
    """Print what steps without an adapter take where one is loaded, and where none ever was."""
    print("work   alone, ms  beside, ms  ratio  (of alone to itself)")
    with (
        pocketlm.load(model, threads=threads, speculate=False) as bare,
        pocketlm.load(model, threads=threads, speculate=False, lora=[(lora, 1.0)]) as adapted,
    ):
        adapted.engine.adapter = adapted.adapter([])
        length = max(work.tokens for work in works)
        alone, beside = Place(bare.engine, length), Place(adapted.engine, length)
        for work in works:
            turns = [
                [place.seconds(work) for place in (alone, beside, alone)] for _ in range(repeat + 1)
            ][1:]
            steps = work.tokens if work.generate else 1
            one, other = (1e3 * median(turn[i] for turn in turns) / steps for i in (0, 1))
            ratio = median(2 * turn[1] / (turn[0] + turn[2]) for turn in turns)
            noise = median(turn[2] / turn[0] for turn in turns)
            print(f"{work.name:5}  {one:9.3f}  {other:10.3f}  {ratio:5.3f}  {noise:.3f}")
    print()


def main(
    model: str,
    rank: Annotated[list[int] | None, typer.Option(help="Ranks (16).")] = None,
    texts: Annotated[int, typer.Option(help="Texts of a batch.")] = 4,
    tokens: Annotated[int, typer.Option(help="Tokens that are generated.")] = 64,
    prompt: Annotated[int, typer.Option(help="Tokens of the prompt.")] = 512,
    repeat: Annotated[int, typer.Option(help="Turns.")] = 5,
    threads: Annotated[int | None, typer.Option(help="Threads.")] = None,
) -> None:
    """Measure, and print a table."""
    with (
        tempfile.TemporaryDirectory() as home,
        pocketlm.load(model, threads=threads, speculate=False) as opened,
    ):
        print(f"{processor()}; {opened.engine.runtime.pool.threads} threads; {model}\n")
        none = opened.adapter([])
        place = Place(opened.engine, max(prompt, tokens))
        reading, writing = Work(prompt), Work(tokens, generate=True)
        random_adapter(opened, Path(home) / "unused", 16, 0)
        unused(model, Path(home) / "unused", [reading, writing], repeat, threads)
        print("rank  MB    of a step's bytes  work            without   with  ratio")
        for each in rank or [16]:
            loaded = [
                random_adapter(opened, Path(home) / f"{each}-{i}", each, i) for i in range(texts)
            ]
            size = loaded[0].nbytes
            share = size / opened.engine.runtime.step_bytes(0)
            rows: dict[str, Callable[[list[Adapter]], float]] = {
                reading.name: lambda used: single(opened, place, reading, used[0]),
                writing.name: lambda used: single(opened, place, writing, used[0]),
                f"{texts} x {writing.name}": lambda used: together(opened, tokens, used),
            }
            for name, rate in rows.items():
                pairs = [(rate([none] * texts), rate(loaded)) for _ in range(repeat)]
                without, with_one = (median(column) for column in zip(*pairs, strict=True))
                ratio = median(b / a for a, b in pairs)
                print(
                    f"{each:4}  {size / 1e6:5.1f}  {share:16.1%}  {name:14}"
                    f"  {without:7.1f}  {with_one:6.1f}  {ratio:.2f}"
                )


if __name__ == "__main__":
    typer.run(main)
