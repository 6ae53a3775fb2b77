"""What a probe is: a trial that is drawn anew for each seed, and a program that judges answers.

A probe draws variants: names, numbers, wording and right answers differ, so that nothing can be
learnt by heart. It says how each is asked in the three modes (`modes.py`), and judges what came of
it with partial credit that is explained. It knows no model, and it trusts no text: what an answer
holds is read, never believed, and code of it runs in the sandbox alone.
"""

from __future__ import annotations

import json
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pocketlm.assistant.coder import Check
from pocketlm.assistant.tools.skill import Skill
from pocketlm.chat.prompt import Message
from pocketlm.chat.tools import Call

#: How many variants a probe has, unless told otherwise.
COUNT = 20
#: How often a variant that came out like an earlier one is drawn again.
_DRAWS = 100

Mode = Literal["plain", "constrained", "tools"]


@dataclass(frozen=True)
class Constrained:
    """How an answer is asked for where its form is forced.

    `kind` and `value` are what `Model.chat` takes (`schema=…`, `regex=…` or `grammar=…`). `ask` is
    said at the end of the question, so that the model knows the form. Of JSON, `field` names what
    is judged, as text; None is the whole answer. Reasoning before the answer is a field of its own:
    {"reasoning": …, "answer": …}, the reasoning bounded by `maxLength`.
    """

    kind: Literal["schema", "regex", "grammar"]
    value: Mapping[str, Any] | str
    ask: str = ""
    field: str | None = None

    def judged(self, text: str) -> str:
        """What is judged of an answer: its `field`, and nothing where it did not come to that."""
        if self.field is None:
            return text
        try:
            found = json.loads(text)[self.field]
        except (ValueError, TypeError, KeyError, RecursionError):
            return ""
        return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


@dataclass(frozen=True)
class Variant:
    """One drawing of a probe.

    `messages` are what is asked, the last one of the user. `facts` (JSON) are all that the judge
    needs to know; `target` is the right answer in a few words, for people who read.
    """

    number: int
    messages: Sequence[Message]
    facts: Mapping[str, Any]
    target: str
    constrained: Constrained


@dataclass(frozen=True)
class Verdict:
    """What an answer is worth, from 0 to 1, and why; it passed if it is worth all."""

    score: float
    why: str

    def __post_init__(self) -> None:
        """Refuse a score that is none."""
        if not 0 <= self.score <= 1:
            raise ValueError(f"a score of {self.score} is not between 0 and 1")

    @property
    def passed(self) -> bool:
        """Whether the answer is right in all that is judged."""
        return self.score == 1


class Tally:
    """Partial credit: parts of an answer that count, each with a weight and a word."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._got = self._most = 0.0
        self._said: list[str] = []

    def add(self, words: str, got: float, weight: float = 1) -> None:
        """Count a part: `got` is 0 to 1 (or whether it is right) of its weight."""
        self._most += weight
        self._got += weight * got
        self._said.append(f"{words} ({weight * got:g} of {weight:g})")

    @property
    def verdict(self) -> Verdict:
        """The sum of it; a whole one only where every part is."""
        score = self._got / self._most if self._most else 0.0
        whole = self._got == self._most > 0
        # A rounded sum is never whole by accident.
        return Verdict(1.0 if whole else min(score, 0.99), "; ".join(self._said) or "nothing")


class Probe(ABC):
    """A trial. Subclasses set the attributes, and draw and judge; a module's `PROBE` is one."""

    #: As its task is called, and its number in the source.
    name: str
    number: int
    #: What it asks, in one line, and what the source saw Phi-3-mini do.
    about: str
    seen: str
    #: Most tokens of one answer, in any mode.
    most_tokens: int = 250
    #: Of a probe that wants a program: what the assistant repairs it by (`assistant/coder.py`) in
    #: the mode `tools`. A check that a user has at hand, who does not know the right answer.
    check: Check | None = None

    def variants(self, seed: int, count: int = COUNT) -> list[Variant]:
        """The first `count` variants of a seed: no two alike, and always the same ones."""
        found: list[Variant] = []
        asked: set[str] = set()
        for number in range(count):
            for draw in range(_DRAWS):
                variant = self.draw(random.Random(f"{self.name} {seed} {number} {draw}"), number)
                question = json.dumps(variant.messages)
                if question not in asked:
                    break
            asked.add(question)
            found.append(variant)
        return found

    @abstractmethod
    def draw(self, chance: random.Random, number: int) -> Variant:
        """Draw the variant of this number; all chance comes from `chance`."""

    @abstractmethod
    def judge(self, variant: Variant, answer: str) -> Verdict:
        """What any text is worth as an answer. Never raises for what the text is."""

    def skills(self, variant: Variant) -> Sequence[Skill]:
        """The tools of the mode `tools`: the calculator and Python in the sandbox, unless said."""
        from pocketlm.assistant.tools import calculator, python

        return [*calculator.skills(), *python.skills()]

    def answer(self, variant: Variant, said: str, calls: Sequence[Call]) -> str:
        """What is judged in the mode `tools`: what was said, unless the calls are the answer."""
        return said
