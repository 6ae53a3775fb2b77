"""Architectures: one file each, named after the configuration's `model_type`.

Each turns a checkpoint's configuration, and the names, types and shapes of its tensors, into a
program. Pure: no I/O, no kernels. To add one, add its file, with a function `build`.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from pocketlm.errors import ModelFileError, UnsupportedError
from pocketlm.models.program import Program, TensorInfo

_SHARED = {"config", "program", "rope"}


def architectures() -> list[str]:
    """The model types that `build` knows."""
    return sorted({module.name for module in pkgutil.iter_modules(__path__)} - _SHARED)


def build(config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> Program:
    """The program of a checkpoint.

    `config` has the hub's keys (config.json) and `tensors` the hub's names, whichever file they
    came from. Raises UnsupportedError for an architecture or a variant that there is no code for,
    ModelFileError where configuration and tensors are damaged or contradict each other.
    """
    kind = config.get("model_type")
    if not isinstance(kind, str):
        raise ModelFileError("the model's configuration lacks model_type")
    if kind not in architectures():
        known = ", ".join(architectures())
        raise UnsupportedError(f"architecture {kind[:40]!r} is not supported; there are: {known}")
    program: Program = importlib.import_module(f"{__name__}.{kind}").build(config, tensors)
    return program
