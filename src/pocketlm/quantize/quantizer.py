"""A model to fewer bits: what is written under which name, in one pass over its layers.

It knows programs, plans and files. How a matrix is rounded is `feedback`'s matter, in which basis
`basis`', how many bits it takes `plan`'s. One layer at a time is in memory, in float32.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pocketlm.errors import ModelFileError, OutputError, ParameterError, UnsupportedError
from pocketlm.formats import panels
from pocketlm.formats.checkpoint import PANEL_BITS, Checkpoint, panel_bytes
from pocketlm.formats.gguf import TYPE_NUMBERS
from pocketlm.formats.gguf_config import ADJACENT_PAIRS, ROPE_FACTORS, gguf_name
from pocketlm.formats.gguf_keys import ARCHITECTURES
from pocketlm.formats.gguf_writer import GGUFWriter, NewTensor, Value
from pocketlm.formats.open import open_checkpoint
from pocketlm.models import build
from pocketlm.models.program import Program, Weight
from pocketlm.quantize import decoder, plan, sensitivity
from pocketlm.quantize.basis import Basis, scale_down
from pocketlm.quantize.calibration import Calibration
from pocketlm.quantize.configuration import plain_config
from pocketlm.quantize.decoder import ROLES, Floats, Layer
from pocketlm.quantize.export import gguf_metadata
from pocketlm.quantize.feedback import Bytes, rounded
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
#: llama.cpp's numbers for a file that is mostly of one type (`general.file_type`).
_FILE_TYPES = {
    "F16": 1,
    "Q4_0": 2,
    "Q4_1": 3,
    "Q8_0": 7,
    "Q5_0": 8,
    "Q3_K": 11,
    "Q4_K": 14,
    "Q5_K": 16,
    "Q6_K": 18,
    "IQ4_NL": 25,
    "IQ4_XS": 30,
}
_I8 = 24
#: Where tensors begin in a file: panels are read a cache line at a time.
_ALIGNMENT = 64

_HUB_NAMES = {
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}

#: The roles of each tensor that a checkpoint may have.
_STEMS: dict[str, tuple[str, ...]] = {
    "self_attn.qkv_proj": ("q", "k", "v"),
    "mlp.gate_up_proj": ("gate", "up"),
    **{hub: (role,) for role, hub in _HUB_NAMES.items()},
}

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
    planned: Callable[[list[Choice]], None] = lambda choices: None,
) -> Result:
    """Write the model at `source` with fewer bits to the GGUF file `target`.

    With `calibration`, texts that its activations are measured on (`tokens` of them), errors are
    fed back, in a basis that suits. `planned` is told the plan before the work. Raises
    ParameterError, ModelFileError, UnsupportedError, or OutputError (`target` is there, or no
    room on the disk).
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
    planned: Callable[[list[Choice]], None] = lambda choices: None,
) -> Result:
    """As `quantize`, of an open checkpoint; what is at `target` is replaced."""
    _check_source(checkpoint, requantise, note)
    job = _Job(checkpoint, goal, note)
    measured = None
    if calibration is not None:
        measured = Calibration(job.program, checkpoint.tokenizer(), calibration, tokens=tokens)
        job.turn()
        measured.weigh(job.measure(measured.some(sensitivity.TOKENS), target, progress))
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
        self.config = self.weights.config
        # Rows in the hub's order, tensors fused, all of them float32: as `Weights` gives them.
        self.program: Program = build(
            {**self.config, "rope_pairing": "half"},
            {name: _Info("F32", shape) for name, shape in self.weights.shapes.items()},
        )
        self._tied = "lm_head.weight" not in self.weights.shapes
        self._last: tuple[str, Floats] | None = None
        self.metadata: dict[str, Value] = gguf_metadata(self.weights, note)
        # A plan of several types holds parts of what others fuse; panels are ours in any case.
        several = goal.type is None and not goal.standard
        self.own = several or (goal.type or "").upper() in PANEL_BITS
        self._goal = goal
        self._basis: Basis | None = None
        self._scales: list[Floats] | None = None
        self.choices = self._plan(self._prior())

    def turn(self) -> None:
        """Round in another basis, where that can be."""
        # A tied head would have to be stored beside the embedding in another basis.
        if not self._tied:
            self._basis = Basis(self.program, decoder.embedding(self.program).columns)

    # What is to be written.

    def measure(self, windows: Sequence[Ids], target: Path, progress: Progress) -> dict[str, Cost]:
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
            progress=lambda done, total: progress("measuring", done, total),
        ).measure(target)
        nats = {name: cost.nats for name, cost in costs.items()}
        if self._tied:
            nats["embedding"] += nats.pop("head")
        total = sum(nats.values())
        self.choices = self._plan({name: cost / total for name, cost in nats.items()})
        return costs

    def _prior(self) -> dict[str, float]:
        """The share that each group has in the loss, by what was measured elsewhere."""
        shares = dict(plan.SHARES)
        if self._tied:
            shares["embedding"] = shares.pop("head")
        total = sum(shares.values())
        layers = self.program.layers
        found = {role: share / total for role, share in shares.items() if role not in ROLES}
        for index in range(layers):
            found |= {f"layer {index} {role}": shares[role] / total / layers for role in ROLES}
        return found

    def _groups(self, shares: Mapping[str, float]) -> list[Group]:
        program, found = self.program, []
        embedding = decoder.embedding(program)
        found.append(_group("embedding", "embedding", embedding, shares["embedding"]))
        for index, parts in enumerate(decoder.layers(program)):
            queries, keys = program.heads * program.head_dim, program.kv_heads * program.head_dim
            gate, down = parts.gate_up.weights[0], parts.down.weights[0]
            shapes = {
                "q": (queries, down.rows),
                "k": (keys, down.rows),
                "v": (keys, down.rows),
                "o": (down.rows, queries),
                "gate": (gate.rows, gate.columns),
                "up": (gate.rows, gate.columns),
                "down": (down.rows, down.columns),
            }
            for role, (rows, columns) in shapes.items():
                name = f"layer {index} {role}"
                found.append(Group(name, role, rows, columns, shares[name]))
        if not self._tied:
            head = decoder.head(program).weights[0]
            found.append(_group("head", "head", head, shares["head"]))
        return found

    def _plan(self, shares: Mapping[str, float]) -> list[Choice]:
        goal, groups = self._goal, self._groups(shares)
        if goal.type is not None:
            if goal.type.lower() not in TYPES:
                raise ParameterError(f"type is {goal.type!r}; it must be one of {', '.join(TYPES)}")
            return plan.uniform(groups, goal.type.upper())
        weights = sum(group.weights for group in groups)
        size = goal.size
        if goal.bits is not None:
            if not 1 <= goal.bits <= 16:
                raise ParameterError(f"bits is {goal.bits}; it must be 1 to 16")
            return self._within(groups, int(goal.bits * weights / 8))
        if size is None:
            raise ParameterError("say how small: --size, --bits or --type")
        # Everything but the matrices, whatever their types: norms, vocabulary, padding.
        some = [Choice(group, "P4" if self.own else "Q8_0") for group in groups]
        rest = self._writer(Path("-"), some).nbytes - sum(choice.nbytes for choice in some)
        return self._within(groups, size - rest)

    def _within(self, groups: Sequence[Group], budget: int) -> list[Choice]:
        if self.own:
            return plan.within(groups, budget)
        # What is one tensor to others has one type.
        fused = [roles for roles, _ in self._fused("model.layers.0.")]
        whole = {role: "+".join(roles) for roles in fused for role in roles}
        together: dict[str, list[Group]] = {}
        for group in groups:
            name = group.name.removesuffix(group.role) + whole.get(group.role, group.role)
            together.setdefault(name, []).append(group)
        joined = [
            Group(
                name,
                parts[0].role,
                sum(part.rows for part in parts),
                parts[0].columns,
                sum(part.share for part in parts),
            )
            for name, parts in together.items()
        ]
        types = {c.group.name: c.type for c in plan.within(joined, budget, plan.STANDARD)}
        return [Choice(g, types[name]) for name, parts in together.items() for g in parts]

    def _writer(self, target: Path, choices: list[Choice]) -> GGUFWriter:
        return GGUFWriter(target, self._metadata(choices), list(self._tensors(choices)), _ALIGNMENT)

    def _metadata(self, choices: list[Choice]) -> dict[str, Value]:
        metadata = dict(self.metadata)
        model_type = self.config["model_type"]
        architecture = ARCHITECTURES[model_type]
        metadata["general.quantization_version"] = 2
        if not self.own:
            common = max(choices, key=lambda choice: choice.nbytes).type
            metadata["general.file_type"] = _FILE_TYPES[common]
            return metadata
        prefix = f"{architecture}."
        metadata = {
            f"{model_type}.{key.removeprefix(prefix)}" if key.startswith(prefix) else key: value
            for key, value in metadata.items()
        }
        metadata["general.architecture"] = panels.PREFIX + model_type
        if self.program.window is not None:
            metadata[f"{model_type}.attention.sliding_window"] = self.program.window
        metadata["general.description"] = "Weights in pocketlm's own types: run with pocketlm."
        listed = [
            (name, choice.type, choice.group.rows, choice.group.columns)
            for choice, name in zip(choices, self._names(), strict=True)
            if choice.type in PANEL_BITS
        ]
        return metadata | panels.metadata(listed)

    def _names(self) -> list[str]:
        """The name of each group's tensor in a file of ours, in the order of `_groups`."""
        inner = [
            f"model.layers.{index}.{_HUB_NAMES[role]}.weight"
            for index in range(self.program.layers)
            for role in ROLES
        ]
        return ["token_embd.weight", *inner, *([] if self._tied else ["output.weight"])]

    def _tensors(self, choices: list[Choice]) -> Iterator[NewTensor]:
        """All tensors in the order in which they are written."""
        config = plain_config(self.config, self.program)
        for name, key in ROPE_FACTORS.items():
            if key in config["rope_parameters"]:
                count = len(config["rope_parameters"][key])
                yield NewTensor(name, 0, (count,), 4 * count)
        by_name = {choice.group.name: choice for choice in choices}
        apart = iter(self._names()[1:])

        yield _matrix("token_embd.weight", [by_name["embedding"]])
        for index in range(self.program.layers):
            prefix = f"model.layers.{index}."
            fused: list[tuple[tuple[str, ...], str]]
            fused = [((role,), next(apart)) for role in ROLES] if self.own else self._fused(prefix)
            for roles, name in fused:
                yield _matrix(name, [by_name[f"layer {index} {role}"] for role in roles])
            for name, shape in self.weights.shapes.items():
                if name.startswith(prefix) and len(shape) == 1:
                    yield self._new_vector(name)
        if not self._tied:
            yield _matrix("output.weight", [by_name["head"]])
        yield self._new_vector("model.norm.weight")

    def _new_vector(self, name: str) -> NewTensor:
        (count,) = self.weights.shapes[name]
        return NewTensor(self._stored(name), 0, (count,), 4 * count)

    def _fused(self, prefix: str) -> list[tuple[tuple[str, ...], str]]:
        """Roles and names as llama.cpp has them."""
        return [
            (roles, self._stored(f"{prefix}{stem}.weight"))
            for stem, roles in _STEMS.items()
            if f"{prefix}{stem}.weight" in self.weights.shapes
        ]

    def _stored(self, name: str) -> str:
        return gguf_name(self.config["model_type"], name)

    # Writing it.

    def write(self, target: Path, calibration: Calibration | None, progress: Progress) -> Result:
        """Write the file; whole, or not at all."""
        tensors = list(self._tensors(self.choices))
        total = sum(tensor.nbytes for tensor in tensors)
        done = 0
        data = self._data(calibration)
        with self._writer(target, self.choices) as writer:
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
        """The tensors' data in the order of `_tensors`."""
        config = plain_config(self.config, self.program)
        for key in ROPE_FACTORS.values():
            if key in config["rope_parameters"]:
                yield _bytes(np.array(config["rope_parameters"][key], np.float32))
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
        prefix = f"model.layers.{index}."
        adjacent = not self.own and ARCHITECTURES[self.config["model_type"]] in ADJACENT_PAIRS
        apart: list[tuple[tuple[str, ...], str]] = [((role,), "") for role in ROLES]
        for roles, _ in apart if self.own else self._fused(prefix):
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
        for name, shape in self.weights.shapes.items():
            if name.startswith(prefix) and len(shape) == 1:
                yield _bytes(self._vector(layer, name, adjacent))

    def _vector(self, layer: Layer, name: str, adjacent: bool) -> Floats:
        stem = name.split(".", 3)[3]
        if stem == "input_layernorm.weight":
            return layer.attention_norm
        if stem == "post_attention_layernorm.weight":
            return layer.mlp_norm
        roles = _STEMS[stem.removesuffix(".bias")]
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


def _matrix(name: str, choices: list[Choice]) -> NewTensor:
    """A tensor of several groups' rows, which have one type."""
    type_, columns = choices[0].type, choices[0].group.columns
    rows = sum(choice.group.rows for choice in choices)
    nbytes = sum(choice.nbytes for choice in choices)
    assert {choice.type for choice in choices} == {type_}
    if type_ in PANEL_BITS:
        size = panel_bytes(type_, columns)
        return NewTensor(name, _I8, (nbytes // size, size), nbytes)
    number = next(number for number, known in TYPE_NUMBERS.items() if known == type_)
    return NewTensor(name, number, (rows, columns), nbytes)


def _group(name: str, role: str, weight: Weight, share: float) -> Group:
    return Group(name, role, weight.rows, weight.columns, share)


def _bytes(values: Floats) -> Bytes:
    return np.ascontiguousarray(values, "<f4").view(np.uint8)
