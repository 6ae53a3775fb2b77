"""Text to token ids and back, on Hugging Face `tokenizers`.

Knows a checked `Vocabulary`, how runs of plain text begin (SentencePiece's space), which tokens
steer a model, and how bytes of tokens join to characters. Does not know files' formats (each has a
module `tokenizer_*.py`), nor what a chat looks like.

Plain text never becomes a control token here: the library's model does not hold them. They are
found by this module alone, and only when asked for (`special=True`).
"""

import codecs
import functools
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlm.errors import ModelFileError, ParameterError
from pocketlm.formats.tokenizer_vocabulary import SPACE, Kind, Vocabulary, byte_value

if TYPE_CHECKING:
    import tokenizers

#: Unicode's White_Space, which strip flags eat. Python's own set has the separators U+001C-1F too.
WHITESPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)

#: Spellings of tokens that end a turn or a text, in the models that pocketlm runs.
END_SPELLINGS = (
    "<|end|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|eot|>",
    "<end_of_turn>",
    "<end_of_utterance>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<|end_of_sentence|>",
    "<｜end▁of▁sentence｜>",
    "<EOT>",
    "</s>",
)


def from_gguf(metadata: Mapping[str, Any]) -> "Tokenizer":
    """The tokenizer of a GGUF file's metadata. Raises ModelFileError or UnsupportedError."""
    from pocketlm.formats.tokenizer_gguf import read_gguf

    return Tokenizer(read_gguf(metadata))


def from_folder(path: Path) -> "Tokenizer":
    """The tokenizer of a hub folder: its `tokenizer.json`, else its `tokenizer.model`.

    Raises ModelFileError or UnsupportedError.
    """
    from pocketlm.formats.tokenizer_folder import read_folder

    return Tokenizer(read_folder(path))


class Tokenizer:
    """A model's tokenizer.

    `vocab_size` counts the file's tokens; a weight matrix may have more rows, whose ids must never
    be sampled, as those in `unused` must not. `control` gives the id of each token that steers the
    model, by spelling. `eot_ids` are those of them whose names say that they end a turn or a text.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Hand a checked vocabulary to the library. Raises ModelFileError for impossible merges."""
        self._vocabulary = vocabulary
        self.vocab_size = len(vocabulary.tokens)
        self.bos_id = vocabulary.bos_id
        self.eos_id = vocabulary.eos_id
        self.pad_id = vocabulary.pad_id
        self.unk_id = vocabulary.unk_id
        self.add_bos = vocabulary.add_bos
        self.control = vocabulary.control
        self.unused = frozenset(
            id for id, kind in enumerate(vocabulary.kinds) if kind == Kind.UNUSED
        )
        self.eot_ids = frozenset(
            self.control[spelling] for spelling in END_SPELLINGS if spelling in self.control
        )
        if vocabulary.eot_id is not None:
            self.eot_ids |= {vocabulary.eot_id}
        self.control_ids = frozenset(self.control.values())
        self._bytes: dict[int, bytes] = {}
        self._library = _library(vocabulary)

    @functools.cached_property
    def fingerprint(self) -> str:
        """A digest of the tokens and their ids, to know ids kept with another vocabulary."""
        digest = hashlib.sha256("\0".join(self._vocabulary.tokens).encode("utf-8", "surrogatepass"))
        digest.update(bytes(self._vocabulary.kinds))
        return digest.hexdigest()

    def spelling(self, id: int) -> str:
        """How the vocabulary spells a token (`▁Hello`, `Ġthe`, `<|end|>`)."""
        return self._vocabulary.tokens[self._checked(id)]

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids of a text, without BOS.

        With `special`, spellings of control tokens become these tokens, and swallow the whitespace
        beside them where their flags say so.
        """
        if not special:
            return self.encode_run(text, after=None)
        ids: list[int] = []
        after: int | None = None
        pieces = self.split(text)
        for index, piece in enumerate(pieces):
            if isinstance(piece, int):
                ids.append(piece)
                after = piece
            else:
                following = pieces[index + 1] if index + 1 < len(pieces) else None
                assert not isinstance(following, str)
                ids += self.encode_run(piece, after=after, before=following)
        return ids

    def split(self, text: str) -> list[str | int]:
        """Cut a text at the spellings of control tokens: runs of text, and the tokens' ids."""
        if not self.control:
            return [text] if text else []
        pieces = self._spellings.split(text)
        return [
            self.control[piece] if index % 2 else piece
            for index, piece in enumerate(pieces)
            if piece
        ]

    def encode_run(self, text: str, *, after: int | None, before: int | None = None) -> list[int]:
        """Token ids of plain text that stands after token `after` (None: at the start).

        What a control token on either side strips is taken off; SentencePiece's space is put before
        the text as the vocabulary says. After an ordinary token the text is a continuation and
        gets no space. No id of a control token comes out, whatever the text spells.
        """
        strips = self._vocabulary.strips
        if after is not None and after in strips and strips[after].right:
            text = text.lstrip(WHITESPACE)
        if before is not None and before in strips and strips[before].left:
            text = text.rstrip(WHITESPACE)
        if not text:
            return []
        if self._gets_prefix(after) and (
            self._vocabulary.prefix_doubles or not text.startswith((" ", SPACE))
        ):
            text = SPACE + text
        return self._encode(text)

    def decode(self, ids: Sequence[int], *, special: bool = False, after: int | None = None) -> str:
        """The text of token ids that stand after token `after` (None: at the start).

        Control tokens that are not shown are left out, or with `special` spelled out. Bytes that
        are no UTF-8 become U+FFFD.
        """
        if not special:
            detokenizer = self.stream(after=after)
            return "".join(map(detokenizer.push, ids)) + detokenizer.flush()
        parts: list[str] = []
        run: list[int] = []
        for id in ids:
            if self._checked(id) in self.control_ids:
                parts += [self.decode(run, after=after), self.spelling(id)]
                run, after = [], id
            else:
                run.append(id)
        return "".join(parts) + self.decode(run, after=after)

    def token_bytes(self, id: int) -> bytes:
        """The bytes of text that a token stands for; b"" for those that are never shown.

        Not shown are padding, and control tokens but for those that a model may write as text
        (`<tool_call>`, `<think>`: "user-defined" in GGUF, not "special" in the hub's files).
        """
        found = self._bytes.get(id)
        if found is None:
            found = self._bytes[id] = _token_bytes(self._vocabulary, self._checked(id))
        return found

    def stream(self, *, after: int | None = None, exact: bool = False) -> "Detokenizer":
        """A decoder of ids that come one at a time, after token `after` (None: at the start).

        With `exact` it shows all bytes, also the space that begins a text in some vocabularies.
        """
        return Detokenizer(self, after, exact=exact)

    def _checked(self, id: int) -> int:
        if not 0 <= id < self.vocab_size:
            raise ParameterError(
                f"token id {id} is not in the vocabulary (0 to {self.vocab_size - 1})"
            )
        return id

    def drops_space(self, after: int | None) -> bool:
        """Whether text after token `after` (None: the start) is shown without its first space."""
        return self._vocabulary.prefix != "never" and (after is None or after in self.control_ids)

    def _gets_prefix(self, after: int | None) -> bool:
        if self._vocabulary.prefix == "first":
            return after is None
        return self.drops_space(after)

    def _encode(self, text: str) -> list[int]:
        try:
            encoding = self._library.encode(text, add_special_tokens=False)
        except (TypeError, UnicodeEncodeError):  # half of a surrogate pair is no character
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            encoding = self._library.encode(text, add_special_tokens=False)
        ids: list[int] = encoding.ids
        return ids

    @functools.cached_property
    def _spellings(self) -> "re.Pattern[str]":
        longest_first = sorted(self.control, key=len, reverse=True)
        return re.compile(f"({'|'.join(map(re.escape, longest_first))})")


class Detokenizer:
    """Text from ids that come one at a time; what it gives out never ends inside a character."""

    def __init__(self, tokenizer: Tokenizer, after: int | None, *, exact: bool = False) -> None:
        """Begin after token `after` (None: at the start of a text). See `Tokenizer.stream`."""
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._drop_space = not exact and tokenizer.drops_space(after)

    def push(self, id: int) -> str:
        """The characters that this id completes; "" while one is unfinished."""
        data = self._tokenizer.token_bytes(id)
        if self._drop_space and data:
            data = data.removeprefix(b" ")
            self._drop_space = False
        text = self._decoder.decode(data)
        if id in self._tokenizer.control_ids:
            text += self.flush()
            self._drop_space = self._tokenizer.drops_space(id)
        return text

    def flush(self) -> str:
        """The end: one U+FFFD where a character was begun and not finished, else ""."""
        text = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return text


def _token_bytes(vocabulary: Vocabulary, id: int) -> bytes:
    token, kind = vocabulary.tokens[id], vocabulary.kinds[id]
    if kind in (Kind.CONTROL, Kind.UNUSED):
        return b""
    if kind == Kind.BYTE:
        return bytes([byte_value(token)])
    if vocabulary.byte_level and kind == Kind.NORMAL:
        try:
            return bytes(map(_byte_of_character().__getitem__, token))
        except KeyError:  # a token outside the alphabet of bytes is plain text
            return token.encode()
    return (token if vocabulary.byte_level else token.replace(SPACE, " ")).encode()


@functools.cache
def _byte_of_character() -> dict[str, int]:
    """GPT-2's alphabet: printable bytes are their own character, the others follow from U+0100."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(0x100 + index): byte for index, byte in enumerate(others)
    }


def _library(vocabulary: Vocabulary) -> "tokenizers.Tokenizer":
    """The library's tokenizer of plain text, with every token but the control and unused ones."""
    import tokenizers

    ids = {token: id for id, token in enumerate(vocabulary.tokens)}
    for id, kind in enumerate(vocabulary.kinds):
        if kind == Kind.UNUSED:
            ids.pop(vocabulary.tokens[id], None)
    for token in vocabulary.control:
        del ids[token]
    unknown = None
    # Byte-level BPE has a token for each byte; what a vocabulary lacks, the originals leave out.
    # Their "unknown" token is often <|endoftext|>, which no text may become.
    if vocabulary.unk_id is not None and not vocabulary.byte_level:
        unknown = vocabulary.tokens[vocabulary.unk_id]
        ids[unknown] = vocabulary.unk_id
    shell: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": vocabulary.normalizer,
        "pre_tokenizer": vocabulary.pre_tokenizer,
        "post_processor": None,
        "decoder": None,
        "model": {"type": "BPE", "vocab": {}, "merges": []},
    }
    try:
        library = tokenizers.Tokenizer.from_str(json.dumps(shell))
        library.model = tokenizers.models.BPE(
            ids,
            vocabulary.merges,
            unk_token=unknown,
            fuse_unk=vocabulary.fuse_unk,
            byte_fallback=vocabulary.byte_fallback,
            ignore_merges=vocabulary.ignore_merges,
            # The library keeps the words it has seen of every tokenizer until the thread ends.
            cache_capacity=0,
        )
        strips = vocabulary.strips
        library.add_tokens(
            [
                tokenizers.AddedToken(
                    vocabulary.tokens[id],
                    lstrip=id in strips and strips[id].left,
                    rstrip=id in strips and strips[id].right,
                    normalized=id not in vocabulary.raw,
                )
                for id, kind in enumerate(vocabulary.kinds)
                if kind == Kind.USER_DEFINED and vocabulary.tokens[id] in ids
            ]
        )
    except (
        BaseException
    ) as error:  # the library raises bare Exception, and a panic is not even that
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        reason = " ".join(str(error).split())[:160]
        raise ModelFileError(f"the tokenizer cannot be built: {reason}") from None
    return library
