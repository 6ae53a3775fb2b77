"""Retrieval: quality, time and size of the index beside plain peers on the same paragraphs.

Questions are XQuAD's in English: each belongs to one paragraph. They are asked of the paragraphs
alone, and of these among WikiText's; as they are ("plain"), and without the two rarest words that
they share with their paragraph ("hard": as somebody asks who does not know the document's words).
What meaning weighs (`ranking.py`) was chosen on articles of even number; "held out" are the others.

    python benchmarks/retrieval.py --data shared/data
    python benchmarks/retrieval.py --data shared/data --scale 1GB

With --scale that much text is made of the data's sentences in random order, and indexed: seconds,
bytes on disk, peak of memory, and what a query takes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from comparison.machine import processor
from pocketlm.assistant.documents.split import sentences
from pocketlm.assistant.embedder import Embedder
from pocketlm.assistant.index.index import Index
from pocketlm.assistant.index.ranking import Ranker
from pocketlm.assistant.index.words import words
from pocketlm.cli.options import bytes_of
from pocketlm.cli.output import size

#: How deep a ranking is looked at.
DEPTH = 20
Search = Callable[[str], list[int]]


class Question(NamedTuple):
    """A question; the numbers of the paragraph that answers it and of that paragraph's article."""

    text: str
    paragraph: int
    article: int


def xquad(data: Path) -> tuple[list[str], list[Question]]:
    """Paragraphs, and the questions about them."""
    paragraphs: list[str] = []
    questions = []
    for number, article in enumerate(
        json.loads((data / "xquad/xquad.en.json").read_text())["data"]
    ):
        for paragraph in article["paragraphs"]:
            for asked in paragraph["qas"]:
                questions.append(Question(asked["question"], len(paragraphs), number))
            paragraphs.append(paragraph["context"])
    return paragraphs, questions


def wikitext(data: Path) -> list[str]:
    """Paragraphs of 40 words and more."""
    lines = (data / "text/wikitext2_train_5k.txt").read_text().splitlines()
    return [line.strip() for line in lines if len(line.split()) >= 40]


def hard(paragraphs: Sequence[str], questions: Sequence[Question]) -> list[Question]:
    """The questions without the two rarest words that they share with their paragraph."""
    split = [re.findall(r"\w+", paragraph.lower()) for paragraph in paragraphs]
    counts = Counter(word for each in split for word in set(each))
    found = []
    for question in questions:
        asked = re.findall(r"\w+", question.text.lower())
        shared = {*words(question.text)} & {*split[question.paragraph]}
        rarest = sorted(shared, key=lambda word: (counts[word], word))[: min(2, len(shared) - 1)]
        left = " ".join(word for word in asked if word not in rarest)
        found.append(question._replace(text=left))
    return found


def ours(paragraphs: Sequence[str], folder: Path) -> tuple[Index, float, int]:
    """Each paragraph as a file of its own, added as a person would; seconds and bytes on disk."""
    documents = folder / "documents"
    documents.mkdir()
    for number, paragraph in enumerate(paragraphs):
        (documents / f"{number}.txt").write_text(paragraph)
    start = time.perf_counter()
    with Index.open(folder) as index:
        (report,) = index.add(documents)
    assert report.added == len(paragraphs)
    seconds = time.perf_counter() - start
    held = sum(path.stat().st_size for path in (folder / "index").rglob("*") if path.is_file())
    return Index.open(folder), seconds, held


def searching(index: Index, ranker: Ranker) -> Search:
    """The index with a ranker, giving numbers of paragraphs."""

    def search(query: str) -> list[int]:
        index._ranker = ranker
        return [int(Path(passage.source).stem) for passage in index.search(query, DEPTH)]

    return search


def meaning(paragraphs: Sequence[str], embedder: Embedder) -> Search:
    """Vectors alone: the most alike sentence of all paragraphs, compared one by one."""
    parts = [sentences(paragraph) for paragraph in paragraphs]
    vectors = embedder.embed([each for part in parts for each in part])
    begins = np.cumsum([0, *map(len, parts[:-1])])

    def search(query: str) -> list[int]:
        cosines = np.maximum.reduceat(vectors @ embedder.embed([query])[0], begins)
        return np.argsort(-cosines)[:DEPTH].tolist()

    return search


def by_rank(*searches: Search) -> Search:
    """Reciprocal rank fusion of several, k = 60."""

    def search(query: str) -> list[int]:
        scores: dict[int, float] = {}
        for each in searches:
            for rank, number in enumerate(dict.fromkeys(each(query)), 1):
                scores[number] = scores.get(number, 0) + 1 / (60 + rank)
        return sorted(scores, key=lambda number: -scores[number])[:DEPTH]

    return search


def fts5(paragraphs: Iterable[str], folder: Path) -> tuple[Search, float, int]:
    """SQLite FTS5 as it is by default; any word of the question."""
    path = folder / "fts5.sqlite"
    start = time.perf_counter()
    database = sqlite3.connect(path)
    database.execute("CREATE VIRTUAL TABLE p USING fts5(text)")
    database.executemany("INSERT INTO p (rowid, text) VALUES (?, ?)", enumerate(paragraphs))
    database.commit()
    seconds = time.perf_counter() - start

    def search(query: str) -> list[int]:
        either = " OR ".join(f'"{word}"' for word in re.findall(r"\w+", query))
        found = database.execute(
            f"SELECT rowid FROM p WHERE p MATCH ? ORDER BY rank LIMIT {DEPTH}", (either,)
        )
        return [row[0] for row in found]

    return search, seconds, path.stat().st_size


def bm25s(paragraphs: Sequence[str], folder: Path) -> tuple[Search, float, int]:
    """bm25s as it is by default, with its English stop words."""
    import bm25s

    start = time.perf_counter()
    model = bm25s.BM25()
    model.index(
        bm25s.tokenize(list(paragraphs), stopwords="en", show_progress=False), show_progress=False
    )
    model.save(folder / "bm25s", corpus=list(paragraphs), show_progress=False)
    seconds = time.perf_counter() - start
    held = sum(path.stat().st_size for path in (folder / "bm25s").iterdir())

    def search(query: str) -> list[int]:
        asked = bm25s.tokenize([query], stopwords="en", show_progress=False)
        return model.retrieve(asked, k=DEPTH, show_progress=False)[0][0].tolist()

    return search, seconds, held


def measured(search: Search, questions: Sequence[Question]) -> tuple[list[int], list[float]]:
    """The rank of each question's paragraph (`DEPTH` where it is not found), and the seconds."""
    ranks, seconds = [], []
    for question in questions:
        start = time.perf_counter()
        found = list(dict.fromkeys(search(question.text)))
        seconds.append(time.perf_counter() - start)
        there = question.paragraph in found
        ranks.append(found.index(question.paragraph) if there else DEPTH)
    return ranks, seconds


def line(name: str, search: Search, questions: Sequence[Question]) -> np.ndarray:
    """Measure and print a row; gives which questions' paragraphs came first, bool [questions]."""
    ranks, seconds = measured(search, questions)
    found = np.array(ranks)
    first = found == 0
    low, high = interval(first)
    apart = np.array([question.article % 2 == 1 for question in questions])
    mrr = np.where(found < DEPTH, 1 / (found + 1), 0).mean()
    print(
        f"  {name:24} {first.mean():6.1%} ({low:.1%} to {high:.1%})  {(found < 5).mean():6.1%}"
        f"  {mrr:.3f}  {first[apart].mean():10.1%}  {np.percentile(seconds, 95) * 1e3:7.1f} ms",
        flush=True,
    )
    return first


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % confidence interval of the mean, by the bootstrap."""
    drawn = np.random.default_rng(0).integers(len(values), size=(2000, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


def compare(title: str, paragraphs: Sequence[str], questions: Sequence[Question]) -> None:
    """All searches on the same paragraphs."""
    print(f"\n{title}: {len(paragraphs):,} paragraphs, {len(questions):,} questions")
    embedder = Embedder()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        index, *cost = ours(paragraphs, folder)
        peers = {"SQLite FTS5": fts5(paragraphs, folder), "bm25s": bm25s(paragraphs, folder)}
        searches = {
            "pocketlm, words": searching(index, Ranker(None)),
            "pocketlm, meaning": meaning(paragraphs, embedder),
            "pocketlm, both": searching(index, Ranker(embedder)),
            "both, joined by rank": by_rank(
                searching(index, Ranker(None)), meaning(paragraphs, embedder)
            ),
            **{name: peer[0] for name, peer in peers.items()},
        }
        for name, (seconds, held) in (
            ("pocketlm, from files", cost),
            *((name, peer[1:]) for name, peer in peers.items()),
        ):
            print(f"  {name}: indexed in {seconds:.2f} s, {size(held)}")
        for kind, asked in (("plain", questions), ("hard", hard(paragraphs, questions))):
            print(
                f"  {kind:24} {'recall@1':24} {'@5':>6}  {'MRR':>5}  {'held out@1':>10}  query p95"
            )
            firsts = {name: line(name, search, asked) for name, search in searches.items()}
            gain = firsts["pocketlm, both"] - firsts["pocketlm, words"].astype(float)
            low, high = interval(gain)
            print(f"  both over words, at 1: {gain.mean():+.1%} ({low:+.1%} to {high:+.1%})")
        index.close()


def made(data: Path, folder: Path, wanted: int) -> None:
    """Files of a megabyte: paragraphs of sentences in random order, with rare words among them."""
    texts = xquad(data)[0] + wikitext(data)
    texts += (data / "text/tinyshakespeare.txt").read_text().split("\n\n")
    parts = [each for text in texts for each in sentences(text) if len(each) > 20]
    draw = random.Random(0)
    total = number = 0
    while total < wanted:
        lines = []
        length = 0
        while length < 1_000_000:
            text = " ".join(draw.choices(parts, k=6))
            rare = int(50 / (draw.random() + 1e-4))
            lines.append(f"{text} Item q{rare} is of kind {rare % 9973}.")
            length += len(lines[-1])
        (folder / f"{number}.txt").write_text("\n\n".join(lines))
        number += 1
        total += length


def scale(data: Path, wanted: int) -> None:
    """Index that much text, and ask every fifth question; of SQLite FTS5 every twentieth."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        documents = Path(name) / "documents"
        documents.mkdir()
        made(data, documents, wanted)
        text = sum(path.stat().st_size for path in documents.iterdir())
        start = time.perf_counter()
        with Index.open(Path(name)) as index:
            (report,) = index.add(documents)
            seconds = time.perf_counter() - start
        kept = Path(name) / "index"
        held = sum(path.stat().st_size for path in kept.rglob("*") if path.is_file())
        peaks = [
            resource.getrusage(who).ru_maxrss * 1024
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ]
        print(f"{size(text)} of text, {report.passages:,} passages: indexed in {seconds:.0f} s")
        print(
            f"  on disk {size(held)}; peak of memory {size(peaks[0])}, its reader {size(peaks[1])}"
        )
        _, questions = xquad(data)
        with Index.open(Path(name)) as index:
            for kind, ranker in (("words", Ranker(None)), ("both", Ranker(Embedder()))):
                late(f"a query by {kind}", searching(index, ranker), questions[::5])
        shutil.rmtree(kept)
        paragraphs = (
            paragraph
            for path in documents.iterdir()
            for paragraph in path.read_text().split("\n\n")
        )
        search, seconds, held = fts5(paragraphs, Path(name))
        print(f"  SQLite FTS5: indexed in {seconds:.0f} s, {size(held)}")
        late("a query of it", search, questions[::20])


def late(name: str, search: Search, questions: Sequence[Question]) -> None:
    """Print what queries take."""
    _, took = measured(search, questions)
    middle, most = np.percentile(took, (50, 95)) * 1e3
    print(f"  {name}: median {middle:.1f} ms, p95 {most:.1f} ms", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("POCKETLM_TEST_DATA"))
    parser.add_argument("--scale", metavar="SIZE", help="index so much text instead (1GB)")
    args = parser.parse_args()
    if args.data is None:
        parser.error("say where the data are: --data, or POCKETLM_TEST_DATA")
    data = Path(args.data)
    print(f"{processor()}, {os.cpu_count()} cores, {time.strftime('%F')}")
    if args.scale:
        scale(data, bytes_of(args.scale))
        return
    paragraphs, questions = xquad(data)
    compare("XQuAD", paragraphs, questions)
    compare("XQuAD among WikiText", paragraphs + wikitext(data), questions)


if __name__ == "__main__":
    main()
