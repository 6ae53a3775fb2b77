"""Small tests of what a model knows, scored during a run: multiple choice and minimal pairs.

Small models are at chance where answers are counted, long before the likelihood of the right one
stops moving; so that is measured first (DataDecide, arXiv 2504.11393). A text's likelihood is that
of its tokens after the token that begins a text, as in training and in use. It knows files of
items, token ids and forward passes; it knows no run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Generic, NamedTuple, Self, TypeVar

import torch
from accelerate import Accelerator
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch.nn import functional

from pocketlm.errors import ParameterError
from pocketlm.formats.tokenizer import Tokenizer
from pocketlm.recipe.train.validation import shared

#: Tokens of a forward pass: texts are short, and logits of a large vocabulary are not.
_PASS = 4096

Text = Annotated[str, Field(min_length=1)]


class Choice(BaseModel):
    """A line of a file: of what may follow `context` (perhaps nothing), `options[right]` does."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    context: str
    options: Annotated[tuple[Text, ...], Field(min_length=2)]
    right: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _is_there(self) -> Self:
        if self.right >= len(self.options):
            raise ValueError(f"right is {self.right}, and there are {len(self.options)} options")
        return self


class Pair(BaseModel):
    """A line of a file: two texts that differ in little, of which one is wrong."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    good: Text
    bad: Text


Item = TypeVar("Item", Choice, Pair)


class Sequenced(NamedTuple):
    """A text as ids; those from `first` on are predicted."""

    ids: list[int]
    first: int


@dataclass(frozen=True)
class Probe(Generic[Item]):
    """Items, and the texts whose likelihood decides them: those of an item follow each other."""

    name: str
    items: list[Item]
    texts: list[Sequenced]

    def measure(self, accelerator: Accelerator, model: torch.nn.Module) -> dict[str, float]:
        """Score the model by name of the score; all processes call it, each reads a part.

        Of choices: `log_probability`, nats, the mean of the right option's, normalised over the
        options, each of which counts by its log-probability a character; `accuracy`, how often it
        is the likeliest. Of pairs: `share`, how often the good one is likelier.
        """
        scores = iter(_log_probabilities(accelerator, model, self.texts))
        if not isinstance(self.items[0], Choice):
            return {"share": _mean([next(scores) > next(scores) for _ in self.items])}
        right, best = [], []
        for item in self.items:
            assert isinstance(item, Choice)
            each = torch.tensor(
                [next(scores) / max(1, len(option.strip())) for option in item.options]
            )
            right.append(float(each.log_softmax(0)[item.right]))
            best.append(int(each.argmax()) == item.right)
        return {"log_probability": _mean(right), "accuracy": _mean(best)}


Probes = tuple[Probe[Choice] | Probe[Pair], ...]


def open_probes(
    choices: Path | None, pairs: Path | None, tokenizer: Tokenizer, context: int
) -> Probes:
    """The probes in files of JSON lines, for a model that reads `context` tokens.

    Raises ParameterError that names file and line: for what is no item, or is too long.
    """
    found: list[Probe[Choice] | Probe[Pair]] = []
    if choices is not None:
        items = list(_read(choices, Choice))
        texts = [
            _sequenced(tokenizer, item.context, option, context, where)
            for where, item in items
            for option in item.options
        ]
        found.append(Probe("choices", [item for _, item in items], texts))
    if pairs is not None:
        both = list(_read(pairs, Pair))
        texts = [
            _sequenced(tokenizer, "", text, context, where)
            for where, pair in both
            for text in (pair.good, pair.bad)
        ]
        found.append(Probe("pairs", [pair for _, pair in both], texts))
    return tuple(found)


def told(scores: dict[str, float]) -> str:
    """Scores for a person."""
    return ", ".join(
        f"log-probability {value:.4f}" if name == "log_probability" else f"{name} {value:.1%}"
        for name, value in scores.items()
    )


def _read(path: Path, kind: type[Item]) -> Iterator[tuple[str, Item]]:
    """Items with where they are."""
    try:
        lines = path.read_text("utf-8").split("\n")
    except OSError as error:
        raise ParameterError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ParameterError(f"{path}: is not UTF-8") from None
    if not any(line.strip() for line in lines):
        raise ParameterError(f"{path}: holds no item")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            yield where, kind.model_validate(json.loads(line))
        except json.JSONDecodeError as error:
            raise ParameterError(f"{where}: this is not JSON: {error}") from None
        except ValidationError as error:
            fault = error.errors()[0]
            field = ".".join(map(str, fault["loc"]))
            raise ParameterError(f"{where}: {field or 'the line'}: {fault['msg']}") from None


def _sequenced(tokenizer: Tokenizer, context: str, text: str, most: int, where: str) -> Sequenced:
    """Ids of a text after a context. Blanks between them belong to the text, whose words they begin
    in most vocabularies.
    """
    head = context.rstrip()
    begin = tokenizer.bos_id if tokenizer.add_bos else tokenizer.eos_id
    before = [] if begin is None else [begin]
    first = len(before) + len(tokenizer.encode(head))
    ids = before + tokenizer.encode(context + text)
    if len(ids) > most:
        raise ParameterError(
            f"{where}: has {len(ids):,} tokens, and the context is {most:,}: leave it out"
        )
    # What the context ends with may be joined with what follows.
    first = min(max(first, 1), len(ids) - 1)
    if first < 1:
        raise ParameterError(f"{where}: is a single token, of which nothing is predicted")
    return Sequenced(ids, first)


def _log_probabilities(
    accelerator: Accelerator, model: torch.nn.Module, texts: Sequence[Sequenced]
) -> list[float]:
    """Of each text, nats, the sum over its predicted tokens."""
    found = torch.zeros(len(texts), device=accelerator.device)
    model.eval()
    with torch.no_grad():
        for numbers, counts in shared(accelerator, _passes(texts)):
            scores = _scores(accelerator, model, [texts[number] for number in numbers])
            if counts:
                found[numbers] = scores
    model.train()
    whole: list[float] = accelerator.reduce(found).tolist()
    return whole


def _passes(texts: Sequence[Sequenced]) -> list[list[int]]:
    """Which texts share a forward pass: those of like length."""
    passes: list[list[int]] = [[]]
    for number in sorted(range(len(texts)), key=lambda number: len(texts[number].ids)):
        if (len(passes[-1]) + 1) * len(texts[number].ids) > _PASS and passes[-1]:
            passes.append([])
        passes[-1].append(number)
    return passes


def _scores(
    accelerator: Accelerator, model: torch.nn.Module, texts: Sequence[Sequenced]
) -> torch.Tensor:
    """Log-probabilities of texts, float32 [n]. What fills up a row comes after all that counts in
    it, where no token sees it.
    """
    longest = max(len(text.ids) for text in texts)
    ids = torch.tensor([text.ids + [0] * (longest - len(text.ids)) for text in texts])
    places = torch.arange(1, longest)
    firsts = torch.tensor([[text.first] for text in texts])
    ends = torch.tensor([[len(text.ids)] for text in texts])
    predicted = (places >= firsts) & (places < ends)
    ids, predicted = ids.to(accelerator.device), predicted.to(accelerator.device)
    with accelerator.autocast():
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    nats = functional.cross_entropy(
        logits.flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none"
    )
    return -(nats.view(len(texts), -1) * predicted).sum(1)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
