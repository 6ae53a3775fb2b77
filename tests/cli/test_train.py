"""`pocketlm train`, from the command line: what is printed, refused and written."""

import json
import os
import re
import subprocess
import time

import pytest
import yaml
from typer.testing import CliRunner

import pocketlm
from cli.program import PROGRAM, check_refusal
from pocketlm.cli.main import app
from pocketlm.errors import ParameterError
from recipe.train import small


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return small.write_material(tmp_path_factory.mktemp("material"))


def program(*arguments):
    return subprocess.run(
        [*PROGRAM, "train", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def invoke(*arguments):
    """In this process, which has PyTorch already."""
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def written(path, values):
    path.write_text(yaml.safe_dump(values))
    return path


def test_help_is_quick():
    program("--help")
    began = time.perf_counter()
    result = program("pretrain", "--help")
    assert "torchrun" in result.stdout
    assert time.perf_counter() - began < 2


def test_bad_configurations_are_refused(material, tmp_path):
    values = small.values(material, tmp_path / "out")
    config = written(tmp_path / "run.yaml", values | {"bach": 1})
    check_refusal(program("pretrain", config), "bach: there is no such field", code=2)
    config = written(tmp_path / "run.yaml", values)
    wrong = program("pretrain", config, "--then", "quantize:--bitz 4")
    check_refusal(wrong, "--then", "--bitz", code=2)
    check_refusal(program("pretrain", config, "--then", "sing"), "it must be quantize", code=2)
    assert not (tmp_path / "out").exists()


def test_show_says_what_it_takes_and_does_nothing(material, tmp_path):
    config = written(tmp_path / "run.yaml", small.values(material, tmp_path / "out"))
    result = invoke("pretrain", config, "--show")
    assert result.exit_code == 0, result.output
    rows = dict(re.split(r"  +", line, maxsplit=1) for line in result.stdout.splitlines())
    layer = 32 * 32 * 4 + 3 * 32 * 64 + 2 * 32
    assert rows["parameters"] == f"{small.VOCABULARY * 32 + 2 * layer + 32:,}"
    assert rows["tokens"].startswith(f"{12 * 8 * 32:,} ")
    assert rows["phase second"] == "4 steps: 75% fine, 25% web"
    assert rows["rate"] == "wsd: peak 0.01, warmup 2, decay 4"
    assert "GFLOP/s" in rows["time"]
    assert not (tmp_path / "out").exists()


def test_from_texts_to_a_file_that_answers(material, tmp_path):
    """Tokenizer, pretraining, fine-tuning, 4 bits: what each writes the next one reads."""
    texts = material / "texts.txt"
    config = written(
        tmp_path / "tok.yaml",
        {"out": "tokenizer-byte-level", "texts": [str(texts)], "vocabulary": 400, "least": 1},
    )
    result = invoke("tokenizer", config, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["vocabulary"] == 400
    made = tmp_path / "tokenizer-byte-level"
    small.write_shards(tmp_path / "web", made, small.sentences(100, 2))
    values = small.values(
        tmp_path,
        tmp_path / "base",
        sources={"web": "web"},
        phases=[{"name": "only", "steps": 5, "mix": {"web": 1}}],
        validation=None,
        context=64,
    )
    result = invoke("pretrain", written(tmp_path / "base.yaml", values))
    assert result.exit_code == 0, result.output
    rows = [
        {
            "messages": [
                {"role": "user", "content": "the cat"},
                {"role": "assistant", "content": "reads a model."},
            ]
        }
    ] * 32
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tuning = {
        "out": "chat",
        "model": "base/model",
        "data": ["chats.jsonl"],
        "epochs": 8,
        "batch": 8,
        "context": 64,
        "peak": 0.02,
        "threads": 1,
    }
    config = written(tmp_path / "chat.yaml", tuning)
    result = invoke("sft", config, "--show")
    assert result.exit_code == 0, result.output
    rows_shown = dict(re.split(r"  +", line, maxsplit=1) for line in result.stdout.splitlines())
    assert rows_shown["examples"] == "32"
    assert rows_shown["steps"] == "32, each of 8 examples"
    assert not (tmp_path / "chat").exists()
    result = invoke("sft", config, "--then", "quantize:--type q8_0", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found == {
        "model": str(tmp_path / "chat" / "model"),
        "gguf": str(tmp_path / "chat" / "model.gguf"),
    }
    with pocketlm.load(found["gguf"], threads=1) as model:
        said = model.chat([{"role": "user", "content": "the cat"}], max_tokens=20, temperature=0)
    assert said.text.strip() == "reads a model."

    rows[0]["messages"][1]["content"] = "sees the river."
    (tmp_path / "others.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    adapting = tuning | {
        "out": "lora",
        "model": "chat/model",
        "data": ["others.jsonl"],
        "adapter": {"rank": 8, "alpha": 16},
    }
    config = written(tmp_path / "lora.yaml", adapting)
    result = invoke("lora", config, "--then", "quantize")
    assert result.exit_code == 0, result.output
    assert f"wrote {tmp_path}/lora/adapter.gguf" in result.stdout
    with pocketlm.load(tmp_path / "lora" / "adapter.gguf", threads=1) as model:
        said = model.chat([{"role": "user", "content": "the cat"}], max_tokens=20, temperature=0)
    assert said.text.strip() != "reads a model."  # so the adapter is in it


def test_then_is_checked_before_anything_is_trained():
    from pocketlm.cli.train.then import Quantization

    for text in ("quantize:--type q8_0 --bits 4", "quantize:--force"):
        with pytest.raises(ParameterError, match="say how small"):
            Quantization(text)
