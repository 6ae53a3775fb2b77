"""From a row of logits to a token.

The order is the field's: penalties and bias, temperature, top-k, top-p, min-p. A request has its
own generator (PCG64), so equal logits and an equal seed give equal tokens whatever else runs. It
knows logits and token ids; it does not know text, nor how logits come about.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from pocketlm.errors import Error, ModelFileError, ParameterError

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.intp]

#: Below this temperature the most likely token has all the probability that float32 can tell.
GREEDY = 1e-6


#: How talk is sampled as long as no temperature is said: near the likeliest words, as small models
#: want it, and against repeating themselves.
CHAT_SAMPLING: Mapping[str, Any] = {"temperature": 0.3, "top_p": 0.9, "frequency_penalty": 0.2}


@dataclass(frozen=True)
class SamplingParameters:
    """How one request chooses its tokens. Raises ParameterError for a value outside its range.

    The default is greedy: the most likely token, always the same text.
    """

    #: 0 is greedy; 1 is the model's own distribution.
    temperature: float = 0.0
    #: Choose among the k most likely tokens; 0 is all.
    top_k: int = 0
    #: Choose among the most likely tokens that together reach this (Holtzman et al. 2020).
    top_p: float = 1.0
    #: Drop tokens less likely than this part of the most likely one's probability.
    min_p: float = 0.0
    #: Divides the logits of the prompt's and answer's tokens (Keskar et al. 2019).
    repetition_penalty: float = 1.0
    #: Taken from the logits of tokens that the answer holds, once.
    presence_penalty: float = 0.0
    #: Taken from the logits of tokens that the answer holds, once for each time.
    frequency_penalty: float = 0.0
    #: The same seed gives the same text; None draws one.
    seed: int | None = None
    #: Most tokens to generate; None goes on to the end of the context.
    max_tokens: int | None = None
    #: Strings that end the answer; they are not part of it.
    stop: Sequence[str] = ()
    #: Added to the logits of these token ids.
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    #: Give each token's log-probability, and those of this many most likely ones; None is neither.
    logprobs: int | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Take parameters by name. A name that is none raises ParameterError."""
        known = [f.name for f in fields(cls)]
        for name in options:
            if name not in known:
                raise ParameterError(
                    f"no sampling parameter {name!r}; there are {', '.join(known)}"
                )
        return cls(**options)

    def __post_init__(self) -> None:
        """Check every value."""
        _number("temperature", self.temperature, 0)
        _whole("top_k", self.top_k, 0)
        _number("top_p", self.top_p, 0, 1, above=True)
        _number("min_p", self.min_p, 0, 1)
        _number("repetition_penalty", self.repetition_penalty, 0.01, 100)
        _number("presence_penalty", self.presence_penalty, -2, 2)
        _number("frequency_penalty", self.frequency_penalty, -2, 2)
        for name, least in (("seed", 0), ("max_tokens", 1), ("logprobs", 0)):
            if getattr(self, name) is not None:
                _whole(name, getattr(self, name), least)
        stop = (self.stop,) if isinstance(self.stop, str) else self.stop
        if not isinstance(stop, Sequence) or not all(isinstance(s, str) and s for s in stop):
            raise ParameterError("stop must be strings that are not empty")
        object.__setattr__(self, "stop", tuple(stop))
        if not isinstance(self.logit_bias, Mapping):
            raise ParameterError("logit_bias must map token ids to numbers")
        for token, bias in self.logit_bias.items():
            _whole("a token id of logit_bias", token, 0)
            _number(f"logit_bias of token {token}", bias, -1e9, 1e9)


def _number(
    name: str, value: object, least: float, most: float = math.inf, *, above: bool = False
) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float | np.number)
        or not math.isfinite(value)
        or not least <= value <= most
        or (above and value == least)
    ):
        low = f"above {least}" if above else f"at least {least}"
        high = "" if most == math.inf else f" and at most {most}"
        raise ParameterError(f"{name} is {value!r}; it must be a number {low}{high}")


def _whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ParameterError(f"{name} is {value!r}; it must be a whole number of at least {least}")


@dataclass(frozen=True)
class Token:
    """A generated token.

    With `logprobs`, also its log-probability, and the most likely tokens as (id, log-probability):
    the model's own, before penalties, bias and temperature.
    """

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Rule(Protocol):
    """What the next token must be."""

    def allows(self, token: int) -> bool:
        """Whether it may be this one."""
        ...

    def allowed(self) -> npt.NDArray[np.bool_]:
        """Which it may be: bool [vocabulary]."""
        ...


class Sampler:
    """Chooses one request's tokens. `banned` ids (padding of the vocabulary) are never chosen."""

    def __init__(
        self, parameters: SamplingParameters, prompt: Sequence[int], banned: Ints, vocab_size: int
    ) -> None:
        """Begin a request, whose prompt counts for the repetition penalty."""
        self._parameters = parameters
        self._banned = banned
        self._random = np.random.Generator(np.random.PCG64(parameters.seed))
        self._counts = np.zeros(vocab_size, dtype=np.float32)  # of each token in the answer
        self._seen = np.zeros(vocab_size, dtype=np.bool_)  # in prompt or answer
        self._seen[np.asarray(prompt, dtype=np.intp)] = True
        self._bias_ids = np.array(list(parameters.logit_bias), dtype=np.intp)
        self._bias = np.array(list(parameters.logit_bias.values()), dtype=np.float32)
        if self._bias_ids.size and self._bias_ids.max() >= vocab_size:
            raise ParameterError(
                f"logit_bias names token {self._bias_ids.max()}; the vocabulary has {vocab_size}"
            )

    def choose(self, logits: Floats, rule: Rule | None = None) -> Token:
        """The next token, from float32 logits [vocabulary], which are overwritten.

        With a `rule`, one that it allows. Raises ModelFileError when a logit is not a number, and
        Error when no token is left.
        """
        logits[self._banned] = -np.inf
        greatest = float(logits.max())
        if not math.isfinite(greatest):
            raise ModelFileError(
                "the model's output is not a number: the weights are damaged; pull the model again"
            )
        wanted = self._parameters.logprobs
        own = None if wanted is None else logits - _log_sum_exp(logits, greatest)
        self._adjust(logits)
        token = self._draw(logits)
        # As a rule the model's own choice is allowed. Taking it then, and drawing again among what
        # is allowed if it is not, comes to the same distribution as asking for all that is allowed
        # each time (rejection sampling); with top-k, top-p or min-p, the model's own set of likely
        # tokens goes first, and among what is allowed a new one is made only if that failed.
        if rule is not None and not rule.allows(token):
            np.copyto(logits, -np.inf, where=~rule.allowed())
            token = self._draw(logits)
        self._counts[token] += 1
        self._seen[token] = True
        if own is None or wanted is None:
            return Token(token)
        likely = _most_likely(own, wanted)
        return Token(token, float(own[token]), tuple((int(i), float(own[i])) for i in likely))

    def _adjust(self, logits: Floats) -> None:
        """Apply penalties and bias."""
        p = self._parameters
        if p.repetition_penalty != 1:
            ids = np.flatnonzero(self._seen)
            values = logits[ids]
            penalty = np.float32(p.repetition_penalty)
            logits[ids] = np.where(values > 0, values / penalty, values * penalty)
        if p.presence_penalty or p.frequency_penalty:
            ids = np.flatnonzero(self._counts)
            logits[ids] -= p.presence_penalty + p.frequency_penalty * self._counts[ids]
        if self._bias_ids.size:
            logits[self._bias_ids] += self._bias

    def _draw(self, logits: Floats) -> int:
        p = self._parameters
        best = int(logits.argmax())
        if logits[best] == -np.inf:
            raise Error("the vocabulary has no token with which the text could go on")
        if p.temperature < GREEDY or p.top_k == 1:
            return best
        scale = np.float32(1 / min(p.temperature, 1e30))  # 1 / 1e300 would be 0: NaN at -inf
        weights = np.exp((logits - logits[best]) * scale)
        least = _least(weights, p.top_k, p.top_p, p.min_p)
        if least == 0:
            return _place(weights, self._random.random())
        ids = np.flatnonzero(weights >= least)
        return int(ids[_place(weights[ids], self._random.random())])


def _least(weights: Floats, top_k: int, top_p: float, min_p: float) -> float:
    """The least weight that top-k, then top-p, then min-p let through; equal ones pass together.

    `weights` are probabilities divided by the greatest one.
    """
    least = 0.0
    if 0 < top_k < weights.size:
        least = float(np.partition(weights, weights.size - top_k)[weights.size - top_k])
    if top_p < 1:
        among = weights[weights >= least] if least else weights
        needed = top_p * float(among.sum(dtype=np.float64))
        # Few tokens are in the nucleus as a rule: sort only those likely enough to be.
        for threshold in (1e-2, 1e-4, 0.0):
            likely = among[among >= threshold]
            if float(likely.sum(dtype=np.float64)) >= needed:
                break
        falling = np.sort(likely)[::-1]
        last = int(falling.cumsum(dtype=np.float64).searchsorted(needed))
        least = float(falling[min(last, falling.size - 1)])
    return max(least, min_p)


def _place(weights: Floats, random: float) -> int:
    """Where the running sum of `weights` passes `random` (0 … 1) of the total."""
    blocks = np.arange(0, weights.size, 256)
    sums = np.add.reduceat(weights, blocks, dtype=np.float64).cumsum()
    passed = random * sums[-1]
    block = min(sums.searchsorted(passed, "right"), sums.searchsorted(sums[-1]))
    start = int(blocks[block])
    inside = weights[start : start + 256].cumsum(dtype=np.float64)
    left = passed - (sums[block - 1] if block else 0.0)
    # Rounding may leave more than there is: then the last one that has any weight.
    return start + int(min(inside.searchsorted(left, "right"), inside.searchsorted(inside[-1])))


def _most_likely(values: Floats, count: int) -> Ints:
    """The ids of the `count` greatest values, greatest first; of equal ones the lower id."""
    count = min(count, values.size)
    if count == 0:
        return np.empty(0, dtype=np.intp)
    least = np.partition(values, values.size - count)[values.size - count]
    ids = np.flatnonzero(values >= least)
    return ids[np.argsort(-values[ids], kind="stable")][:count]


def _log_sum_exp(logits: Floats, greatest: float) -> np.float32:
    total = np.exp(logits - np.float32(greatest)).sum(dtype=np.float64)
    return np.float32(greatest + math.log(float(total)))
