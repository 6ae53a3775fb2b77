"""Tasks whose answers a program knows, by the same model with tools and without.

    python benchmarks/tool_use.py smollm2
    python benchmarks/tool_use.py smollm2 --count 4 --show

Arithmetic, units, dates, look-ups in small files and several steps in words, drawn from templates.
Half of the templates were at hand while the tools were built. The other half (held out) was
written before the first run, and no rule of the assistant was changed for it. "without" is the
model alone; "grammar" lets it call tools by its own choice; "tools" is what `--tools` does, where
plain questions are recognised. Look-ups cannot be answered without the file, so "without" has its
text in the prompt. An answer is right if it holds the right number or date. Intervals are Wilson's,
of 95 %.
"""

from __future__ import annotations

import json
import random
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from math import sqrt
from pathlib import Path
from typing import Annotated

import jsonschema
import typer

import pocketlm
from comparison.machine import processor
from pocketlm.api import Model
from pocketlm.assistant.drafting import proposing
from pocketlm.assistant.tools import calculator, dates, files
from pocketlm.assistant.tools.skill import Skill
from pocketlm.assistant.turn import Called, Ended, Returned, Turn, asking

MOST_TOKENS = 150
KINDS = ("arithmetic", "units", "dates", "look-ups", "steps")


@dataclass(frozen=True)
class Task:
    """A question, the number (or the date, as text) of its answer, and the files that it needs."""

    kind: str
    held_out: bool
    question: str
    answer: Fraction | str
    files: tuple[tuple[str, str], ...] = ()


class Draw:
    """Numbers, names and dates for templates."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.a = self.whole(12, 98)
        self.b = self.whole(13, 97)
        self.c = self.whole(2, 9)
        self.big = self.whole(1200, 9800)
        self.percent = self.whole(3, 45)
        self.day = date(2024, 1, 1) + timedelta(self.whole(0, 1500))
        self.later = self.day + timedelta(self.whole(20, 400))
        self.n = self.whole(20, 300)
        self.name, self.other = self._random.sample(["Anna", "Omar", "Lena", "Ravi", "Mia"], 2)
        self.things = self._random.sample(
            ["apples", "pears", "figs", "plums", "limes", "kiwis", "dates", "grapes"], 4
        )
        self.prices = [self.whole(11, 97) for _ in self.things]

    def whole(self, least: int, most: int) -> int:
        return self._random.randint(least, most)

    @property
    def price_list(self) -> tuple[tuple[str, str], ...]:
        lines = [f"{t}: {p} cents each" for t, p in zip(self.things, self.prices, strict=True)]
        return (("prices.txt", "\n".join(lines) + "\n"),)

    @property
    def notes(self) -> tuple[tuple[str, str], ...]:
        text = (
            f"The meeting room is on floor {self.c}.\nThe wifi has {self.n} users.\n"
            f"{self.name} has desk {self.a}.\n{self.other} has desk {self.b}.\n"
        )
        return (("office.txt", text),)


def long(day: date) -> str:
    """A date in words."""
    return f"{day:%B} {day.day}, {day.year}"


Files = tuple[tuple[str, str], ...]
#: What a draw makes: the question, its answer, and the files that it needs.
Made = tuple[str, object, Files]


def plain(text: str, answer: Callable[[Draw], object]) -> Callable[[Draw], Made]:
    """A template without files; `{d.a}` in its text is a number of the draw."""
    return lambda d: (text.format(d=d, when=long(d.day)), answer(d), ())


#: Kind, whether it is held out, and how a task is made.
TEMPLATES: Sequence[tuple[str, bool, Callable[[Draw], Made]]] = (
    ("arithmetic", False, plain("What is {d.a} * {d.big}?", lambda d: d.a * d.big)),
    (
        "arithmetic",
        False,
        plain("What is {d.percent}% of {d.big}?", lambda d: Fraction(d.percent * d.big, 100)),
    ),
    ("arithmetic", False, plain("Calculate ({d.a} + {d.b}) * {d.c}.", lambda d: (d.a + d.b) * d.c)),
    (
        "arithmetic",
        False,
        plain("What is {d.big} divided by {d.c}?", lambda d: Fraction(d.big, d.c)),
    ),
    (
        "arithmetic",
        False,
        plain("How much is {d.big} minus {d.a} times {d.c}?", lambda d: d.big - d.a * d.c),
    ),
    (
        "arithmetic",
        False,
        plain("Give me the product of {d.a} and {d.big}.", lambda d: d.a * d.big),
    ),
    (
        "arithmetic",
        False,
        plain("{d.a} squared plus {d.b} squared is what?", lambda d: d.a**2 + d.b**2),
    ),
    (
        "arithmetic",
        False,
        plain(
            "If I take {d.percent} percent of {d.big}, what do I get?",
            lambda d: Fraction(d.percent * d.big, 100),
        ),
    ),
    (
        "units",
        False,
        plain("Convert {d.a} miles to km.", lambda d: Fraction(d.a * 1609344, 1000000)),
    ),
    ("units", False, plain("How many feet are in {d.a} yards?", lambda d: 3 * d.a)),
    ("units", False, plain("What is {d.a} °C in °F?", lambda d: Fraction(d.a * 9, 5) + 32)),
    ("units", False, plain("How many minutes are there in {d.a} hours?", lambda d: 60 * d.a)),
    (
        "units",
        False,
        plain(
            "I weigh {d.a} kilograms. What is that in pounds?",
            lambda d: Fraction(d.a) / Fraction("0.45359237"),
        ),
    ),
    (
        "units",
        False,
        plain("Express {d.b} inches in centimetres.", lambda d: Fraction(d.b * 254, 100)),
    ),
    ("units", False, plain("{d.a} litres is how many millilitres?", lambda d: 1000 * d.a)),
    (
        "units",
        False,
        plain(
            "A car drives {d.b} km/h. How fast is that in m/s?", lambda d: Fraction(d.b * 10, 36)
        ),
    ),
    (
        "dates",
        False,
        plain("How many days are between {d.day} and {d.later}?", lambda d: (d.later - d.day).days),
    ),
    (
        "dates",
        False,
        plain("What date is {d.n} days after {d.day}?", lambda d: d.day + timedelta(d.n)),
    ),
    ("dates", False, plain("What day of the week is {d.day}?", lambda d: f"{d.day:%A}")),
    ("dates", False, plain("Which weekday was {when}?", lambda d: f"{d.day:%A}")),
    (
        "dates",
        False,
        plain(
            "My course starts on {d.day} and takes {d.n} days. On which date does it end?",
            lambda d: d.day + timedelta(d.n),
        ),
    ),
    (
        "dates",
        False,
        plain("Count the days from {d.day} until {d.later}.", lambda d: (d.later - d.day).days),
    ),
    (
        "look-ups",
        False,
        lambda d: (f"What is the price of {d.things[1]} in prices.txt?", d.prices[1], d.price_list),
    ),
    (
        "look-ups",
        False,
        lambda d: (f"Read office.txt. Which desk does {d.other} have?", d.b, d.notes),
    ),
    (
        "look-ups",
        False,
        lambda d: (
            f"According to prices.txt, how many cents do {d.things[2]} cost?",
            d.prices[2],
            d.price_list,
        ),
    ),
    (
        "look-ups",
        False,
        lambda d: (
            "Please look into office.txt and tell me the floor of the meeting room.",
            d.c,
            d.notes,
        ),
    ),
    (
        "steps",
        False,
        plain(
            "{d.name} buys {d.a} boxes with {d.b} pencils each. How many pencils are that?",
            lambda d: d.a * d.b,
        ),
    ),
    (
        "steps",
        False,
        plain(
            "A library had {d.big} books and bought {d.a} more. How many books does it have now?",
            lambda d: d.big + d.a,
        ),
    ),
    (
        "steps",
        False,
        plain(
            "{d.name} had {d.big} stickers and gave away {d.b}. How many stickers are left?",
            lambda d: d.big - d.b,
        ),
    ),
    (
        "steps",
        False,
        plain(
            "A baker makes {d.a} rolls an hour. How many rolls does he make in {d.b} hours?",
            lambda d: d.a * d.b,
        ),
    ),
    (
        "steps",
        False,
        plain(
            "{d.name} is {d.b} km from home and walks {d.c} km back. How far is it still?",
            lambda d: d.b - d.c,
        ),
    ),
    (
        "steps",
        False,
        plain(
            "One tank holds {d.big} litres, another {d.a} litres. How much do they hold together?",
            lambda d: d.big + d.a,
        ),
    ),
    (
        "steps",
        False,
        plain(
            "A hall has {d.a} rows of {d.b} seats; {d.c} seats are broken. How many can be used?",
            lambda d: d.a * d.b - d.c,
        ),
    ),
    ("arithmetic", True, plain("Add {d.a} and {d.big}.", lambda d: d.a + d.big)),
    ("arithmetic", True, plain("Divide {d.big} by {d.c}.", lambda d: Fraction(d.big, d.c))),
    ("arithmetic", True, plain("{d.a} times {d.b}, how much is it?", lambda d: d.a * d.b)),
    (
        "units",
        True,
        plain(
            "A pool is {d.b} feet long; how many metres is it?",
            lambda d: Fraction(d.b * 3048, 10000),
        ),
    ),
    (
        "units",
        True,
        plain(
            "It is {d.a} degrees Celsius outside. How much is that in Fahrenheit?",
            lambda d: Fraction(d.a * 9, 5) + 32,
        ),
    ),
    (
        "units",
        True,
        plain("A film lasts {d.n} minutes. How many hours is that?", lambda d: Fraction(d.n, 60)),
    ),
    (
        "dates",
        True,
        plain(
            "I was away from {d.day} to {d.later}. How many days was that?",
            lambda d: (d.later - d.day).days,
        ),
    ),
    (
        "dates",
        True,
        plain(
            "A bill of {d.day} must be paid within {d.n} days. When is the last day?",
            lambda d: d.day + timedelta(d.n),
        ),
    ),
    ("dates", True, plain("Name the weekday of {when}.", lambda d: f"{d.day:%A}")),
    (
        "look-ups",
        True,
        lambda d: (f"Look at prices.txt: what do {d.things[3]} cost?", d.prices[3], d.price_list),
    ),
    (
        "look-ups",
        True,
        lambda d: ("In office.txt, how many users does the wifi have?", d.n, d.notes),
    ),
    (
        "steps",
        True,
        plain(
            "{d.name} saves {d.a} dollars every month. How much is that after {d.b} months?",
            lambda d: d.a * d.b,
        ),
    ),
    (
        "steps",
        True,
        plain(
            "From a roll of {d.big} cm, {d.n} cm are cut off. How many cm remain?",
            lambda d: d.big - d.n,
        ),
    ),
    (
        "steps",
        True,
        plain(
            "There are {d.a} cars in one street and {d.b} in the next. How many cars are in both?",
            lambda d: d.a + d.b,
        ),
    ),
    (
        "steps",
        True,
        plain(
            "{d.name} pays {d.c} euros each for {d.a} plants, and {d.b} for soil. How much is it?",
            lambda d: d.c * d.a + d.b,
        ),
    ),
)


def tasks(count: int, seed: int) -> list[Task]:
    """`count` tasks of each template."""
    found = []
    for number, (kind, held_out, make) in enumerate(TEMPLATES):
        for draw in range(count):
            question, answer, given = make(Draw(seed * 1_000_000 + number * 1000 + draw))
            wanted = Fraction(answer) if isinstance(answer, int | Fraction) else str(answer)
            found.append(Task(kind, held_out, question, wanted, given))
    return found


def right(text: str, task: Task) -> bool:
    """Whether an answer holds what it should: a number to four digits, a date, a weekday."""
    if isinstance(task.answer, Fraction):
        said = text.replace(task.question, "")
        numbers = re.findall(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?", said)
        close = abs(task.answer) / 2000
        return any(abs(Fraction(n.replace(",", "")) - task.answer) <= close for n in numbers)
    if re.fullmatch("[A-Z][a-z]+day", task.answer):
        days = re.findall(r"\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b", text)
        return bool(days) and set(days) == {task.answer}
    day = date.fromisoformat(task.answer)
    forms = (task.answer, long(day), f"{day.day} {day:%B} {day.year}")
    return any(form in text for form in forms)


class Bench:
    """The three ways to answer, and what was called."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.calls = self.malformed = self.failed = 0

    def without(self, task: Task) -> str:
        """The model alone; files are in its prompt."""
        parts = [f"{name}:\n{text}" for name, text in task.files]
        content = "\n".join([*parts, task.question])
        messages = [{"role": "user", "content": content}]
        return self._model.chat(messages, max_tokens=MOST_TOKENS).text

    def grammar(self, task: Task) -> str:
        """Tools offered, and all calls left to the model."""
        return self._turn(task, plan=False)

    def tools(self, task: Task) -> str:
        """As `--tools calculator,dates,files` has it."""
        return self._turn(task, plan=True)

    def _turn(self, task: Task, *, plan: bool) -> str:
        with tempfile.TemporaryDirectory() as folder:
            for name, text in task.files:
                Path(folder, name).write_text(text, encoding="utf-8")
            grants = files.Grants([Path(folder)])
            skills = [*calculator.skills(), *dates.skills(), *files.skills(grants)]
            try:
                return self._answered(task, skills, plan=plan)
            finally:
                grants.close()

    def _answered(self, task: Task, skills: Sequence[Skill], *, plan: bool) -> str:
        propose = proposing(self._model, [skill.tool.name for skill in skills]) if plan else None
        ask = asking(self._model, {"max_tokens": MOST_TOKENS})
        messages = [{"role": "user", "content": task.question}]
        turn = Turn(ask, messages, skills, lambda *_: False, propose=propose)
        for event in turn:
            match event:
                case Called():
                    self._note(event, skills)
                case Returned():
                    self.failed += not event.ran
                case Ended():
                    said = [m["content"] for m in event.messages if m["role"] == "assistant"]
                    return "\n".join(map(str, said))
        return ""

    def _note(self, event: Called, skills: Sequence[Skill]) -> None:
        """Count a call, and whether an independent validator objects to it."""
        self.calls += 1
        schemas = {s.tool.name: {"type": "object", **s.tool.parameters} for s in skills}
        try:
            jsonschema.validate(json.loads(event.call.arguments), schemas[event.call.name])
        except (ValueError, KeyError, jsonschema.ValidationError):
            self.malformed += 1


def wilson(good: int, of: int) -> tuple[float, float]:
    """The interval of a proportion, of 95 %."""
    z, p = 1.96, good / of
    middle, spread = p + z * z / (2 * of), z * sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    return (middle - spread) / (1 + z * z / of), (middle + spread) / (1 + z * z / of)


def main(
    model: Annotated[str, typer.Argument(help="A model's name, or a file.")],
    count: Annotated[int, typer.Option(help="Tasks of each template.")] = 5,
    seed: Annotated[int, typer.Option(help="What the tasks are drawn by.")] = 1,
    threads: int = 2,
    show: Annotated[bool, typer.Option("--show", help="Print each task and its answers.")] = False,
) -> None:
    """Measure what tools are good for."""
    found = tasks(count, seed)
    print(f"{model}, {len(found)} tasks, {threads} threads, {processor()}, {time.strftime('%F')}")
    results: dict[str, dict[tuple[str, bool], list[bool]]] = {}
    with pocketlm.load(model, threads=threads) as loaded:
        for name in ("without", "grammar", "tools"):
            bench = Bench(loaded)
            start = time.perf_counter()
            results[name] = {}
            for task in found:
                said = getattr(bench, name)(task)
                good = right(said, task)
                results[name].setdefault((task.kind, task.held_out), []).append(good)
                if show:
                    wrong = " " if good else "x"
                    print(f"{wrong} {name:8}{task.question} = {task.answer}: {said!r}")
            seconds = (time.perf_counter() - start) / len(found)
            print(
                f"{name:8} {seconds:5.2f} s a task, {bench.calls} calls, {bench.malformed}"
                f" malformed, {bench.failed} that failed or were refused",
                flush=True,
            )
    _print(results)


def _print(results: dict[str, dict[tuple[str, bool], list[bool]]]) -> None:
    print(f"\n{'':24}{'tasks':>6}" + "".join(f"{name:>10}" for name in results))
    rows = [(kind, held) for kind in KINDS for held in (False, True)]
    for kind, held in rows:
        label = f"{kind}{', held out' if held else ''}"
        cells = [results[name][kind, held] for name in results]
        shown = "".join(f"{sum(cell) / len(cell):>10.0%}" for cell in cells)
        print(f"{label:24}{len(cells[0]):>6}{shown}")
    for label, wanted in (("all", (False, True)), ("all held out", (True,))):
        cells = [
            [x for (_, h), c in each.items() if h in wanted for x in c] for each in results.values()
        ]
        shown = "".join(f"{sum(cell) / len(cell):>10.0%}" for cell in cells)
        print(f"{label:24}{len(cells[0]):>6}{shown}")
        ranges = [wilson(sum(cell), len(cell)) for cell in cells]
        print(f"{'':30}" + "".join(f"{f'{low:.0%}-{high:.0%}':>10}" for low, high in ranges))


if __name__ == "__main__":
    typer.run(main)
