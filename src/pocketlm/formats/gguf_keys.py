"""The hub's configuration and tokenizer in GGUF's words: what `gguf_config` and
`tokenizer_gguf` read, written.

Keys are those of llama.cpp's converter, so that llama.cpp opens the file. It knows what GGUF
cannot say: `losses` names what of a tokenizer gets lost, and what would be wrong is refused.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pocketlm.errors import ModelFileError, UnsupportedError
from pocketlm.formats.gguf_writer import Value
from pocketlm.formats.tokenizer import END_SPELLINGS
from pocketlm.formats.tokenizer_pre import name_of
from pocketlm.formats.tokenizer_vocabulary import (
    SPACE,
    Kind,
    Vocabulary,
    merges_from_scores,
    missing_strips,
)

#: GGUF's architecture by the hub's `model_type`.
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "phi3": "phi3", "qwen2": "qwen2"}

#: `general.file_type` by element type.
FILE_TYPES = {"F32": 0, "F16": 1, "BF16": 32}

_REPLACES_SPACE = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
_METASPACE = {
    "type": "Metaspace",
    "replacement": SPACE,
    "prepend_scheme": "never",
    "split": False,
}


def architecture_keys(config: Mapping[str, Any]) -> dict[str, Value]:
    """The keys of an architecture.

    `config` has the form that `gguf_config.hub_config` gives; rotary factors, which are tensors in
    GGUF, are left aside.
    """
    arch = ARCHITECTURES[config["model_type"]]
    hidden, heads, head_dim = (
        config[key] for key in ("hidden_size", "num_attention_heads", "head_dim")
    )
    rope = config["rope_parameters"]
    keys: dict[str, Value] = {
        "block_count": config["num_hidden_layers"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": hidden,
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": heads,
        "attention.head_count_kv": config["num_key_value_heads"],
        "attention.layer_norm_rms_epsilon": float(config["rms_norm_eps"]),
        "vocab_size": config["vocab_size"],
        "rope.dimension_count": int(head_dim * config.get("partial_rotary_factor", 1.0)),
        "rope.freq_base": float(rope["rope_theta"]),
    }
    if head_dim * heads != hidden:
        keys |= {"attention.key_length": head_dim, "attention.value_length": head_dim}
    if arch == "phi3":
        # No key at all would mean an early file, with the window that its model has.
        keys["attention.sliding_window"] = config.get("sliding_window") or 0
        keys["rope.scaling.original_context_length"] = (
            config.get("original_max_position_embeddings") or config["max_position_embeddings"]
        )
    if rope["rope_type"] == "linear":
        keys |= {"rope.scaling.type": "linear", "rope.scaling.factor": float(rope["factor"])}
    if "attention_factor" in rope:
        keys["rope.scaling.attn_factor"] = float(rope["attention_factor"])
    return {
        "general.architecture": arch,
        "general.type": "model",
        **{f"{arch}.{key}": value for key, value in keys.items()},
    }


def tokenizer_keys(vocabulary: Vocabulary, rows: int, ends: Sequence[int]) -> dict[str, Value]:
    """The keys of a tokenizer whose model has an embedding of `rows` rows.

    `ends` are the tokens that end an answer, by the hub's generation_config.json. Raises
    UnsupportedError for a tokenizer that GGUF cannot express.
    """
    tokens, kinds = list(vocabulary.tokens), list(vocabulary.kinds)
    if len(tokens) > rows:
        raise ModelFileError(f"the tokenizer has {len(tokens)} tokens, the embedding {rows} rows")
    tokens += [""] * (rows - len(tokens))
    kinds += [Kind.UNUSED] * (rows - len(kinds))
    # llama.cpp wants spellings that differ.
    tokens = [token or f"[PAD{id}]" for id, token in enumerate(tokens)]
    keys: dict[str, Value] = {"tokens": tokens}
    if vocabulary.byte_level:
        pre = name_of(vocabulary.pre_tokenizer, vocabulary.normalizer, vocabulary.ignore_merges)
        if pre is None or vocabulary.prefix != "never":
            raise UnsupportedError("GGUF has no name for how this tokenizer cuts text into words")
        keys |= {"model": "gpt2", "pre": pre}
        keys["merges"] = [f"{left} {right}" for left, right in vocabulary.merges]
    else:
        _check_sentencepiece(vocabulary)
        keys |= {"model": "llama", "pre": "default"}
        keys["scores"] = np.array(_scores(vocabulary, rows), np.float32)
        keys["add_space_prefix"] = vocabulary.prefix != "never"
        if vocabulary.unk_id is not None:
            kinds[vocabulary.unk_id] = Kind.UNKNOWN
    keys["token_type"] = np.array(kinds, np.int32)
    eos = vocabulary.eos_id if vocabulary.eos_id is not None else next(iter(ends), None)
    others = [id for id in ends if id != eos and id < len(tokens)]
    # Of what else ends an answer, first what says so by its name.
    eot, eom, *_ = *sorted(others, key=lambda id: tokens[id] not in END_SPELLINGS), None, None
    ids = {
        "bos_token_id": vocabulary.bos_id,
        "eos_token_id": eos,
        "eot_token_id": vocabulary.eot_id if vocabulary.eot_id is not None else eot,
        "eom_token_id": eom,
        "unknown_token_id": vocabulary.unk_id,
        "padding_token_id": vocabulary.pad_id,
    }
    keys |= {name: id for name, id in ids.items() if id is not None}
    keys["add_bos_token"] = vocabulary.add_bos
    keys["add_eos_token"] = False
    return {f"tokenizer.ggml.{key}": value for key, value in keys.items()}


def losses(vocabulary: Vocabulary) -> list[str]:
    """What GGUF cannot say of a tokenizer, so that ids can differ there: one line each."""
    found = []
    if vocabulary.prefix == "first" or (
        vocabulary.prefix == "always" and not vocabulary.prefix_doubles
    ):
        found.append(
            "GGUF cannot say when this tokenizer puts no space before a text: ids after control"
            " tokens can differ"
        )
    strips = {id: strip for id, strip in vocabulary.strips.items() if id < len(vocabulary.tokens)}
    lost = [vocabulary.tokens[id] for id in strips.keys() - missing_strips(vocabulary).keys()]
    if lost:
        found.append(
            f"GGUF cannot say that {', '.join(sorted(lost)[:4])} swallow the whitespace beside them"
        )
    return found


def _check_sentencepiece(vocabulary: Vocabulary) -> None:
    """Refuse what llama.cpp's SentencePiece (GGUF's "llama") would do otherwise."""
    components = [
        part
        for whole in (vocabulary.normalizer, vocabulary.pre_tokenizer)
        if whole is not None
        for part in whole.get("normalizers", whole.get("pretokenizers", [whole]))
    ]
    if components not in ([_REPLACES_SPACE], [_METASPACE]):
        kinds = ", ".join(part["type"] for part in components) or "nothing"
        raise UnsupportedError(f"GGUF cannot express this tokenizer: it prepares text by {kinds}")
    if not vocabulary.byte_fallback:
        raise UnsupportedError("GGUF cannot express this tokenizer: it has no tokens for bytes")


def _scores(vocabulary: Vocabulary, rows: int) -> list[float]:
    """SentencePiece's scores; without the file's own, such as give the same merges."""
    if vocabulary.scores:
        scores = list(vocabulary.scores[:rows])
        return scores + [0.0] * (rows - len(scores))
    ids = {token: id for id, token in enumerate(vocabulary.tokens)}
    groups = _tied(vocabulary.merges)
    scores = [0.0] * rows
    # What is made sooner scores higher; what no merge makes is found or is not, whatever it scores.
    for rank, group in enumerate(groups):
        for left, right in group:
            scores[ids[left + right]] = -float(rank + 1)
    made = merges_from_scores(vocabulary.tokens, vocabulary.kinds, scores[: len(ids)])
    if _tied(made) != groups:
        raise UnsupportedError(
            "GGUF cannot express this tokenizer: its merges do not follow from an order of tokens"
        )
    return scores


def _tied(merges: Sequence[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """The merges in groups, one for each score that SentencePiece would give.

    All ways to make a token have its score, so a group begins where no token of the last one is
    made any more. A group of one token is sorted: its ways come in one order or another, and
    SentencePiece takes the leftmost.
    """
    last = {left + right: index for index, (left, right) in enumerate(merges)}
    groups: list[list[tuple[str, str]]] = []
    end = -1
    for index, (left, right) in enumerate(merges):
        if index > end:
            groups.append([])
        groups[-1].append((left, right))
        end = max(end, last[left + right])
    return [
        sorted(group) if len({left + right for left, right in group}) == 1 else group
        for group in groups
    ]
