"""lm-evaluation-harness on our engine, beside its transformers and its gguf back-end.

The same items, prompts and threads; a process for each back-end and round, taking turns. Printed
are items a second (medians over rounds; time in which the model is asked, without loading it and
without making prompts), and how many answers were right: about as many for each, as quantised
weights are multiplied with rounded activations here and in llama.cpp, in float32 by transformers.

    pocketlm export smollm2 --dtype float32 --out smollm2-f32
    python benchmarks/harness.py MODEL.gguf --transformers smollm2-f32 --peer-python PEER/bin/python

MODEL.gguf runs in our engine and in llama.cpp, whose server the gguf back-end asks; the folder, the
same model in float32, in transformers on the processor. PEER is a virtual environment with
`llama-cpp-python[server]`; it is asked --peer-items of each task, since it sends probabilities for
every token of a prompt, some twenty seconds for each option of MMLU. Transformers reads, and we
write, so many texts at once as --batch says.

The tasks: MMLU (5 examples of the item's own subject), HellaSwag (none), and GSM8K (5 examples,
answers cut at 16 tokens: the gguf back-end cannot ask for another number).
"""

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from comparison.machine import processor
from serving import free_port, serving

ANSWER = 16
LETTERS = "ABCD"


def main() -> None:
    """Measure, or be one of those who are measured."""
    args = _arguments()
    if args.worker:
        print(json.dumps(_measured(args)))
        return
    names = ["pocketlm"]
    names += ["transformers"] if args.transformers else []
    names += ["llama.cpp"] if args.peer_python else []
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for turn in range(args.rounds):
        for name in names:
            for task, row in _of_child(name).items():
                found.setdefault((task, name), []).append(row)
                print(f"# {turn} {name} {task} {row}", file=sys.stderr)
    print(f"{processor()}, {args.threads} threads, {args.model.name},")
    print(f"batches of {args.batch}, median of {args.rounds} rounds\n")
    print("| task | items | back-end | items/s | times ours | right |")
    print("| --- | --- | --- | --- | --- | --- |")
    for task in dict.fromkeys(task for task, _ in found):
        ours = _rate(found[task, "pocketlm"])
        for name in names:
            rows = found[task, name]
            rate = _rate(rows)
            right = f"{rows[0]['right']:.0f}" if task != "gsm8k" else ""
            count = f"{rows[0]['items']:.0f}"
            print(f"| {task} | {count} | {name} | {rate:.3g} | {rate / ours:.2f} | {right} |")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("model", type=Path, help="a GGUF file")
    add("--transformers", type=os.path.abspath, metavar="FOLDER", help="the model in float32")
    add("--peer-python", metavar="FILE", help="a Python with llama-cpp-python[server]")
    add("--data", type=Path, default=os.environ.get("POCKETLM_TEST_DATA"), help="the test data")
    add("--threads", type=int, default=2, metavar="N")
    add("--batch", type=int, default=8, metavar="N")
    add("--subjects", type=int, default=8, metavar="N", help="of MMLU, 7 items each")
    add("--items", type=int, default=40, metavar="N", help="of HellaSwag")
    add("--answers", type=int, default=16, metavar="N", help="of GSM8K")
    add("--peer-items", type=int, default=2, metavar="N", help="for llama.cpp's server")
    add("--rounds", type=int, default=3, metavar="N")
    add("--worker", choices=["pocketlm", "transformers", "llama.cpp"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.data is None:
        parser.error("name the folder of test data by --data or POCKETLM_TEST_DATA")
    return args


def _of_child(name: str) -> dict[str, dict[str, float]]:
    command = [sys.executable, __file__, *sys.argv[1:], "--worker", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _rate(rows: list[dict[str, float]]) -> float:
    return statistics.median(row["items"] / row["seconds"] for row in rows)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _mmlu(data: Path, subjects: int) -> list[dict[str, Any]]:
    def asked(item: dict[str, Any]) -> str:
        options = zip(LETTERS, item["choices"], strict=True)
        return "\n".join([item["question"], *(f"{a}. {b}" for a, b in options), "Answer:"])

    shown: dict[str, str] = {}
    for item in _lines(data / "mmlu" / "dev_285.jsonl"):
        text = f"{asked(item)} {item['answer']}\n\n"
        shown[item["subject"]] = shown.get(item["subject"], "") + text
    wanted = list(shown)[:subjects]
    return [
        {"prompt": shown[item["subject"]] + asked(item), "right": LETTERS.index(item["answer"])}
        for item in _lines(data / "mmlu" / "val_399.jsonl")
        if item["subject"] in wanted
    ]


def _gsm8k(data: Path, count: int) -> list[dict[str, Any]]:
    examples = "".join(
        f"Question: {item['question']}\nAnswer: {item['answer']}\n\n"
        for item in _lines(data / "gsm8k" / "train_first_500.jsonl")[:5]
    )
    return [
        {"prompt": f"{examples}Question: {item['question']}\nAnswer:", "right": ""}
        for item in _lines(data / "gsm8k" / "test_slice_200.jsonl")[:count]
    ]


def _tasks(args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """The tasks, in the harness's form; their items are written into the folder."""
    swag = _lines(args.data / "hellaswag" / "sample_150.jsonl")[: args.items]
    items = {
        "mmlu": _mmlu(args.data, args.subjects),
        "hellaswag": [
            {"prompt": each["context"], "right": each["label"], "options": each["endings"]}
            for each in swag
        ],
        "gsm8k": _gsm8k(args.data, args.answers),
    }
    choice = {"output_type": "multiple_choice", "doc_to_target": "{{right}}"}
    accuracy = [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}]
    forms: dict[str, dict[str, Any]] = {
        "mmlu": {**choice, "doc_to_choice": list(LETTERS), "metric_list": accuracy},
        "hellaswag": {**choice, "doc_to_choice": "{{options}}", "metric_list": accuracy},
        "gsm8k": {
            "output_type": "generate_until",
            "doc_to_target": "{{right}}",
            "generation_kwargs": {"until": ["Question:"], "max_gen_toks": ANSWER},
        },
    }
    tasks = []
    most = args.peer_items if args.worker == "llama.cpp" else None
    for name, form in forms.items():
        path = folder / f"{name}.jsonl"
        path.write_text("".join(f"{json.dumps(item)}\n" for item in items[name][:most]))
        files = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(path)}}}
        tasks.append(
            {"task": name, **files, "test_split": "test", "doc_to_text": "{{prompt}}", **form}
        )
    return tasks


def _measured(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """One back-end's tasks: items, the seconds in which it was asked, right answers."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        if args.worker == "llama.cpp":
            port = free_port()
            url = f"http://127.0.0.1:{port}"
            command = [args.peer_python, "-m", "llama_cpp.server", "--model", str(args.model)]
            command += ["--port", str(port), "--n_ctx", "4096", "--logits_all", "True"]
            command += ["--n_threads", str(args.threads), "--n_threads_batch", str(args.threads)]
            command += ["--cache", "True"]  # so that prompts that begin alike are read once
            with serving(command, url):
                from lm_eval.models.gguf import GGUFLM

                return _asked(GGUFLM(url), _tasks(args, folder))
        if args.worker == "transformers":
            import torch
            from lm_eval.models.huggingface import HFLM

            torch.set_num_threads(args.threads)
            model = HFLM(args.transformers, device="cpu", dtype="float32", batch_size=args.batch)
            return _asked(model, _tasks(args, folder))
        import pocketlm
        from pocketlm.evaluate.harness import writing
        from pocketlm.evaluate.harness.lm import HarnessModel
        from pocketlm.ledger import Ledger

        writing.AT_ONCE = args.batch
        with (
            pocketlm.load(args.model, threads=args.threads) as ours,
            Ledger(folder / "ledger.jsonl", {}) as ledger,
        ):
            return _asked(HarnessModel(ours, ledger), _tasks(args, folder))


def _asked(model: Any, tasks: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    import datasets
    from lm_eval.evaluator import evaluate
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    seconds = 0.0

    def timed(ask: Any) -> Any:
        def asked(requests: Any) -> Any:
            nonlocal seconds
            began = time.perf_counter()
            found = ask(requests)
            seconds = time.perf_counter() - began
            return found

        return asked

    model.loglikelihood = timed(model.loglikelihood)
    model.generate_until = timed(model.generate_until)
    manager = TaskManager(include_defaults=False)
    found = {}
    for task in tasks:
        name = task["task"]
        results = evaluate(model, manager.load([task]), bootstrap_iters=0)
        count = results["n-samples"][name]["effective"]
        right = results["results"][name].get("acc,none", 0.0) * count
        found[name] = {"items": count, "seconds": seconds, "right": right}
    return found


if __name__ == "__main__":
    main()
