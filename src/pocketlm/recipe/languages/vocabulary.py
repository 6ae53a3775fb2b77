"""More words for a tokenizer: byte-pair encoding, continued on texts of another language.

What the tokenizer makes of a text stays the beginning: new merges come after all of its own, and
join its tokens. So a text that has none of the new words becomes the same ids as before. Byte-level
tokenizers (GPT-2's, SmolLM2's) and those that fall back to bytes (LLaMA's, Phi-3's) are extended
alike; the latter also get characters that they had no token for. Each new
token begins as the mean of the tokens that stood for it, in the embedding and in the head: the
model reads nearly what it read, in fewer steps (Gee et al. 2022).

It knows vocabularies and embedding matrices. It trains no model.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pocketlm.errors import ParameterError
from pocketlm.formats.output import new_folder
from pocketlm.formats.tokenizer_folder import read_folder
from pocketlm.formats.tokenizer_json import tokenizer_json
from pocketlm.formats.tokenizer_vocabulary import (
    Kind,
    Vocabulary,
    byte_value,
    merges_from_scores,
)
from pocketlm.recipe.languages.words import Word, Words

if TYPE_CHECKING:
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
    """Learn up to `count` new tokens for a vocabulary, from what is there `least` times.

    First characters that have no token and are spelled in bytes, then pairs to join. Raises
    ParameterError where the texts have neither.
    """
    reader = Words(vocabulary)
    words = Counter(word for text in texts for word in reader.of(text))
    seen = Counter[int]()
    for word, times in words.items():
        for id in word:
            seen[id] += times
    often = [each for each in reader.characters if seen[reader.characters[each]] >= least]
    often.sort(key=lambda each: (-seen[reader.characters[each]], each))
    characters = often[:count]
    size = len(vocabulary.tokens)
    ids = {reader.characters[each]: size + place for place, each in enumerate(characters)}
    merges = _learned(_with_tokens(words, ids, size), count - len(characters), least)
    if not characters and not merges:
        raise ParameterError(f"the texts give no new token: no pair is there {least} times")
    return _extended(vocabulary, characters, merges)


def _with_tokens(words: Counter[Word], ids: Mapping[int, int], size: int) -> Counter[Word]:
    """The words, with the ids that new characters have; cut where one has none."""
    found = Counter[Word]()
    for word, times in words.items():
        renamed = (id if id < size else ids.get(id) for id in word)
        for known, part in itertools.groupby(renamed, lambda id: id is not None):
            if known:
                found[tuple(id for id in part if id is not None)] += times
    return found


def _learned(words: Counter[Word], count: int, least: int) -> list[tuple[Word, Word]]:
    """Merges, first to last, as the ids of both sides. The library learns them: for it each token
    is a character.
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
    return [
        (tuple(ord(c) - _FIRST for c in left), tuple(ord(c) - _FIRST for c in right))
        for left, right in merges
    ]


def _extended(
    vocabulary: Vocabulary, characters: list[str], learned: list[tuple[Word, Word]]
) -> Extension:
    tokens = [*vocabulary.tokens, *characters]
    first = len(vocabulary.tokens)
    bytes_ = {
        byte_value(token): id
        for id, token in enumerate(vocabulary.tokens)
        if vocabulary.kinds[id] == Kind.BYTE
    }
    pieces = [[bytes_[byte] for byte in character.encode()] for character in characters]
    replaced = [[id] for id in range(first)] + pieces
    spelled, known = tuple(tokens), set(tokens)
    added: list[tuple[str, str]] = []
    for sides in learned:
        left, right = ("".join(spelled[id] for id in side) for side in sides)
        added.append((left, right))
        if left + right not in known:  # the old merges may reach an old token in fewer ways
            known.add(left + right)
            tokens.append(left + right)
            pieces.append([old for side in sides for id in side for old in replaced[id]])
    kinds = [*vocabulary.kinds, *[int(Kind.NORMAL)] * (len(tokens) - first)]
    merges = (
        [*vocabulary.merges, *added]
        if vocabulary.byte_level
        else _every_way(vocabulary, tokens, kinds, added)
    )
    extended = Vocabulary(
        **{
            **vars(vocabulary),
            "tokens": tokens,
            "kinds": kinds,
            "merges": merges,
            "scores": (),  # the merges say it, and are one with those of before
            "control": {},
        }
    )
    extended.check()
    return Extension(extended, first, pieces)


def _every_way(
    vocabulary: Vocabulary, tokens: list[str], kinds: list[int], learned: list[tuple[str, str]]
) -> list[tuple[str, str]]:
    """The merges of a vocabulary that falls back to bytes, with those of its new tokens.

    As SentencePiece has them: a token is joined from any two that spell it, and when is the token's
    own matter. So a new token comes after all old ones, however it is joined, and where it gives a
    new way to an old one, that comes with the others of the old one. (Files that hold scores and no
    merges, as GGUF does, can say nothing else.)
    """
    first = len(vocabulary.tokens)
    place = {token: id for id, token in enumerate(tokens)}
    scores = [min(0.0, float(first - 1 - id)) for id in range(len(tokens))]
    fresh: list[tuple[str, str]] = []
    late: dict[str, list[tuple[str, str]]] = {}
    for left, right in merges_from_scores(tokens, kinds, scores):
        if place[left + right] >= first:
            fresh.append((left, right))
        elif max(place[left], place[right]) >= first:
            late.setdefault(left + right, []).append((left, right))
    last = {left + right: index for index, (left, right) in enumerate(vocabulary.merges)}
    merges: list[tuple[str, str]] = []
    for index, (left, right) in enumerate(vocabulary.merges):
        merges.append((left, right))
        if index == last[left + right]:
            merges += late.pop(left + right, [])
    merges += fresh
    for ways in late.values():  # of tokens that nothing made so far
        merges += ways
    known = set(merges)
    return merges + [merge for merge in learned if merge not in known]


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
