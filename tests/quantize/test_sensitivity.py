"""What errors are said to cost is what they cost."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models import checkpoints
from pocketlm import _native
from pocketlm.errors import OutputError
from pocketlm.formats.checkpoint import Checkpoint
from pocketlm.formats.open import open_checkpoint
from pocketlm.models import build
from pocketlm.models.program import Program
from pocketlm.quantize import decoder, sensitivity
from pocketlm.quantize.decoder import Floats, Layer
from pocketlm.quantize.sensitivity import Measured, Sensitivity
from quantize import tiny

NAME = "llama, grouped and tied"
WINDOWS = [np.array(checkpoints.tokens(200, seed)) for seed in range(12)]
POOL = _native.ThreadPool(2)


class Model:
    """A tiny model's weights, with which a matrix's rows can be changed."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.program: Program = build(checkpoint.config, checkpoint.tensors)
        read = tiny.reader(tiny.floats_of(checkpoint))
        self.layers = [
            decoder.load(self.program, parts, read) for parts in decoder.layers(self.program)
        ]
        self.embedding = read(decoder.embedding(self.program))
        project = decoder.head(self.program)
        self.norm, self.head = read(project.norm).ravel(), read(project.weights[0])

    def measured(self, target: Path, seen: Callable[[int, int], None]) -> Measured:
        return Sensitivity(
            self.program,
            POOL,
            WINDOWS,
            embedding=lambda ids: self.embedding[ids],
            layer=lambda index: self.layers[index],
            head=lambda: (self.norm, self.head),
            progress=seen,
        ).measure(target)

    def log_p(self, layers: list[Layer], head: Floats) -> np.ndarray:
        """Of all windows, in float64: [tokens, vocabulary]."""
        found = []
        for ids in WINDOWS:
            x = self.embedding[ids]
            for layer in layers:
                x = decoder.run(self.program, layer, x)
            rows = decoder.normalised(x, self.norm, self.program.norm_eps) @ head.T
            shifted = rows.astype(np.float64)
            shifted -= shifted.max(axis=1, keepdims=True)
            found.append(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
        return np.concatenate(found)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("model")
    checkpoints.save(NAME, folder)
    with open_checkpoint(folder) as checkpoint:
        return Model(checkpoint)


def test_costs_are_divergences(model: Model, tmp_path: Path, monkeypatch) -> None:
    """Of each matrix, when independent errors are added to all its weights: without feedback."""
    # As if inputs told nothing of each other, and rounding left a hundredth of the squares.

    def left(self: Sensitivity, inputs: sensitivity.Inputs, first: float) -> Floats:
        weights = sum(len(ids) for ids in WINDOWS) + (first - 1) * len(WINDOWS)
        return np.diagonal(inputs.weighed(first)) / np.float32(weights)

    monkeypatch.setattr(Sensitivity, "_left", left)
    monkeypatch.setattr(Sensitivity, "_error", lambda self, rows, left: 0.01 * float(left.sum()))
    monkeypatch.setattr(sensitivity, "_scale", lambda matrix, *_: np.ones(matrix.shape[1]))
    costs = model.measured(tmp_path / "out", lambda done, total: None).costs
    assert list(tmp_path.iterdir()) == []
    reference = model.log_p(model.layers, model.head)
    rng = np.random.default_rng(4)
    for name, cost in costs.items():
        if name == "embedding":
            continue
        found = []
        for _ in range(6):
            layers, head = list(model.layers), model.head
            if name == "head":
                head = head + noise(rng, head)
            else:
                _, index, role = name.split()
                layer = layers[int(index)]
                changed = layer.matrices[role] + noise(rng, layer.matrices[role])
                layers[int(index)] = Layer(
                    {**layer.matrices, role: changed}, layer.attention_norm, layer.mlp_norm
                )
            off = reference - model.log_p(layers, head)
            found.append(float((np.exp(reference) * off).sum(axis=1).mean()))
        role = name.split()[-1]
        # Gradients of queries and keys go with their inputs: not independent. Nor are errors of
        # values of different tokens, which attention, even as it is here, adds up.
        most = 2.0 if role in "qk" else 1.35
        assert cost.nats / np.mean(found) < most, name
        assert role == "v" or cost.nats / np.mean(found) > 1 / most, name


def noise(rng: np.random.Generator, matrix: Floats) -> Floats:
    """A hundredth of each row's mean square."""
    size = 0.1 * np.sqrt(np.mean(matrix * matrix, axis=1, keepdims=True))
    return (size * rng.standard_normal(matrix.shape)).astype(np.float32)


def test_no_room_for_what_waits(model: Model, tmp_path: Path, monkeypatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(OutputError, match=r"no space: .* bytes are needed, 1,000 are free"):
        model.measured(tmp_path / "out", lambda done, total: None)


def test_first_tokens_count_as_their_gradients_do(model: Model, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    costs = model.measured(tmp_path / "out", lambda done, total: seen.append((done, total))).costs
    layers = model.program.layers
    steps = 2 * layers + 1
    assert seen == [(done, steps) for done in range(1, steps + 1)]
    # A query at the first position sees one key: nothing depends on it.
    assert costs["layer 0 q"].first < 1e-6
    # Its value is seen by all that follow.
    assert costs["layer 0 v"].first > 2
    assert all(cost.nats > 0 for name, cost in costs.items())


def test_inputs_weigh_first_tokens_apart() -> None:
    rng = np.random.default_rng(5)
    texts = [rng.standard_normal((7, 4)).astype(np.float32) for _ in range(3)]
    inputs = sensitivity.Inputs()
    for rows in texts:
        inputs.add(rows)
    weights = np.array([3.0] + [1.0] * 6)
    expected = sum((rows * weights[:, None]).T @ rows for rows in texts)
    others = sum(rows[1:].T @ rows[1:] for rows in texts)
    expected += sensitivity.DAMPING * np.mean(np.diagonal(others)) * np.eye(4)
    np.testing.assert_allclose(inputs.weighed(3.0), expected, rtol=1e-5)


def test_scales_make_columns_that_share_one_cost_alike() -> None:
    rng = np.random.default_rng(6)
    matrix = rng.standard_normal((40, 64)).astype(np.float32)
    matrix *= rng.lognormal(0, 1, 64).astype(np.float32)
    by_row, left = (rng.lognormal(0, 1, n).astype(np.float32) for n in (40, 64))
    scale = sensitivity._scale(matrix, by_row, left)

    def cost(factors: Floats) -> float:
        """Errors as large as the columns' mean square, times what is left of their inputs."""
        squares = by_row @ (matrix * factors) ** 2
        return float(squares.sum() * (left / factors**2).sum())

    assert cost(scale) < 0.8 * cost(np.ones_like(scale))
    for _ in range(20):
        other = scale * rng.lognormal(0, 0.1, 64).astype(np.float32)
        assert cost(scale) < cost(other)
