"""GGUF's keys and names in the hub's words, on whole small files and on the real ones."""

import math
import struct

import pytest

from fuzz import gguf_bytes as make
from pocketlm import models
from pocketlm.errors import ModelFileError, UnsupportedError
from pocketlm.formats.gguf import read_gguf
from pocketlm.formats.gguf_checkpoint import GGUFCheckpoint
from pocketlm.formats.gguf_config import _rotary_part
from pocketlm.formats.open import open_checkpoint


def checkpoint(architecture, tensors, *more, without=(), vocabulary=True):
    metadata = make.shape_keys(architecture) + (make.vocabulary() if vocabulary else [])
    replaced = {key for key, _, _ in more} | set(without)
    metadata = [entry for entry in metadata if entry[0] not in replaced]
    data = bytes(make.gguf_bytes([*metadata, *more], tensors).data)
    return GGUFCheckpoint("x.gguf", [read_gguf(data)])


LLAMA = make.llama_tensors("F16")
PHI3 = [entry for entry in make.phi3_tensors("Q8_0") if "factors" not in entry[0]]


def test_llama():
    opened = checkpoint("llama", LLAMA)
    assert opened.config == {
        "model_type": "llama",
        "vocab_size": 8,
        "max_position_embeddings": 4096,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "rope_pairing": "adjacent",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": True,
    }
    assert list(opened.tensors) == [
        "model.embed_tokens.weight",
        "model.layers.0.input_layernorm.weight",
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.0.self_attn.k_proj.weight",
        "model.layers.0.self_attn.v_proj.weight",
        "model.layers.0.self_attn.o_proj.weight",
        "model.layers.0.post_attention_layernorm.weight",
        "model.layers.0.mlp.gate_proj.weight",
        "model.layers.0.mlp.up_proj.weight",
        "model.layers.0.mlp.down_proj.weight",
        "model.norm.weight",
    ]
    assert opened.tensors["model.norm.weight"].name == "model.norm.weight"
    assert opened.generation_config == {"eos_token_id": [2]}
    assert opened.chat_template == "{{ messages }}"
    assert models.build(opened.config, opened.tensors).rope.pairing == "adjacent"


def test_an_early_phi3_file_lacks_its_window():
    opened = checkpoint("phi3", PHI3)
    assert "sliding_window" not in opened.config
    assert opened.config["rope_pairing"] == "half"
    assert opened.config["tie_word_embeddings"] is False
    assert "model.layers.0.mlp.gate_up_proj.weight" in opened.tensors
    assert "model.layers.0.self_attn.qkv_proj.weight" in opened.tensors
    assert models.build(opened.config, opened.tensors).window is None  # The table knows 32 layers.


def test_a_phi3_file_with_a_window():
    opened = checkpoint("phi3", PHI3, ("phi3.attention.sliding_window", make.U32, 2047))
    assert opened.config["sliding_window"] == 2047
    assert models.build(opened.config, opened.tensors).window == 2047


def test_longrope_factors_come_from_the_tensors():
    opened = checkpoint(
        "phi3",
        make.phi3_tensors("F32"),
        ("phi3.rope.scaling.original_context_length", make.U32, 1024),
        ("phi3.rope.scaling.attn_factor", make.F32, 1.190238),
    )
    # The tensors' bytes are 1, 2, 3 …
    numbers = list(struct.unpack("<8f", bytes(range(1, 33))))
    assert opened.config["rope_parameters"] == {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "long_factor": numbers,
        "short_factor": numbers,
        "attention_factor": 1.190238,
    }
    assert opened.config["original_max_position_embeddings"] == 1024
    assert not any("rope" in name for name in opened.tensors)


def test_llama3_factors_come_from_the_tensor():
    opened = checkpoint("llama", [("rope_freqs.weight", "F32", (8,)), *LLAMA])
    assert len(opened.config["rope_parameters"]["frequency_factors"]) == 8
    assert "rope_freqs.weight" not in opened.tensors


@pytest.mark.parametrize(("type_", "shape"), [("F16", (8,)), ("F32", (2, 4))])
def test_factors_of_another_form_are_refused(type_, shape):
    with pytest.raises(ModelFileError, match=r"'rope_freqs.weight' is .*, expected a list of F32"):
        checkpoint("llama", [("rope_freqs.weight", type_, shape), *LLAMA])


def test_part_of_the_head_is_turned():
    opened = checkpoint("phi3", PHI3, ("phi3.rope.dimension_count", make.U32, 12))
    assert opened.config["partial_rotary_factor"] == 0.75
    for head in range(2, 300):
        for turned in range(2, head, 2):
            part = _rotary_part(turned, head)
            assert part is not None
            assert int(part * head) == int(head * part) == turned


@pytest.mark.parametrize("dimensions", [0, 17, 2**32 - 1])
def test_more_than_the_head_cannot_be_turned(dimensions):
    with pytest.raises(ModelFileError, match=r"dimension_count is \d+, expected at most .* 16"):
        checkpoint("phi3", PHI3, ("phi3.rope.dimension_count", make.U32, dimensions))


def test_a_head_of_its_own_length():
    keys = [(f"llama.attention.{key}_length", make.U32, 64) for key in ("key", "value")]
    opened = checkpoint("llama", LLAMA, *keys, ("llama.rope.dimension_count", make.U32, 64))
    assert opened.config["head_dim"] == 64
    assert "partial_rotary_factor" not in opened.config
    with pytest.raises(UnsupportedError, match="keys and values of different lengths"):
        checkpoint("llama", LLAMA, keys[1])


def test_scaling_of_rope():
    linear = ("llama.rope.scaling.type", make.TEXT, "linear")
    factor = ("llama.rope.scaling.factor", make.F32, 4.0)
    for more in ((linear, factor), (("llama.rope.scale_linear", make.F32, 4.0),)):
        rope = checkpoint("llama", LLAMA, *more).config["rope_parameters"]
        assert rope == {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
    none = ("llama.rope.scaling.type", make.TEXT, "none")
    for more in ((none,), (none, factor), (("llama.rope.scale_linear", make.F32, 1.0),)):
        rope = checkpoint("llama", LLAMA, *more).config["rope_parameters"]
        assert rope == {"rope_type": "default", "rope_theta": 10000.0}
    yarn = ("llama.rope.scaling.type", make.TEXT, "yarn")
    assert checkpoint("llama", LLAMA, yarn, factor).config["rope_parameters"]["rope_type"] == "yarn"


def test_where_the_vocabularys_size_comes_from():
    assert checkpoint("llama", LLAMA).config["vocab_size"] == 8
    assert checkpoint("llama", LLAMA, vocabulary=False).config["vocab_size"] == 8
    assert checkpoint("llama", []).config["vocab_size"] == 8
    assert "vocab_size" not in checkpoint("llama", [], vocabulary=False).config
    stated = ("llama.vocab_size", make.U32, 9)
    assert checkpoint("llama", LLAMA, stated).config["vocab_size"] == 9


def test_a_vocabulary_alone_says_nothing_of_a_head():
    opened = checkpoint("llama", [])
    assert len(opened.tensors) == 0
    assert "tie_word_embeddings" not in opened.config


def test_ends_of_generation():
    ids = [
        (f"tokenizer.ggml.{name}_token_id", make.U32, id)
        for name, id in (("eos", 2), ("eot", 5), ("eom", 2))
    ]
    assert checkpoint("llama", LLAMA, *ids).generation_config == {"eos_token_id": [2, 5]}
    none = checkpoint("llama", LLAMA, without=("tokenizer.ggml.eos_token_id",))
    assert none.generation_config == {}


@pytest.mark.parametrize("value", [8, 2**32 - 1])
def test_special_ids_lie_in_the_vocabulary(value):
    with pytest.raises(ModelFileError, match=r"bos_token_id is .*, outside the vocabulary of 8"):
        checkpoint("llama", LLAMA, ("tokenizer.ggml.bos_token_id", make.U32, value))


def test_values_that_are_lists_of_equal_ones():
    heads = ("llama.attention.head_count_kv", make.ARRAY, (make.I32, [1]))
    assert checkpoint("llama", LLAMA, heads).config["num_key_value_heads"] == 1
    mixed = ("llama.attention.head_count_kv", make.ARRAY, (make.I32, [1, 2]))
    with pytest.raises(UnsupportedError, match="head_count_kv differs from layer to layer"):
        checkpoint("llama", LLAMA, mixed)


WRONG = [
    (make.TEXT, "8"),
    (make.F32, 8.0),
    (make.BOOL, 1),
    (make.ARRAY, (make.TEXT, ["8"])),
    (make.ARRAY, (make.F32, [8.0])),
    (make.ARRAY, (make.I32, [])),
]


@pytest.mark.parametrize(("kind", "value"), WRONG)
@pytest.mark.parametrize(
    "key",
    [
        "llama.block_count",
        "llama.context_length",
        "llama.embedding_length",
        "llama.feed_forward_length",
        "llama.attention.head_count",
        "llama.attention.head_count_kv",
        "llama.attention.key_length",
        "llama.attention.value_length",
        "llama.attention.sliding_window",
        "llama.rope.dimension_count",
        "llama.rope.scaling.original_context_length",
        "llama.vocab_size",
        "llama.expert_count",
        "tokenizer.ggml.bos_token_id",
        "tokenizer.ggml.eos_token_id",
        "tokenizer.ggml.eot_token_id",
    ],
)
def test_counts_of_another_type_are_refused(key, kind, value):
    with pytest.raises(ModelFileError, match=f"{key} is .*, expected an integer"):
        checkpoint("llama", LLAMA, (key, kind, value))


@pytest.mark.parametrize(
    ("kind", "value"),
    [(make.TEXT, "1"), (make.BOOL, 1), (make.F32, math.nan), (make.F64, math.inf)],
)
@pytest.mark.parametrize(
    "key", ["attention.layer_norm_rms_epsilon", "rope.freq_base", "rope.scaling.factor"]
)
def test_numbers_of_another_type_are_refused(key, kind, value):
    with pytest.raises(ModelFileError, match=f"llama.{key} is .*, expected a finite number"):
        checkpoint("llama", LLAMA, (f"llama.{key}", kind, value))


@pytest.mark.parametrize("key", ["tokenizer.chat_template", "llama.rope.scaling.type"])
def test_texts_of_another_type_are_refused(key):
    with pytest.raises(ModelFileError, match=f"{key} is 7, expected a string"):
        checkpoint("llama", LLAMA, (key, make.U8, 7))
    with pytest.raises(ModelFileError, match="tokens is an array, expected an array of strings"):
        checkpoint("llama", LLAMA, ("tokenizer.ggml.tokens", make.ARRAY, (make.U8, [7])))


def test_what_is_no_model():
    with pytest.raises(ModelFileError, match=r"general\.architecture is missing"):
        checkpoint("llama", LLAMA, without=("general.architecture",))
    for name in ("", "lla\nma", "x" * 65):
        with pytest.raises(
            ModelFileError, match=r"general\.architecture is '.*', which is no name"
        ):
            checkpoint(name, LLAMA)
    with pytest.raises(UnsupportedError, match="holds no model, but one of type 'adapter'"):
        checkpoint("llama", LLAMA, ("general.type", make.TEXT, "adapter"))
    with pytest.raises(UnsupportedError, match="mixtures of experts"):
        checkpoint("llama", LLAMA, ("llama.expert_count", make.U32, 8))
    assert checkpoint("llama", LLAMA, ("general.type", make.TEXT, "model")).tensors


def test_an_unknown_architecture_opens_and_is_refused_by_name():
    opened = checkpoint("mamba", [])
    assert opened.config["model_type"] == "mamba"
    with pytest.raises(UnsupportedError, match="architecture 'mamba' is not supported"):
        models.build(opened.config, opened.tensors)


def test_a_tensor_that_the_program_does_not_run_is_not_overlooked():
    opened = checkpoint("llama", [*LLAMA, ("blk.0.attn_q_norm.weight", "F32", (16,))])
    assert "model.layers.0.attn_q_norm.weight" in opened.tensors
    with pytest.raises(UnsupportedError, match="has no place in this architecture"):
        models.build(opened.config, opened.tensors)


def test_two_names_of_one_weight():
    with pytest.raises(ModelFileError, match="are the same weight"):
        checkpoint("llama", [*LLAMA, ("model.norm.weight", "F32", (32,))])


def test_numbers_that_models_judge():
    """A size of 0 passes translation and is refused by name when the program is built."""
    opened = checkpoint("llama", LLAMA, ("llama.block_count", make.U32, 0))
    with pytest.raises(ModelFileError, match="num_hidden_layers = 0"):
        models.build(opened.config, opened.tensors)
    opened = checkpoint("llama", LLAMA, ("llama.attention.head_count", make.U32, 0))
    with pytest.raises(ModelFileError, match="num_attention_heads = 0"):
        models.build(opened.config, opened.tensors)


def test_the_real_smollm2(smollm2):
    with open_checkpoint(smollm2) as opened:
        assert opened.config["model_type"] == "llama"
        assert opened.config["num_key_value_heads"] == 3
        assert opened.config["rms_norm_eps"] == 1e-5
        assert opened.config["tie_word_embeddings"] is True
        assert len(opened.tensors) == 272
        assert (
            sum(tensor.nbytes for tensor in opened.tensors.values())
            == smollm2.stat().st_size - 1_785_664
        )
        program = models.build(opened.config, opened.tensors)
        assert program.parameters == 134_515_008
        assert "<|im_start|>" in (opened.chat_template or "")


def test_the_real_phi3_vocabulary(test_data):
    with open_checkpoint(test_data / "tokenizer" / "ggml-vocab-phi-3.gguf") as opened:
        config = opened.config
        assert (config["hidden_size"], config["num_hidden_layers"]) == (3072, 32)
        assert (config["head_dim"], config["vocab_size"]) == (96, 32064)
        assert "sliding_window" not in config
        assert opened.generation_config == {"eos_token_id": [32000]}
        assert len(opened.metadata["tokenizer.ggml.tokens"]) == 32064
        assert opened.metadata["tokenizer.ggml.tokens"][32010] == "<|user|>"
