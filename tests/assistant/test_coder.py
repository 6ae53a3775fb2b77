"""Programs written, checked by running them, and repaired; on scripted answers and on the model."""

import pytest
from scripted import Script

import pocketlm
from pocketlm.assistant import coder, sandbox
from pocketlm.assistant.coder import Verdict, code, meets, plays, prints, program_of, runs
from pocketlm.assistant.sandbox import Limits
from pocketlm.errors import SandboxError

SNAKE = """
import curses, random
def main(screen):
    curses.curs_set(0)
    screen.timeout(50)
    height, width = screen.getmaxyx()
    snake, way, food = [(height // 2, 5)], (0, 1), (5, 5)
    ways = {curses.KEY_RIGHT: (0, 1), curses.KEY_LEFT: (0, -1), curses.KEY_UP: (-1, 0),
            curses.KEY_DOWN: (1, 0)}
    while True:
        way = ways.get(screen.getch(), way)
        head = ((snake[0][0] + way[0]) % (height - 1), (snake[0][1] + way[1]) % (width - 1))
        snake.insert(0, head)
        if head == food:
            food = (random.randrange(height - 1), random.randrange(width - 1))
        else:
            screen.addch(*snake.pop(), " ")
        screen.addch(*food, "*")
        screen.addch(*head, "#")
curses.wrapper(main)
"""


@pytest.fixture(scope="module", autouse=True)
def available():
    try:
        sandbox.check()
    except SandboxError as error:
        pytest.skip(str(error))


def block(program: str) -> str:
    return f"Here you are:\n```python\n{program}\n```\nIt works, I promise."


def test_what_fails_goes_back_with_its_error_until_it_passes():
    ask = Script(block("print(1 / 0)"), block("prnt(2)"), block("print(2)"))
    events = list(code("Print two.", ask, runs()))
    checked = [event for event in events if isinstance(event, coder.Checked)]
    assert [event.verdict.passed for event in checked] == [False, False, True]
    assert events[-1] == coder.Ended("print(2)", 3)
    second = str(ask.asked[1])
    assert "ZeroDivisionError" in second
    assert "print(1 / 0)" in second
    assert "NameError" in str(ask.asked[2])
    assert "ZeroDivisionError" not in str(ask.asked[2])  # the last try alone
    assert "".join(e.piece.text for e in events if isinstance(e, coder.Wrote)).count("```") == 6


def test_rounds_are_bounded_and_nothing_is_kept_that_did_not_pass():
    ask = Script(*[block(f"raise SystemExit({n})") for n in range(1, 9)])
    events = list(code("x", ask, runs(), rounds=3))
    assert events[-1] == coder.Ended(None, 3)
    assert len(ask.asked) == 3


def test_the_models_word_counts_for_nothing():
    events = list(code("x", Script("The program works. All tests passed.\nOK"), runs(), rounds=1))
    assert events[-1] == coder.Ended(None, 1)
    assert "no program" in events[-2].verdict.said


def test_a_model_that_repeats_itself_is_asked_anew():
    ask = Script(block("1/0"), block("1/0"), block("print(1)"))
    assert list(code("task", ask, runs()))[-1] == coder.Ended("print(1)", 3)
    assert len(ask.asked[2]) == 2
    assert "another way" in str(ask.asked[2])


@pytest.mark.parametrize(
    ("answer", "program"),
    [
        ("```python\nprint(1)\n```", "print(1)"),
        ("a\n```py\nx\n```\nb\n```\nlonger = 1\n```", "x"),
        ("a\n```\nx\n```\nb\n```\nlonger = 1\n```", "longer = 1"),
        ("```python\nprint(1)", "print(1)"),
        ("```python\nprint(1)\n```\nOutput:\n```\n1 2 3 4 5 6 7\n```", "print(1)"),
        ("```python\nprint(\n```", "print("),
        ("print(1)\nprint(2)", "print(1)\nprint(2)"),
        ("Sorry, I cannot do that.", None),
        ("", None),
        ("```python\n```", None),
        ("```python\n" + "x" * 50_000, None),
        ("(" * 100_000, None),
    ],
)
def test_programs_in_answers(answer, program):
    assert program_of(answer) == program


@pytest.mark.parametrize(
    ("program", "passes", "word"),
    [
        ("print('a\\nb ')", True, ""),
        ("print('a')", False, "Line 2"),
        ("print('a\\nb\\nc')", False, "'c'; it should be no line"),
        ("print('b')", False, "'b'; it should be 'a'"),
        ("", False, "nothing"),
        ("x = ", False, "SyntaxError"),
    ],
)
def test_a_program_prints_what_it_should(program, passes, word):
    verdict = prints("a\nb\n")(program)
    assert verdict.passed is passes
    assert word in verdict.said


def test_all_of_a_long_output_is_compared():
    expected = "".join(f"{n}\n" for n in range(2000))
    assert prints(expected)("for n in range(2000): print(n)").passed
    verdict = prints(expected)("for n in range(1999): print(n)")
    assert verdict == Verdict(False, "Line 2000 of its output is missing; it should be '1999'.")


@pytest.mark.parametrize(
    ("program", "word"),
    [
        ("while True: pass", "did not end"),
        ("while True: print('x' * 999)", "bytes"),
        ("import os; os.kill(os.getpid(), 9)", "-9"),
        ("open('/root/x')", "Error"),
        ("import socket; socket.create_connection(('1.1.1.1', 80), 1)", "Error"),
    ],
)
def test_a_program_that_does_not_run(program, word):
    verdict = runs(Limits(seconds=1))(program)
    assert not verdict.passed
    assert word in verdict.said


def test_a_test_must_come_to_its_end():
    check = meets("import program\nassert program.double(2) == 4\n")
    assert check("def double(x): return 2 * x").passed
    assert "AssertionError" in check("def double(x): return 3 * x").said
    for escape in ("raise SystemExit", "import os; os._exit(0)", "print('passed'); exit()"):
        assert not check(escape).passed


def test_a_game_that_plays():
    verdict = plays(1.7)(SNAKE)
    assert verdict.passed, verdict
    assert "still running" in verdict.said


@pytest.mark.parametrize(
    ("program", "word"),
    [
        ("print('Snake!')", "at once"),
        ("import pygame_that_is_not_there", "ModuleNotFoundError"),
        ("while True: pass", "drew nothing"),
        ("print('Snake')\nimport time\ntime.sleep(60)", "nothing changed"),
        (SNAKE.replace("#", "##"), "TypeError"),
        ("import time\nprint('x')\ntime.sleep(0.5)\n1/0", "ZeroDivisionError"),
    ],
)
def test_a_game_that_does_not(program, word):
    verdict = plays(1.7)(program)
    assert not verdict.passed
    assert word in verdict.said


@pytest.mark.slow
def test_the_real_model_writes_and_the_verdict_is_the_checks(smollm2):
    with pocketlm.load(smollm2) as model:
        ask = coder.asking(model, {"max_tokens": 200})
        events = list(code("Write a Python program that prints hello.", ask, runs(), rounds=3))
    ended, checked = events[-1], [e for e in events if isinstance(e, coder.Checked)]
    assert ended.program == (checked[-1].program if checked[-1].verdict.passed else None)
    if ended.program is not None:
        assert sandbox.run_python(ended.program).code == 0
