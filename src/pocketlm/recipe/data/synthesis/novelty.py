"""Whether a document is nearly one that was there before, asked while documents are being made.

Two are alike where all MinHashes of one bucket agree, as in the stage `near-duplicates` of `data
build`. It keeps signatures, no texts.
"""

from __future__ import annotations

from pocketlm.recipe.data.duplicates import Signer
from pocketlm.recipe.data.recipe import NearDuplicates


class Seen:
    """The documents so far."""

    def __init__(self, step: NearDuplicates) -> None:
        """None yet; alike as the stage `step` has it."""
        self._sign = Signer(step)
        self._held: list[dict[tuple[int, ...], str]] = [{} for _ in range(step.buckets)]

    def add(self, text: str, id: str) -> str | None:
        """Remember a document; or, where one is nearly the same, give the identity of that one."""
        signature = self._sign(text)
        for held, hashed in zip(self._held, signature, strict=False):
            if hashed in held:
                return held[hashed]
        for held, hashed in zip(self._held, signature, strict=False):
            held[hashed] = id
        return None
