"""Exact and near duplicates, by datatrove's steps for them.

Both work in rounds: every task writes signatures of its documents, the signatures of all tasks are
compared, and every task leaves out what another document stands for. The rounds number a task's
documents, so that each must read what the one before has written, in order.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup import (
    ExactDedupFilter,
    ExactDedupSignature,
    ExactFindDedups,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.exact_dedup import ExactDedupConfig
from datatrove.pipeline.dedup.minhash import MinhashConfig

from pocketlm.recipe.data import recipe
from pocketlm.recipe.data.runs import hashes, plain_words, runs
from pocketlm.recipe.data.words import WORDS


class Rounds:
    """The steps of one removal of duplicates, with their files in `folder`."""

    def __init__(self, step: recipe.ExactDuplicates | recipe.NearDuplicates, folder: Path) -> None:
        """Of the stage `step` of a recipe."""
        self._step, self._folder = step, folder

    @property
    def reason(self) -> str:
        """Why a document is dropped."""
        return self._step.stage.replace("-duplicates", " duplicate")

    def sign(self) -> PipelineStep:
        """Writes the signatures of a task's documents; nothing comes after it."""
        if isinstance(self._step, recipe.NearDuplicates):
            return _Signature(self._at("signatures"), _minhash(self._step))
        return ExactDedupSignature(self._at("signatures"), _EXACT)

    def compare(self) -> list[tuple[str, PipelineStep, int]]:
        """The steps that compare signatures: name, step, number of tasks."""
        if isinstance(self._step, recipe.NearDuplicates):
            config = _minhash(self._step)
            pairs, removed = self._at("pairs"), self._at("removed")
            return [
                (
                    "pairs",
                    MinhashDedupBuckets(self._at("signatures"), pairs, config=config),
                    config.num_buckets,
                ),
                ("clusters", MinhashDedupCluster(pairs, removed, config=config), 1),
            ]
        return [
            ("compare", ExactFindDedups(self._at("signatures"), self._at("removed"), _EXACT), 1)
        ]

    def leave_out(self) -> PipelineStep:
        """Drops the duplicates of a task's documents."""
        if isinstance(self._step, recipe.NearDuplicates):
            return MinhashDedupFilter(self._at("removed"))
        return ExactDedupFilter(self._at("removed"), _EXACT)

    def _at(self, name: str) -> str:
        return str(self._folder / name)


class _Signature(MinhashDedupSignature):  # type: ignore[misc]
    """As datatrove's, with words hashed once: several times as fast, and without spaCy."""

    def __init__(self, folder: str, config: MinhashConfig) -> None:
        super().__init__(folder, config, language=WORDS)

    def get_shingles(self, text: str) -> npt.NDArray[np.uint64]:
        """Numbers of the runs of words: uint64 [runs, 1]."""
        return runs(hashes(plain_words(text)), self.config.n_grams)[:, None]


class Signer:
    """The signatures of single texts, as the rounds of near duplicates compare them."""

    def __init__(self, step: recipe.NearDuplicates) -> None:
        """As the stage `step` of a recipe has them."""
        self._signature = _Signature(".", _minhash(step))  # nothing is written there

    def __call__(self, text: str) -> list[tuple[int, ...]]:
        """Each bucket's hashes; none for a text that is shorter than a run of words."""
        shingles = self._signature.get_shingles(text)
        if not len(shingles):
            return []
        return [tuple(hashed) for hashed in self._signature.get_signature(shingles)]


def _minhash(step: recipe.NearDuplicates) -> MinhashConfig:
    return MinhashConfig(
        n_grams=step.words,
        num_buckets=step.buckets,
        hashes_per_bucket=step.hashes,
        seed=step.seed,
    )


def _same(doc: Document) -> bytes:
    """What documents that are the same have in common: their text but for space and case."""
    return " ".join(doc.text.casefold().split()).encode("utf-8", "replace")


# datatrove chooses the hash function by the annotation, which must be the type itself.
_same.__annotations__["return"] = bytes
_EXACT = ExactDedupConfig(content_getter=_same)
