"""Independent references for the tokenizers: SentencePiece itself, and `tokenizers` whole.

Both are made from the vocabulary of a GGUF file as the `gguf` package reads it, and find added
tokens by their own means.
"""

import json
import struct
from pathlib import Path

import sentencepiece
import tokenizers
from gguf import GGUFReader

PHI_3_ADDED = range(32000, 32011)
NOT_STRIPPING = {"<unk>", "<s>", "<|endoftext|>"}


class Vocab:
    """The tokenizer fields of a GGUF file."""

    def __init__(self, path: Path) -> None:
        fields = GGUFReader(path).fields

        def get(key, default=None):
            key = "tokenizer.ggml." + key
            return fields[key].contents() if key in fields else default

        self.tokens: list[str] = get("tokens")
        self.types: list[int] = get("token_type")
        self.scores: list[float] = get("scores")
        self.merges: list[str] = get("merges")
        self.template: str = fields["tokenizer.chat_template"].contents()


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def model_proto(
    vocab: Vocab, count: int = 32000, *, model_type: int = 2, extra_spaces: int = 0
) -> bytes:
    """A `tokenizer.model`: the first `count` pieces, BPE with byte fallback, as LLaMA's is."""
    types = [2, 3, 3, *vocab.types[3:count]]
    pieces = b"".join(
        _field(1, _field(1, token.encode()) + b"\x15" + struct.pack("<f", score) + _field(3, type))
        for token, score, type in zip(vocab.tokens, vocab.scores, types, strict=False)
    )
    trainer = _field(3, model_type) + _field(35, 1)
    trainer += _field(40, 0) + _field(41, 1) + _field(42, 2) + _field(43, -1)
    normalizer = _field(1, b"identity") + _field(3, 1) + _field(4, extra_spaces) + _field(5, 1)
    return pieces + _field(2, trainer) + _field(3, normalizer)


def sentencepiece_reference(vocab: Vocab) -> sentencepiece.SentencePieceProcessor:
    """SentencePiece on the LLaMA part of Phi-3's vocabulary."""
    return sentencepiece.SentencePieceProcessor(model_proto=model_proto(vocab))


def phi_3_json(vocab: Vocab) -> dict:
    """Phi-3's `tokenizer.json`, in the form that the hub's file has."""
    pieces = {token: id for id, token in enumerate(vocab.tokens[:32000])}
    ranked = sorted(range(259, 32000), key=lambda id: -vocab.scores[id])
    merges = []
    for id in ranked:
        token = vocab.tokens[id]
        cuts = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        ways = [(a, b) for a, b in cuts if a in pieces and b in pieces]
        merges += sorted(ways, key=lambda way: (pieces[way[0]], pieces[way[1]]))
    added = [
        {
            "id": id,
            "content": vocab.tokens[id],
            "single_word": False,
            "lstrip": False,
            "rstrip": vocab.tokens[id] not in NOT_STRIPPING,
            "normalized": False,
            "special": id != 2,
        }
        for id in (0, 1, 2, *PHI_3_ADDED)
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": pieces,
            "merges": [list(merge) for merge in merges],
        },
    }


def smollm2_json(vocab: Vocab) -> dict:
    """SmolLM2's `tokenizer.json`, in the form that the hub's file has."""
    byte_level = {"add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": id,
                "content": vocab.tokens[id],
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for id, type in enumerate(vocab.types)
            if type == 3
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {"type": "ByteLevel", **byte_level},
            ],
        },
        "post_processor": None,
        "decoder": {"type": "ByteLevel", **byte_level},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {token: id for id, token in enumerate(vocab.tokens)},
            "merges": vocab.merges,
        },
    }


def fast(file: dict) -> tokenizers.Tokenizer:
    """The library's own tokenizer of a `tokenizer.json`, added tokens and all."""
    return tokenizers.Tokenizer.from_str(json.dumps(file))
