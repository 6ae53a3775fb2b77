"""What a model's matrices multiply when it reads a text, measured layer by layer.

Texts go through the layers in float32 (`decoder`), each layer after the ones before it were
rounded, so that a layer makes up for what they lost as far as it can. Only the residual stream of
all tokens, one layer and its inputs' covariances are in memory.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib import resources

import numpy as np
import numpy.typing as npt

from pocketlm import _native
from pocketlm.errors import ParameterError
from pocketlm.formats.tokenizer import Tokenizer
from pocketlm.models.program import Program
from pocketlm.quantize import decoder
from pocketlm.quantize.decoder import Floats, Layer
from pocketlm.quantize.feedback import Bytes, factor, laid_out, read_back, with_feedback
from pocketlm.quantize.sensitivity import Cost, Inputs

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
        # Texts begin as they do when the model is used: all that follows looks at the first token.
        begin = [tokenizer.bos_id] if tokenizer.add_bos and tokenizer.bos_id is not None else []
        step = window - len(begin)
        windows: list[list[int]] = []
        for text in texts:
            ids = tokenizer.encode(text)
            whole = [begin + ids[i : i + step] for i in range(0, len(ids) - step + 1, step)]
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
        self._inputs: dict[str, Inputs] = defaultdict(Inputs)
        self._factor: tuple[str, Floats] | None = None
        self._costs: Mapping[str, Cost] = {}

    def weigh(self, costs: Mapping[str, Cost]) -> None:
        """Let first tokens count as they were found to, by matrix."""
        self._costs = costs

    def some(self, tokens: int) -> Sequence[npt.NDArray[np.intp]]:
        """At most `tokens` tokens, as whole windows from everywhere in the texts."""
        most = max(1, tokens // self._ids.shape[1])
        return list(self._ids[:: -(-len(self._ids) // most)])

    def embed(self, rows: Floats) -> None:
        """Look tokens up in the embedding's next rows."""
        if self._x is None:
            self._x = np.zeros((*self._ids.shape, rows.shape[1]), np.float32)
        here = (self._ids >= self._looked_up) & (self._ids < self._looked_up + len(rows))
        self._x[here] = rows[self._ids[here] - self._looked_up]
        self._looked_up += len(rows)

    def measure(self, layer: Layer) -> None:
        """Measure what the layer's matrices multiply."""
        self._forget()
        for x in self._texts():
            decoder.run(self._program, layer, x, lambda name, rows: self._inputs[name].add(rows))

    def measure_head(self, norm: Floats) -> None:
        """The same of the head, whose inputs are normalised with the weights `norm`."""
        self._forget()
        for x in self._texts():
            self._inputs["head"].add(decoder.normalised(x, norm, self._program.norm_eps))

    def advance(self, layer: Layer) -> None:
        """Let the texts through the layer, rounded by now."""
        for x in self._texts():
            x[:] = decoder.run(self._program, layer, x)

    def rounded(
        self, pool: _native.ThreadPool, type_: str, weights: Floats, name: str
    ) -> tuple[Bytes, Floats]:
        """Round the matrix `name` ("layer 3 down", "head"), or some of its rows, with feedback.

        Returns its bytes, and what a reader makes of them.
        """
        if self._factor is None or self._factor[0] != name:
            inputs = self._inputs[decoder.INPUTS.get(name.split()[-1], "head")]
            self._factor = name, factor(inputs.weighed(self._costs[name].first))
        rows = with_feedback(pool, type_, weights, self._factor[1])
        return laid_out(pool, type_, rows, weights.shape), read_back(
            pool, type_, rows, weights.shape
        )

    def _texts(self) -> Floats:
        assert self._x is not None
        return self._x

    def _forget(self) -> None:
        self._factor = None
        self._inputs = defaultdict(Inputs)
