"""What a quantised file holds: its metadata, and its tensors in the order of their writing.

It knows GGUF's names and ours, and how large things are. It does not know weights' values.
"""

from collections.abc import Iterator
from pathlib import Path

from pocketlm.formats import panels
from pocketlm.formats.checkpoint import PANEL_BITS, panel_bytes
from pocketlm.formats.gguf import TYPE_NUMBERS
from pocketlm.formats.gguf_config import ADJACENT_PAIRS, ROPE_FACTORS, gguf_name
from pocketlm.formats.gguf_keys import ARCHITECTURES
from pocketlm.formats.gguf_writer import GGUFWriter, NewTensor, Value
from pocketlm.models.program import Program
from pocketlm.quantize.configuration import plain_config
from pocketlm.quantize.decoder import ROLES
from pocketlm.quantize.groups import is_tied
from pocketlm.quantize.plan import Choice
from pocketlm.quantize.weights import Weights

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
STEMS: dict[str, tuple[str, ...]] = {
    "self_attn.qkv_proj": ("q", "k", "v"),
    "mlp.gate_up_proj": ("gate", "up"),
    **{hub: (role,) for role, hub in _HUB_NAMES.items()},
}


class Layout:
    """The file of a model. With `own`, one of ours: tensors in panels, each group apart.

    A plan of several types holds parts of what others fuse.
    """

    def __init__(
        self, weights: Weights, program: Program, metadata: dict[str, Value], *, own: bool
    ) -> None:
        """Take a model with its metadata in llama.cpp's form."""
        self.own = own
        self._weights = weights
        self._program = program
        self._metadata = metadata
        self._model_type: str = weights.config["model_type"]

    @property
    def adjacent(self) -> bool:
        """Whether queries' and keys' rows stand as llama.cpp turns them: pairs side by side."""
        return not self.own and ARCHITECTURES[self._model_type] in ADJACENT_PAIRS

    @property
    def rope_factors(self) -> dict[str, list[float]]:
        """LongRoPE's, by the name of their tensor."""
        parameters = plain_config(self._weights.config, self._program)["rope_parameters"]
        return {name: parameters[key] for name, key in ROPE_FACTORS.items() if key in parameters}

    def writer(self, target: Path, choices: list[Choice]) -> GGUFWriter:
        """What writes the file."""
        tensors = list(self.tensors(choices))
        return GGUFWriter(target, self._described(choices), tensors, _ALIGNMENT)

    def tensors(self, choices: list[Choice]) -> Iterator[NewTensor]:
        """All tensors in the order in which they are written."""
        for name, factors in self.rope_factors.items():
            yield NewTensor(name, 0, (len(factors),), 4 * len(factors))
        by_name = {choice.group.name: choice for choice in choices}
        yield _matrix("token_embd.weight", [by_name["embedding"]])
        for index in range(self._program.layers):
            for roles, name in self.matrices(index):
                yield _matrix(name, [by_name[f"layer {index} {role}"] for role in roles])
            for name in self.vectors(index):
                yield self._vector(name)
        if not is_tied(self._program):
            yield _matrix("output.weight", [by_name["head"]])
        yield self._vector("model.norm.weight")

    def matrices(self, index: int) -> list[tuple[tuple[str, ...], str]]:
        """A layer's matrices: the roles of each, and its name in the file."""
        prefix = f"model.layers.{index}."
        if self.own:
            return [((role,), f"{prefix}{_HUB_NAMES[role]}.weight") for role in ROLES]
        return [
            (roles, self._stored(f"{prefix}{stem}.weight"))
            for stem, roles in STEMS.items()
            if f"{prefix}{stem}.weight" in self._weights.shapes
        ]

    def vectors(self, index: int) -> list[str]:
        """A layer's norms and biases, by their names in the checkpoint."""
        prefix = f"model.layers.{index}."
        shapes = self._weights.shapes.items()
        return [name for name, shape in shapes if name.startswith(prefix) and len(shape) == 1]

    def _described(self, choices: list[Choice]) -> dict[str, Value]:
        metadata = dict(self._metadata)
        metadata["general.quantization_version"] = 2
        if not self.own:
            common = max(choices, key=lambda choice: choice.nbytes).type
            metadata["general.file_type"] = _FILE_TYPES[common]
            return metadata
        model_type = self._model_type
        prefix = f"{ARCHITECTURES[model_type]}."
        metadata = {
            f"{model_type}.{key.removeprefix(prefix)}" if key.startswith(prefix) else key: value
            for key, value in metadata.items()
        }
        metadata["general.architecture"] = panels.PREFIX + model_type
        if self._program.window is not None:
            metadata[f"{model_type}.attention.sliding_window"] = self._program.window
        metadata["general.description"] = "Weights in pocketlm's own types: run with pocketlm."
        names = [name for index in range(self._program.layers) for _, name in self.matrices(index)]
        names = ["token_embd.weight", *names, "output.weight"][: len(choices)]
        listed = [
            (name, choice.type, choice.group.rows, choice.group.columns)
            for choice, name in zip(choices, names, strict=True)
            if choice.type in PANEL_BITS
        ]
        return metadata | panels.metadata(listed)

    def _vector(self, name: str) -> NewTensor:
        (count,) = self._weights.shapes[name]
        return NewTensor(self._stored(name), 0, (count,), 4 * count)

    def _stored(self, name: str) -> str:
        return gguf_name(self._model_type, name)


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
