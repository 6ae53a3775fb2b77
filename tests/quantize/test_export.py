"""Export: standard forms that transformers (and llama.cpp, where it is) open as the same model."""

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
import transformers
from gguf.quants import dequantize, quantize
from safetensors.numpy import load_file, save_file

from models import checkpoints
from parity.steps import engine_of
from pocketlm.errors import ModelFileError, OutputError, ParameterError, UnsupportedError
from pocketlm.formats import gguf_writer
from pocketlm.formats.gguf_checkpoint import GGUFCheckpoint
from pocketlm.formats.open import open_checkpoint
from pocketlm.quantize import export as exporting
from pocketlm.quantize import weights as weights_of
from pocketlm.quantize.export import export
from quantize import tiny

NAMES = list(checkpoints.CONFIGURATIONS)
#: Models whose GGUF form has no window, or two sets of factors: short texts agree.
LENGTH = {"mistral with a window": checkpoints.WINDOW}
LLAMA = "llama, grouped and tied"


def logits(path: Path, tokens: list[int]) -> np.ndarray:
    with open_checkpoint(path) as checkpoint:
        return engine_of(checkpoint).logits(tokens)


def weights(path: Path) -> dict[str, bytes]:
    with open_checkpoint(path) as checkpoint:
        return {name: t.data.tobytes() for name, t in checkpoint.tensors.items()}


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_there_and_back(name: str, older: bool, tmp_path: Path) -> None:
    """Folder to GGUF, GGUF to folder: the same weights, and the same logits in transformers."""
    source, file, back = tmp_path / "source", tmp_path / "model.gguf", tmp_path / "back"
    tiny.save(name, source, older=older)
    export(source, file, "gguf")
    export(file, back, "safetensors")
    before, after = load_file(source / "model.safetensors"), load_file(back / "model.safetensors")
    assert before.keys() == after.keys()
    for key, value in before.items():
        np.testing.assert_array_equal(after[key], value)

    for length in (checkpoints.ORIGINAL, 90):
        tokens = checkpoints.tokens(min(length, LENGTH.get(name, length)))
        expected = checkpoints.reference_logits(checkpoints.reference(source), tokens)
        ours = logits(file, tokens)
        theirs = checkpoints.reference_logits(checkpoints.reference(back), tokens)
        np.testing.assert_allclose(theirs, expected, atol=2e-4)
        np.testing.assert_allclose(ours, expected, atol=2e-3)


@pytest.mark.parametrize("name", NAMES)
def test_the_tokenizer_comes_along(name: str, tmp_path: Path) -> None:
    source, file, back = tmp_path / "source", tmp_path / "model.gguf", tmp_path / "back"
    tiny.save(name, source)
    export(source, file, "gguf")
    export(file, back, "safetensors")
    theirs = transformers.AutoTokenizer.from_pretrained(back)
    with open_checkpoint(source) as first, open_checkpoint(file) as second:
        tokenizers = first.tokenizer(), second.tokenizer(), open_checkpoint(back).tokenizer()
        for text in tiny.TEXTS:
            expected = tokenizers[0].encode(text, special=True)
            for tokenizer in tokenizers:
                assert tokenizer.encode(text, special=True) == expected
            assert theirs(text)["input_ids"] == expected
        assert first.chat_template == second.chat_template == theirs.chat_template == tiny.TEMPLATE
        ends = first.generation_config["eos_token_id"]
        assert second.generation_config["eos_token_id"] == ends
        # GGUF names one end of a text; those of a turn are found by name.
        written = json.loads((back / "generation_config.json").read_text())
        assert written["eos_token_id"] == [*ends, tiny.TOKENS.index("<|end|>")]


@pytest.mark.parametrize("name", NAMES)
def test_llama_cpp_opens_it(name: str, tmp_path: Path) -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    source, file = tmp_path / "source", tmp_path / "model.gguf"
    tiny.save(name, source)
    # llama.cpp's contexts are 256 tokens at least; in a longer one than the original it takes the
    # long factors, whatever the text's length.
    config = json.loads((source / "config.json").read_text())
    config["max_position_embeddings"] = 1024
    if "original_max_position_embeddings" in config:
        config["original_max_position_embeddings"] = 512
        config["rope_parameters"].pop("original_max_position_embeddings", None)
    (source / "config.json").write_text(json.dumps(config))
    export(source, file, "gguf")
    # Beyond a window llama.cpp computes something else.
    tokens = checkpoints.tokens(checkpoints.WINDOW)
    theirs = llama_cpp.Llama(str(file), n_ctx=256, logits_all=True, verbose=False)
    theirs.eval(tokens)
    expected = checkpoints.reference_logits(checkpoints.reference(source), tokens)
    np.testing.assert_allclose(theirs.scores[: len(tokens)], expected, atol=2e-3)


@pytest.mark.parametrize("form", exporting.FORMATS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_types(form: str, dtype: str, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "model.gguf"
    tiny.save("phi3 with a window", source, dtype=torch.bfloat16)
    export(source, target, form, dtype=dtype)
    wanted = getattr(torch, dtype)
    model = checkpoints.reference(source)
    with open_checkpoint(target) as checkpoint:
        for name, parameter in model.named_parameters():
            tensor = checkpoint.tensors[name]
            kept = torch.float32 if form == "gguf" and parameter.ndim == 1 else wanted
            data = parameter.detach().to(kept).view(torch.uint8).numpy()
            assert tensor.data.tobytes() == data.tobytes()
    if form == "safetensors":
        assert transformers.AutoConfig.from_pretrained(target).dtype == wanted
    # What says nothing of a type keeps the source's.
    export(source, tmp_path / "same", form)
    with open_checkpoint(tmp_path / "same") as checkpoint:
        assert checkpoint.tensors["model.embed_tokens.weight"].type == "BF16"


def quantised(source: Path, target: Path) -> None:
    """A GGUF file with its matrices in Q8_0."""
    with open_checkpoint(source) as checkpoint:
        assert isinstance(checkpoint, GGUFCheckpoint)
        read = gguf.GGUFReader(source)
        new, data = [], []
        for tensor in read.tensors:
            values = np.array(tensor.data)
            kind = gguf.GGMLQuantizationType.Q8_0 if values.ndim > 1 else tensor.tensor_type
            data.append(quantize(values, kind))
            shape = values.shape
            new.append(gguf_writer.NewTensor(tensor.name, int(kind), shape, data[-1].nbytes))
        with gguf_writer.GGUFWriter(target, checkpoint.raw_metadata, new) as writer:
            for tensor, values in zip(new, data, strict=True):
                writer.write(tensor.name, values)


@pytest.mark.parametrize("name", ["phi3 with longrope", "llama with llama3 rope"])
def test_a_quantised_file_is_written_out(name: str, tmp_path: Path) -> None:
    source, file, small = tmp_path / "source", tmp_path / "model.gguf", tmp_path / "small.gguf"
    tiny.save(name, source)
    export(source, file, "gguf")
    quantised(file, small)
    notes: list[str] = []
    export(small, tmp_path / "out", "safetensors", dtype="f32", note=notes.append)
    assert notes == ["the source is quantised: what that lost does not come back"]
    export(small, tmp_path / "out.gguf", "gguf", dtype="f32", note=notes.append)
    for tensor in gguf.GGUFReader(small).tensors:
        expected = dequantize(tensor.data, tensor.tensor_type)
        (found,) = (
            t for t in gguf.GGUFReader(tmp_path / "out.gguf").tensors if t.name == tensor.name
        )
        np.testing.assert_array_equal(found.data, expected)
    assert weights(tmp_path / "out").keys() == weights(tmp_path / "out.gguf").keys()
    tokens = checkpoints.tokens(40)
    theirs = checkpoints.reference_logits(checkpoints.reference(tmp_path / "out"), tokens)
    np.testing.assert_allclose(logits(tmp_path / "out.gguf", tokens), theirs, atol=2e-3)
    export(small, tmp_path / "narrow", "safetensors")
    assert json.loads((tmp_path / "narrow/config.json").read_text())["torch_dtype"] == "float16"


def test_phi_3s_fused_tensors_may_lie_apart(tmp_path: Path) -> None:
    source, apart = tmp_path / "source", tmp_path / "apart"
    for folder in (source, apart):
        tiny.save("phi3 with heads of 32", folder)
    whole = load_file(source / "model.safetensors")
    parts = {}
    for name, value in whole.items():
        if "qkv" in name:
            split = zip("vqk", (value[192:], value[:128], value[128:192]), strict=True)
            parts |= {name.replace("qkv", part): np.ascontiguousarray(v) for part, v in split}
        elif "gate_up" in name:
            parts[name.replace("gate_up", "gate")] = value[:128]
            parts[name.replace("gate_up", "up")] = np.ascontiguousarray(value[128:])
        else:
            parts[name] = value
    save_file(parts, apart / "model.safetensors", metadata={"format": "pt"})
    modules = {"model.layers.1.self_attn.qkv_proj": (256, 128, 4)}
    adapter(tmp_path / "lora", modules)
    for folder in (source, apart):
        export(folder, tmp_path / f"{folder.name}.gguf", "gguf", adapter=tmp_path / "lora")
    found = [weights(tmp_path / f"{name}.gguf") for name in ("source", "apart")]
    assert found[0].keys() == whole.keys()
    for name, value in found[0].items():
        np.testing.assert_allclose(
            np.frombuffer(value, "<f4"), np.frombuffer(found[1][name], "<f4"), atol=1e-5
        )


def test_a_copy_keeps_the_metadata(tmp_path: Path) -> None:
    source, file = tmp_path / "source", tmp_path / "a.gguf"
    tiny.save(LLAMA, source)
    export(source, file, "gguf")
    export(file, tmp_path / "b.gguf", "gguf")
    assert file.read_bytes() == (tmp_path / "b.gguf").read_bytes()


def test_chunks_change_nothing(tmp_path: Path, monkeypatch) -> None:
    source = tmp_path / "source"
    tiny.save(LLAMA, source)
    export(source, tmp_path / "whole.gguf", "gguf")
    monkeypatch.setattr(weights_of, "_CHUNK", 100)
    export(source, tmp_path / "chunked.gguf", "gguf")
    assert (tmp_path / "whole.gguf").read_bytes() == (tmp_path / "chunked.gguf").read_bytes()
    export(tmp_path / "chunked.gguf", tmp_path / "back", "safetensors")
    assert weights(tmp_path / "back") == weights(source)


@pytest.mark.parametrize("form", exporting.FORMATS)
def test_interrupted_it_leaves_nothing(form: str, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "out"
    tiny.save(LLAMA, source)

    def interrupt(what: str, done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(source, target, form, progress=interrupt)
    assert list(tmp_path.iterdir()) == [source]


def test_what_is_there_stays_unless_forced(tmp_path: Path) -> None:
    source, folder, file = tmp_path / "source", tmp_path / "out", tmp_path / "out.gguf"
    tiny.save(LLAMA, source)
    export(source, folder, "safetensors")
    export(source, file, "gguf")
    before = weights(folder)
    for target, form in ((folder, "safetensors"), (file, "gguf")):
        with pytest.raises(OutputError, match="there already; replace it with --force"):
            export(source, target, form)
        export(source, target, form, dtype="f16", force=True)
        assert weights(target) != before
    # The source itself may be what is replaced.
    export(folder, folder, "safetensors", dtype="f32", force=True)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds 'notes.txt', which no export wrote"):
        export(source, folder, "safetensors", force=True)
    with pytest.raises(OutputError, match="is not a file"):
        export(source, folder, "gguf", force=True)
    with pytest.raises(OutputError, match="is not a folder"):
        export(source, file, "safetensors", force=True)
    with pytest.raises(OutputError, match="there is no folder"):
        export(source, tmp_path / "a" / "b", "safetensors")
    with pytest.raises(ParameterError, match="format"):
        export(source, tmp_path / "x", "onnx")
    with pytest.raises(ParameterError, match="dtype"):
        export(source, tmp_path / "x", "gguf", dtype="int8")
    assert {path.name for path in tmp_path.iterdir()} == {"source", "out", "out.gguf"}


def test_numbers_that_do_not_fit(tmp_path: Path) -> None:
    source = tmp_path / "source"
    tiny.save(LLAMA, source)
    tensors = load_file(source / "model.safetensors")
    for value, message, dtype in (
        (1e5, "too large for f16; use a wider --dtype", "f16"),
        (np.inf, "values that are not finite", "f32"),
        (np.nan, "values that are not finite", "bf16"),
    ):
        tensors["model.layers.1.mlp.up_proj.weight"][3, 5] = value
        save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ModelFileError, match=message):
            export(source, tmp_path / "out.gguf", "gguf", dtype=dtype)
    assert list(tmp_path.iterdir()) == [source]


def test_what_a_model_lacks_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "source"
    tiny.save(LLAMA, source)
    tensors = load_file(source / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelFileError, match="no tensor"):
        export(source, tmp_path / "out.gguf", "gguf")
    (source / "tokenizer.json").unlink()
    tiny.save(LLAMA, source)
    (source / "tokenizer.json").unlink()
    with pytest.raises(ModelFileError, match=r"no tokenizer.json"):
        export(source, tmp_path / "out.gguf", "gguf")


def test_a_window_that_gguf_cannot_say_is_told(tmp_path: Path) -> None:
    tiny.save("mistral with a window", tmp_path / "source")
    notes: list[str] = []
    export(tmp_path / "source", tmp_path / "out.gguf", "gguf", note=notes.append)
    assert notes == ["GGUF's llama has no window: texts beyond 20 tokens will differ"]


def adapter(folder: Path, modules: dict[str, tuple[int, int, int]], **options) -> dict:
    """A LoRA adapter as peft saves it: modules by name, (rows, columns, rank)."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    tensors = {}
    for name, (rows, columns, rank) in modules.items():
        key = f"base_model.model.{name}.lora_"
        tensors[key + "A.weight"] = rng.standard_normal((rank, columns)).astype("f4")
        tensors[key + "B.weight"] = rng.standard_normal((rows, rank)).astype("f4")
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none", "use_dora": False}
    (folder / "adapter_config.json").write_text(json.dumps(config | options))
    save_file(tensors, folder / "adapter_model.safetensors")
    return tensors


Q, DOWN = "model.layers.0.self_attn.q_proj", "model.layers.2.mlp.down_proj"


@pytest.mark.parametrize("form", exporting.FORMATS)
@pytest.mark.parametrize("kind", ["folder", "gguf"])
def test_an_adapter_is_merged(form: str, kind: str, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "out"
    tiny.save(LLAMA, source)
    if kind == "gguf":
        export(source, tmp_path / "source.gguf", "gguf")
    modules = {Q: (96, 64, 4), DOWN: (64, 128, 2)}
    patterns = {"rank_pattern": {"mlp.down_proj": 2}, "alpha_pattern": {"q_proj": 6}}
    tensors = adapter(tmp_path / "lora", modules, use_rslora=True, **patterns)
    norm = np.arange(64, dtype="f4")
    tensors["base_model.model.model.norm.weight"] = norm
    save_file(tensors, tmp_path / "lora" / "adapter_model.safetensors")
    export(
        source if kind == "folder" else tmp_path / "source.gguf",
        target,
        form,
        adapter=tmp_path / "lora",
    )
    if form == "gguf":
        target.rename(tmp_path / "out.gguf")
        export(tmp_path / "out.gguf", target, "safetensors")
    before, after = load_file(source / "model.safetensors"), load_file(target / "model.safetensors")
    for name, value in before.items():
        expected = value
        for module, scale in ((Q, 6 / 4**0.5), (DOWN, 8 / 2**0.5)):
            if name == f"{module}.weight":
                key = f"base_model.model.{module}.lora_"
                a, b = tensors[key + "A.weight"], tensors[key + "B.weight"]
                expected = value.astype("f8") + scale * b.astype("f8") @ a.astype("f8")
        if name == "model.norm.weight":
            expected = norm
        np.testing.assert_allclose(after[name], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_dora": True}, "'use_dora' = 'True' is not supported"),
        ({"bias": "all"}, "'bias' = 'all' is not supported"),
        ({"fan_in_fan_out": True}, "'fan_in_fan_out'"),
        ({"new_option": {"a": 1}}, "'new_option'"),
        ({"peft_type": "IA3"}, "'IA3', expected 'LORA'"),
        ({"rank_pattern": {"(a+)+": 2}}, "is not a name"),
        ({"init_lora_weights": "pissa"}, "'init_lora_weights' = 'pissa'"),
    ],
)
def test_adapters_of_other_kinds_are_refused(options, message, tmp_path: Path) -> None:
    tiny.save(LLAMA, tmp_path / "source")
    adapter(tmp_path / "lora", {Q: (96, 64, 4)}, **options)
    with pytest.raises(UnsupportedError, match=message):
        export(tmp_path / "source", tmp_path / "o", "safetensors", adapter=tmp_path / "lora")


@pytest.mark.parametrize(
    "modules",
    [
        {"model.layers.7.self_attn.q_proj": (96, 64, 4)},
        {Q: (96, 32, 4)},
        {Q: (64, 64, 4)},
        {Q: (96, 64, 3)},
        {"model.norm": (64, 64, 4)},
    ],
)
def test_adapters_of_other_models_are_refused(modules, tmp_path: Path) -> None:
    tiny.save(LLAMA, tmp_path / "source")
    adapter(tmp_path / "lora", modules)
    with pytest.raises(ModelFileError, match="adapter"):
        export(tmp_path / "source", tmp_path / "o", "safetensors", adapter=tmp_path / "lora")
    with pytest.raises(ModelFileError, match="holds no adapter"):
        export(tmp_path / "source", tmp_path / "o", "safetensors", adapter=tmp_path)
