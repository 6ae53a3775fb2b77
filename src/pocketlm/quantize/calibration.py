"""What a model's matrices multiply when it reads a text, measured layer by layer.

Texts go through the layers in float32 (`decoder`), each layer after the ones before it were
rounded, so that a layer makes up for what they lost as far as it can. Only the residual stream of
all tokens, one layer and its inputs' covariances are in memory.
"""

from collections.abc import Sequence
from importlib import resources

import numpy as np

from pocketlm import _native
from pocketlm.errors import ParameterError
from pocketlm.formats.tokenizer import Tokenizer
from pocketlm.models.program import Program
from pocketlm.quantize import decoder
from pocketlm.quantize.decoder import Floats, Layer
from pocketlm.quantize.feedback import Bytes, factor, laid_out, read_back, with_feedback

#: Tokens of a text that are read together.
WINDOW = 512
TOKENS = 16384
#: Fewer say too little of which inputs go together.
LEAST_TOKENS = 2048


def default_text() -> str:
    """The text that comes with pocketlm: many kinds of writing, a little of each."""
    return (resources.files("pocketlm.quantize") / "calibration.txt").read_text("utf-8")


class Calibration:
    """Texts on their way through a model that is being rounded."""

    def __init__(
        self,
        program: Program,
        tokenizer: Tokenizer,
        texts: Sequence[str],
        tokens: int | None = None,
    ) -> None:
        """Cut `texts` into windows, at most `tokens` tokens in all, evenly of each text.

        Raises ParameterError for texts that are too short.
        """
        window = min(WINDOW, program.context)
        most = max(1, (tokens or TOKENS) // window // len(texts))
        windows: list[list[int]] = []
        for text in texts:
            ids = tokenizer.encode(text)
            whole = [ids[i : i + window] for i in range(0, len(ids) - window + 1, window)]
            windows += whole[:most]
        self.tokens = window * len(windows)
        if self.tokens < LEAST_TOKENS:
            raise ParameterError(
                f"the calibration text is too short: {self.tokens:,} tokens in whole windows of "
                f"{window}, {LEAST_TOKENS:,} at least are needed"
            )
        self._program = program
        self._ids = np.array(windows)
        self._x: Floats | None = None
        self._looked_up = 0
        self._covariances: dict[str, Floats] = {}
        self._factors: dict[str, Floats] = {}

    def embed(self, rows: Floats) -> None:
        """Look tokens up in the embedding's next rows."""
        if self._x is None:
            self._x = np.zeros((*self._ids.shape, rows.shape[1]), np.float32)
        here = (self._ids >= self._looked_up) & (self._ids < self._looked_up + len(rows))
        self._x[here] = rows[self._ids[here] - self._looked_up]
        self._looked_up += len(rows)

    def measure(self, layer: Layer) -> None:
        """Measure what the layer's matrices multiply."""
        self._covariances.clear()
        self._factors.clear()
        for x in self._texts():
            decoder.run(self._program, layer, x, self._see)

    def measure_head(self, norm: Floats) -> None:
        """The same of the head, whose inputs are normalised with the weights `norm`."""
        self._covariances.clear()
        self._factors.clear()
        for x in self._texts():
            self._see("head", decoder.normalised(x, norm, self._program.norm_eps))

    def advance(self, layer: Layer) -> None:
        """Let the texts through the layer, rounded by now."""
        for x in self._texts():
            x[:] = decoder.run(self._program, layer, x)

    def rounded(
        self, pool: _native.ThreadPool, type_: str, weights: Floats, inputs: str
    ) -> tuple[Bytes, Floats]:
        """Round a matrix whose inputs were measured: its bytes, and what a reader makes of them."""
        if inputs not in self._factors:
            self._factors[inputs] = factor(self._covariances.pop(inputs))
        rows = with_feedback(pool, type_, weights, self._factors[inputs])
        return laid_out(pool, type_, rows, weights.shape), read_back(
            pool, type_, rows, weights.shape
        )

    def _texts(self) -> Floats:
        assert self._x is not None
        return self._x

    def _see(self, inputs: str, rows: Floats) -> None:
        product = rows.T @ rows
        if inputs in self._covariances:
            self._covariances[inputs] += product
        else:
            self._covariances[inputs] = product
