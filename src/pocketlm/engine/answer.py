"""An answer as text, while it is written and when it is done.

It joins a request's events and the text stream. It does not know prompts, templates or models.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from pocketlm.engine.request import Finish, Notice, Progress, Request, Timings
from pocketlm.engine.sampling import Token
from pocketlm.engine.text import Detokenizer, TextStream


@dataclass(frozen=True)
class Piece:
    """A part of a streamed answer. `text` is all that must be shown, and may be empty."""

    text: str = ""
    #: The token that this text came with.
    token: Token | None = None
    #: How much of the prompt is processed.
    progress: Progress | None = None
    #: Something that the user should be told.
    notice: str | None = None

    def __str__(self) -> str:
        """The text."""
        return self.text


@dataclass(frozen=True)
class Generation:
    """An answer, or what there is of it.

    `tokens` are the generated ids, without the stop token; where a stop string ended the text, they
    hold what spells it. `finish_reason` is "stop" (a stop token or string), "length" (max_tokens,
    or the context is full), or None while the end has not come.
    """

    text: str
    tokens: list[int]
    finish_reason: str | None
    prompt_tokens: int
    completion_tokens: int
    #: Tokens of the prompt that the cache already held.
    cached_tokens: int
    timings: Timings
    #: The stop string that ended the text.
    stopped_by: str | None
    #: For each token, where `logprobs` was asked for.
    logprobs: list[Token] | None
    notices: list[str]


class Stream:
    """An iterator of pieces. It may be closed at any time; `generation` has what came so far."""

    def __init__(self, request: Request, detokenizer: Detokenizer) -> None:
        """Begin to read `request`."""
        self._request = request
        self._text = TextStream(detokenizer, request.parameters.stop)
        self._shown: list[str] = []
        self._tokens: list[Token] = []
        self._notices: list[str] = []
        self._finish_reason: str | None = None
        self._ended = False

    @property
    def generation(self) -> Generation:
        """The answer so far."""
        request = self._request
        return Generation(
            text="".join(self._shown),
            tokens=[token.id for token in self._tokens],
            finish_reason=self._finish_reason,
            prompt_tokens=request.prompt_tokens,
            completion_tokens=len(self._tokens),
            cached_tokens=request.cached_tokens,
            timings=request.timings,
            stopped_by=self._text.stopped_by,
            logprobs=None if request.parameters.logprobs is None else list(self._tokens),
            notices=list(self._notices),
        )

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to read."""
        return self._ended

    @property
    def ready(self) -> bool:
        """Whether the next piece, or the end, is there, and takes no step of the engine's."""
        return self._ended or self._request.ready

    def begin(self) -> None:
        """Take part in the engine's steps; reading the first piece does so, too."""
        self._request.begin()

    def complete(self) -> Generation:
        """Read to the end."""
        for _ in self:
            pass
        return self.generation

    def close(self) -> None:
        """Stop generating."""
        self._ended = True
        self._request.close()

    def __iter__(self) -> Self:
        """Return itself."""
        return self

    def __next__(self) -> Piece:
        """The next piece."""
        if self._ended:
            raise StopIteration
        event = next(self._request)
        match event:
            case Progress():
                return Piece(progress=event)
            case Notice():
                self._notices.append(event.text)
                return Piece(notice=event.text)
            case Token():
                self._tokens.append(event)
                return Piece(self._show(self._text.push(event.id)), token=event)
            case Finish():
                rest = self._show(self._text.finish())
                if not self._ended:
                    self._end(event.reason)
                return Piece(rest)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _show(self, text: str) -> str:
        self._shown.append(text)
        if self._text.stopped:
            self._end("stop")
        return text

    def _end(self, reason: str) -> None:
        self._finish_reason = reason
        self.close()
