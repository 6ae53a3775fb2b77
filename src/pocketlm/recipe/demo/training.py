"""The runs: a model of each arm for each seed, equal in all but what they read.

It writes a run's configuration and trains as `pocketlm train pretrain` does; each can be run by
hand. How many steps a run takes is decided once, by the rate of a few steps on this machine.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from pocketlm.errors import ParameterError
from pocketlm.formats.output import new_file
from pocketlm.recipe import yaml_file
from pocketlm.recipe.demo.arms import Arms
from pocketlm.recipe.demo.configuration import Demonstration
from pocketlm.recipe.demo.held_back import CURVE_TOKENS
from pocketlm.recipe.demo.layout import ARMS, SETS, Layout
from pocketlm.recipe.train import log
from pocketlm.recipe.train.configuration import PretrainRun
from pocketlm.recipe.train.loop import LOG, MODEL, pretrain
from pocketlm.recipe.train.tell import Tell

#: Steps whose rate is measured; the first two, in which memory is found, do not count.
_TRIED, _NOT_COUNTED = 10, 2
#: Measurements on held-back text in a run, and checkpoints.
_MEASUREMENTS, _CHECKPOINTS = 8, 5


def parameters(setting: Demonstration) -> int:
    """Weights of the model, those used twice counted once."""
    model, width = setting.model, setting.model.hidden_size
    head = width // model.num_attention_heads
    keys = head * (model.num_key_value_heads or model.num_attention_heads)
    attention = width * (width + 2 * keys) + width * width
    layer = attention + 3 * width * model.intermediate_size + 2 * width
    embeddings = (model.vocab_size or setting.vocabulary) * width
    tables = 1 if model.tie_word_embeddings else 2
    return tables * embeddings + model.num_hidden_layers * layer + width


class Plan(BaseModel):
    """What is decided before the first run."""

    rate: float
    """Tokens a second, measured."""
    steps: int
    """Of each run."""
    tokens: int
    """Of each run."""
    shortened_by: str
    """Why runs are shorter than the setting says; empty where they are not."""


@dataclass(frozen=True)
class Run:
    """One run."""

    arm: str
    seed: int


def runs_of(setting: Demonstration) -> list[Run]:
    """All runs: one of each arm, then the next seed, so that what is done can be compared."""
    return [Run(arm, seed) for seed in setting.training.seeds for arm in ARMS]


def plan(setting: Demonstration, layout: Layout, arms: Arms, tell: Tell) -> Plan:
    """Decide how many steps a run takes, or read what was decided.

    Raises ParameterError where the time would not suffice for a run that learns anything.
    """
    if layout.plan.exists():
        return Plan.model_validate_json(layout.plan.read_bytes())
    tell(f"measuring the rate: {_TRIED} steps")
    training = setting.training
    rate = _measure(setting, layout)
    step = training.batch * training.context
    steps, why = training.tokens // step, ""
    there = int(arms.windows * training.epochs) // training.batch
    if there < steps:
        steps, why = there, "the smallest arm has no more text"
    if training.minutes is not None:
        count = len(ARMS) * len(training.seeds)
        allowed = int(training.minutes * 60 * rate / count / step)
        if allowed < steps:
            steps, why = allowed, f"{training.minutes:g} minutes allow no more on this machine"
    if steps <= training.schedule.warmup:
        raise ParameterError(
            f"training: runs would have {steps} steps, as {why or 'tokens says'}; the warm-up "
            f"alone has {training.schedule.warmup}. Say fewer seeds, or more minutes or text"
        )
    found = Plan(rate=rate, steps=steps, tokens=steps * step, shortened_by=why)
    with new_file(layout.plan) as file:
        file.write(found.model_dump_json(indent=1).encode() + b"\n")
    return found


def train(
    setting: Demonstration, layout: Layout, decided: Plan, run: Run, *, show: Tell, note: Tell
) -> None:
    """Train one model, or go on with it; nothing where it is finished."""
    if finished(layout, run):
        return
    values = _values(setting, run.arm, run.seed, decided.steps, layout.run(run.arm, run.seed).name)
    described = layout.run_file(run.arm, run.seed)
    _describe(described, values)
    pretrain(yaml_file.read(described, PretrainRun), show=show, note=note)


def finished(layout: Layout, run: Run) -> bool:
    """Whether the model is there."""
    return (layout.run(run.arm, run.seed) / MODEL).is_dir()


def seconds_of(layout: Layout, run: Run) -> float:
    """How long a run took, as its log says; parts before and after a stop together."""
    total = last = 0.0
    for line in log.read(layout.run(run.arm, run.seed) / LOG):
        if "seconds" in line:
            total += last if line["seconds"] < last else 0.0
            last = line["seconds"]
    return total + last


def measured(layout: Layout, run: Run) -> list[tuple[int, str, float]]:
    """What a run's log says of held-back text: step, set, bits a byte."""
    return [
        (line["step"], line["validation"], line["bits_per_byte"])
        for line in log.read(layout.run(run.arm, run.seed) / LOG)
        if "validation" in line
    ]


def _measure(setting: Demonstration, layout: Layout) -> float:
    """Tokens a second of a few steps of the first arm."""
    folder = layout.out / "runs" / "rate"
    shutil.rmtree(folder, ignore_errors=True)
    values = _values(setting, ARMS[0], setting.training.seeds[0], _TRIED, folder.name)
    del values["validation"]
    values["schedule"]["warmup"] = 0
    values["schedule"].pop("decay", None)
    described = folder.with_suffix(".yaml")
    _describe(described, values)
    pretrain(yaml_file.read(described, PretrainRun))
    seconds: list[float] = [line["seconds"] for line in log.read(folder / LOG)]
    shutil.rmtree(folder)
    described.unlink()
    counted = (_TRIED - _NOT_COUNTED) * setting.training.batch * setting.training.context
    return counted / (seconds[-1] - seconds[_NOT_COUNTED - 1])


def _values(setting: Demonstration, arm: str, seed: int, steps: int, name: str) -> dict[str, Any]:
    """A run's configuration; paths are relative to the folder `runs`."""
    training = setting.training
    every, tokens = max(1, steps // _MEASUREMENTS), steps * training.batch * training.context
    return {
        "out": name,
        "tokenizer": "../tokenizer",
        "model": setting.model.model_dump(exclude_none=True),
        "sources": {arm: f"../arms/{arm}"},
        "phases": [{"name": arm, "steps": steps, "mix": {arm: 1}}],
        "context": training.context,
        "batch": training.batch,
        "schedule": training.schedule.model_dump(exclude_none=True),
        "validation": {
            "sets": {each: f"../held-back/{each}" for each in SETS},
            "every": every,
            # A curve is worth a few hundredths of a run's time, not more.
            "tokens": min(CURVE_TOKENS, max(16 * training.context, tokens // 100)),
        },
        "checkpoints": {"every": max(1, steps // _CHECKPOINTS), "keep": 1},
        "seed": seed,
        **({} if setting.threads is None else {"threads": setting.threads}),
    }


def _describe(path: Path, values: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    with new_file(path) as file:
        file.write(yaml.safe_dump(values, sort_keys=False).encode())
