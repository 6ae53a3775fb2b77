"""The first token after a long beginning: processed, and found on disk by another process.

Each run is a process of its own that loads the model and then asks for one token. First runs begin
with an empty folder, second runs with what a first one left there; they alternate. Seconds are from
the call, the model being loaded; medians of `--rounds`.

    python benchmarks/prefix.py MODEL.gguf --tokens 2000 --threads 2
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from comparison.machine import processor


def run(args: argparse.Namespace) -> None:
    """One run, in this process: a line of JSON."""
    import pocketlm

    model = pocketlm.load(
        Path(args.model), threads=args.threads, cache_type=args.cache_type, prefix_cache=args.folder
    )
    draw = random.Random(0)
    prompt = [draw.randrange(model.tokenizer.vocab_size) for _ in range(args.tokens)]
    answer = model.generate(prompt, max_tokens=1)
    start = time.perf_counter()
    model.close()  # waits for what is being saved
    saved_s = time.perf_counter() - start
    first = {"first_token_s": answer.timings.first_token_s, "cached": answer.cached_tokens}
    print(json.dumps({**first, "saved_s": saved_s, "tokens": answer.tokens}))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--tokens", type=int, default=2000, help="of the beginning")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache-type", default="q8")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.folder:
        run(args)
        return

    about = f"{Path(args.model).name}, cache in {args.cache_type}, {args.threads} threads"
    print(f"{about}, {processor()}, {time.strftime('%F')}")
    runs: dict[str, list[dict[str, float]]] = {"first": [], "second": []}
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            for found in runs.values():
                command = [sys.executable, __file__, args.model, "--folder", folder]
                command += ["--tokens", str(args.tokens), "--threads", str(args.threads)]
                command += ["--cache-type", args.cache_type]
                output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
                found.append(json.loads(output))
            size = sum(path.stat().st_size for path in Path(folder).glob("*/*"))
    first, second = ([run["first_token_s"] for run in found] for found in runs.values())
    assert {str(run["tokens"]) for found in runs.values() for run in found} == {
        str(runs["first"][0]["tokens"])
    }
    for name, seconds in (("first run", first), ("second run", second)):
        median = statistics.median(seconds)
        spread = (max(seconds) - min(seconds)) / median
        print(f"{name:12} {median:8.4f} s to the first token (spread {spread:.0%})")
    print(f"{'ratio':12} {statistics.median(first) / statistics.median(second):8.1f}")
    print(f"{'found':12} {runs['second'][0]['cached']:8,} of {args.tokens:,} tokens")
    print(f"{'on disk':12} {size / 1e6:8.1f} MB")
    saved = statistics.median(run["saved_s"] for run in runs["first"])
    print(f"{'to save':12} {saved:8.4f} s, after the answer")


if __name__ == "__main__":
    main()
