"""Probe 2: the game Snake for a terminal.

Board, signs, keys, length, speed and rules are drawn. The game is started in a terminal inside the
sandbox and played by a program (`snake_player.py`), which sees the screen and steers. Each stage
that it reaches counts. Where the player met the end before the food, it plays again, since food
lies where it will; the best play counts.
"""

from __future__ import annotations

import ast
import json
import random
import secrets
from collections.abc import Mapping
from importlib import resources
from typing import Any

from pocketlm.assistant import coder, sandbox
from pocketlm.assistant.sandbox import Limits
from pocketlm.evaluate.probes.probe import Probe, Tally, Variant, Verdict
from pocketlm.evaluate.probes.programs import BLOCK

#: Plays at most; each takes its own time, which the player bounds.
PLAYS = 3
_LIMITS = Limits(seconds=60)

_SNAKES, _FOODS = "#@%&", "*$?~"
_KEYS = {
    "the arrow keys": ("UP", "LEFT", "DOWN", "RIGHT"),
    "the keys w (up), a (left), s (down) and d (right)": tuple("wasd"),
    "the keys i (up), j (left), k (down) and l (right)": tuple("ijkl"),
    "the keys k (up), h (left), j (down) and l (right)": tuple("khjl"),
    "the keys 8 (up), 4 (left), 2 (down) and 6 (right)": tuple("8426"),
}
_MESSAGES = ("GAME OVER", "You lost", "The end", "Snake is dead", "Thanks for playing")
_ASKED = (
    "Write the game Snake in Python.",
    "Please write a complete Snake game in Python.",
    "I want to play Snake. Write the game as one Python program.",
    "Program the classic game of Snake in Python, in one file.",
)
_TERMINAL = (
    "It runs in a terminal of 80 by 24 characters, with the module curses and nothing beyond the"
    " standard library. It starts at once, without a menu."
)


class Snake(Probe):
    """A game that a program plays."""

    name = "snake"
    number = 2
    about = "The game Snake in Python."
    seen = "failed: no complete game"
    most_tokens = 1200
    check = staticmethod(coder.plays())

    def draw(self, chance: random.Random, number: int) -> Variant:
        """Draw the board, how snake and food look, the keys, and what the border does."""
        snake, food = chance.choice(_SNAKES), chance.choice(_FOODS)
        keys = chance.choice(list(_KEYS))
        message = chance.choice(_MESSAGES)
        walls = chance.random() < 0.6
        # A snake that is to bite itself is five cells long, or it cannot.
        length = chance.randint(3, 5) if walls else chance.randint(5, 6)
        width, height = chance.randint(18, 30), chance.randint(10, 16)
        if walls:
            ends = "When the head meets the border or the snake itself, the game ends"
        else:
            ends = (
                "A snake that leaves the board on one side comes in on the opposite side. When the"
                " head meets the snake itself, the game ends"
            )
        rules = [
            f"The board is {width} cells wide and {height} cells high, with a border around it.",
            f'Each part of the snake, its head as well, is drawn as "{snake}". The food is'
            f' "{food}"; there is always one. Draw these two signs for nothing else.',
            f"The snake begins in the middle with {length} cells and goes right. It moves by itself"
            f" about {chance.randint(4, 6)} times a second, and is turned with {keys}.",
            "When the head reaches the food, the snake grows by one cell, and new food appears"
            " somewhere else.",
            f'{ends}: the program prints "{message}" and exits.',
        ]
        if chance.random() < 0.5:
            chance.shuffle(rules)
        mark = chance.choice(("- ", "* ", ""))
        lines = "\n".join(f"{mark}{rule}" for rule in rules)
        named = dict(zip(("up", "left", "down", "right"), _KEYS[keys], strict=True))
        return Variant(
            number,
            [{"role": "user", "content": f"{chance.choice(_ASKED)} {_TERMINAL}\n\n{lines}"}],
            {
                "snake": snake,
                "food": food,
                "keys": named,
                "length": length,
                "walls": walls,
                "message": message,
            },
            "a game that starts, draws, moves, turns, eats, grows and ends",
            BLOCK,
        )

    def judge(self, variant: Variant, answer: str) -> Verdict:
        """Play it, up to three times; the best play counts."""
        program = coder.program_of(answer)
        if program is None:
            return Verdict(0, "there is no program in the answer")
        fault = _fault(program)
        if fault is not None:
            return Verdict(0, fault)
        best = Verdict(0, "it was not played")
        for _ in range(PLAYS):
            report = _played(program, variant.facts)
            verdict = _verdict(report, variant.facts)
            best = max(best, verdict, key=lambda each: each.score)
            # What cannot be steered gives the same again, and so does what went all the way.
            through = report.get("ate") and (variant.facts["walls"] or report["wrapped"])
            if not report.get("obeyed") or through:
                break
        return best


def _fault(program: str) -> str | None:
    """Why a text is no game before anything is run, or None."""
    try:
        tree = ast.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"Python cannot read it: {str(error)[:200]}"
    if not any(isinstance(node, ast.While | ast.For) for node in ast.walk(tree)):
        return "it has no loop, so that nothing can move"
    return None


def _played(program: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the player saw. Its word is told from the game's by a mark that the game cannot know."""
    here = resources.files("pocketlm.evaluate.probes")
    mark = secrets.token_hex(16)
    driver = (
        "import sys\nsys.path.insert(0, '/')\nimport json, snake_player\n"
        f"report = snake_player.play('/game.py', json.loads({json.dumps(json.dumps(facts))}))\n"
        f"print({mark!r} + json.dumps(report))"
    )
    files = {name: here.joinpath(name).read_text("utf-8") for name in _PLAYER}
    outcome = sandbox.run_python(driver, _LIMITS, files={**files, "game.py": program})
    _, found, report = outcome.output.rpartition(mark)
    if not found:
        return {"error": f"it could not be played: {outcome.errors.strip()[-200:]}"}
    loaded: dict[str, Any] = json.loads(report)
    return loaded


_PLAYER = ("snake_player.py", "screen.py")


def _verdict(report: Mapping[str, Any], facts: Mapping[str, Any]) -> Verdict:
    """Credit for each stage of a play; what did not move has ended without a game."""
    tally = Tally()
    tally.add("Python reads it", 1, weight=0.5)
    if not report.get("started"):
        tally.add(f"it does not start: {report.get('error') or 'it draws nothing'}", 0, weight=9.5)
        return tally.verdict
    tally.add("it starts", 1)
    length = report["length"]
    if length == facts["length"]:
        tally.add("the snake is there", 1)
    elif length:
        tally.add(f"the snake has {length} cells, not {facts['length']}", 0.5)
    else:
        tally.add(f'it draws, but no snake of "{facts["snake"]}"', 0.25)
    foods = report["foods"]
    tally.add("the food is there" if foods == 1 else f"{foods} foods", foods == 1, weight=0.5)
    moved = report["moved"]
    steady = moved and report["kept"] == length and report["headed"] == "right"
    words = "it moves" if steady else "it moves, but not as asked" if moved else "it does not move"
    tally.add(words, (moved + steady) / 2, weight=1.5)
    obeyed = report["obeyed"]
    words = f"it turns {', '.join(obeyed)}" if obeyed else "keys do not turn it"
    tally.add(words, len(obeyed) / 4, weight=2)
    eaten = [words for key, words in _EATEN.items() if report[key]]
    tally.add(", ".join(eaten) or "it reaches no food", len(eaten) / 3, weight=2)
    if not facts["walls"]:
        wrapped = report["wrapped"]
        words = "it goes through the border" if wrapped else "it does not go through the border"
        tally.add(words, wrapped, weight=0.5)
    ended = moved and report["ended"]
    words = "it ends" if ended else f"it does not end as asked: {report['error'] or 'it goes on'}"
    tally.add(words, ended, weight=1)
    message = moved and report["message"]
    tally.add("it says so" if message else "it does not say so", message, weight=0.5)
    return tally.verdict


_EATEN = {"ate": "it reaches food", "grew": "it grows", "again": "new food comes"}

PROBE = Snake()
