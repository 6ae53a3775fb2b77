"""Runs for tests: folders in the agreed form, of what models of some skill would have scored."""

import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pocketlm.evaluate.results import About, write

LETTERS = "ABCD"


def about(**changes: Any) -> About:
    """What was measured: the small model, unless said otherwise."""
    return About(
        **{
            "suite": "tasks",
            "model": "smollm2",
            "parameters": 134_515_008,
            "file_bytes": 98_000_000,
            "bits_per_weight": 5.83,
            "pocketlm": "0.1.0",
            "machine": "Linux, 2 cores",
            "threads": 1,
            "date": "2026-11-29T20:00:00",
            "seconds": 61.5,
            "command": ["pocketlm", "eval", "smollm2", "--tasks", "it's one"],
            "settings": {"limit": 40, "seed": 0},
            **changes,
        }
    )


def chosen(number: int, right: bool, *, seed: int = 0) -> dict[str, Any]:
    """An item of multiple choice by letter, as the harness writes its log-likelihoods."""
    draw = random.Random(f"{seed} {number}")
    target = draw.randrange(4)
    said = target if right else (target + 1 + draw.randrange(3)) % 4
    likelihoods = [-2.0 - 0.1 * place + 1.5 * (place == said) for place in range(4)]
    prompt = f"Question: what is {number} plus {target}?\nAnswer:"
    return {
        "doc_id": number,
        "doc": {"question": f"what is {number} plus {target}?", "choices": list(LETTERS)},
        "target": target,
        "arguments": {
            f"gen_args_{place}": {"arg_0": prompt, "arg_1": f" {letter}"}
            for place, letter in enumerate(LETTERS)
        },
        "resps": [[[value, False]] for value in likelihoods],
        "filtered_resps": [[value, False] for value in likelihoods],
        "filter": "none",
        "metrics": ["acc"],
        "acc": float(right),
    }


def written(number: int, scores: Mapping[str, float], answer: str, **more: Any) -> dict[str, Any]:
    """An item that is answered in words."""
    return {
        "doc_id": number,
        "doc": {"question": f"Say something of {number}."},
        "target": f"something of {number}",
        "arguments": {"gen_args_0": {"arg_0": f"Say something of {number}.", "arg_1": {}}},
        "resps": [[answer]],
        "filtered_resps": [answer],
        "filter": "none",
        "metrics": list(scores),
        **scores,
        **more,
    }


def keep(folder: Path, samples: Mapping[str, Sequence[dict[str, Any]]], **changes: Any) -> Path:
    """Write a run; its means are those of the samples."""
    results, shots = {}, {}
    for task, items in samples.items():
        results[task] = {"alias": task}
        for metric in items[0]["metrics"]:
            values = [item[metric] for item in items if item.get(metric) is not None]
            results[task][f"{metric},none"] = sum(values) / len(values)
        shots[task] = 5
    more = changes.pop("results", {})
    write(folder, {"results": results, "n-shot": shots, **more}, samples, about(**changes))
    return folder


def rights(skill: float, count: int, *, seed: int = 0) -> list[bool]:
    """Which items are right: those that a model of less skill has right, this one has right too."""
    draw = random.Random(seed)
    return [draw.random() < skill for _ in range(count)]


def choices(right: Iterable[bool], *, seed: int = 0) -> list[dict[str, Any]]:
    """A task of multiple choice."""
    return [chosen(number, each, seed=seed) for number, each in enumerate(right)]
