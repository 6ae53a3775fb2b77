"""Turns slices of published benchmarks into a folder for `pocketlm eval … --data FOLDER`.

    POCKETLM_TEST_DATA=… python benchmarks/evaluation_data.py FOLDER

The slices (MMLU, GSM-8K, ARC-Challenge, HellaSwag, TriviaQA) are written in the hub's fields and
under the hub's names, so that tasks find them. What the names do not say: MMLU's items are of its
validation split, ARC's of its validation split, and stand as `test`; ARC, HellaSwag and TriviaQA
have no training items in the slices, so that the first few of each (those with the fewest aliases,
of TriviaQA, whose slice does not say which alias is the answer) stand as `train` and are not
measured. A figure from such a slice is one of the slice, not of the benchmark.
"""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pocketlm.formats.output import new_file

#: How many items stand as training items where a slice has none: the most shots, and a few more.
EXAMPLES = 12
Row = dict[str, Any]


def main(source: Path, folder: Path) -> None:
    """Write every split that the slices in `source` give."""
    mmlu(source, folder / "cais__mmlu")
    gsm8k(source, folder / "openai__gsm8k" / "main")
    arc(source, folder / "allenai__ai2_arc" / "ARC-Challenge")
    hellaswag(source, folder / "Rowan__hellaswag")
    triviaqa(source, folder / "mandarjoshi__trivia_qa" / "rc.nocontext")


def mmlu(source: Path, folder: Path) -> None:
    """Write all subjects together, and each in a folder of its own as the harness's tasks want."""
    for split, name in (("dev", "dev_285"), ("test", "val_399")):
        rows = [
            {key: row[key] for key in ("question", "subject", "choices")}
            | {"answer": "ABCD".index(row["answer"])}
            for row in _read(source / "mmlu" / f"{name}.jsonl")
        ]
        _write(folder / "all" / f"{split}.jsonl", rows)
        for subject in {row["subject"] for row in rows}:
            own = [row for row in rows if row["subject"] == subject]
            _write(folder / subject / f"{split}.jsonl", own)


def gsm8k(source: Path, folder: Path) -> None:
    """Write training and test items."""
    for split, name in (("train", "train_first_500"), ("test", "test_slice_200")):
        rows = _read(source / "gsm8k" / f"{name}.jsonl")
        _write(
            folder / f"{split}.jsonl",
            [{key: row[key] for key in ("question", "answer")} for row in rows],
        )


def arc(source: Path, folder: Path) -> None:
    """Write validation items, as training and test items."""
    rows = [
        row | {"choices": {key: [one[key] for one in row["choices"]] for key in ("text", "label")}}
        for row in _read(source / "arc" / "challenge_dev.jsonl")
    ]
    _write(folder / "train.jsonl", rows[:EXAMPLES])
    _write(folder / "test.jsonl", rows[EXAMPLES:])


def hellaswag(source: Path, folder: Path) -> None:
    """Write validation items, as training and validation items."""
    rows = []
    for row in _read(source / "hellaswag" / "sample_150.jsonl"):
        activity, _, begun = row["context"].partition(": ")
        fields = {"activity_label": activity, "ctx_a": begun, "ctx_b": "", "ctx": begun}
        rows.append(fields | {"endings": row["endings"], "label": str(row["label"])})
    _write(folder / "train.jsonl", rows[:EXAMPLES])
    _write(folder / "validation.jsonl", rows[EXAMPLES:])


def triviaqa(source: Path, folder: Path) -> None:
    """Write items without passages, as training and validation items."""
    rows = _read(source / "triviaqa" / "sample_150.jsonl")
    rows.sort(key=lambda row: (len(row["golden_answers"]), len(row["golden_answers"][0])))
    plain = {row["id"] for row in rows[:EXAMPLES]}
    for split, shown in (("train", True), ("validation", False)):
        _write(
            folder / f"{split}.jsonl",
            [
                {
                    "question_id": row["id"],
                    "question": row["question"],
                    "answer": {"value": row["golden_answers"][0], "aliases": row["golden_answers"]},
                }
                for row in rows
                if (row["id"] in plain) is shown
            ],
        )


def _read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _write(path: Path, rows: Iterable[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


if __name__ == "__main__":
    if len(sys.argv) != 2 or "POCKETLM_TEST_DATA" not in os.environ:
        sys.exit(__doc__)
    main(Path(os.environ["POCKETLM_TEST_DATA"]), Path(sys.argv[1]))
