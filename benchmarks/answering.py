"""The same questions closed-book, with search and a free answer, with search and extraction.

Each passage of a set in SQuAD's form becomes a file, which `pocketlm index` indexes, or a
dictionary of 12,000 entries a ZIM file (`questions/foldoc.py` says what is asked of it and why that
is fair); then each question is asked as `pocketlm ask` asks it. Printed are exact match and F1
(SQuAD's own measures), how often the known answer's words stand in what was said ("holds"), how
often the search found the passage, how often what was cited is that passage, and, with the passage
taken away, how often nothing was found. Intervals are 95 %, by a bootstrap over articles. The
articles that the reader's weights were fitted on (`reader_weights.py`) are left out.

    python benchmarks/answering.py SmolLM2.gguf xquad.en.json --count 200
    python benchmarks/answering.py SmolLM2.gguf /usr/share/dictd/foldoc.dict.dz --count 200
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import pocketlm
from comparison.machine import processor
from pocketlm.assistant.asking import READ, Answer, Asker
from pocketlm.assistant.index.index import Index
from pocketlm.assistant.index.ranking import Ranker
from pocketlm.assistant.passage import Passage, Source
from pocketlm.assistant.reading.extraction import Extractor
from pocketlm.assistant.sources import open_sources
from questions import foldoc
from questions.judging import exact, f1, normalised
from questions.reading import Question, read

#: Articles that `reader_weights.py` uses.
FITTED = 8


class Without:
    """A source that lacks one passage."""

    def __init__(self, source: Source, missing: str) -> None:
        self.name = source.name
        self._source = source
        self._missing = missing

    def search(self, query: str, count: int) -> list[Passage]:
        found = self._source.search(query, count + 3)
        return [each for each in found if each.source != self._missing][:count]


@dataclass(frozen=True)
class Result:
    """What came of one question."""

    group: str
    exact: float
    f1: float
    holds: float
    seconds: float
    found: bool = True
    cites: bool = False

    @classmethod
    def of(
        cls, question: Question, said: str, seconds: float, found: bool = True, cites: bool = False
    ) -> "Result":
        words = f" {' '.join(normalised(said))} "
        holds = any(f" {' '.join(normalised(known))} " in words for known in question.answers)
        right = exact(said, question.answers), f1(said, question.answers), float(holds)
        return cls(question.group, *(right if found else (0.0,) * 3), seconds, found, cites)


def interval(results: Sequence[Result], of: Callable[[Result], float]) -> str:
    """A mean in percent and its interval."""
    groups: dict[str, list[float]] = {}
    for result in results:
        groups.setdefault(result.group, []).append(of(result))
    sums = np.array([(sum(values), len(values)) for values in groups.values()])
    draw = np.random.default_rng(0).integers(len(sums), size=(2000, len(sums)))
    means = sums[draw, 0].sum(1) / sums[draw, 1].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    mean = sums[:, 0].sum() / sums[:, 1].sum()
    return f"{100 * mean:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def said(answer: Answer) -> str:
    """Its text without numbers of citations."""
    text = answer.text
    for number in range(1, READ + 1):
        text = text.replace(f" [{number}]", "")
    return text.replace(" [unsupported]", "")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("questions", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    ranker = Ranker.installed()
    with (
        tempfile.TemporaryDirectory() as folder,
        pocketlm.load(args.model, threads=args.threads) as model,
    ):
        of_files = args.questions.suffix == ".json"
        asked = (files if of_files else encyclopedia)(args.questions, Path(folder), ranker)
        random.Random(2).shuffle(asked)
        with open_sources(["docs" if of_files else "wiki"], Path(folder), ranker) as (source,):
            run(args, model, source, ranker, asked[: args.count])


def files(path: Path, home: Path, ranker: Ranker) -> list[Question]:
    """A set in SQuAD's form, its passages indexed as files; `passage` is where each lies."""
    every = read(path)
    fitted = list(dict.fromkeys(question.group for question in every))[:FITTED]
    texts = home / "texts"
    texts.mkdir()
    place = {}
    for number, passage in enumerate(dict.fromkeys(question.passage for question in every)):
        assert passage is not None
        place[passage] = texts / f"{number}.txt"
        place[passage].write_text(passage, encoding="utf-8")
    with Index.open(home, ranker) as index:
        index.add(texts)
    return [
        replace(question, passage=str(place[question.passage]))
        for question in every
        if question.group not in fitted and question.passage is not None
    ]


def encyclopedia(path: Path, home: Path, ranker: Ranker) -> list[Question]:
    """A dictionary as a ZIM file, indexed as people do it."""
    every = foldoc.entries(path)
    foldoc.write_zim(every, home / "foldoc.zim")
    with Index.open(home, ranker) as index:
        index.add(home / "foldoc.zim")
    return [
        replace(question, passage=f"zim:foldoc/{question.passage}")
        for question in foldoc.questions(every)
    ]


def run(
    args: argparse.Namespace,
    model: pocketlm.Model,
    docs: Source,
    ranker: Ranker,
    asked: Sequence[Question],
) -> None:
    """Ask everything in every way, and print."""
    extractor = Extractor(model)
    ways = {"extraction": False, "free answer": True}
    closed: list[Result] = []
    with_search: dict[str, list[Result]] = {way: [] for way in ways}
    away: dict[str, list[Result]] = {way: [] for way in ways}
    ranks = []
    for question in asked:
        gold = question.passage or ""
        began = time.perf_counter()
        remembered = extractor.remembered(question.text)
        closed.append(Result.of(question, remembered, time.perf_counter() - began))
        sources = [passage.source for passage in docs.search(question.text, 5)]
        ranks.append(sources.index(gold) if gold in sources else 99)
        for way, freely in ways.items():
            began = time.perf_counter()
            answer = Asker(model, [docs], ranker, freely=freely).ask(question.text)
            seconds = time.perf_counter() - began
            cites = any(citation.passage.source == gold for citation in answer.citations)
            result = Result.of(question, said(answer), seconds, answer.found, cites)
            with_search[way].append(result)
            lacking = Asker(model, [Without(docs, gold)], ranker, freely=freely)
            answer = lacking.ask(question.text)
            away[way].append(Result.of(question, said(answer), 0.0, answer.found))
    print(f"{processor()}, {args.threads} threads, {Path(args.model).name}, {len(asked)} questions")
    recall = [sum(rank < k for rank in ranks) / len(ranks) for k in (1, 3, 5)]
    print("the passage is found: first {:.1%}, in three {:.1%}, in five {:.1%}".format(*recall))
    header = ("", "exact", "F1", "holds", "answered", "cites the passage", "not found, away", "s")
    rows = [header]
    for name, results in (("closed book", closed), *with_search.items()):
        found = [result for result in results if result.found]
        row = [name]
        row += [
            interval(results, lambda r, of=of: getattr(r, of)) for of in ("exact", "f1", "holds")
        ]
        row += [f"{100 * len(found) / len(results):.0f}"]
        if name in away:
            row += [interval(found, lambda r: float(r.cites))]
            row += [interval(away[name], lambda r: float(not r.found))]
        else:
            row += ["", ""]
        rows.append([*row, f"{statistics.median(result.seconds for result in results):.2f}"])
    for row in rows:
        print(" | ".join(row))
    known = [place for place, result in enumerate(closed) if result.exact]
    for way, results in with_search.items():
        kept = sum(results[place].exact for place in known)
        print(f"of {len(known)} that the model knew, {way} says {kept:.0f}")


if __name__ == "__main__":
    main()
