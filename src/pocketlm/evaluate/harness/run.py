"""Tasks of lm-evaluation-harness and of ours, measured: results in the harness's own form.

It builds tasks (`data` finds their items), lets the harness ask and judge, and keeps each answer,
so that a run that was killed goes on. It does not know commands, pages or published figures.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import datasets
import lm_eval.api.task
import numpy as np
from lm_eval.evaluator import evaluate
from lm_eval.tasks import TaskManager
from lm_eval.tasks._index import Kind, TaskIndex
from lm_eval.utils import sanitize_list

import pocketlm
from pocketlm.api import Model
from pocketlm.errors import ParameterError
from pocketlm.evaluate.about import identity
from pocketlm.evaluate.harness import published
from pocketlm.evaluate.harness.code import check
from pocketlm.evaluate.harness.data import local, require
from pocketlm.evaluate.harness.lm import HarnessModel
from pocketlm.evaluate.harness.shots import enough
from pocketlm.evaluate.harness.tasks import FOLDER, SUITE
from pocketlm.evaluate.results import Sample
from pocketlm.ledger import Ledger

LEDGER = "requests.jsonl"
#: The harness's own: the same examples are shown as there.
SEED = 1234


def measure(
    model: Model,
    out: Path,
    *,
    tasks: Sequence[str],
    limit: int | None = None,
    shots: int | None = None,
    seed: int = SEED,
    data: Path | None = None,
    chat: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, Any], dict[str, list[Sample]]]:
    """Measure tasks, groups or tags by name, or tasks by the path of their YAML files.

    `limit` is the most items of each task; `shots` the examples before each item, where the task
    leaves it open (None: the task's own number); `seed` draws them. Items come from the folder
    `data`, or from the hub and its cache (see `data.local`). With `chat`, prompts come in the
    model's chat template, examples as turns of it.

    Each answer is kept in `out`: the same call goes on where it was ended, and so does one with
    another limit. `tell` gets lines of progress. Returns the harness's dictionary, in which
    `truncated` says for each task how many texts were too long and lost their beginning, and the
    samples of each task. Raises ParameterError for a task that there is not, data that are
    missing, a number that is too small, or a folder of another run; SandboxError where tasks run
    programs and cannot.
    """
    names = list(dict.fromkeys(each for name in tasks for each in _members(name)))
    for name, number, least in (("limit", limit, 1), ("shots", shots, 0)):
        if number is not None and number < least:
            raise ParameterError(f"{name} is {number}; it must be at least {least}")
    work = {
        **identity(model),
        "context": model.context,
        "cache_type": model.engine.runtime.cache_type,
        "tasks": names,
        "shots": shots,
        "seed": seed,
        "chat": chat,
        "pocketlm": pocketlm.__version__,
        "lm_eval": version("lm_eval"),
    }
    with _quiet():
        tell("reading what tasks there are")
        manager = _manager(names)
        _check(manager, names)
        tell("reading the tasks' items")
        require(manager, names, data)
        with local(data):
            loaded = manager.load(names)
        _prepare(loaded["tasks"].values(), shots, seed)
        with Ledger(out / LEDGER, work) as ledger:
            asked = HarnessModel(model, ledger, seed=seed, chat=chat, tell=tell)
            tell("making the prompts")
            # Not `simple_evaluate`: it would write down this machine's packages and folder.
            found = evaluate(
                asked,
                loaded,
                limit=limit,
                log_samples=True,
                apply_chat_template=chat,
                fewshot_as_multiturn=chat,
            )
    samples = found.pop("samples")
    found["config"] = {**work, "limit": limit}
    found["truncated"] = {task: count for task, count in asked.cut.items() if count}
    return found, {task: [_sample(item) for item in items] for task, items in samples.items()}


def _members(name: str) -> list[str]:
    """The tasks of our suite, each a result of its own; any other name stands for itself."""
    return [task.name for task in published.tasks()] if name == SUITE else [name]


def _manager(names: Sequence[str]) -> TaskManager:
    """What knows tasks by name; the harness's 15,000 are read where one of them may be meant."""
    own = TaskManager(include_path=str(FOLDER), include_defaults=False)
    entries = [TaskIndex.entry_from_path(Path(name)) for name in names if Path(name).is_file()]
    if all(entry is not None and entry.kind == Kind.TASK for entry in entries) and all(
        name in own.all_subtasks or Path(name).is_file() for name in names
    ):
        return own
    return _all_tasks()


@cache
def _all_tasks() -> TaskManager:
    return TaskManager(include_path=str(FOLDER))


def _check(manager: TaskManager, names: Sequence[str]) -> None:
    """Raise ParameterError unless all tasks are known, and may be run."""
    if not names:
        raise ParameterError("no task is named: give some by --tasks, as in --tasks mmlu,gsm8k")
    for name in names:
        if name not in manager.task_index and not Path(name).is_file():
            near = get_close_matches(name, manager.all_tasks, 5, 0.5)
            said = f"; the nearest are {', '.join(near)}" if near else ""
            raise ParameterError(f"there is no task {name!r}{said}")
    check(manager, names)


def _prepare(tasks: Iterable[Any], shots: int | None, seed: int) -> None:
    """Say how many examples tasks show, and draw them alike in every run."""
    random.seed(seed)
    np.random.seed(seed)  # what some tasks draw by
    for task in tasks:
        if getattr(task, "UNSAFE_CODE", False):
            raise ParameterError(
                f"{task.task_name}: would run what the model writes on this machine, unprotected"
            )
        of_task = task.get_config("num_fewshot")
        if shots is not None and of_task != 0:  # a task that says 0 has no place for any
            task.set_config(key="num_fewshot", value=shots)
        elif of_task is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=seed)
        enough(task)


def _sample(item: dict[str, Any]) -> dict[str, Any]:
    """A sample as the harness writes it to a file."""
    arguments = {
        f"gen_args_{i}": {f"arg_{j}": part for j, part in enumerate(each)}
        for i, each in enumerate(item["arguments"])
    }
    return {
        **item,
        "arguments": arguments,
        "target": str(item["target"]),
        "resps": sanitize_list(item["resps"]),
        "filtered_resps": sanitize_list(item["filtered_resps"]),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the harness's own log lines and progress bars; errors are raised in any case."""
    log = logging.getLogger("lm_eval")
    level, bars, bar = log.level, datasets.are_progress_bars_disabled(), lm_eval.api.task.tqdm
    log.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    lm_eval.api.task.tqdm = partial(bar, disable=True)
    try:
        yield
    finally:
        log.setLevel(level)
        if not bars:
            datasets.enable_progress_bars()
        lm_eval.api.task.tqdm = bar
