"""How text is cut into words before byte-level BPE: the pre-tokenizers that GGUF files name.

Knows the names of `tokenizer.ggml.pre` and, for each, the normalizer and pre-tokenizer of the
original tokenizer, in the notation of `tokenizer.json`. Knows no vocabulary.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pocketlm.errors import UnsupportedError

#: One component of a `tokenizer.json` ("normalizer", "pre_tokenizer").
Component = Mapping[str, Any]

BYTE_LEVEL: Component = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": False,
}
#: ByteLevel with its own pattern, that of GPT-2 (Radford et al. 2019).
GPT_2: Component = {**BYTE_LEVEL, "use_regex": True}

_CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"


def _split(pattern: str) -> Component:
    split = {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }
    return {"type": "Sequence", "pretokenizers": [split, BYTE_LEVEL]}


def _words(digits: str) -> Component:
    """Llama 3's and Qwen2's pattern, which differ in how many digits make a word."""
    return _split(
        rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}"
        rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_SPACES}"
    )


def _cased_words(digits: str, ending: str) -> Component:
    """GPT-4o's and Mistral Nemo's pattern: a word begins at a change to capitals."""
    return _split(
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{ending}"
        rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{ending}"
        rf"|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"
    )


@dataclass(frozen=True)
class PreTokenizer:
    """What a name of `tokenizer.ggml.pre` stands for."""

    pre_tokenizer: Component
    normalizer: Component | None = None
    #: A word that is a token is taken whole, whatever the merges say (Llama 3, Mistral Nemo).
    ignore_merges: bool = False
    #: Whether a prompt begins with BOS where the file does not say.
    add_bos: bool = False


_GPT_2 = PreTokenizer(GPT_2)
_SMOLLM = PreTokenizer(
    {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, GPT_2]}
)
_LLAMA_3 = PreTokenizer(_words(r"\p{N}{1,3}"), ignore_merges=True, add_bos=True)
_GPT_4 = PreTokenizer(_words(r"\p{N}{1,3}"))
_QWEN_2 = PreTokenizer(_words(r"\p{N}"), normalizer={"type": "NFC"})
_GPT_4O = PreTokenizer(_cased_words(r"\p{N}{1,3}", _CONTRACTION + "?"))
_TEKKEN = PreTokenizer(_cased_words(r"\p{N}", ""), ignore_merges=True, add_bos=True)

_BY_NAME = {
    "default": _GPT_2,
    "gpt-2": _GPT_2,
    "phi-2": _GPT_2,
    "smollm": _SMOLLM,
    "starcoder": _SMOLLM,
    "llama3": _LLAMA_3,
    "llama-v3": _LLAMA_3,
    "llama-bpe": _LLAMA_3,
    "falcon3": _LLAMA_3,
    "dbrx": _GPT_4,
    "smaug-bpe": _GPT_4,
    "qwen2": _QWEN_2,
    "deepseek-r1-qwen": _QWEN_2,
    "gpt-4o": _GPT_4O,
    "tekken": _TEKKEN,
}


#: Every pattern that a tokenizer of this module splits by; they are known to take linear time.
KNOWN_PATTERNS = frozenset(
    part["pattern"]["Regex"]
    for known in _BY_NAME.values()
    for part in known.pre_tokenizer.get("pretokenizers", ())
    if part["type"] == "Split"
)


def pre_tokenizer(name: str) -> PreTokenizer:
    """The pre-tokenizer that GGUF calls `name`; raises UnsupportedError for an unknown one."""
    found = _BY_NAME.get(name)
    if found is None:
        known = ", ".join(sorted(_BY_NAME))
        raise UnsupportedError(
            f"the file's pre-tokenizer {name[:60]!r} is not one that pocketlm knows: {known}"
        )
    return found


#: Of names that stand for the same, those that are written.
_WRITTEN = ("gpt-2", "smollm", "llama-bpe", "dbrx", "qwen2", "gpt-4o", "tekken")
#: What of a component decides where words end; the rest of it is about offsets.
_ESSENCE = ("add_prefix_space", "use_regex", "individual_digits", "pattern", "behavior", "invert")


def name_of(
    pre_tokenizer: Component | None, normalizer: Component | None, ignore_merges: bool
) -> str | None:
    """The name that GGUF files have for such a tokenizer; None if they have none."""
    for name in _WRITTEN:
        known = _BY_NAME[name]
        if (
            _essence(pre_tokenizer) == _essence(known.pre_tokenizer)
            and _essence(normalizer) == _essence(known.normalizer)
            and ignore_merges == known.ignore_merges
        ):
            return name
    return None


def _essence(component: Component | None) -> list[dict[str, object]]:
    return [
        {"type": part["type"]} | {key: part[key] for key in _ESSENCE if key in part}
        for part in _parts(component)
    ]


def _parts(component: Component | None) -> Iterator[Component]:
    if component is None:
        return
    if component["type"] != "Sequence":
        yield component
        return
    for part in component.get("pretokenizers", component.get("normalizers", ())):
        yield from _parts(part)
