"""A tokenizer of one's own: byte-pair encoding by Hugging Face `tokenizers`, with Phi-3's turns.

It knows the trainer, the control tokens and the chat template; it reads texts file by file. What
it writes is a hub folder: tokenizer.json and tokenizer_config.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pocketlm.errors import ParameterError
from pocketlm.formats.output import new_folder
from pocketlm.formats.tokenizer_json import tokenizer_config, tokenizer_json
from pocketlm.formats.tokenizer_pre import Component, pre_tokenizer
from pocketlm.formats.tokenizer_vocabulary import (
    SPACE,
    Kind,
    Vocabulary,
    merges_from_scores,
    missing_strips,
)
from pocketlm.recipe.train.configuration import TokenizerRun

if TYPE_CHECKING:
    import tokenizers

END_OF_TEXT = "<|endoftext|>"
END_OF_TURN = "<|end|>"
#: Phi-3's, in its order. The end of a text also begins one: documents follow one another.
CONTROL = (END_OF_TEXT, "<|assistant|>", "<|system|>", END_OF_TURN, "<|user|>")
#: Phi-3's template, with the beginning that this tokenizer puts before every text.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)
#: How byte-level words are cut: as SmolLM2's, each digit by itself. GGUF has a name for it.
_WORDS = "smollm"
_UNKNOWN = "<unk>"
#: Characters a piece that is given to the trainer: it counts words, and a long line is one text.
_PIECE = 1 << 16


@dataclass(frozen=True)
class Trained:
    """What came of it: the vocabulary's size, and how many bytes of text were read."""

    vocabulary: int
    bytes: int


def train(run: TokenizerRun) -> Trained:
    """Train a tokenizer and write its folder.

    Raises ParameterError for texts that cannot be read, hold nothing, or too little for the
    vocabulary; OutputError where the folder cannot be written.
    """
    texts = _Texts(run)
    vocabulary = _byte_level(run, texts) if run.kind == "byte-level" else _fallback(run, texts)
    if not texts.bytes:
        raise ParameterError(f"{run.texts[0]}: there is no text here")
    if len(vocabulary.tokens) < run.vocabulary:
        raise ParameterError(
            f"vocabulary: the texts ({texts.bytes:,} bytes) give {len(vocabulary.tokens):,} tokens,"
            f" not {run.vocabulary:,}; give more text or a smaller vocabulary"
        )
    run.out.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(run.out) as folder:
        _write(folder / "tokenizer.json", tokenizer_json(vocabulary))
        config = tokenizer_config(vocabulary, run.context, CHAT_TEMPLATE)
        _write(folder / "tokenizer_config.json", config)
    return Trained(len(vocabulary.tokens), texts.bytes)


def _byte_level(run: TokenizerRun, texts: _Texts) -> Vocabulary:
    import tokenizers

    library = tokenizers.Tokenizer(tokenizers.models.BPE())
    words = pre_tokenizer(_WORDS).pre_tokenizer
    library.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Digits(individual_digits=True),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=run.vocabulary,
        min_frequency=run.least,
        special_tokens=list(CONTROL),
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    library.train_from_iterator(texts, trainer)
    tokens, merges = _learned(library)
    return _finished(tokens, merges, byte_level=True, words=words)


def _fallback(run: TokenizerRun, texts: _Texts) -> Vocabulary:
    """LLaMA's form: words carry their space as ▁, and what is no token is spelled in bytes."""
    import tokenizers

    library = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token=_UNKNOWN))
    library.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always"),
            # No merge joins a line to the next, nor two digits.
            tokenizers.pre_tokenizers.Split("\n", "isolated"),
            tokenizers.pre_tokenizers.Digits(individual_digits=True),
        ]
    )
    spelled = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=run.vocabulary,
        min_frequency=run.least,
        special_tokens=[_UNKNOWN, *CONTROL, *spelled],
        # Rare characters are for the bytes.
        limit_alphabet=max(64, run.vocabulary // 8),
        show_progress=False,
    )
    library.train_from_iterator(texts, trainer)
    tokens, merges = _learned(library)
    return _finished(tokens, merges, byte_level=False, words=None)


def _learned(library: tokenizers.Tokenizer) -> tuple[list[str], list[tuple[str, str]]]:
    model = json.loads(library.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return tokens, [(left, right) for left, right in model["merges"]]


def _finished(
    tokens: list[str], merges: list[tuple[str, str]], *, byte_level: bool, words: Component | None
) -> Vocabulary:
    ids = {token: id for id, token in enumerate(tokens)}
    kinds = [
        Kind.CONTROL
        if token in CONTROL
        else Kind.UNKNOWN
        if token == _UNKNOWN
        else Kind.BYTE
        if not byte_level and token.startswith("<0x") and len(token) == 6
        else Kind.NORMAL
        for token in tokens
    ]
    end = ids[END_OF_TEXT]
    vocabulary = Vocabulary(
        tokens,
        [int(kind) for kind in kinds],
        merges=merges,
        byte_level=byte_level,
        byte_fallback=not byte_level,
        fuse_unk=not byte_level,
        ignore_merges=False,
    )
    vocabulary.bos_id = vocabulary.eos_id = vocabulary.pad_id = end
    vocabulary.add_bos = True
    vocabulary.pre_tokenizer = words
    if not byte_level:
        vocabulary.unk_id = ids[_UNKNOWN]
        vocabulary.prefix = "always"
        vocabulary.normalizer = {
            "type": "Replace",
            "pattern": {"String": " "},
            "content": SPACE,
        }
        # As SentencePiece has it: neighbours are joined by the rank of what they make, whichever
        # they are. The trainer's own list has only the ways that it went.
        ranks = [-float(id) for id in range(len(tokens))]
        vocabulary.merges = merges_from_scores(tokens, vocabulary.kinds, ranks)
        vocabulary.strips = missing_strips(vocabulary)
    vocabulary.check()
    return vocabulary


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")


class _Texts:
    """The texts of a run, piece by piece; `bytes` counts what was read."""

    def __init__(self, run: TokenizerRun) -> None:
        self._run = run
        self.bytes = 0

    def __iter__(self) -> Iterator[str]:
        for path in _files(self._run.texts):
            for text in self._documents(path):
                for start in range(0, len(text), _PIECE):
                    piece = text[start : start + _PIECE]
                    self.bytes += len(piece.encode("utf-8", "replace"))
                    yield piece
                    if self._run.bytes is not None and self.bytes >= self._run.bytes:
                        return

    def _documents(self, path: Path) -> Iterator[str]:
        try:
            if path.suffix != ".jsonl":
                yield path.read_text("utf-8", errors="replace")
                return
            with path.open(encoding="utf-8", errors="replace") as file:
                for number, line in enumerate(file, 1):
                    yield _field(line, self._run.field, f"{path}, line {number}")
        except OSError as error:
            raise ParameterError(f"{path}: cannot be read: {error.strerror}") from None


def _field(line: str, field: str, where: str) -> str:
    try:
        value = json.loads(line)[field]
    except json.JSONDecodeError as error:
        raise ParameterError(f"{where}: this is not JSON: {error}") from None
    except (KeyError, TypeError):
        raise ParameterError(f"{where}: there is no field {field!r}") from None
    if not isinstance(value, str):
        raise ParameterError(f"{where}: {field!r} is not a text")
    return value


def _files(places: Sequence[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            yield from sorted(path for path in place.rglob("*") if path.is_file())
        else:
            yield place
