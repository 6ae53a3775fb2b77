"""A checkpoint's weights on their way to a standard form, chunk by chunk.

It knows which tensors are fused, which rows are reordered, and that an adapter may be merged. It
does not know what is written where: `export` does.
"""

import re
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from pocketlm import _native
from pocketlm.formats.checkpoint import PANEL_ROWS, Checkpoint, Tensor, let_go
from pocketlm.formats.lora import Lora
from pocketlm.models import build
from pocketlm.models.program import Program
from pocketlm.quantize.floats import FLOAT_BYTES, Floats, matrix_shape, to_floats

#: Numbers that go through at a time.
_CHUNK = 1 << 22

#: Rows of these are reordered where rotary pairs are neighbours.
_ROTATED = re.compile(r"model\.layers\.\d+\.self_attn\.[qk]_proj\.(weight|bias)", re.ASCII)

#: Parts of Phi-3's fused tensors.
_APART = re.compile(r"(model\.layers\.\d+\.)(?:self_attn|mlp)\.(q|k|v|gate|up)_proj\.weight")


class Weights:
    """A checkpoint's tensors as standard forms have them: fused, in the hub's order of rows, with
    the adapter merged, as float32. `shapes` are theirs by name.
    """

    def __init__(self, checkpoint: Checkpoint, adapter: Lora | None) -> None:
        """Read nothing yet. Raises ModelFileError or UnsupportedError for what could not be run."""
        self.checkpoint = checkpoint
        self.config = checkpoint.config
        # Refuses what could not be run: a tensor that is missing, left over or of another shape.
        self.program: Program = build(checkpoint.config, checkpoint.tensors)
        self.pool = _native.ThreadPool(_native.default_threads())
        self._parts = _fused(self.config["model_type"], checkpoint.tensors)
        self.shapes = {
            name: (sum(part.shape[0] for part in parts), *parts[0].shape[1:])
            for name, parts in self._parts.items()
        }
        self._adapter = adapter
        if adapter is not None:
            adapter.check(self.shapes)
        self._order = self.program.rope.adjacent_order(self.program.head_dim)
        self._adjacent = self.program.rope.pairing == "adjacent"

    @property
    def common_type(self) -> str | None:
        """The type of most bytes, if no tensor is quantised."""
        sizes: dict[str, int] = {}
        for parts in self._parts.values():
            for tensor in parts:
                sizes[tensor.type] = sizes.get(tensor.type, 0) + tensor.nbytes
        return max(sizes, key=sizes.__getitem__) if sizes.keys() <= FLOAT_BYTES.keys() else None

    def chunks(self, name: str, *, adjacent: bool) -> Iterator[Floats]:
        """A tensor's rows, some at a time; of q and k in the order of `adjacent` rotary pairs."""
        rotated = _ROTATED.fullmatch(name) is not None
        before = 0
        for part in self._parts[name]:
            rows, columns = matrix_shape(part.shape)
            step = max(PANEL_ROWS, _CHUNK // columns // PANEL_ROWS * PANEL_ROWS)
            if rotated:
                step = -(-step // self.program.head_dim) * self.program.head_dim
            for start in range(0, rows, step):
                stop = min(start + step, rows)
                values = to_floats(self.pool, part, start, stop)
                if rotated and self._adjacent:
                    values = self.half(values)
                values = self._adapted(values, name, before + start, before + stop)
                yield self.adjacent(values) if rotated and adjacent else values
            let_go(part)
            before += rows

    def _adapted(self, values: Floats, name: str, start: int, stop: int) -> Floats:
        """What the adapter makes of rows, which are in the hub's order."""
        if self._adapter is None:
            return values
        whole = self._adapter.whole.get(name)
        if whole is not None:
            return to_floats(self.pool, whole, start, stop)
        pair = self._adapter.pairs.get(name.removesuffix(".weight"))
        if pair is None:
            return values
        b = to_floats(self.pool, pair.b, start, stop)
        if self._adapter.adjacent and _ROTATED.fullmatch(name):
            b = self.half(b)
        product = b @ to_floats(self.pool, pair.a, 0, pair.a.shape[0])
        return values + np.float32(pair.scale) * product

    def adjacent(self, rows: Floats) -> Floats:
        """Rows of q or k (or their bias, as one row) from the hub's order to adjacent pairs."""
        return self._reordered(rows, self._order)

    def half(self, rows: Floats) -> Floats:
        """The other way round."""
        return self._reordered(rows, np.argsort(self._order))

    def _reordered(self, values: Floats, order: npt.NDArray[np.intp]) -> Floats:
        """Rows (of a bias: numbers) of each head in another order."""
        heads = values.reshape(
            -1, self.program.head_dim, 1 if len(values) == 1 else values.shape[1]
        )
        return np.ascontiguousarray(heads[:, order]).reshape(values.shape)


def _fused(model_type: str, tensors: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
    """The parts of each tensor by its name in standard forms.

    Phi-3's fused tensors may lie apart in files of ours, since their parts may differ in type.
    """
    fused: dict[str, dict[str, Tensor]] = {}
    for name in tensors:
        match = _APART.fullmatch(name) if model_type == "phi3" else None
        if match is None:
            fused[name] = {"": tensors[name]}
        else:
            prefix, part = match.groups()
            whole = "self_attn.qkv" if part in "qkv" else "mlp.gate_up"
            fused.setdefault(f"{prefix}{whole}_proj.weight", {})[part] = tensors[name]
    order = ("", "q", "k", "v", "gate", "up")
    return {name: [parts[part] for part in order if part in parts] for name, parts in fused.items()}
