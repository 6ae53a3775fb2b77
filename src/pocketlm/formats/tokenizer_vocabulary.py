"""What a file says of its tokens, whichever the file, and the checks that it must pass.

Knows spellings, kinds, merges and flags. Does not know files, and encodes nothing.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from pocketlm.errors import ModelFileError
from pocketlm.formats.tokenizer_pre import Component

MAX_TOKENS = 1 << 20
MAX_CHARACTERS = 1 << 24  # of all spellings together; the largest real vocabularies hold 2 million
MAX_SPELLING = 1 << 12

SPACE = "▁"  # how SentencePiece spells a space

BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
# What added tokens look like that steer a model, flagged special or not: <|end|>, </s>, [INST].
_CONTROL = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]|<｜[^<>]+｜>")
# Spellings that converters give to the rows by which a matrix is larger than its vocabulary.
_PADDING = re.compile(r"\[PAD\d+\]|<dummy\d+>|\[UNUSED_TOKEN_\d+\]")


class Kind(IntEnum):
    """A token's type, numbered as in GGUF and in SentencePiece's model.proto."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Strip:
    """Which whitespace an added token swallows: on its left, on its right."""

    left: bool = False
    right: bool = False


@dataclass
class Vocabulary:
    """The tokens of a model and how text becomes them, as read from a file and then checked.

    `tokens[i]` is the spelling of id i; `kinds[i]` its Kind. `merges` are pairs of spellings, first
    to last. `byte_level` tells GPT-2's alphabet of bytes from SentencePiece's text with `▁`.
    """

    tokens: list[str]
    kinds: list[int]
    merges: list[tuple[str, str]]
    byte_level: bool
    #: SentencePiece's, where the file has them: those of the first tokens; the others were added.
    scores: Sequence[float] = ()
    bos_id: int | None = None
    eos_id: int | None = None
    pad_id: int | None = None
    unk_id: int | None = None
    eot_id: int | None = None
    add_bos: bool = False
    #: When a space is put before a run: "always", "first" (at the start of a text alone), "never".
    prefix: str = "never"
    #: Whether a run that begins with a space gets one all the same (SentencePiece: yes).
    prefix_doubles: bool = True
    normalizer: Component | None = None
    pre_tokenizer: Component | None = None
    byte_fallback: bool = False
    fuse_unk: bool = False
    ignore_merges: bool = False
    strips: Mapping[int, Strip] = field(default_factory=dict)
    #: User-defined tokens that are found before the normalizer runs (the others: after it).
    raw: frozenset[int] = frozenset()
    #: The tokens that steer the model, by spelling, once checked: those of the control type, and
    #: user-defined ones that look like it (`</s>`, `<tool_call>`), which a model may write as text.
    control: Mapping[str, int] = field(default_factory=dict)

    def check(self) -> None:
        """Find the padding and control tokens by spelling, and take their merges out.

        Raises ModelFileError for a token, id or number of tokens that cannot be.
        """
        tokens, kinds = self.tokens, self.kinds
        check_size(len(tokens), sum(map(len, tokens)))
        if len(kinds) != len(tokens):
            raise ModelFileError(
                f"the vocabulary has {len(tokens)} tokens and {len(kinds)} token types"
            )
        seen: dict[str, int] = {}
        others: list[int] = []
        for id, (token, kind) in enumerate(zip(tokens, kinds, strict=True)):
            if kind == Kind.NORMAL:
                if not token or len(token) > MAX_SPELLING:
                    raise ModelFileError(f"token {id} is {len(token)} characters long")
            else:
                kinds[id] = self._kind(id, token, kind)
                others.append(id)
            first = seen.setdefault(token, id)
            if first != id and token:
                raise ModelFileError(f"tokens {first} and {id} are both spelled {token[:40]!r}")
        for name in ("bos", "eos", "pad", "unk", "eot"):
            id = getattr(self, f"{name}_id")
            if id is not None and not 0 <= id < len(tokens):
                raise ModelFileError(
                    f"the {name} token is id {id}, and the vocabulary ends at {len(tokens) - 1}"
                )
        self.control = {
            tokens[id]: id
            for id in others
            if kinds[id] == Kind.CONTROL
            or (kinds[id] == Kind.USER_DEFINED and _CONTROL.fullmatch(tokens[id]))
        }
        apart = {tokens[id] for id in others if kinds[id] == Kind.UNUSED}.union(self.control)
        self.merges = [
            (left, right)
            for left, right in self.merges
            if left + right not in apart and left not in apart and right not in apart
        ]
        for left, right in self.merges:
            if left not in seen or right not in seen or left + right not in seen:
                raise ModelFileError(
                    f"the merge of {left[:40]!r} and {right[:40]!r} needs a token that is missing"
                )

    def _kind(self, id: int, token: str, kind: int) -> Kind:
        if not Kind.NORMAL <= kind <= Kind.BYTE:
            raise ModelFileError(f"token {id} has the unknown type {kind}")
        if kind == Kind.UNUSED or (_PADDING.fullmatch(token) and kind != Kind.CONTROL):
            return Kind.UNUSED
        if not token or len(token) > MAX_SPELLING:
            raise ModelFileError(f"token {id} is {len(token)} characters long")
        if kind == Kind.UNKNOWN:
            return Kind.CONTROL
        if kind == Kind.BYTE and not BYTE_TOKEN.fullmatch(token):
            raise ModelFileError(f"token {id} is of the byte type, and is spelled {token[:40]!r}")
        return Kind(kind)


def check_size(tokens: int, characters: int = 0) -> None:
    """Raise ModelFileError when a vocabulary is empty or beyond any that exists."""
    if not 0 < tokens <= MAX_TOKENS or characters > MAX_CHARACTERS:
        raise ModelFileError(
            f"the vocabulary has {tokens} tokens of {characters} characters; "
            f"sound ones have 1 to {MAX_TOKENS} of at most {MAX_CHARACTERS}"
        )


def byte_value(spelling: str) -> int:
    """The byte that a token of the byte type stands for."""
    match = BYTE_TOKEN.fullmatch(spelling)
    if match is None:
        raise ModelFileError(f"{spelling[:40]!r} is not the spelling of a byte token")
    return int(match[1], 16)


def merges_from_scores(
    tokens: Sequence[str], kinds: Sequence[int], scores: Sequence[float]
) -> list[tuple[str, str]]:
    """The merges that SentencePiece's BPE makes (Kudo and Richardson 2018), best first.

    SentencePiece joins whichever two neighbours make the piece of the highest score. So each way to
    cut a piece into two pieces is a merge of that score; ways of one score come in the order of
    their ids, as in the hub's converter. Raises ModelFileError for scores that are not finite.
    """
    if not all(map(math.isfinite, scores)):
        raise ModelFileError("a score of the vocabulary is not a finite number")
    ids = {
        token: id
        for id, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind == Kind.NORMAL
    }
    found: list[tuple[float, int, int, str, str]] = []
    for token, id in ids.items():
        for cut in range(1, len(token)):
            left = token[:cut]
            if left in ids:
                right = token[cut:]
                if right in ids:
                    found.append((-scores[id], ids[left], ids[right], left, right))
    found.sort()
    return [(left, right) for _, _, _, left, right in found]


_PHI_3_ROLES = ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>")


def missing_strips(vocabulary: Vocabulary) -> dict[int, Strip]:
    """The strip flags of Phi-3's tokens, for files that cannot hold them (GGUF).

    Phi-3's tokenizer strips the whitespace right of its role tokens, `</s>` included, and not of
    `<unk>`, `<s>` and `<|endoftext|>`. It is known by its tokens (a SentencePiece
    vocabulary with the four role tokens), whatever the model or file is called.
    """
    if vocabulary.byte_level or not set(_PHI_3_ROLES) <= set(vocabulary.tokens):
        return {}
    return {
        id: Strip(right=True)
        for token, id in vocabulary.control.items()
        if (token == "</s>" or token.startswith("<|")) and token != "<|endoftext|>"
    }
