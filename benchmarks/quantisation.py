"""What rounding loses: types, roles and methods on a real model's projections, beside llama.cpp's.

    python benchmarks/quantisation.py MODEL --text FILE [--text FILE] --types --roles --methods \
        [--llama LIBGGML_BASE]
    python benchmarks/quantisation.py MODEL.gguf --text FILE --reference OUT.gguf
    python benchmarks/quantisation.py WHAT_METHODS_PRINTED --draw PICTURE.svg

MODEL is a float checkpoint. It is first moved off whatever grid its weights may come from, by
random scales between norms and projections, up and down, values and outputs, which leave its
function as it is. Then projections are rounded and read back (embedding and head stay as they are),
and the KL divergence to the unrounded model is measured on the last windows of each text.
Calibration reads the text that comes with pocketlm and the beginning of the first one. With
--llama, llama.cpp's own quantiser rounds too; where a type wants rows of 256, several rows count as
one, if the width is no multiple of that. --reference writes the moved model (a LLaMA as GGUF), for
comparing whole files by `pocketlm quality`.
"""

import argparse
import ctypes
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import gguf
import numpy as np

from pocketlm import _native
from pocketlm.errors import ParameterError
from pocketlm.formats.gguf_writer import GGUFWriter, NewTensor
from pocketlm.formats.open import open_checkpoint
from pocketlm.models import build
from pocketlm.quantize import decoder, plan
from pocketlm.quantize.basis import Basis, scale_down
from pocketlm.quantize.calibration import WINDOW, Calibration, default_text
from pocketlm.quantize.decoder import INPUTS, ROLES, Floats, Layer
from pocketlm.quantize.plot import Point, by_bits
from pocketlm.quantize.quality import Estimate, Loss, compare
from pocketlm.quantize.sensitivity import TOKENS, Measured, Sensitivity

#: GGUF's numbers of llama.cpp's types.
PEERS = {"Q4_0": 2, "Q3_K": 11, "Q4_K": 12, "Q5_K": 13, "IQ4_NL": 20, "IQ4_XS": 23}
Rounding = Callable[[str, str, Floats], Floats]


class Model:
    """A checkpoint's float weights, and texts as its tokens."""

    def __init__(self, path: Path, texts: list[Path], windows: int, rotated: bool) -> None:
        self.checkpoint = open_checkpoint(path)
        self.program = build(self.checkpoint.config, self.checkpoint.tensors)
        self.tokenizer = self.checkpoint.tokenizer()
        self.pool = _native.ThreadPool(_native.default_threads())
        self.embedding = self.read(decoder.embedding(self.program))
        head = decoder.head(self.program)
        self.norm, self.head = self.read(head.norm).ravel(), self.read(head.weights[0])
        self.layers = [
            decoder.load(self.program, parts, self.read) for parts in decoder.layers(self.program)
        ]
        self.calibration = [default_text(), texts[0].read_text()[:400_000]]
        self.window = min(WINDOW, self.program.context)
        self.read_windows = {
            text.stem: np.array(self.tokenizer.encode(text.read_text()[-60_000:]))[
                -windows * self.window :
            ].reshape(windows, self.window)
            for text in texts
        }
        for index, layer in enumerate(self.layers):
            rescale(layer, self.program, index)
        self.basis = Basis(self.program, self.embedding.shape[1])
        if rotated:
            self.rotate()
        self.references = {
            name: self.logits(self.layers, None, ids) for name, ids in self.read_windows.items()
        }

    def rotate(self) -> None:
        """Turn the reference itself: the same function in another basis, norms all 1."""
        basis = Basis(self.program, self.embedding.shape[1], seed=1)
        for index, layer in enumerate(self.layers):
            basis.turn(layer, index)
        self.embedding = basis.embedding(self.embedding)
        self.head, self.norm = basis.head(self.head, self.norm), np.ones_like(self.norm)

    def read(self, weight) -> Floats:
        tensor = self.checkpoint.tensors[weight.name]
        assert tensor.type == "F32", "a float32 checkpoint is wanted"
        rows = tensor.data.view("<f4").reshape(-1, weight.columns)
        return rows[weight.start : weight.start + weight.rows].copy()

    def logits(self, layers: list[Layer], basis: Basis | None, windows: np.ndarray) -> Floats:
        out = []
        for ids in windows:
            x = self.embedding[ids] if basis is None else basis.embedding(self.embedding[ids])
            for layer in layers:
                x = decoder.run(self.program, layer, x)
            if basis is not None:
                x = x @ basis.residual.T
            x = decoder.normalised(x, self.norm, self.program.norm_eps)
            out.append(x[self.window // 2 : -1] @ self.head.T)
        return np.stack(out)

    def loss(self, layers: list[Layer], basis: Basis | None = None) -> dict[str, float]:
        found = {}
        for name, ids in self.read_windows.items():
            got = self.logits(layers, basis, ids)
            parts = [
                compare(reference, rows, right)
                for reference, rows, right in zip(
                    self.references[name], got, ids[:, self.window // 2 + 1 :], strict=True
                )
            ]
            found[name] = Loss.joined(parts, windows=len(ids)).kl_mean.value
        return found

    def importance(self, tokens: int) -> list[dict[str, Floats]]:
        """Mean squares of each matrix's inputs: llama.cpp's importance matrix."""
        x = [self.embedding[ids] for ids in self.calibrating(tokens).some(tokens)]
        found = []
        for layer in self.layers:
            squares: dict[str, Floats] = {}

            def see(inputs: str, rows: Floats, squares: dict[str, Floats] = squares) -> None:
                squares[inputs] = squares.get(inputs, 0) + np.sum(rows * rows, axis=0)

            x = [decoder.run(self.program, layer, rows, see) for rows in x]
            found.append(squares)
        return found

    def calibrating(self, tokens: int) -> Calibration:
        """The calibration texts, half of the tokens each, at their beginning."""
        return Calibration(self.program, self.tokenizer, self.calibration, tokens)

    def turned(self, index: int) -> Layer:
        """A layer in the basis in which it is rounded."""
        layer = copied(self.layers[index])
        self.basis.turn(layer, index)
        return layer

    def measured(self, tokens: int) -> Measured:
        """What errors of each matrix cost, and the scales that make them least."""
        norm = np.ones_like(self.norm)
        sensitivity = Sensitivity(
            self.program,
            self.pool,
            self.calibrating(tokens).some(TOKENS),
            embedding=lambda ids: self.basis.embedding(self.embedding[ids]),
            layer=self.turned,
            head=lambda: (norm, self.basis.head(self.head, self.norm)),
            progress=lambda done, total: None,
        )
        return sensitivity.measure(Path("pocketlm"))

    def fed_back(self, types: dict[str, str], measured: Measured, tokens: int) -> list[Layer]:
        """All projections with error feedback, in another basis; `types` by name of matrix."""
        text = self.calibrating(tokens)
        text.weigh(measured.costs)
        text.embed(self.basis.embedding(self.embedding))
        layers = []
        for index in range(len(self.layers)):
            layer = self.turned(index)
            scale_down(layer, measured.scales[index])
            text.measure(layer)
            for role in ROLES:
                name = f"layer {index} {role}"
                matrix = layer.matrices[role]
                layer.matrices[role] = text.rounded(self.pool, types[name], matrix, name)[1]
            text.advance(layer)
            layers.append(layer)
        return layers

    def each(self, rounding: Callable[[int], Rounding]) -> list[Layer]:
        """All projections, each weight by itself."""
        layers = []
        for index, source in enumerate(self.layers):
            layer = copied(source)
            for role in ROLES:
                layer.matrices[role] = rounding(index)(role, INPUTS[role], layer.matrices[role])
            layers.append(layer)
        return layers


def copied(layer: Layer) -> Layer:
    """A layer of its own."""
    return Layer(
        {role: matrix.copy() for role, matrix in layer.matrices.items()},
        layer.attention_norm.copy(),
        layer.mlp_norm.copy(),
        dict(layer.biases),
    )


def rescale(layer: Layer, program, index: int) -> None:
    """Log-normal scales that cancel: the function stays, the weights leave their grid."""
    rng = np.random.default_rng(index)
    w, hidden = layer.matrices, layer.matrices["q"].shape[1]

    def factors(count: int) -> Floats:
        return np.exp(0.25 * rng.standard_normal(count)).astype(np.float32)

    for norm, roles in ((layer.attention_norm, "q k v"), (layer.mlp_norm, "gate up")):
        scale = factors(hidden)
        norm *= scale
        for role in roles.split():
            w[role] /= scale
    scale = factors(len(w["up"]))
    w["up"] *= scale[:, None]
    w["down"] /= scale
    scale = factors(len(w["v"]))
    w["v"] *= scale[:, None]
    shared = program.heads // program.kv_heads
    by_head = scale.reshape(program.kv_heads, 1, program.head_dim)
    w["o"] /= np.broadcast_to(by_head, (program.kv_heads, shared, program.head_dim)).reshape(-1)


def ours(model: Model, type_: str) -> Rounding:
    """Rounding each weight by itself, by our quantiser."""

    def rounding(role: str, inputs: str, matrix: Floats) -> Floats:
        stored = _native.quantise(model.pool, type_, matrix, None)
        return _native.dequantise(model.pool, type_, stored.reshape(-1), *matrix.shape)

    return rounding


def llama(library: Path, type_: str, importance: dict[str, Floats] | None) -> Rounding:
    """The same by llama.cpp's."""
    lib = ctypes.CDLL(str(library))
    floats = ctypes.POINTER(ctypes.c_float)
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    lib.ggml_quantize_chunk.argtypes = [
        *(ctypes.c_int, floats, ctypes.c_void_p),
        *(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, floats),
    ]
    pool = _native.ThreadPool(1)

    def rounding(role: str, inputs: str, matrix: Floats) -> Floats:
        wanted = 32 if type_ in ("Q4_0", "IQ4_NL") else 256
        together = wanted // math.gcd(wanted, matrix.shape[1])
        rows = np.ascontiguousarray(matrix).reshape(len(matrix) // together, -1)
        weights = None if importance is None else np.tile(importance[inputs], together)
        size = plan.stored_bytes(type_, *rows.shape)
        stored = np.zeros(size, np.uint8)
        lib.ggml_quantize_init(PEERS[type_])
        lib.ggml_quantize_chunk(
            PEERS[type_],
            rows.ctypes.data_as(floats),
            stored.ctypes.data,
            0,
            *rows.shape,
            None if weights is None else np.ascontiguousarray(weights).ctypes.data_as(floats),
        )
        return _native.dequantise(pool, type_, stored, *rows.shape).reshape(matrix.shape)

    return rounding


def types(model: Model) -> None:
    """Mean squared error of rounding a normal distribution."""
    rows = np.random.default_rng(0).standard_normal((512, 4096)).astype(np.float32)
    for type_ in plan.ERRORS:
        error = float(np.mean((ours(model, type_)("", "", rows) - rows) ** 2))
        print(f"{type_:7} {error:.6f}", flush=True)


def roles(model: Model) -> None:
    """The loss when one role alone is rounded to P4, as a part of all roles' sum."""
    losses = {}
    for chosen in ROLES:
        layers = [copied(layer) for layer in model.layers]
        for layer in layers:
            layer.matrices[chosen] = ours(model, "P4")("", "", layer.matrices[chosen])
        losses[chosen] = float(np.mean(list(model.loss(layers).values())))
    embedding, head = model.embedding, model.head
    model.embedding = ours(model, "P4")("", "", embedding)
    losses["embedding"] = float(np.mean(list(model.loss(model.layers).values())))
    model.embedding, model.head = embedding, ours(model, "P4")("", "", head)
    losses["head"] = float(np.mean(list(model.loss(model.layers).values())))
    model.head = head
    total = sum(losses.values())
    for role, loss in losses.items():
        print(f"{role:10} {loss:.5f} {loss / total:.3f}", flush=True)


def methods(model: Model, library: Path | None, tokens: int, averages: Sequence[float]) -> None:
    """Types and methods on all projections."""
    shapes = [(role, m.shape) for layer in model.layers for role, m in layer.matrices.items()]
    weights = sum(rows * columns for _, (rows, columns) in shapes)

    def tell(name: str, bits: float, loss: dict[str, float]) -> None:
        record = {"method": name, "bits": round(bits, 3)}
        print(json.dumps(record | {k: round(v, 4) for k, v in loss.items()}), flush=True)

    def bits(type_: str) -> float:
        return 8 * sum(plan.stored_bytes(type_, *shape) for _, shape in shapes) / weights

    def planned(average: float, ladder: Sequence[str]) -> dict[str, str]:
        groups = [
            plan.Group(name, role, *matrix.shape, measured.costs[name].nats)
            for index, layer in enumerate(model.layers)
            for role, matrix in layer.matrices.items()
            for name in [f"layer {index} {role}"]
        ]
        chosen = plan.within(groups, int(average * weights / 8), ladder)
        return {choice.group.name: choice.type for choice in chosen}

    def tell_planned(name: str, types: dict[str, str]) -> None:
        spent = 8 * sum(
            plan.stored_bytes(types[f"layer {index} {role}"], *matrix.shape)
            for index, layer in enumerate(model.layers)
            for role, matrix in layer.matrices.items()
        )
        counts = Counter(f"{n.split()[-1]} {t}" for n, t in types.items() if " " in n)
        print(f"# {name}: {dict(sorted(counts.items()))}", flush=True)
        found = model.fed_back(types, measured, tokens)
        tell(name, spent / weights, model.loss(found, model.basis))

    if library is not None:
        importance = model.importance(tokens)
        for type_, weighed, size in (
            ("Q5_K", False, 5.5),
            ("Q4_K", True, 4.5),
            ("Q4_K", False, 4.5),
            ("IQ4_XS", True, 4.25),
        ):
            layers = model.each(
                lambda i, t=type_, w=weighed: llama(library, t, importance[i] if w else None)
            )
            name = f"llama.cpp {type_}" + (" with importance matrix" if weighed else "")
            tell(name, size, model.loss(layers))
    tell("P4", bits("P4"), model.loss(model.each(lambda _: ours(model, "P4"))))
    measured = model.measured(tokens)
    for type_ in ("P4", "IQ4_NL"):
        tell_planned(f"{type_}, calibrated", dict.fromkeys(measured.costs, type_))
    for average in averages:
        try:
            chosen = planned(average, plan.STANDARD)
        except ParameterError as error:
            print(f"# llama.cpp's types at {average} bits: {error}", flush=True)
            continue
        tell_planned("llama.cpp's types, planned, calibrated", chosen)
    for average in averages:
        chosen = planned(average, plan.MIXED)
        tell_planned("ours, planned, calibrated", chosen)


def write_reference(model: Model, source: Path, target: Path) -> None:
    """The model off its grid, as the float32 GGUF file that it was."""
    stored = {t.name: np.array(t.data, np.float32) for t in gguf.GGUFReader(source).tensors}
    names = {
        "v": "attn_v",
        "o": "attn_output",
        "gate": "ffn_gate",
        "up": "ffn_up",
        "down": "ffn_down",
    }
    for index, layer in enumerate(model.layers):
        block = f"blk.{index}"
        # Rows of queries and keys have an order of their own there: only their columns are scaled.
        scale = layer.attention_norm / stored[f"{block}.attn_norm.weight"]
        for role in "qk":
            stored[f"{block}.attn_{role}.weight"] /= scale
        for role, name in names.items():
            stored[f"{block}.{name}.weight"] = layer.matrices[role]
        stored[f"{block}.attn_norm.weight"] = layer.attention_norm
        stored[f"{block}.ffn_norm.weight"] = layer.mlp_norm
    tensors = [NewTensor(name, 0, v.shape, v.nbytes) for name, v in stored.items()]
    with GGUFWriter(target, model.checkpoint.raw_metadata, tensors) as writer:
        for name, values in stored.items():
            writer.write(name, values)


def draw(records: Path, picture: Path) -> None:
    """What `methods` printed, as a table and as a picture of the texts' mean over bits."""
    found = [json.loads(line) for line in records.read_text().splitlines() if line[:1] == "{"]
    series: dict[str, list[Point]] = {}
    for record in found:
        name, bits = record.pop("method"), record.pop("bits")
        losses = [f"{loss:.4f}" for loss in record.values()]
        print(f"| {name} | {bits:.2f} | {' | '.join(losses)} |")
        mean = float(np.mean(list(record.values())))
        point = Point(name, bits, Estimate(mean, mean, mean))
        if name.startswith("llama.cpp "):
            weighed = name.endswith("importance matrix")
            series.setdefault(
                "llama.cpp, importance matrix" if weighed else "llama.cpp", []
            ).append(point)
        elif "calibrated" in name:
            theirs = "IQ4" in name or "llama.cpp" in name
            series.setdefault("pocketlm, llama.cpp's types" if theirs else "pocketlm", []).append(
                point
            )
    picture.write_text(by_bits(series, "Mean KL divergence, projections rounded, SmolLM2-135M"))


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model", type=Path, help="or with --draw what --methods printed")
    parser.add_argument("--text", type=Path, action="append", default=[], metavar="FILE")
    parser.add_argument("--windows", type=int, default=8, help="to measure on, of each text")
    parser.add_argument("--tokens", type=int, default=16384, help="to calibrate on")
    parser.add_argument("--bits", type=float, action="append", help="averages of ours to try")
    parser.add_argument("--rotated", action="store_true", help="turn the reference first")
    parser.add_argument("--llama", type=Path, metavar="FILE", help="llama.cpp's libggml-base")
    for name in ("types", "roles", "methods"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--reference", type=Path, metavar="GGUF", help="write the moved model")
    parser.add_argument("--draw", type=Path, metavar="SVG", help="a table, and a picture")
    options = parser.parse_args()
    if options.draw:
        draw(options.model, options.draw)
        return
    if not options.text:
        parser.error("--text is needed")
    model = Model(options.model, options.text, options.windows, options.rotated)
    if options.reference:
        write_reference(model, options.model, options.reference)
    if options.types:
        types(model)
    if options.roles:
        roles(model)
    if options.methods:
        methods(model, options.llama, options.tokens, options.bits or [3.77, 4.05, 4.5])


if __name__ == "__main__":
    main()
