"""A long text in little memory: what a model takes at 32K tokens, on paper and really.

    python benchmarks/long_context.py MODEL.gguf --tokens 32768 --cache-type q4
    python benchmarks/long_context.py MODEL.gguf --account

The text is random tokens, processed as any prompt is, section by section, and then continued at
that depth. With `--account` nothing runs: it prints what weights and cache take at several lengths.
The last line is JSON.
"""

import json
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import pocketlm
from comparison.machine import processor
from pocketlm.engine.bench import peak_rss_mib
from pocketlm.engine.engine import CHUNK
from pocketlm.engine.request import Progress
from pocketlm.engine.sampling import SamplingParameters, Token
from pocketlm.formats.open import open_checkpoint
from pocketlm.models import build

GIB = 1 << 30
LENGTHS = (4096, 8192, 32768, 65536, 131072)
TYPES = ("f16", "q8", "q8/q4", "q4")


def account(path: Path) -> dict[str, object]:
    """Print bytes of weights and cache at several lengths, as the program counts them."""
    with open_checkpoint(path) as checkpoint:
        program = build(checkpoint.config, checkpoint.tensors)
    lengths = sorted({min(n, program.context) for n in LENGTHS})
    print(f"{path.name}: weights {program.weight_bytes / GIB:.2f} GiB; with the cache, in GiB:")
    print(f"{'tokens':>8}" + "".join(f"{kind:>8}" for kind in TYPES))
    rows = []
    for length in lengths:
        cache = {kind: program.cache_bytes(length, kind) for kind in TYPES}
        sums = ((program.weight_bytes + nbytes) / GIB for nbytes in cache.values())
        print(f"{length:>8,}" + "".join(f"{total:>8.2f}" for total in sums))
        rows.append({"tokens": length, "cache_bytes": cache})
    return {"weight_bytes": program.weight_bytes, "rows": rows}


def measure(
    path: Path, tokens: int, generate: int, section: int, cache_type: str, threads: int | None
) -> dict[str, object]:
    """Process `tokens` tokens and generate more; print rates and memory as they come."""
    with pocketlm.load(
        path,
        threads=threads,
        context=tokens + generate,
        cache_type=cache_type,
        speculate=False,  # a rate is of tokens that the model was run for, one by one
    ) as model:
        engine, cache = model.engine, model.engine.runtime.cache
        about = f"{path.name}, cache in {cache_type}, {engine.runtime.pool.threads} threads"
        print(f"{about}, {processor()}, {time.strftime('%F')}")
        print(f"loaded: peak memory {peak_rss_mib() / 1024:.2f} GiB", flush=True)
        ids = np.random.default_rng(0).integers(3, model.tokenizer.vocab_size, tokens).tolist()
        sections: list[dict[str, float]] = []
        times: list[float] = []
        at, began = 0, time.perf_counter()
        with engine.generate(ids, SamplingParameters(max_tokens=generate)) as request:
            for event in request:
                now = time.perf_counter()
                if isinstance(event, Token):
                    times.append(now)
                elif isinstance(event, Progress) and (
                    event.done >= at + section or event.done == event.total
                ):
                    rate = (event.done - at) / (now - began)
                    held = cache.blocks_in_use * cache.block_bytes
                    sections.append({"from": at, "to": event.done, "tokens_per_s": round(rate, 2)})
                    print(
                        f"prompt {at:>7,} to {event.done:>7,}: {rate:7.1f} tokens/s, "
                        f"cache {held / GIB:.2f} GiB, peak memory {peak_rss_mib() / 1024:.2f} GiB",
                        flush=True,
                    )
                    at, began = event.done, now
    rate = (len(times) - 1) / (times[-1] - times[0])
    peak = peak_rss_mib()
    print(f"{len(times)} tokens generated at that depth: {rate:.2f} tokens/s")
    print(f"peak memory {peak / 1024:.2f} GiB, of which the cache {held / GIB:.2f} GiB")
    return {
        "tokens": tokens,
        "cache_type": cache_type,
        "cache_bytes": held,
        "peak_rss_mib": round(peak, 1),
        "prompt": sections,
        "generated": len(times),
        "tokens_per_s": round(rate, 3),
    }


def main(
    model: Annotated[Path, typer.Argument(help="A GGUF file or a safetensors folder.")],
    tokens: Annotated[int, typer.Option(help="Of the prompt.")] = 32768,
    generate: Annotated[int, typer.Option(help="Tokens after it, 2 at least.")] = 16,
    section: Annotated[int, typer.Option(help="Tokens that one rate is taken over.")] = 4096,
    cache_type: Annotated[str, typer.Option(help="f16, q8, q4, or keys/values: q8/q4.")] = "q4",
    threads: int | None = None,
    account_only: Annotated[bool, typer.Option("--account", help="Run nothing.")] = False,
) -> None:
    """Measure, or count."""
    if min(tokens, section) < CHUNK or generate < 2:
        raise typer.BadParameter(f"--tokens, --section from {CHUNK} on; --generate from 2 on")
    if account_only:
        found = account(model)
    else:
        found = measure(model, tokens, generate, section, cache_type, threads)
    print(json.dumps({"file": model.name, **found}))


if __name__ == "__main__":
    typer.run(main)
