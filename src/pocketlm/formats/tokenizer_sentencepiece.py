"""SentencePiece's `tokenizer.model`: the few fields of its protocol buffer that a tokenizer needs.

Knows `sentencepiece_model.proto` (google/sentencepiece) and the wire format of protocol buffers.
Trusts nothing: every length is checked against the bytes that are left.
"""

import struct
from collections.abc import Iterator

from pocketlm.errors import ModelFileError, UnsupportedError
from pocketlm.formats.tokenizer_vocabulary import (
    SPACE,
    Kind,
    Vocabulary,
    check_size,
    merges_from_scores,
)

_BPE = 2  # TrainerSpec.ModelType
_MODEL_TYPES = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def read_sentencepiece(data: bytes) -> Vocabulary:
    """The vocabulary of a serialised ModelProto, not yet checked.

    Raises ModelFileError for bytes that are no such message, UnsupportedError for a model that is
    not BPE or a text normalisation that is not the identity.
    """
    tokens: list[str] = []
    scores: list[float] = []
    kinds: list[int] = []
    trainer: dict[int, int] = {}
    normalizer: dict[int, int] = {3: 1, 4: 1}  # proto defaults: dummy prefix, extra spaces removed
    for field, value in _fields(data):
        if field == 1:
            check_size(len(tokens) + 1)
            token, score, kind = _piece(_message(value))
            tokens.append(token)
            scores.append(score)
            kinds.append(kind)
        elif field == 2:
            trainer = {f: v for f, v in _fields(_message(value)) if isinstance(v, int)}
        elif field == 3:
            for f, v in _fields(_message(value)):
                if f == 2 and v:
                    raise UnsupportedError("tokenizer.model: text normalisation is not supported")
                if isinstance(v, int):
                    normalizer[f] = v
    model_type = trainer.get(3, 1)
    if model_type != _BPE:
        name = _MODEL_TYPES.get(model_type, model_type)
        raise UnsupportedError(f"tokenizer.model: the model type is {name!r}, expected 'bpe'")
    if normalizer[4]:
        raise UnsupportedError("tokenizer.model: removing extra spaces is not supported")
    check_size(len(tokens), sum(map(len, tokens)))
    unk_id = trainer.get(40, 0)
    return Vocabulary(
        tokens,
        kinds,
        merges=merges_from_scores(tokens, kinds, scores),
        byte_level=False,
        scores=scores,
        bos_id=_signed(trainer.get(41, 1)),
        eos_id=_signed(trainer.get(42, 2)),
        pad_id=_signed(trainer.get(43, -1)),
        unk_id=_signed(unk_id),
        add_bos=True,
        prefix="always" if normalizer[3] else "never",
        normalizer={"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
        byte_fallback=bool(trainer.get(35, 0)),
        fuse_unk=True,
    )


def _piece(data: bytes) -> tuple[str, float, int]:
    token, score, kind = "", 0.0, int(Kind.NORMAL)
    for field, value in _fields(data):
        if field == 1 and isinstance(value, bytes):
            try:
                token = value.decode()
            except UnicodeDecodeError:
                raise ModelFileError("tokenizer.model: a piece is not UTF-8") from None
        elif field == 2 and isinstance(value, float):
            score = value
        elif field == 3 and isinstance(value, int):
            kind = value
    return token, score, kind


def _signed(value: int) -> int | None:
    """An id; absent (-1) is None. Negative numbers are 64-bit varints."""
    return None if value < 0 or value >= 1 << 63 else value


def _message(value: int | float | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ModelFileError("tokenizer.model: a number where a message is expected")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """The fields of one message: (number, value); 32-bit values as floats, groups refused."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        field, wire = key >> 3, key & 7
        if wire == _VARINT:
            number, position = _varint(data, position)
            yield field, number
            continue
        if wire == _LENGTH:
            length, position = _varint(data, position)
        elif wire in (_FIXED32, _FIXED64):
            length = 4 if wire == _FIXED32 else 8
        else:
            raise ModelFileError("tokenizer.model is not a sound SentencePiece model")
        if length > len(data) - position:
            raise ModelFileError("tokenizer.model is truncated")
        chunk = data[position : position + length]
        position += length
        yield field, struct.unpack("<f", chunk)[0] if wire == _FIXED32 else chunk


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise ModelFileError("tokenizer.model is truncated")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ModelFileError("tokenizer.model holds a number of more than 64 bits")
