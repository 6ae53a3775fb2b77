"""Text that arrives in pieces, broken between words to the width of a terminal.

It knows widths of characters (East Asian ones take two columns); it does not know the terminal.
"""

import re

#: Runs of blanks, and runs of anything else; a new line stands alone.
_PIECES = re.compile(r"\n|[^\S\n]+|\S+")


class Wrapper:
    """Breaks a stream of text into lines of at most `width` columns, at blanks where it can.

    The last word is held back until it is known to be whole, and a blank until the word after it.
    """

    def __init__(self, width: int) -> None:
        """Start in column 0 of lines of `width` columns."""
        self.width = max(width, 2)
        self.column = 0
        self._held = ""
        self._blank = ""

    def push(self, text: str) -> str:
        """What can be shown now that `text` has come."""
        pieces = _PIECES.findall(self._held + text)
        self._held = ""
        if pieces and pieces[-1] != "\n":
            self._held = pieces.pop()
        return "".join(map(self._place, pieces))

    def flush(self) -> str:
        """The rest."""
        held, self._held = self._held, ""
        return "".join(map(self._place, _PIECES.findall(held)))

    def _place(self, piece: str) -> str:
        if piece == "\n":
            self.column, self._blank = 0, ""
            return piece
        if piece.isspace():
            self._blank = piece
            return ""
        blank, self._blank = self._blank, ""
        if self.column + _columns(blank + piece) <= self.width:
            self.column += _columns(blank + piece)
            return blank + piece
        if _columns(piece) <= self.width and self.column > 0:
            self.column = _columns(piece)
            return "\n" + piece
        return "".join(map(self._place_character, blank + piece))

    def _place_character(self, char: str) -> str:
        columns = _columns(char)
        if self.column + columns > self.width:
            self.column = columns
            return "\n" + char
        self.column += columns
        return char


def _columns(text: str) -> int:
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth

    return max(wcswidth(text), 0)
