"""The arms: three selections of text, of the same number of tokens, by one tokenizer.

Each has as many windows as the others, so that runs of one seed draw the same places in the same
order. No document is there twice but where the corpus itself repeats. It knows documents, tokens
and shards; it trains nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml
from pydantic import BaseModel

from pocketlm.errors import Error
from pocketlm.formats.output import new_file, new_folder
from pocketlm.formats.tokenizer import Tokenizer, from_folder
from pocketlm.recipe import yaml_file
from pocketlm.recipe.data import shards
from pocketlm.recipe.demo.configuration import Demonstration
from pocketlm.recipe.demo.layout import ARMS, Layout
from pocketlm.recipe.demo.material import texts_of
from pocketlm.recipe.demo.ordering import Text, first, lines
from pocketlm.recipe.train import tokenizer as trainer
from pocketlm.recipe.train.configuration import TokenizerRun
from pocketlm.recipe.train.tell import Tell

#: More bytes than a token of any tokenizer has on average: enough text is looked at.
_BYTES = 8
#: Bytes that the tokenizer is trained on, of each kind of text, for a token of the vocabulary.
_TRAINED_ON = 1500


class Arm(BaseModel):
    """What an arm consists of."""

    documents: int
    bytes: int
    tokens: int
    synthetic: int
    """Of the tokens."""
    distinct: int
    """Of the tokens: what is left where, of documents that are the same, one is counted."""


class Arms(BaseModel):
    """All of them."""

    windows: int
    """Of each arm, `context` tokens each."""
    arms: dict[str, Arm]


class Encoded(NamedTuple):
    """A document and its tokens, and whether programs wrote it."""

    document: Text
    ids: Sequence[int]
    synthetic: bool

    @property
    def tokens(self) -> int:
        """With the one that ends it."""
        return len(self.ids) + 1


def prepare(setting: Demonstration, layout: Layout, tell: Tell) -> Arms:
    """Train the tokenizer and cut the arms, or read what was done.

    Raises Error where there is not enough text for runs that can be compared.
    """
    done = layout.out / "arms.json"
    if done.exists():
        return Arms.model_validate_json(done.read_bytes())
    training = setting.training
    # Windows predict all tokens but the first.
    wanted = int(training.tokens / training.epochs) + 1
    share = setting.synthetic.share
    raw = first(lambda: texts_of(layout, "raw"), wanted * _BYTES)
    filtered = first(lambda: texts_of(layout, "filtered"), wanted * _BYTES)
    made = first(lambda: lines(layout.synthetic), int(wanted * share * _BYTES))
    if not layout.tokenizer.exists():
        tell("training the tokenizer")
        _train_tokenizer(setting, layout, (raw, filtered, made))
    tokenizer = from_folder(layout.tokenizer)
    tell("making token shards")
    of_raw = _encoded(raw, tokenizer, wanted, synthetic=False)
    of_filtered = _encoded(filtered, tokenizer, wanted, synthetic=False)
    of_made = _encoded(made, tokenizer, int(wanted * share) + 1, synthetic=True)
    most = min(_tokens(of_raw), _tokens(of_filtered), int(_tokens(of_made) / share), wanted)
    windows = (most - 1) // training.context
    if windows < training.batch:
        raise Error(
            f"there is too little text: raw {_tokens(of_raw):,} tokens, filtered "
            f"{_tokens(of_filtered):,}, synthetic {_tokens(of_made):,}; a step alone takes "
            f"{training.batch * training.context:,} of each. Say more corpus.megabytes"
        )
    length = windows * training.context + 1
    parts = {
        "raw": of_raw,
        "filtered": of_filtered,
        "mixed": sorted(
            [*_cut(of_filtered, length - int(length * share)), *_cut(of_made, int(length * share))],
            key=lambda each: each.document.place,
        ),
    }
    arms = Arms(
        windows=windows,
        arms={name: _write(layout, name, _cut(parts[name], length), tokenizer) for name in ARMS},
    )
    with new_file(done) as file:
        file.write(arms.model_dump_json(indent=1).encode() + b"\n")
    return arms


def write_shards(
    folder: Path, documents: Iterable[Sequence[int]], tokenizer: Tokenizer, home: Path, source: str
) -> None:
    """Shards of one part in `folder`, which is there when it is whole."""
    assert tokenizer.eos_id is not None
    vocabulary, end = tokenizer.vocab_size, tokenizer.eos_id
    with new_folder(folder) as new:
        part = shards.write_part(new, "0", documents, vocabulary=vocabulary, end=end)
        file = home / "tokenizer.json"
        shards.seal(new, [part], tokenizer=file, vocabulary=vocabulary, end=end, source=source)


def _train_tokenizer(
    setting: Demonstration, layout: Layout, texts: Iterable[Sequence[Text]]
) -> None:
    """On the union of what the arms read: of each kind as many bytes, where it has them."""
    size = setting.vocabulary * _TRAINED_ON
    union = layout.out / "tokenizer-texts.jsonl"
    with new_file(union) as file:
        for each in texts:
            taken = 0
            for document in each:
                if taken >= size:
                    break
                taken += document.bytes
                file.write(_line({"text": document.text}))
    described = layout.out / "tokenizer.yaml"
    values = {"out": "tokenizer", "texts": [union.name], "vocabulary": setting.vocabulary}
    with new_file(described) as file:
        file.write(yaml.safe_dump(values, sort_keys=False).encode())
    trainer.train(yaml_file.read(described, TokenizerRun))


def _encoded(
    documents: Iterable[Text], tokenizer: Tokenizer, wanted: int, *, synthetic: bool
) -> list[Encoded]:
    """Documents with their tokens, until there are `wanted`."""
    found: list[Encoded] = []
    total = 0
    for document in documents:
        if total >= wanted:
            break
        each = Encoded(document, tokenizer.encode(document.text), synthetic)
        found.append(each)
        total += each.tokens
    return found


def _tokens(documents: Iterable[Encoded]) -> int:
    return sum(each.tokens for each in documents)


def _cut(documents: Iterable[Encoded], length: int) -> list[Encoded]:
    """Documents of `length` tokens together, or of one more; the last one is cut."""
    found: list[Encoded] = []
    left = length
    for each in documents:
        if left <= 0:
            break
        if each.tokens > left:
            each = each._replace(ids=each.ids[: max(1, left - 1)])
        found.append(each)
        left -= each.tokens
    return found


def _write(layout: Layout, name: str, documents: Sequence[Encoded], tokenizer: Tokenizer) -> Arm:
    layout.documents(name).parent.mkdir(exist_ok=True)
    with new_file(layout.documents(name)) as file:
        for each in documents:
            row = {"id": each.document.id, "synthetic": each.synthetic, "tokens": each.tokens}
            file.write(_line(row | {"text": each.document.text}))
    ids = (each.ids for each in documents)
    write_shards(layout.shards(name), ids, tokenizer, layout.tokenizer, f"the arm {name!r}")
    once = {" ".join(each.document.text.split()).lower(): each.tokens for each in documents}
    return Arm(
        documents=len(documents),
        bytes=sum(len(tokenizer.decode(list(each.ids)).encode()) for each in documents),
        tokens=_tokens(documents),
        synthetic=_tokens(each for each in documents if each.synthetic),
        distinct=sum(once.values()),
    )


def _line(row: dict[str, object]) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
