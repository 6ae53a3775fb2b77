"""A build as one HTML page: funnel, reasons, samples, speed, and the cost of a terabyte on paper.

The page needs nothing else: style and pictures are in it. Every text in it is a stranger's, and is
escaped. It knows tallies; it does not know how they were made.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pocketlm.formats.output import new_file
from pocketlm.recipe.data.tallies import StageTally, Tallies

TERABYTE = 1e12
_CORES = (16, 128, 1024)


@dataclass(frozen=True)
class Cost:
    """What a stage would take for a terabyte of text read, on cores such as these."""

    key: str
    megabytes_a_second: float | None
    """A core; None for a stage that no text goes through."""
    core_hours: float
    dollars: float


def costs(tallies: Tallies, price: float) -> list[Cost]:
    """The cost of each stage for TERABYTE of text read, at `price` dollars a core and hour.

    Each stage's time is taken as growing with what is read, as measured in this build. Sorting the
    signatures of duplicates grows a little faster; storage and idle machines are not in it.
    """
    read = next((stage.bytes_out for stage in tallies.stages if stage.key == "read"), 0)
    found = []
    for stage in tallies.stages:
        hours = stage.seconds / read * TERABYTE / 3600 if read else 0.0
        speed = stage.speed / 1e6 if stage.bytes_in or stage.bytes_out else None
        found.append(Cost(stage.key, speed, hours, hours * price))
    return found


def write(tallies: Tallies, path: Path, price: float) -> None:
    """Write the page to `path`. Raises OutputError where it cannot be written."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(__name__, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["size"] = _size
    environment.filters["share"] = lambda part, whole: 100 * part / whole if whole else 0.0
    of_stages = costs(tallies, price)
    hours = sum(cost.core_hours for cost in of_stages)
    page = environment.get_template("page.html").render(
        tallies=tallies,
        stages=tallies.deciding,
        widest=max((_widest(stage) for stage in tallies.deciding), default=1) or 1,
        costs=of_stages,
        core_hours=hours,
        dollars=sum(cost.dollars for cost in of_stages),
        price=price,
        times=[(cores, hours / cores) for cores in _CORES],
    )
    with new_file(path) as file:
        file.write(page.encode("utf-8", "replace"))


def _widest(stage: StageTally) -> int:
    return max(stage.bytes_in, stage.bytes_out)


def _size(count: float) -> str:
    """A number of bytes for people, as the terminal shows it."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"
