"""Rows written for these tests, in the fields that the hub's data sets have: enough for each task.

`place` writes them as `--data` wants them. Row 0 of what is measured is the one whose prompt the
tests write out.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]

LETTERS = ["A", "B", "C", "D"]
BBH = [
    "boolean_expressions",
    "causal_judgement",
    "date_understanding",
    "disambiguation_qa",
    "dyck_languages",
    "formal_fallacies",
    "geometric_shapes",
    "hyperbaton",
    "logical_deduction_five_objects",
    "logical_deduction_seven_objects",
    "logical_deduction_three_objects",
    "movie_recommendation",
    "multistep_arithmetic_two",
    "navigate",
    "object_counting",
    "penguins_in_a_table",
    "reasoning_about_colored_objects",
    "ruin_names",
    "salient_translation_error_detection",
    "snarks",
    "sports_understanding",
    "temporal_sequences",
    "tracking_shuffled_objects_five_objects",
    "tracking_shuffled_objects_seven_objects",
    "tracking_shuffled_objects_three_objects",
    "web_of_lies",
    "word_sorting",
]
EXAMS = [
    "aqua-rat",
    "gaokao-english",
    "logiqa-en",
    "lsat-ar",
    "lsat-lr",
    "lsat-rc",
    "sat-en",
    "sat-en-without-passage",
    "sat-math",
]


def mmlu(n: int) -> Row:
    return {
        "question": f"What is {n} + 1?",
        "subject": ("arithmetic", "counting")[n % 2],
        "choices": [str(n), str(n + 1), str(n + 2), str(n + 3)],
        "answer": 1,
    }


def hellaswag(n: int) -> Row:
    return {
        "activity_label": "Baking bread",
        "ctx_a": f"Someone kneads dough for {n} minutes. [step] They shape it.",
        "ctx_b": "then they",
        "endings": ["bake it.", "paint it.", "sail it.", "fold the map."],
        "label": "0",
    }


def anli(n: int) -> Row:
    return {
        "premise": f"The shop opened in {1900 + n}.",
        "hypothesis": f"The shop was shut before {1900 + n}.",
        "label": n % 3,
    }


def gsm8k(n: int) -> Row:
    return {
        "question": f"Ann has {n} pens and buys 2 more. How many has she?",
        "answer": f"She has {n} + 2 = <<{n}+2={n + 2}>>{n + 2} pens.\n#### {n + 2}",
    }


def medqa(n: int) -> Row:
    return {
        "sent1": f"A man of {40 + n} coughs. What first?",
        "ending0": "Listen",
        "ending1": "Wait",
        "ending2": "Operate",
        "ending3": "Nothing",
        "label": 0,
    }


def exam(n: int) -> Row:
    return {
        "query": f"Q: A train runs {n + 1} hours at 60. How far? "
        f"Answer Choices: (A)10 (B){n * 60 + 60} \nA: Among A through B, the answer is",
        "choices": ["(A)10", f"(B){n * 60 + 60}"],
        "gold": [1],
    }


def triviaqa(n: int) -> Row:
    name = ("Paris", "Rome", "Oslo")[n % 3]
    return {
        "question": f"Capital number {n}?",
        "answer": {"value": name, "aliases": [f"City of {name}", name]},
    }


def arc(n: int) -> Row:
    return {
        "question": f"Which of these is warm on day {n}?",
        "choices": {"text": ["ice", "fire", "snow", "hail"], "label": ["1", "2", "3", "4"]},
        "answerKey": "2",
    }


def piqa(n: int) -> Row:
    return {"goal": f"Open jar {n}.", "sol1": "Turn the lid.", "sol2": "Sing to it.", "label": 0}


def siqa(n: int) -> Row:
    return {
        "context": f"Kim gave Lee {n} gifts.",
        "question": "How does Lee feel?",
        "answerA": "cross",
        "answerB": "glad",
        "answerC": "asleep",
        "label": "2",
    }


def bbh(n: int) -> Row:
    return {"input": f"not ( True ) and {n} is", "target": "False"}


def winogrande(n: int) -> Row:
    return {
        "sentence": f"The cup did not fit box {n}, for the _ was too big.",
        "option1": "cup",
        "option2": "box",
        "answer": "1",
    }


def openbookqa(n: int) -> Row:
    return {
        "question_stem": f"On day {n} a plant wants",
        "choices": {"text": ["light", "tin", "noise", "sand"], "label": LETTERS},
        "answerKey": "A",
    }


def boolq(n: int) -> Row:
    return {
        "passage": f"Bridge {n} is made of stone.",
        "question": f"is bridge {n} made of stone",
        "label": 1,
    }


def commonsense_qa(n: int) -> Row:
    return {
        "question": f"Where is cup {n} kept?",
        "choices": {"text": ["sea", "sky", "cupboard", "moon", "fire"], "label": [*LETTERS, "E"]},
        "answerKey": "C",
    }


def truthfulqa(n: int) -> Row:
    false = [f"It is {k}." for k in range(2 + n % 3)]
    return {
        "question": f"What is {n} times nothing?",
        "mc1_targets": {"choices": ["Nothing.", *false], "labels": [1] + [0] * len(false)},
    }


def humaneval(n: int) -> Row:
    return {
        "task_id": f"HumanEval/{n}",
        "prompt": f'def add_{n}(x):\n    """Add {n} to x."""\n',
        "canonical_solution": f"    return x + {n}\n",
        "test": f"def check(candidate):\n    assert candidate(2) == {n + 2}\n",
        "entry_point": f"add_{n}",
    }


def mbpp(n: int) -> Row:
    return {
        "task_id": n + 1,
        "text": f"Write a function to add {n} to a number.",
        "code": f"def add(x):\n    return x + {n}",
        "test_list": [f"assert add(2) == {n + 2}", f"assert add(0) == {n}"],
        "test_setup_code": "",
    }


#: Task of the suite to (data set, configuration, rows, split of the examples, split measured).
TASKS: Mapping[str, list[tuple[str, str | None, Callable[[int], Row], str | None, str]]] = {
    "phi3_mmlu": [("cais/mmlu", "all", mmlu, "dev", "test")],
    "phi3_hellaswag": [("Rowan/hellaswag", None, hellaswag, "train", "validation")],
    "phi3_anli": [("facebook/anli", None, anli, f"train_r{r}", f"test_r{r}") for r in (1, 2, 3)],
    "phi3_gsm8k": [("openai/gsm8k", "main", gsm8k, "train", "test")],
    "phi3_medqa": [("GBaker/MedQA-USMLE-4-options-hf", None, medqa, "train", "test")],
    "phi3_agieval": [(f"hails/agieval-{name}", None, exam, None, "test") for name in EXAMS],
    "phi3_triviaqa": [
        ("mandarjoshi/trivia_qa", "rc.nocontext", triviaqa, "train", "validation"),
    ],
    "phi3_arc_challenge": [("allenai/ai2_arc", "ARC-Challenge", arc, "train", "test")],
    "phi3_arc_easy": [("allenai/ai2_arc", "ARC-Easy", arc, "train", "test")],
    "phi3_piqa": [("baber/piqa", None, piqa, "train", "validation")],
    "phi3_siqa": [("lighteval/siqa", None, siqa, "train", "validation")],
    "phi3_bbh": [("SaylorTwift/bbh", name, bbh, None, "test") for name in BBH],
    "phi3_winogrande": [
        ("allenai/winogrande", "winogrande_xl", winogrande, "train", "validation"),
    ],
    "phi3_openbookqa": [("allenai/openbookqa", "main", openbookqa, "train", "test")],
    "phi3_boolq": [("aps/super_glue", "boolq", boolq, "train", "validation")],
    "phi3_commonsense_qa": [("tau/commonsense_qa", None, commonsense_qa, "train", "validation")],
    "phi3_truthfulqa": [
        ("truthfulqa/truthful_qa", "multiple_choice", truthfulqa, None, "validation"),
    ],
    "phi3_humaneval": [("openai/openai_humaneval", None, humaneval, None, "test")],
    "phi3_mbpp": [("google-research-datasets/mbpp", "full", mbpp, "prompt", "test")],
}


def place(folder: Path) -> None:
    """Write 12 examples (numbers 0 to 11) and 13 items (from 100 on) of every data set."""
    for parts in TASKS.values():
        for name, config, row, examples, measured in parts:
            place_split(folder, name, config, measured, [row(n) for n in range(100, 113)])
            if examples:
                place_split(folder, name, config, examples, [row(n) for n in range(12)])


def place_split(folder: Path, name: str, config: str | None, split: str, rows: list[Row]) -> Path:
    """Write one split where `--data` looks for it."""
    path = folder / name.replace("/", "__") / (config or "") / f"{split}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path
