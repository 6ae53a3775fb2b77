"""Tensors that a GGUF file of ours holds as panels: matrices laid out as the kernels read them.

GGUF has no number for our element types, so such a tensor is stored as bytes (I8, one row a panel
of 16 weight rows), and the metadata say what it is; the architecture, "pocketlm-phi3" for "phi3",
tells other programs that the file is not for them. It knows sizes; what lies in a panel is
native/layout.h's, and docs/quantisation.md's.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pocketlm.errors import ModelFileError, UnsupportedError
from pocketlm.formats import checked
from pocketlm.formats.checkpoint import PANEL_BITS, PANEL_ROWS, Tensor, panel_bytes

#: What the architecture's name begins with in a file that holds panels.
PREFIX = "pocketlm-"

_NAMES, _TYPES, _ROWS, _COLUMNS = (
    f"pocketlm.panels.{key}" for key in ("tensors", "types", "rows", "columns")
)


def metadata(tensors: Sequence[tuple[str, str, int, int]]) -> dict[str, Any]:
    """What the metadata say of `tensors`: (name, type, rows, columns) each."""
    if not tensors:
        return {}
    names, types, rows, columns = zip(*tensors, strict=True)
    return {
        _NAMES: list(names),
        _TYPES: list(types),
        _ROWS: np.array(rows, np.uint32),
        _COLUMNS: np.array(columns, np.uint32),
    }


def restored(metadata: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `tensors`, those that are panels with their own types and shapes.

    Raises ModelFileError where the metadata do not fit the tensors, UnsupportedError for a type
    that is not known.
    """
    listed = metadata.get(_NAMES)
    result = dict(tensors)
    if listed is None:
        return result
    lists = [listed, *(metadata.get(key) for key in (_TYPES, _ROWS, _COLUMNS))]
    for key, values in zip((_NAMES, _TYPES, _ROWS, _COLUMNS), lists, strict=True):
        if not isinstance(values, Sequence | np.ndarray) or len(values) != len(listed):
            raise ModelFileError(f"{key} is not a list of one for each tensor in panels")
    for name, kind, rows, columns in zip(*lists, strict=True):
        result[str(name)] = _restored(tensors, str(name), str(kind), rows, columns)
    return result


def _restored(
    tensors: Mapping[str, Tensor], name: str, kind: str, rows: object, columns: object
) -> Tensor:
    tensor = tensors.get(name)
    if tensor is None:
        raise ModelFileError(f"pocketlm.panels names a tensor {checked.shown(name)}, not there")
    if kind not in PANEL_BITS:
        raise UnsupportedError(
            f"tensor {checked.shown(name)} is of type {checked.shown(kind)}: "
            "the file needs a newer pocketlm"
        )
    if not (isinstance(rows, np.integer) and isinstance(columns, np.integer)):
        raise ModelFileError(f"pocketlm.panels has no whole numbers for {checked.shown(name)}")
    rows, columns = int(rows), int(columns)
    if min(rows, columns) < 1 or columns % 32:
        raise ModelFileError(
            f"tensor {checked.shown(name)} has {rows} x {columns} weights, which no panels hold"
        )
    shape = (-(-rows // PANEL_ROWS), panel_bytes(kind, columns))
    if tensor.type != "I8" or tensor.shape != shape:
        raise ModelFileError(
            f"tensor {checked.shown(name)} is {tensor.type} {list(tensor.shape)}, "
            f"expected I8 {list(shape)} for {rows} x {columns} weights of {kind}"
        )
    return Tensor(name, kind, (rows, columns), tensor.data)
