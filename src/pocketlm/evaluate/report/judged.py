"""MT-bench's part of a report: ratings by category and turn, and the radar picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pocketlm.evaluate.radar import radar
from pocketlm.evaluate.report.entries import MT_BENCH, Entry
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
    part.words.append(
        "Eighty questions of two turns, each answer rated from 1 to 10 by a judge, which is a model"
        f" itself: {judges}. Ratings of different judges are not comparable. Published, judged by"
        f" GPT-4: Phi-3-mini-4k-instruct {PUBLISHED:.2f}."
    )
    samples = {entry.label: list(entry.run.samples.get(MT_BENCH, [])) for entry in judged}
    categories = list(
        dict.fromkeys(_category(sample) for items in samples.values() for sample in items)
    )
    rows: list[Sequence[Cell | str]] = []

    def add(title: str, wanted: Callable[[Sample], bool], key: str = "rating") -> None:
        cells = []
        for items in samples.values():
            ratings = [
                float(item[key])
                for item in items
                if wanted(item) and isinstance(item.get(key), int | float)
            ]
            cells.append(score(mean(ratings), 10) if ratings else Cell("not rated"))
        rows.append([title, *cells])

    for category in categories:
        add(category, lambda item, category=category: _category(item) == category)  # type: ignore[misc]
    add("first turn", lambda _: True, "rating_1")
    add("second turn", lambda _: True, "rating_2")
    rows.append(["all", *(score(entry.tasks[MT_BENCH].estimate, 10) for entry in judged)])
    part.tables.append(Table(["category", *samples], rows))
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


def _ratings(items: Sequence[Sample], category: str) -> list[float]:
    return [
        float(item["rating"])
        for item in items
        if _category(item) == category and isinstance(item.get("rating"), int | float)
    ]


def _category(sample: Sample) -> str:
    document = sample.get("doc")
    return name(document.get("category", "")) if isinstance(document, dict) else ""


def _judge(entry: Entry) -> str:
    said = entry.run.results.get("configs", {}).get(MT_BENCH, {}).get("metadata", {})
    return name(said.get("judge", "an unnamed judge")) if isinstance(said, dict) else "a judge"
