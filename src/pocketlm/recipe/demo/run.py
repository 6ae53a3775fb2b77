"""The demonstration from raw text to its report; stopped at any moment, it goes on.

    collect, hold back, build, tokenise | for each seed: train and judge each arm | report

It knows the order of things and how long they take; what each does, its module knows.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from pocketlm.errors import ParameterError
from pocketlm.formats.output import new_file, writing
from pocketlm.recipe.demo import arms, held_back, judging, material, report, training
from pocketlm.recipe.demo.configuration import Demonstration
from pocketlm.recipe.demo.findings import Findings, findings
from pocketlm.recipe.demo.layout import ARMS, TITLES, Layout
from pocketlm.recipe.train.plan import USUAL, product_rate
from pocketlm.recipe.train.tell import Tell, duration


def preview(setting: Demonstration) -> list[tuple[str, str]]:
    """What would be done, for people; the time is an estimate from large products' rate."""
    count, runs = training.parameters(setting), len(training.runs_of(setting))
    asked, minutes = setting.training, setting.training.minutes
    if setting.threads is not None:
        torch.set_num_threads(setting.threads)
    seconds = runs * asked.tokens * 6 * count / (product_rate() * USUAL)
    limit = "" if minutes is None else f", and {minutes:g} min at most: runs are shortened to fit"
    return [
        ("corpus", f"{setting.corpus.megabytes:g} MB of this machine's text, at most"),
        ("synthetic", f"{setting.synthetic.share:.0%} of the third arm's tokens"),
        ("tokenizer", f"{setting.vocabulary:,} tokens"),
        ("model", f"{count:,} parameters"),
        ("runs", f"{runs}: {len(ARMS)} arms, {len(asked.seeds)} seeds"),
        ("tokens", f"{asked.tokens:,} a run, {asked.tokens / count:.2f} a parameter"),
        ("training", f"about {duration(seconds)}{limit}"),
        ("judging", f"{setting.judging.choices:,} choices, {setting.judging.pairs:,} pairs"),
    ]


def demonstrate(setting: Demonstration, out: Path, *, show: Tell, note: Tell) -> Findings:
    """Do all that is not done in the folder `out`, and write the report there.

    `show` is told of progress, `note` what should stay to be read. Raises ParameterError where
    `out` is of another setting or in use, what data and training raise, and KeyboardInterrupt: the
    same call goes on.
    """
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".lock", timeout=0):
            return _demonstrate(setting, Layout(out.resolve()), show, note)
    except Timeout:
        raise ParameterError(f"{out}: another process is at work here") from None


def _demonstrate(setting: Demonstration, layout: Layout, show: Tell, note: Tell) -> Findings:
    _claim(setting, layout)
    times = _Times(layout.out / "times.json")
    workers = setting.threads or os.cpu_count() or 1
    if not (layout.out / "held-back.json").exists():
        note("text first, which takes some minutes; then it is said how long training will take")
    with times.of("data"):
        material.prepare(setting, layout, workers, show)
        cut = arms.prepare(setting, layout, show)
        left = held_back.prepare(setting, layout, show)
    for arm in ARMS:
        held = cut.arms[arm]
        note(f"{TITLES[arm]}: {held.documents:,} documents, {held.tokens:,} tokens")
    with times.of("measuring the rate"):
        decided = training.plan(setting, layout, cut, show)
    runs = training.runs_of(setting)
    open_runs = [run for run in runs if not training.finished(layout, run)]
    if open_runs:
        taking = duration(len(open_runs) * decided.tokens / decided.rate)
        note(
            f"{len(open_runs)} runs of {decided.tokens:,} tokens to train, {decided.rate:,.0f} "
            f"tokens a second: about {taking}, and some minutes of judging"
        )
    what = judging.asked(setting, layout)
    for number, run in enumerate(runs, 1):
        title = f"run {number} of {len(runs)}, {TITLES[run.arm]}, seed {run.seed}"

        def told(text: str, title: str = title) -> None:
            show(f"{title}: {text}")

        with times.of("training"):
            training.train(setting, layout, decided, run, show=told, note=lambda text: None)
        with times.of("judging"):
            judging.judge(setting, layout, run, what, told)
        note(f"{title}: done")
    scores = {
        arm: [
            judging.read_scores(layout, training.Run(arm, seed)) for seed in setting.training.seeds
        ]
        for arm in ARMS
    }
    show("comparing the arms")
    found = findings(scores, setting.training.seeds, what)
    report.write(report.Made(setting, layout, cut, left, decided, what, found, times.seconds))
    return found


def _claim(setting: Demonstration, layout: Layout) -> None:
    """Make the folder this setting's. Raises ParameterError where it is another one's."""
    values = json.loads(setting.model_dump_json(exclude={"threads"}))
    if layout.setting.exists():
        before = json.loads(layout.setting.read_bytes())
        others = sorted(key for key in {*values, *before} if values.get(key) != before.get(key))
        if others:
            raise ParameterError(
                f"{layout.out}: was begun with another {', '.join(others)}; "
                "name another folder by --out, or remove this one"
            )
        return
    if any(each.name != ".lock" for each in layout.out.iterdir()):
        raise ParameterError(f"{layout.out}: is not empty; name another folder by --out")
    with new_file(layout.setting) as file:
        file.write(json.dumps(values, indent=1).encode() + b"\n")


class _Times:
    """How long each part took, over all calls."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seconds: dict[str, float] = json.loads(path.read_bytes()) if path.exists() else {}

    @contextlib.contextmanager
    def of(self, part: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            taken = time.monotonic() - began
            self.seconds[part] = round(self.seconds.get(part, 0.0) + taken, 1)
            with new_file(self._path) as file:
                file.write(json.dumps(self.seconds).encode() + b"\n")
