"""Runs of tasks: what they refuse, what they keep, and how they go on after they were killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pocketlm
from evaluate.harness import local
from pocketlm.errors import ParameterError
from pocketlm.evaluate.harness.run import LEDGER, measure

CHILD = """
import sys
from pathlib import Path
import pocketlm
from pocketlm.evaluate.harness.run import measure

model, out, *tasks = sys.argv[1:]
with pocketlm.load(Path(model), threads=1, cache_type="f16") as loaded:
    run = loaded.engine.runtime.run
    def slowly(*step):
        import time
        time.sleep(0.05)
        return run(*step)
    loaded.engine.runtime.run = slowly
    measure(loaded, Path(out), tasks=tasks)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("model")
    local.save("llama, grouped and tied", made)
    return made


@pytest.fixture
def model(folder):
    with pocketlm.load(folder, threads=1, cache_type="f16") as loaded:
        yield loaded


def lines(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_a_run_that_was_killed_goes_on_and_finds_the_same(model, tmp_path, folder):
    tasks = [local.answers(tmp_path, 30), local.texts(tmp_path)]
    expected = measure(model, tmp_path / "whole", tasks=tasks)
    out = tmp_path / "killed"
    path = os.pathsep.join(sys.path)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(out), *tasks],
        env={**os.environ, "PYTHONPATH": path},
    )
    deadline = time.monotonic() + 120
    while lines(out / LEDGER) < 8:
        assert child.poll() is None, "the child ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    done = lines(out / LEDGER) - 1  # the first says what run it is
    assert 7 <= done < 33
    begun = []
    generate = model.engine.generate
    model.engine.generate = lambda *of, **named: begun.append(of) or generate(*of, **named)
    told = []
    found = measure(model, out, tasks=tasks, tell=told.append)
    assert len(begun) == 30 - done
    assert f"answers: {done} of 30 are there already" in told
    assert lines(out / LEDGER) == 1 + 33  # each once
    assert found[0]["results"] == expected[0]["results"]
    assert found[1] == expected[1]
    model.engine.runtime.run = None  # nothing can be computed any more
    assert measure(model, out, tasks=tasks) == found


def test_a_larger_limit_goes_on(model, tmp_path):
    task = local.letters(tmp_path, 9)
    measure(model, tmp_path / "out", tasks=[task], limit=3)
    before = lines(tmp_path / "out" / LEDGER)
    results, samples = measure(model, tmp_path / "out", tasks=[task], limit=5)
    assert lines(tmp_path / "out" / LEDGER) == before + 2 * 3
    assert results["n-samples"]["letters"] == {"original": 9, "effective": 5}
    assert [sample["doc_id"] for sample in samples["letters"]] == [0, 1, 2, 3, 4]


def test_shots_are_as_asked_for_and_drawn_by_the_seed(model, tmp_path):
    task = local.sums(tmp_path)
    asked = {}
    for shots, seed in ((1, 1), (1, 2), (0, 1)):
        out = tmp_path / f"{shots} {seed}"
        results, samples = measure(model, out, tasks=[task], shots=shots, seed=seed)
        assert results["n-shot"] == {"sums": shots}
        prompts = [sample["arguments"]["gen_args_0"]["arg_0"] for sample in samples["sums"]]
        assert all(prompt.count(":") == shots + 1 for prompt in prompts)
        asked[shots, seed] = prompts
    assert asked[1, 1] != asked[1, 2]


def test_chats_have_the_template_around_each_turn(model, tmp_path):
    _, samples = measure(model, tmp_path / "out", tasks=[local.sums(tmp_path, shots=1)], chat=True)
    prompt = samples["sums"][0]["arguments"]["gen_args_0"]["arg_0"]
    assert prompt.count("user: ") == 2
    assert prompt.count("assistant: ") == 1


def test_texts_that_are_cut_are_counted(model, tmp_path):
    task = local.sums(tmp_path, shots=3)
    with pocketlm.load(model.checkpoint.path, threads=1, context=24) as small:
        results, _ = measure(small, tmp_path / "out", tasks=[task])
    assert results["truncated"] == {"sums": 4 * 5}


def test_what_cannot_be_measured_is_refused(model, tmp_path):
    task = local.letters(tmp_path)
    out = tmp_path / "out"
    for arguments, said in (
        ({"tasks": ["mmlu_abstract_algbra"]}, "nearest are mmlu_abstract_algebra"),
        ({"tasks": []}, "no task is named"),
        ({"tasks": [task], "limit": 0}, "limit is 0"),
        ({"tasks": [task], "shots": -1}, "shots is -1"),
        ({"tasks": ["humaneval"]}, "unprotected"),
        ({"tasks": ["arc_easy"], "data": tmp_path}, "allenai__ai2_arc/ARC-Easy/"),
    ):
        with pytest.raises(ParameterError, match=said):
            measure(model, out, **arguments)
    assert not out.exists()
    unsafe = local.write(
        tmp_path,
        "unsafe",
        {"test": tmp_path / "letters.test.jsonl"},
        unsafe_code=True,
        output_type="generate_until",
        doc_to_text="a",
        doc_to_target="b",
    )
    with pytest.raises(ParameterError, match="unprotected"):
        measure(model, out, tasks=[unsafe])
    measure(model, out, tasks=[task])
    with pytest.raises(ParameterError, match=r"another run.*shots None"):
        measure(model, out, tasks=[task], shots=2)


def test_the_harness_s_own_tasks_take_their_items_from_a_folder(model, tmp_path):
    items = [
        {
            "question": f"{i}?",
            "choices": {"text": ["a", "b"], "label": ["A", "B"]},
            "answerKey": "A",
        }
        for i in range(4)
    ]
    place = tmp_path / "allenai__ai2_arc" / "ARC-Easy"
    place.mkdir(parents=True)
    for split in ("train", "validation", "test"):
        text = "".join(f"{json.dumps(item)}\n" for item in items)
        (place / f"{split}.jsonl").write_text(text)
    results, samples = measure(model, tmp_path / "out", tasks=["arc_easy"], data=tmp_path)
    assert results["n-samples"]["arc_easy"]["effective"] == 4
    assert samples["arc_easy"][1]["doc"]["question"] == "1?"


def test_results_read_back_as_they_were_written(model, tmp_path):
    from pocketlm.evaluate.about import about
    from pocketlm.evaluate.results import read, write

    results, samples = measure(model, tmp_path, tasks=[local.letters(tmp_path)])
    facts = about(
        model, suite="tasks", name="tiny", seconds=1.0, command=["pocketlm"], settings={"limit": 4}
    )
    write(tmp_path, results, samples, facts)
    run = read(Path(tmp_path))
    assert run.about == facts
    assert facts.bits_per_weight == 32
    assert (
        run.results["results"]["letters"]["acc,none"] == results["results"]["letters"]["acc,none"]
    )
    assert [sample["doc_id"] for sample in run.samples["letters"]] == [0, 1, 2, 3]
