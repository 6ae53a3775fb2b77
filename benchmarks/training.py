"""Training throughput beside transformers' Trainer, on the same model, batches and threads.

Both train a new Phi-3 on the same random token ids, packed into full windows. A round times each
in turn; medians over rounds are printed, with what share of the machine's measured rate of large
matrix products they reach. Each is timed over its steps alone, after steps that warm up.

    python benchmarks/training.py --hidden 128 --layers 5 --threads 2
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import datasets
import numpy as np
import torch
import transformers
import yaml

from pocketlm.formats.tokenizer import from_folder
from pocketlm.recipe.data import shards
from pocketlm.recipe.train import loop, models, tokenizer
from pocketlm.recipe.train.configuration import PretrainRun, TokenizerRun
from pocketlm.recipe.train.log import read
from pocketlm.recipe.train.plan import flops_per_token, product_rate


def main() -> None:
    """Measure, and print a table (or one JSON object)."""
    options = arguments()
    torch.set_num_threads(options.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(options, Path(folder))
    if options.json:
        print(json.dumps(result))
        return
    print(f"{result['machine']}, {options.threads} threads, {result['date']}")
    print(f"{result['parameters']:,} parameters, {result['flops'] / 1e6:.3g} MFLOP a token,")
    print(f"{options.batch} sequences of {options.context} tokens, {options.micro} at a time")
    print(f"products of 1,024 x 1,024: {result['peak'] / 1e9:.1f} GFLOP/s\n")
    print(f"{'':24}{'tokens/s':>10}{'spread':>16}{'of products':>14}")
    for name in ("pocketlm", "Trainer"):
        rates = result[name]
        middle = statistics.median(rates)
        share = middle * result["flops"] / result["peak"]
        spread = f"{min(rates):,.0f}-{max(rates):,.0f}"
        print(f"{name:24}{middle:10,.0f}{spread:>16}{share:14.1%}")
    pairs = zip(result["pocketlm"], result["Trainer"], strict=True)
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    print(f"\npocketlm / Trainer: {ratio:.3f} (median of the rounds' ratios)")


def measure(options: argparse.Namespace, folder: Path) -> dict:
    """Rounds of both, interleaved."""
    run = prepare(options, folder)
    known = models.open_tokenizer(run.tokenizer)
    model = models.create(run.model, known, run.context, 0)
    found = {
        "machine": f"{platform.machine()} {processor()}",
        "date": date.today().isoformat(),
        "threads": options.threads,
        "parameters": models.parameters(model),
        "flops": flops_per_token(model, options.context),
        "peak": product_rate(seconds=2.0),
        "pocketlm": [],
        "Trainer": [],
    }
    for number in range(options.rounds):
        turns = [("pocketlm", ours), ("Trainer", theirs)]
        for name, one in turns if number % 2 == 0 else reversed(turns):
            rate = one(options, run, folder / f"{name}-{number}")
            found[name].append(rate)
            print(f"round {number + 1}: {name} {rate:,.0f} tokens/s", file=sys.stderr)
    return found


def ours(options: argparse.Namespace, run: PretrainRun, out: Path) -> float:
    """Tokens a second of the loop, between its log's lines."""
    loop.pretrain(run.model_copy(update={"out": out}))
    seconds = [line["seconds"] for line in read(out / loop.LOG)]
    return rate(options, seconds[-1] - seconds[options.warm - 1])


def theirs(options: argparse.Namespace, run: PretrainRun, out: Path) -> float:
    """Tokens a second of transformers' Trainer, between the ends of its steps."""
    known = models.open_tokenizer(run.tokenizer)
    model = models.create(run.model, known, run.context, 0)
    ids = next(iter(run.sources.values()))
    stored = shards.Shards(ids)
    count = (options.warm + options.steps) * options.batch
    rows = stored.read(0, count * options.context).reshape(count, options.context)
    data = datasets.Dataset.from_dict({"input_ids": rows.astype(np.int64)}).with_format("torch")
    clock = Clock()
    trainer = transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(
            output_dir=str(out),
            per_device_train_batch_size=options.micro,
            gradient_accumulation_steps=options.batch // options.micro,
            max_steps=options.warm + options.steps,
            learning_rate=run.schedule.peak,
            weight_decay=run.optimizer.weight_decay,
            max_grad_norm=run.optimizer.clip,
            bf16=run.precision == "bfloat16",
            use_cpu=not torch.cuda.is_available(),
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=data,
        data_collator=lambda each: {
            "input_ids": (batch := torch.stack([row["input_ids"] for row in each])),
            "labels": batch,
        },
        callbacks=[clock],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    return rate(options, clock.ends[-1] - clock.ends[options.warm - 1])


class Clock(transformers.TrainerCallback):
    """When each step ended."""

    def __init__(self):
        self.ends = []

    def on_step_end(self, args, state, control, **more):
        """A step is done."""
        self.ends.append(time.monotonic())


def rate(options: argparse.Namespace, seconds: float) -> float:
    """Tokens a second."""
    return options.steps * options.batch * options.context / seconds


def prepare(options: argparse.Namespace, folder: Path) -> PretrainRun:
    """A tokenizer (of no use but its size), shards of random ids in one document, the run."""
    text = folder / "text.txt"
    generator = np.random.default_rng(0)
    words = generator.integers(97, 123, (options.vocabulary * 8, 7), np.uint8)
    text.write_bytes(b" ".join(word.tobytes() for word in words))
    made = folder / "tokenizer"
    tokenizer.train(TokenizerRun(out=made, texts=(text,), vocabulary=options.vocabulary, least=1))
    known = from_folder(made)
    count = (options.warm + options.steps + 1) * options.batch * options.context
    ids = generator.integers(5, known.vocab_size, count)
    place = folder / "shards"
    place.mkdir()
    size, end = known.vocab_size, known.eos_id
    part = shards.write_part(place, "random", [ids], vocabulary=size, end=end)
    shards.seal(
        place,
        [part],
        tokenizer=made / "tokenizer.json",
        vocabulary=size,
        end=end,
        source="random ids",
    )
    return PretrainRun.model_validate(
        yaml.safe_load(f"""
            out: {folder / "run"}
            tokenizer: {made}
            model:
              hidden_size: {options.hidden}
              intermediate_size: {options.hidden * 8 // 3 // 32 * 32}
              num_hidden_layers: {options.layers}
              num_attention_heads: {max(1, options.hidden // 32)}
            sources: {{random: {place}}}
            phases: [{{name: all, steps: {options.warm + options.steps}, mix: {{random: 1}}}}]
            context: {options.context}
            batch: {options.batch}
            micro_batch: {options.micro}
            schedule: {{peak: 1.0e-3, warmup: 1, kind: constant}}
            precision: {options.precision}
            checkpoints: {{every: 1000000}}
            threads: {options.threads}
        """)
    )


def processor() -> str:
    """The processor's name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--micro", type=int, default=8)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--steps", type=int, default=10, help="steps that count")
    parser.add_argument("--warm", type=int, default=3, help="steps before them that do not")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
