"""Quantising: what is written is read again as the same model, of the size that was asked for."""

import json
import random
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
import transformers
from gguf.quants import dequantize

from models import checkpoints, interpreter
from parity.steps import engine_of
from pocketlm.errors import ModelFileError, OutputError, ParameterError, UnsupportedError
from pocketlm.formats.open import open_checkpoint
from pocketlm.models import build
from pocketlm.quantize import calibration, decoder, plan
from pocketlm.quantize.basis import Basis
from pocketlm.quantize.quantizer import TYPES, Goal, quantize
from pocketlm.quantize.weights import Weights
from quantize import tiny

NAMES = list(checkpoints.CONFIGURATIONS)
_RNG = random.Random(1)
TEXT = "".join(_RNG.choice(" abcdefgher.,!?ABCXYZ0123456789\n") for _ in range(6000))
IDS = checkpoints.tokens(120)


def logits(path: Path, tokens: list[int] = IDS) -> np.ndarray:
    with open_checkpoint(path) as checkpoint:
        return engine_of(checkpoint).logits(tokens)


def loss(path: Path, reference: Path, ids: list[int]) -> float:
    """Mean KL divergence over the tokens of a text."""
    theirs, ours = (torch.log_softmax(torch.tensor(logits(p, ids)), -1) for p in (reference, path))
    return float((theirs.exp() * (theirs - ours)).sum(-1).mean())


def wide(folder: Path, kind: str = "llama") -> Path:
    """A model whose rows are whole blocks of 256."""
    sizes = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 4, "max_position_embeddings": 512, "vocab_size": 160}
    if kind == "llama":
        config = transformers.LlamaConfig(**sizes, num_key_value_heads=2)
    else:
        config = transformers.Phi3Config(**sizes, sliding_window=64, pad_token_id=0)
    tiny.checkpoints.CONFIGURATIONS["wide"] = lambda: config
    try:
        tiny.save("wide", folder)
    finally:
        del tiny.checkpoints.CONFIGURATIONS["wide"]
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wide(tmp_path_factory.mktemp("source") / "wide")


@pytest.mark.parametrize("kind", ["llama", "phi3"])
@pytest.mark.parametrize("type_", TYPES)
def test_every_type_is_read_again(type_: str, kind: str, tmp_path: Path) -> None:
    folder, file = wide(tmp_path / "source", kind), tmp_path / "out.gguf"
    result = quantize(folder, file, Goal(type=type_))
    assert file.stat().st_size == result.file_bytes
    # A bit less doubles the error; logits of two models that have nothing in common differ by 1.4.
    expected, got = logits(folder), logits(file)
    error = np.linalg.norm(got - expected) / np.linalg.norm(expected)
    most = {"8": 0.1, "6": 0.25, "5": 0.4, "4": 0.8, "3": 1.1}
    assert error < next(most[digit] for digit in type_ if digit.isdigit())
    with open_checkpoint(file) as checkpoint:
        program = build(checkpoint.config, checkpoint.tensors)
        assert {w.type.lower() for w in program.weights} <= {
            type_,
            "p6" if type_.startswith("p") else "q6_k",
            "q8_0",
        }


@pytest.mark.parametrize("type_", ["q4_k", "q4_0", "iq4_xs", "q3_k"])
def test_others_read_the_same_numbers(type_: str, source: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.gguf"
    quantize(source, file, Goal(type=type_))
    theirs = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    with open_checkpoint(file) as checkpoint:
        weights = Weights(checkpoint, None)
        for name, stored in (("down_proj", "ffn_down"), ("o_proj", "attn_output")):
            block = "mlp" if name == "down_proj" else "self_attn"
            (ours,) = weights.chunks(f"model.layers.1.{block}.{name}.weight", adjacent=False)
            tensor = theirs[f"blk.1.{stored}.weight"]
            np.testing.assert_array_equal(ours, dequantize(tensor.data, tensor.tensor_type))


@pytest.mark.parametrize("name", NAMES)
def test_every_architecture(name: str, tmp_path: Path) -> None:
    """Rows that are no whole blocks stay 16 bits; what is tied, windowed or has biases stays so."""
    folder, file = tmp_path / "source", tmp_path / "out.gguf"
    tiny.save(name, folder)
    quantize(folder, file, Goal(type="q8_0"))
    # GGUF's llama has no window; a file of ours has.
    length = checkpoints.WINDOW if "mistral" in name else len(IDS)
    expected, got = logits(folder, IDS[:length]), logits(file, IDS[:length])
    assert np.linalg.norm(got - expected) < 0.1 * np.linalg.norm(expected)
    quantize(folder, file, Goal(type="p4"), force=True)
    expected, got = logits(folder), logits(file)
    assert np.linalg.norm(got - expected) < 0.8 * np.linalg.norm(expected)


def test_panels_are_mapped_as_they_lie(source: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.gguf"
    result = quantize(source, file, Goal(type="p4"))
    with open_checkpoint(file) as checkpoint:
        engine = engine_of(checkpoint)
        matrices = sum(choice.nbytes for choice in result.choices)
        assert [choice.type for choice in result.choices] == ["P4"] * 15 + ["P6"]
        assert engine.runtime.weight_bytes == matrices
        assert checkpoint.metadata["general.architecture"] == "pocketlm-llama"
        for tensor in checkpoint.tensors.values():
            if tensor.type in ("P4", "P6"):
                assert tensor.data.ctypes.data % 64 == 0


def test_a_size_is_kept(source: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.gguf"
    losses = []
    least = quantize(source, file, Goal(type="p3")).file_bytes
    most = quantize(source, file, Goal(type="p4"), force=True).file_bytes
    sizes = [int(least + part * (most - least)) + 1000 for part in (0.2, 0.5, 0.8, 1.0, 1.6)]
    for size in sizes:
        result = quantize(source, file, Goal(size=size), force=True)
        assert size * 0.85 < result.file_bytes <= size
        losses.append(sum(choice.loss for choice in result.choices))
    assert losses == sorted(losses, reverse=True)
    with pytest.raises(ParameterError, match=r"too few for the weights; the least possible is \d"):
        quantize(source, file, Goal(size=20_000), force=True)


def test_bits_are_an_average(source: Path, tmp_path: Path) -> None:
    result = quantize(source, tmp_path / "out.gguf", Goal(bits=3.9))
    bits = 8 * sum(choice.nbytes for choice in result.choices) / result.weights
    assert 3.7 < bits <= 3.9
    assert {choice.type for choice in result.choices} >= {"P3", "P4"}


@pytest.mark.parametrize("kind", ["llama", "phi3"])
def test_room_to_spare(kind: str, tmp_path: Path) -> None:
    """A plan without panels is a file of ours all the same: what Phi-3 fuses differs in type."""
    folder, file = wide(tmp_path / "source", kind), tmp_path / "out.gguf"
    for bits, types in ((7.0, {"P6", "Q8_0"}), (12.0, {"Q8_0"})):
        result = quantize(folder, file, Goal(bits=bits), force=True)
        assert {choice.type for choice in result.choices} == types
        expected, got = logits(folder), logits(file)
        assert np.linalg.norm(got - expected) < 0.25 * np.linalg.norm(expected)


@pytest.mark.parametrize("kind", ["llama", "phi3"])
def test_a_budget_in_llama_cpps_types(kind: str, tmp_path: Path) -> None:
    """What llama.cpp has in one tensor has one type."""
    folder, file = wide(tmp_path / "source", kind), tmp_path / "out.gguf"
    for bits, text in ((4.6, None), (5.5, TEXT)):
        texts = None if text is None else [text]
        goal = Goal(bits=bits, standard=True)
        result = quantize(folder, file, goal, calibration=texts, tokens=2048, force=True)
        types = {choice.type for choice in result.choices}
        assert types <= set(plan.STANDARD)
        assert len(types) > 1
        spent = 8 * sum(choice.nbytes for choice in result.choices) / result.weights
        assert bits - 0.6 < spent <= bits
        reader = gguf.GGUFReader(file)
        assert reader.fields["general.architecture"].contents() == kind
        stored = {tensor.tensor_type.name for tensor in reader.tensors if len(tensor.shape) > 1}
        assert stored == types
        expected, got = logits(folder), logits(file)
        assert np.linalg.norm(got - expected) < 0.8 * np.linalg.norm(expected)
    with pytest.raises(ParameterError, match="the least possible is"):
        quantize(folder, file, Goal(bits=3.2, standard=True), force=True)


def test_a_plan_goes_by_what_was_measured(source: Path, tmp_path: Path) -> None:
    plans = []
    for texts in (None, [TEXT]):
        quantize(
            source,
            tmp_path / "out.gguf",
            Goal(bits=4.2),
            calibration=texts,
            tokens=2048,
            force=True,
            planned=plans.append,
        )
    prior, measured = plans
    assert [c.group.name for c in prior] == [c.group.name for c in measured]
    assert [c.group.share for c in prior] != [c.group.share for c in measured]
    for choices in plans:
        assert sum(choice.group.share for choice in choices) == pytest.approx(1)
    # Of one role, layers count alike until they were measured.
    shares = [{c.group.share for c in choices if c.group.role == "down"} for choices in plans]
    assert [len(found) for found in shares] == [1, 2]


@pytest.mark.parametrize("type_", TYPES)
def test_rows_that_are_no_blocks_of_256(type_: str, tmp_path: Path) -> None:
    folder, file = tmp_path / "source", tmp_path / "out.gguf"
    tiny.save("qwen2", folder)
    quantize(folder, file, Goal(type=type_))
    assert logits(file).shape == logits(folder).shape


def test_plans_take_what_gains_most_for_its_bytes() -> None:
    groups = [plan.Group(f"g{i}", "up", 64, 256, share) for i, share in enumerate((0.1, 0.6, 0.3))]
    steps = plan.stored_bytes("P4", 64, 256) - plan.stored_bytes("P3", 64, 256)
    three = 3 * plan.stored_bytes("P3", 64, 256)
    for count, expected in enumerate((["P3"] * 3, ["P3", "P4", "P3"], ["P3", "P4", "P4"])):
        assert [c.type for c in plan.within(groups, three + count * steps)] == expected


@pytest.mark.parametrize("name", NAMES)
def test_layers_run_and_turn_without_a_change(name: str, tmp_path: Path) -> None:
    """`decoder` agrees with the plain interpreter; another basis leaves the function as it is."""
    checkpoints.save(name, tmp_path)
    with open_checkpoint(tmp_path) as checkpoint:
        program = build(checkpoint.config, checkpoint.tensors)
        stored = tiny.floats_of(checkpoint)
        read = tiny.reader(stored)
        head = decoder.head(program)
        expected = interpreter.run(program, stored, IDS)
        basis = Basis(program, decoder.embedding(program).columns)
        for turned in (False, True):
            rows = read(decoder.embedding(program))
            x = (basis.embedding(rows) if turned else rows)[IDS]
            for index, parts in enumerate(decoder.layers(program)):
                layer = decoder.load(program, parts, read)
                if turned:
                    basis.turn(layer, index)
                x = decoder.run(program, layer, x)
            norm, last = read(head.norm).ravel(), read(head.weights[0])
            if turned:
                norm, last = np.ones_like(norm), basis.head(last, norm)
            got = decoder.normalised(x, norm, program.norm_eps) @ last.T
            np.testing.assert_allclose(got, expected, atol=2e-4)
        # And it is another basis: norms are 1, matrices are others.
        assert np.all(layer.attention_norm == 1)


@pytest.mark.parametrize("type_", ["p4", "q4_k", "iq4_nl"])
def test_a_calibrated_model_loses_less(type_: str, source: Path, tmp_path: Path) -> None:
    """Rounded for the inputs that it has: a random model, whose inputs go together all the same."""
    plain, fed = tmp_path / "plain.gguf", tmp_path / "fed.gguf"
    quantize(source, plain, Goal(type=type_))
    seen = []
    quantize(
        source,
        fed,
        Goal(type=type_),
        calibration=[TEXT],
        tokens=2048,
        progress=lambda what, done, total: seen.append((done, total)),
    )
    assert fed.stat().st_size == plain.stat().st_size
    assert seen[-1][0] == seen[-1][1]
    with open_checkpoint(source) as checkpoint:
        unseen = checkpoint.tokenizer().encode(TEXT[-300:])[:120]
    assert loss(fed, source, unseen) < loss(plain, source, unseen)


def test_the_default_text_is_long_enough() -> None:
    assert len(calibration.default_text()) > 50_000


def test_a_text_that_is_too_short(source: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.gguf"
    with pytest.raises(ParameterError, match=r"too short: 0 tokens .* 2,048 at least"):
        quantize(source, file, Goal(type="p4"), calibration=["ab"])
    assert not file.exists()


def test_what_is_rounded_already(source: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.gguf", tmp_path / "second.gguf"
    quantize(source, first, Goal(type="p4"))
    with pytest.raises(ParameterError, match=r"rounded already \(P4.*\).*use --requantise"):
        quantize(first, second, Goal(type="q4_0"))
    notes: list[str] = []
    quantize(first, second, Goal(type="q4_0"), requantise=True, note=notes.append)
    assert "adds to this one" in notes[0]
    assert logits(second).shape == logits(source).shape
    # 8 bits lose so little that they serve as a source.
    quantize(source, first, Goal(type="q8_0"), force=True)
    quantize(first, second, Goal(type="p4"), force=True)


def test_weights_that_are_not_finite_are_named(source: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "broken"
    folder.mkdir()
    for file in source.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    weights = load_file(source / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][3, 5] = np.inf
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelFileError, match=r"layers\.1\.mlp\.up_proj\.weight.*not finite"):
        quantize(folder, tmp_path / "out.gguf", Goal(type="p4"))
    assert not list(tmp_path.glob("*.gguf*"))
    assert not list(tmp_path.glob(".*"))


def test_no_room_on_the_disk(source: Path, tmp_path: Path, monkeypatch) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(OutputError, match=r"no space: .* bytes are needed, 1,000 are free"):
        quantize(source, tmp_path / "out.gguf", Goal(type="p4"))


def test_what_is_there_stays(source: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.gguf"
    file.write_bytes(b"mine")
    with pytest.raises(OutputError, match="use --force"):
        quantize(source, file, Goal(type="p4"))
    assert file.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        (Goal(), "say how small"),
        (Goal(type="q9_9"), "type is 'q9_9'; it must be one of q4_0"),
        (Goal(bits=0.5), "bits is 0.5; it must be 1 to 16"),
        (Goal(bits=2.0), "the least possible is"),
    ],
)
def test_goals_that_make_no_sense(goal: Goal, message: str, source: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=message):
        quantize(source, tmp_path / "out.gguf", goal)


def panels(source: Path, file: Path, **changes: object) -> None:
    """A file of ours whose metadata on panels are changed."""
    from pocketlm.formats.gguf_writer import GGUFWriter, NewTensor

    quantize(source, file, Goal(type="p4"), force=True)
    with open_checkpoint(file) as checkpoint:
        raw = gguf.GGUFReader(file)
        metadata = {**checkpoint.raw_metadata, **changes}
        tensors = [
            NewTensor(t.name, t.tensor_type.value, tuple(int(n) for n in t.shape[::-1]), t.n_bytes)
            for t in raw.tensors
        ]
        data = {t.name: bytes(t.data.tobytes()) for t in raw.tensors}
    with GGUFWriter(file, {k: v for k, v in metadata.items() if v is not None}, tensors) as writer:
        for tensor in tensors:
            writer.write(tensor.name, data[tensor.name])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"pocketlm.panels.rows": None}, ModelFileError, "rows is not a list"),
        ({"pocketlm.panels.types": ["P4"]}, ModelFileError, "types is not a list of one for each"),
        ({"pocketlm.panels.types": ["P9"] * 16}, UnsupportedError, "needs a newer pocketlm"),
        ({"pocketlm.panels.types": ["P3"] * 16}, ModelFileError, "expected I8"),
        (
            {"pocketlm.panels.columns": np.full(16, 31, np.uint32)},
            ModelFileError,
            "which no panels hold",
        ),
        (
            {"pocketlm.panels.rows": np.full(16, 2**32 - 1, np.uint32)},
            ModelFileError,
            "expected I8",
        ),
        ({"pocketlm.panels.tensors": ["x"] * 16}, ModelFileError, "names a tensor 'x', not there"),
    ],
)
def test_panels_that_contradict_their_metadata(
    change: dict, error: type[Exception], message: str, source: Path, tmp_path: Path
) -> None:
    file = tmp_path / "out.gguf"
    panels(source, file, **change)
    with pytest.raises(error, match=message):
        open_checkpoint(file)


def test_the_file_says_what_it_is(source: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.gguf"
    quantize(source, file, Goal(type="p4"))
    reader = gguf.GGUFReader(file)
    assert reader.fields["general.architecture"].contents() == "pocketlm-llama"
    assert "pocketlm" in reader.fields["general.description"].contents()
    assert json.loads(json.dumps(reader.fields["pocketlm.panels.types"].contents()))[0] == "P4"
