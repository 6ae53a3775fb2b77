"""From token ids to text, with the strings that end it never half shown.

It knows a detokenizer (which never splits a character) and stop strings. It does not know how
tokens are chosen. The result does not depend on how the text arrives: the stop string that is
complete first ends it, and what may be the beginning of one is held back until that is decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Detokenizer(Protocol):
    """Turns ids into text, a whole number of characters at a time."""

    def push(self, id: int) -> str:
        """The text that this token completes."""

    def flush(self) -> str:
        """What is left at the end."""


class TextStream:
    """Text of one answer, as far as it may be shown."""

    def __init__(self, detokenizer: Detokenizer, stop: Sequence[str] = ()) -> None:
        """Begin an answer that any of the `stop` strings ends."""
        #: The stop string that ended the text.
        self.stopped_by: str | None = None
        self._detokenizer = detokenizer
        self._stop = tuple(stop)
        self._held = ""

    def push(self, id: int) -> str:
        """The text that may be shown now that token `id` has come; `stopped` tells of the end."""
        return self._show(self._detokenizer.push(id), final=False)

    @property
    def stopped(self) -> bool:
        """Whether a stop string has ended the text."""
        return self.stopped_by is not None

    def finish(self) -> str:
        """The rest, after the last token."""
        return self._show(self._detokenizer.flush(), final=True)

    def _show(self, text: str, *, final: bool) -> str:
        if self.stopped:
            return ""
        self._held += text
        ends = [
            (start + len(stop), start, stop)
            for stop in self._stop
            if (start := self._held.find(stop)) >= 0
        ]
        if ends:
            _, shown, self.stopped_by = min(ends)
        elif final:
            shown = len(self._held)
        else:
            shown = len(self._held) - self._undecided()
        text, self._held = self._held[:shown], self._held[shown:]
        return text

    def _undecided(self) -> int:
        """Length of the longest end of the held text that begins a stop string."""
        longest = 0
        for stop in self._stop:
            for length in range(min(len(stop) - 1, len(self._held)), longest, -1):
                if self._held.endswith(stop[:length]):
                    longest = length
                    break
        return longest
