"""What others published for the tasks of the suite: values, models, sources, and known slips.

The figures are data (published.toml); none is ours, and none was measured by this program.
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any

#: The form of a prompt where published.toml names no other.
BY_LETTER = "by letter"


@dataclass(frozen=True)
class Task:
    """A task of the suite as it was published: `shots` are the report's, `note` what to know."""

    name: str
    title: str
    shots: int
    form: str
    note: str


@dataclass(frozen=True)
class Figure:
    """One published value, in per cent, with all that is needed to quote it.

    `parameters` is the model's size in thousands of millions (None where it was not published);
    `shots` is what its source says, which is not always what the report does; `slip` says what is
    known to be wrong or contradicted about this value.
    """

    task: str
    key: str
    model: str
    parameters: float | None
    value: float
    shots: int
    source: str
    date: str
    slip: str


def tasks() -> tuple[Task, ...]:
    """Every task of the suite, in the report's order."""
    return tuple(
        Task(name, row["title"], row["shots"], row.get("form", BY_LETTER), row.get("note", ""))
        for name, row in _file()["tasks"].items()
    )


def models() -> dict[str, str]:
    """The key of each column, and the name of its model."""
    return {key: column["model"] for key, column in _file()["columns"].items()}


def beside(task: str) -> tuple[Figure, ...]:
    """The figures to stand beside ours for a task of the suite; none for any other task.

    The harness's own tasks have none: it scores the same benchmarks in another way (ARC-C of one
    model 57.6 there, 84.9 by letter), and the two must not stand in one row.
    """
    return tuple(
        Figure(
            task,
            key,
            column["model"],
            column.get("parameters"),
            column["figures"][task],
            column.get("shots", {}).get(task, _file()["tasks"][task]["shots"]),
            column["source"],
            column["date"],
            column.get("slips", {}).get(task, ""),
        )
        for key, column in _file()["columns"].items()
        if task in column["figures"]
    )


@functools.cache
def _file() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("published.toml").read_text("utf-8"))
