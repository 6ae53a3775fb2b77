"""The embedding model that a server may be given: wordllama's vectors of words, averaged.

They are trained for embeddings and nothing else. The weights (16 MB) come with the package, so that
nothing is brought from a network. It knows texts and vectors.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pocketlm.errors import Error
from pocketlm.serve.errors import ApiError

#: Most tokens of a text, as OpenAI's models have it: their vectors lie in memory side by side.
MOST_TOKENS = 8192


class Embedder:
    """Texts to vectors. Its methods may be called from several threads."""

    name = "wordllama"

    def __init__(self) -> None:
        """Load the weights. Raises Error where the package is not installed."""
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        try:
            import wordllama
        except ImportError:
            raise Error(
                "--embeddings wordllama needs its package: pip install 'pocketlm[search]'"
            ) from None
        finally:
            # Importing it sets up logging for the whole process.
            root.handlers[:] = handlers
            root.setLevel(level)
        # It looks for its tokenizer in another folder than the package has it in (0.4.0), and then
        # in a cache, which the package is laid out like.
        own = Path(wordllama.__file__).parent
        self._model = wordllama.WordLlama.load(cache_dir=own, disable_download=True)

    def embed(self, text: str) -> tuple[npt.NDArray[np.float32], int]:
        """A vector of length 1, float32 [256], and how many tokens the text has.

        Raises ApiError for a text that has none, or more than `MOST_TOKENS`.
        """
        tokens = len(self._model.tokenize(text)[0].ids)
        if not 0 < tokens <= MOST_TOKENS:
            raise ApiError(
                400,
                f"a text has {tokens:,} tokens; {self.name} embeds 1 to {MOST_TOKENS:,}",
                code="context_length_exceeded" if tokens else "invalid_value",
                param="input",
            )
        return np.asarray(self._model.embed([text], norm=True)[0], np.float32), tokens
