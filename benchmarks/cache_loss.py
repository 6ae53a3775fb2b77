"""What a smaller KV cache costs: its loss on a real text, keys and values apart.

    python benchmarks/cache_loss.py MODEL TEXT.txt

Every type reads the same tokens, and each next-token distribution is compared with that of the
16-bit cache: perplexity, the mean Kullback-Leibler divergence, and how often the most likely token
is another one; by position, since what is lost may grow with the text.
"""

import itertools
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import pocketlm
from comparison.machine import processor
from pocketlm.engine.runtime import Runtime
from pocketlm.models import build

TYPES = ("f16", "q8", "f16/q4", "q4/f16", "q8/q4", "q4")
CHUNK = 128


class Reader:
    """One cache type, reading the text in chunks."""

    def __init__(self, model: pocketlm.Model, cache_type: str, length: int, threads: int | None):
        checkpoint = model.checkpoint
        program = build(checkpoint.config, checkpoint.tensors)
        self.runtime = Runtime(program, checkpoint.tensors, threads=threads, cache_type=cache_type)
        cache = self.runtime.cache
        blocks = [cache.allocate() for _ in range(-(-length // cache.block_positions))]
        self.table = np.array(blocks, dtype=np.int32)
        self.rope_set = program.rope.set_for(length)

    def log_probabilities(self, tokens: list[int], start: int) -> np.ndarray:
        """Of each token's successor: float32 [len(tokens), vocabulary]."""
        segment = (len(tokens), start, self.rope_set, self.table)
        logits = self.runtime.run(tokens, [segment], range(len(tokens)))
        logits -= logits.max(axis=1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True, dtype=np.float64))


def main(
    model: str,
    text: Path,
    length: Annotated[int, typer.Option(help="Tokens of a text; at most the context.")] = 8192,
    texts: Annotated[int, typer.Option(help="How many such texts, one after the other.")] = 1,
    threads: int | None = None,
) -> None:
    """Print the table."""
    with pocketlm.load(model) as loaded:
        length = min(length, loaded.context)
        tokens = loaded.tokenize(text.read_text(encoding="utf-8")[: 8 * length * texts])
        if len(tokens) < length * texts:
            raise SystemExit(f"cache_loss: {text} has {len(tokens)} tokens; fewer --texts")
        edges = [e for e in (0, 1024, 4096, length) if e <= length]
        spans = list(itertools.pairwise(edges))
        sums = {(t, s): np.zeros(4) for t in TYPES for s in spans}
        bytes_ = {t: loaded.program.cache_bytes(1, t) for t in TYPES}
        for i in range(texts):
            part = tokens[i * length : (i + 1) * length]
            readers = {t: Reader(loaded, t, length, threads) for t in TYPES}
            for start in range(0, length - 1, CHUNK):
                chunk = part[start : start + CHUNK]
                following = part[start + 1 : start + 1 + CHUNK]
                chunk = chunk[: len(following)]
                exact = readers["f16"].log_probabilities(chunk, start)
                span = next(s for s in spans if s[0] <= start < s[1])
                for cache_type, reader in readers.items():
                    other = exact
                    if cache_type != "f16":
                        other = reader.log_probabilities(chunk, start)
                    loss = -other[np.arange(len(chunk)), following]
                    divergence = (np.exp(exact) * (exact - other)).sum(axis=1)
                    changed = exact.argmax(axis=1) != other.argmax(axis=1)
                    sums[cache_type, span] += (
                        len(chunk),
                        loss.sum(),
                        divergence.sum(),
                        changed.sum(),
                    )
    print(f"{Path(model).name}, {text.name}, {texts} x {length} tokens, {time.strftime('%F')}")
    print(f"{processor()}; keys/values where they differ")
    print(
        f"{'cache':8}{'bytes a token':>15}{'positions':>14}{'perplexity':>12}{'divergence':>12}"
        f"{'other token':>13}"
    )
    for cache_type in TYPES:
        for span in spans:
            count, loss, divergence, changed = sums[cache_type, span]
            print(
                f"{cache_type:8}{bytes_[cache_type]:>15,}{f'{span[0]}-{span[1]}':>14}"
                f"{np.exp(loss / count):>12.3f}{divergence / count:>12.5f}{changed / count:>13.2%}"
            )


if __name__ == "__main__":
    typer.run(main)
