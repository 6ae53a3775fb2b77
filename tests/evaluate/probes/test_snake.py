"""Games of Snake, played: a whole one passes, and each thing that it lacks costs its part."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from pocketlm.assistant import sandbox
from pocketlm.errors import SandboxError
from pocketlm.evaluate.probes.probe import Variant, Verdict
from pocketlm.evaluate.probes.snake import PROBE

from .games import game

VARIANTS = PROBE.variants(4, 30)
WALLS = next(v for v in VARIANTS if v.facts["walls"] and v.facts["keys"]["up"] == "UP")
OPEN = next(v for v in VARIANTS if not v.facts["walls"])


@pytest.fixture(scope="module", autouse=True)
def available():
    try:
        sandbox.check()
    except SandboxError as error:
        pytest.skip(str(error))


def judged(variant: Variant, *broken: tuple[str, str]) -> Verdict:
    program = game(str(variant.messages[0]["content"]), dict(variant.facts), *broken)
    return PROBE.judge(variant, f"Here is the game:\n```python\n{program}\n```\nHave fun!")


def test_a_whole_game_passes_whatever_the_rules():
    with ThreadPoolExecutor(4) as pool:
        for verdict in pool.map(judged, [WALLS, OPEN, *VARIANTS[:4]]):
            assert verdict.passed, verdict.why


_EATEN = "food = place(snake)\n            screen"
_TURN = "turn = KEYS.get(screen.getch(), way)"
#: What is broken of the game: texts of it and what stands instead, the score that is left, words.
BROKEN = {
    "never grows": (
        [(_EATEN, "food, end = place(snake), snake.pop()\n            "
          "screen.addch(end[0] + 1, end[1] + 1, ' ')\n            screen")],
        0.9, 0.95, "it reaches food, new food comes",
    ),
    "no new food": (
        [(_EATEN, "food = (50, 50)\n            0 and screen")],
        0.9, 0.95, "it reaches food, it grows (",
    ),
    "no keys": ([(_TURN, "screen.getch()\n        turn = way")], 0.4, 0.75, "do not turn it"),
    "one key less": (
        [(_TURN, f"{_TURN}\n        turn = way if turn == (-1, 0) else turn")],
        0.5, 0.95, "it turns down, ",
    ),
    "turns the wrong way": (
        [(_TURN, f"{_TURN}\n        turn = turn if turn == way else (-turn[0], -turn[1])")],
        0.4, 0.75, "do not turn it",
    ),
    "stands still": (
        [("snake.insert(0, head)", "continue")], 0.3, 0.4, "it does not move",
    ),
    "leaves a trail": (
        [('screen.addch(tail[0] + 1, tail[1] + 1, " ")', "pass")], 0.5, 0.97, "not as asked",
    ),
    "says nothing": ([('print("{message}")', "")], 0.95, 0.95, "it does not say so"),
    "fails at the border": (
        [("            return\n        head = (head[0] %",
          "            1 / 0\n        head = (head[0] %")],
        0.8, 0.9, "ZeroDivisionError",
    ),
    "other signs": ([('"{snake}"', '"="')], 0.15, 0.2, "no snake of"),
    "too short": ([("range(LENGTH)", "range(LENGTH - 1)")], 0.95, 0.95, "cells, not"),
    "fails at once": (
        [("import random", "import random, pygame")], 0.05, 0.05, "No module named 'pygame'",
    ),
    "shows nothing": ([("curses.wrapper(main)", "while True: pass")], 0.05, 0.05, "draws nothing"),
}  # fmt: skip
BROKEN_OPEN = {
    "a border": ([("WALLS and not", "not")], 0, 0.96, "it does not go through the border"),
    "never ends": (
        [("if head in snake[:-1]:", "if False:")],
        0.8,
        0.9,
        "border (0.5 of 0.5); it does not end as asked: it goes on",
    ),
}


def test_what_is_missing_costs_its_part():
    cases = [(WALLS, *case) for case in BROKEN.items()]
    cases += [(OPEN, *case) for case in BROKEN_OPEN.items()]
    with ThreadPoolExecutor(6) as pool:  # players wait more than they do
        verdicts = list(pool.map(lambda case: judged(case[0], *case[2][0]), cases))
    for (_, name, (_, least, most, word)), verdict in zip(cases, verdicts, strict=True):
        assert word in verdict.why, name
        assert least <= verdict.score <= most, (name, verdict)


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("", 0),
        ("Snake is a fine game. First install pygame.", 0),
        ("```python\nprint('GAME OVER')\n```", 0),
        ("```python\nwhile True print('#')\n```", 0),
        ("```python\nfor n in range(3): print('#')\n```", 0.3),
        ("```python\nimport time\nwhile True: time.sleep(1)\n```", 0.05),
    ],
)
def test_what_is_no_game(answer: str, score: float):
    assert PROBE.judge(WALLS, answer).score <= score


def test_a_game_cannot_speak_for_its_player():
    """Nor reach into it: the player shows its memory and its output to nobody."""
    forging = """
import os, json, time
for _ in range(2): print("#")
try:
    with open(f"/proc/{os.getppid()}/fd/1", "w") as file:
        file.write(json.dumps(dict.fromkeys(["started", "moved", "ended"], True)))
except PermissionError:
    print("not permitted")
os.kill(os.getppid(), 9)
"""
    verdict = PROBE.judge(WALLS, f"```python\n{forging}\n```")
    assert verdict.score <= 0.1
