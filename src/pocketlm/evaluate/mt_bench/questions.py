"""The questions of MT-bench: two turns each, in eight categories, some with reference answers.

They are not part of this project (Zheng et al. 2023, "Judging LLM-as-a-judge with MT-bench and
Chatbot Arena"; Apache-2.0): they are read from a folder of the user's, as FastChat lays it out. It
knows these files; it knows no model and no judge.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketlm.errors import ParameterError

QUESTIONS = "question.jsonl"
#: Where references are, in the order in which they are looked for.
REFERENCES = ("reference_answer/gpt-4.jsonl", "reference_answer_gpt-4.jsonl")
#: The folder within `--data`, where that is one of several benchmarks.
FOLDER = "mt_bench"
SOURCE = "github.com/lm-sys/FastChat, fastchat/llm_judge/data/mt_bench"


@dataclass(frozen=True)
class Question:
    """Two turns of a user; `reference` are right answers to both, where there are any."""

    number: int
    category: str
    turns: tuple[str, str]
    reference: tuple[str, str] | None


def read(data: Path | None) -> list[Question]:
    """The questions in a folder, or in `mt_bench/` within it (None: the current folder).

    Raises ParameterError where they are not there, saying what to place where, or are not whole.
    """
    folder = located(data)
    references = {}
    for name in REFERENCES:
        if (folder / name).is_file():
            for where, row in _rows(folder / name):
                try:
                    first, second = row["choices"][0]["turns"]
                    references[int(row["question_id"])] = (str(first), str(second))
                except (KeyError, IndexError, TypeError, ValueError):
                    raise ParameterError(f"{where}: this is no reference answer") from None
            break
    questions = []
    for where, row in _rows(folder / QUESTIONS):
        try:
            first, second = map(str, row["turns"])
            number, category = int(row["question_id"]), str(row["category"])
        except (KeyError, TypeError, ValueError):
            raise ParameterError(f"{where}: this is no question of two turns") from None
        questions.append(Question(number, category, (first, second), references.get(number)))
    if not questions:
        raise ParameterError(f"{folder / QUESTIONS} holds no question")
    if len({question.number for question in questions}) < len(questions):
        raise ParameterError(f"{folder / QUESTIONS}: a question_id comes twice")
    return questions


def located(data: Path | None) -> Path:
    """The folder that holds the questions. Raises ParameterError as `read` does."""
    named = Path() if data is None else data
    for folder in (named / FOLDER, named):
        if (folder / QUESTIONS).is_file():
            return folder
    raise ParameterError(
        f"the questions of MT-bench are not in {named.resolve()}: place {QUESTIONS} and"
        f" {REFERENCES[0]} (from {SOURCE}) in its folder {FOLDER}, or name theirs by --data"
    )


def chosen(questions: Sequence[Question], limit: int | None) -> list[Question]:
    """The first `limit` of them, taken from all categories in turn; those of less are in more."""
    ranks: dict[str, int] = {}
    placed = []
    for order, question in enumerate(questions):
        rank = ranks[question.category] = ranks.get(question.category, -1) + 1
        placed.append((rank, order, question))
    return [question for _, _, question in sorted(placed, key=lambda each: each[:2])][:limit]


def digest(questions: Sequence[Question]) -> str:
    """Of what the questions say: the same digest, the same questions."""
    said = json.dumps([[each.number, each.category, each.turns] for each in questions])
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The lines of a file, each with where it stands."""
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ParameterError(f"{where}: this is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise ParameterError(f"{where}: this is no JSON object")
        yield where, row
