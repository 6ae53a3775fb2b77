"""A terminal's screen: against curses itself, and sequence by sequence."""

import os
import pty
import sys
from pathlib import Path

import pytest

from pocketlm.evaluate.probes.screen import Screen

#: Draws at random in all ways that make curses write differently, and says what it has drawn.
_DRAWING = """
import curses, random, sys
chance = random.Random(int(sys.argv[2]))
def main(screen):
    curses.use_default_colors()
    screen.scrollok(True)
    screen.idlok(True)
    screen.leaveok(False)
    for _ in range(120):
        row, column = chance.randrange(24), chance.randrange(79)
        what = chance.randrange(9)
        if what < 4:
            text = chance.choice(["#", "word", "=" * 30, "a b  c", " " * 12, "x" * 9])
            screen.addstr(row, column, text[: 79 - column])
        elif what == 4:
            screen.move(row, column); screen.clrtoeol()
        elif what == 5:
            screen.move(row, 0); chance.choice([screen.insertln, screen.deleteln])()
        elif what == 6:
            screen.move(row, column); chance.choice([screen.delch, lambda: screen.insch("i")])()
        elif what == 7 and chance.random() < 0.3:
            screen.move(row, column); screen.clrtobot()
        elif what == 8:
            screen.scroll(chance.choice([1, -1, 3]))
        if chance.random() < 0.5:
            screen.refresh()
    screen.refresh()
    with open(sys.argv[1], "w") as file:
        for row in range(24):
            file.write(screen.instr(row, 0).decode().ljust(80) + "\\n")
    sys.stdout.flush()
    import os
    os._exit(0)  # the screen stays as it is
curses.wrapper(main)
"""


@pytest.mark.parametrize("seed", range(6))
def test_it_shows_what_curses_has_drawn(tmp_path: Path, seed: int):
    script, drawn = tmp_path / "draw.py", tmp_path / "drawn"
    script.write_text(_DRAWING)
    child, terminal = pty.fork()
    if child == 0:
        environment = {"TERM": "xterm", "LINES": "24", "COLUMNS": "80", "PATH": os.environ["PATH"]}
        command = [sys.executable, str(script), str(drawn), str(seed)]
        os.execve(sys.executable, command, environment)
    screen = Screen()
    try:
        while data := os.read(terminal, 77):  # sequences are cut anywhere
            screen.feed(data.decode())
    except OSError:
        pass
    os.close(terminal)
    assert os.waitpid(child, 0)[1] == 0
    assert "\n".join(screen.text) == drawn.read_text().rstrip("\n")


@pytest.mark.parametrize(
    ("written", "rows"),
    [
        ("ab\r\ncd", ["ab", "cd"]),
        ("abc\rx", ["xbc"]),
        ("ab\b\bx", ["xb"]),
        ("a\tb", ["a       b"]),
        ("\x1b[2;3Hx\x1b[1;1Hy", ["y", "  x"]),
        ("abc\x1b[2D-\x1b[C+", ["a-c+"]),
        ("abc\x1b[1K", [""]),
        ("abc\x1b[2G\x1b[K", ["a"]),
        ("abc\x1b[2J", [""]),
        ("\x1b[2J\x1b[Habc", ["abc"]),
        ("ab\n\x1b[1A\rx", ["xb"]),
        ("x\x1b[3by", ["xxxxy"]),
        ("abc\x1b[1;1H\x1b[2Px", ["x"]),
        ("abc\x1b[1;2H\x1b[1@x", ["axbc"]),
        ("\x1b[31;1mred\x1b[0m", ["red"]),
        ("\x1b]0;a title\x07text\x1b]2;b\x1b\\s", ["texts"]),
        ("\x1b(0lqk\x1b(Bq", ["───q"]),
        ("\x0eq\x0fq", ["─q"]),
        ("one\x1b[?1049htwo", ["   two"]),
        ("a\x1b7\x1b[5;5Hb\x1b8c", ["ac", "", "", "", "    b"]),
        ("a\r\nb\x1bMc", ["ac", "b"]),
        ("\x1b[Ha\r\nb\x1b[H\x1bMx", ["x", "a", "b"]),
        ("x" * 81, ["x" * 80, "x"]),
        ("\x1b[99999999999999999999Cx", [" " * 79 + "x"]),
        ("a\x1b[38;5;9mb\x1b[", ["ab"]),
        ("\x00\x07a", ["a"]),
        ("\U0001f40d#", ["\U0001f40d#"]),
    ],
)
def test_sequences(written: str, rows: list[str]):
    whole, piecewise = Screen(), Screen()
    whole.feed(written)
    for character in written:
        piecewise.feed(character)
    assert whole.text == piecewise.text
    shown = [row.rstrip() for row in whole.text]
    while len(shown) > 1 and not shown[-1]:
        shown.pop()
    assert shown == rows


def test_lines_leave_at_the_top():
    screen = Screen(rows=3, columns=5)
    screen.feed("\r\n".join("abcdef"))
    assert [row[0] for row in screen.text] == ["d", "e", "f"]
    assert screen.cells("e") == {(1, 0)}
    screen.feed("\x1b[1;2r\x1b[2;1H\nx")
    assert [row[0] for row in screen.text] == ["e", "x", "f"]


def test_programs_ask_for_another_form_of_arrow_keys():
    screen = Screen()
    screen.feed("\x1b[?1h\x1b=")
    assert screen.application_keys
    screen.feed("\x1b[?1l")
    assert not screen.application_keys


def test_it_takes_anything():
    screen = Screen()
    for text in ("\x1b", "[", "\x1b]" + "x" * 3000, "\x1b[" + ";" * 5000 + "H", "\x1b[2;2;2;2r"):
        screen.feed(text)
    screen.feed("\x1b[50;90H\x1b[500L\x1b[500M\x1b[500S\x1b[500Tz")
    assert len(screen.text) == 24
    assert {len(row) for row in screen.text} == {80}
