"""pocketlm beside its peers: the same work on the same file, interleaved, in one run.

    python benchmarks/peers.py MODEL.gguf --peer-python PEER/bin/python \\
        --pp 128 --pp 512 --tg 64 --depth 0 --depth 1500 --threads 1 --threads 2

Each engine lives in a process of its own and works when it is told to. Round by round, all engines
do a work one after the other, so that they meet the same machine. llama.cpp runs with its default
weight repacking, with flash attention off and on; ratios are to the best of its settings.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from comparison.ik_llama_cpp import IkLlamaCpp
from comparison.machine import processor
from comparison.results import OURS, PEER, Results, append, table
from comparison.worker import Setting, Worker, first_token
from comparison.works import Work

#: Our types of cache, and llama.cpp's of about as many bits.
CACHE_TYPES = {"f16": "f16", "q8": "q8_0", "q4": "q4_0"}
#: Seconds between two engines: threads that still spin for more work go to sleep.
PAUSE = 0.05


def main() -> None:
    """Measure, print, and keep a record where one is asked for."""
    args = _arguments()
    works = _works(args)
    settings = _settings(args)
    results, versions = Results(), {}
    _say(f"reading {args.model}")
    warm_bytes = _read(Path(args.model))
    for threads in args.threads:
        _measure_loads(args, threads, results)
        versions |= _measure(args, settings, works, threads, results)
    record = {
        "date": time.strftime("%F"),
        "commit": _commit(),
        "machine": _machine(),
        "versions": versions,
        "file": Path(args.model).name,
        "bytes": warm_bytes,
        "rounds": args.rounds,
        "rows": results.rows(),
        "loads": results.load_rows(),
    }
    _say("")
    print(table(record))
    if args.json:
        append(args.json, record)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=os.path.abspath)
    add = parser.add_argument
    add("--threads", type=int, action="append", metavar="N", help="default: 2; repeatable")
    add("--pp", type=int, action="append", metavar="N", help="prompt tokens; repeatable")
    add("--tg", type=int, metavar="N", help="generated tokens")
    add("--depth", type=int, action="append", metavar="N", help="tokens before; repeatable")
    add("--together", type=int, metavar="N", help="texts to generate together, at the least depth")
    add("--rounds", type=int, default=5, metavar="N", help="rounds that count, after a first one")
    add("--loads", type=int, default=3, metavar="N", help="loads in fresh processes; 0 for none")
    add("--cache-type", choices=CACHE_TYPES, action="append", default=[], help="rows; repeatable")
    add("--no-window", action="store_true", help="a row of ours without the model's window")
    add("--peer-python", default=sys.executable, metavar="FILE", help="a Python with the peers")
    add("--ik", type=os.path.abspath, metavar="FILE", help="ik_llama.cpp's llama-bench")
    add("--onnxruntime-genai", type=os.path.abspath, metavar="FOLDER", help="its model folder")
    add("--openvino-genai", type=os.path.abspath, metavar="FOLDER", help="its model folder")
    add("--json", type=Path, metavar="FILE", help="append a record to this history")
    args = parser.parse_args()
    args.threads = args.threads or [2]
    if not args.pp and not args.tg:
        args.pp, args.tg = [128, 512], 64
    for path in (args.model, args.ik, args.onnxruntime_genai, args.openvino_genai):
        if path and not os.path.exists(path):
            parser.error(f"there is no {path}")
    return args


def _works(args: argparse.Namespace) -> list[Work]:
    """Prompts, then generation by depth: each adds to what lies in the cache."""
    works = [Work(prompt=count) for count in sorted(args.pp or [])]
    if args.tg:
        depths = sorted(args.depth or [0])
        works += [Work(0, args.tg, depth) for depth in depths]
        if args.together:
            works.append(Work(0, args.tg, depths[0], args.together))
    return works


def _settings(args: argparse.Namespace) -> list[Setting]:
    """The engines, and how each is to run."""
    model, python = args.model, args.peer_python
    settings = [
        Setting(OURS, "ours", model),
        Setting(PEER, "llama_cpp", model, python),
        Setting(f"{PEER} fa", "llama_cpp", model, python, {"flash": True}),
    ]
    if args.no_window:
        settings.append(Setting(f"{OURS} no window", "ours", model, options={"window": False}))
    for kind in args.cache_type:
        theirs = CACHE_TYPES[kind]
        options = {"flash": True, "cache_type": theirs}
        settings += [
            Setting(f"{OURS} {kind}", "ours", model, options={"cache_type": kind}),
            Setting(f"{PEER} fa {theirs}", "llama_cpp", model, python, options),
        ]
    for module, path in (
        ("onnxruntime_genai", args.onnxruntime_genai),
        ("openvino_genai", args.openvino_genai),
    ):
        if path and _has(python, module):
            settings.append(Setting(module.replace("_", "-"), module, path, python))
    return settings


def _has(python: str, module: str) -> bool:
    found = subprocess.run([python, "-c", f"import {module}"], capture_output=True)
    if found.returncode:
        _say(f"skipped: {python} has no {module} (pip install {module.replace('_', '-')})\n")
    return not found.returncode


def _measure(
    args: argparse.Namespace,
    settings: list[Setting],
    works: list[Work],
    threads: int,
    results: Results,
) -> dict[str, str]:
    """All works by all engines; the engines' versions, under the first word of their names."""
    _say(f"loading, {threads} threads")
    engines: list[Worker | IkLlamaCpp] = [Worker(each, threads, works) for each in settings]
    if args.ik:
        engines.append(IkLlamaCpp(args.ik, args.model, threads))
    for work in works:
        for turn in range(args.rounds + 1):  # the first does not count: it fills the cache
            for engine in engines:
                _say(f"{work.name}@{work.depth} x {work.texts}, {engine.name}, round {turn}")
                time.sleep(PAUSE)
                seconds = engine.seconds(work)
                if turn and seconds is not None:
                    results.add(threads, work, engine.name, seconds)
    for engine in engines:
        engine.close()
    return {engine.name.split()[0]: engine.version for engine in engines}


def _measure_loads(args: argparse.Namespace, threads: int, results: Results) -> None:
    """The first token after a load."""
    model, options = args.model, {"flash": True, "mmap": False}
    settings = [
        Setting(OURS, "ours", model),
        Setting(f"{PEER} fa", "llama_cpp", model, args.peer_python, {"flash": True}),
        Setting(f"{PEER} no mmap", "llama_cpp", model, args.peer_python, options),
    ]
    for turn in range(args.loads):
        for setting in settings:
            _say(f"first token, {setting.name}, round {turn + 1}")
            results.add_load(threads, setting.name, *first_token(setting, threads))


def _read(path: Path) -> int:
    """Read a file once, so that the system holds it in memory; its size."""
    size = 0
    with path.open("rb") as file:
        while part := file.read(1 << 24):
            size += len(part)
    return size


def _machine() -> dict[str, Any]:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages / (1 << 30)),
    }


def _commit() -> str:
    """The commit that is checked out, with a + where files differ from it; "" outside git."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    folder = Path(__file__).parent
    return subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout.strip()


def _say(text: str) -> None:
    """Show what is going on to who watches a terminal."""
    if sys.stderr.isatty() or text.endswith("\n"):
        print(f"\r\x1b[K{text}" if sys.stderr.isatty() else text, end="", file=sys.stderr)


if __name__ == "__main__":
    main()
