"""A model's text, written here: where a test is of what happens around a model, word by word."""

from collections.abc import Iterator, Sequence
from types import TracebackType

from pocketlm.engine.answer import Generation, Piece
from pocketlm.engine.request import Timings


class Said:
    """One answer, in pieces of `size` characters, as a `Stream` gives it."""

    def __init__(self, text: str, size: int = 7) -> None:
        self._text, self._size = text, size

    def __enter__(self) -> "Said":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def __iter__(self) -> Iterator[Piece]:
        for start in range(0, len(self._text), self._size):
            yield Piece(self._text[start : start + self._size])

    @property
    def generation(self) -> Generation:
        ids = list(self._text.encode())
        return Generation(self._text, ids, "stop", 1, len(ids), 0, Timings(), None, None, [])


class Script:
    """Answers one after another, whatever is asked; keeps what was."""

    def __init__(self, *answers: str) -> None:
        self.asked: list[Sequence[object]] = []
        self.constraints: list[object] = []
        self._answers = list(answers)

    def __call__(self, messages: Sequence[object], *more: object) -> Said:
        self.asked.append(list(messages))
        self.constraints.append(more[-1] if more else None)
        return Said(self._answers.pop(0))
