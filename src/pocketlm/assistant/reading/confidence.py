"""Whether what was found answers: how likely it is right, and when to say that nothing was found.

The numbers were fitted by `benchmarks/reader_weights.py`, which also prints how often they are
right. Knows no model.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np


@dataclass(frozen=True)
class Evidence:
    """What speaks for the best phrase of one passage."""

    #: Its clues' score.
    score: float
    #: The passage's place in what the search found, from 0 on.
    rank: float
    #: Whether the model, asked without any passage, says the same.
    agrees: float


WEIGHTS = Evidence(score=0.832, rank=-0.827, agrees=5.4)
BIAS = -3.189
#: Below this probability nothing was found: a wrong answer is worse than none.
LEAST = 0.2


def probability(evidence: Evidence) -> float:
    """How likely the phrase is right."""
    return float(1 / (1 + np.exp(-np.dot(astuple(evidence), astuple(WEIGHTS)) - BIAS)))
