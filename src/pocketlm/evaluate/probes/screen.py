"""A terminal's screen: what stands in which cell after a program wrote to it.

It understands what curses writes for xterm, and what programs write by hand: cursor, erasing,
inserting, scrolling. Colours and titles are left out. It is read into the sandbox, where there is
nothing but Python, and so it imports nothing else.
"""

from __future__ import annotations

import re

_SEQUENCE = re.compile(
    r"\x1b(?:\[(?P<private>[?>!]?)(?P<numbers>[\d;]*)[ -/]*(?P<final>[@-~])"
    r"|\](?:[^\x07\x1b]*)(?:\x07|\x1b\\)"
    r"|[()*+](?P<charset>.)"
    r"|(?P<single>[^\[\]()*+]))"
)
#: The beginning of a sequence whose end has not come.
_BEGUN = re.compile(r"\x1b(?:\[[?>!]?[\d;]*[ -/]*|\][^\x07\x1b]*\x1b?|[()*+])?\Z")
_MOST_COUNT = 9999


class Screen:
    """Rows of characters, and a cursor."""

    def __init__(self, rows: int = 24, columns: int = 80) -> None:
        """Begin with an empty screen."""
        self.rows, self.columns = rows, columns
        #: Whether the program asked for the arrow keys' other form (ESC O A).
        self.application_keys = False
        self._pending = ""
        self._reset()

    def _reset(self) -> None:
        self._cells = [[" "] * self.columns for _ in range(self.rows)]
        self._row = self._column = 0
        self._saved = (0, 0)
        self._top, self._bottom = 0, self.rows - 1
        self._lines = False  # letters draw lines
        self._last = " "

    @property
    def text(self) -> list[str]:
        """The rows."""
        return ["".join(row) for row in self._cells]

    def cells(self, character: str) -> frozenset[tuple[int, int]]:
        """Where a character stands: (row, column)."""
        return frozenset(
            (row, column)
            for row, line in enumerate(self._cells)
            for column, found in enumerate(line)
            if found == character
        )

    def feed(self, text: str) -> None:
        """Take what a program wrote; a sequence may be cut anywhere."""
        text = self._pending + text
        self._pending = ""
        place = 0
        while place < len(text):
            if text[place] != "\x1b":
                self._write(text[place])
                place += 1
                continue
            if match := _SEQUENCE.match(text, place):
                self._obey(match)
                place = match.end()
            elif _BEGUN.match(text, place) and len(text) - place < _MOST_COUNT:
                self._pending = text[place:]
                return
            else:
                place += 1

    def _write(self, character: str) -> None:
        match character:
            case "\r":
                self._column = 0
            case "\n" | "\x0b" | "\x0c":
                self._down()
            case "\b":
                self._column = max(self._column - 1, 0)
            case "\t":
                self._column = min(self._column // 8 * 8 + 8, self.columns - 1)
            case "\x0e" | "\x0f":
                self._lines = character == "\x0e"
            case _ if character >= " " and character != "\x7f":
                self._put("\u2500" if self._lines and "`" <= character <= "~" else character)

    def _put(self, character: str) -> None:
        if self._column >= self.columns:  # the last column was written: the next line begins now
            self._column = 0
            self._down()
        self._cells[self._row][self._column] = self._last = character
        self._column += 1

    def _down(self) -> None:
        if self._row == self._bottom:
            self._scroll(self._top, 1)
        else:
            self._row = min(self._row + 1, self.rows - 1)

    def _scroll(self, top: int, count: int) -> None:
        """Move lines from `top` to the bottom of the region up by `count`, down if below 0."""
        for _ in range(min(abs(count), self.rows)):
            gone, new = (top, self._bottom) if count > 0 else (self._bottom, top)
            del self._cells[gone]
            self._cells.insert(new, [" "] * self.columns)

    def _obey(self, match: re.Match[str]) -> None:
        if match["charset"] is not None:
            self._lines = match["charset"] == "0"
        elif match["single"] is not None:
            self._obey_single(match["single"])
        elif match["final"] is not None:
            numbers = [min(int(n or 0), _MOST_COUNT) for n in match["numbers"][:99].split(";")]
            if match["private"] == "?":
                self._obey_mode(numbers, match["final"] == "h")
            elif not match["private"]:
                self._obey_numbers(match["final"], numbers)

    def _obey_single(self, letter: str) -> None:
        match letter:
            case "7":
                self._saved = (self._row, self._column)
            case "8":
                self._row, self._column = self._saved
            case "M" if self._row == self._top:
                self._scroll(self._top, -1)
            case "M":
                self._row = max(self._row - 1, 0)
            case "D":
                self._down()
            case "E":
                self._column = 0
                self._down()
            case "c":
                self._reset()

    def _obey_mode(self, numbers: list[int], on: bool) -> None:
        if 1 in numbers:
            self.application_keys = on
        if {47, 1047, 1049} & {*numbers}:  # another screen, or back from it
            self._erase(2, 0)

    def _obey_numbers(self, final: str, numbers: list[int]) -> None:
        first = numbers[0]
        count = first or 1
        column = min(self._column, self.columns - 1)
        row = self._cells[self._row]
        match final:
            case "A" | "F":
                self._move(self._row - count, 0 if final == "F" else column)
            case "B" | "E" | "e":
                self._move(self._row + count, 0 if final == "E" else column)
            case "C" | "a":
                self._move(self._row, column + count)
            case "D":
                self._move(self._row, column - count)
            case "G" | "`":
                self._move(self._row, count - 1)
            case "d":
                self._move(count - 1, column)
            case "H" | "f":
                self._move(count - 1, (numbers[1] or 1) - 1 if len(numbers) > 1 else 0)
            case "J":
                self._erase(first, column)
            case "K":
                begin, end = ((column, None), (None, column + 1), (None, None))[min(first, 2)]
                row[begin:end] = " " * len(row[begin:end])
            case "X":
                row[column : column + count] = " " * len(row[column : column + count])
            case "P":
                del row[column : column + count]
                row += " " * (self.columns - len(row))
            case "@":
                row[column:column] = " " * min(count, self.columns)
                del row[self.columns :]
            case "b":
                for _ in range(min(count, self.columns)):
                    self._put(self._last)
            case "L" | "M" if self._top <= self._row <= self._bottom:
                self._scroll(self._row, count if final == "M" else -count)
            case "S" | "T":
                self._scroll(self._top, count if final == "S" else -count)
            case "r":
                bottom = (numbers[1] if len(numbers) > 1 else 0) or self.rows
                if count < bottom <= self.rows:
                    self._top, self._bottom = count - 1, bottom - 1
                self._move(0, 0)

    def _move(self, row: int, column: int) -> None:
        self._row = min(max(row, 0), self.rows - 1)
        self._column = min(max(column, 0), self.columns - 1)

    def _erase(self, what: int, column: int) -> None:
        """All of the screen, or from its beginning (1), or to its end (0)."""
        row = self._cells[self._row]
        if what == 0:
            row[column:] = " " * (self.columns - column)
            blank = range(self._row + 1, self.rows)
        elif what == 1:
            row[: column + 1] = " " * (column + 1)
            blank = range(self._row)
        else:
            blank = range(self.rows)
        for number in blank:
            self._cells[number] = [" "] * self.columns
