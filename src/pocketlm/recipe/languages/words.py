"""Words, which new merges stay within: a text's tokens, cut where no token should reach across.

In a byte-level vocabulary the pre-tokenizer cuts. One that falls back to bytes mostly has none, and
is cut as SentencePiece cuts when it learns: before ▁, around digits, between letters and what is
none. There a character may have no token, and be spelled in bytes; it is a symbol of its own.

It knows vocabularies and texts. It learns nothing.
"""

from __future__ import annotations

import itertools
import json
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import tokenizers

from pocketlm.formats.tokenizer_json import tokenizer_json
from pocketlm.formats.tokenizer_vocabulary import SPACE, Kind, Vocabulary, byte_value

#: The ids of tokens; and beyond the vocabulary, those of characters that have none.
Word = tuple[int, ...]


class _Symbol(NamedTuple):
    """A part of a text; of no word where `id` is None. `number` is of the pre-tokenizer's word."""

    id: int | None
    spelling: str
    number: int | None


class Words:
    """Cuts texts to words. `characters` are those met that have no token: their ids, beyond all."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Prepare the library's tokenizer."""
        self.characters: dict[str, int] = {}
        self._vocabulary = vocabulary
        self._library = tokenizers.Tokenizer.from_str(json.dumps(tokenizer_json(vocabulary)))

    def of(self, text: str) -> Iterator[Word]:
        """The words of a text that something may be learned from; control tokens are none."""
        word: list[int] = []
        before = _Symbol(None, "", None)
        for symbol in self._symbols(text):
            if before.id is None or self._parted(before, symbol):
                yield from self._useful(word)
                word = []
            if symbol.id is not None:
                word.append(symbol.id)
            before = symbol
        yield from self._useful(word)

    def _useful(self, word: list[int]) -> Iterator[Word]:
        if len(word) > 1 or (word and word[0] >= len(self._vocabulary.tokens)):
            yield tuple(word)

    def _symbols(self, text: str) -> Iterator[_Symbol]:
        tokens, kinds = self._vocabulary.tokens, self._vocabulary.kinds
        encoded = self._library.encode(text, add_special_tokens=False)
        numbered = zip(encoded.ids, encoded.word_ids, strict=True)
        for kind, group in itertools.groupby(numbered, lambda each: kinds[each[0]]):
            if kind == Kind.BYTE:
                yield from self._spelled_in_bytes(group)
            else:
                for id, number in group:
                    yield _Symbol(id if kind == Kind.NORMAL else None, tokens[id], number)

    def _spelled_in_bytes(self, run: Iterable[tuple[int, int | None]]) -> Iterator[_Symbol]:
        """The characters of a run of byte tokens."""
        data, numbers = bytearray(), []
        for id, number in run:
            data.append(byte_value(self._vocabulary.tokens[id]))
            numbers.append(number)
        at = 0
        for character in data.decode("utf-8", "replace"):
            symbol = None
            # Lines, tabs and the like are the same in every language: they keep their bytes.
            if unicodedata.category(character)[0] not in "CZ" and character != "\ufffd":
                beyond = len(self._vocabulary.tokens) + len(self.characters)
                symbol = self.characters.setdefault(character, beyond)
            yield _Symbol(symbol, character, numbers[min(at, len(numbers) - 1)])
            at += len(character.encode())

    def _parted(self, before: _Symbol, after: _Symbol) -> bool:
        """Whether a word ends between two neighbours."""
        if after.id is None or after.number != before.number:
            return True
        if self._vocabulary.byte_level:
            return False
        if after.spelling.startswith(SPACE):
            return True
        if before.spelling == SPACE:
            return _kind(after.spelling[0]) == "N"
        kinds = _kind(before.spelling[-1]), _kind(after.spelling[0])
        return kinds[0] != kinds[1] or "N" in kinds


def _kind(character: str) -> str:
    """L for letters and their marks, N for digits and other numbers, or nothing."""
    kind = unicodedata.category(character)[0]
    return {"L": "L", "M": "L", "N": "N"}.get(kind, "")
