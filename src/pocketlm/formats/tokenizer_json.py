"""A vocabulary as the hub's tokenizer.json and tokenizer_config.json, as transformers reads them.

It knows the forms that `tokenizer_folder` reads back. Plain text becomes the same tokens there as
here; control tokens are found wherever they are spelled, as is transformers' way.
"""

from typing import Any

from pocketlm.errors import UnsupportedError
from pocketlm.formats.tokenizer_pre import BYTE_LEVEL
from pocketlm.formats.tokenizer_vocabulary import SPACE, Kind, Strip, Vocabulary


def tokenizer_json(vocabulary: Vocabulary) -> dict[str, Any]:
    """The contents of tokenizer.json. Raises UnsupportedError for what it cannot express."""
    tokens, kinds = vocabulary.tokens, vocabulary.kinds
    used = {token: id for id, token in enumerate(tokens) if kinds[id] != Kind.UNUSED}
    added = [
        _added(vocabulary, id)
        for id, kind in enumerate(kinds)
        if kind in (Kind.CONTROL, Kind.USER_DEFINED)
    ]
    unknown = vocabulary.unk_id
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": _normalizer(vocabulary),
        "pre_tokenizer": vocabulary.pre_tokenizer,
        "post_processor": _post_processor(vocabulary),
        "decoder": _decoder(vocabulary),
        "model": {
            "type": "BPE",
            "dropout": None,
            # Byte-level BPE has a token for each byte: an unknown one would only hide a fault.
            "unk_token": None if unknown is None or vocabulary.byte_level else tokens[unknown],
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": vocabulary.fuse_unk,
            "byte_fallback": vocabulary.byte_fallback,
            "ignore_merges": vocabulary.ignore_merges,
            "vocab": used,
            "merges": [list(merge) for merge in vocabulary.merges],
        },
    }


def tokenizer_config(
    vocabulary: Vocabulary, context: int, chat_template: str | None
) -> dict[str, Any]:
    """The contents of tokenizer_config.json."""
    config: dict[str, Any] = {
        # Reads tokenizer.json as it is, and adds nothing of its own.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        "add_bos_token": vocabulary.add_bos,
        "add_eos_token": False,
    }
    for name in ("bos", "eos", "pad", "unk"):
        id = getattr(vocabulary, f"{name}_id")
        if id is not None:
            config[f"{name}_token"] = vocabulary.tokens[id]
    if chat_template is not None:
        config["chat_template"] = chat_template
    return config


def _added(vocabulary: Vocabulary, id: int) -> dict[str, Any]:
    token, control = vocabulary.tokens[id], vocabulary.kinds[id] == Kind.CONTROL
    # After the normalizer, but for a space that is put before every text: tokens would get it too.
    normalized = not control and id not in vocabulary.raw
    if normalized and vocabulary.prefix != "never":
        if SPACE in token:
            raise UnsupportedError(f"tokenizer.json cannot express the token {token[:40]!r}")
        normalized = False
    strip = vocabulary.strips.get(id, Strip())
    return {
        "id": id,
        "content": token,
        "single_word": False,
        "lstrip": strip.left,
        "rstrip": strip.right,
        "normalized": normalized,
        "special": control,
    }


def _normalizer(vocabulary: Vocabulary) -> dict[str, Any] | None:
    whole = vocabulary.normalizer
    if vocabulary.prefix == "never" or vocabulary.byte_level:
        return None if whole is None else dict(whole)
    parts = [] if whole is None else whole.get("normalizers", [whole])
    prepend = {"type": "Prepend", "prepend": SPACE}
    return {"type": "Sequence", "normalizers": [prepend, *parts]}


def _post_processor(vocabulary: Vocabulary) -> dict[str, Any] | None:
    if not vocabulary.add_bos or vocabulary.bos_id is None:
        return None
    bos = vocabulary.tokens[vocabulary.bos_id]

    def text(name: str, type_id: int) -> list[dict[str, Any]]:
        return [
            {"SpecialToken": {"id": bos, "type_id": type_id}},
            {"Sequence": {"id": name, "type_id": type_id}},
        ]

    return {
        "type": "TemplateProcessing",
        "single": text("A", 0),
        "pair": text("A", 0) + text("B", 1),
        "special_tokens": {bos: {"id": bos, "ids": [vocabulary.bos_id], "tokens": [bos]}},
    }


def _decoder(vocabulary: Vocabulary) -> dict[str, Any]:
    if vocabulary.byte_level:
        return dict(BYTE_LEVEL)
    decoders: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if vocabulary.prefix != "never":
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {"type": "Sequence", "decoders": decoders}
