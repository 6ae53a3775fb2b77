"""A needle in a haystack: is a fact found again, wherever in a long text it stands?

The test of Kamradt (2023, LLMTest_NeedleInAHaystack), scored by program: a sentence with a random
number is put into a text at a given depth, and the model is asked for the number. It knows prompts
and answers. It does not know how a model runs, nor how the scores are drawn.
"""

from __future__ import annotations

import random
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pocketlm.errors import ContextError, ParameterError

if TYPE_CHECKING:
    from pocketlm.api import Model
    from pocketlm.chat.prompt import Message

#: Lengths and depths that are tried unless others are said: the former as the context allows.
LENGTHS = (512, 1024, 2048)
DEPTHS = (0, 25, 50, 75, 100)
#: Tokens that an answer may take; a model that says more has not understood.
ANSWER = 32

_PLACES = (
    "lighthouse",
    "windmill",
    "observatory",
    "museum",
    "castle",
    "monastery",
    "shipyard",
    "brewery",
    "theatre",
    "railway station",
    "swimming pool",
    "botanical garden",
)


@dataclass(frozen=True)
class Needle:
    """What is hidden: that the secret number of `place` is `number`."""

    place: str
    number: int

    @classmethod
    def draw(cls, *seed: int) -> Needle:
        """One of five digits; the same seed gives the same one."""
        draw = random.Random(repr(seed))
        return cls(draw.choice(_PLACES), draw.randrange(10_000, 100_000))

    @property
    def sentence(self) -> str:
        """As it stands in the text."""
        return f"The secret number of the {self.place} is {self.number}."

    @property
    def question(self) -> str:
        """What the model is asked."""
        return f"What is the secret number of the {self.place}? Answer with the number alone."

    def found_in(self, answer: str) -> bool:
        """Whether an answer holds the number, whole: "12,345" is one number, "123456" is not it."""
        numbers = re.findall(r"\d+(?:,\d+)*", answer)
        return str(self.number) in (number.replace(",", "") for number in numbers)


@dataclass(frozen=True)
class Trial:
    """One question and what came of it."""

    needle: Needle
    prompt_tokens: int
    answer: str

    @property
    def found(self) -> bool:
        """Whether the answer is right."""
        return self.needle.found_in(self.answer)


@dataclass
class Cell:
    """Trials at one length, in tokens, and one depth, in per cent of the text."""

    length: int
    depth: int
    trials: list[Trial] = field(default_factory=list)

    @property
    def score(self) -> float:
        """The part of the trials that found it, 0 to 1."""
        return sum(trial.found for trial in self.trials) / len(self.trials)

    def as_json(self) -> dict[str, Any]:
        """The score and every answer."""
        return {
            "length": self.length,
            "depth": self.depth,
            "score": round(self.score, 4),
            "trials": [
                {
                    "number": trial.needle.number,
                    "answer": trial.answer,
                    "found": trial.found,
                    "prompt_tokens": trial.prompt_tokens,
                }
                for trial in self.trials
            ],
        }


class Haystack:
    """The probe of one model. `cells` has what was measured so far, after Ctrl-C too.

    The text is the same for all, so that a prompt's beginning is in the engine's cache already:
    lengths rise and depths fall, and of each prompt little more is processed than what follows its
    needle.
    """

    def __init__(
        self,
        model: Model,
        filler: Iterable[str],
        *,
        lengths: Iterable[int] | None = None,
        depths: Iterable[int] = DEPTHS,
        trials: int = 1,
        seed: int = 0,
    ) -> None:
        """Plan it: `filler` gives the text's sentences, `lengths` are of whole prompts, in tokens.

        Raises ContextError for a length that leaves no room for an answer, and ParameterError for
        other arguments outside what they may be, a filler that is too short among them.
        """
        self._model = model
        self._most = model.context - ANSWER
        fitting = [length for length in LENGTHS if length <= self._most]
        self._lengths = sorted(set(lengths if lengths is not None else fitting or LENGTHS[:1]))
        self._depths = sorted(set(depths), reverse=True)
        self._trials, self._seed = trials, seed
        self._check()
        self._sentences: list[str] = []
        self._ends: list[int] = []  # tokens up to the end of each sentence
        self._gather(filler)
        self.cells: list[Cell] = []

    def run(self, progress: Callable[[str], None] = lambda _: None) -> None:
        """Ask all questions. `progress` is told what is under way."""
        for length in self._lengths:
            for depth in self._depths:
                for trial in range(self._trials):
                    progress(f"{length:,} tokens, depth {depth} %, trial {trial + 1}")
                    self._record(length, depth, self._ask(length, depth, trial))

    def _record(self, length: int, depth: int, trial: Trial) -> None:
        if not self.cells or (self.cells[-1].length, self.cells[-1].depth) != (length, depth):
            self.cells.append(Cell(length, depth))
        self.cells[-1].trials.append(trial)

    def _ask(self, length: int, depth: int, trial: int) -> Trial:
        needle = Needle.draw(self._seed, length, depth, trial)
        prompt = self._fitting(length, depth, needle)
        answer = self._model.chat(prompt, max_tokens=ANSWER)
        return Trial(needle, answer.prompt_tokens, answer.text.strip())

    def _fitting(self, length: int, depth: int, needle: Needle) -> list[Message]:
        """The prompt with as many sentences as `length` tokens hold."""
        bare = len(self._model.prompt_tokens(self._prompt(0, depth, needle)))
        if bare >= length:
            raise ParameterError(
                f"a length of {length:,} tokens is too short: the question alone takes {bare:,}"
            )
        count = bisect_right(self._ends, length - bare)
        while True:
            prompt = self._prompt(count, depth, needle)
            if len(self._model.prompt_tokens(prompt)) <= length:
                return prompt
            count -= 1  # sentences side by side may take other tokens than each alone

    def _prompt(self, count: int, depth: int, needle: Needle) -> list[Message]:
        at = round(count * depth / 100)
        text = [*self._sentences[:at], needle.sentence, *self._sentences[at:count]]
        return [{"role": "user", "content": f"{' '.join(text)}\n\n{needle.question}"}]

    def _gather(self, filler: Iterable[str]) -> None:
        """Take as many sentences as the longest prompt may need."""
        end = 0
        for sentence in filler:
            end += len(self._model.tokenize(f" {sentence}"))
            self._sentences.append(sentence)
            self._ends.append(end)
            if end >= self._lengths[-1]:
                return
        raise ParameterError(
            f"the text has {end:,} tokens, and the longest prompt {self._lengths[-1]:,}; give a "
            "longer text or shorter lengths"
        )

    def _check(self) -> None:
        if not self._lengths or self._lengths[0] < 1:
            raise ParameterError("lengths must be one or more numbers of tokens, at least 1")
        if not self._depths or not 0 <= self._depths[-1] <= self._depths[0] <= 100:
            raise ParameterError("depths must be one or more numbers from 0 to 100 (per cent)")
        if self._trials < 1:
            raise ParameterError(f"trials is {self._trials}; it must be at least 1")
        if self._lengths[-1] > self._most:
            raise ContextError(
                f"a prompt of {self._lengths[-1]:,} tokens and its answer ({ANSWER}) exceed the "
                f"context window of {self._model.context:,} tokens; choose shorter lengths"
            )
