"""The slices of published benchmarks, made into a folder by benchmarks/evaluation_data.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pocketlm.evaluate.harness.data import local, require

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "evaluation_data.py"
OURS = {
    "phi3_mmlu": 399,
    "phi3_gsm8k": 200,
    "phi3_arc_challenge": 287,
    "phi3_hellaswag": 138,
    "phi3_triviaqa": 138,
}


@pytest.fixture(scope="module")
def slices(test_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("slices")
    environment = os.environ | {"POCKETLM_TEST_DATA": str(test_data)}
    subprocess.run([sys.executable, SCRIPT, folder], env=environment, check=True)
    return folder


def test_our_tasks_and_the_harness_s_own_read_them(manager, slices):
    names = [*OURS, "arc_challenge", "hellaswag"]
    require(manager, names, slices)
    with local(slices):
        tasks = manager.load(names)["tasks"]
    assert {name: len(tasks[name].eval_docs) for name in OURS} == OURS
    for task in tasks.values():
        task.set_fewshot_seed(1)
        task.build_all_requests(limit=3)
    subjects = {item["subject"] for item in tasks["phi3_mmlu"].eval_docs.select(range(57))}
    assert len(subjects) == 57


def test_hellaswag_comes_out_as_it_went_in(manager, slices, test_data):
    with local(slices):
        (task,) = manager.load(["phi3_hellaswag"])["tasks"].values()
    lines = (test_data / "hellaswag" / "sample_150.jsonl").read_text("utf-8").splitlines()
    for item, line in zip(task.eval_docs, lines[12:], strict=True):
        row = json.loads(line)
        assert item["question"] == row["context"].strip()
        assert item["answer"] == row["label"]


def test_nothing_is_an_example_and_measured(slices):
    for name in ("Rowan__hellaswag", "mandarjoshi__trivia_qa/rc.nocontext"):
        lines = [
            set((slices / name / f"{split}.jsonl").read_text("utf-8").splitlines())
            for split in ("train", "validation")
        ]
        assert len(lines[0]) == 12
        assert not lines[0] & lines[1]
