"""A model in another basis: other weights, the same function.

The residual stream is turned by a random rotation, which is folded into the matrices that read and
write it (QuaRot, arXiv 2404.00456; SpinQuant, arXiv 2405.16406); so are rotations of each head's
values. What a matrix multiplies then has no few large numbers, its errors are spread evenly, and
error feedback has the most to work with. Norms' weights go into the matrices behind them. It costs
nothing when the model runs.
"""

import numpy as np

from pocketlm.models.program import Program
from pocketlm.quantize.decoder import Floats, Layer

_SEED = 3128


def rotation(size: int, seed: int) -> Floats:
    """A random orthogonal matrix, float32 [size, size], evenly distributed (Haar)."""
    numbers = np.random.default_rng(seed).standard_normal((size, size))
    q, r = np.linalg.qr(numbers)
    turned: Floats = (q * np.sign(np.diagonal(r))).astype(np.float32)
    return turned


class Basis:
    """The rotations of one model."""

    def __init__(self, program: Program, hidden: int, seed: int = _SEED) -> None:
        """Draw them; the same for every run with this seed."""
        self._program = program
        self._seed = seed
        self.residual: Floats = rotation(hidden, seed)

    def embedding(self, rows: Floats) -> Floats:
        """Rows of the embedding in the new basis."""
        turned: Floats = np.matmul(rows, self.residual)
        return turned

    def head(self, rows: Floats, norm: Floats) -> Floats:
        """Rows of the head, which reads the stream through a norm; its norm's weight is 1 then."""
        turned: Floats = np.matmul(rows * norm, self.residual)
        return turned

    def turn(self, layer: Layer, index: int) -> None:
        """Put a layer into the new basis, in place; its norms' weights become 1."""
        w = layer.matrices
        for roles, norm in (("q k v", layer.attention_norm), ("gate up", layer.mlp_norm)):
            for role in roles.split():
                w[role] = np.matmul(w[role] * norm, self.residual)
            norm[:] = 1
        self._turn_values(layer, index)
        for role in ("o", "down"):
            w[role] = np.matmul(self.residual.T, w[role])
            if role in layer.biases:
                layer.biases[role] = np.matmul(layer.biases[role], self.residual)

    def _turn_values(self, layer: Layer, index: int) -> None:
        """Turn each head's values, and back the columns that read them."""
        program, size = self._program, self._program.head_dim
        shared = program.heads // program.kv_heads
        v, o = layer.matrices["v"], layer.matrices["o"]
        for head in range(program.kv_heads):
            turn = rotation(size, self._seed + 1 + index * program.kv_heads + head)
            rows = slice(head * size, (head + 1) * size)
            v[rows] = turn.T @ v[rows]
            if "v" in layer.biases:
                layer.biases["v"][rows] = layer.biases["v"][rows] @ turn
            for reader in range(head * shared, (head + 1) * shared):
                columns = slice(reader * size, (reader + 1) * size)
                o[:, columns] = o[:, columns] @ turn


def scale_down(layer: Layer, scale: Floats) -> None:
    """Multiply down's columns by `scale`, and divide up's rows by it; the function stays."""
    layer.matrices["down"] = layer.matrices["down"] * scale
    layer.matrices["up"] = layer.matrices["up"] / scale[:, None]
    if "up" in layer.biases:
        layer.biases["up"] = layer.biases["up"] / scale
