"""`pocketlm quantize`, on the real default model and on a tiny one; misuse and refusals."""

import pytest
from program import check_refusal

from pocketlm.cli.quantize import bytes_of
from pocketlm.errors import ParameterError
from quantize import tiny

LLAMA = "llama, grouped and tied"


def test_the_default_model_in_a_budget(pocketlm, smollm2, tmp_path):
    file = tmp_path / "small.gguf"
    refused = pocketlm("quantize", smollm2, "--out", file, "--size", "76MB")
    check_refusal(refused, "rounded already (Q4_1", "--requantise", code=2)
    result = pocketlm("quantize", smollm2, "--out", file, "--size", "76MB", "--requantise")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["group", "count", "type", "bits", "bytes", "expected", "loss"]
    assert lines[-1].startswith(f"wrote {file}: ")
    assert 71_000_000 < file.stat().st_size <= 76_000_000
    answer = pocketlm("run", file, "What is the capital of France?", "--temperature", "0")
    assert "Paris" in answer.stdout
    assert "P4" in pocketlm("show", file).stdout


def test_misuse(pocketlm, tmp_path):
    source, file = tmp_path / "source", tmp_path / "out.gguf"
    tiny.save(LLAMA, source)
    both = ("quantize", source, "--out", file, "--bits", "4", "--type", "q4_0")
    check_refusal(pocketlm(*both), "one of --size, --bits and --type", code=2)
    check_refusal(pocketlm("quantize", source, "--out", file), "say how small", code=2)
    named = ("quantize", source, "--out", file, "--type", "q4_0", "--standard")
    check_refusal(pocketlm(*named), "--standard is for --size and --bits", code=2)
    least = ("quantize", source, "--out", file, "--size", "30kB")
    check_refusal(pocketlm(*least), "the least possible is", code=2)
    text = tmp_path / "text"
    text.write_text("short")
    short = ("quantize", source, "--out", file, "--type", "p4", "--calibrate", text)
    check_refusal(pocketlm(*short), "too short", code=2)
    assert not file.exists()
    assert pocketlm("quantize", source, "--out", file, "--type", "p4").returncode == 0
    again = pocketlm("quantize", source, "--out", file, "--type", "p4")
    check_refusal(again, "there already; use --force")


@pytest.mark.parametrize(
    ("text", "size"),
    [("1.8GiB", 1932735283), ("900MB", 900_000_000), ("12 k", 12_000), ("7", 7), ("1.5g", 1.5e9)],
)
def test_sizes(text: str, size: float):
    assert bytes_of(text) == int(size)


@pytest.mark.parametrize("text", ["", "big", "1.8 GiBs", "-3MB", "1e9"])
def test_no_sizes(text: str):
    with pytest.raises(ParameterError, match=r"write it as 1\.8GiB"):
        bytes_of(text)


def test_help_names_the_default_text(pocketlm):
    assert "default" in pocketlm("quantize", "--help").stdout
