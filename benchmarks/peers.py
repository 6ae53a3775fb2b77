"""pocketlm beside llama.cpp: the same work on the same file, interleaved, in one run.

Each engine lives in a process of its own and works when it is told to, so that both meet the same
machine: prompt processing and generation alternate between them, round by round. Ratios are of
medians; the spread is (maximum - minimum) / median.

    python benchmarks/peers.py MODEL.gguf --threads 2 --peer-python /path/to/venv/bin/python

The peer's Python needs `llama-cpp-python`; ours needs pocketlm. llama.cpp runs with its default
weight repacking, with flash attention off and on, and the better of the two counts.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path


class Ours:
    """pocketlm, by the runtime that its engine uses."""

    def __init__(self, path: str, threads: int, context: int) -> None:
        from pocketlm.engine.runtime import Runtime
        from pocketlm.formats.open import open_checkpoint
        from pocketlm.models import build

        checkpoint = open_checkpoint(Path(path))
        program = build(checkpoint.config, checkpoint.tensors)
        self.runtime = Runtime(program, checkpoint.tensors, threads=threads)
        import numpy as np

        size = self.runtime.cache.block_positions
        blocks = [self.runtime.cache.allocate() for _ in range(-(-context // size))]
        self.table = np.array(blocks, dtype=np.int32)
        self.position = 0

    def begin(self) -> None:
        self.position = 0

    def feed(self, tokens: list[int], chunk: int = 512) -> None:
        for start in range(0, len(tokens), chunk):
            part = tokens[start : start + chunk]
            picks = [len(part) - 1] if start + chunk >= len(tokens) else []
            self.runtime.run(part, [(len(part), self.position, 0, self.table)], picks)
            self.position += len(part)


class LlamaCpp:
    """llama.cpp, by its Python binding."""

    def __init__(self, path: str, threads: int, context: int, flash: bool) -> None:
        import llama_cpp

        self.model = llama_cpp.Llama(
            path,
            n_ctx=context,
            n_threads=threads,
            n_threads_batch=threads,
            n_batch=512,
            n_ubatch=512,
            flash_attn=flash,
            verbose=False,
        )

    def begin(self) -> None:
        self.model._ctx.kv_cache_clear()
        self.model.reset()

    def feed(self, tokens: list[int]) -> None:
        self.model.eval(tokens)


def worker(name: str, path: str, threads: int, context: int) -> None:
    """Serve one engine: a line {"prompt", "depth", "generate"} in, a line of seconds out."""
    start = time.perf_counter()
    if name == "pocketlm":
        engine: Ours | LlamaCpp = Ours(path, threads, context)
    else:
        engine = LlamaCpp(path, threads, context, flash=name.endswith("flash"))
    print(json.dumps({"load_s": time.perf_counter() - start}), flush=True)
    for line in sys.stdin:
        work = json.loads(line)
        engine.begin()
        if work["depth"]:
            engine.feed([100 + i % 20000 for i in range(work["depth"])])
        start = time.perf_counter()
        if work["prompt"]:
            engine.feed([200 + i * 7 % 20000 for i in range(work["prompt"])])
        for i in range(work["generate"]):
            engine.feed([300 + i * 11 % 20000])
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "peak_mib": peak_mib()}), flush=True)


def peak_mib() -> float:
    """Peak resident memory of this process in MiB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Worker:
    """One engine in its process."""

    def __init__(self, python: str, name: str, args: argparse.Namespace, context: int) -> None:
        command = [python, __file__, args.model, "--worker", name]
        command += ["--threads", str(args.threads), "--context", str(context)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.load_s = self.read()["load_s"]
        self.peak_mib = 0.0

    def read(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"peers: {' '.join(self.process.args)} ended early")
        return json.loads(line)

    def run(self, prompt: int, depth: int, generate: int) -> float:
        assert self.process.stdin is not None
        work = {"prompt": prompt, "depth": depth, "generate": generate}
        self.process.stdin.write(json.dumps(work) + "\n")
        self.process.stdin.flush()
        answer = self.read()
        self.peak_mib = answer["peak_mib"]
        return answer["seconds"]


def processor() -> str:
    """The processor's name, as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pp", type=int, default=512, help="prompt tokens")
    parser.add_argument("--tg", type=int, default=64, help="generated tokens")
    parser.add_argument("--depth", type=int, default=0, help="tokens before the generated ones")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--context", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(args.worker, args.model, args.threads, args.context)
        return

    context = max(args.pp, args.depth) + args.tg + 64
    pythons = {
        "pocketlm": sys.executable,
        "llama.cpp": args.peer_python,
        "llama.cpp flash": args.peer_python,
    }
    works = {
        f"pp{args.pp}": (args.pp, 0, 0),
        f"tg{args.tg}@{args.depth}": (0, args.depth, args.tg),
    }
    print(f"{Path(args.model).name}, {args.threads} threads, {processor()}, {time.strftime('%F')}")
    workers = {name: Worker(pythons[name], name, args, context) for name in pythons}
    seconds: dict[tuple[str, str], list[float]] = {}
    for counted in [False] + [True] * args.rounds:
        for work, (prompt, depth, generate) in works.items():
            for name, engine in workers.items():
                took = engine.run(prompt, depth, generate)
                if counted:
                    seconds.setdefault((work, name), []).append(took)
    for work, (prompt, _, generate) in works.items():
        rates = {}
        for name in workers:
            times = seconds[work, name]
            rates[name] = (prompt or generate) / statistics.median(times)
            spread = (max(times) - min(times)) / statistics.median(times)
            print(f"{work:14} {name:16} {rates[name]:9.1f} tokens/s  (spread {spread:.0%})")
        best = max(rates["llama.cpp"], rates["llama.cpp flash"])
        print(f"{work:14} ratio {rates['pocketlm'] / best:.2f}")
    for name, engine in workers.items():
        print(f"{'load':14} {name:16} {engine.load_s:9.2f} s, peak {engine.peak_mib:.0f} MiB")


if __name__ == "__main__":
    main()
