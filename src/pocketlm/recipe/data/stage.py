"""A stage: a step of datatrove's that is counted, timed and sampled.

Counted are documents and bytes (of text, UTF-8) that come and go, and both for each reason of a
drop. The time is the step's own, without that of the steps before and after it in the pipeline.
Of documents kept, and of documents dropped for each reason, a few are kept to look at: those
whose identity hashes lowest, so that the choice is fair and the same whenever it is made.

It knows what a step takes in and gives; it does not know what the step is for.
"""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any, Self

import xxhash
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep

SAMPLES = 3
"""Documents kept to look at: of those kept, and for each reason."""
NOTED = frozenset(
    {"tokens", *(f"masked {kind}" for kind in ("email", "ip", "card", "iban", "phone"))}
    | {"line-total", "line-kept"}
)
"""Counts of steps' own that are worth knowing."""
_SHOWN = 2_000
"""Characters kept of each."""


class Stage(PipelineStep):  # type: ignore[misc]
    """`step` under the name `key`. Its numbers are in datatrove's statistics of the job."""

    type = "stage"

    def __init__(
        self, key: str, step: PipelineStep, samples: Path, reason: str = "dropped"
    ) -> None:
        """Count `step`; put samples into the folder `samples`.

        `reason` is why a document is dropped where the step does not say.
        """
        self.name = key
        super().__init__()
        self.key, self.step, self.reason = key, step, reason
        self._samples = samples
        if hasattr(step, "exclusion_writer"):
            step.exclusion_writer = _Dropped(self)
        self._kept = Samples()
        self._dropped: dict[str, Samples] = {}

    def run(
        self, data: Iterable[Document] | None, rank: int = 0, world_size: int = 1
    ) -> Generator[Document, None, None]:
        """Run the step on what comes, and count."""
        clock = _Clock()
        source = None if data is None else self._counted(data, clock)
        clock.enter()
        given = self.step.run(source, rank, world_size)
        for doc in given or ():
            clock.leave()
            self._count("out", doc)
            self._kept.add(doc)
            yield doc
            clock.enter()
        clock.leave()
        self.stats["seconds"].update(clock.seconds, "task")
        for name in NOTED & self.step.stats.stats.keys():
            self.stats[f"noted/{name}"].update(self.step.stats[name].total, "task")
        self._write(rank)

    def dropped(self, doc: Document) -> None:
        """Count a document that the step drops."""
        reason = doc.metadata.pop("filter_reason", self.reason)
        self._count(f"dropped/{reason}", doc)
        self._dropped.setdefault(reason, Samples()).add(doc)

    def _counted(self, data: Iterable[Document], clock: _Clock) -> Generator[Document, None, None]:
        documents = iter(data)
        while True:
            clock.leave()
            doc = next(documents, None)
            if doc is not None:
                self._count("in", doc)
            clock.enter()
            if doc is None:
                return
            yield doc

    def _count(self, what: str, doc: Document) -> None:
        self.stat_update(f"documents/{what}")
        self.stat_update(f"bytes/{what}", value=len(doc.text.encode("utf-8", "replace")))

    def _write(self, rank: int) -> None:
        found = {
            "kept": self._kept.list(),
            "dropped": {reason: each.list() for reason, each in sorted(self._dropped.items())},
        }
        folder = self._samples / self.key
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(found, ensure_ascii=False)
        (folder / f"{rank:05d}.json").write_text(text, "utf-8", "replace")


class Samples:
    """The few documents whose identities hash lowest, of all that are added."""

    def __init__(self) -> None:
        """Hold none."""
        self._held: list[tuple[int, str, dict[str, Any]]] = []

    def add(self, doc: Document) -> None:
        """Take a document in, if it is among the lowest."""
        place = -xxhash.xxh64_intdigest(doc.id.encode())
        if len(self._held) == SAMPLES and place <= self._held[0][0]:
            return
        simple = {k: v for k, v in doc.metadata.items() if isinstance(v, str | int | float)}
        sample = {"id": doc.id, "text": doc.text[:_SHOWN], "metadata": simple}
        heapq.heappush(self._held, (place, doc.id, sample))
        if len(self._held) > SAMPLES:
            heapq.heappop(self._held)

    def list(self) -> list[dict[str, Any]]:
        """The documents: `id`, `text`, `metadata`, `place` (the lower, the earlier)."""
        return [{**sample, "place": -place} for place, _, sample in sorted(self._held)[::-1]]


class _Dropped:
    """Stands where a step of datatrove's writes what it drops."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def write(self, doc: Document, rank: int = 0) -> None:
        self._stage.dropped(doc)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class _Clock:
    """The time between entering and leaving, added up."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = 0.0

    def enter(self) -> None:
        self._since = time.perf_counter()

    def leave(self) -> None:
        self.seconds += time.perf_counter() - self._since
