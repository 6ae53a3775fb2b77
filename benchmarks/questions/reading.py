"""Sets of questions as files have them: SQuAD's form (XQuAD too), TriviaQA, Natural Questions.

xquad.en.json           SQuAD 1.1's JSON
triviaqa.jsonl          {"question", "golden_answers"} a line, or TriviaQA's own JSON ("Data")
NQ-open.dev.jsonl       {"question", "answer"} a line (Lee et al. 2019)
"""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Question:
    """A question, what answers it, and the passage that holds the answer, where there is one.

    `group` says which questions depend on each other: the article, or the question itself.
    """

    text: str
    answers: tuple[str, ...]
    group: str
    passage: str | None = None


def read(path: Path) -> list[Question]:
    """The questions of a file. Raises ValueError for a form that is none of the above."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [_line(json.loads(line)) for line in text.splitlines() if line.strip()]
    content = json.loads(text)
    if "Data" in content:
        return [_trivia(each) for each in content["Data"]]
    if "data" not in content:
        raise ValueError(f"{path}: not SQuAD's form, nor TriviaQA's")
    return [
        Question(
            asked["question"],
            tuple(answer["text"] for answer in asked["answers"]),
            article["title"],
            paragraph["context"],
        )
        for article in content["data"]
        for paragraph in article["paragraphs"]
        for asked in paragraph["qas"]
        if asked["answers"]
    ]


def _line(item: dict) -> Question:
    answers = item.get("golden_answers", item.get("answer"))
    if answers is None:
        raise ValueError(f"a line has neither golden_answers nor answer: {str(item)[:80]}")
    return Question(item["question"], tuple(answers), item["question"])


def _trivia(item: dict) -> Question:
    answer = item["Answer"]
    known = dict.fromkeys([answer["Value"], *answer.get("Aliases", [])])
    return Question(item["Question"], tuple(known), item["QuestionId"])
