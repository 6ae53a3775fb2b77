"""Plays a game of Snake in a terminal of its own, and reports what it saw.

It runs inside the sandbox, beside the game, with `screen.py`: it sees the screen, knows how snake
and food look and which keys turn, and steers. It says what happened; `snake.py` says what it is
worth. It imports nothing but the standard library and `screen`.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pocketlm.evaluate.probes.screen import Screen
else:
    from screen import Screen  # in there it lies beside this file

Cell = tuple[int, int]

WAYS: dict[str, Cell] = {"up": (-1, 0), "left": (0, -1), "down": (1, 0), "right": (0, 1)}
OPPOSITE = {"up": "down", "down": "up", "left": "right", "right": "left"}
ARROWS = {"up": "A", "down": "B", "right": "C", "left": "D"}
ROWS, COLUMNS = 24, 80
#: Seconds without output after which a screen is whole, and most that is waited for that.
QUIET, MOST_UNQUIET = 0.02, 0.15
#: Seconds in which something must happen: the first picture, a step of the snake, the end.
START, STEP, END = 4.0, 2.5, 3.0
#: Most of one play, and most steps: to food and to the end of a board, and in circles.
PLAY, MOST_STEPS, MOST_ROUND = 40.0, 80, 40

_PR_SET_DUMPABLE = 4


class OverError(Exception):
    """The game is over, or does nothing more."""


class Game:
    """The game's process, its screen and its keys."""

    def __init__(self, program: str) -> None:
        """Start it."""
        self.screen = Screen(ROWS, COLUMNS)
        self.said = ""
        self.ended: int | None = None
        self._end = time.monotonic() + PLAY
        self._child, self._terminal = pty.fork()
        if self._child == 0:
            modes = termios.tcgetattr(0)
            modes[3] &= ~termios.ECHO  # what a key writes by itself is no drawing
            termios.tcsetattr(0, termios.TCSANOW, modes)
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
            os.execv(sys.executable, [sys.executable, "-I", "-B", "-X", "utf8", program])

    def close(self) -> None:
        """End it, and whatever it started in its session."""
        if self.ended is None:
            for kill in (os.kill, os.killpg):
                with contextlib.suppress(OSError):
                    kill(self._child, signal.SIGKILL)
            os.waitpid(self._child, 0)
        os.close(self._terminal)

    def press(self, key: str) -> None:
        """Press a key: a character, or the name of an arrow in capitals."""
        arrow = ARROWS.get(key.lower()) if key.isupper() and len(key) > 1 else None
        if arrow is not None:
            key = f"\x1b{'O' if self.screen.application_keys else '['}{arrow}"
        with contextlib.suppress(OSError):
            os.write(self._terminal, key.encode())

    def until(self, happened: Callable[[], bool], seconds: float) -> bool:
        """Watch until something happened, for so long; whether it did. The screen is whole then."""
        end = min(time.monotonic() + seconds, self._end)
        while not happened():
            left = end - time.monotonic()
            if left <= 0 or self.ended is not None:
                return False
            if self._read(min(left, 0.1)):
                whole = time.monotonic() + MOST_UNQUIET
                while time.monotonic() < whole and self._read(QUIET):
                    pass
        return True

    def _read(self, seconds: float) -> bool:
        """Take what the game writes within so long; whether there was any."""
        if self.ended is not None or not select.select([self._terminal], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._terminal, 65536)
        except OSError:
            data = b""
        if not data:
            self.ended = os.waitstatus_to_exitcode(os.waitpid(self._child, 0)[1])
            return False
        text = data.decode("utf-8", "replace")
        self.screen.feed(text)
        self.said = (self.said + text)[-100_000:]
        return True

    @property
    def plain(self) -> str:
        """What was said, without what steers a terminal."""
        return re.sub(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[()][0-9A-B]|[=>78cM])", "", self.said)


class Player:
    """Sees the snake, and steers it."""

    def __init__(self, game: Game, facts: Mapping[str, Any], report: dict[str, Any]) -> None:
        """Play by `facts` (`snake.py`); what is seen goes into `report`."""
        self._game, self._facts, self._report = game, facts, report
        self._snake: frozenset[Cell] = frozenset()
        self._head: Cell | None = None
        self._way = "right"
        self._middle: Cell = (0, 0)
        self._jumped = False

    def play(self) -> None:
        """Start, move, turn, eat, end. Raises OverError where it cannot go on."""
        report, game = self._report, self._game
        game.until(lambda: bool(self._cells and self._food), START)
        if not self._cells:
            report["drew"] = any(map(str.strip, game.screen.text))
            raise OverError
        report["drew"] = True
        self._snake = self._cells
        self._middle = min(self._snake)  # where it begins
        report["length"], report["foods"] = len(self._snake), len(self._food)
        food = self._food
        if not self._step():
            game.press(self._facts["keys"]["right"])  # one that waits for a key
            if not self._step():
                raise OverError
        report["moved"] = True
        self._step()
        report["kept"] = len(self._snake) - bool(food - self._food)  # it may lie in the way
        report["headed"] = self._way
        self._turn()
        self._eat()
        if self._facts["walls"]:
            self._straight()
        else:
            self._wrap()
            self._circle()

    @property
    def _cells(self) -> frozenset[Cell]:
        return self._game.screen.cells(self._facts["snake"])

    @property
    def _food(self) -> frozenset[Cell]:
        return self._game.screen.cells(self._facts["food"])

    def _step(self) -> bool:
        """Wait for the snake to move; where its head is and where it goes is known then."""
        if not self._game.until(lambda: bool(self._cells - self._snake), STEP):
            return False
        new = sorted(
            self._cells - self._snake,
            key=lambda cell: _distance(cell, self._head) if self._head else 0,
        )
        # The last of several steps is farthest from where it was.
        before = new[-2] if len(new) > 1 else self._head
        self._head = new[-1]
        before = before or _neighbour(self._head, self._snake)
        self._snake = self._cells
        if before is not None:
            moved = (self._head[0] - before[0], self._head[1] - before[1])
            self._jumped = abs(moved[0]) + abs(moved[1]) > 2
            self._way = next((way for way in WAYS if WAYS[way] == moved), self._way)
        return True

    def _steer(self, way: str, steps: int = 3) -> bool:
        """Press a key and wait for it to show; whether it did."""
        if way == self._way:
            return self._step_on()
        self._game.press(self._facts["keys"][way])
        for _ in range(steps):
            self._step_on()
            if self._way == way:
                self._report["obeyed"] = sorted({*self._report["obeyed"], way})
                return True
        return False

    def _step_on(self) -> bool:
        """A step that must come. Raises OverError where none does."""
        if not self._step():
            raise OverError
        return True

    def _turn(self) -> None:
        """Go round in a square, so that each key shows what it does."""
        for way in ("down", "left", "up", "right"):
            if way in (self._way, OPPOSITE[self._way]):
                continue
            if self._steer(way):
                self._step_on()

    def _eat(self) -> None:
        """Go where the food is, and see what comes of it."""
        report = self._report
        length = len(self._snake)
        for _ in range(MOST_STEPS):
            food = min(self._food, key=lambda cell: _distance(cell, self._head), default=None)
            if food is None or self._head is None:
                self._step_on()
                continue
            self._steer(self._toward(food), steps=1)
            if self._head != food:
                continue
            report["ate"] = True
            inward = self._inward()  # the border may be near
            for _ in range(3):
                report["grew"] = report["grew"] or len(self._snake) == length + 1
                report["again"] = report["again"] or bool(self._food - {food})
                self._steer(inward, steps=1)
            return

    def _toward(self, food: Cell) -> str:
        """Where to go now: on, if that leads nearer; never back, and not onto the snake."""
        assert self._head is not None
        down, right = food[0] - self._head[0], food[1] - self._head[1]
        wanted = ["down" if down > 0 else "up"] if down else []
        wanted += ["right" if right > 0 else "left"] if right else []
        if self._way in wanted:
            wanted.insert(0, self._way)
        aside = [way for way in wanted if way != OPPOSITE[self._way]]
        return next(filter(self._free, aside), None) or self._inward()

    def _inward(self) -> str:
        """To the side, where the middle of the board is, or the other one."""
        assert self._head is not None
        if self._way in ("left", "right"):
            inward = "down" if self._head[0] < self._middle[0] else "up"
        else:
            inward = "right" if self._head[1] < self._middle[1] else "left"
        return next(filter(self._free, (inward, self._way)), OPPOSITE[inward])

    def _free(self, way: str) -> bool:
        assert self._head is not None
        return (self._head[0] + WAYS[way][0], self._head[1] + WAYS[way][1]) not in self._snake

    def _straight(self) -> None:
        """Go straight on until the game ends."""
        for _ in range(MOST_STEPS):
            self._step_on()

    def _wrap(self) -> None:
        """Go straight on until the head comes in on the other side."""
        for _ in range(MOST_STEPS):
            self._jumped = False
            self._step_on()
            if self._jumped:
                self._report["wrapped"] = True
                return

    def _circle(self) -> None:
        """Go round so closely that the snake bites itself."""
        round_ = ["up", "left", "down", "right"]
        for _ in range(MOST_ROUND):
            way = round_[(round_.index(self._way) + 1) % 4]
            self._steer(way, steps=1)


def play(program: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Play once. What happened, as plain values.

    `started`, `drew` and `moved` say how far it came; `length`, `foods` and `kept` what was counted
    at the beginning and after two steps; `headed` where it went first; `obeyed` which keys turned
    it; `ate`, `grew` and `again` (there is new food), `wrapped`, `ended` (by itself, without an
    error) and `message` the rest. `error` is its last line, where it failed.
    """
    # The game is of the same user: it must not reach into this process for its output.
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    report: dict[str, Any] = dict.fromkeys(
        ("started", "drew", "moved", "ate", "grew", "again", "wrapped", "ended", "message"), False
    )
    report |= {"length": 0, "foods": 0, "kept": 0, "headed": None, "obeyed": [], "error": None}
    game = Game(program)
    try:
        with contextlib.suppress(OverError):
            Player(game, facts, report).play()
        said = facts["message"].casefold()
        if report["moved"]:
            game.until(lambda: said in game.plain.casefold(), END)
            report["message"] = said in game.plain.casefold()
            game.until(lambda: game.ended is not None, END)
            if game.ended is None and report["message"]:
                game.press(" ")  # one that waits before it goes
                game.until(lambda: game.ended is not None, END)
    finally:
        game.close()
    plain = game.plain.replace("\r", "").strip()
    if "Traceback (most recent call last)" in plain or game.ended not in (None, 0):
        report["error"] = (plain.splitlines() or [f"exit code {game.ended}"])[-1][:200]
    report["ended"] = game.ended == 0 and report["error"] is None
    report["started"] = report["drew"] and (report["moved"] or not report["error"])
    return report


def _distance(cell: Cell, other: Cell | None) -> int:
    return abs(cell[0] - other[0]) + abs(cell[1] - other[1]) if other is not None else 0


def _neighbour(cell: Cell, snake: frozenset[Cell]) -> Cell | None:
    """The part of a snake that a new head stands at."""
    return next((part for part in snake if _distance(cell, part) == 1), None)
