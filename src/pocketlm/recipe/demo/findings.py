"""What all judged models together say: each measure's level of each arm, and how arms differ.

It knows measures and arms; it knows no markup.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from pocketlm.recipe.demo.intervals import Found, Values, difference, level
from pocketlm.recipe.demo.judging import Asked
from pocketlm.recipe.demo.layout import ARMS

#: Which arm is compared with which: (before, after).
PAIRS = tuple(combinations(ARMS, 2))


@dataclass(frozen=True)
class Measure:
    """What is measured, and how it is read."""

    key: str
    title: str
    unit: str
    lower_is_better: bool
    digits: int
    scale: float = 1.0
    chance: float | None = None
    """What guessing gives, before it is scaled."""
    counts: bool = True
    """Whether it was chosen beforehand to compare arms by; others are shown beside."""


MEASURES = (
    Measure("text-textbook", "Held-back filtered text", "bits a byte", True, 4),
    Measure("text-raw", "Held-back raw text", "bits a byte", True, 4),
    Measure("choices", "Right option's log share", "nats", False, 4, chance=-math.log(4)),
    Measure("pairs", "Minimal pairs", "% right", False, 2, scale=100, chance=0.5),
    Measure(
        "choices-right",
        "Right option of four first",
        "% right",
        False,
        2,
        scale=100,
        chance=0.25,
        counts=False,
    ),
)


@dataclass(frozen=True)
class Comparison:
    """How an arm differs from one before it, by one measure."""

    measure: Measure
    before: str
    after: str
    found: Found

    @property
    def verdict(self) -> str:
        """`better`, `worse`, or `not told apart`."""
        if not self.found.told_apart:
            return "not told apart"
        return "better" if (self.found.value < 0) == self.measure.lower_is_better else "worse"


@dataclass(frozen=True)
class Findings:
    """All of it."""

    seeds: tuple[int, ...]
    counts: Mapping[str, int]
    """Items of each measure."""
    levels: Mapping[str, Mapping[str, Found]]
    """By measure and arm."""
    comparisons: Sequence[Comparison]
    kinds: Mapping[str, Mapping[str, Mapping[str, Found]]]
    """Of `choices` and `pairs`: by kind of item and arm."""
    kind_counts: Mapping[str, Mapping[str, int]]

    def comparison(self, measure: str, before: str, after: str) -> Comparison:
        """One of the comparisons."""
        wanted = (measure, before, after)
        return next(c for c in self.comparisons if (c.measure.key, c.before, c.after) == wanted)


def findings(
    scores: Mapping[str, Sequence[Mapping[str, Values]]], seeds: Sequence[int], asked: Asked
) -> Findings:
    """Compare what was scored: for each arm a dictionary of scores for each seed, in order."""
    arrays = {
        measure.key: {
            arm: np.stack([each[measure.key] for each in scores[arm]])
            / (math.log(2) if measure.key.startswith("text") else 1.0)
            for arm in ARMS
        }
        for measure in MEASURES
    }
    weights = {key: np.ones(of_arm[ARMS[0]].shape[1]) for key, of_arm in arrays.items()}
    for name, texts in asked.texts.items():
        weights[f"text-{name}"] = np.array([len(text.encode()) for text in texts], np.float64)
    # Pairs of one sentence hang together: they are drawn together.
    groups: dict[str, Sequence[str]] = {"pairs": [item.good for item in asked.pairs]}
    levels = {
        key: {arm: level(of_arm[arm], weights[key], groups.get(key)) for arm in ARMS}
        for key, of_arm in arrays.items()
    }
    comparisons = [
        Comparison(
            measure,
            before,
            after,
            difference(
                arrays[measure.key][before],
                arrays[measure.key][after],
                weights[measure.key],
                groups.get(measure.key),
            ),
        )
        for measure in MEASURES
        for before, after in PAIRS
    ]
    kinds, counts = {}, {}
    for key, items in (("choices", asked.choices), ("pairs", asked.pairs)):
        of = np.array([item.kind for item in items])
        places = {kind: np.flatnonzero(of == kind) for kind in sorted(set(of.tolist()))}
        counts[key] = {kind: len(here) for kind, here in places.items()}
        kinds[key] = {
            kind: {arm: level(arrays[key][arm][:, here], np.ones(len(here))) for arm in ARMS}
            for kind, here in places.items()
        }
    sizes = {key: len(each) for key, each in weights.items()}
    return Findings(tuple(seeds), sizes, levels, comparisons, kinds, counts)
