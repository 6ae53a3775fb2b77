"""The vocabulary of a hub folder: `tokenizer.json`, or `tokenizer.model` with its configuration.

Knows the files of the hub and what of them a tokenizer is made of. It takes from `tokenizer.json`
the parts it knows and refuses others by name; patterns are never run unless they are known ones,
since a pattern from a file can keep a matcher busy for ever.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pocketlm.errors import ModelFileError, UnsupportedError
from pocketlm.formats.checkpoint import naming
from pocketlm.formats.config import parse_object
from pocketlm.formats.tokenizer_pre import KNOWN_PATTERNS, Component
from pocketlm.formats.tokenizer_vocabulary import (
    BYTE_TOKEN,
    MAX_TOKENS,
    SPACE,
    Kind,
    Strip,
    Vocabulary,
    check_size,
    missing_strips,
)

#: The largest real tokenizer.json (Gemma's) holds 33 MB; each merge is up to three values.
_MAX_BYTES = 1 << 26
_MAX_VALUES = 1 << 22

_NORMALIZERS = ("NFC", "NFD", "NFKC", "NFKD", "Prepend", "Replace")
_PRE_TOKENIZERS = ("ByteLevel", "Digits", "Metaspace", "Split")


def read_folder(folder: Path) -> Vocabulary:
    """The vocabulary of a folder; its `tokenizer.json` wins over its `tokenizer.model`.

    Raises ModelFileError for a missing or impossible file, UnsupportedError for a kind of tokenizer
    that pocketlm does not know, by its name.
    """
    config = _object(folder / "tokenizer_config.json") or {}
    fast = _object(folder / "tokenizer.json")
    added = _added_in_config(config)
    if fast is not None:
        vocabulary = _from_json(fast, added)
    elif (folder / "tokenizer.model").is_file():
        vocabulary = _from_model(folder, added)
    else:
        raise ModelFileError(f"{folder} holds no tokenizer.json and no tokenizer.model")
    spellings = {**(_object(folder / "special_tokens_map.json") or {}), **config}
    ids = {token: id for id, token in enumerate(vocabulary.tokens)}
    for name in ("bos", "eos", "pad", "unk"):
        spelling = _spelling(spellings.get(f"{name}_token"))
        if spelling in ids:
            setattr(vocabulary, f"{name}_id", ids[spelling])
            if name in ("bos", "eos"):
                vocabulary.kinds[ids[spelling]] = Kind.CONTROL
    if type(config.get("add_bos_token")) is bool:
        vocabulary.add_bos = config["add_bos_token"]
    vocabulary.check()
    if fast is None:
        vocabulary.strips = {**missing_strips(vocabulary), **vocabulary.strips}
    return vocabulary


class _Added:
    """One added token: `added_tokens` of tokenizer.json, `added_tokens_decoder` of the config."""

    def __init__(self, id: object, entry: object) -> None:
        if isinstance(id, str) and id.isascii() and id.isdigit() and len(id) < 10:
            id = int(id)
        if type(id) is not int or not 0 <= id < MAX_TOKENS:
            raise ModelFileError(f"an added token has the id {str(id)[:40]!r}")
        if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
            raise ModelFileError(f"the added token {id} has no content")
        if entry.get("single_word") is True:
            raise UnsupportedError(f"the added token {id} asks for single_word matching")
        self.id = id
        self.content: str = entry["content"]
        self.strip = Strip(entry.get("lstrip") is True, entry.get("rstrip") is True)
        self.kind = Kind.CONTROL if entry.get("special") is True else Kind.USER_DEFINED
        self.raw = entry.get("normalized") is not True


def _added_in_config(config: Mapping[str, Any]) -> list[_Added]:
    entries = config.get("added_tokens_decoder") or {}
    if not isinstance(entries, dict):
        raise ModelFileError("tokenizer_config.json: added_tokens_decoder is not an object")
    return [_Added(id, entry) for id, entry in entries.items()]


def _apply(added: Iterable[_Added], vocabulary: Vocabulary) -> None:
    """Put added tokens into the vocabulary; rows between it and them are padding."""
    strips: dict[int, Strip] = {}
    raw: set[int] = set()
    for token in sorted(added, key=lambda token: token.id):
        missing = token.id + 1 - len(vocabulary.tokens)
        vocabulary.tokens += [""] * missing
        vocabulary.kinds += [Kind.UNUSED] * missing
        vocabulary.tokens[token.id] = token.content
        vocabulary.kinds[token.id] = token.kind
        strips.pop(token.id, None)
        raw.discard(token.id)
        if token.strip != Strip():
            strips[token.id] = token.strip
        if token.raw:
            raw.add(token.id)
    vocabulary.strips = strips
    vocabulary.raw = frozenset(raw)


def _from_json(file: Mapping[str, Any], config_added: list[_Added]) -> Vocabulary:
    model = file.get("model")
    if not isinstance(model, dict):
        raise ModelFileError("tokenizer.json has no model")
    if model.get("type", "BPE") != "BPE":
        raise UnsupportedError(
            f"tokenizer.json: the model is {str(model['type'])[:40]!r}, pocketlm knows BPE"
        )
    for option in ("continuing_subword_prefix", "end_of_word_suffix", "dropout"):
        if model.get(option):
            raise UnsupportedError(f"tokenizer.json: the model's {option} is not supported")
    ids = model.get("vocab")
    if not isinstance(ids, dict):
        raise ModelFileError("tokenizer.json: the model's vocab is not an object")
    check_size(max(len(ids), 1), sum(map(len, ids)))
    tokens = [""] * len(ids)
    for token, id in ids.items():
        if type(id) is not int or not 0 <= id < MAX_TOKENS:
            raise ModelFileError(f"tokenizer.json: token {token[:40]!r} has the id {str(id)[:40]}")
        if id >= len(tokens):
            tokens += [""] * (id + 1 - len(tokens))
        if tokens[id]:
            raise ModelFileError(f"tokenizer.json: two tokens have the id {id}")
        tokens[id] = token
    byte_fallback = model.get("byte_fallback") is True
    kinds = [
        Kind.BYTE
        if byte_fallback and BYTE_TOKEN.fullmatch(token)
        else Kind.NORMAL
        if token
        else Kind.UNUSED
        for token in tokens
    ]
    vocabulary = Vocabulary(
        tokens,
        [int(kind) for kind in kinds],
        merges=list(_merges(model.get("merges"))),
        byte_level=False,
        byte_fallback=byte_fallback,
        fuse_unk=model.get("fuse_unk") is True,
        ignore_merges=model.get("ignore_merges") is True,
    )
    unknown = model.get("unk_token")
    if isinstance(unknown, str) and type(ids.get(unknown)) is int:
        vocabulary.unk_id = ids[unknown]
        vocabulary.kinds[ids[unknown]] = Kind.UNKNOWN
    added = file.get("added_tokens") or []
    if not isinstance(added, list) or not all(isinstance(entry, dict) for entry in added):
        raise ModelFileError("tokenizer.json: added_tokens is not an array of objects")
    _apply([*(_Added(entry.get("id"), entry) for entry in added), *config_added], vocabulary)
    _components(file, vocabulary)
    vocabulary.add_bos = _begins_with_special(file.get("post_processor"))
    return vocabulary


def _merges(merges: object) -> Iterator[tuple[str, str]]:
    if not isinstance(merges, list):
        raise ModelFileError("tokenizer.json: the model's merges are not an array")
    for index, merge in enumerate(merges):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if (
            not isinstance(pair, list)
            or len(pair) != 2
            or not all(isinstance(part, str) and part for part in pair)
        ):
            raise ModelFileError(f"tokenizer.json: merge {index} is not two pieces")
        yield pair[0], pair[1]


def _components(file: Mapping[str, Any], vocabulary: Vocabulary) -> None:
    """Take over normalizer and pre-tokenizer; what they say of SentencePiece's space is ours."""
    normalizers = list(_flat(file.get("normalizer"), "normalizers", _NORMALIZERS))
    kept: list[Component] = []
    for part in normalizers:
        if part["type"] == "Prepend":
            if part.get("prepend") != SPACE:
                raise UnsupportedError("tokenizer.json: a normalizer prepends something but ▁")
            vocabulary.prefix = "always"
        elif part["type"] == "Replace" and not _is_string_pattern(part.get("pattern")):
            raise UnsupportedError("tokenizer.json: a normalizer replaces by a pattern")
        elif part["type"] == "Replace" and _grows(part):
            raise UnsupportedError("tokenizer.json: a normalizer replaces something by more")
        else:
            kept.append(part)
    vocabulary.normalizer = {"type": "Sequence", "normalizers": kept} if kept else None

    kept = []
    for part in _flat(file.get("pre_tokenizer"), "pretokenizers", _PRE_TOKENIZERS):
        if part["type"] == "ByteLevel":
            if vocabulary.byte_level:
                # Each doubles the text: a row of them is a way to fill the memory.
                raise UnsupportedError("tokenizer.json: more than one ByteLevel")
            vocabulary.byte_level = True
        elif part["type"] == "Split" and not _is_string_pattern(part.get("pattern")):
            pattern = part.get("pattern")
            regex = pattern.get("Regex") if isinstance(pattern, dict) else None
            if regex not in KNOWN_PATTERNS:
                raise UnsupportedError(
                    "tokenizer.json: the pre-tokenizer's pattern is not one that pocketlm knows: "
                    f"{str(regex)[:60]!r}"
                )
        elif part["type"] == "Metaspace":
            scheme = part.get("prepend_scheme", "always")
            if part.get("add_prefix_space") is False:
                scheme = "never"
            if scheme not in ("always", "first", "never") or part.get("replacement") != SPACE:
                raise UnsupportedError("tokenizer.json: a Metaspace of an unknown form")
            vocabulary.prefix = scheme
            vocabulary.prefix_doubles = False
            split = part.get("split") is not False
            part = {
                "type": "Metaspace",
                "replacement": SPACE,
                "prepend_scheme": "never",
                "split": split,
            }
        kept.append(part)
    vocabulary.pre_tokenizer = {"type": "Sequence", "pretokenizers": kept} if kept else None


def _flat(component: object, parts: str, known: tuple[str, ...]) -> Iterator[Component]:
    """A component as the list of its simple ones (a Sequence holds no Sequence)."""
    if component is None:
        return
    if not isinstance(component, dict):
        raise ModelFileError("tokenizer.json: a component is not an object")
    inner = component.get(parts) if component.get("type") == "Sequence" else [component]
    if not isinstance(inner, list):
        raise ModelFileError("tokenizer.json: a Sequence without its parts")
    for part in inner:
        if not isinstance(part, dict) or part.get("type") not in known:
            name = part.get("type") if isinstance(part, dict) else part
            raise UnsupportedError(
                f"tokenizer.json: pocketlm knows no {str(name)[:40]!r} among {parts}, only "
                + ", ".join(known)
            )
        yield part


def _grows(replacement: Component) -> bool:
    """Whether a Replace makes texts longer, which a row of them would do without bound."""
    pattern, content = replacement["pattern"]["String"], replacement.get("content")
    return not isinstance(content, str) or not pattern or len(content) > len(pattern)


def _is_string_pattern(pattern: object) -> bool:
    return isinstance(pattern, dict) and isinstance(pattern.get("String"), str)


def _begins_with_special(processor: object) -> bool:
    """Whether a post-processor puts a special token before a text: the hub's form of add_bos."""
    if not isinstance(processor, dict):
        return False
    inner = processor.get("processors")
    if isinstance(inner, list):
        return any(_begins_with_special(part) for part in inner if part is not processor)
    single = processor.get("single")
    return isinstance(single, list) and bool(single) and "SpecialToken" in single[0]


def _from_model(folder: Path, config_added: list[_Added]) -> Vocabulary:
    from pocketlm.formats.tokenizer_sentencepiece import read_sentencepiece

    vocabulary = read_sentencepiece(_bytes(folder / "tokenizer.model"))
    listed = _object(folder / "added_tokens.json") or {}
    named = [_Added(id, {"content": spelling, "special": True}) for spelling, id in listed.items()]
    _apply([*named, *config_added], vocabulary)
    return vocabulary


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ModelFileError(f"{path} is larger than {_MAX_BYTES >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}") from None


def _object(path: Path) -> dict[str, Any] | None:
    """A JSON file that holds an object; None where there is no such file."""
    if not path.is_file():
        return None
    data = _bytes(path)
    with naming(path):
        return parse_object(data, _MAX_VALUES)


def _spelling(value: object) -> str | None:
    """A token of `tokenizer_config.json`: its spelling, or an object with `content`."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None
