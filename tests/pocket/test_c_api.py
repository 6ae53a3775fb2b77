"""The C API beside the desktop engine: logits to the bit, text for text, the same refusals."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, quants

import pocketlm
from models import checkpoints
from pocket.driver import Driver
from pocketlm.api import Model
from pocketlm.errors import Error
from pocketlm.formats.gguf import read_gguf
from pocketlm.formats.gguf_writer import GGUFWriter, NewTensor
from pocketlm.quantize.export import export
from pocketlm.quantize.quantizer import TYPES, Goal, quantize
from quantize import tiny
from quantize.test_quantize import wide

Program = Callable[[str], Path]

NAMES = list(checkpoints.CONFIGURATIONS)
PROMPT = "The capital of France is"
CONTROL, BOS = 1, 2
#: Each a way of sampling.
SAMPLINGS = (
    {"temperature": 1.0},
    {"temperature": 0.3, "top_p": 0.9, "frequency_penalty": 0.2},
    {"temperature": 0.8, "top_k": 40, "min_p": 0.05, "repetition_penalty": 1.1},
    {"temperature": 1.5, "top_p": 0.99, "presence_penalty": 0.5},
)


@pytest.fixture(scope="module")
def drive(built: Program) -> Path:
    return built("tests/pocket/drive")


@pytest.fixture(scope="module")
def desktop(smollm2: Path) -> Iterator[Model]:
    with pocketlm.load(smollm2, threads=1) as model:
        yield model


def assert_same_logits(drive: Path, path: Path, tokens: list[int], *options: object) -> None:
    """After all tokens at once, and after each of the last of them."""
    cache_type = str(options[0]) if options else "q8"
    with (
        pocketlm.load(path, threads=1, cache_type=cache_type) as model,
        Driver(drive, path, *options) as native,
    ):
        parts = [len(tokens) - 3, len(tokens) - 2, len(tokens)]
        done = 0
        for length in parts:
            native.step(tokens[done:length])
            done = length
            expected = model.engine.logits(tokens[:length])[-1]
            assert native.logits().tobytes() == expected.tobytes()
        native.rewind(0)
        native.step(tokens)
        assert native.logits().tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_every_architecture(name: str, drive: Path, tmp_path: Path) -> None:
    """In llama.cpp's form, and in files of ours; short and beyond windows and LongRoPE's border."""
    folder = tmp_path / "source"
    tiny.save(name, folder)
    export(folder, tmp_path / "plain.gguf", "gguf")
    quantize(folder, tmp_path / "own.gguf", Goal(type="p4"))
    for file in ("plain.gguf", "own.gguf"):
        for length in (checkpoints.WINDOW - 4, 100):
            assert_same_logits(drive, tmp_path / file, checkpoints.tokens(length))


@pytest.mark.parametrize("type_", TYPES)
def test_every_type_that_is_written(type_: str, drive: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    quantize(wide(tmp_path / "source"), file, Goal(type=type_))
    assert_same_logits(drive, file, checkpoints.tokens(40))


@pytest.mark.parametrize("type_", ["float32", "float16", "bfloat16", "Q4_1", "Q5_0", "Q5_1"])
def test_every_other_type(type_: str, drive: Path, tmp_path: Path) -> None:
    file, floats = tmp_path / "model.gguf", tmp_path / "floats.gguf"
    if type_.startswith("Q"):
        export(wide(tmp_path / "source"), floats, "gguf", dtype="float32")
        write_quantised(floats, file, GGMLQuantizationType[type_])
    else:
        export(wide(tmp_path / "source"), file, "gguf", dtype=type_)
    assert_same_logits(drive, file, checkpoints.tokens(40))


def write_quantised(source: Path, target: Path, kind: GGMLQuantizationType) -> None:
    """Copy a file of float32 numbers with its matrices in another type."""
    file = read_gguf(source.read_bytes())
    data = {name: tensor.data.view("<f4") for name, tensor in file.tensors.items()}
    numbers = dict.fromkeys(data, 0)
    for name, tensor in file.tensors.items():
        if len(tensor.shape) > 1:
            data[name] = quants.quantize(data[name].reshape(tensor.shape), kind)
            numbers[name] = int(kind)
    new = [
        NewTensor(name, numbers[name], file.tensors[name].shape, array.nbytes)
        for name, array in data.items()
    ]
    with GGUFWriter(target, file.raw, new) as writer:
        for name, array in data.items():
            writer.write(name, np.ascontiguousarray(array).view(np.uint8).reshape(-1))


@pytest.mark.parametrize("cache_type", ["f32", "f16", "q8", "q4", "q8/q4"])
def test_every_cache_type(cache_type: str, drive: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    tiny.save("phi3 with heads of 32", tmp_path / "source")
    export(tmp_path / "source", file, "gguf")
    assert_same_logits(drive, file, checkpoints.tokens(70), cache_type)


def test_the_real_model(drive: Path, desktop: Model, smollm2: Path) -> None:
    tokens = desktop.text_tokens(PROMPT)
    with Driver(drive, smollm2) as native:
        assert native.tokenize(PROMPT, BOS) == tokens
        native.step(tokens)
        expected = desktop.engine.logits(tokens)[-1]
        assert native.logits().tobytes() == expected.tobytes()
        facts = native.facts()
        assert facts["weight_bytes"] == str(desktop.engine.runtime.weight_bytes)
        assert facts["block_bytes"] == str(desktop.engine.runtime.cache.block_bytes)
        assert facts["context"] == str(desktop.program.context)
        assert facts["instruction_set"] == desktop.engine.runtime.pool.instruction_set
        assert native.ends() == desktop.stop_ids


def test_greedy_text(drive: Path, desktop: Model, smollm2: Path) -> None:
    expected = desktop.generate(PROMPT, max_tokens=60)
    tokens = desktop.text_tokens(PROMPT)
    with Driver(drive, smollm2) as native:
        native.sampler(tokens)
        generated = native.generate(tokens, 60)
        assert generated == expected.tokens
        assert native.text(generated, tokens[-1]) == expected.text


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_seeded_text(
    sampling: dict[str, float], drive: Path, desktop: Model, smollm2: Path
) -> None:
    tokens = desktop.text_tokens("Once upon a time")
    with Driver(drive, smollm2) as native:
        for seed in (0, 7, 2**63 + 1):
            expected = desktop.generate(tokens, max_tokens=40, seed=seed, **sampling)
            native.rewind(0)
            native.sampler(tokens, seed=seed, **sampling)
            assert native.generate(tokens, 40) == expected.tokens


def test_a_chat_is_the_callers_text(drive: Path, desktop: Model, smollm2: Path) -> None:
    text = "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    with Driver(drive, smollm2) as native:
        assert native.tokenize(text, CONTROL) == desktop.tokenizer.encode(text, special=True)
        assert native.tokenize(text) == desktop.tokenizer.encode(text)
        assert native.token_bytes(desktop.tokenizer.eos_id) == b""


def test_memory_and_readers_serve_as_a_file(drive: Path, tmp_path: Path) -> None:
    tiny.save("qwen2", tmp_path / "source")
    export(tmp_path / "source", tmp_path / "plain.gguf", "gguf")
    quantize(tmp_path / "source", tmp_path / "small.gguf", Goal(type="q8_0"))
    tokens = checkpoints.tokens(20)
    for file in ("plain.gguf", "small.gguf"):
        for source in ("memory", "reader"):
            assert_same_logits(drive, tmp_path / file, tokens, "q8", 0, source)
    with Driver(drive, tmp_path / "plain.gguf", "q8", 0, "memory") as native:
        facts = native.facts()
        assert facts["mapped_bytes"] == facts["weight_bytes"]
    with Driver(drive, tmp_path / "plain.gguf", "q8", 0, "reader") as native:
        assert native.facts()["mapped_bytes"] == "0"


def test_what_is_wrong_is_told(drive: Path, smollm2: Path, tmp_path: Path) -> None:
    with Driver(drive, smollm2, "q8", 8) as native:
        with pytest.raises(RuntimeError, match="1 the session has no logits"):
            native.logits()
        with pytest.raises(RuntimeError, match="1 token id 49152 is not in the vocabulary"):
            native.step([49152])
        native.step([1, 2, 3])
        with pytest.raises(RuntimeError, match="4 6 tokens after 3 are more than the context of 8"):
            native.step([1] * 6)
        with pytest.raises(RuntimeError, match="1 cannot rewind to 4 of 3"):
            native.rewind(4)
        with pytest.raises(RuntimeError, match="1 temperature is -1"):
            native.sampler([], temperature=-1.0)
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(smollm2.read_bytes()[:50_000_000])
    with pytest.raises(Error, match="truncated"):
        pocketlm.load(damaged)
    answer = subprocess.run([drive, damaged], capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert str(damaged) in answer.stdout
    assert "truncated" in answer.stdout


def test_the_example_completes(built: Program, desktop: Model, smollm2: Path) -> None:
    program = built("src/pocketlm/pocket/complete")
    greedy = subprocess.run([program, smollm2, PROMPT, "24"], capture_output=True, check=True)
    assert greedy.stdout.decode() == desktop.generate(PROMPT, max_tokens=24).text + "\n"
    seeded = subprocess.run(
        [program, smollm2, PROMPT, "24", "0.8", "5"], capture_output=True, check=True
    )
    expected = desktop.generate(PROMPT, max_tokens=24, temperature=0.8, seed=5).text
    assert seeded.stdout.decode() == expected + "\n"


def test_the_example_tells_what_is_wrong(built: Program, tmp_path: Path) -> None:
    program = built("src/pocketlm/pocket/complete")
    nothing = subprocess.run(
        [program, tmp_path / "no.gguf", PROMPT], capture_output=True, text=True, check=False
    )
    assert nothing.returncode == 1
    assert nothing.stderr.startswith("complete: cannot load the model: ")
    assert "no.gguf: No such file" in nothing.stderr
    assert subprocess.run([program], capture_output=True, check=False).returncode == 2
