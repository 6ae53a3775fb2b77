"""One kind's answers, in the order of their seeds: which became documents, and why others did not.

Answers come in any order and are judged in that of their seeds, so that the same answers make the
same documents however many requests ran side by side, and however often a run was stopped. It knows
no endpoint; answers are kept in a ledger, judgements are made anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path

from pocketlm.ledger import Ledger
from pocketlm.recipe.data.classifier import Classifier
from pocketlm.recipe.data.endpoint import Answer, Asked
from pocketlm.recipe.data.synthesis.fitness import check_echo, check_repetition, cleaned
from pocketlm.recipe.data.synthesis.kinds import Kind, Message, UnfitError, made
from pocketlm.recipe.data.synthesis.novelty import Seen
from pocketlm.recipe.data.synthesis.plan import KindPlan, Plan
from pocketlm.recipe.data.synthesis.seeds import Seed, Seeds

FEW = 20
"""Answers before it is judged whether a kind is worth going on with."""
ANSWERS = "answers"


@dataclass(frozen=True)
class Document:
    """An answer that is fit."""

    id: str
    text: str
    messages: tuple[Message, ...]
    seed: Seed
    tokens: int
    quality: float | None = None
    """The classifier's probability, where one is used."""


@dataclass(frozen=True)
class Dropped:
    """An answer that is not."""

    id: str
    answer: str
    seed: Seed
    reason: str
    detail: str


class Series:
    """One kind of a plan: what it asks next, and what has become of the answers."""

    def __init__(self, plan: Plan, wanted: KindPlan, classifier: Classifier | None = None) -> None:
        """Of the kind `wanted` of a `plan`. Raises ParameterError for a prompt that is unsound."""
        self.kind: Kind = made(wanted)
        self.name = self.kind.name
        self.wanted = plan.wanted()[self.name]
        """Documents, or tokens where the plan counts those."""
        topics = wanted.topics or plan.topics
        audiences = wanted.audiences or plan.audiences
        styles = wanted.styles or plan.styles
        self.seeds = Seeds(plan.seed, self.name, topics, audiences, styles)
        self.documents: list[Document] = []
        self.dropped: list[Dropped] = []
        self.tokens = 0
        """Of the documents."""
        self._plan, self._classifier = plan, classifier
        self._seen = Seen(plan.near_duplicates.step)
        self._asked = 0
        self._ledger: Ledger | None = None
        self._work = {
            "seed": plan.seed,
            "prompt": self.kind.version,
            "topics": _digest(topics),
            "audiences": _digest(audiences),
            "styles": _digest(styles),
            "settings": self.kind.settings(),
            "sampling": plan.sampling.model_dump_json(),
        }

    def open(self, folder: Path, model: str) -> Ledger:
        """Open the answers of `model` in a run's `folder`, and judge those that are there.

        Whoever opens it closes it. Raises ParameterError where they are answers to other requests,
        or another model's.
        """
        path = folder / ANSWERS / f"{self.name}.jsonl"
        self._ledger = Ledger(path, {"model": model, **self._work})
        self._judge()
        return self._ledger

    @property
    def judged(self) -> int:
        """Answers that were judged; seeds from here on were not."""
        return len(self.documents) + len(self.dropped)

    @property
    def done(self) -> int:
        """Documents that are there, or their tokens; at most what is wanted."""
        if self._plan.tokens is None:
            return len(self.documents)
        return min(self.wanted, self.tokens)

    @property
    def is_given_up(self) -> bool:
        """Whether too few of the answers are fit."""
        return self.judged >= FEW and len(self.documents) < self._plan.least_kept * self.judged

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be asked."""
        return self.done >= self.wanted or self.is_given_up

    @property
    def waiting(self) -> int:
        """Answers that are there, and are not judged before one that is on its way."""
        return 0 if self.is_over or self._ledger is None else len(self._ledger) - self.judged

    @property
    def left(self) -> float | None:
        """About how many answers are still to come; None before the first document."""
        if self.is_over:
            return 0.0
        if not self.done:
            return None
        return max(0.0, (self.wanted - self.done) * self.judged / self.done - self.waiting)

    @property
    def expected(self) -> float:
        """The share of what is wanted that is there, once what was asked has come."""
        if not self.wanted:
            return 1.0
        waiting = max(self._asked, self.judged) - self.judged
        return (self.done + waiting * self._each) / self.wanted

    @property
    def _each(self) -> float:
        """What a document counts; before there is one, the most that it can."""
        if self._plan.tokens is None:
            return 1.0
        if not self.documents:
            return float(self._plan.sampling.most_tokens)
        return max(1.0, self.done / len(self.documents))

    def ask(self) -> tuple[int, Asked] | None:
        """The next seed's number and request; None where its answer is there already."""
        assert self._ledger is not None
        number = max(self._asked, self.judged)
        self._asked = number + 1
        return None if number in self._ledger else (number, self.request(number))

    def request(self, number: int) -> Asked:
        """The request of a seed."""
        seed, sampling = self.seeds[number], self._plan.sampling
        return Asked(
            self.kind.prompt(seed),
            temperature=sampling.temperature,
            max_tokens=sampling.most_tokens,
            seed=seed.random,
            top_p=sampling.top_p,
        )

    def keep(self, number: int, answer: Answer) -> None:
        """Keep an answer, and judge all that can be."""
        assert self._ledger is not None
        self._ledger[number] = asdict(answer)
        self._judge()

    def answers(self) -> Iterator[Answer]:
        """All answers that are there, judged or not."""
        assert self._ledger is not None
        left = len(self._ledger)
        for number in count():
            if not left:
                return
            if number in self._ledger:
                left -= 1
                yield Answer(**self._ledger[number])

    def _judge(self) -> None:
        assert self._ledger is not None
        while not self.is_over and self.judged in self._ledger:
            number = self.judged
            answer, seed = Answer(**self._ledger[number]), self.seeds[number]
            id = f"{self.name}/{number:06d}"
            try:
                self.documents.append(self._document(id, seed, answer))
                self.tokens += answer.completion_tokens
            except UnfitError as unfit:
                dropped = Dropped(id, answer.text, seed, unfit.reason, unfit.detail)
                self.dropped.append(dropped)

    def _document(self, id: str, seed: Seed, answer: Answer) -> Document:
        if answer.refused:
            raise UnfitError("refused by the endpoint", answer.refused)
        draft = self.kind.draft(seed, cleaned(answer.text, answer.cut))
        check_echo(draft.text, self.kind.template.text)
        check_repetition(draft.text)
        found = Document(id, draft.text, draft.messages, seed, answer.completion_tokens)
        if self._classifier is not None and self._plan.quality is not None:
            quality = float(self._classifier.probabilities([draft.text])[0])
            if quality < self._plan.quality.least:
                raise UnfitError("teaches little", f"{quality:.2f}")
            found = replace(found, quality=round(quality, 3))
        if before := self._seen.add(draft.text, id):
            raise UnfitError("near duplicate", f"of {before}")
        return found


def _digest(lines: Sequence[str]) -> str:
    digest = hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "replace")).hexdigest()
    return f"{len(lines)} ({digest[:8]})"
