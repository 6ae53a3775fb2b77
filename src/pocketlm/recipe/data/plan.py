"""A recipe into jobs: rows of datatrove's steps that run one after another.

Documents flow from step to step. Where duplicates are compared, all tasks must have come so far:
there a job ends, and the documents wait on the disk.

    read, filter …, write, sign | compare | read, leave out, filter …, write, tokenise | seal

It knows which step follows which. It runs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from datatrove.pipeline.base import PipelineStep

from pocketlm.recipe.data import recipe, spool
from pocketlm.recipe.data.duplicates import Rounds
from pocketlm.recipe.data.filters import heuristics
from pocketlm.recipe.data.readers import Sources
from pocketlm.recipe.data.stage import Stage
from pocketlm.recipe.data.tokens import Seal, Tokenise

DOCUMENTS, SHARDS, SAMPLES, WORK, JOBS = "documents", "shards", "samples", "work", "jobs"


@dataclass(frozen=True)
class Job:
    """Steps that each of `tasks` tasks takes; a job begins when the one before has ended."""

    name: str
    steps: tuple[PipelineStep, ...]
    tasks: int


def jobs_of(wanted: recipe.Recipe, out: Path) -> list[Job]:
    """The jobs that make what is `wanted` in the folder `out`.

    It ends in `out/documents`, and in `out/shards` where shards are wanted. Raises ParameterError
    for sources without files, a tokenizer or a classifier that cannot be read.
    """
    plan = _Plan(wanted, out)
    plan.read()
    for step in wanted.stages:
        plan.add(step)
    plan.end()
    return plan.jobs


class _Plan:
    """Jobs as they grow."""

    def __init__(self, wanted: recipe.Recipe, out: Path) -> None:
        self._wanted, self._out = wanted, out
        self.jobs: list[Job] = []
        self._steps: list[PipelineStep] = []

    def read(self) -> None:
        self._stage("read", Sources(self._wanted.sources))

    def add(self, step: recipe.Step) -> None:
        if isinstance(step, recipe.ExactDuplicates | recipe.NearDuplicates):
            self._remove_duplicates(step)
        else:
            self._stage(step.stage, _filter(step))

    def end(self) -> None:
        self._stage("write", spool.Write(self._out / DOCUMENTS))
        shards = self._wanted.shards
        if shards is None:
            self._job("last", self._wanted.tasks)
            return
        folder = self._out / SHARDS
        self._stage("tokenise", Tokenise(folder, shards.file, shards.end))
        self._job("last", self._wanted.tasks)
        parts = [f"{rank:05d}" for rank in range(self._wanted.tasks)]
        self._steps = [Seal(folder, shards.file, shards.end, self._wanted.name, parts)]
        self._job("seal", 1)

    def _remove_duplicates(self, step: recipe.ExactDuplicates | recipe.NearDuplicates) -> None:
        waiting = self._out / WORK / f"before-{step.stage}"
        rounds = Rounds(step, self._out / WORK / step.stage)
        self._stage(f"write before {step.stage}", spool.Write(waiting))
        self._stage(f"sign {step.stage}", rounds.sign())
        self._job(f"before {step.stage}", self._wanted.tasks)
        for name, comparing, tasks in rounds.compare():
            self._stage(f"{name} {step.stage}", comparing)
            self._job(f"{name} {step.stage}", tasks)
        self._stage(f"read before {step.stage}", spool.Read(waiting))
        self._stage(step.stage, rounds.leave_out(), rounds.reason)

    def _stage(self, key: str, step: PipelineStep, reason: str = "dropped") -> None:
        self._steps.append(Stage(key, step, self._out / SAMPLES, reason))

    def _job(self, name: str, tasks: int) -> None:
        numbered = f"{len(self.jobs):02d} {name}".replace(" ", "-")
        self.jobs.append(Job(numbered, tuple(self._steps), tasks))
        self._steps = []


def _filter(step: recipe.Step) -> PipelineStep:
    """The filter of a stage."""
    match step:
        case recipe.Extract():
            from pocketlm.recipe.data.filters.extract import Extract

            return Extract(step.seconds, step.precision)
        case recipe.Language():
            from pocketlm.recipe.data.filters.language import Language

            return Language(step.keep, step.least)
        case recipe.GopherQuality():
            return heuristics.gopher_quality(step)
        case recipe.GopherRepetition():
            return heuristics.gopher_repetition(step)
        case recipe.C4():
            return heuristics.c4(step)
        case recipe.FineWeb():
            return heuristics.fineweb(step)
        case recipe.Quality():
            from pocketlm.recipe.data.filters.quality import Quality

            return Quality(step.classifier, step.least)
        case recipe.Decontaminate():
            from pocketlm.recipe.data.filters.decontaminate import Decontaminate

            return Decontaminate(step.benchmarks, step.words, step.least)
        case recipe.Mask():
            from pocketlm.recipe.data.filters.mask import Mask

            return Mask(step.kinds)
    raise AssertionError(f"no filter for {step.stage}")
