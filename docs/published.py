"""Writes the tables of docs/phi3-report.md, or checks that they are there.

    python docs/published.py            # write
    python docs/published.py --check    # exit 1 when the page is not what would be written

The tables come from the tasks' own files and from published.toml; each stands between
`<!-- table: NAME -->` and `<!-- end -->`. The rest of the page is ours. It needs pocketlm[eval].
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lm_eval.tasks import TaskManager

from pocketlm.evaluate.harness import published
from pocketlm.evaluate.harness.members import members
from pocketlm.evaluate.harness.tasks import FOLDER

PAGE = Path(__file__).with_name("phi3-report.md")
_PART = re.compile(r"(<!-- table: (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def tasks() -> Iterator[str]:
    """What each task asks, and of which data."""
    manager = TaskManager(include_path=str(FOLDER), include_defaults=False)
    yield "| task | shots | asked | data | examples from | measured |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for task in published.tasks():
        parts = list(members(manager, [task.name]).values())
        # The harness's own BIG-Bench Hard, which is not among our files.
        parts = parts or [{"dataset_path": "SaylorTwift/bbh", "test_split": "test"}]
        cells = (_all(parts, key) for key in ("fewshot_split", "test_split"))
        shown, measured = (cell.replace("``", "") for cell in cells)
        shown = shown or ("its own file" if task.shots else "")
        asked = f"| `{task.name}` | {task.shots} | {task.form} |"
        yield f"{asked} {_data(parts)} | {shown} | {measured} |"


def _all(parts: list[dict[str, Any]], key: str) -> str:
    return ", ".join(f"`{value}`" for value in dict.fromkeys(part.get(key, "") for part in parts))


def _data(parts: list[dict[str, Any]]) -> str:
    name = _all(parts, "dataset_name")
    return _all(parts, "dataset_path") + (f", {name}" if name != "``" else "")


def figures() -> Iterator[str]:
    """Every published figure; numbers in brackets lead to what is said below the table."""
    notes: list[str] = []
    names = published.models()
    yield f"| task | {' | '.join(names.values())} |"
    yield f"| --- |{' --- |' * len(names)}"
    for task in published.tasks():
        found = {figure.key: figure for figure in published.beside(task.name)}
        cells = [f"{task.title} ({task.shots}){_note(notes, task.note)}"]
        for key in names:
            figure = found.get(key)
            if figure is None:
                cells.append("")
                continue
            said = [f"{figure.shots} shots."] if figure.shots != task.shots else []
            said += [figure.slip] if figure.slip else []
            value = f"{figure.value:.2f}".removesuffix("0")
            cells.append(value + _note(notes, " ".join(said)))
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield from (f"{number}. {note}" for number, note in enumerate(notes, 1))


def _note(notes: list[str], text: str) -> str:
    if not text:
        return ""
    if text not in notes:
        notes.append(text)
    return f" [{notes.index(text) + 1}]"


def sources() -> Iterator[str]:
    """Where each column is from."""
    for key, name in published.models().items():
        figure = next(
            f for task in published.tasks() for f in published.beside(task.name) if f.key == key
        )
        yield f"- {name}: {figure.source} ({figure.date})"


def generated(page: str) -> str:
    """The page with every table as it is now."""
    tables = {"tasks": tasks, "figures": figures, "sources": sources}
    return _PART.sub(
        lambda part: f"{part[1]}\n{chr(10).join(tables[part['name']]())}\n\n{part[3]}", page
    )


if __name__ == "__main__":
    before = PAGE.read_text(encoding="utf-8")
    after = generated(before)
    if sys.argv[1:] == ["--check"]:
        if before != after:
            sys.exit("docs/phi3-report.md is out of date: run `python docs/published.py`")
    else:
        PAGE.write_text(after, encoding="utf-8")
