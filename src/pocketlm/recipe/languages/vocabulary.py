"""More words for a tokenizer: byte-pair encoding, continued on texts of another language.

What the tokenizer makes of a text stays the beginning: new merges come after all of its own, and
join its tokens. So a text that has none of the new words becomes the same ids as before. Each new
token begins as the mean of the tokens that stood for it, in the embedding and in the head: the
model reads nearly what it read, in fewer steps (Gee et al. 2022).

It knows vocabularies and embedding matrices. It trains no model.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pocketlm.errors import ParameterError, UnsupportedError
from pocketlm.formats.output import new_folder
from pocketlm.formats.tokenizer_folder import read_folder
from pocketlm.formats.tokenizer_json import tokenizer_json
from pocketlm.formats.tokenizer_vocabulary import Kind, Vocabulary

if TYPE_CHECKING:
    import tokenizers
    import transformers

_EMBEDDING, _HEAD = "model.embed_tokens.weight", "lm_head.weight"
#: Where tokens stand as characters while merges are learned: all of Unicode beyond the first plane.
_FIRST = 0x10000


@dataclass(frozen=True)
class Extension:
    """A larger vocabulary; `pieces[i]` are the old ids that token `first + i` took the place of."""

    vocabulary: Vocabulary
    first: int
    pieces: list[list[int]]


def extend(vocabulary: Vocabulary, texts: Iterable[str], count: int, least: int = 2) -> Extension:
    """Learn up to `count` new tokens for a vocabulary, from pairs seen `least` times.

    Raises ParameterError where the texts have no pair to join, UnsupportedError for a tokenizer
    that is not byte-level.
    """
    import tokenizers

    if not vocabulary.byte_level:
        raise UnsupportedError(
            "only byte-level tokenizers are extended, and this one falls back to bytes"
        )
    library = tokenizers.Tokenizer.from_str(json.dumps(tokenizer_json(vocabulary)))
    words = Counter(word for text in texts for word in _words(library, text, vocabulary))
    merges = _learned(words, count, least)
    if not merges:
        raise ParameterError(f"the texts give no new token: no pair is there {least} times")
    return _extended(vocabulary, merges)


def _words(
    library: tokenizers.Tokenizer, text: str, vocabulary: Vocabulary
) -> Iterator[tuple[int, ...]]:
    """The words that merges stay within, as ids; control tokens are none."""
    encoded = library.encode(text, add_special_tokens=False)
    word: list[int] = []
    before = None
    for id, number in zip(encoded.ids, encoded.word_ids, strict=True):
        if number != before or vocabulary.kinds[id] != Kind.NORMAL:
            if len(word) > 1:
                yield tuple(word)
            word = []
        if vocabulary.kinds[id] == Kind.NORMAL:
            word.append(id)
        before = number
    if len(word) > 1:
        yield tuple(word)


def _learned(
    words: Counter[tuple[int, ...]], count: int, least: int
) -> list[tuple[list[int], list[int]]]:
    """Merges, first to last, as the old ids of both sides. The library learns them: for it each
    token is a character.
    """
    import tokenizers

    spelled = {"".join(chr(_FIRST + id) for id in word): times for word, times in words.items()}
    alphabet = len(set("".join(spelled)))
    library = tokenizers.Tokenizer(tokenizers.models.BPE())
    library.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=alphabet + count, min_frequency=least, show_progress=False
    )
    library.train_from_iterator(
        (" ".join([word] * times) for word, times in spelled.items()), trainer
    )
    merges = json.loads(library.to_str())["model"]["merges"]
    return [([ord(c) - _FIRST for c in a], [ord(c) - _FIRST for c in b]) for a, b in merges]


def _extended(vocabulary: Vocabulary, merges: list[tuple[list[int], list[int]]]) -> Extension:
    tokens, kinds = list(vocabulary.tokens), list(vocabulary.kinds)
    known = set(tokens)
    first, pieces = len(tokens), []
    added = list(vocabulary.merges)
    for left, right in merges:
        sides = ["".join(vocabulary.tokens[id] for id in side) for side in (left, right)]
        added.append((sides[0], sides[1]))
        token = "".join(sides)
        if token not in known:  # the old merges may reach an old token in fewer ways
            known.add(token)
            tokens.append(token)
            kinds.append(int(Kind.NORMAL))
            pieces.append(left + right)
    extended = Vocabulary(
        **{**vars(vocabulary), "tokens": tokens, "kinds": kinds, "merges": added, "control": {}}
    )
    extended.check()
    return Extension(extended, first, pieces)


def grow(model: transformers.PreTrainedModel, extension: Extension) -> None:
    """Give the model rows for the new tokens, each the mean of its pieces' rows.

    Rows beyond the old vocabulary that the model has already (padding) are used first. Input and
    output embeddings grow alike; where they are one, once.
    """
    import torch

    size = len(extension.vocabulary.tokens)
    if model.config.vocab_size < size:
        model.resize_token_embeddings(size, mean_resizing=False)
    named = dict(model.named_parameters())  # a tied head is not among them
    matrices = [named[name] for name in (_EMBEDDING, _HEAD) if name in named]
    with torch.no_grad():
        for matrix in matrices:
            for row, pieces in enumerate(extension.pieces, extension.first):
                matrix[row] = matrix[pieces].mean(dim=0)


def extend_model(
    source: Path, target: Path, texts: Iterable[str], count: int, least: int = 2
) -> Extension:
    """Write the model at `source` with up to `count` more tokens to the folder `target`.

    Raises what `extend` does, ModelFileError, and OutputError.
    """
    from pocketlm.recipe.train import models

    extension = extend(read_folder(source), texts, count, least)
    model = models.load(source)
    grow(model, extension)
    with new_folder(target) as folder:
        models.write(folder, model, source)
        text = json.dumps(tokenizer_json(extension.vocabulary), indent=1, ensure_ascii=False)
        (folder / "tokenizer.json").write_text(text + "\n", "utf-8")
    return extension
