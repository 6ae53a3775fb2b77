"""What is said while a model is trained."""

from collections.abc import Callable

#: Takes a line of progress, for a person.
Tell = Callable[[str], None]


def duration(seconds: float) -> str:
    """A duration for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
