"""How far a long measurement has come, and how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Callable


class Progress:
    """Lines like "120 of 600 items, 3 min left". Work that was done before takes no time."""

    def __init__(
        self, tell: Callable[[str], None], what: str, total: int, done: int = 0, work: float = 0.0
    ) -> None:
        """`total` pieces, of which `done` are there; `work` is the size of the rest, in any unit.

        Without `work` all pieces are alike.
        """
        self._tell, self._what = tell, what
        self._total, self._done = total, done
        self._work = work or float(total - done)
        self._worked = 0.0
        self._began = time.monotonic()
        if done:
            tell(f"{what}: {done:,} of {total:,} are there already")

    def advance(self, work: float = 1.0) -> None:
        """One more piece is done, which was `work` of the whole."""
        self._done += 1
        self._worked += work
        spent = time.monotonic() - self._began
        rest = ""
        if spent > 1 and self._worked:
            left = max(self._work - self._worked, 0.0)
            rest = f", {lasts(spent / self._worked * left)} left"
        self._tell(f"{self._what}: {self._done:,} of {self._total:,}{rest}")


def lasts(seconds: float) -> str:
    """A duration for people: "40 s", "12 min", "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
