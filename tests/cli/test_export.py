"""`pocketlm export`, on the real default model and on a tiny one; misuse and refusals."""

import json
import os
import signal
import subprocess
import time

import pytest
from program import PROGRAM, check_refusal

from fuzz import gguf_bytes as make
from pocketlm.formats.open import open_checkpoint
from quantize import tiny

LLAMA = "llama, grouped and tied"


def test_the_default_model_becomes_a_folder_and_a_file(pocketlm, smollm2, tmp_path):
    folder, file = tmp_path / "folder", tmp_path / "model.gguf"
    result = pocketlm("export", smollm2, "--out", folder)
    assert result.returncode == 0
    assert result.stdout == f"wrote {folder}\n"
    assert result.stderr.splitlines() == [
        "(the source is quantised: what that lost does not come back)",
        "writing folder (269 MB)",
    ]
    assert json.loads((folder / "config.json").read_text())["torch_dtype"] == "float16"
    assert pocketlm("export", folder, "--format", "gguf", "--out", file).returncode == 0
    # What the folder holds is what it gives again; the file says the same when asked.
    question = ("What is the capital of France?", "--temperature", "0", "--max-tokens", "12")
    answers = [pocketlm("run", path, *question).stdout for path in (folder, file)]
    assert answers[0] == answers[1] != ""
    with open_checkpoint(file) as checkpoint, open_checkpoint(smollm2) as source:
        assert checkpoint.tokenizer().fingerprint == source.tokenizer().fingerprint
        assert checkpoint.chat_template == source.chat_template


def test_misuse(pocketlm, tmp_path):
    tiny.save(LLAMA, tmp_path / "source")
    (tmp_path / "out").mkdir()
    check_refusal(
        pocketlm("export", tmp_path / "source", "--out", tmp_path / "out"),
        "is there already; replace it with --force",
    )
    check_refusal(
        pocketlm("export", tmp_path / "source", "--out", tmp_path / "a" / "b"), "no folder"
    )
    check_refusal(
        pocketlm("export", tmp_path / "source", "--out", tmp_path / "b", "--adapter", tmp_path),
        "holds no adapter",
    )
    for wrong in (["--format", "onnx"], ["--dtype", "q4_0"], []):
        refused = pocketlm("export", tmp_path / "source", *wrong)
        assert refused.returncode == 2
    result = pocketlm("export", tmp_path / "source", "--out", tmp_path / "out", "--force")
    assert result.returncode == 0
    assert (tmp_path / "out" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda data: data[:-50], "truncated or damaged"),
        (
            lambda data: data.replace(b"blk.0.ffn_up", b"blk.0.ffn_UP"),
            "no tensor 'model.layers.0.mlp.up_proj.weight'",
        ),
    ],
)
def test_damaged_files_are_refused(pocketlm, tmp_path, change, word):
    keys = [*make.shape_keys("llama"), *make.vocabulary()]
    data = bytes(make.gguf_bytes(keys, make.llama_tensors("F16")).data)
    (tmp_path / "model.gguf").write_bytes(change(data))
    for form in ("gguf", "safetensors"):
        result = pocketlm(
            "export", tmp_path / "model.gguf", "--format", form, "--out", tmp_path / "out"
        )
        check_refusal(result, str(tmp_path / "model.gguf"), word)
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]


def test_ctrl_c_leaves_nothing(environment, smollm2, tmp_path):
    program = subprocess.Popen(
        [*PROGRAM, "export", str(smollm2), "--out", str(tmp_path / "out"), "--dtype", "f32"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(tmp_path.glob(".out.*.part/model.safetensors")):
        assert program.poll() is None
        time.sleep(0.005)
    os.kill(program.pid, signal.SIGINT)
    _, said = program.communicate(timeout=60)
    assert program.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in said
    assert not list(tmp_path.glob("*out*"))
