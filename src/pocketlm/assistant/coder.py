"""A program written by a model: written, checked in the sandbox, repaired with the error in view.

    write → check (a program decides) → its words back to the model → write again

Bounded in rounds; every step is an event. What passes is what ran and met its check: the model's
own word counts for nothing. Knows prompts and checks; the sandbox keeps programs in.
"""

from __future__ import annotations

import ast
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

from pocketlm.api import Model
from pocketlm.assistant import sandbox
from pocketlm.assistant.sandbox import Limits, Outcome
from pocketlm.chat.prompt import Message
from pocketlm.engine.answer import Piece, Stream

#: Most characters of a program, and of what is said of its failure.
MOST_PROGRAM, MOST_SAID = 40_000, 1500
#: Most tokens of one answer: a small model may never end.
MOST_TOKENS = 2000

_LIMITS = Limits()

_SYSTEM = """\
You write Python programs. Answer with one whole program in a ```python block, and nothing else. \
Use only the standard library. There is no display: draw in the terminal with curses, not with \
tkinter, turtle or pygame."""
_BLOCK = re.compile(
    r"^```[ \t]*(\w*)[^\n]*\n(.*?)(?:^```|\Z)", re.DOTALL | re.IGNORECASE | re.MULTILINE
)


@dataclass(frozen=True)
class Verdict:
    """Whether a program passed, and if not, what is said to the model."""

    passed: bool
    said: str


#: Decides about a program by running it.
Check = Callable[[str], Verdict]
#: Begins an answer to messages.
Ask = Callable[[Sequence[Message]], Stream]


@dataclass(frozen=True)
class Began:
    """A round begins: the first one writes, the others repair."""

    round: int


@dataclass(frozen=True)
class Wrote:
    """A piece of what the model writes."""

    piece: Piece


@dataclass(frozen=True)
class Checked:
    """A program was checked; `program` is None where the answer held none."""

    round: int
    program: str | None
    verdict: Verdict


@dataclass(frozen=True)
class Ended:
    """It is over: the program that passed, or None."""

    program: str | None
    rounds: int


Event = Began | Wrote | Checked | Ended


def asking(model: Model, sampling: Mapping[str, Any]) -> Ask:
    """An `Ask` of a loaded model; a seed, if there is one, grows by one with each answer."""
    options = dict(sampling)

    def ask(messages: Sequence[Message]) -> Stream:
        stream = model.chat_stream(messages, **options)
        if options.get("seed") is not None:
            options["seed"] += 1
        return stream

    return ask


def code(task: str, ask: Ask, check: Check, *, rounds: int = 4) -> Iterator[Event]:
    """Have a program written for a task, in up to so many rounds. The last event is `Ended`.

    A model that writes the same program again is asked anew, without it in view. Raises Error where
    the model cannot be asked or there is no sandbox.
    """
    question: list[Message] = [
        {"role": "system", "content": _SYSTEM},
        {"role": "user", "content": task},
    ]
    messages = question
    tried: set[str] = set()
    number = 0
    while number < rounds:
        number += 1
        yield Began(number)
        answer = ""
        with ask(messages) as stream:
            for piece in stream:
                answer += piece.text
                yield Wrote(piece)
        program = program_of(answer)
        verdict = _verdict(program, check)
        yield Checked(number, program, verdict)
        if verdict.passed:
            yield Ended(program, number)
            return
        if program is None or program in tried:
            said = f"{verdict.said}\nWrite it in another way." if program else verdict.said
            messages = [*question[:1], {"role": "user", "content": f"{task}\n\n{said}"}]
        else:
            # The last try alone: a small model's window is soon full of what did not work.
            messages = [
                *question,
                {"role": "assistant", "content": f"```python\n{program}\n```"},
                {"role": "user", "content": f"{verdict.said}\nWrite the whole program again."},
            ]
        if program is not None:
            tried.add(program)
    yield Ended(None, number)


def program_of(answer: str) -> str | None:
    """The block of code of an answer that is most likely the program, or all of it if that is one.

    That is one which Python can read, and one that is said to be Python; among equals the longest.
    """
    found: tuple[bool, bool, int] = (False, False, 0)
    program = None
    for block in _BLOCK.finditer(answer):
        text = block[2].strip("\n")
        likely = (_is_python(text), block[1].lower() in ("python", "py"), len(text))
        if text.strip() and likely > found:
            found, program = likely, text
    if program is None and _is_python(answer):
        program = answer.strip("\n")
    return program if program is not None and len(program) <= MOST_PROGRAM else None


def _is_python(text: str) -> bool:
    try:
        return bool(ast.parse(text).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _verdict(program: str | None, check: Check) -> Verdict:
    if program is None:
        return Verdict(False, "There was no program in the answer.")
    return check(program)


def runs(limits: Limits = _LIMITS, *, stdin: str = "") -> Check:
    """A check: the program ends by itself, in time and without an error, and prints something."""

    return lambda program: _ended(sandbox.run_python(program, limits, stdin=stdin), limits)


def _ended(outcome: Outcome, limits: Limits) -> Verdict:
    if outcome.stopped == "time":
        return Verdict(False, f"It did not end within {limits.seconds:g} seconds.")
    if outcome.stopped == "output":
        return Verdict(False, f"It wrote more than {limits.output:,} bytes.")
    if outcome.code != 0:
        return Verdict(False, f"It failed:\n{_last(outcome)}")
    if not outcome.output.strip():
        return Verdict(False, "It printed nothing.")
    return Verdict(True, outcome.output[:MOST_SAID])


def prints(expected: str, limits: Limits = _LIMITS, *, stdin: str = "") -> Check:
    """A check: it `runs`, and prints these lines; blanks at their ends are not counted."""
    wanted = _lines(expected)

    def check(program: str) -> Verdict:
        outcome = sandbox.run_python(program, limits, stdin=stdin)
        verdict, found = _ended(outcome, limits), _lines(outcome.output)
        if not verdict.passed or found == wanted:
            return verdict
        place = next(
            (n for n, (a, b) in enumerate(zip(wanted, found, strict=False)) if a != b),
            min(len(wanted), len(found)),
        )
        was = repr(found[place]) if place < len(found) else "missing"
        should = repr(wanted[place]) if place < len(wanted) else "no line"
        return Verdict(False, f"Line {place + 1} of its output is {was}; it should be {should}.")

    return check


def meets(tests: str, limits: Limits = _LIMITS) -> Check:
    """A check: `tests`, Python that may `import program`, runs to its end without an error."""

    def check(program: str) -> Verdict:
        # A program that ends the process while it is imported has not been tested.
        end = secrets.token_hex(16)
        driver = f"import sys\nsys.path.insert(0, '/')\n{tests}\nprint({end!r})"
        outcome = sandbox.run_python(driver, limits, files={"program.py": program})
        if outcome.code == 0 and outcome.output.endswith(f"{end}\n"):
            return Verdict(True, outcome.output.removesuffix(f"{end}\n")[:MOST_SAID])
        return Verdict(False, f"It failed its test:\n{_last(outcome)}")

    return check


def plays(seconds: float = 5) -> Check:
    """A check for games: in a terminal of 80 by 24 it draws, hears keys, and does not fail.

    It is started in a pseudo-terminal in the sandbox and sent arrow keys for `seconds`. It must
    have drawn by then, and again after keys came; it may go on or have ended without an error.
    """
    limits = Limits(seconds=seconds + 5)

    def check(program: str) -> Verdict:
        player = f"SECONDS = {seconds!r}\n{_PLAYER}"
        outcome = sandbox.run_python(player, limits, files={"game.py": program})
        if outcome.code == 0:
            return Verdict(True, outcome.output[:MOST_SAID])
        return Verdict(False, f"It failed its test:\n{_last(outcome)}")

    return check


#: Plays a game in a pseudo-terminal: runs inside the sandbox, and judges what it saw.
_PLAYER = dedent(r"""
    import fcntl, os, pty, select, struct, sys, termios, time, re

    KEYS = [b"\x1b[C", b"\x1b[B", b"\x1b[D", b"d", b"s", b"\n"]
    child, terminal = pty.fork()
    if child == 0:
        modes = termios.tcgetattr(0)
        modes[3] &= ~termios.ECHO  # what a key writes by itself is no drawing
        termios.tcsetattr(0, termios.TCSANOW, modes)
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        os.execv(sys.executable, [sys.executable, "-I", "-B", "-X", "utf8", "/game.py"])
    start = time.monotonic()
    seen, times, sent = b"", [], 0
    ended = None
    while time.monotonic() < start + SECONDS:
        now = time.monotonic() - start
        if now > 1 + 0.4 * sent and ended is None:
            try:
                os.write(terminal, KEYS[sent % len(KEYS)])
            except OSError:
                pass
            sent += 1
        if select.select([terminal], [], [], 0.05)[0]:
            try:
                data = os.read(terminal, 65536)
            except OSError:
                data = b""
            if not data:
                ended = os.waitpid(child, 0)[1]
                break
            seen = (seen + data)[-200000:]
            times.append(now)
    text = seen.decode("utf-8", "replace")
    # What it said, without what steers a terminal.
    steering = r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[()][0-9A-B]|[=>78cM])"
    plain = re.sub(steering, "", text)
    if ended:
        how = f"exit code {os.waitstatus_to_exitcode(ended)}"
        sys.exit(f"{plain.replace(chr(13), '')[-1200:]}\nit ended with {how}")
    if "Traceback (most recent call last)" in plain:
        sys.exit(plain.replace(chr(13), "")[-1200:])
    if not plain.strip():
        sys.exit("it drew nothing in the terminal")
    if ended is not None and time.monotonic() - start < 1:
        sys.exit("it ended at once, before any key was pressed")
    if not any(t > 1 for t in times):
        sys.exit("nothing changed on the screen while keys were pressed")
    print(f"drew {len(seen)} bytes in {len(times)} pieces, {sent} keys sent, "
          + ("still running" if ended is None else "ended by itself"))
""")


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


def _last(outcome: Outcome) -> str:
    """The end of what a failed program wrote: the error stands there."""
    said = (outcome.errors.strip() or outcome.output.strip())[-MOST_SAID:]
    if outcome.stopped:
        return f"{said}\nit was ended: too much {outcome.stopped}".strip()
    return said or f"it ended with {outcome.code} and said nothing"
