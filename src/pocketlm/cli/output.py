"""What all commands print alike: sizes, tables, text as it comes, progress."""

import shutil
import sys
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from pocketlm.cli.wrap import Wrapper

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


def size(count: int) -> str:
    """A number of bytes for people: "98.4 MB"."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{count} bytes" if unit == "bytes" else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def printable(text: str) -> str:
    """`text` without characters that would steer a terminal; new lines and tabs stay."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else f"\\x{ord(char):02x}" for char in text
    )


def fail(error: Exception | str) -> None:
    """Tell of an error in one line, on standard error."""
    print(f"pocketlm: error: {printable(' '.join(str(error).split()))}", file=sys.stderr)


def table(rows: Iterable[Sequence[str]]) -> str:
    """Columns of text, two spaces apart; the last one as long as it likes."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(lines)


class Writer:
    """Text on its way to a stream: wrapped and harmless on a terminal, as it is elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream`."""
        self._stream = stream
        self._wrapper: Wrapper | None = None
        self._last = "\n"
        if stream.isatty():
            self._wrapper = Wrapper(shutil.get_terminal_size().columns)

    def write(self, text: str) -> None:
        """Show a piece of the text, now."""
        if self._wrapper is not None:
            text = self._wrapper.push(printable(text))
        self._put(text)

    def finish(self) -> None:
        """Show the rest, and end the line."""
        if self._wrapper is not None:
            self._put(self._wrapper.flush())
        if self._last != "\n":
            self._put("\n")

    def _put(self, text: str) -> None:
        if text:
            self._stream.write(text)
            self._stream.flush()
            self._last = text[-1]


class Status:
    """A line on a terminal that tells what goes on, and goes away. On standard error."""

    def __init__(self) -> None:
        """Show nothing yet."""
        self._shown = False

    def show(self, text: str) -> None:
        """Put `text` in the place of what was shown."""
        if sys.stderr.isatty():
            columns = shutil.get_terminal_size().columns
            print(f"\r\x1b[K{printable(text)[: columns - 1]}", end="", file=sys.stderr, flush=True)
            self._shown = True

    def note(self, text: str) -> None:
        """Say something that stays, on a terminal and elsewhere."""
        self.clear()
        print(printable(f"({text})"), file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._shown = False

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the line away."""
        self.clear()


class Download:
    """Progress in bytes: a bar on a terminal, a line a file elsewhere. On standard error."""

    def __init__(self, verb: str = "bringing") -> None:
        """Show nothing yet: most often there is nothing to bring."""
        self._verb = verb
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID | None] = {}

    def __enter__(self) -> Self:
        """Return the callable that a store wants."""
        return self

    def __call__(self, what: str, done: int, total: int) -> None:
        """`done` of `total` bytes of `what` are here."""
        if not sys.stderr.isatty():
            if what not in self._tasks:
                print(f"{self._verb} {what} ({size(total)})", file=sys.stderr, flush=True)
                self._tasks[what] = None
            return
        if self._bar is None:
            self._bar = self._start()
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(what, total=total)
        task = self._tasks[what]
        assert task is not None
        self._bar.update(task, completed=done)

    @staticmethod
    def _start() -> "Progress":
        from rich import progress
        from rich.console import Console

        bar = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        bar.start()
        return bar

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()
