"""A benchmark's rows, as the hub has them, made into a question, options and the right one.

One function a data set, named in the tasks' files as `process_docs`. It knows the fields of each
data set; it does not know prompts or scores.
"""

from __future__ import annotations

import functools
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from datasets import Dataset

# The harness's own cleaning of WikiHow's marks.
from lm_eval.tasks.hellaswag.utils import preprocess

from pocketlm.errors import ParameterError

Row = Mapping[str, Any]
#: `question` (str), `options` (list of str), `answer` (an index of `options`).
Item = dict[str, Any]


def _each(convert: Callable[[Row], Item]) -> Callable[[Dataset], Dataset]:
    """Make a function of a row into one of a split; it says which row has not the hub's fields."""

    @functools.wraps(convert)
    def process(rows: Dataset) -> Dataset:
        # As one list: row by row, a split of 100,000 takes seconds.
        numbered = enumerate(rows.to_list(), 1)
        return Dataset.from_list([_converted(convert, *row) for row in numbered])

    return process


def _converted(convert: Callable[[Row], Item], number: int, row: Row) -> Item:
    try:
        return convert(row)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise ParameterError(
            f"row {number} of the data is not as the hub has it for `{convert.__name__}` "
            f"({type(error).__name__}: {error}); its fields are {', '.join(row)}"
        ) from None


def _item(question: str, options: Sequence[str], answer: int) -> Item:
    # An answer that is no option would count as wrong whatever a model says; 26 are the letters.
    if not 0 <= answer < len(options) <= 26:
        raise ValueError(f"answer {answer} of {len(options)} options")
    return {"question": question.strip(), "options": list(options), "answer": answer}


def mmlu(rows: Dataset) -> Dataset:
    """Give the subjects in turn: the first item of each, then the second, …; `subject` is kept."""
    before: Counter[str] = Counter()
    turns = []
    for number, row in enumerate(rows.to_list(), 1):
        item = _converted(_mmlu, number, row)
        turns.append((before[item["subject"]], item))
        before[item["subject"]] += 1
    turns.sort(key=lambda turn: turn[0])
    return Dataset.from_list([item for _, item in turns])


def _mmlu(row: Row) -> Item:
    return _item(row["question"], row["choices"], row["answer"]) | {"subject": row["subject"]}


@_each
def hellaswag(row: Row) -> Item:
    """Which sentence goes on from here?"""
    begun = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}"
    return _item(preprocess(begun), [preprocess(e) for e in row["endings"]], int(row["label"]))


@_each
def anli(row: Row) -> Item:
    """Does the second follow from the first? The hub's label: 0 yes, 1 open, 2 no."""
    question = f"{row['premise']}\n{row['hypothesis']} True, False, or Neither?"
    return _item(question, ["True", "False", "Neither"], (0, 2, 1)[row["label"]])


@_each
def medqa(row: Row) -> Item:
    """A patient's story, and what to do."""
    return _item(row["sent1"], [row[f"ending{number}"] for number in range(4)], row["label"])


@_each
def agieval(row: Row) -> Item:
    """An exam's question; the hub's `query` is a whole prompt, of which the question is taken."""
    question = row["query"].rsplit("Answer Choices:", 1)[0].removeprefix("Q: ")
    options = [re.sub(r"^\([A-Z]\)\s*", "", choice) for choice in row["choices"]]
    return _item(question, options, row["gold"][0])


@_each
def arc(row: Row) -> Item:
    """A question of school science; labels may be letters or numbers."""
    labels = row["choices"]["label"]
    return _item(row["question"], row["choices"]["text"], labels.index(row["answerKey"]))


@_each
def piqa(row: Row) -> Item:
    """Which of two ways reaches a goal?"""
    return _item(row["goal"], [row["sol1"], row["sol2"]], row["label"])


@_each
def siqa(row: Row) -> Item:
    """What people do, want and feel; the hub's label is "1" to "3"."""
    options = [row["answerA"], row["answerB"], row["answerC"]]
    return _item(f"{row['context']} {row['question']}", options, int(row["label"]) - 1)


@_each
def winogrande(row: Row) -> Item:
    """Whom does the gap stand for? The hub's answer is "1" or "2"."""
    question = f"{row['sentence']}\nWhat does the _ stand for?"
    return _item(question, [row["option1"], row["option2"]], int(row["answer"]) - 1)


@_each
def openbookqa(row: Row) -> Item:
    """A question of elementary science, without the fact that it turns on."""
    labels = row["choices"]["label"]
    return _item(row["question_stem"], row["choices"]["text"], labels.index(row["answerKey"]))


@_each
def boolq(row: Row) -> Item:
    """A passage, and a question to be answered from it by yes (1) or no (0)."""
    return _item(f"{row['passage']}\n{row['question']}?", ["Yes", "No"], 1 - row["label"])


@_each
def commonsense_qa(row: Row) -> Item:
    """A question of everyday sense, with five options."""
    labels = row["choices"]["label"]
    return _item(row["question"], row["choices"]["text"], labels.index(row["answerKey"]))


@_each
def truthfulqa(row: Row) -> Item:
    """MC1: one true answer. The hub has it first; here each item has an order of its own."""
    options, true = row["mc1_targets"]["choices"], row["mc1_targets"]["labels"].index(1)
    order = list(range(len(options)))
    random.Random(row["question"]).shuffle(order)
    return _item(row["question"], [options[place] for place in order], order.index(true))


def mbpp_examples(rows: Dataset) -> Dataset:
    """Give the three examples of the benchmark's authors: tasks 2, 3 and 4."""
    return Dataset.from_list([row for row in rows.to_list() if row["task_id"] in (2, 3, 4)])
