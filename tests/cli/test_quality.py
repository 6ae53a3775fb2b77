"""`pocketlm quality`, on a tiny real model and on the default one."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import quants
from program import check_refusal

from parity.stories import write_gguf

MEASURES = [
    "perplexity",
    "reference_perplexity",
    "perplexity_ratio",
    "kl_mean",
    "kl_median",
    "kl_99",
    "rms_probability_change_percent",
    "same_top_percent",
]


def quantise(source: Path, target: Path, kind: str) -> None:
    """The same model with its matrices in another type."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            item = field.types[1] if len(field.types) > 1 else None
            writer.add_key_value(name, field.contents(), field.types[0], item)
    for tensor in reader.tensors:
        values, of_file = np.array(tensor.data), gguf.GGMLQuantizationType[kind]
        if values.ndim == 2 and values.shape[1] % 32 == 0:
            writer.add_tensor(tensor.name, quants.quantize(values, of_file), raw_dtype=of_file)
        else:
            writer.add_tensor(tensor.name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def models(test_data, tmp_path_factory) -> Path:
    """stories260K in float32, in 8 and in 4 bits."""
    folder = tmp_path_factory.mktemp("models")
    write_gguf(test_data / "models", folder / "f32.gguf")
    for kind in ("Q8_0", "Q4_0"):
        quantise(folder / "f32.gguf", folder / f"{kind.lower()}.gguf", kind)
    return folder


@pytest.fixture(scope="module")
def text(test_data) -> Path:
    return test_data / "text" / "tinyshakespeare.txt"


def found(result) -> dict:
    assert result.returncode == 0, result
    assert result.stderr == ""
    (line,) = result.stdout.splitlines()
    return json.loads(line)


def test_several_models_as_json(pocketlm, models, text, tmp_path):
    names = [str(models / name) for name in ("q4_0.gguf", "q8_0.gguf", "f32.gguf")]
    plot = tmp_path / "kl.svg"
    about = found(
        pocketlm(
            "quality", *names, "--against", models / "f32.gguf", "--text", text,
            "--tokens", "3000", "--context", "256", "--plot", plot, "--json",
        )
    )  # fmt: skip
    assert list(about) == ["context", "lora", "reference", "models", "texts"]
    assert about["context"] == 256
    assert [model["model"] for model in about["models"]] == names
    assert [model["file_bytes"] for model in about["models"]] == [
        Path(name).stat().st_size for name in names
    ]
    four, eight, floats = (model["bits_per_weight"] for model in about["models"])
    assert 4.5 < four < eight < floats == 32
    assert about["reference"] == {**about["models"][2], "model": str(models / "f32.gguf")}

    (read,) = about["texts"]
    counts = [read[name] for name in ("text", "tokens", "windows", "predicted")]
    assert counts == [str(text), 2816, 11, 11 * 127]
    four, eight, same = read["models"]
    for row in read["models"]:
        assert list(row) == ["model", *MEASURES, "kl_max"]
        for measure in MEASURES:
            assert row[measure]["low"] <= row[measure]["value"] <= row[measure]["high"]
    # It loses nothing beside itself, and with fewer bits more.
    assert same["kl_mean"] == {"value": 0, "low": 0, "high": 0}
    assert same["kl_max"] == 0
    assert same["same_top_percent"]["value"] == 100
    assert same["perplexity"] == same["reference_perplexity"]
    assert 0 < eight["kl_mean"]["high"] < four["kl_mean"]["low"]
    assert four["kl_mean"]["value"] < four["kl_99"]["value"] < four["kl_max"]
    assert four["same_top_percent"]["high"] < eight["same_top_percent"]["low"] < 100

    picture = [each.text for each in ElementTree.parse(plot).getroot().iter()]
    assert {"q4_0.gguf", "q8_0.gguf", "f32.gguf", "bits per weight"} <= set(picture)


def test_one_model_for_people(pocketlm, models, text, tmp_path):
    plot = tmp_path / "kl.svg"
    result = pocketlm(
        "quality", models / "q8_0.gguf", "--against", models / "f32.gguf", "--text", text,
        "--text", text, "--tokens", "1024", "--context", "128", "--plot", plot,
    )  # fmt: skip
    assert result.returncode == 0
    assert result.stderr == ""
    assert "1,024 tokens in 8 windows of 128; 504 tokens predicted" in result.stdout
    lines = result.stdout.splitlines()
    assert sum("95 % interval" in line for line in lines) == 2  # a table for each text
    for name in ("perplexity ratio", "KL divergence, 99 %", "KL divergence, maximum", "same most"):
        assert sum(line.startswith(name) for line in lines) == 2
    assert "bits a weight" in result.stdout
    assert "share of the tokens" in plot.read_text()


def test_perplexity_alone(pocketlm, models, text):
    arguments = ("--text", text, "--tokens", "1024", "--context", "128")
    about = found(pocketlm("quality", models / "f32.gguf", *arguments, "--json"))
    assert about["reference"] is None
    (row,) = about["texts"][0]["models"]
    assert list(row) == ["model", "perplexity"]
    result = pocketlm("quality", models / "f32.gguf", models / "q4_0.gguf", *arguments)
    assert "KL" not in result.stdout
    assert result.stdout.splitlines()[2].split() == ["bits", "size", "perplexity", "model"]


@pytest.mark.parametrize(
    ("content", "arguments", "words"),
    [
        (b"", (), ("text.txt", "empty")),
        (b" \n\t\n", (), ("text.txt", "empty")),
        (b"good \xff bad", (), ("text.txt", "UTF-8", "byte 5")),
        (b"Once upon a time", (), ("text.txt", "tokens", "two windows of 512")),
        (None, (), ("text.txt", "no such text file")),
        (b"a " * 9000, ("--tokens", "1000"), ("1,000 tokens are too few", "two windows of 512")),
        (b"a " * 9000, ("--context", "513"), ("513", "512")),
        (b"a " * 9000, ("--context", "3"), ("context is 3",)),
        (b"a " * 9000, ("--threads", "0"), ("threads is 0",)),
        (b"a " * 9000, ("--plot", "kl.svg"), ("--plot", "--against")),
    ],
)
def test_misuse(pocketlm, models, tmp_path, content, arguments, words):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    result = pocketlm("quality", models / "f32.gguf", "--text", path, *arguments)
    check_refusal(result, *words, code=2)


def test_a_plot_without_a_place(pocketlm, models, text, tmp_path):
    arguments = (models / "q8_0.gguf", "--against", models / "f32.gguf", "--text", text)
    result = pocketlm("quality", *arguments, "--plot", tmp_path / "no" / "kl.svg")
    check_refusal(result, "no folder", "kl.svg", code=2)


def test_another_vocabulary(pocketlm, smollm2, models, text):
    result = pocketlm("quality", models / "f32.gguf", "--against", smollm2, "--text", text)
    check_refusal(result, "512", "49,152", "one vocabulary", code=2)


def test_the_default_model(pocketlm, smollm2, test_data):
    text = test_data / "text" / "wikitext2_train_5k.txt"
    about = found(
        pocketlm("quality", smollm2, "--against", smollm2, "--text", text, "--tokens", "1024",
                 "--json")
    )  # fmt: skip
    (row,) = about["texts"][0]["models"]
    assert row["kl_max"] == 0
    assert row["same_top_percent"]["value"] == 100
    assert 30 < row["perplexity"]["value"] < 40
