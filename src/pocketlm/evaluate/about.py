"""What was measured, on what: a loaded model, its file, its adapters, and this machine.

It knows models and where systems name their processor. It does not know what was measured.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import pocketlm
from pocketlm.api import Model
from pocketlm.evaluate.results import About
from pocketlm.formats.gguf_checkpoint import part_paths


def about(
    model: Model,
    *,
    suite: str,
    name: str,
    adapters: Sequence[str] = (),
    seconds: float,
    command: Sequence[str],
    settings: Mapping[str, Any],
) -> About:
    """Describe a run of `suite` that took so many seconds.

    The model was named `name`, the adapters that were added to it as `adapters` says.
    """
    checkpoint = model.checkpoint
    tensors = [checkpoint.tensors[each] for each in checkpoint.tensors]
    numbers = sum(prod(tensor.shape) for tensor in tensors)
    files = (
        part_paths(checkpoint.path)
        if checkpoint.kind == "gguf"
        else checkpoint.path.glob("*.safetensors")
    )
    runtime = model.engine.runtime
    return About(
        suite=suite,
        model=name,
        adapters=list(adapters),
        parameters=model.program.parameters,
        file_bytes=sum(file.stat().st_size for file in files),
        bits_per_weight=8 * sum(tensor.nbytes for tensor in tensors) / numbers,
        pocketlm=pocketlm.__version__,
        machine=machine(),
        threads=runtime.pool.threads,
        date=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        seconds=seconds,
        command=list(command),
        settings={
            "context": model.context,
            "cache_type": runtime.cache_type,
            "instruction_set": runtime.pool.instruction_set,
            **settings,
        },
    )


def identity(model: Model) -> dict[str, Any]:
    """What answers depend on of a model: those of another one are not mixed with its own."""
    adapter = model.engine.adapter.identity
    return {
        "model": model.checkpoint.path.name,
        "parameters": model.program.parameters,
        # A digest of its numbers; None, as in ledgers of old, where there is none.
        "adapter": adapter[:16] or None,
    }


def machine() -> str:
    """The processor's name, as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
