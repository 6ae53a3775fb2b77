"""A folder belongs to one run: its configuration lies in it, and another one is refused."""

from __future__ import annotations

import json

import torch
from accelerate import PartialState

from pocketlm.errors import ParameterError
from pocketlm.formats.output import new_file, writing
from pocketlm.recipe.train.configuration import PretrainRun, Tuning

_RUN = "run.json"
#: Fields that may change when a run goes on: they do not decide what is learned.
_FREE = {"out", "checkpoints", "validation", "choices", "pairs", "threads", "micro_batch"}


def claim(run: PretrainRun | Tuning) -> None:
    """Make `run.out` this run's; all processes call it, the main one writes.

    Raises ParameterError where the folder holds a run with other values.
    """
    # The first to ask decides where processes talk: without a GPU it must be told so.
    state = PartialState(cpu=not torch.cuda.is_available())
    with state.main_process_first():
        path = run.out / _RUN
        values = run.model_dump(mode="json")
        if path.exists():
            _compare(run, values, path.read_bytes())
        elif state.is_main_process:
            with writing(run.out):
                run.out.mkdir(parents=True, exist_ok=True)
            with new_file(path) as file:
                file.write(json.dumps(values, indent=1).encode() + b"\n")


def _compare(run: PretrainRun | Tuning, values: dict[str, object], text: bytes) -> None:
    try:
        before = json.loads(text)
    except ValueError:
        raise ParameterError(f"{run.out / _RUN}: is damaged; remove {run.out}") from None
    others = [name for name in values if name not in _FREE and before.get(name) != values[name]]
    if others:
        raise ParameterError(
            f"{run.out}: holds a run with another {', '.join(others)}; "
            "name another folder as `out`, or remove this one"
        )
