"""Probe 1: a Python script that prints numbers.

Range, step, order, selection and form are drawn; the program runs in the sandbox, and what it
prints is compared.
"""

from __future__ import annotations

import difflib
import random
import re
from collections.abc import Callable, Mapping

from pocketlm.assistant import coder, sandbox
from pocketlm.assistant.sandbox import Limits
from pocketlm.evaluate.probes.probe import Probe, Tally, Variant, Verdict
from pocketlm.evaluate.probes.programs import BLOCK

_LIMITS = Limits(seconds=5)
#: A number of the output; "2024-01" holds two, "-5" is one.
_NUMBER = re.compile(r"(?<![\w.])-?\d+|\d+")
_MOST_NUMBERS = 5000

_ASKED = (
    "Write a Python script that prints {what}{form}.",
    "Please write a short Python program. It prints {what}{form}.",
    "I need a Python script: it should print {what}{form}.",
    "In Python, how do I print {what}{form}? Give me the whole script.",
    "Can you write Python code that prints {what}{form}?",
)
_EACH: Mapping[str, tuple[str, Callable[[int], str]]] = {
    "plain": ("each on a line of its own", str),
    "padded": ("each on a line of its own, with zeros in front to four digits", "{:04}".format),
    "labelled": ('each on a line of its own after the words "Number: "', "Number: {}".format),
    "starred": ('each on a line of its own after a star and a blank ("* ")', "* {}".format),
    "squared": (
        "each on a line of its own, followed by a blank and its square",
        lambda n: f"{n} {n * n}",
    ),
}
_JOINED: Mapping[str, tuple[str, str]] = {
    "comma": ("all on one line with a comma and a blank between them", ", "),
    "blank": ("all on one line with a blank between them", " "),
    "dash": ('all on one line with " - " between them', " - "),
}


class Numbers(Probe):
    """A script that prints numbers."""

    name = "numbers"
    number = 1
    about = "A Python script that prints the numbers of a range."
    seen = "right, and fast"
    most_tokens = 200
    check = staticmethod(coder.runs(_LIMITS))

    def draw(self, chance: random.Random, number: int) -> Variant:
        """Draw a range, which numbers of it, in which order, and how they are written."""
        first = chance.choice([0, 1, 1, 1, chance.randint(2, 60)])
        last = first + chance.choice([9, 19, 29, 49, 99, 99, 199, chance.randint(12, 150)])
        found, words = _chosen(chance, first, last)
        if chance.random() < 0.3 and not words.startswith("every"):
            found, words = found[::-1], f"{words} in descending order"
        form = chance.choice([*_EACH, *_JOINED])
        said = _EACH[form][0] if form in _EACH else _JOINED[form][0]
        question = chance.choice(_ASKED).format(what=words, form=f", {said}")
        output = _output(found, form)
        return Variant(
            number,
            [{"role": "user", "content": question}],
            {"output": output},
            f"it prints {words}, {said}",
            BLOCK,
        )

    def judge(self, variant: Variant, answer: str) -> Verdict:
        """Run it and compare: the numbers count most, then their form."""
        program = coder.program_of(answer)
        if program is None:
            return Verdict(0, "there is no program in the answer")
        outcome = sandbox.run_python(program, _LIMITS)
        wanted = str(variant.facts["output"])
        tally = Tally()
        tally.add(*_ran(outcome), weight=1)
        share, words = _compared(_numbers(wanted), _numbers(outcome.output))
        tally.add(words, share, weight=6)
        tally.add(*_form(wanted, outcome.output, share), weight=3)
        return tally.verdict


def _chosen(chance: random.Random, first: int, last: int) -> tuple[list[int], str]:
    """Numbers of a range, and words for them."""
    every = range(first, last + 1)
    step = chance.randint(3, 9)
    match chance.choice(["all", "all", "even", "odd", "multiples", "others", "steps"]):
        case "even":
            return [n for n in every if n % 2 == 0], f"the even numbers from {first} to {last}"
        case "odd":
            return [n for n in every if n % 2], f"the odd numbers from {first} to {last}"
        case "multiples":
            words = f"all multiples of {step} from {first} to {last}"
            return [n for n in every if n % step == 0], words
        case "others":
            words = f"the numbers from {first} to {last} that are not multiples of {step}"
            return [n for n in every if n % step], words
        case "steps":
            words = f"every {step}th number, beginning with {first}, up to at most {last}"
            return list(range(first, last + 1, step)), words.replace("3th", "3rd")
    return list(every), f"the numbers from {first} to {last}"


def _output(numbers: list[int], form: str) -> str:
    if form in _EACH:
        return "\n".join(map(_EACH[form][1], numbers))
    return _JOINED[form][1].join(map(str, numbers))


def _ran(outcome: sandbox.Outcome) -> tuple[str, float]:
    if outcome.stopped:
        return f"it was ended: too much {outcome.stopped}", 0
    if outcome.code:
        error = outcome.errors.strip().splitlines() or [f"exit code {outcome.code}"]
        return f"it failed: {error[-1][:200]}", 0
    # What prints nothing ran as well as an empty program does.
    return ("it runs", 1) if outcome.output.strip() else ("it prints nothing", 0)


def _numbers(text: str) -> list[int]:
    # Digits without end are no number of these; Python refuses to read them.
    return [int(digits) for digits in _NUMBER.findall(text)[:_MOST_NUMBERS] if len(digits) < 20]


def _compared(wanted: list[int], found: list[int]) -> tuple[float, str]:
    """How much of the numbers is there, in their order, and in words."""
    if found == wanted:
        return 1, f"all {len(wanted)} numbers are right"
    if not found:
        return 0, "it prints no numbers"
    if found == wanted[::-1]:
        return 0.5, "the numbers are right, in the wrong order"
    matching = difflib.SequenceMatcher(None, wanted, found, autojunk=False).get_matching_blocks()
    kept = sum(block.size for block in matching)
    share = 2 * kept / (len(wanted) + len(found))
    missing, extra = len(wanted) - kept, len(found) - kept
    words = f"{kept} of {len(wanted)} numbers are right, {extra} too many"
    if missing + extra == 1 or (missing, extra) == (1, 1):
        words += " (off by one)"
    # A few numbers in common are chance.
    return (share * 0.9 if share > 0.2 else 0), words


def _form(wanted: str, output: str, share: float) -> tuple[str, float]:
    """Whether the output is as asked, apart from blanks at the ends of lines."""
    if _lines(output) == _lines(wanted):
        return "their form is as asked", 1
    if share == 1 and output.split() == wanted.split():
        return "their form is right but for blanks and lines", 0.5
    return "their form is another", 0


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]


PROBE = Numbers()
