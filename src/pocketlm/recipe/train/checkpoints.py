"""What a run that was stopped goes on from: folders that are whole or not there.

A checkpoint is accelerate's own (weights, optimizer, schedule, random state) with `progress.json`
and what transformers needs to open its weights. It is written beside its place and renamed, so that
a process killed at any moment leaves the one before it. It knows files and processes; what a step
is, the loop knows.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from pydantic import BaseModel, ConfigDict, ValidationError

from pocketlm.errors import Error, ModelFileError, OutputError
from pocketlm.formats.output import new_folder, writing

_PROGRESS = "progress.json"
_NAME = "step-{:08d}"


class Progress(BaseModel):
    """Where a run stands: all that decides what comes next, but weights and optimizer."""

    model_config = ConfigDict(extra="forbid")

    step: int = 0
    """Steps done."""
    phase: str = ""
    """The name of the last step's phase."""
    taken: dict[str, int] = {}
    """Windows drawn of each source."""
    since: dict[str, int] = {}
    """What `taken` was when the phase began."""


def newest(folder: Path) -> Path | None:
    """The newest checkpoint of a folder; None where there is none."""
    found = sorted(folder.glob("step-*/" + _PROGRESS))
    return found[-1].parent if found else None


def save(
    accelerator: Accelerator,
    folder: Path,
    progress: Progress,
    keep: int,
    extra: Callable[[Path], None],
) -> Path:
    """Write a checkpoint into `folder` and remove the oldest beyond `keep`; all processes call it.

    `extra` writes more into it, in the main process. Raises OutputError (the disk is full) in every
    process; the checkpoints before stay as they are.
    """
    place = folder / _NAME.format(progress.step)
    with _new_shared_folder(accelerator, place) as beside:
        accelerator.save_state(str(beside))
        if accelerator.is_main_process:
            extra(beside)
            (beside / _PROGRESS).write_text(progress.model_dump_json() + "\n", "utf-8")
    if accelerator.is_main_process:
        for old in sorted(folder.glob("step-*"))[:-keep]:
            shutil.rmtree(old, ignore_errors=True)
    return place


def keep_trained_alone(accelerator: Accelerator) -> None:
    """From now on checkpoints hold only what is trained of a model: an adapter, not its base."""

    def drop(models: list[torch.nn.Module], weights: list[dict[str, Any]], folder: str) -> None:
        for model, state in zip(models, weights, strict=True):
            trained = {name for name, each in model.named_parameters() if each.requires_grad}
            for name in set(state) - trained:
                del state[name]

    accelerator.register_save_state_pre_hook(drop)


def load(accelerator: Accelerator, place: Path, *, whole: bool = True) -> Progress:
    """Take over a checkpoint's state; all processes call it. Raises ModelFileError.

    Without `whole` it holds what is trained alone (`keep_trained_alone`).
    """
    try:
        progress = Progress.model_validate_json((place / _PROGRESS).read_bytes())
        accelerator.load_state(str(place), strict=whole)
    except OSError as error:
        raise ModelFileError(f"{place}: cannot be read: {error.strerror or error}") from None
    except (ValidationError, ValueError, RuntimeError, KeyError, json.JSONDecodeError) as error:
        line = next(iter(str(error).splitlines()), "")
        raise ModelFileError(f"{place}: is no checkpoint of this model: {line}") from None
    return progress


@contextlib.contextmanager
def _new_shared_folder(accelerator: Accelerator, place: Path) -> Iterator[Path]:
    """`new_folder` for several processes: one makes it, all write into it, one renames it."""
    failure: Error | None = None
    with contextlib.ExitStack() as stack:
        told: list[Any] = [None]
        if accelerator.is_main_process:
            try:
                told = [stack.enter_context(new_folder(place))]
            except OutputError as error:
                failure = error
        if accelerator.num_processes > 1:
            told = broadcast_object_list(told)
        if told[0] is None:
            raise failure or OutputError(f"{place}: cannot be written")
        with writing(place), _full_disk_as_oserror():
            yield Path(told[0])
        accelerator.wait_for_everyone()
    accelerator.wait_for_everyone()


@contextlib.contextmanager
def _full_disk_as_oserror() -> Iterator[None]:
    """PyTorch and safetensors tell of a full disk by errors of their own."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        text = str(error)
        if "No space left" in text or "file write failed" in text or "PytorchStreamWriter" in text:
            import errno

            raise OSError(errno.ENOSPC, "No space left on device") from error
        raise
