"""What probes of programs share: how one is asked for in a forced form."""

from __future__ import annotations

from pocketlm.evaluate.probes.probe import Constrained

#: One block of Python and nothing else. Backticks are kept for its end.
BLOCK = Constrained(
    "regex",
    "```python\n[^`]+\n```",
    ask="Answer with one ```python block that holds the whole program, and nothing else.",
)
