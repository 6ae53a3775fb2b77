"""A report of runs: what it consists of, as one page of HTML or as Markdown.

The page holds all that it needs: no script, no picture and no style from elsewhere, and a policy
that would refuse them. All text of models and files is escaped by the template (autoescape), with
its unseen characters written out. It joins the report's parts and knows none of their subjects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from pocketlm.assistant.visible import visible
from pocketlm.evaluate.report import again, failures, judged, markdown, probes, scores
from pocketlm.evaluate.report.entries import Entry, entries
from pocketlm.evaluate.report.table import Section, Table
from pocketlm.evaluate.results import Run

#: How many failures of a task are shown unless told otherwise.
FAILURES = 10


@dataclass(frozen=True)
class Report:
    """The parts of a report, before they are written down."""

    title: str
    date: str
    version: str
    sections: Sequence[Section]
    failures: Sequence[failures.Failures]
    runs: Sequence[again.Again]

    def html(self) -> str:
        """One page that needs nothing else."""
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup

        here = resources.files(__package__)
        environment = Environment(
            autoescape=True,
            undefined=StrictUndefined,
            finalize=lambda value: (
                visible(value)
                if isinstance(value, str) and not isinstance(value, Markup)
                else value
            ),
        )
        template = environment.from_string(here.joinpath("page.html").read_text("utf-8"))
        sections = [
            {
                **vars(part),
                # Our own drawings: they escape the names in them.
                "pictures": [(caption, Markup(drawn)) for caption, drawn in part.pictures],
            }
            for part in self.sections
        ]
        return template.render(
            title=self.title,
            date=self.date,
            version=self.version,
            sections=sections,
            failures=self.failures,
            runs=self.runs,
            style=Markup(here.joinpath("page.css").read_text("utf-8")),
        )

    def markdown(self) -> str:
        """The same without pictures; failures as blocks of code."""
        return markdown.written(
            self.title, self.date, self.version, self.sections, self.failures, self.runs
        )


def report(
    runs: Sequence[Run],
    *,
    date: str,
    each: int = FAILURES,
    metric: str | None = None,
) -> Report:
    """The report of one run or several; at most `each` failures of a task.

    `metric` counts where a task has it. The first run is what the others are compared with.
    """
    import pocketlm

    found = entries(runs, metric)
    labels = list(dict.fromkeys(entry.label for entry in found))
    named = ", ".join(labels[:4]) + (f" and {len(labels) - 4} more" if len(labels) > 4 else "")
    parts = [
        again.overview(found),
        scores.section(found),
        scores.published_section(found),
        scores.sizes_section(found),
        probes.section(found),
        judged.section(found),
        _differences(found),
    ]
    return Report(
        f"How good is {named}?" if len(labels) == 1 else f"How good are {named}?",
        date,
        pocketlm.__version__,
        [part for part in parts if part is not None],
        failures.failures(found, each),
        [again.again(entry) for entry in found],
    )


def _differences(found: Sequence[Entry]) -> Section | None:
    """All paired differences, of every kind of task."""
    part = Section("differences", "Differences, item by item")
    for kind in ("tasks", "probes", "mt-bench"):
        for made in scores.differences(found, kind):
            if isinstance(made, Table):
                part.tables.append(made)
            else:
                part.notes.append(made)
    if not part.tables and not part.notes:
        return None
    part.words.append(
        "In points of 100 (a rating counts ten a step), on the items that both did, with 95 %"
        " intervals. “Better” and “worse” count items. p is of “there is no"
        " difference”: McNemar's exact test for right and wrong, else a permutation test; over"
        " several tasks corrected by Holm's method. Coloured where it is below 0.05."
    )
    return part
