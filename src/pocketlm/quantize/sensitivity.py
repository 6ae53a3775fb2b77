"""What a rounded weight costs: expected KL divergence by matrix, measured on a text.

A matrix's error E costs the mean of |g|² |E x|² / 2 nats a token, with x what the matrix multiplies
and g the gradient of what it gives (`gradients`). Which x matter is a question of their tokens: a
text's first one is attended to by all others, and its value alone may be most of what counts. So
it is weighed by itself; among tokens of a kind, x and g are taken to be independent of each other
(Kronecker factors; Martens and Grosse, arXiv 1503.05671). How large errors are is tried on some
rows, in P4; error feedback leaves, of each input, what later ones do not tell (`feedback`).

It knows layers and arrays, and no file. The residual stream before each layer waits on the disk.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pocketlm import _native
from pocketlm.models.program import Program
from pocketlm.quantize import decoder, gradients
from pocketlm.quantize.decoder import INPUTS, Floats, Layer
from pocketlm.quantize.feedback import factor, read_back
from pocketlm.quantize.plan import fitting

#: Tokens that are read: sums over rows and columns need no more.
TOKENS = 4096
#: Of a matrix's rows, this many go for one whose rounding is tried.
_EVERY = 16
_SEED = 3128

Ids = npt.NDArray[np.intp]


class Cost(NamedTuple):
    """What errors of a matrix cost."""

    #: Nats a token, were it rounded to P4.
    nats: float
    #: How much an error for a text's first token counts, as a multiple of another token's.
    first: float


class Inputs:
    """What a matrix multiplies: of texts, the sum of x xᵀ, first tokens apart from all others."""

    def __init__(self) -> None:
        """Of no text yet."""
        self._others: Floats | None = None
        self._first: list[Floats] = []

    def add(self, rows: Floats) -> None:
        """A text's: float32 [tokens, n]."""
        products: Floats = rows[1:].T @ rows[1:]
        if self._others is None:
            self._others = products
        else:
            self._others += products
        self._first.append(rows[0].copy())

    def weighed(self, first: float) -> Floats:
        """The sum of x xᵀ [n, n], first tokens counting `first` times."""
        assert self._others is not None
        rows = np.stack(self._first)
        products: Floats = rows.T @ (np.float32(first) * rows)
        return self._others + products


class Sensitivity:
    """Reads windows of a text through a model, and its gradients back."""

    def __init__(
        self,
        program: Program,
        pool: _native.ThreadPool,
        windows: Sequence[Ids],
        embedding: Callable[[Ids], Floats],
        layer: Callable[[int], Layer],
        head: Callable[[], tuple[Floats, Floats]],
        progress: Callable[[int, int], None],
    ) -> None:
        """`embedding` looks tokens up; `layer` reads one; `head` gives its norm and its rows."""
        self._program = program
        self._pool = pool
        self._windows = windows
        self._embedding = embedding
        self._layer = layer
        self._head = head
        self._progress = progress
        self._tokens = sum(len(ids) for ids in windows)

    def measure(self, folder: Path) -> dict[str, Cost]:
        """Costs by matrix: "layer 3 down", "embedding", "head".

        `folder` has room for the streams that wait, 4 bytes a token, layer and hidden number.
        """
        layers = self._program.layers
        steps = 2 * layers + 1
        costs: dict[str, Cost] = {}
        with tempfile.TemporaryFile(dir=folder) as waiting:
            streams = [self._embedding(ids) for ids in self._windows]
            size = sum(x.nbytes for x in streams)
            for index in range(layers):
                layer = self._layer(index)
                for i, x in enumerate(streams):
                    waiting.write(x.tobytes())
                    streams[i] = decoder.run(self._program, layer, x)
                self._progress(index + 1, steps)
            after, costs["head"] = self._from_head(streams)
            for index in reversed(range(layers)):
                waiting.seek(index * size)
                for i, x in enumerate(streams):
                    streams[i] = np.frombuffer(waiting.read(x.nbytes), np.float32).reshape(x.shape)
                after, found = self._back(self._layer(index), streams, after)
                costs |= {f"layer {index} {role}": cost for role, cost in found.items()}
                self._progress(steps - index, steps)
        looked_up = [self._embedding(ids) for ids in self._windows]
        squares = (
            np.sum(g * g, axis=1) @ np.mean(x * x, axis=1)
            for g, x in zip(after, looked_up, strict=True)
        )
        costs["embedding"] = Cost(float(sum(squares)) / (2 * self._tokens), 1.0)
        return costs

    def _from_head(self, streams: list[Floats]) -> tuple[list[Floats], Cost]:
        """The gradients of the streams before the head, and what errors of the head cost."""
        norm, rows = self._head()
        rng = np.random.default_rng(_SEED)
        eps = self._program.norm_eps
        after: list[Floats] = []
        squares: list[Floats] = []
        inputs = Inputs()
        for x in streams:
            of_logits, before = gradients.of_head(x, norm, rows, eps, rng)
            squares.append(_squares(of_logits))
            inputs.add(decoder.normalised(x, norm, eps))
            after.append(before)
        return after, self._cost(rows, squares, inputs)

    def _back(
        self, layer: Layer, streams: list[Floats], after: list[Floats]
    ) -> tuple[list[Floats], dict[str, Cost]]:
        """The gradients of the streams before a layer, and what errors of its matrices cost."""
        before: list[Floats] = []
        squares: dict[str, list[Floats]] = defaultdict(list)
        seen: dict[str, Inputs] = defaultdict(Inputs)
        for x, gradient in zip(streams, after, strict=True):
            found, of_stream, multiplied = gradients.of_layer(self._program, layer, x, gradient)
            before.append(of_stream)
            for role, rows in found.items():
                squares[role].append(_squares(rows))
            for inputs, rows in multiplied.items():
                seen[inputs].add(rows)
        return before, {
            role: self._cost(matrix, squares[role], seen[INPUTS[role]])
            for role, matrix in layer.matrices.items()
        }

    def _cost(self, matrix: Floats, squares: Sequence[Floats], inputs: Inputs) -> Cost:
        """Of a matrix [rows, columns]; `squares` [2, rows] of each text are `_squares`."""
        of_first, of_others = np.sum(squares, axis=0)
        texts = len(squares)
        mean_others = max(float(of_others.sum()) / (self._tokens - texts), 1e-30)
        first = float(of_first.sum()) / texts / mean_others
        weights = self._tokens - texts + first * texts
        left = self._left(inputs.weighed(first) * np.float32(self._tokens / weights))
        by_row = (of_first + of_others) @ np.mean(matrix * matrix, axis=1)
        nats = float(by_row) * self._error(matrix[::_EVERY].copy(), left) / (2 * self._tokens)
        return Cost(nats, first)

    def _error(self, rows: Floats, left: Floats) -> float:
        """What rounding to P4 leaves of these rows, weighed by `left`, by their mean square."""
        if fitting("P4", rows.shape[1]) != "P4":
            return 0.0
        stored = _native.quantise(self._pool, "P4", rows, left)
        read = read_back(self._pool, "P4", stored, rows.shape)
        return float(np.sum((read - rows) ** 2 @ left) / np.sum(np.mean(rows * rows, axis=1)))

    def _left(self, products: Floats) -> Floats:
        """What is left of each input's mean square once those behind it are known: [columns].

        From n tokens, k inputs tell a part k / n of another one by accident.
        """
        seen = 1 / np.diagonal(factor(products)).astype(np.float64) ** 2 / self._tokens
        behind = np.arange(len(seen))[::-1]
        left: Floats = (seen / (1 - np.minimum(behind / self._tokens, 0.75))).astype(np.float32)
        return left


def _squares(rows: Floats) -> Floats:
    """Squares of gradients [tokens, n], of the first token and summed over the others: [2, n]."""
    squares = rows * rows
    return np.stack([squares[0], squares[1:].sum(axis=0)])
