"""Tiny hub folders with a tokenizer: random weights of transformers, a vocabulary of letters."""

import json
from pathlib import Path

import torch

from models import checkpoints
from pocketlm.formats.checkpoint import Checkpoint
from pocketlm.formats.tokenizer import _byte_of_character

_LETTERS = sorted(set(_byte_of_character()) - set("<>"), key=lambda c: (c > "~", c))[:140]
MERGES = [("a", "b"), ("ab", "c"), ("Ġ", "a"), ("Ġa", "b"), ("e", "r"), ("Ċ", "Ċ")]
TOKENS = ["<pad>", "<s>", "</s>", "Ġ", "Ċ", *(c for c in _LETTERS if c not in "ĠĊ")]
TOKENS += [left + right for left, right in MERGES] + ["<|end|>", "<tool>"]
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}<|end|>{% endfor %}"
TEXTS = ("", " ab abc", "Hello, 12 ers!\n\n<|end|> a<tool>b</s> <", "é abcabc\t")


def floats_of(checkpoint: Checkpoint) -> dict:
    """The tensors of a float32 checkpoint, as they are shaped."""
    return {n: t.data.view("<f4").reshape(t.shape) for n, t in checkpoint.tensors.items()}


def reader(stored: dict):
    """What reads a program's weight from them: float32 [rows, columns]."""

    def read(weight):
        rows = stored[weight.name].reshape(-1, weight.columns)
        return rows[weight.start : weight.start + weight.rows].copy()

    return read


def tokenizer_json() -> dict:
    """A byte-level tokenizer in SmolLM2's manner."""
    special = {"<pad>": True, "<s>": True, "</s>": True, "<|end|>": True, "<tool>": False}
    added = [
        {
            "id": TOKENS.index(token),
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": is_special,
        }
        for token, is_special in special.items()
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    digits = {"type": "Digits", "individual_digits": True}
    return {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [digits, {**byte_level, "use_regex": True}],
        },
        "post_processor": None,
        "decoder": {**byte_level, "use_regex": True},
        "model": {
            "type": "BPE",
            "vocab": {t: id for id, t in enumerate(TOKENS) if t not in special},
            "merges": [list(merge) for merge in MERGES],
        },
    }


def save(name: str, folder: Path, *, older: bool = False, dtype: torch.dtype = torch.float32):
    """A checkpoint of `checkpoints.CONFIGURATIONS` with this tokenizer."""
    checkpoints.save(name, folder, older=older, dtype=dtype)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json()))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "chat_template": TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
