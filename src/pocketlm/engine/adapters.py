"""Low-rank adapters made ready for a runtime: which operation gets what added.

An adapter's modules are found again as the program's weights: by name, as rows of a fused tensor,
or as parts of one that the adapter has whole. It knows programs, pairs (A, B) and the native
module. It does not know files, requests or the cache.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from pocketlm import _native
from pocketlm.engine.runtime import floats_of
from pocketlm.errors import Error, ModelFileError, ParameterError, UnsupportedError
from pocketlm.formats import checked
from pocketlm.models.program import Pick, Program, Project, Weight

if TYPE_CHECKING:
    from collections.abc import Hashable

    from pocketlm.formats.lora import Lora, Pair

Floats = npt.NDArray[np.float32]

#: Weights whose rows turn with the position.
_ROTATED = re.compile(r".*\.self_attn\.[qk]_proj\.weight", re.ASCII)
#: Modules that are no layer's.
_NO_LAYERS = ("lm_head", "embed_tokens")
#: What models may have in parts that adapters have whole, by the ends of their names.
_FUSED = {
    "qkv_proj": ("q_proj", "k_proj", "v_proj"),
    "gate_up_proj": ("gate_proj", "up_proj"),
}


@dataclass(frozen=True, eq=False)
class Adapter:
    """What is added to a model's projections: of an adapter, or of several, summed.

    Equal identities mean equal numbers, whatever the files they came from.
    """

    native: _native.Adapter | None = None
    identity: str = ""

    @property
    def nbytes(self) -> int:
        """Bytes that it takes in memory."""
        return 0 if self.native is None else self.native.nbytes

    def key(self, rope_set: int) -> Hashable:
        """What makes equal ids mean different contents of the cache."""
        return (rope_set, self.identity) if self.identity else rope_set


#: The model as it is.
NONE = Adapter()


class _Home(NamedTuple):
    """A module that a weight may be rows of: those from `start` on, of `rows`."""

    module: str
    start: int
    rows: int


@dataclass(frozen=True)
class _Part:
    """What is added to one operation, before it is native.

    `down` are the rows of all As, uint8 [rows, bytes of a row] of an element `type`. `ups` has for
    each weight None, or (the first of those rows that it needs, scaled B).
    """

    operation: int
    type: str
    columns: int
    down: npt.NDArray[np.uint8]
    ups: list[tuple[int, Floats] | None]


def bind(program: Program, loras: Sequence[tuple[Lora, float]]) -> Adapter:
    """Make adapters, each with a scale of its own, one for `program`: their sum.

    Raises ModelFileError for an adapter of another model or with numbers that are not finite,
    UnsupportedError for one that adapts what is no projection of a layer, ParameterError for a
    scale that is no number.
    """
    for _, scale in loras:
        if not isinstance(scale, int | float) or not -1e30 < scale < 1e30:
            raise ParameterError(f"an adapter's scale is {scale!r}; it must be a finite number")
    parts: list[_Part] = []
    found: set[tuple[int, str]] = set()
    for place, operation in enumerate(program.operations):
        if isinstance(operation, Pick):
            break
        if isinstance(operation, Project):
            uses = [
                [
                    (i, home)
                    for i, (lora, _) in enumerate(loras)
                    for home in homes
                    if home.module in lora.pairs
                ]
                for homes in _homes(operation)
            ]
            if any(uses):
                parts.append(_part(program, place, operation, uses, loras))
            found.update((i, home.module) for each in uses for i, home in each)
    for i, (lora, _) in enumerate(loras):
        _check_all_found(lora, {module for at, module in found if at == i})
    if not parts:
        return NONE
    try:
        pool = _native.ThreadPool(1)  # the model's own may be in the middle of a step
        native = _native.Adapter([_prepared(part, pool) for part in parts])
    except (MemoryError, RuntimeError):
        raise Error("no memory for the adapter") from None
    return Adapter(native, _identity(parts))


def _homes(operation: Project) -> Iterator[list[_Home]]:
    """For each weight the modules that it may be a part of: its own, and one that has all whole."""
    weights = operation.weights
    names = [weight.name.removesuffix(".weight") for weight in weights]
    fused = None
    for whole, parts in _FUSED.items():
        prefix = names[0].removesuffix(parts[0])
        if names == [prefix + part for part in parts]:
            fused = prefix + whole
    before = 0
    for weight, name in zip(weights, names, strict=True):
        rows = sum(other.rows for other in weights if other.name == weight.name)
        homes = [_Home(name, weight.start, rows)]
        if fused is not None:
            homes.append(_Home(fused, before, sum(other.rows for other in weights)))
        yield homes
        before += weight.rows


def _part(
    program: Program,
    place: int,
    operation: Project,
    uses: Sequence[Sequence[tuple[int, _Home]]],
    loras: Sequence[tuple[Lora, float]],
) -> _Part:
    """What all pairs add to an operation. Weights that use the same As share their rows."""
    pairs: list[Pair] = []
    firsts: dict[tuple[tuple[int, str], ...], int] = {}
    ups: list[tuple[int, Floats] | None] = []
    for weight, its in zip(operation.weights, uses, strict=True):
        if not its:
            ups.append(None)
            continue
        own = [loras[i][0].pair(home.module, (home.rows, weight.columns)) for i, home in its]
        key = tuple((i, home.module) for i, home in its)
        if key not in firsts:
            firsts[key] = sum(pair.a.shape[0] for pair in pairs)
            pairs += own
        columns = [
            _up(program, weight, pair, home, *loras[i])
            for pair, (i, home) in zip(own, its, strict=True)
        ]
        ups.append((firsts[key], np.ascontiguousarray(np.concatenate(columns, axis=1))))
    types = {pair.a.type for pair in pairs}
    rows = [pair.a.data for pair in pairs]
    if len(types) > 1:
        types = {"F32"}
        rows = [floats_of(pair.a.data, pair.a.type).view(np.uint8) for pair in pairs]
    columns_ = operation.weights[0].columns
    return _Part(place, types.pop(), columns_, np.concatenate(rows), ups)


def _up(
    program: Program, weight: Weight, pair: Pair, home: _Home, lora: Lora, scale: float
) -> Floats:
    """A pair's B, scaled: those rows that are a weight's, in its order. float32 [rows, rank]."""
    size = pair.b.nbytes // home.rows
    data = pair.b.data[home.start * size : (home.start + weight.rows) * size]
    with np.errstate(all="ignore"):
        rows = floats_of(data, pair.b.type) * np.float32(pair.scale * scale)
    for side, numbers in (("A", floats_of(pair.a.data, pair.a.type)), ("B", rows)):
        if not np.isfinite(numbers).all():
            raise ModelFileError(
                f"{lora.path}: the adapter of {checked.shown(home.module)}: {side} holds values"
                " that are not finite"
            )
    rows = rows.reshape(weight.rows, -1)
    adjacent = program.rope.pairing == "adjacent"
    if lora.adjacent != adjacent and _ROTATED.fullmatch(weight.name):
        order = program.rope.adjacent_order(program.head_dim)
        heads = rows.reshape(-1, program.head_dim, rows.shape[1])
        rows = heads[:, order if adjacent else np.argsort(order)].reshape(rows.shape)
    return rows


def _check_all_found(lora: Lora, found: set[str]) -> None:
    """Refuse an adapter that holds more than was found a place for."""
    for name in (*lora.whole, *lora.pairs):
        if name in found:
            continue
        module = name.removesuffix(".weight")
        if name in lora.whole:
            raise UnsupportedError(
                f"{lora.path}: the adapter replaces {checked.shown(name)} whole, which needs"
                " merging: pocketlm export --adapter"
            )
        if module.endswith(_NO_LAYERS):
            raise UnsupportedError(
                f"{lora.path}: the adapter adapts {checked.shown(module)}, which needs merging:"
                " pocketlm export --adapter"
            )
        raise ModelFileError(
            f"{lora.path}: the adapter of {checked.shown(module)} is for another model, which this"
            " is not"
        )


def _prepared(
    part: _Part, pool: _native.ThreadPool
) -> tuple[int, _native.Matrix, list[tuple[int, Floats] | None]]:
    rows = part.down.nbytes // (part.columns * (4 if part.type == "F32" else 2))
    down = _native.Matrix(part.type, rows, part.columns, part.down, pool)
    return part.operation, down, part.ups


def _identity(parts: Sequence[_Part]) -> str:
    """What tells sums of adapters apart: all their numbers."""
    digest = blake2b(digest_size=32)
    for part in parts:
        shapes = [up and (up[0], up[1].shape) for up in part.ups]
        digest.update(repr((part.operation, part.type, part.columns, shapes)).encode())
        digest.update(part.down.data)
        for up in part.ups:
            if up is not None:
                digest.update(up[1].data)
    return digest.hexdigest()
