"""Texts to vectors: wordllama's vectors of tokens, summed.

They are trained for embeddings and nothing else. The weights (16 MB) come with the package, so that
nothing is brought from a network. It knows texts and vectors, and not what they are compared for.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pocketlm.errors import Error


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
            raise Error("wordllama needs its package: pip install 'pocketlm[search]'") from None
        finally:
            # Importing it sets up logging for the whole process.
            root.handlers[:] = handlers
            root.setLevel(level)
        # It looks for its tokenizer in another folder than the package has it in (0.4.0), and then
        # in a cache, which the package is laid out like.
        own = Path(wordllama.__file__).parent
        model = wordllama.WordLlama.load(cache_dir=own, disable_download=True)
        self._vectors: npt.NDArray[np.float32] = model.embedding
        self._tokenizer = model.tokenizer
        # Its own pooling pads texts to the longest, which takes ten times as long for sentences.
        self._tokenizer.no_padding()

    def tokens(self, text: str) -> list[int]:
        """The ids of a text's tokens."""
        found: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return found

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors of length 1, float32 [texts, 256]; of length 0 for a text without tokens."""
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return self.pooled([each.ids for each in encodings])

    def pooled(self, ids: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
        """As `embed`, of texts that are tokens already."""
        vectors = np.zeros((len(ids), self._vectors.shape[1]), np.float32)
        for row, each in zip(vectors, ids, strict=True):
            self._vectors[np.asarray(each, np.intp)].sum(axis=0, out=row)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        np.divide(vectors, lengths, out=vectors, where=lengths > 0)
        return vectors
