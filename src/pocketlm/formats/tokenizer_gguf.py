"""The vocabulary of a GGUF file, from its metadata.

Knows the `tokenizer.ggml.*` keys. The metadata comes from `formats.gguf`; nothing of it is
trusted.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pocketlm.errors import ModelFileError, UnsupportedError
from pocketlm.formats.tokenizer_pre import pre_tokenizer
from pocketlm.formats.tokenizer_vocabulary import (
    SPACE,
    Kind,
    Vocabulary,
    check_size,
    merges_from_scores,
    missing_strips,
)

_KEY = "tokenizer.ggml."


def read_gguf(metadata: Mapping[str, Any]) -> Vocabulary:
    """The vocabulary of a GGUF file's metadata.

    Raises ModelFileError for values that cannot be, UnsupportedError for a kind of tokenizer or a
    pre-tokenizer that pocketlm does not know, by its name.
    """
    model = metadata.get(_KEY + "model")
    if model == "llama":
        vocabulary = _sentencepiece(metadata)
    elif model == "gpt2":
        vocabulary = _byte_level(metadata)
    elif model is None:
        raise ModelFileError("the file holds no tokenizer (tokenizer.ggml.model is missing)")
    else:
        raise UnsupportedError(
            f"the file's tokenizer {str(model)[:40]!r} is not one that pocketlm knows: llama, gpt2"
        )
    for name, key in (
        ("bos_id", "bos_token_id"),
        ("eos_id", "eos_token_id"),
        ("pad_id", "padding_token_id"),
        ("unk_id", "unknown_token_id"),
        ("eot_id", "eot_token_id"),
    ):
        setattr(vocabulary, name, _integer(metadata, key))
    vocabulary.add_bos = _boolean(metadata, "add_bos_token", vocabulary.add_bos)
    vocabulary.check()
    if model == "llama":
        scores = _numbers(metadata, "scores", len(vocabulary.tokens))
        vocabulary.merges = merges_from_scores(vocabulary.tokens, vocabulary.kinds, scores)
        vocabulary.strips = missing_strips(vocabulary)
    return vocabulary


def _sentencepiece(metadata: Mapping[str, Any]) -> Vocabulary:
    tokens = _texts(metadata, "tokens")
    return Vocabulary(
        tokens,
        _kinds(metadata, len(tokens)),
        merges=[],
        byte_level=False,
        add_bos=True,
        prefix="always" if _boolean(metadata, "add_space_prefix", True) else "never",
        normalizer={"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
        byte_fallback=True,
        fuse_unk=True,
    )


def _byte_level(metadata: Mapping[str, Any]) -> Vocabulary:
    tokens = _texts(metadata, "tokens")
    name = metadata.get(_KEY + "pre", "default")
    pre = pre_tokenizer(str(name))
    merges = []
    for index, merge in enumerate(_texts(metadata, "merges")):
        left, _, right = merge.partition(" ")
        if not left or not right or " " in right:
            raise ModelFileError(f"merge {index} is {merge[:60]!r}, expected two pieces")
        merges.append((left, right))
    return Vocabulary(
        tokens,
        _kinds(metadata, len(tokens)),
        merges,
        byte_level=True,
        add_bos=pre.add_bos,
        normalizer=pre.normalizer,
        pre_tokenizer=pre.pre_tokenizer,
        ignore_merges=pre.ignore_merges,
    )


def _kinds(metadata: Mapping[str, Any], count: int) -> list[int]:
    if _KEY + "token_type" not in metadata:
        return [int(Kind.NORMAL)] * count
    kinds = _numbers(metadata, "token_type", count)
    if not all(type(kind) is int for kind in kinds):
        raise ModelFileError("tokenizer.ggml.token_type does not hold integers")
    return list(kinds)  # ours: the check of the vocabulary sharpens them


def _texts(metadata: Mapping[str, Any], key: str) -> list[str]:
    value = metadata.get(_KEY + key)
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise ModelFileError(f"{_KEY}{key} is not an array of strings")
    check_size(max(len(value), 1))
    texts = list(value)
    if not all(type(text) is str for text in texts):
        raise ModelFileError(f"{_KEY}{key} is not an array of strings")
    return texts


def _numbers(metadata: Mapping[str, Any], key: str, count: int) -> list[Any]:
    value = metadata.get(_KEY + key)
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list) or not all(type(number) in (int, float) for number in value):
        raise ModelFileError(f"{_KEY}{key} is not an array of numbers")
    if len(value) != count:
        raise ModelFileError(f"{_KEY}{key} has {len(value)} numbers for {count} tokens")
    return value


def _integer(metadata: Mapping[str, Any], key: str) -> int | None:
    value = metadata.get(_KEY + key)
    if value is not None and type(value) is not int:
        raise ModelFileError(f"{_KEY}{key} is {str(value)[:40]!r}, expected an integer")
    return value


def _boolean(metadata: Mapping[str, Any], key: str, default: bool) -> bool:
    value = metadata.get(_KEY + key, default)
    if type(value) is not bool:
        raise ModelFileError(f"{_KEY}{key} is {str(value)[:40]!r}, expected true or false")
    return value
