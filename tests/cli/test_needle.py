"""`pocketlm needle`, on the real default model with little work."""

import json
import os
import signal
import subprocess

import pytest
from program import PROGRAM, check_refusal

LITTLE = ("--lengths", "300,200", "--depths", "0,100", "--trials", "2")


def test_for_people_with_a_picture(pocketlm, smollm2, tmp_path):
    plot = tmp_path / "needle.svg"
    result = pocketlm("needle", smollm2, *LITTLE, "--plot", plot)
    assert result.returncode == 0
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["depth", "200", "tokens", "300", "tokens"]
    assert [line.split()[:2] for line in lines[1:3]] == [["0", "%"], ["100", "%"]]
    assert lines[-1].startswith("found ")
    assert lines[-1].endswith(" of 8")
    assert list(tmp_path.glob("*.svg*")) == [plot]
    assert "How often a hidden number is found" in plot.read_text()


def test_as_json_and_twice_the_same(pocketlm, smollm2, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("It rained all day long, and the streets were empty. " * 40)
    runs = [pocketlm("needle", smollm2, *LITTLE, "--text", text, "--json") for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout
    (line,) = runs[0].stdout.splitlines()
    found = json.loads(line)
    assert list(found) == ["model", "cache_type", "seed", "lora", "text", "cells"]
    assert [(c["length"], c["depth"]) for c in found["cells"]] == [
        (200, 100),
        (200, 0),
        (300, 100),
        (300, 0),
    ]
    for cell in found["cells"]:
        assert cell["score"] == sum(trial["found"] for trial in cell["trials"]) / 2
        for trial in cell["trials"]:
            assert trial["found"] == (str(trial["number"]) in trial["answer"])
            assert trial["prompt_tokens"] <= cell["length"]


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (("--lengths", "8193"), ("8,193", "8,192"), 1),
        (("--lengths", "many"), ("--lengths", "'many'"), 2),
        (("--lengths", "1.5"), ("--lengths",), 2),
        (("--depths", "50,-1"), ("--depths",), 2),
        (("--depths", "101"), ("depths", "100"), 2),
        (("--trials", "0"), ("trials is 0",), 2),
        (("--lengths", "20"), ("20 tokens", "too short"), 2),
        (("--text", "/nowhere/text.txt"), ("/nowhere/text.txt",), 1),
        (("--plot", "/nowhere/plot.svg"), ("/nowhere", "plot.svg"), 2),
    ],
)
def test_misuse(pocketlm, smollm2, arguments, words, code):
    check_refusal(pocketlm("needle", smollm2, *arguments), *words, code=code)


def test_ctrl_c_shows_what_was_measured(environment, smollm2):
    terminal, stderr = os.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "needle", smollm2, "--lengths", "200,8000", "--depths", "100", "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=stderr,
    )
    os.close(stderr)
    shown = b""
    while b"8,000 tokens" not in shown:  # 200 tokens are done then
        shown += os.read(terminal, 1024)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert os.read(terminal, 1024).endswith(b"\x1b[K")  # the line is taken away, nothing follows
    os.close(terminal)
    assert process.returncode == 130
    (cell,) = json.loads(output)["cells"]
    assert cell["length"] == 200
    assert len(cell["trials"]) == 5
