"""Adapters in the engine: logits as peft has them, beside each other and never mixed up."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from models import adapters, checkpoints
from pocketlm import models
from pocketlm.engine import engine as engine_module
from pocketlm.engine import prefixes
from pocketlm.engine.adapters import NONE, Adapter, bind
from pocketlm.engine.engine import Engine
from pocketlm.engine.prefixes import PrefixCache, PrefixFolder
from pocketlm.engine.runtime import Runtime
from pocketlm.engine.sampling import SamplingParameters, Token
from pocketlm.errors import ModelFileError, ParameterError, UnsupportedError
from pocketlm.formats.lora import open_lora
from pocketlm.formats.open import open_checkpoint
from pocketlm.quantize.export import export
from quantize import tiny

NAMES = ["phi3 with a window", "phi3 with longrope", "phi4-mini's form", "llama, grouped and tied"]
#: As for the checkpoints alone: what a float16 cache rounds off.
TOLERANCE = 1e-3
PROMPT = checkpoints.tokens(50, seed=1)


def kind_of(name: str) -> str:
    return "llama" if name.startswith("llama") else "phi3"


@dataclass
class Case:
    """A checkpoint with two adapters, and peft's models of them."""

    folder: Path
    lora: dict[str, Path]
    peft: dict[str, Any]

    def engine(self, **options: Any) -> Engine:
        with open_checkpoint(self.folder) as checkpoint:
            program = models.build(checkpoint.config, checkpoint.tensors)
            options = {"threads": 2, "cache_type": "f16", **options}
            return Engine(Runtime(program, checkpoint.tensors, **options), program.context)

    def adapter(self, engine: Engine, *names: str, scale: float = 1.0) -> Adapter:
        loras = [(open_lora(self.lora[name]), scale) for name in names]
        return bind(engine.runtime.program, loras)


@pytest.fixture(scope="module", params=NAMES)
def case(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return made(request.param, tmp_path_factory.mktemp("case"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return made("llama, grouped and tied", tmp_path_factory.mktemp("case"))


def made(name: str, folder: Path) -> Case:
    tiny.save(name, folder / "model")
    targets = adapters.TARGETS[kind_of(name)]
    lora = {"all": folder / "all", "some": folder / "some"}
    found = {
        "all": adapters.save(folder / "model", lora["all"], targets, 1, r=5, lora_alpha=7),
        "some": adapters.save(
            folder / "model",
            lora["some"],
            [targets[0], targets[-1]],
            2,
            torch.bfloat16,
            r=18,
            lora_alpha=8,
            use_rslora=True,
            rank_pattern={targets[-1]: 3},
            alpha_pattern={targets[-1]: 2},
        ),
    }
    return Case(folder / "model", lora, found)


@pytest.mark.parametrize("name", ["all", "some"])
def test_logits_are_pefts(case: Case, name: str) -> None:
    engine = case.engine()
    adapter = case.adapter(engine, name)
    tokens = checkpoints.tokens(70, seed=3)
    expected = checkpoints.reference_logits(case.peft[name], tokens)
    found = engine.logits(tokens, None, adapter)
    assert np.abs(found - expected).max() < TOLERANCE
    assert np.abs(engine.logits(tokens) - expected).max() > 30 * TOLERANCE
    for chunk in (1, 7, 33):
        np.testing.assert_array_equal(engine.logits(tokens, chunk, adapter), found)


def test_logits_are_those_of_the_merged_export(case: Case, tmp_path: Path) -> None:
    tokens = checkpoints.tokens(70, seed=4)
    export(case.folder, tmp_path / "merged", "safetensors", adapter=case.lora["all"])
    expected = Case(tmp_path / "merged", {}, {}).engine().logits(tokens)
    engine = case.engine()
    found = engine.logits(tokens, None, case.adapter(engine, "all"))
    assert np.abs(found - expected).max() < TOLERANCE


def test_adapters_are_summed_and_scaled(case: Case) -> None:
    engine = case.engine()
    tokens = checkpoints.tokens(30, seed=5)
    plain = checkpoints.reference(case.folder)
    with torch.no_grad():
        for name, scale in (("all", 0.5), ("some", 0.5)):
            modules = dict(case.peft[name].named_modules())
            for key, module in plain.named_modules():
                other = modules.get(f"base_model.model.{key}")
                if hasattr(other, "lora_A"):
                    module.weight += scale * other.get_delta_weight("default")
    expected = checkpoints.reference_logits(plain, tokens)
    found = engine.logits(tokens, None, case.adapter(engine, "all", "some", scale=0.5))
    assert np.abs(found - expected).max() < TOLERANCE
    assert case.adapter(engine) is NONE


@pytest.mark.parametrize("base", ["safetensors", "gguf"])
@pytest.mark.parametrize("form", ["peft", "gguf"])
def test_forms_of_adapters_and_of_models_go_together(
    case: Case, base: str, form: str, tmp_path: Path
) -> None:
    config = json.loads((case.folder / "config.json").read_text())
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    path = case.folder
    if base == "gguf":
        path = tmp_path / "model.gguf"
        export(case.folder, path, "gguf")
    lora = case.lora["all"]
    if form == "gguf":
        lora = tmp_path / "lora.gguf"
        adapters.to_gguf(case.lora["all"], lora, config["model_type"], 7, head_dim)
    with open_checkpoint(path) as checkpoint:
        program = models.build(checkpoint.config, checkpoint.tensors)
        engine = Engine(Runtime(program, checkpoint.tensors, threads=2, cache_type="f16"), 128)
    assert program.rope.pairing == (
        "adjacent" if (base, config["model_type"]) == ("gguf", "llama") else "half"
    )
    tokens = checkpoints.tokens(40, seed=6)
    found = engine.logits(tokens, None, bind(program, [(open_lora(lora), 1.0)]))
    assert np.abs(found - checkpoints.reference_logits(case.peft["all"], tokens)).max() < TOLERANCE


def test_a_quantised_model_takes_adapters_too(case: Case) -> None:
    tokens = checkpoints.tokens(40, seed=7)
    expected = checkpoints.reference_logits(case.peft["all"], tokens)
    engine = case.engine(quantize="q8_0")
    found = engine.logits(tokens, None, case.adapter(engine, "all"))
    without = engine.logits(tokens)
    assert error(found, expected) < 0.1
    assert error(without, expected) > 0.3


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """Root mean square, relative to the spread."""
    return float(np.sqrt(np.square(found - expected).mean()) / expected.std())


def events(engine: Engine, prompt: list[int], adapter: Adapter | None, **options: Any) -> Any:
    parameters = SamplingParameters(**({"max_tokens": 12, "logprobs": 5} | options))
    return engine.generate(prompt, parameters, adapter=adapter)


def tokens_of(request: Any) -> list[Token]:
    return [event for event in request if isinstance(event, Token)]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_texts_of_a_mixed_batch_are_as_alone(case: Case, threads: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(engine_module, "CHUNK", 16)
    engine = case.engine(threads=threads)
    loaded = [NONE, case.adapter(engine, "all"), case.adapter(engine, "some")]
    texts = [(checkpoints.tokens(9 + 7 * i, seed=i), loaded[i % 3]) for i in range(6)]
    alone = []
    for prompt, adapter in texts:
        fresh = case.engine(threads=1)
        alone.append(tokens_of(events(fresh, prompt, adapter)))
    requests = [events(engine, prompt, adapter) for prompt, adapter in texts]
    for request in requests:
        request.begin()
    together: list[list[Token]] = [[] for _ in requests]
    while any(not request.ready or request.events for request in requests):
        for found, request in zip(together, requests, strict=True):
            event = next(request, None)
            found += [event] if isinstance(event, Token) else []
    assert together == alone  # log-probabilities too, to the last bit
    assert len({tuple(token.id for token in found) for found in together}) == 6


def test_a_prefix_is_never_another_adapters(case: Case, monkeypatch: Any) -> None:
    monkeypatch.setattr(Runtime, "cache_budget", lambda *_: 1 << 30)  # nothing has to go
    engine = case.engine()
    one, two = case.adapter(engine, "all"), case.adapter(engine, "some")
    half = case.adapter(engine, "all", scale=0.5)
    prompt = checkpoints.tokens(100, seed=8)
    said = []
    for adapter in (NONE, one, two, half):
        request = events(engine, prompt, adapter)
        said.append(tokens_of(request))
        assert request.cached_tokens == 0
        assert said[-1] == tokens_of(events(case.engine(), prompt, adapter))
    for adapter, expected in zip((NONE, one, two, half), said, strict=True):
        request = events(engine, prompt, adapter)
        assert tokens_of(request) == expected
        assert request.cached_tokens > 0
    # The same numbers, read again, are the same adapter.
    request = events(engine, prompt, case.adapter(engine, "all"))
    assert tokens_of(request) == said[1]
    assert request.cached_tokens > 0


def test_scores_are_an_adapters_own(case: Case) -> None:
    engine = case.engine()
    adapter = case.adapter(engine, "all")
    prefix, tails = PROMPT[:40], [[5, 6, 7], [8], []]
    before = engine.continued(prefix, tails)
    found = engine.continued(prefix, tails, adapter)
    for tail, rows in zip(tails, found, strict=True):
        np.testing.assert_array_equal(rows, engine.logits([*prefix, *tail], None, adapter)[39:])
    for old, new in zip(before, engine.continued(prefix, tails), strict=True):
        np.testing.assert_array_equal(old, new)
    hidden = engine.hidden(prefix, adapter)
    assert hidden.shape == (40, engine.runtime.program.buffers["x"])
    assert not np.array_equal(hidden, engine.hidden(prefix))
    engine.adapter = adapter  # what holds where nothing is said
    np.testing.assert_array_equal(engine.hidden(prefix), hidden)
    np.testing.assert_array_equal(engine.continued(prefix, tails)[0], found[0])
    np.testing.assert_array_equal(engine.logits(prefix, None, NONE)[-1], before[2][0])


def test_blocks_on_disk_are_an_adapters_own(llama: Case, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(prefixes, "LEAST", 32)
    prompt = checkpoints.tokens(100, seed=9)

    def run(*names: str) -> tuple[list[Token], int]:
        with open_checkpoint(llama.folder) as checkpoint:
            program = models.build(checkpoint.config, checkpoint.tensors)
            runtime = Runtime(program, checkpoint.tensors, threads=1)
        folder = PrefixFolder(tmp_path / ("0" * 32), "files", 10**9)
        kept = PrefixCache(folder, runtime.cache, runtime.identity)
        engine = Engine(runtime, program.context, prefixes=kept)
        request = events(engine, prompt, llama.adapter(engine, *names))
        found = tokens_of(request)
        engine.close()
        return found, request.cached_tokens

    fresh = {name: run(*name) for name in ((), ("all",), ("some",), ("all", "some"))}
    assert {cached for _, cached in fresh.values()} == {0}
    for names, (said, _) in fresh.items():
        assert run(*names) == (said, 96)


def test_drafts_change_nothing(case: Case) -> None:
    # A text that repeats itself, so that what followed before is tried.
    prompt = checkpoints.tokens(12, seed=10) * 4
    options = {"max_tokens": 40, "temperature": 0.0}
    texts = []
    for speculate in (False, True):
        engine = case.engine()
        if not speculate:
            engine.speculation = None
        texts.append(tokens_of(events(engine, prompt, case.adapter(engine, "all"), **options)))
    assert texts[0] == texts[1]


def test_adapters_come_and_go_while_texts_are_written(case: Case) -> None:
    engine = case.engine()
    one, two = case.adapter(engine, "all"), case.adapter(engine, "some")
    expected = [tokens_of(events(case.engine(), PROMPT, adapter)) for adapter in (one, two)]
    first = events(engine, PROMPT, one)
    found = [next(event for event in first if isinstance(event, Token))]
    one = case.adapter(engine, "some")  # nothing but the request knows the first any more
    second = tokens_of(events(engine, PROMPT, one))
    found += tokens_of(first)
    assert [found, second] == expected
    assert one.nbytes == two.nbytes > 0
    assert NONE.nbytes == 0


def test_threads_write_with_adapters_of_their_own(llama: Case) -> None:
    """Each thread loads an adapter, writes with it and drops it, while others do so too."""
    engine = llama.engine()
    ways = [("all",), ("some",), ("all", "some"), ()]
    expected = [
        tokens_of(events(llama.engine(), PROMPT, llama.adapter(engine, *names))) for names in ways
    ]

    def write(place: int) -> list[bool]:
        found = []
        for turn in range(4):
            way = (place + turn) % len(ways)
            request = events(engine, PROMPT, llama.adapter(engine, *ways[way]))
            found.append(tokens_of(request) == expected[way])
        return found

    with ThreadPoolExecutor(4) as pool:
        assert all(all(found) for found in pool.map(write, range(4)))


def test_a_window_is_rewound_with_the_adapter(tmp_path: Path) -> None:
    """What left the window and is wanted again is processed as it was: see engine.sequence."""
    case = made("phi3 with a window", tmp_path)
    engine = case.engine()
    adapter = case.adapter(engine, "all")
    prompt = checkpoints.tokens(90, seed=11)
    tokens_of(events(engine, prompt, adapter))
    for length in (70, 40, 64):
        again = events(engine, prompt[:length], adapter)
        expected = tokens_of(events(case.engine(), prompt[:length], adapter))
        assert tokens_of(again) == expected


def tampered(source: Path, folder: Path, change: Any, **options: Any) -> Path:
    """A copy of an adapter with other tensors, or other options."""
    folder.mkdir()
    config = json.loads((source / "adapter_config.json").read_text()) | options
    (folder / "adapter_config.json").write_text(json.dumps(config))
    tensors = load_file(source / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
B = A.replace("lora_A", "lora_B")


def put(name: str, value: Any) -> Any:
    return lambda tensors: tensors.__setitem__(name, np.array(value, np.float32))


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        (lambda t: t.pop(A), {}, ModelFileError, r"q_proj': A is missing"),
        (lambda t: t.pop(B), {}, ModelFileError, r"q_proj': B is missing"),
        (put(A, np.ones((5, 63))), {}, ModelFileError, r"A is \[5, 63\], expected \[5, 64\]"),
        (put(B, np.ones((95, 5))), {}, ModelFileError, r"B is \[95, 5\], expected \[96, 5\]"),
        (put(B, np.ones((96, 4))), {}, ModelFileError, r"B must have as many columns as A has"),
        (put(A, np.ones(320)), {}, ModelFileError, r"A is no matrix"),
        (put(A, np.full((5, 64), np.nan)), {}, ModelFileError, r"q_proj': A holds .* not finite"),
        (put(B, np.full((96, 5), np.inf)), {}, ModelFileError, r"q_proj': B holds .* not finite"),
        (put(B, np.full((96, 5), 3e38)), {}, ModelFileError, r"q_proj': B holds .* not finite"),
        (lambda t: None, {"r": 6}, ModelFileError, r"A has 5 rows, expected 6"),
        (lambda t: None, {"lora_alpha": "x"}, ModelFileError, r"lora_alpha is .*a number above 0"),
        (lambda t: None, {"use_rslora": 3}, ModelFileError, r"use_rslora is .*true or false"),
        (lambda t: None, {"use_dora": True}, UnsupportedError, r"'use_dora' = 'True'"),
        (lambda t: None, {"bias": "all"}, UnsupportedError, r"'bias' = 'all'"),
        (
            put(A.replace("lora_A.weight", "lora_magnitude_vector"), np.ones(96)),
            {},
            UnsupportedError,
            r"belongs to DoRA",
        ),
        (
            put("base_model.model.model.embed_tokens.lora_embedding_A", np.ones((5, 160))),
            {},
            UnsupportedError,
            r"adapts an embedding",
        ),
        (
            put("base_model.model.model.layers.0.self_attn.q_proj.bias", np.ones(96)),
            {},
            UnsupportedError,
            r"is a bias",
        ),
        (
            put("base_model.model.model.norm.weight", np.ones(64)),
            {},
            UnsupportedError,
            r"'model.norm.weight' whole, which needs merging",
        ),
        (
            lambda t: t.update(
                {
                    "base_model.model.lm_head.lora_A.weight": np.ones((5, 64), np.float32),
                    "base_model.model.lm_head.lora_B.weight": np.ones((160, 5), np.float32),
                }
            ),
            {},
            UnsupportedError,
            r"'lm_head', which needs merging",
        ),
        (
            lambda t: t.update(
                {
                    A.replace("layers.0", "layers.3"): np.ones((5, 64), np.float32),
                    B.replace("layers.0", "layers.3"): np.ones((96, 5), np.float32),
                }
            ),
            {},
            ModelFileError,
            r"layers.3.self_attn.q_proj' is for another model",
        ),
    ],
)
def test_what_is_wrong_is_said(
    llama: Case, tmp_path: Path, change: Any, options: Any, error: type[Exception], message: str
) -> None:
    path = tampered(llama.lora["all"], tmp_path / "lora", change, **options)
    engine = llama.engine()
    with pytest.raises(error, match=message) as caught:
        bind(engine.runtime.program, [(open_lora(path), 1.0)])
    assert str(caught.value).startswith(str(tmp_path))


def test_files_that_are_no_adapters(llama: Case, tmp_path: Path) -> None:
    weights = (llama.lora["all"] / "adapter_model.safetensors").read_bytes()
    config = (llama.lora["all"] / "adapter_config.json").read_bytes()
    for size in (0, 4, 100, len(weights) // 2, len(weights) - 1):
        folder = tmp_path / str(size)
        folder.mkdir()
        (folder / "adapter_config.json").write_bytes(config)
        (folder / "adapter_model.safetensors").write_bytes(weights[:size])
        with pytest.raises(ModelFileError, match=r"adapter_model.safetensors: "):
            open_lora(folder)
    with pytest.raises(ModelFileError, match="no such file"):
        open_lora(tmp_path / "nowhere")
    with pytest.raises(ModelFileError, match="holds no adapter"):
        open_lora(llama.folder)
    with pytest.raises(ModelFileError, match="name peft's folder, or a GGUF file"):
        open_lora(llama.folder / "config.json")
    gguf_model = tmp_path / "model.gguf"
    export(llama.folder, gguf_model, "gguf")
    with pytest.raises(UnsupportedError, match="holds no LoRA adapter"):
        open_lora(gguf_model)
    for scale in (float("nan"), float("inf"), "1"):
        with pytest.raises(ParameterError, match="scale"):
            bind(llama.engine().runtime.program, [(open_lora(llama.lora["all"]), scale)])


def test_every_truncation_of_a_gguf_adapter_is_an_error(llama: Case, tmp_path: Path) -> None:
    adapters.to_gguf(llama.lora["all"], tmp_path / "a.gguf", "llama", 7, 24)
    data = (tmp_path / "a.gguf").read_bytes()
    open_lora(tmp_path / "a.gguf")
    for size in range(1, len(data), 97):
        (tmp_path / "cut.gguf").write_bytes(data[:size])
        with pytest.raises(ModelFileError):
            open_lora(tmp_path / "cut.gguf")
