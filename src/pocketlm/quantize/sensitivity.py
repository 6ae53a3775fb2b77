"""What a rounded weight costs: expected KL divergence by matrix, measured on a text.

A matrix's error E costs the mean of |g|² |E x|² / 2 nats a token, with x what the matrix multiplies
and g the gradient of what it gives (`gradients`). Which x matter is a question of their tokens: a
text's first one is attended to by all others, and its value alone may be most of what counts. So
it is weighed by itself; among tokens of a kind, x and g are taken to be independent of each other,
and tokens of one another (Kronecker factors; Martens and Grosse, arXiv 1503.05671). How large
errors are is tried on some rows, in P4; error feedback leaves, of each input, what later ones do
not tell (`feedback`).

It knows layers and arrays, and no file. The residual stream before each layer waits on the disk.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pocketlm import _native
from pocketlm.formats.output import scratch_beside
from pocketlm.models.program import Program
from pocketlm.quantize import decoder, gradients
from pocketlm.quantize.decoder import INPUTS, Floats, Layer
from pocketlm.quantize.feedback import factor, read_back
from pocketlm.quantize.plan import ERRORS, fitting

#: Tokens that are read: sums over rows and columns need no more.
TOKENS = 4096
#: What is added to inputs' mean squares, as a part of their average over tokens but first ones:
#: what few tokens tell is not trusted to the end.
DAMPING = 0.03
#: Of a matrix's rows, this many go for one whose rounding is tried.
_EVERY = 16
_SEED = 3128
#: Tokens whose products are added at once, and columns of them at a time.
_TOGETHER = 2048
_WIDTH = 1024

Ids = npt.NDArray[np.intp]


class Cost(NamedTuple):
    """What errors of a matrix cost."""

    #: Nats a token, were it rounded to P4.
    nats: float
    #: How much an error for a text's first token counts, as a multiple of another token's.
    first: float


class Measured(NamedTuple):
    """What a text tells of a model."""

    #: By matrix: "layer 3 down", "embedding", "head".
    costs: dict[str, Cost]
    #: For each layer, factors [columns] of down's columns that make rounding cost the least;
    #: rows of up are divided by them.
    scales: list[Floats]


class Inputs:
    """What a matrix multiplies: of texts, the sum of x xᵀ, first tokens apart from all others."""

    def __init__(self) -> None:
        """Of no text yet."""
        self._others: Floats | None = None
        self._waiting: list[Floats] = []
        self._first: list[Floats] = []

    def add(self, rows: Floats) -> None:
        """A text's: float32 [tokens, n]."""
        self._first.append(rows[0].copy())
        self._waiting.append(rows[1:])
        if sum(map(len, self._waiting)) >= _TOGETHER:
            self._multiply()

    def weighed(self, first: float) -> Floats:
        """The sum of x xᵀ [n, n], first tokens counting `first` times, damped."""
        others = self._multiply()
        rows = np.stack(self._first)
        products: Floats = rows.T @ (np.float32(first) * rows)
        products += others
        products[np.diag_indices_from(products)] += DAMPING * np.mean(np.diagonal(others))
        return products

    def _multiply(self) -> Floats:
        """Add what waits to the sum: many tokens at once, as the sum may be a quarter of a GiB."""
        columns = len(self._first[0])
        if self._others is None:
            self._others = np.zeros((columns, columns), np.float32)
        if self._waiting:
            rows = np.concatenate(self._waiting)
            self._waiting.clear()
            for start in range(0, columns, _WIDTH):
                these = slice(start, start + _WIDTH)
                products = rows[:, start:].T @ rows[:, these]
                self._others[start:, these] += products
                self._others[these, start + _WIDTH :] += products[_WIDTH:].T
        return self._others


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

    def measure(self, target: Path) -> Measured:
        """Let the text through the model, and gradients back.

        Streams wait beside `target`, 4 bytes a token, layer and hidden number. Raises OutputError
        where there is no room.
        """
        layers = self._program.layers
        steps = 2 * layers + 1
        costs: dict[str, Cost] = {}
        scales: list[Floats] = []
        streams = [self._embedding(ids) for ids in self._windows]
        size = sum(x.nbytes for x in streams)
        with scratch_beside(target, layers * size) as waiting:
            for index in range(layers):
                layer = self._layer(index)
                for i, x in enumerate(streams):
                    waiting.write(x.tobytes())
                    streams[i] = decoder.run(self._program, layer, x)
                self._progress(index + 1, steps)
            after, costs["head"] = self._from_head(streams)
            self._progress(layers + 1, steps)
            for index in reversed(range(layers)):
                waiting.seek(index * size)
                for i, x in enumerate(streams):
                    streams[i] = np.frombuffer(waiting.read(x.nbytes), np.float32).reshape(x.shape)
                after, found, scale = self._back(self._layer(index), streams, after)
                costs |= {f"layer {index} {role}": cost for role, cost in found.items()}
                scales.insert(0, scale)
                self._progress(steps - index, steps)
        looked_up = [self._embedding(ids) for ids in self._windows]
        squares = (
            np.sum(g * g, axis=1) @ np.mean(x * x, axis=1)
            for g, x in zip(after, looked_up, strict=True)
        )
        error = ERRORS["P4"] / (2 * self._tokens)
        costs["embedding"] = Cost(error * float(sum(squares)), 1.0)
        return Measured(costs, scales)

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
        by_row, first = self._by_row(squares)
        return after, Cost(self._nats(rows, by_row, self._left(inputs, first)), first)

    def _back(
        self, layer: Layer, streams: list[Floats], after: list[Floats]
    ) -> tuple[list[Floats], dict[str, Cost], Floats]:
        """The gradients of the streams before a layer, what errors of its matrices cost, scales."""
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
        costs: dict[str, Cost] = {}
        scale = np.ones(layer.matrices["down"].shape[1], np.float32)
        for role, matrix in layer.matrices.items():
            by_row, first = self._by_row(squares[role])
            left = self._left(seen[INPUTS[role]], first)
            if role == "down":
                scale = _scale(matrix, by_row, left)
                matrix, left = matrix * scale, left / scale**2
            costs[role] = Cost(self._nats(matrix, by_row, left), first)
        return before, costs, scale

    def _by_row(self, squares: Sequence[Floats]) -> tuple[Floats, float]:
        """Mean squares of gradients [rows], and how much first ones count, of texts' `_squares`."""
        of_first, of_others = np.sum(squares, axis=0)
        texts = len(squares)
        others = max(float(of_others.sum()) / (self._tokens - texts), 1e-30)
        return (of_first + of_others) / self._tokens, float(of_first.sum()) / texts / others

    def _nats(self, matrix: Floats, by_row: Floats, left: Floats) -> float:
        squares = float(by_row @ np.mean(matrix * matrix, axis=1))
        return squares * self._error(matrix[::_EVERY].copy(), left) / 2

    def _error(self, rows: Floats, left: Floats) -> float:
        """What rounding to P4 leaves of these rows, weighed by `left`, by their mean square."""
        if fitting("P4", rows.shape[1]) != "P4":
            return 0.0
        stored = _native.quantise(self._pool, "P4", rows, left)
        read = read_back(self._pool, "P4", stored, rows.shape)
        return float(np.sum((read - rows) ** 2 @ left) / np.sum(np.mean(rows * rows, axis=1)))

    def _left(self, inputs: Inputs, first: float) -> Floats:
        """What is left of each input's mean square once those behind it are known: [columns].

        From n tokens, k inputs tell a part k / n of another one by accident.
        """
        tokens, texts = self._tokens, len(self._windows)
        seen = 1 / np.diagonal(factor(inputs.weighed(first))).astype(np.float64) ** 2
        seen /= tokens + (first - 1) * texts
        behind = np.arange(len(seen))[::-1]
        left: Floats = (seen / (1 - np.minimum(behind / tokens, 0.75))).astype(np.float32)
        return left


def _scale(matrix: Floats, by_row: Floats, left: Floats) -> Floats:
    """Factors of columns that make rounding cost the least.

    Columns that share a scale have errors as large as their mean square w², and cost w² d, with d
    what is left of the inputs, which is divided by the square of what w is multiplied by. By the
    inequality of Cauchy and Schwarz, least is the sum of w² times that of d where d / w² is the
    same for all: factors are (d / w²)^(1/4).
    """
    squares = by_row @ (matrix * matrix)
    squares = np.maximum(squares, 1e-4 * float(squares.mean()) + 1e-30)
    logs = np.log(np.maximum(left / squares, 1e-30)) / 4
    scale: Floats = np.exp(np.clip(logs - logs.mean(), -3, 3)).astype(np.float32)
    return scale


def _squares(rows: Floats) -> Floats:
    """Squares of gradients [tokens, n], of the first token and summed over the others: [2, n]."""
    squares = rows * rows
    return np.stack([squares[0], squares[1:].sum(axis=0)])
