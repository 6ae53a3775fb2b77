"""What a lesson is, and the small change of English that lessons share."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

Lesson = Callable[[random.Random], Sequence[str]]
"""Makes the paragraphs of one lesson from a source of chance."""
