"""What trying drafts gains or costs: the same texts with and without, in turns, in one run.

    python benchmarks/speculation.py smollm2
    python benchmarks/speculation.py phi3-random.gguf --bounds

First real prompts, greedy: work that repeats parts of the prompt or of itself, and free text. Then
(alone with --bounds) what no model is needed for: what a step costs by its rows; texts in which
every draft is right, in which most are wrong, and in which there is nothing to draft. Each text is
generated with and without drafts in turns, and must be the same. A rate is of tokens after the
first, by the clock on the wall; a ratio is the median of those of neighbouring turns, since the
machine's speed changes while it is measured.
"""

import time
from collections.abc import Callable
from functools import partial
from statistics import geometric_mean, median
from typing import Annotated

import numpy as np
import typer

import pocketlm
from comparison.machine import processor
from pocketlm.api import Model, Stream
from pocketlm.engine.sequence import Sequence
from pocketlm.engine.speculation import Speculation

NOTE = (
    "The lighthouse stands on a low rock two miles from the harbour. It was built in 1871 from "
    "grey stone that was brought by ship. Every evening the keeper climbed one hundred and forty "
    "steps to light the lamp. In 1963 the lamp became electric, and the last keeper, Thomas Bell, "
    "moved to the village. Today the tower is a small museum, open from May to September."
)
LETTER = """From: Anna Fischer
To: Peter Lang
Date: 14 March 2024
Subject: Order 48213

Dear Peter,
thank you for your order 48213 of three oak chairs at 120 euros each. They will be delivered on
21 March 2024 to 12 Mill Lane, Oxford.
"""
CODE = """def total(items):
    result = 0
    for item in items:
        result = result + item.price * item.count
    return result


def mean(items):
    if not items:
        return 0
    return total(items) / len(items)
"""

COPIES = {
    "repeat a text": f"Repeat this text exactly:\n\n{NOTE}",
    "correct a text": "Correct the spelling mistakes:\n\n" + NOTE.replace("village", "vilage"),
    "extract fields": "Extract the sender, recipient, date, order number, and delivery address as "
    f"a list.\n\n{LETTER}",
    "count to 100": "Write the numbers from 1 to 100, separated by commas.",
    "rename in code": "Rename the function total to total_price in this Python code and print the "
    f"whole code.\n\n{CODE}",
}
FREE = {
    "story": "Write a story about a dog that finds a treasure.",
    "explanation": "Explain how a rainbow is made.",
    "letter": "Write a letter to a friend about a holiday in the mountains.",
    "advice": "How can I sleep better?",
    "history": "Tell me about the history of bread.",
    "comparison": "Compare cats and dogs as pets.",
}


#: Texts that need no trained model, by their sampling. A large bias leaves few tokens to choose.
BOUNDS: dict[str, dict[str, object]] = {
    "every draft is right": {"logit_bias": {100: 1e4}},
    "most drafts are wrong": {"logit_bias": dict.fromkeys(range(100, 104), 1e4), "temperature": 9},
    "nothing to draft": {"temperature": 9},
}
ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 12, 16)
DEPTH = 256


class Comparison:
    """The same texts with drafts and without, in turns."""

    def __init__(self, model: Model, rounds: int) -> None:
        """What is learned about steps is kept from text to text, as in a conversation."""
        self._model = model
        self._rounds = rounds
        self._gate = Speculation()

    def kind(self, title: str, begin: dict[str, Callable[[], Stream]]) -> None:
        """Print how the texts of one kind fare; each function begins one."""
        print(f"{title:24}tokens   without      with   ratio")
        ratios = [self._ratio(name, function) for name, function in begin.items()]
        print(f"  {'least':43}{min(ratios):8.2f}")
        print(f"  {'geometric mean':43}{geometric_mean(ratios):8.2f}\n")

    def _ratio(self, name: str, begin: Callable[[], Stream]) -> float:
        rates: dict[bool, list[float]] = {True: [], False: []}
        texts = set()
        for turn in range(self._rounds):
            for drafts in (True, False) if turn % 2 else (False, True):
                self._model.engine.speculation = self._gate if drafts else None
                rate, tokens = generate(begin())
                rates[drafts].append(rate)
                texts.add(tokens)
        assert len(texts) == 1, f"{name}: drafts changed the text"
        count = len(texts.pop())
        without, with_drafts = median(rates[False]), median(rates[True])
        ratio = median(a / b for a, b in zip(rates[True], rates[False], strict=True))
        print(f"  {name:22}{count:6}{without:10.1f}{with_drafts:10.1f}{ratio:8.2f}", flush=True)
        return ratio


def generate(stream: Stream) -> tuple[float, tuple[int, ...]]:
    """Tokens a second after the first one, and the tokens."""
    start = 0.0
    tokens = []
    for piece in stream:
        if piece.token is not None:
            start = start or time.perf_counter()
            tokens.append(piece.token.id)
    return (len(tokens) - 1) / (time.perf_counter() - start), tuple(tokens)


def print_costs(model: Model, rounds: int) -> None:
    """What a step of n tokens costs, with a row of logits for each, after DEPTH others."""
    runtime = model.engine.runtime
    sequence = Sequence(model.engine.blocks)
    sequence.extend(range(DEPTH), drafts=max(ROWS))
    table = np.array(sequence.table, dtype=np.int32)

    def seconds(at: int, count: int) -> float:
        start = time.perf_counter()
        runtime.run(range(at, at + count), [(count, at, 0, table)], range(count))
        return time.perf_counter() - start

    seconds(0, DEPTH)
    times: dict[int, list[float]] = {rows: [] for rows in ROWS}
    for _ in range(rounds):
        for rows in ROWS:
            times[rows].append(seconds(DEPTH, rows))
    sequence.free()
    one = median(times[1])
    print("a step's rows            ms    of one row   if all are right")
    for rows, found in times.items():
        cost = median(found) / one
        print(f"  {rows:4}{1000 * median(found):22.2f}{cost:13.2f}{rows / cost:18.2f}")
    print()


def main(
    model: Annotated[str, typer.Argument(help="A model's name, or a file.")],
    bounds: Annotated[bool, typer.Option("--bounds", help="Leave out the real prompts.")] = False,
    threads: int = 2,
    rounds: Annotated[int, typer.Option(help="How often each text is generated.")] = 5,
    tokens: Annotated[int, typer.Option(help="Most tokens of a text.")] = 200,
) -> None:
    """Measure what drafts gain or cost."""
    print(f"{model}, {threads} threads, {processor()}")
    with pocketlm.load(model, threads=threads) as loaded:
        print_costs(loaded, rounds)
        comparison = Comparison(loaded, rounds)
        if not bounds:
            for title, prompts in (("copies", COPIES), ("free text", FREE)):
                comparison.kind(
                    title,
                    {
                        name: partial(
                            loaded.chat_stream,
                            [{"role": "user", "content": prompt}],
                            max_tokens=tokens,
                        )
                        for name, prompt in prompts.items()
                    },
                )
        prompt = list(range(100, 104)) * 8
        comparison.kind(
            "bounds",
            {
                name: partial(loaded.stream, prompt, max_tokens=tokens, seed=1, **options)
                for name, options in BOUNDS.items()
            },
        )


if __name__ == "__main__":
    typer.run(main)
