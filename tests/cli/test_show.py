"""`pocketlm show`, on the real default model and on files that are none."""

import json

import pytest
from program import check_refusal


def test_the_default_model(pocketlm, smollm2):
    about = json.loads(pocketlm("show", smollm2, "--json").stdout)
    assert about["architecture"] == "llama"
    assert about["parameters"] == 134_515_008
    assert about["context"] == 8192
    assert about["weights"]["Q4_1"] == {"tensors": 210, "bytes": 66_355_200}
    assert set(about["stop_tokens"].values()) == {"<|endoftext|>", "<|im_end|>"}
    # 30 layers of keys and values, 3 heads of 64 numbers of 16 bits.
    assert about["cache_bytes_per_token"] == 30 * 2 * 3 * (64 + 2 * 2)
    needed = about["memory"]
    assert list(needed) == ["4096", "8192"]
    assert needed["8192"] - needed["4096"] == 4096 * about["cache_bytes_per_token"]
    assert needed["4096"] > about["weight_bytes"]


def test_as_text(pocketlm, smollm2):
    shown = pocketlm("show", smollm2).stdout
    for word in ("llama", "134,515,008", "66.4 MB of Q4_1 in 210 tensors", "8,192", "<|im_end|>"):
        assert word in shown
    assert "\x1b" not in shown


def test_a_smaller_cache(pocketlm, smollm2):
    def bytes_per_token(*options):
        about = json.loads(pocketlm("show", smollm2, "--json", *options).stdout)
        return about["cache_bytes_per_token"]

    q8, f16, q4 = bytes_per_token(), *(bytes_per_token("--cache-type", t) for t in ("f16", "q4"))
    assert q8 < 0.6 * f16
    assert q4 < 0.6 * q8
    refused = pocketlm("show", smollm2, "--cache-type", "q3")
    assert refused.returncode == 2
    assert "'q8'" in refused.stderr


def test_the_template(pocketlm, smollm2):
    assert "<|im_start|>assistant" in pocketlm("show", smollm2, "--template").stdout


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "empty"),
        (b"hello", "not a GGUF file"),
        (b"GGUF", "m.gguf"),
        (b"PK\x03\x04", "zip"),
        (b"GGUF" + b"\xff" * 100, "m.gguf"),
    ],
)
def test_a_file_that_is_no_model(pocketlm, tmp_path, body, word):
    path = tmp_path / "m.gguf"
    path.write_bytes(body)
    for command in ("show", "run"):
        check_refusal(pocketlm(command, path, stdin="hello"), word)


def test_a_truncated_model(pocketlm, smollm2, tmp_path):
    path = tmp_path / "half.gguf"
    with smollm2.open("rb") as file:
        path.write_bytes(file.read(5_000_000))
    check_refusal(pocketlm("show", path), "half.gguf")


def test_a_folder_that_is_no_model(pocketlm, tmp_path):
    check_refusal(pocketlm("show", tmp_path), "holds no model")
