"""The embedding model that a server may be given, and what it refuses."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pocketlm.assistant.embedder import Embedder as _Embedder
from pocketlm.serve.errors import ApiError

#: Most tokens of a text, as OpenAI's models have it: their vectors lie in memory side by side.
MOST_TOKENS = 8192


class Embedder:
    """Texts to vectors. Its methods may be called from several threads."""

    name = _Embedder.name

    def __init__(self) -> None:
        """Load the weights. Raises Error where the package is not installed."""
        self._embedder = _Embedder()

    def embed(self, text: str) -> tuple[npt.NDArray[np.float32], int]:
        """A vector of length 1, float32 [256], and how many tokens the text has.

        Raises ApiError for a text that has none, or more than `MOST_TOKENS`.
        """
        ids = self._embedder.tokens(text)
        if not 0 < len(ids) <= MOST_TOKENS:
            raise ApiError(
                400,
                f"a text has {len(ids):,} tokens; {self.name} embeds 1 to {MOST_TOKENS:,}",
                code="context_length_exceeded" if ids else "invalid_value",
                param="input",
            )
        return self._embedder.pooled([ids])[0], len(ids)
