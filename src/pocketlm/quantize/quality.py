"""How much a model lost against a reference: numbers from the logits of both, with intervals.

It knows arrays of logits and statistics; no model, no text and no file. `reading` gives logits.

Tokens of one window depend on each other, so intervals are a bootstrap over whole windows: these
are drawn with replacement RESAMPLES times, with a fixed seed. The percentiles are those of
Student's t distribution, since few windows would otherwise give intervals that are too narrow
(the "expanded percentile interval" of Hesterberg, "What Teachers Should Know About the Bootstrap",
2015).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from statistics import NormalDist
from typing import Self

import numpy as np
import numpy.typing as npt

from pocketlm.errors import ParameterError

Array = npt.NDArray[np.float64]

RESAMPLES = 1000
CONFIDENCE = 0.95
#: Rows of logits that are worked on together: few enough to stay in the processor's caches.
_ROWS = 8


@dataclass(frozen=True)
class Estimate:
    """A statistic of a text, and its 95 % confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Likelihood:
    """How well a model predicts a text: [tokens], or [windows, tokens] for what has an interval.

    The properties raise ParameterError where there are fewer than two windows.
    """

    #: -ln of the probability of the right token, in nats.
    nll: Array

    @classmethod
    def joined(cls, parts: Sequence[Self], windows: int) -> Self:
        """Parts of a text in their order as one: [windows, tokens], windows of equal length."""
        arrays = (np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls))
        return cls(*(array.reshape(windows, -1) for array in arrays))

    @cached_property
    def perplexity(self) -> Estimate:
        """exp of the mean of -ln p."""
        return estimate(self.nll, _exp_mean)

    def estimates(self) -> dict[str, Estimate]:
        """Everything that has an interval, by name."""
        return {"perplexity": self.perplexity}


@dataclass(frozen=True, eq=False)
class Loss(Likelihood):
    """What a model lost against a reference, token by token. Shapes as in Likelihood."""

    #: -ln of the probability that the reference gives the right token, in nats.
    reference_nll: Array
    #: KL(reference || model), the divergence of the two distributions, in nats.
    divergence: Array
    #: The model's probability of the right token minus the reference's.
    probability_change: Array
    #: 1 where both hold the same token for the likeliest, else 0.
    same_top: Array

    @cached_property
    def reference_perplexity(self) -> Estimate:
        """The reference's."""
        return estimate(self.reference_nll, _exp_mean)

    @cached_property
    def perplexity_ratio(self) -> Estimate:
        """The model's perplexity as a multiple of the reference's, on the same tokens."""
        return estimate(self.nll - self.reference_nll, _exp_mean)

    @cached_property
    def kl_mean(self) -> Estimate:
        """Mean divergence."""
        return estimate(self.divergence, _mean)

    @cached_property
    def kl_median(self) -> Estimate:
        """Median divergence."""
        return self.kl_quantile(0.5)

    @cached_property
    def kl_99(self) -> Estimate:
        """The divergence that 1 % of the tokens exceed."""
        return self.kl_quantile(0.99)

    @property
    def kl_max(self) -> float:
        """The largest divergence. A sample tells nothing of what lies above: no interval."""
        return float(self.divergence.max())

    @cached_property
    def rms_probability_change_percent(self) -> Estimate:
        """Root mean square change of the probability of the right token, in per cent."""
        return estimate(
            self.probability_change**2, lambda squares: 100 * float(np.sqrt(squares.mean()))
        )

    @cached_property
    def same_top_percent(self) -> Estimate:
        """Per cent of the tokens for which both models hold the same one for the likeliest."""
        return estimate(self.same_top, lambda same: 100 * float(same.mean()))

    def kl_quantile(self, share: float) -> Estimate:
        """The divergence that this share of the tokens does not exceed."""
        return estimate(self.divergence, lambda values: float(np.quantile(values, share)))

    def estimates(self) -> dict[str, Estimate]:
        """Everything that has an interval, by name."""
        return {
            "perplexity": self.perplexity,
            "reference_perplexity": self.reference_perplexity,
            "perplexity_ratio": self.perplexity_ratio,
            "kl_mean": self.kl_mean,
            "kl_median": self.kl_median,
            "kl_99": self.kl_99,
            "rms_probability_change_percent": self.rms_probability_change_percent,
            "same_top_percent": self.same_top_percent,
        }


def compare(
    reference_logits: npt.NDArray[np.float32],
    model_logits: npt.NDArray[np.float32],
    targets: npt.NDArray[np.intp],
) -> Loss:
    """What the model lost on n tokens: logits [n, vocabulary] of both, the right tokens [n].

    All is computed in float64. Raises ParameterError where shapes differ or logits are not finite.
    """
    if reference_logits.shape != model_logits.shape or len(targets) != len(model_logits):
        raise ParameterError(
            f"logits of shapes {reference_logits.shape} and {model_logits.shape} and "
            f"{len(targets)} targets do not belong together"
        )
    loss = Loss(*(np.empty(len(targets)) for _ in fields(Loss)))
    for rows in _blocks(len(targets)):
        of_reference = _log_softmax(reference_logits[rows])
        of_model = _log_softmax(model_logits[rows])
        right, found = _of(of_reference, targets[rows]), _of(of_model, targets[rows])
        divergence = np.einsum("nv,nv->n", np.exp(of_reference), of_reference - of_model)
        loss.nll[rows] = -found
        loss.reference_nll[rows] = -right
        loss.divergence[rows] = np.maximum(divergence, 0)  # rounding may leave -1e-17
        loss.probability_change[rows] = np.exp(found) - np.exp(right)
        loss.same_top[rows] = of_reference.argmax(axis=1) == of_model.argmax(axis=1)
    return loss


def likelihood(logits: npt.NDArray[np.float32], targets: npt.NDArray[np.intp]) -> Likelihood:
    """How well n right tokens [n] are predicted by logits [n, vocabulary]; in float64.

    Raises ParameterError where logits are not finite.
    """
    nll = np.empty(len(targets))
    for rows in _blocks(len(targets)):
        nll[rows] = -_of(_log_softmax(logits[rows]), targets[rows])
    return Likelihood(nll)


def estimate(values: Array, statistic: Callable[[Array], float]) -> Estimate:
    """A statistic of `values` [windows, tokens], with its interval (see the module's first lines).

    Raises ParameterError where there are fewer than two windows.
    """
    if values.ndim != 2 or len(values) < 2:
        raise ParameterError("a confidence interval needs two windows of text at least")
    count = len(values)
    draws = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
    found = [statistic(values[drawn]) for drawn in draws]
    tail = NormalDist().cdf(_student(count - 1) * (count / (count - 1)) ** 0.5)
    low, high = np.quantile(found, (tail, 1 - tail))
    return Estimate(statistic(values), float(low), float(high))


def _log_softmax(logits: npt.NDArray[np.float32]) -> Array:
    if not np.isfinite(logits).all():
        raise ParameterError("there are logits that are not finite")
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted


def _of(rows: Array, targets: npt.NDArray[np.intp]) -> Array:
    return rows[np.arange(len(rows)), targets]


def _blocks(count: int) -> list[slice]:
    return [slice(start, start + _ROWS) for start in range(0, count, _ROWS)]


def _mean(values: Array) -> float:
    return float(values.mean())


def _exp_mean(values: Array) -> float:
    return float(np.exp(values.mean()))


def _student(freedom: int) -> float:
    """The lower end of the t distribution's CONFIDENCE interval.

    By its expansion about the normal's (Abramowitz and Stegun, 26.7.5), to 0.1 % from 5 degrees of
    freedom on.
    """
    z = NormalDist().inv_cdf((1 - CONFIDENCE) / 2)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return float(z + first / freedom + second / freedom**2 + third / freedom**3)
