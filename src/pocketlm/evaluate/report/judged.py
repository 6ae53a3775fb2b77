"""MT-bench's part of a report: ratings by category and turn, and the radar picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pocketlm.evaluate.radar import radar
from pocketlm.evaluate.report.entries import MT_BENCH, PAIRS, Entry
from pocketlm.evaluate.report.table import Cell, Section, Table, name, score
from pocketlm.evaluate.results import Sample
from pocketlm.evaluate.statistics import mean

#: What the Phi-3 report says of Phi-3-mini-4k-instruct, judged by GPT-4.
PUBLISHED = 8.38


def section(found: Sequence[Entry]) -> Section | None:
    """Ratings of each model; None where nobody was judged."""
    judged = [entry for entry in found if MT_BENCH in entry.tasks]
    if not judged:
        return None
    part = Section("mt-bench", "MT-bench")
    judges = "; ".join(dict.fromkeys(f"{entry.label} by {_judge(entry)}" for entry in judged))
    counts = ", ".join(
        f"{entry.label}: {entry.tasks[MT_BENCH].estimate.count} rated" for entry in judged
    )
    part.words.append(
        f"Questions of two turns ({counts}), each answer rated from 1 to 10 by a judge, a model"
        f" itself: {judges}. Ratings of different judges are not comparable. Published, judged by"
        f" GPT-4: Phi-3-mini-4k-instruct {PUBLISHED:.2f}."
    )
    samples = {entry.label: list(entry.run.samples.get(MT_BENCH, [])) for entry in judged}
    categories = list(
        dict.fromkeys(_category(sample) for items in samples.values() for sample in items)
    )
    rows: list[Sequence[Cell | str]] = []

    def add(title: str, category: str | None = None, key: str = "rating") -> None:
        rated = (_ratings(items, category, key) for items in samples.values())
        cells = (score(mean(each), 10) if each else Cell("not rated") for each in rated)
        rows.append([title, *cells])

    for category in categories:
        add(category, category)
    add("first turn", key="rating_1")
    add("second turn", key="rating_2")
    rows.append(["all", *(score(entry.tasks[MT_BENCH].estimate, 10) for entry in judged)])
    part.tables.append(Table(["category", *samples], rows))
    part.tables += filter(None, map(_pairs, judged))
    means = {
        label: {
            category: mean(ratings).value
            for category in categories
            if (ratings := _ratings(items, category))
        }
        for label, items in samples.items()
    }
    drawn = {label: axes for label, axes in means.items() if axes}
    if len(categories) > 2 and drawn:
        title = "Ratings by category"
        part.pictures.append((title, radar(drawn, categories, most=10, title=title, page=True)))
    return part


def _ratings(
    items: Sequence[Sample], category: str | None = None, key: str = "rating"
) -> list[float]:
    """The ratings under `key`; of one category, or all."""
    return [
        float(item[key])
        for item in items
        if category in (None, _category(item)) and isinstance(item.get(key), int | float)
    ]


def _category(sample: Sample) -> str:
    document = sample.get("doc")
    return name(document.get("category", "")) if isinstance(document, dict) else ""


def _judge(entry: Entry) -> str:
    """Who judged, and in whose words it was asked."""
    said = _metadata(entry, MT_BENCH)
    words = f" (asked in the words of {name(said['prompts'])})" if "prompts" in said else ""
    return name(said.get("judge", "a judge that is not named")) + words


def _metadata(entry: Entry, task: str) -> Mapping[str, object]:
    said = entry.run.results.get("configs", {}).get(task, {}).get("metadata", {})
    return said if isinstance(said, dict) else {}


def _pairs(entry: Entry) -> Table | None:
    """How often the judge preferred this model's answers to another's, turn by turn."""
    items = entry.run.samples.get(PAIRS, [])
    turns = [item[key] for item in items for key in ("win_1", "win_2") if key in item]
    if not turns:
        return None
    wins = mean([float(item["win"]) for item in items])
    against = name(_metadata(entry, PAIRS).get("against", "another"))
    agreed = mean([float(item["agreed"]) for item in items])
    return Table(
        [f"{entry.label} against {against}", "turns"],
        [
            ["won in both orders", f"{turns.count(1.0):,}"],
            ["lost in both orders", f"{turns.count(0.0):,}"],
            ["neither", f"{turns.count(0.5):,}"],
            ["score, per cent (neither is a half)", score(wins, 100)],
            ["judge kept to its word when the order changed, per cent", score(agreed, 100)],
        ],
    )
