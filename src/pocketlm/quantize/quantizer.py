"""A model to fewer bits, in one pass over its layers.

It brings together what others know: how a matrix is rounded is `feedback`'s matter, in which basis
`basis`', how many bits it takes `plan`'s, where it stands in the file `layout`'s. One layer at a
time is in memory, in float32.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pocketlm.errors import ModelFileError, OutputError, ParameterError, UnsupportedError
from pocketlm.formats.checkpoint import PANEL_BITS, Checkpoint
from pocketlm.formats.open import open_checkpoint
from pocketlm.models import build
from pocketlm.models.program import Program, Weight
from pocketlm.quantize import decoder, plan, sensitivity
from pocketlm.quantize.basis import Basis, scale_down
from pocketlm.quantize.calibration import Calibration
from pocketlm.quantize.decoder import ROLES, Floats, Layer
from pocketlm.quantize.export import gguf_metadata
from pocketlm.quantize.feedback import Bytes, rounded
from pocketlm.quantize.groups import groups, is_tied, prior, within_fused
from pocketlm.quantize.layout import STEMS, Layout
from pocketlm.quantize.plan import Choice, Group
from pocketlm.quantize.sensitivity import Cost, Ids, Sensitivity
from pocketlm.quantize.weights import Weights

#: What people may name: llama.cpp's types, then ours.
TYPES = (
    *("q4_0", "q4_1", "q4_k", "q5_k", "q6_k", "q8_0", "q3_k", "iq4_nl", "iq4_xs"),
    *("p3", "p4", "p5", "p6"),
)
#: Types that lose so little that they serve as a source.
_SOURCES = ("F32", "F16", "BF16", "Q8_0")
Progress = Callable[[str, int, int], None]


class Goal(NamedTuple):
    """How small: a file of `size` bytes, an average of `bits`, or one `type` (one of the three).

    With `standard`, of types that llama.cpp opens alone.
    """

    size: int | None = None
    bits: float | None = None
    type: str | None = None
    standard: bool = False


@dataclass(frozen=True)
class Result:
    """What was written."""

    choices: list[Choice]
    file_bytes: int
    weights: int


def quantize(
    source: Path,
    target: Path,
    goal: Goal,
    *,
    calibration: Sequence[str] | None = None,
    tokens: int | None = None,
    requantise: bool = False,
    force: bool = False,
    progress: Progress = lambda what, done, total: None,
    note: Callable[[str], None] = lambda text: None,
    show: Callable[[str], None] = lambda text: None,
    planned: Callable[[list[Choice]], None] = lambda choices: None,
) -> Result:
    """Write the model at `source` with fewer bits to the GGUF file `target`.

    With `calibration`, texts that its activations are measured on (`tokens` of them), errors are
    fed back, in a basis that suits. `show` is told what is done before the file is begun, `planned`
    the plan, `note` what people should know. Raises ParameterError, ModelFileError,
    UnsupportedError, or OutputError (`target` is there, or no room on the disk).
    """
    if target.exists() and not force:
        raise OutputError(f"{target} is there already; use --force to replace it")
    with open_checkpoint(source) as checkpoint:
        try:
            return quantize_checkpoint(
                checkpoint,
                target,
                goal,
                calibration=calibration,
                tokens=tokens,
                requantise=requantise,
                progress=progress,
                note=note,
                show=show,
                planned=planned,
            )
        except (ModelFileError, UnsupportedError) as error:
            if str(error).startswith(str(source)):
                raise
            raise type(error)(f"{source}: {error}") from None


def quantize_checkpoint(
    checkpoint: Checkpoint,
    target: Path,
    goal: Goal,
    *,
    calibration: Sequence[str] | None = None,
    tokens: int | None = None,
    requantise: bool = False,
    progress: Progress = lambda what, done, total: None,
    note: Callable[[str], None] = lambda text: None,
    show: Callable[[str], None] = lambda text: None,
    planned: Callable[[list[Choice]], None] = lambda choices: None,
) -> Result:
    """As `quantize`, of an open checkpoint; what is at `target` is replaced."""
    _check_source(checkpoint, requantise, note)
    job = _Job(checkpoint, goal, note)
    measured = None
    if calibration is not None:
        measured = Calibration(job.program, checkpoint.tokenizer(), calibration, tokens=tokens)
        job.turn()
        measured.weigh(job.measure(measured.some(sensitivity.TOKENS), target, show))
    planned(job.choices)
    return job.write(target, measured, progress)


def _check_source(checkpoint: Checkpoint, requantise: bool, note: Callable[[str], None]) -> None:
    lossy = sorted({t.type for t in checkpoint.tensors.values()} - set(_SOURCES))
    if not lossy:
        return
    lost = f"its weights are rounded already ({', '.join(lossy)}), and that loss adds to this one"
    if not requantise:
        raise ParameterError(
            f"{checkpoint.path}: {lost}; begin from the float checkpoint, or use --requantise"
        )
    note(lost)


class _Job:
    """One model on its way to one file."""

    def __init__(self, checkpoint: Checkpoint, goal: Goal, note: Callable[[str], None]) -> None:
        self.weights = Weights(checkpoint, None)
        self.pool = self.weights.pool
        # Rows in the hub's order, tensors fused, all of them float32: as `Weights` gives them.
        self.program: Program = build(
            {**self.weights.config, "rope_pairing": "half"},
            {name: _Info("F32", shape) for name, shape in self.weights.shapes.items()},
        )
        several = goal.type is None and not goal.standard
        self._layout = Layout(
            self.weights,
            self.program,
            gguf_metadata(self.weights, note),
            own=several or (goal.type or "").upper() in PANEL_BITS,
        )
        self._tied = is_tied(self.program)
        self._last: tuple[str, Floats] | None = None
        self._goal = goal
        self._basis: Basis | None = None
        self._scales: list[Floats] | None = None
        self.choices = self._plan(prior(self.program))

    def turn(self) -> None:
        """Round in another basis, where that can be."""
        # A tied head would have to be stored beside the embedding in another basis.
        if not self._tied:
            self._basis = Basis(self.program, decoder.embedding(self.program).columns)

    # What is to be written.

    def measure(
        self, windows: Sequence[Ids], target: Path, show: Callable[[str], None]
    ) -> dict[str, Cost]:
        """Plan by what errors cost on these windows of a text; what waits lies beside `target`."""
        program = self.program
        parts = list(decoder.layers(program))
        embedding = decoder.embedding(program)
        costs, self._scales = Sensitivity(
            program,
            self.pool,
            windows,
            embedding=lambda ids: self._turned_embedding(self._read(embedding)[ids]),
            layer=lambda index: self._load(index, parts[index]),
            head=self._turned_head,
            progress=lambda done, total: show(f"measuring what errors cost, {done} of {total}"),
        ).measure(target)
        nats = {name: cost.nats for name, cost in costs.items()}
        if self._tied:
            nats["embedding"] += nats.pop("head")
        total = sum(nats.values())
        self.choices = self._plan({name: cost / total for name, cost in nats.items()})
        return costs

    def _plan(self, shares: Mapping[str, float]) -> list[Choice]:
        goal, parts = self._goal, groups(self.program, shares)
        if goal.type is not None:
            if goal.type.lower() not in TYPES:
                raise ParameterError(f"type is {goal.type!r}; it must be one of {', '.join(TYPES)}")
            return plan.uniform(parts, goal.type.upper())
        weights = sum(group.weights for group in parts)
        size = goal.size
        if goal.bits is not None:
            if not 1 <= goal.bits <= 16:
                raise ParameterError(f"bits is {goal.bits}; it must be 1 to 16")
            return self._within(parts, int(goal.bits * weights / 8))
        if size is None:
            raise ParameterError("say how small: --size, --bits or --type")
        # Everything but the matrices, whatever their types: norms, vocabulary, padding.
        some = [Choice(group, "P4" if self._layout.own else "Q8_0") for group in parts]
        rest = self._layout.writer(Path("-"), some).nbytes - sum(choice.nbytes for choice in some)
        return self._within(parts, size - rest)

    def _within(self, parts: Sequence[Group], budget: int) -> list[Choice]:
        if self._layout.own:
            return plan.within(parts, budget)
        return within_fused(parts, [roles for roles, _ in self._layout.matrices(0)], budget)

    # Writing it.

    def write(self, target: Path, calibration: Calibration | None, progress: Progress) -> Result:
        """Write the file; whole, or not at all."""
        tensors = list(self._layout.tensors(self.choices))
        total = sum(tensor.nbytes for tensor in tensors)
        done = 0
        data = self._data(calibration)
        with self._layout.writer(target, self.choices) as writer:
            for tensor in tensors:
                left = tensor.nbytes
                while left:
                    piece = next(data)
                    writer.write(tensor.name, piece)
                    left -= piece.nbytes
                    done += piece.nbytes
                    progress(target.name, done, total)
        weights = sum(choice.group.weights for choice in self.choices)
        return Result(self.choices, target.stat().st_size, weights)

    def _data(self, calibration: Calibration | None) -> Iterator[Bytes]:
        """The tensors' data in the order of the file's."""
        for factors in self._layout.rope_factors.values():
            yield _bytes(np.array(factors, np.float32))
        types = {choice.group.name: choice.type for choice in self.choices}
        program = self.program
        embedding, head = decoder.embedding(program), decoder.head(program)
        for rows in self._chunks(embedding):
            turned = self._turned_embedding(rows)
            if calibration is not None:
                calibration.embed(turned)
            yield rounded(self.pool, types["embedding"], turned)

        for index, parts in enumerate(decoder.layers(program)):
            layer = self._load(index, parts)
            by_role = {role: types[f"layer {index} {role}"] for role in ROLES}
            if calibration is not None:
                calibration.measure(layer)
            yield from self._layer(layer, index, by_role, calibration)
            if calibration is not None:
                calibration.advance(layer)

        if not self._tied:
            if calibration is not None:
                calibration.measure_head(self._turned_norm())
            for rows in self._chunks(head.weights[0]):
                turned = self._turned_head_rows(rows)
                yield self._rounded(turned, types["head"], calibration, "head")[0]
        yield _bytes(self._turned_norm())

    # The weights in the basis in which they are rounded.

    def _load(self, index: int, parts: decoder.Parts) -> Layer:
        layer = decoder.load(self.program, parts, self._read)
        self._last = None
        if self._basis is not None:
            self._basis.turn(layer, index)
        if self._scales is not None:
            scale_down(layer, self._scales[index])
        return layer

    def _turned_embedding(self, rows: Floats) -> Floats:
        return rows if self._basis is None else self._basis.embedding(rows)

    def _turned_head_rows(self, rows: Floats) -> Floats:
        return rows if self._basis is None else self._basis.head(rows, self._norm())

    def _turned_norm(self) -> Floats:
        norm = self._norm()
        return norm if self._basis is None else np.ones_like(norm)

    def _turned_head(self) -> tuple[Floats, Floats]:
        rows = self._read(decoder.head(self.program).weights[0])
        return self._turned_norm(), self._turned_head_rows(rows)

    def _norm(self) -> Floats:
        norm = decoder.head(self.program).norm
        assert norm is not None
        return self._read(norm).ravel()

    def _layer(
        self,
        layer: Layer,
        index: int,
        types: dict[str, str],
        calibration: Calibration | None,
    ) -> Iterator[Bytes]:
        """A layer's tensors; its matrices become what a reader will have, where that is needed."""
        adjacent = self._layout.adjacent
        for roles, _ in self._layout.matrices(index):
            for role in roles:
                matrix = layer.matrices[role]
                if adjacent and role in "qk":
                    matrix = self.weights.adjacent(matrix)
                name = f"layer {index} {role}"
                data, values = self._rounded(matrix, types[role], calibration, name)
                if values is not None:
                    if adjacent and role in "qk":
                        values = self.weights.half(values)
                    layer.matrices[role] = values
                yield data
        for name in self._layout.vectors(index):
            yield _bytes(self._vector(layer, name, adjacent))

    def _vector(self, layer: Layer, name: str, adjacent: bool) -> Floats:
        stem = name.split(".", 3)[3]
        if stem == "input_layernorm.weight":
            return layer.attention_norm
        if stem == "post_attention_layernorm.weight":
            return layer.mlp_norm
        roles = STEMS[stem.removesuffix(".bias")]
        biases = [layer.biases[role] for role in roles]
        if adjacent and roles[0] in "qk":
            biases = [self.weights.adjacent(bias[None])[0] for bias in biases]
        return np.concatenate(biases)

    def _rounded(
        self, weights: Floats, type_: str, calibration: Calibration | None, name: str
    ) -> tuple[Bytes, Floats | None]:
        """A matrix's bytes and, with calibration, what a reader makes of them."""
        if calibration is None:
            return rounded(self.pool, type_, weights), None
        return calibration.rounded(self.pool, type_, weights, name)

    def _read(self, weight: Weight) -> Floats:
        """A weight's rows; a tensor's two halves are asked for one after the other."""
        if self._last is None or self._last[0] != weight.name:
            chunks = list(self.weights.chunks(weight.name, adjacent=False))
            self._last = (weight.name, chunks[0] if len(chunks) == 1 else np.concatenate(chunks))
        rows = self._last[1].reshape(-1, weight.columns)
        return rows[weight.start : weight.start + weight.rows].copy()

    def _chunks(self, weight: Weight) -> Iterator[Floats]:
        """A whole tensor's rows, some at a time."""
        return self.weights.chunks(weight.name, adjacent=False)


class _Info(NamedTuple):
    """A tensor as `models` looks at it."""

    type: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes in float32."""
        return 4 * int(np.prod(self.shape))


def _bytes(values: Floats) -> Bytes:
    return np.ascontiguousarray(values, "<f4").view(np.uint8)
