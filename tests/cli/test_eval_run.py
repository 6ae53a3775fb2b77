"""`pocketlm eval MODEL --tasks …`: what it prints, writes and refuses."""

import json
import signal
import subprocess
import time

import pytest
from program import PROGRAM, check_refusal

from evaluate.harness import local


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    made = tmp_path_factory.mktemp("tiny")
    local.save("llama, grouped and tied", made)
    return made


def test_a_table_and_results(pocketlm, model, tmp_path):
    out = tmp_path / "out"
    tasks = f"{local.sums(tmp_path)},{local.texts(tmp_path)}"
    arguments = ("eval", model, "--tasks", tasks, "--limit", 2, "--threads", 1, "--out", out)
    result = pocketlm(*arguments)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    head, sums, texts, _, said = result.stdout.splitlines()
    assert head.split() == ["task", "shots", "metric", "score", "95", "%", "items"]
    assert sums.split()[:3] == ["sums", "2", "acc"]
    assert sums.split()[-1] == "2"
    assert texts.split()[:3] == ["texts", "0", "bits_per_byte"]
    assert str(out) in said
    found = json.loads((out / "results.json").read_text())
    about = found["pocketlm"]
    assert about["suite"] == "tasks"
    assert about["threads"] == 1
    assert about["settings"]["limit"] == 2
    assert about["command"][:2] == ["pocketlm", "eval"]
    assert about["file_bytes"] == (model / "model.safetensors").stat().st_size
    assert len((out / "samples_sums.jsonl").read_text().splitlines()) == 2
    assert json.loads(pocketlm(*arguments, "--json").stdout)["results"] == found["results"]


def test_texts_that_do_not_fit_are_told_of(pocketlm, model, tmp_path):
    task = local.sums(tmp_path, shots=3)
    result = pocketlm(
        "eval", model, "--tasks", task, "--context", 24, "--out", tmp_path / "o", "--threads", 1
    )
    assert result.returncode == 0
    assert "(sums: 20 texts were longer than the context of 24 tokens" in result.stderr


def test_ctrl_c_loses_nothing(pocketlm, environment, model, tmp_path):
    out = tmp_path / "out"
    task = local.answers(tmp_path, 400, max_gen_toks=90, until=[])
    arguments = ["eval", model, "--tasks", task, "--out", out, "--threads", 1]
    command = [*PROGRAM, *map(str, arguments)]
    child = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    ledger = out / "requests.jsonl"
    deadline = time.monotonic() + 100
    while not ledger.exists() or ledger.read_bytes().count(b"\n") < 4:
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=100)
    assert child.returncode == 130
    assert "the same command goes on" in said
    assert not (out / "results.json").exists()
    before = ledger.read_text()
    assert before.count("\n") < 400
    assert pocketlm(*arguments).returncode == 0
    assert ledger.read_text().startswith(before)
    assert ledger.read_text().count("\n") == 1 + 400


@pytest.mark.parametrize(
    ("options", "words", "code"),
    [
        ([], ["--tasks NAME,…", "--suite", "probes"], 2),
        (["--tasks", "a", "--suite", "probes"], ["--tasks", "one --suite"], 2),
        (["--suite", "probes", "--shots", "1"], ["--shots is of no use", "--tasks"], 2),
        (["--suite", "mt-bench"], ["--judge URL"], 2),
        (["--tasks", "phi3_arc_esy"], ["no task 'phi3_arc_esy'", "phi3_arc_easy"], 2),
        (["--tasks", "phi3_arc_easy"], ["allenai/ai2_arc", "--data FOLDER"], 2),
        (["--tasks", "phi3_arc_easy", "--data", "."], ["allenai__ai2_arc/ARC-Easy/"], 2),
    ],
)
def test_refusals(pocketlm, model, tmp_path, options, words, code):
    result = pocketlm("eval", model, *options, "--threads", 1, "--out", tmp_path / "out")
    check_refusal(result, *words, code=code)
    assert not (tmp_path / "out").exists()
