"""Games of Snake to be judged: a whole one that keeps a variant's rules, and ways to break it."""

import re
from typing import Any

_GAME = """
import curses
import random

WIDTH, HEIGHT, LENGTH, WALLS = {width}, {height}, {length}, {walls}
KEYS = {keys}


def place(snake):
    while True:
        food = (random.randrange(HEIGHT), random.randrange(WIDTH))
        if food not in snake:
            return food


def main(screen):
    curses.curs_set(0)
    screen.timeout(1000 // {speed})
    for row in range(HEIGHT + 2):
        edge = "+" + "-" * WIDTH + "+" if row in (0, HEIGHT + 1) else "|" + " " * WIDTH + "|"
        screen.addstr(row, 0, edge)
    row, column = HEIGHT // 2, WIDTH // 2
    snake = [(row, column - n) for n in range(LENGTH)]
    for cell in snake:
        screen.addch(cell[0] + 1, cell[1] + 1, "{snake}")
    food = place(snake)
    screen.addch(food[0] + 1, food[1] + 1, "{food}")
    way = (0, 1)
    while True:
        turn = KEYS.get(screen.getch(), way)
        if (turn[0] + way[0], turn[1] + way[1]) != (0, 0):
            way = turn
        head = (snake[0][0] + way[0], snake[0][1] + way[1])
        if WALLS and not (0 <= head[0] < HEIGHT and 0 <= head[1] < WIDTH):
            return
        head = (head[0] % HEIGHT, head[1] % WIDTH)
        if head in snake[:-1]:
            return
        snake.insert(0, head)
        if head == food:
            food = place(snake)
            screen.addch(food[0] + 1, food[1] + 1, "{food}")
        else:
            tail = snake.pop()
            screen.addch(tail[0] + 1, tail[1] + 1, " ")
        screen.addch(head[0] + 1, head[1] + 1, "{snake}")
        screen.refresh()


curses.wrapper(main)
print("{message}")
"""
_WAYS = {"up": (-1, 0), "left": (0, -1), "down": (1, 0), "right": (0, 1)}


def game(question: str, facts: dict[str, Any], *broken: tuple[str, str]) -> str:
    """A game as the question wants it; each of `broken` is a text of it and what stands instead."""
    sizes = re.search(r"(\d+) cells wide and (\d+) cells high", question)
    speed = re.search(r"about (\d+) times a second", question)
    assert sizes
    assert speed
    keys = ", ".join(
        f"{f'curses.KEY_{key}' if len(key) > 1 else f'ord({key!r})'}: {_WAYS[way]}"
        for way, key in facts["keys"].items()
    )
    text = _GAME
    for old, new in broken:
        assert old in text, old
        text = text.replace(old, new)
    return text.format(
        width=sizes[1], height=sizes[2], speed=speed[1], **{**facts, "keys": f"{{{keys}}}"}
    )
