"""What a run has come to, in numbers: `synthesis.json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel

from pocketlm.recipe.data.synthesis.plan import Plan, Price
from pocketlm.recipe.data.synthesis.series import Series

COUNTS = "synthesis.json"


class KindCounts(BaseModel):
    """One kind."""

    wanted: int
    """Documents, or tokens where the plan counts those."""
    done: int
    documents: int
    tokens: int
    """Of the documents, as the endpoint counts what it writes."""
    answers: int
    dropped: dict[str, int]
    """By reason, the most frequent first."""
    distinct_seeds: int
    prompt: str
    given_up: bool


class Counts(BaseModel):
    """The whole."""

    version: int = 1
    name: str
    model: str
    seed: int
    counted: str
    """What `wanted` and `done` count: documents or tokens."""
    kinds: dict[str, KindCounts]
    prompt_tokens: int
    completion_tokens: int
    """Of all answers, those that were dropped too."""
    dollars: float | None
    """What all answers cost, where the plan has prices."""

    @property
    def wanted(self) -> int:
        """Documents or tokens."""
        return sum(kind.wanted for kind in self.kinds.values())

    @property
    def done(self) -> int:
        """Documents or tokens."""
        return sum(kind.done for kind in self.kinds.values())

    @property
    def dropped(self) -> int:
        """Answers."""
        return sum(sum(kind.dropped.values()) for kind in self.kinds.values())


class Spent:
    """Tokens of all answers, and what they cost."""

    def __init__(self, price: Price | None) -> None:
        """Nothing yet."""
        self.prompt = self.completion = 0
        self._price = price

    def add(self, prompt_tokens: int, completion_tokens: int) -> None:
        """One more answer."""
        self.prompt += prompt_tokens
        self.completion += completion_tokens

    @property
    def dollars(self) -> float | None:
        """What they cost, where prices are known."""
        if self._price is None:
            return None
        price = self._price
        return (self.prompt * price.prompt + self.completion * price.completion) / 1e6

    def __str__(self) -> str:
        """For people."""
        tokens = f"{self.prompt + self.completion:,} tokens"
        return tokens if self.dollars is None else f"{tokens}, {money(self.dollars)}"


def money(dollars: float) -> str:
    """An amount for people: "$12.50", "$0.0031"."""
    return f"${dollars:,.2f}" if dollars >= 1 else f"${dollars:.4f}"


def counted(plan: Plan, model: str, every: Sequence[Series], spent: Spent) -> Counts:
    """The counts of a run."""
    return Counts(
        name=plan.name,
        model=model,
        seed=plan.seed,
        counted="documents" if plan.tokens is None else "tokens",
        kinds={series.name: _of(series) for series in every},
        prompt_tokens=spent.prompt,
        completion_tokens=spent.completion,
        dollars=spent.dollars,
    )


def _of(series: Series) -> KindCounts:
    reasons = Counter(dropped.reason for dropped in series.dropped)
    return KindCounts(
        wanted=series.wanted,
        done=series.done,
        documents=len(series.documents),
        tokens=series.tokens,
        answers=sum(1 for _ in series.answers()),
        dropped=dict(reasons.most_common()),
        distinct_seeds=series.seeds.distinct,
        prompt=series.kind.version,
        given_up=series.is_given_up,
    )
