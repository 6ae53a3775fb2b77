"""Tiny models, and tasks in the harness's form whose items lie in local files."""

import json
from pathlib import Path
from typing import Any

import yaml

from models.checkpoints import VOCABULARY
from quantize import tiny

ACCURACY = [
    {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
    {"metric": "acc_norm", "aggregation": "mean", "higher_is_better": True},
]


def save(name: str, folder: Path) -> None:
    """A tiny random model with a vocabulary of letters, in which each token has the id it says.

    The vocabulary is as large as the model's, so that transformers writes no token that is none.
    """
    tiny.save(name, folder)
    tokenizer = tiny.tokenizer_json()
    tokens = [*tiny.TOKENS, *(f"more{id}" for id in range(len(tiny.TOKENS), VOCABULARY))]
    tokenizer["model"]["vocab"] = {token: id for id, token in enumerate(tokens)}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    ends = [tokens.index(end) for end in ("</s>", "<|end|>")]
    config = {"eos_token_id": ends, "pad_token_id": tokens.index("<pad>")}
    (folder / "generation_config.json").write_text(json.dumps(config))


def write(folder: Path, name: str, splits: dict[str, Any], **config: Any) -> str:
    """Write a task; its path. A split is a list of items, or the file that holds them."""
    files = {}
    for split, items in splits.items():
        files[split] = str(folder / f"{name}.{split}.jsonl")
        if isinstance(items, Path):
            files[split] = str(items)
        else:
            Path(files[split]).write_text("".join(f"{json.dumps(item)}\n" for item in items))
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files},
        "test_split": "test",
        **config,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(task))
    return str(path)


def sums(folder: Path, count: int = 8, *, shots: int = 2) -> str:
    """Multiple choice: options of one letter and of several, some of them alike at first."""
    items = [
        {"asked": f"{i} and {i + 1}", "options": [str(2 * i + 1), f"{i} {i}", "ab", "abc ab"]}
        for i in range(count)
    ]
    return write(
        folder,
        "sums",
        {"train": items[-3:], "test": items[:-3]},
        fewshot_split="train",
        num_fewshot=shots,
        output_type="multiple_choice",
        doc_to_text="{{asked}}:",
        doc_to_choice="{{options}}",
        doc_to_target=0,
        metric_list=ACCURACY,
    )


def letters(folder: Path, count: int = 4) -> str:
    """Multiple choice by letter."""
    items = [{"asked": f"is it {i}", "right": i % 3} for i in range(count)]
    return write(
        folder,
        "letters",
        {"test": items},
        output_type="multiple_choice",
        doc_to_text="{{asked}}\nA. no\nB. yes\nC. ab\nAnswer:",
        doc_to_choice=["A", "B", "C"],
        doc_to_target="{{right}}",
        metric_list=ACCURACY[:1],
    )


def texts(folder: Path, count: int = 3) -> str:
    """Whole texts, some of them longer than a tiny model's context."""
    items = [{"text": f"abc {i} er ab\n" * (3 + 18 * i)} for i in range(count)]
    return write(
        folder,
        "texts",
        {"test": items},
        output_type="loglikelihood_rolling",
        doc_to_text="",
        doc_to_target="{{text}}",
        metric_list=[{"metric": "bits_per_byte", "aggregation": "bits_per_byte"}],
    )


def answers(folder: Path, count: int = 4, **options: Any) -> str:
    """Answers of up to 24 tokens, which end at some letters that a random model soon writes."""
    items = [{"asked": f"ab {i} abc", "right": "ab"} for i in range(count)]
    return write(
        folder,
        "answers",
        {"train": items[:2], "test": items},
        fewshot_split="train",
        num_fewshot=1,
        output_type="generate_until",
        doc_to_text="{{asked}}:",
        doc_to_target="{{right}}",
        generation_kwargs={"until": ["ab", "q"], "max_gen_toks": 24, "do_sample": False, **options},
        metric_list=[{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    )
