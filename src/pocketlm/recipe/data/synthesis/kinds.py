"""The kinds of documents: what each asks of a model, and how an answer becomes a document.

An answer that is not what was asked for, or that is wrong where a program can tell, raises
UnfitError, with a reason to count and a detail to look at. It knows forms and checks; it knows no
endpoint.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pocketlm.recipe.data.synthesis import plan
from pocketlm.recipe.data.synthesis.arithmetic import equations, numbers
from pocketlm.recipe.data.synthesis.problems import Problem, draw
from pocketlm.recipe.data.synthesis.seeds import Seed
from pocketlm.recipe.data.synthesis.templates import Template

Message = dict[str, str]
_COMMON = frozenset({"topic", "audience", "style"})
_MARK = r"(?:#+\s*|[*_]{1,3}\s*)?"
_MARK_END = r"\s*[*_]{0,3}\s*:\s*[*_]{0,3}"
_TURN = re.compile(rf"^{_MARK}(User|Assistant){_MARK_END}", re.IGNORECASE | re.MULTILINE)


class UnfitError(Exception):
    """An answer that becomes no document."""

    def __init__(self, reason: str, detail: str = "") -> None:
        """`reason` is one of a few, `detail` what it was in this answer."""
        super().__init__(reason)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Draft:
    """A document as it is read from an answer."""

    text: str
    messages: tuple[Message, ...] = ()
    """The turns, where it is a conversation."""


class Kind(ABC):
    """One kind, as a plan wants it."""

    needed: frozenset[str] = frozenset({"topic"})
    """Fields that a prompt must have."""
    own: frozenset[str] = frozenset()
    """Fields that a prompt may have beside topic, audience and style."""

    def __init__(self, name: str, prompt: Path | None) -> None:
        """By the package's prompt, or one's own. Raises ParameterError for one that is unsound."""
        self.name = name
        allowed = set(_COMMON | self.own)
        self.template = Template(f"{name}-1", prompt, allowed, set(self.needed))
        self.version = self.template.version

    def prompt(self, seed: Seed) -> str:
        """The words of the request."""
        common = {"topic": seed.topic, "audience": seed.audience, "style": seed.style}
        return self.template.filled({**common, **self._fields(seed)})

    @abstractmethod
    def _fields(self, seed: Seed) -> Mapping[str, str]:
        """The kind's own fields."""

    @abstractmethod
    def draft(self, seed: Seed, answer: str) -> Draft:
        """The document of an answer. Raises UnfitError."""

    def settings(self) -> str:
        """What else of the plan decides the requests."""
        return ""


class Textbook(Kind):
    """Prose of about the length that was asked for."""

    own = frozenset({"least", "most"})

    def __init__(self, wanted: plan.Textbook) -> None:
        """As wanted."""
        super().__init__(wanted.kind, wanted.prompt)
        self._words = wanted.words

    def settings(self) -> str:
        """The length."""
        return f"{self._words}"

    def _fields(self, seed: Seed) -> Mapping[str, str]:
        return {"least": f"{self._words[0]}", "most": f"{self._words[1]}"}

    def draft(self, seed: Seed, answer: str) -> Draft:
        """The answer, if it is long enough and its arithmetic is right."""
        words = len(answer.split())
        if words < self._words[0] / 2:
            raise UnfitError("too short", f"{words} words")
        _check_arithmetic(answer)
        return Draft(answer)


class Exercise(Kind):
    """An exercise, a solution, and an answer that the solution comes to."""

    def __init__(self, wanted: plan.Exercise) -> None:
        """As wanted."""
        super().__init__(wanted.kind, wanted.prompt)

    def _fields(self, seed: Seed) -> Mapping[str, str]:
        return {}

    def draft(self, seed: Seed, answer: str) -> Draft:
        """The three parts, if the arithmetic is right and its end is the answer."""
        exercise, solution, result = _parts(answer, "Exercise")
        _check_arithmetic(f"{exercise}\n{solution}\n{result}")
        stated = numbers(result)
        if stated and stated[-1] not in numbers(solution):
            raise UnfitError("answer not in the solution", result)
        return Draft(_joined("Exercise", exercise, solution, result))


class Dialogue(Kind):
    """Turns of a user and an assistant, as Phi-3's chat has them."""

    needed = frozenset({"topic", "exchanges"})
    own = frozenset({"exchanges"})

    def __init__(self, wanted: plan.Dialogue) -> None:
        """As wanted."""
        super().__init__(wanted.kind, wanted.prompt)
        self._exchanges = wanted.exchanges

    def settings(self) -> str:
        """How many turns."""
        return f"{self._exchanges}"

    def _fields(self, seed: Seed) -> Mapping[str, str]:
        return {"exchanges": f"{seed.chance().randint(*self._exchanges)}"}

    def draft(self, seed: Seed, answer: str) -> Draft:
        """The turns, if they take turns and none is empty."""
        before, *turns = _TURN.split(answer)
        if before.strip():
            raise UnfitError(
                "not in the form", f"begins before the first turn: {before.strip()[:80]}"
            )
        roles, contents = turns[::2], [_unmarked(each) for each in turns[1::2]]
        messages = tuple(
            {"role": role.lower(), "content": content}
            for role, content in zip(roles, contents, strict=True)
        )
        if len(messages) < 2 * self._exchanges[0]:
            raise UnfitError("too few turns", f"{len(messages)}")
        expected = ["user", "assistant"] * (len(messages) // 2)
        if [message["role"] for message in messages] != expected:
            raise UnfitError("not in the form", "turns do not alternate")
        if not all(contents):
            raise UnfitError("not in the form", "a turn is empty")
        # A user may be wrong, and be put right.
        _check_arithmetic("\n".join(contents[1::2]))
        text = "\n".join(f"<|{each['role']}|>\n{each['content']}<|end|>" for each in messages)
        return Draft(text, messages)


class Reasoning(Kind):
    """A problem with a known answer, told and solved."""

    needed = frozenset({"facts", "question"})
    own = frozenset({"facts", "question"})

    def __init__(self, wanted: plan.Reasoning) -> None:
        """As wanted."""
        super().__init__(wanted.kind, wanted.prompt)
        self._problems = wanted.problems

    def settings(self) -> str:
        """Which problems."""
        return ", ".join(self._problems)

    def problem(self, seed: Seed) -> Problem:
        """The problem of a seed."""
        return draw(seed.chance(), self._problems)

    def _fields(self, seed: Seed) -> Mapping[str, str]:
        problem = self.problem(seed)
        facts = "\n".join(f"- {fact}" for fact in problem.facts)
        return {"facts": facts, "question": problem.question}

    def draft(self, seed: Seed, answer: str) -> Draft:
        """The three parts, if nothing was lost of the facts and the answer is the known one."""
        told, solution, result = _parts(answer, "Problem")
        problem = self.problem(seed)
        words = told.casefold()
        lost = [
            each
            for each in (*problem.numbers, *problem.among)
            if not re.search(rf"(?<![\w.:]){re.escape(each.casefold())}(?![\d:]|\.\d)", words)
        ]
        if lost:
            raise UnfitError("facts are missing", ", ".join(lost))
        if not problem.is_answered_by(result):
            raise UnfitError("wrong answer", f"{result} (it is {problem.answer})")
        _check_arithmetic(f"{told}\n{solution}")
        return Draft(_joined("Problem", told, solution, result))


def made(wanted: plan.KindPlan) -> Kind:
    """The kind that a plan wants. Raises ParameterError for a prompt that is unsound."""
    match wanted:
        case plan.Textbook():
            return Textbook(wanted)
        case plan.Exercise():
            return Exercise(wanted)
        case plan.Dialogue():
            return Dialogue(wanted)
        case plan.Reasoning():
            return Reasoning(wanted)


def _parts(answer: str, first: str) -> tuple[str, str, str]:
    """What stands after `first:`, `Solution:` and `Answer:`, which is one line and the last."""
    pattern = "".join(
        rf"^{_MARK}{name}{_MARK_END}(?P<{name}>.*?)" for name in (first, "Solution", "Answer")
    )
    found = re.fullmatch(rf"\s*{pattern}\s*", answer, re.I | re.M | re.S)
    if not found:
        raise UnfitError("not in the form", f"wanted are {first}:, Solution: and Answer:")
    parts = [_unmarked(found[name]) for name in (first, "Solution", "Answer")]
    if not all(parts):
        raise UnfitError("not in the form", "a part is empty")
    if "\n" in parts[2]:
        raise UnfitError("not in the form", "goes on after the answer")
    return parts[0], parts[1], parts[2]


def _unmarked(text: str) -> str:
    """A part without space around it, and without stars and rules that belong to a heading."""
    return re.sub(r"\n\s*(?:[-*_]{3,}|#+|\*\*)\s*$", "", text.strip()).strip()


def _joined(first: str, told: str, solution: str, answer: str) -> str:
    return f"{first}: {told}\n\nSolution: {solution}\n\nAnswer: {answer}"


def _check_arithmetic(text: str) -> None:
    for each in equations(text):
        if not each.true:
            raise UnfitError("wrong arithmetic", f"{each.text} (it is {each.value})")
