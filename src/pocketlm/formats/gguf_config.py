"""GGUF's words in the hub's: metadata keys to config.json, tensor names to hub names.

It knows both vocabularies, and that a value has the type that its key needs. It does not judge
sizes or refuse architectures: `models` does, the same way for every format.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pocketlm.errors import ModelFileError, UnsupportedError
from pocketlm.formats import checked, panels
from pocketlm.formats.checkpoint import Tensor
from pocketlm.formats.gguf import Texts

_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_qkv": "self_attn.qkv_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
#: Where an architecture's file means another thing by a name.
_OTHER_NAMES = {("phi3", "ffn_up"): "mlp.gate_up_proj"}

_NAME = re.compile(r"(?:blk\.(0|[1-9]\d{0,8})\.)?(.+?)(\.weight|\.bias)?", re.ASCII | re.DOTALL)

# The same in the other direction.
_STEMS = {hub: stem for stem, hub in _NAMES.items()}
_LAYER_STEMS = {hub: stem for stem, hub in _LAYER_NAMES.items()}
_OTHER_STEMS = {(kind, hub): stem for (kind, stem), hub in _OTHER_NAMES.items()}
_HUB_NAME = re.compile(
    r"(?:model\.layers\.(0|[1-9]\d{0,8})\.)?(.+?)(\.weight|\.bias)?", re.ASCII | re.DOTALL
)

_ARCHITECTURE = re.compile(r"[a-z0-9_.-]{1,64}", re.ASCII | re.IGNORECASE)

#: Tensors that hold rotary factors, which belong to the configuration.
ROPE_FACTORS = {
    "rope_freqs.weight": "frequency_factors",
    "rope_factors_short.weight": "short_factor",
    "rope_factors_long.weight": "long_factor",
}

#: Architectures whose converter reorders rows of q and k so that rotary pairs are neighbours.
ADJACENT_PAIRS = ("llama",)


class Keys:
    """Typed access to metadata. Each reader returns None where the key is absent.

    Raises ModelFileError, naming the key, for a value of another type.
    """

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        """Read from `metadata`."""
        self._metadata = metadata

    def count(self, key: str) -> int | None:
        """An integer. A list of one a layer will do where all are equal."""
        value = self._metadata.get(key)
        if isinstance(value, np.ndarray) and value.dtype.kind in "iu" and len(value):
            if value.min() != value.max():
                raise UnsupportedError(f"{key} differs from layer to layer, which is not supported")
            value = int(value[0])
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise self._wrong(key, value, "an integer")

    def number(self, key: str) -> float | None:
        """A finite number."""
        value = self._metadata.get(key)
        if value is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
        raise self._wrong(key, value, "a finite number")

    def text(self, key: str) -> str | None:
        """A string."""
        value = self._metadata.get(key)
        if value is None or isinstance(value, str):
            return value
        raise self._wrong(key, value, "a string")

    def texts(self, key: str) -> Texts | None:
        """An array of strings."""
        value = self._metadata.get(key)
        if value is None or isinstance(value, Texts):
            return value
        raise self._wrong(key, value, "an array of strings")

    @staticmethod
    def _wrong(key: str, value: object, expected: str) -> ModelFileError:
        held = f"{value!r:.40}" if isinstance(value, int | float | str) else "an array"
        return ModelFileError(f"{key} is {held}, expected {expected}")


def architecture(metadata: Mapping[str, Any]) -> str:
    """Return the model's architecture: the hub's `model_type` in all that pocketlm runs.

    Raises UnsupportedError for a file that holds no model (an adapter, a projector).
    """
    keys = Keys(metadata)
    kind = keys.text("general.type")
    if kind not in (None, "model"):
        raise UnsupportedError(f"the file holds no model, but one of type {checked.shown(kind)}")
    name = keys.text("general.architecture")
    if name is None:
        raise ModelFileError("metadata key general.architecture is missing")
    if _ARCHITECTURE.fullmatch(name) is None:
        raise ModelFileError(f"general.architecture is {checked.shown(name)}, which is no name")
    return name.removeprefix(panels.PREFIX)


def _rope_pairing(metadata: Mapping[str, Any]) -> str:
    """Which numbers of a head turn together: files with panels keep the hub's order."""
    return "adjacent" if metadata["general.architecture"] in ADJACENT_PAIRS else "half"


def hub_tensors(model_type: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors by their hub names, rotary factors left out; an unknown name stays."""
    renamed: dict[str, Tensor] = {}
    for tensor in tensors.values():
        if tensor.name in ROPE_FACTORS:
            continue
        name = hub_name(model_type, tensor.name)
        if name in renamed:
            raise ModelFileError(
                f"tensors {checked.shown(renamed[name].name)} and {checked.shown(tensor.name)}"
                " are the same weight"
            )
        renamed[name] = tensor
    return {
        name: Tensor(name, tensor.type, tensor.shape, tensor.data)
        for name, tensor in renamed.items()
    }


def hub_name(model_type: str, name: str) -> str:
    """Return the hub's name of what a GGUF file calls `name`; an unknown one stays."""
    match = _NAME.fullmatch(name)
    if match is None:
        return name
    layer, stem, suffix = match.groups("")
    if not layer:
        return _NAMES.get(stem, stem) + suffix
    # What a layer holds besides goes into the layer all the same, where its program misses it.
    part = _OTHER_NAMES.get((model_type, stem)) or _LAYER_NAMES.get(stem, stem)
    return f"model.layers.{layer}.{part}{suffix}"


def gguf_name(model_type: str, name: str) -> str:
    """Return the name that a GGUF file gives to the weight that the hub calls `name`."""
    match = _HUB_NAME.fullmatch(name)
    if match is None:
        return name
    layer, stem, suffix = match.groups("")
    if not layer:
        return _STEMS.get(stem, stem) + suffix
    part = _OTHER_STEMS.get((model_type, stem)) or _LAYER_STEMS.get(stem, stem)
    return f"blk.{layer}.{part}{suffix}"


def hub_config(metadata: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the configuration in the form of the hub's config.json.

    `tensors` have the file's names: rotary factors, the vocabulary's size and whether the head is
    tied to the embedding are read off them. A key that the file lacks is left out.
    """
    model_type = architecture(metadata)
    keys = Keys(metadata)

    def own(key: str) -> str:
        return f"{model_type}.{key}"

    if keys.count(own("expert_count")):
        raise UnsupportedError("mixtures of experts are not supported")
    hidden = keys.count(own("embedding_length"))
    heads = keys.count(own("attention.head_count"))
    head_dim = keys.count(own("attention.key_length"))
    if head_dim is None and hidden and heads and hidden % heads == 0:
        head_dim = hidden // heads
    if keys.count(own("attention.value_length")) not in (None, head_dim):
        raise UnsupportedError("keys and values of different lengths are not supported")
    vocabulary = keys.texts("tokenizer.ggml.tokens")
    embedding = tensors.get("token_embd.weight")

    config: dict[str, Any] = {
        "model_type": model_type,
        "vocab_size": _vocabulary_size(keys.count(own("vocab_size")), embedding, vocabulary),
        "max_position_embeddings": keys.count(own("context_length")),
        "original_max_position_embeddings": keys.count(own("rope.scaling.original_context_length")),
        "hidden_size": hidden,
        "intermediate_size": keys.count(own("feed_forward_length")),
        "num_hidden_layers": keys.count(own("block_count")),
        "num_attention_heads": heads,
        "num_key_value_heads": keys.count(own("attention.head_count_kv")),
        "head_dim": head_dim,
        "rms_norm_eps": keys.number(own("attention.layer_norm_rms_epsilon")),
        "sliding_window": keys.count(own("attention.sliding_window")),
        "partial_rotary_factor": _rotary_part(keys.count(own("rope.dimension_count")), head_dim),
        "rope_parameters": _rope_parameters(keys, own, tensors),
        "rope_pairing": _rope_pairing(metadata),
        **_special_ids(keys, vocabulary),
    }
    if tensors:
        config["tie_word_embeddings"] = "output.weight" not in tensors
    return {key: value for key, value in config.items() if value is not None}


def generation_config(config: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the file says of generation, in the form of the hub's generation_config.json."""
    keys = Keys(metadata)
    ends = (
        config.get("eos_token_id"),
        keys.count("tokenizer.ggml.eot_token_id"),
        keys.count("tokenizer.ggml.eom_token_id"),
    )
    listed = [token for token in dict.fromkeys(ends) if token is not None]
    return {"eos_token_id": listed} if listed else {}


def _vocabulary_size(
    stated: int | None, embedding: Tensor | None, vocabulary: Texts | None
) -> int | None:
    if stated is not None:
        return stated
    if embedding is not None:
        return embedding.shape[0]
    return None if vocabulary is None else len(vocabulary)


def _rotary_part(dimensions: int | None, head_dim: int | None) -> float | None:
    """The part of a head that is turned; None where it is the whole head."""
    if dimensions is None or not head_dim or head_dim == dimensions:
        return None
    if not 0 < dimensions < head_dim:
        raise ModelFileError(
            f"rope.dimension_count is {dimensions}, expected at most the head's {head_dim}"
        )
    part = dimensions / head_dim
    # Who multiplies back and rounds down must find the same number.
    return part if int(part * head_dim) == dimensions else math.nextafter(part, 1)


def _rope_parameters(
    keys: Keys, own: Callable[[str], str], tensors: Mapping[str, Tensor]
) -> dict[str, Any]:
    theta = keys.number(own("rope.freq_base"))
    parameters: dict[str, Any] = {"rope_theta": 10000.0 if theta is None else theta}
    for name, key in ROPE_FACTORS.items():
        if name in tensors:
            parameters[key] = _factors(tensors[name])
    kind = keys.text(own("rope.scaling.type"))
    factor = keys.number(own("rope.scaling.factor")) or keys.number(own("rope.scale_linear"))
    if "short_factor" in parameters or "long_factor" in parameters:
        kind = "longrope"
        attention_factor = keys.number(own("rope.scaling.attn_factor"))
        if attention_factor is not None:
            parameters["attention_factor"] = attention_factor
    elif kind in (None, "none"):
        # Older files give the factor of linear scaling alone.
        kind = "default" if kind or factor in (None, 1.0) else "linear"
    parameters["rope_type"] = kind
    if kind != "default" and factor is not None:
        parameters["factor"] = factor
    return parameters


def _factors(tensor: Tensor) -> list[float]:
    if tensor.type != "F32" or len(tensor.shape) != 1:
        raise ModelFileError(
            f"tensor {tensor.name!r} is {tensor.type} {list(tensor.shape)}, expected a list of F32"
        )
    factors: list[float] = tensor.data.view("<f4").tolist()
    return factors


def _special_ids(keys: Keys, vocabulary: Texts | None) -> dict[str, int | None]:
    ids = {}
    for role, name in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        key = f"tokenizer.ggml.{name}_token_id"
        token = keys.count(key)
        if token is not None and vocabulary is not None and not 0 <= token < len(vocabulary):
            raise ModelFileError(f"{key} is {token}, outside the vocabulary of {len(vocabulary)}")
        ids[f"{role}_token_id"] = token
    return ids
