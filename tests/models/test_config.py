"""Configurations: defaults, spellings, and everything that a damaged one can hold."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from models import checkpoints
from pocketlm import models
from pocketlm.errors import Error, ModelFileError, UnsupportedError
from pocketlm.models.config import Config, Shape
from pocketlm.models.rope import read_rope

Checkpoint = tuple[dict[str, Any], dict[str, checkpoints.Stored]]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    found = {}
    for name in checkpoints.CONFIGURATIONS:
        folder = tmp_path_factory.mktemp("checkpoint")
        checkpoints.save(name, folder)
        found[name] = checkpoints.stored(folder)
    return found


@pytest.fixture
def phi3(saved: dict[str, Checkpoint]) -> Checkpoint:
    return saved["phi3 with longrope"]


@pytest.fixture
def llama(saved: dict[str, Checkpoint]) -> Checkpoint:
    return saved["llama, grouped and tied"]


# --- rotary positions ------------------------------------------------------------------------


@pytest.mark.parametrize("theta", [10000.0, 130000.0, 500000.0, 1000000.0])
@pytest.mark.parametrize("head_dim", [64, 96, 128])
def test_frequencies_are_those_of_transformers(theta: float, head_dim: int) -> None:
    """To the last place, bar the rare power that PyTorch itself rounds the other way."""
    rope = {"rope_theta": theta, "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0}
    rope |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    longrope = {"rope_theta": theta, "rope_type": "longrope"}
    longrope |= {"short_factor": np.linspace(1, 3, head_dim // 2).tolist()}
    longrope |= {"long_factor": np.linspace(1, 65, head_dim // 2).tolist()}
    longrope |= {"original_max_position_embeddings": 4096}
    linear = {"rope_theta": theta, "rope_type": "linear", "factor": 4.0}
    for parameters in (rope, longrope, linear):
        config = transformers.LlamaConfig(
            hidden_size=head_dim * 4,
            num_attention_heads=4,
            max_position_embeddings=131072,
            rope_parameters=dict(parameters),
        )
        ours = rope_of(config.to_dict())
        compute = ROPE_INIT_FUNCTIONS[parameters["rope_type"]]
        for found, length in zip(ours.inverse_frequencies, (1, 131072), strict=False):
            expected, scale = compute(config, torch.device("cpu"), seq_len=length)
            np.testing.assert_allclose(found, expected.numpy(), rtol=3e-7)
            assert (found == expected.numpy()).mean() > 0.9
            assert ours.scale == pytest.approx(scale, abs=1e-12)


def test_longrope_of_the_128k_models() -> None:
    """The published factor, and the choice of the set by a sequence's length."""
    rope = rope_of(config_with({**longrope(), "type": "longrope"}))
    assert rope.scale == pytest.approx(1.190238, abs=1e-6)
    assert [rope.set_for(n) for n in (1, 4096, 4097, 131072)] == [0, 0, 1, 1]
    assert rope.inverse_frequencies[0].shape == rope.inverse_frequencies[1].shape == (48,)


def test_the_files_own_attention_factor_goes_first() -> None:
    assert rope_of(config_with({**longrope(), "attention_factor": 1.25})).scale == 1.25
    scale = rope_of(config_with({**longrope(), "factor": 16.0})).scale
    assert scale == pytest.approx(math.sqrt(1 + math.log(16) / math.log(4096)))


def test_su_is_longrope() -> None:
    new = rope_of(config_with(longrope()))
    old = rope_of(config_with({**longrope(), "rope_type": None, "type": "su"}))
    assert new.scale == old.scale
    np.testing.assert_array_equal(new.inverse_frequencies, old.inverse_frequencies)


def test_factors_that_a_gguf_file_worked_out(saved: dict[str, Checkpoint]) -> None:
    config, _ = saved["llama with llama3 rope"]
    expected = rope_of(config).inverse_frequencies[0]
    plain = rope_of({**config, "rope_parameters": {"rope_theta": 10000.0}}).inverse_frequencies[0]
    parameters = {"rope_theta": 10000.0, "frequency_factors": (plain / expected).tolist()}
    found = rope_of({**config, "rope_parameters": parameters}).inverse_frequencies[0]
    np.testing.assert_allclose(found, expected, rtol=2e-7)


# --- windows ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "context", "window"),
    [
        (32, 4096, 2047),  # mini, 4K
        (40, 4096, 2047),  # medium, 4K
        (32, 131072, None),  # mini, 128K: 262,144
        (40, 131072, None),  # medium, 128K: 131,072
        (3, 4096, None),
    ],
)
def test_windows_of_phi3_files_that_lack_the_key(
    saved: dict[str, Checkpoint], layers: int, context: int, window: int | None
) -> None:
    config, tensors = saved["phi3 with a window"]
    deep = {"num_hidden_layers": layers, "max_position_embeddings": context}
    for layer in range(3, layers):
        for name in list(tensors):
            if name.startswith("model.layers.0."):
                tensors = {**tensors, name.replace(".0.", f".{layer}."): tensors[name]}
    without = {key: value for key, value in config.items() if key != "sliding_window"}
    assert models.build({**without, **deep}, tensors).window == window
    # What the file says goes first; 0 is how a GGUF file says none.
    for said, meant in ((None, None), (0, None), (99, 99), (context, None), (context - 1, -1)):
        program = models.build({**config, **deep, "sliding_window": said}, tensors)
        assert program.window == (context - 1 if meant == -1 else meant)


def test_windows_of_mistral(saved: dict[str, Checkpoint]) -> None:
    config, tensors = saved["mistral with a window"]
    long = {**config, "max_position_embeddings": 32768}
    assert models.build({**long, "sliding_window": None}, tensors).window is None
    del long["sliding_window"]
    assert models.build(long, tensors).window == 4096


def test_windows_of_qwen2(saved: dict[str, Checkpoint]) -> None:
    config, tensors = saved["qwen2"]
    config = {**config, "sliding_window": 30, "layer_types": None}
    assert models.build(config, tensors).window is None
    config["use_sliding_window"] = True
    assert models.build({**config, "max_window_layers": 3}, tensors).window is None
    assert models.build({**config, "max_window_layers": 0}, tensors).window == 30
    with pytest.raises(UnsupportedError, match="sliding window in some of the layers"):
        models.build({**config, "max_window_layers": 2}, tensors)


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("vocab_size", [None, 0, -1, 161, 2**31, 2**80, "160", 160.0, True, [], float("nan")]),
        ("hidden_size", [None, 0, -1, 63, 65, 2**62]),
        ("intermediate_size", [None, 0, 127, 2**62]),
        ("num_hidden_layers", [None, 0, 4, 2**31 - 1, 2**62]),
        ("num_attention_heads", [None, 0, 3, 5, 2**31]),
        ("num_key_value_heads", [0, 3, 5, "2"]),
        ("head_dim", [-2, 23, 2**31, "24"]),
        ("max_position_embeddings", [None, 0, -1, 2**31, 1e9]),
        ("rms_norm_eps", [None, 0, -1e-5, float("inf"), float("nan"), "1e-5", True, 10**400]),
        ("tie_word_embeddings", [1, "yes", False]),
        ("rope_parameters", ["default", 3, [1]]),
        ("rope_pairing", ["", "thirds", 1]),
        ("hidden_act", [3]),
    ],
)
def test_values_that_no_model_can_have(llama: Checkpoint, key: str, values: list[Any]) -> None:
    config, tensors = llama
    models.build(config, tensors)
    for value in values:
        with pytest.raises(ModelFileError) as caught:
            models.build({**config, key: value}, tensors)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 250
        if value is None:
            assert key in str(caught.value)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("short_factor", [None, "1", [1.0] * 11, [1.0] * 13, [1.0] * 11 + [0], [1.0] * 11 + ["1"]]),
        ("long_factor", [None, [], [float("nan")] * 12, [float("inf")] * 12, [-1.0] * 12]),
        ("original_max_position_embeddings", [0, 1, -4, "4096", 2**40]),
        ("attention_factor", [0, -1.0, "1", float("nan")]),
        ("factor", [0, -1.0, "1", float("nan")]),
        ("rope_theta", [0, -1, "1e4", float("inf")]),
        ("partial_rotary_factor", [0, -1, 1.1, 0.3, 0.01, "0.75", float("nan")]),
    ],
)
def test_longrope_values_that_no_model_can_have(
    phi3: Checkpoint, key: str, values: list[Any]
) -> None:
    config, tensors = phi3
    for value in values:
        rope = {**config["rope_parameters"], key: value}
        bad = {**config, "rope_parameters": rope}
        if key == "original_max_position_embeddings":
            bad = {**config, key: value} if value else {**bad, key: None}
        with pytest.raises(ModelFileError, match=key):
            models.build(bad, tensors)


def test_architectures_and_variants_refused_by_name(llama: Checkpoint) -> None:
    config, tensors = llama
    refused: list[tuple[dict[str, Any], str]] = [
        ({"model_type": "mamba"}, "'mamba'"),
        ({"model_type": "program"}, "'program'"),
        ({"model_type": "os.path"}, "'os.path'"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "'yarn'"),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 4.0}}, "'dynamic'"),
        ({"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "differ by layer"),
        ({"hidden_act": "gelu"}, "'gelu'"),
        ({"quantization_config": {"quant_method": "gptq"}}, "'gptq'"),
    ]
    for change, word in refused:
        with pytest.raises(UnsupportedError, match=word):
            models.build({**config, **change}, tensors)
    with pytest.raises(ModelFileError, match="model_type"):
        models.build({**config, "model_type": None}, tensors)


def test_tensors_missing_misshapen_or_left_over(llama: Checkpoint) -> None:
    config, tensors = llama
    for name, tensor in tensors.items():
        with pytest.raises(ModelFileError, match=name):
            models.build(config, {key: t for key, t in tensors.items() if key != name})
        for shape in ((*tensor.shape[::-1], 1), (tensor.shape[0] + 1, *tensor.shape[1:])):
            bad = checkpoints.Stored(np.zeros(shape, np.float32))
            with pytest.raises(ModelFileError, match=name):
                models.build(config, {**tensors, name: bad})
    norm = checkpoints.Stored(np.ones(24, np.float32))
    with pytest.raises(UnsupportedError, match="q_norm"):
        models.build(config, {**tensors, "model.layers.0.self_attn.q_norm.weight": norm})
    models.build(config, {**tensors, "model.layers.0.self_attn.rotary_emb.inv_freq": norm})


def test_qwen2_without_its_biases(saved: dict[str, Checkpoint]) -> None:
    config, tensors = saved["qwen2"]
    without = {name: t for name, t in tensors.items() if not name.endswith("k_proj.bias")}
    with pytest.raises(ModelFileError, match=r"k_proj\.bias"):
        models.build(config, without)


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["longrope", "llama3", "linear", "half", "silu", "phi3", "qwen2", "mistral"]),
    lambda inner: st.lists(inner, max_size=13) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=15,
)


def _keys(config: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for key, value in config.items():
        yield (key,)
        if isinstance(value, dict):
            yield from ((key, inner) for inner in value)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_damage_gives_a_program_or_one_clear_line(
    saved: dict[str, Checkpoint], data: st.DataObject
) -> None:
    config, tensors = saved[data.draw(st.sampled_from(sorted(saved)))]
    config = {key: dict(v) if isinstance(v, dict) else v for key, v in config.items()}
    for path in data.draw(st.lists(st.sampled_from(sorted(_keys(config))), max_size=3)):
        holder = config[path[0]] if len(path) == 2 else config
        if isinstance(holder, dict):
            holder[path[-1]] = data.draw(_json)
    refusal = ""
    try:
        rope = models.build(config, tensors).rope
    except Error as error:
        refusal = str(error)
    else:
        assert all(np.isfinite(set).all() for set in rope.inverse_frequencies)
    assert "\n" not in refusal
    assert len(refusal) < 250


def longrope() -> dict[str, Any]:
    return {
        "rope_type": "longrope",
        "short_factor": [1.0 + i / 48 for i in range(48)],
        "long_factor": [1.0 + i for i in range(48)],
    }


def config_with(rope: dict[str, Any]) -> dict[str, Any]:
    """Phi-3-mini-128k's sizes, in the older form."""
    return {
        "vocab_size": 32064,
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 131072,
        "original_max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "rope_scaling": rope,
    }


def rope_of(config: dict[str, Any]) -> Any:
    read = Config(config)
    return read_rope(read, Shape.read(read))


def test_messages_name_the_nested_key(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"rope_scaling\.long_factor"):
        rope_of(config_with({**longrope(), "long_factor": [1.0]}))
