"""What an evaluation found, on disk: the form of lm-evaluation-harness, whatever was measured.

A folder holds `results.json` (what each task gave) and `samples_TASK.jsonl` (each item: what was
asked, answered, and how it was judged), so that whatever reads the harness's results reads these.
It knows files and their form; it knows no task and no model.

`results.json` has the harness's keys: `results` (task to "METRIC,FILTER" and
"METRIC_stderr,FILTER"), `n-shot`, `n-samples`, `configs`, `versions`, `date`; and one of ours,
`pocketlm`: what is needed to run it again and to name it in a table (see `About`).
A sample has the harness's keys: `doc_id` (the same item in every run), `doc`, `target`,
`arguments`, `resps`, `filtered_resps`, `metrics` (names of the keys that hold its scores), and a
score for each metric. Samples of ours also say `why`: the judge's reasons, in words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pocketlm.errors import ParameterError
from pocketlm.formats.output import new_file

RESULTS = "results.json"
#: What the parts of results hold for each task.
_FORM: Mapping[str, type] = {
    "results": dict,
    "configs": dict,
    "n-samples": dict,
    "n-shot": object,
    "group_subtasks": list,
}
#: A sample: one item of a task, as the harness writes it.
Sample = Mapping[str, Any]


@dataclass(frozen=True)
class About:
    """What was measured, on what: enough to run it again.

    `model` is how it was named, `adapters` what was added to it; `file_bytes` and
    `bits_per_weight` are of its file; `command` is the command line; `settings` is what it came to,
    defaults included (limit, shots, seed, …).
    """

    suite: str
    model: str
    parameters: int
    file_bytes: int
    bits_per_weight: float
    pocketlm: str
    machine: str
    threads: int
    date: str
    seconds: float
    command: Sequence[str]
    settings: Mapping[str, Any]
    adapters: Sequence[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The model and its adapters, as one name."""
        return " + ".join(map(str, (self.model, *self.adapters)))


@dataclass(frozen=True)
class Run:
    """One folder of results: the harness's dictionary, and each task's samples, by `doc_id`."""

    folder: Path
    results: Mapping[str, Any]
    samples: Mapping[str, Sequence[Sample]]

    @property
    def about(self) -> About | None:
        """What was measured; None for results that another program wrote.

        Raises ParameterError where it does not say what it must.
        """
        found = self.results.get("pocketlm")
        if not isinstance(found, dict):
            return None
        try:
            about = About(**found)
        except TypeError as error:
            raise ParameterError(
                f"{self.folder}: {RESULTS} is of another version: {error}"
            ) from None
        for name in ("parameters", "file_bytes", "bits_per_weight", "threads", "seconds"):
            if not isinstance(getattr(about, name), int | float):
                raise ParameterError(f"{self.folder}: {RESULTS}: {name} is no number")
        if not isinstance(about.adapters, list):
            raise ParameterError(f"{self.folder}: {RESULTS}: adapters is no list")
        return about


def write(
    folder: Path,
    results: Mapping[str, Any],
    samples: Mapping[str, Sequence[Sample]],
    about: About,
) -> None:
    """Write a run into a folder, which is made where it is not there; `results.json` comes last."""
    folder.mkdir(parents=True, exist_ok=True)
    for task, items in samples.items():
        with new_file(folder / f"samples_{task}.jsonl") as file:
            for item in items:
                file.write(_encoded(item) + b"\n")
    with new_file(folder / RESULTS) as file:
        file.write(_encoded({**results, "pocketlm": asdict(about)}, indent=2) + b"\n")


def read(folder: Path) -> Run:
    """Read a run: ours, or a folder that the harness wrote (`results_DATE.json`, the newest).

    Raises ParameterError for a folder without results, or with some that are not of this form.
    """
    named = folder / RESULTS
    if not named.is_file():
        found = sorted(folder.glob("results*.json")) or sorted(folder.glob("*/results*.json"))
        if not found:
            raise ParameterError(
                f"{folder}: there are no results (no {RESULTS}); "
                "name the folder that `pocketlm eval … --out` wrote"
            )
        named = found[-1]
    results = _loaded(named)
    if not isinstance(results, dict) or "results" not in results:
        raise ParameterError(f"{named}: these are not the results of an evaluation")
    for key, kind in _FORM.items():
        part = results.get(key, {})
        if not (isinstance(part, dict) and all(isinstance(each, kind) for each in part.values())):
            raise ParameterError(f"{named}: {key!r} is not as in the results of an evaluation")
    samples = {}
    for task in results["results"]:
        files = sorted(named.parent.glob(f"samples_{task}.jsonl")) or sorted(
            named.parent.glob(f"samples_{task}_20*.jsonl")
        )
        if files:
            samples[task] = _lines(files[-1])
    return Run(folder, results, samples)


def _encoded(value: object, indent: int | None = None) -> bytes:
    """JSON; half a pair of surrogates, which a text may hold and UTF-8 may not, is escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=str)
    return text.encode(errors="backslashreplace")


def _lines(path: Path) -> list[Sample]:
    items = []
    # By bytes: a text may hold what else ends lines for Python (U+2028).
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line:
            continue
        try:
            item = json.loads(line)
            items.append((int(item["doc_id"]), item))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            reason = "it has no doc_id" if isinstance(error, KeyError | TypeError) else error
            raise ParameterError(f"{path}, line {number}: this is no sample: {reason}") from None
    return [item for _, item in sorted(items, key=lambda pair: pair[0])]


def _loaded(path: Path) -> object:
    try:
        return json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ParameterError(f"{path}: this is not JSON: {error}") from None
