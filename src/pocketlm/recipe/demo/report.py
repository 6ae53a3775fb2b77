"""The demonstration's report: one page of HTML, the same as Markdown, and all numbers as JSON.

It knows what was found and what was made; it measures nothing. The page is of the form that
`pocketlm eval report` writes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import yaml

import pocketlm
from pocketlm.evaluate.about import machine
from pocketlm.evaluate.report.again import Again
from pocketlm.evaluate.report.report import Report
from pocketlm.evaluate.report.table import Cell, Section, Table, name
from pocketlm.formats.output import new_file
from pocketlm.recipe.data.tallies import Tallies
from pocketlm.recipe.demo import material, training, wording
from pocketlm.recipe.demo.arms import Arm, Arms
from pocketlm.recipe.demo.configuration import Demonstration
from pocketlm.recipe.demo.findings import MEASURES, Comparison, Findings, Measure
from pocketlm.recipe.demo.held_back import ITEM_WORDS, KNOWN, WORDS, HeldBack
from pocketlm.recipe.demo.judging import Asked
from pocketlm.recipe.demo.layout import ARMS, SETS, TITLES, Layout
from pocketlm.recipe.demo.pictures import Bar, curves, intervals
from pocketlm.recipe.demo.training import Plan
from pocketlm.recipe.train.tell import duration

#: Kinds of items of which an example is shown, at most.
_EXAMPLES = 12
_MEASURED = {name: f"Held-back {arm} text" for name, arm in SETS.items()}


@dataclass(frozen=True)
class Made:
    """All that a report is of."""

    setting: Demonstration
    layout: Layout
    arms: Arms
    held_back: HeldBack
    decided: Plan
    asked: Asked
    found: Findings
    seconds: Mapping[str, float]
    """What took how long."""


def write(made: Made) -> None:
    """Write `report.html`, `report.md` and `report.json` into the demonstration's folder."""
    report = Report(
        "Does the choice of text make the model?",
        time.strftime("%Y-%m-%d"),
        pocketlm.__version__,
        [
            _found(made),
            _differences(made),
            Section(
                "limits",
                "What this proves, and what it does not",
                wording.limits(made.setting, made.decided, made.found),
            ),
            _arms(made),
            _data(made),
            _runs(made),
            _items(made),
        ],
        [],
        [_again(made)],
    )
    texts = {
        "report.html": report.html(),
        "report.md": report.markdown(),
        "report.json": json.dumps(numbers(made), indent=1, ensure_ascii=False) + "\n",
    }
    for file, text in texts.items():
        with new_file(made.layout.out / file) as target:
            target.write(text.encode("utf-8", "replace"))


def numbers(made: Made) -> dict[str, Any]:
    """All numbers of the report. Intervals that are not there are null."""
    found = made.found
    return {
        "machine": machine(),
        "pocketlm": pocketlm.__version__,
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "setting": made.setting.model_dump(mode="json"),
        "parameters": training.parameters(made.setting),
        "plan": made.decided.model_dump(),
        "arms": made.arms.model_dump(),
        "held_back": made.held_back.model_dump(),
        "seconds": dict(made.seconds),
        "seeds": list(found.seeds),
        "items": dict(found.counts),
        "levels": {
            key: {arm: _plain(asdict(each)) for arm, each in of_arm.items()}
            for key, of_arm in found.levels.items()
        },
        "differences": [
            {
                "measure": each.measure.key,
                "before": each.before,
                "after": each.after,
                "verdict": each.verdict,
                **_plain(asdict(each.found)),
            }
            for each in found.comparisons
        ],
        "said": wording.headlines(found),
    }


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no nan."""
    return {
        key: None if isinstance(value, tuple) and any(each != each for each in value) else value
        for key, value in values.items()
    }


def _found(made: Made) -> Section:
    section = Section("found", "What was found", wording.headlines(made.found))
    rows: list[Sequence[Cell | str]] = []
    for measure in MEASURES:
        levels = made.found.levels[measure.key]
        row: list[Cell | str] = [Cell(measure.title, f"{measure.unit}, {_direction(measure)}")]
        for arm in ARMS:
            seeds = wording.ends(measure, levels[arm].by_seeds)
            row.append(Cell(wording.number(measure, levels[arm].value), seeds))
        chance = measure.chance
        row.append(Cell("" if chance is None else wording.number(measure, chance)))
        row.append(f"{made.found.counts[measure.key]:,}")
        rows.append(row)
    columns = ["measure", *(TITLES[arm] for arm in ARMS), "guessing", "items"]
    section.tables.append(Table(columns, rows))
    section.notes.append(
        f"Means over all seeds ({len(made.found.seeds)}) and items; the small numbers are 95 % "
        "intervals over the seeds. In the pictures a ring is a seed, the thin line the interval "
        "over seeds, the broad one that over items."
    )
    for measure in MEASURES:
        if measure.counts:
            section.pictures.append((f"{measure.title}, {measure.unit}", _picture(made, measure)))
    return section


def _direction(measure: Measure) -> str:
    return "lower is better" if measure.lower_is_better else "higher is better"


def _picture(made: Made, measure: Measure) -> str:
    bars = []
    for place, arm in enumerate(ARMS):
        level = made.found.levels[measure.key][arm]
        bars.append(
            Bar(
                TITLES[arm],
                level.value * measure.scale,
                _scaled(measure, level.by_items),
                _scaled(measure, level.by_seeds),
                [value * measure.scale for value in level.of_seeds],
                place,
            )
        )
    mark = None if measure.chance is None else measure.chance * measure.scale
    across = f"{measure.unit} ({_direction(measure)})"
    return intervals(bars, name=f"{measure.title} of each arm", across=across, mark=mark)


def _scaled(measure: Measure, interval: tuple[float, float]) -> tuple[float, float]:
    return interval[0] * measure.scale, interval[1] * measure.scale


def _differences(made: Made) -> Section:
    section = Section(
        "differences",
        "Differences between arms",
        [
            "Paired: runs of one seed begin with the same weights and draw the same places in the "
            "same order, and all answer the same items. “Not told apart” stands where one of the "
            "two intervals holds 0."
        ],
    )
    rows: list[Sequence[Cell | str]] = []
    for each in made.found.comparisons:
        measure, news = each.measure, {"better": "good", "worse": "bad"}.get(each.verdict, "")
        beside = "" if measure.counts else "shown beside; not what arms are compared by"
        rows.append(
            [
                Cell(measure.title, beside),
                f"{TITLES[each.after]} − {TITLES[each.before]}",
                wording.signed(each),
                wording.ends(measure, each.found.by_seeds, "+"),
                wording.ends(measure, each.found.by_items, "+"),
                Cell(each.verdict, "", news),
            ]
        )
    columns = ["measure", "arms", "difference", "over seeds", "over items", "verdict"]
    section.tables.append(Table(columns, rows, numbers=2))
    for measure in MEASURES:
        if measure.counts:
            of = [each for each in made.found.comparisons if each.measure is measure]
            section.pictures.append((f"{measure.title}: differences", _forest(measure, of)))
    return section


def _forest(measure: Measure, comparisons: Sequence[Comparison]) -> str:
    bars = [
        Bar(
            f"{_short(each.after)} − {_short(each.before)}",
            each.found.value * measure.scale,
            _scaled(measure, each.found.by_items),
            _scaled(measure, each.found.by_seeds),
            [value * measure.scale for value in each.found.of_seeds],
            ARMS.index(each.after),
        )
        for each in comparisons
    ]
    unit = "points" if measure.unit.startswith("%") else measure.unit
    side = "left of the line is better" if measure.lower_is_better else "right of it is better"
    return intervals(bars, name=f"{measure.title}: differences", across=f"{unit}; {side}", mark=0.0)


def _short(arm: str) -> str:
    return {"mixed": "with synthetic"}.get(arm, TITLES[arm])


def _arms(made: Made) -> Section:
    section = Section("arms", "The arms")
    share = made.decided.tokens / (made.arms.windows * made.setting.training.context)
    rows: list[Sequence[Cell | str]] = []
    for arm in ARMS:
        held: Arm = made.arms.arms[arm]
        rows.append(
            [
                TITLES[arm],
                f"{held.documents:,}",
                f"{held.bytes / 1e6:.2f} MB",
                f"{held.tokens:,}",
                f"{held.bytes / held.tokens:.2f}",
                f"{held.synthetic / held.tokens:.0%}",
                f"{1 - held.distinct / held.tokens:.1%}",
                f"{made.decided.tokens:,}",
                f"{held.bytes * share / 1e6:.2f} MB",
            ]
        )
    columns = [
        "arm",
        "documents",
        "text",
        "tokens",
        "bytes a token",
        "synthetic",
        "exact copies",
        "read in a run",
        "of text",
    ]
    section.tables.append(Table(columns, rows))
    section.words.append(
        "Each arm was cut to as many tokens as the others, the first of an order by hash; a run "
        f"reads so much of its arm, {share:.2f} times. Equal are tokens, not bytes: an arm whose "
        "text takes more bytes a token reads more text."
    )
    if made.decided.shortened_by:
        wanted = made.setting.training.tokens
        section.words.append(
            f"Runs are shorter than the setting's {wanted:,} tokens: {made.decided.shortened_by}."
        )
    return section


def _data(made: Made) -> Section:
    section = Section("data", "How the text was filtered")
    for build in ("raw", "filtered"):
        tallies = material.tallies_of(made.layout, build)
        section.tables.append(_funnel(build, tallies))
    classifier = material.classifier_of(made.layout)
    worth = classifier.worth
    low, high = worth.precision_interval
    section.words.append(
        f"The quality classifier was fitted on {classifier.fitted_on:,} labels. On "
        f"{worth.documents} that were held out, {worth.positive} of them {classifier.score} "
        f"points or more, its precision is {worth.precision:.2f} ({low:.2f} to {high:.2f}) and "
        f"its recall {worth.recall:.2f} ({worth.recall_interval[0]:.2f} to "
        f"{worth.recall_interval[1]:.2f})."
    )
    section.words.append(
        "Every stage with its reasons and with samples of what was kept and dropped:"
    )
    for build in material.BUILDS:
        place = material.report_of(made.layout, build).relative_to(made.layout.out)
        section.links.append((f"data report: {build}", place.as_posix()))
    for set_name, left in made.held_back.sets.items():
        section.notes.append(
            f"{_MEASURED[set_name]}: {left.documents:,} documents of {left.bytes / 1e6:.2f} MB "
            f"are left. {left.overlapping:,} were left out because more than {KNOWN:.0%} of their "
            f"runs of {WORDS} words are in a text that an arm reads, or in an earlier held-back "
            f"document; {left.short:,} because they are too short to tell."
        )
    return section


def _funnel(build: str, tallies: Tallies) -> Table:
    rows: list[Sequence[Cell | str]] = []
    for stage in tallies.deciding:
        most = ", ".join(f"{name(each.name)} ({each.documents:,})" for each in stage.reasons[:3])
        dropped = sum(each.documents for each in stage.reasons)
        rows.append(
            [
                stage.key,
                f"{stage.documents_out:,}",
                f"{dropped:,}",
                f"{stage.bytes_out / 1e6:.2f} MB",
                most,
            ]
        )
    return Table(
        [f"{build}: stage", "documents left", "dropped", "text left", "dropped most for"], rows
    )


def _runs(made: Made) -> Section:
    section = Section("runs", "Training")
    model = made.setting.model
    section.words.append(
        f"A Phi-3 of {training.parameters(made.setting):,} parameters ({model.num_hidden_layers} "
        f"layers, width {model.hidden_size}, a vocabulary of {made.setting.vocabulary:,}); "
        f"{made.decided.steps:,} steps of {made.setting.training.batch} windows of "
        f"{made.setting.training.context} tokens."
    )
    rows: list[Sequence[Cell | str]] = []
    lines: dict[str, dict[str, list[list[tuple[float, float]]]]] = {each: {} for each in SETS}
    for run in training.runs_of(made.setting):
        seconds = training.seconds_of(made.layout, run)
        rate = f"{made.decided.tokens / seconds:,.0f}" if seconds else ""
        rows.append(
            [
                f"{TITLES[run.arm]}, seed {run.seed}",
                f"{made.decided.tokens:,}",
                duration(seconds),
                rate,
            ]
        )
        held = made.arms.arms[run.arm]
        step = made.setting.training.batch * made.setting.training.context
        each_byte = held.bytes / held.tokens * step / 1e6
        measured = training.measured(made.layout, run)
        for each in SETS:
            line = [(at * each_byte, bits) for at, of, bits in measured if of == each]
            lines[each].setdefault(TITLES[run.arm], []).append(line)
    section.tables.append(Table(["run", "tokens", "took", "tokens a second"], rows))
    for each, of_arms in lines.items():
        means = {arm: _mean(of) for arm, of in of_arms.items()}
        caption = f"{_MEASURED[each]} during training, by bytes read"
        drawn = curves(means, name=caption, across="MB of text read", up="bits a byte")
        section.pictures.append((caption, drawn))
    section.notes.append(
        "By bytes read, not by tokens: the second way to be fair. Means over the seeds, on the "
        "beginning of the held-back text in windows as in training; the measures above are of "
        "whole documents, each from its own beginning."
    )
    took = ", ".join(f"{what} {duration(seconds)}" for what, seconds in made.seconds.items())
    section.notes.append(f"The way here took: {took}.")
    return section


def _mean(lines: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """The mean of lines that have the same places."""
    return [
        (points[0][0], sum(point[1] for point in points) / len(points))
        for points in zip(*lines, strict=True)
    ]


def _items(made: Made) -> Section:
    section = Section("items", "Items by kind")
    section.words.append(
        f"All made of held-back text. Those that share a run of {ITEM_WORDS} words with a text "
        f"that an arm reads were left out ({made.held_back.known_items:,}). Means over seeds; "
        "intervals over the items of the kind."
    )
    titles = {measure.key: measure for measure in MEASURES}
    for key, kinds in made.found.kinds.items():
        measure = titles[key]
        rows: list[Sequence[Cell | str]] = []
        for kind, levels in kinds.items():
            row: list[Cell | str] = [kind, f"{made.found.kind_counts[key][kind]:,}"]
            for arm in ARMS:
                level = levels[arm]
                row.append(
                    Cell(
                        wording.number(measure, level.value), wording.ends(measure, level.by_items)
                    )
                )
            rows.append(row)
        columns = [f"{measure.title}, {measure.unit}", "items", *(TITLES[arm] for arm in ARMS)]
        section.tables.append(Table(columns, rows))
    section.tables.append(_choice_examples(made.asked))
    section.tables.append(_pair_examples(made.asked))
    return section


def _choice_examples(asked: Asked) -> Table:
    firsts = {item.kind: item for item in reversed(asked.choices)}
    rows = [
        [
            kind,
            name(item.context),
            name(item.options[item.right]),
            name(
                " | ".join(
                    option for place, option in enumerate(item.options) if place != item.right
                )
            ),
        ]
        for kind, item in list(firsts.items())[:_EXAMPLES]
    ]
    return Table(["an example: kind", "context", "right", "wrong"], rows, numbers=4)


def _pair_examples(asked: Asked) -> Table:
    firsts = {item.kind: item for item in reversed(asked.pairs)}
    rows = [
        [kind, name(item.good), name(item.bad)] for kind, item in list(firsts.items())[:_EXAMPLES]
    ]
    return Table(["an example: kind", "good", "bad"], rows, numbers=3)


def _again(made: Made) -> Again:
    setting = yaml.safe_dump(
        made.setting.model_dump(mode="json", exclude_none=True), sort_keys=False
    )
    rows: list[Sequence[Cell | str]] = [
        [f"{run.arm}-{run.seed}", f"pocketlm train pretrain runs/{run.arm}-{run.seed}.yaml"]
        for run in training.runs_of(made.setting)
    ]
    rows = [
        *(
            [build, f"pocketlm data build {build}.yaml --out builds/{build}"]
            for build in material.BUILDS
        ),
        *rows,
    ]
    return Again(
        "recipe demo",
        [
            ("machine", machine()),
            ("rate measured first", f"{made.decided.rate:,.0f} tokens a second"),
            ("folder", str(made.layout.out)),
        ],
        "pocketlm train demo SETTING.yaml",
        setting,
        Table(["each step by hand", "in the demonstration's folder"], rows, numbers=2),
    )
