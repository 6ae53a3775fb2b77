"""One thread that makes the steps of one model, and what it hands to the event loop.

It knows streams of answers: which wait, which run, which are over. It does not know HTTP, nor what
the answers are for.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pocketlm.engine.answer import Generation, Piece, Stream
from pocketlm.engine.engine import Engine
from pocketlm.serve.errors import OverloadedError

#: Models take turns: two at once would only fight for the processor.
_STEPPING = threading.Lock()


class _Part(NamedTuple):
    """Pieces of one of some answers; with an `end`, the last ones, and why there are no more."""

    choice: int
    pieces: list[Piece]
    end: Exception | None


class Answers:
    """Answers to one prompt on their way, for one reader in one event loop.

    Iterating gives (which answer, piece) as they come. `generations` has what there is of each,
    whole when the iteration is over. Who stops before that calls `cancel`.
    """

    def __init__(self, worker: Worker, streams: Sequence[Stream]) -> None:
        """See `Worker.submit`."""
        self.streams = streams
        self.cancelled = False
        #: The prompt is processed: other answers to it find it in the cache.
        self.prompt_done = False
        self._worker = worker
        self._arrived: asyncio.Queue[_Part] = asyncio.Queue()

    @property
    def generations(self) -> list[Generation]:
        """The answers as far as they are written."""
        return [stream.generation for stream in self.streams]

    def put(self, part: _Part) -> None:
        """Hand a part of an answer to the reader."""
        self._arrived.put_nowait(part)

    def cancel(self) -> None:
        """Stop: at once what waits, else after the step under way."""
        self._worker.cancel(self)

    async def __aiter__(self) -> AsyncIterator[tuple[int, Piece]]:
        """What comes, until all are at their end. Raises what made one fail."""
        left = len(self.streams)
        while left:
            part = await self._arrived.get()
            for piece in part.pieces:
                yield part.choice, piece
            if part.end is not None:
                if not isinstance(part.end, StopIteration):
                    raise part.end
                left -= 1


@dataclass(eq=False)
class _Ticket:
    """One answer in the worker."""

    answers: Answers
    index: int
    stream: Stream


class Worker:
    """Runs up to `parallel` answers of an engine together; up to `queue` more wait their turn."""

    def __init__(self, engine: Engine, parallel: int, queue: int) -> None:
        """Start the thread, for readers in the event loop that runs here."""
        self._loop = asyncio.get_running_loop()
        self.parallel = parallel
        self.queue = queue
        self._engine = engine
        self._changed = threading.Condition()
        self._waiting: list[_Ticket] = []
        self._running: list[_Ticket] = []
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="pocketlm engine", daemon=True)
        self._thread.start()

    @property
    def running(self) -> int:
        """Answers that are being written."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Answers that wait for others to end."""
        return len(self._waiting)

    def submit(self, streams: Sequence[Stream]) -> Answers:
        """Let answers to one prompt be written.

        Raises OverloadedError when too many wait already, or when the worker is closed.
        """
        answers = Answers(self, streams)
        with self._changed:
            if self._closing:
                raise OverloadedError("the server is shutting down", status=503)
            waiting = len(self._waiting) + len(self._running) - self.parallel
            if waiting >= self.queue:
                raise OverloadedError(f"{len(self._waiting)} answers wait already; try again soon")
            self._waiting += [_Ticket(answers, i, stream) for i, stream in enumerate(streams)]
            self._changed.notify()
        return answers

    def cancel(self, answers: Answers) -> None:
        """See `Answers.cancel`."""
        with self._changed:
            answers.cancelled = True
            self._changed.notify()

    def close(self) -> None:
        """End what there is, and wait for the step under way."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while self._admit():
            self._deliver([(ticket, self._read(ticket)) for ticket in self._running])
            self._running = [t for t in self._running if not t.stream.ended]
            if self._running:
                self._step()
        self._end([*self._running, *self._waiting], OverloadedError("shutting down", status=503))

    def _admit(self) -> bool:
        """Wait for work; let go of what was cancelled, begin what has its turn. False: the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._running or self._waiting or self._closing)
            tickets = [*self._running, *self._waiting]
            self._running = [t for t in self._running if not t.answers.cancelled]
            self._waiting = [t for t in self._waiting if not t.answers.cancelled]
            for ticket in list(self._waiting):
                if len(self._running) < self.parallel and (
                    ticket.index == 0 or ticket.answers.prompt_done
                ):
                    self._waiting.remove(ticket)
                    self._running.append(ticket)
            closing = self._closing
        for ticket in tickets:
            if ticket.answers.cancelled:
                ticket.stream.close()
        return not closing

    @staticmethod
    def _read(ticket: _Ticket) -> _Part:
        """What is there of an answer."""
        stream, answers = ticket.stream, ticket.answers
        pieces: list[Piece] = []
        end: Exception | None = None
        stream.begin()
        try:
            while stream.ready:
                pieces.append(next(stream))
        except Exception as error:  # StopIteration, or what went wrong with this answer alone
            stream.close()
            end = error
        if end is not None or any(piece.token for piece in pieces):
            answers.prompt_done = True
        return _Part(ticket.index, pieces, end)

    def _deliver(self, parts: list[tuple[_Ticket, _Part]]) -> None:
        """Hand parts to their readers, all at once: the event loop is woken once a step."""

        def put() -> None:
            for ticket, part in parts:
                if part.pieces or part.end is not None:
                    ticket.answers.put(part)

        self._loop.call_soon_threadsafe(put)

    def _step(self) -> None:
        try:
            with _STEPPING:
                self._engine.advance()
        except Exception as error:  # of the whole step: nobody's answer alone is to blame
            self._end(self._running, error)
            self._running = []

    def _end(self, tickets: Sequence[_Ticket], error: Exception) -> None:
        for ticket in tickets:
            ticket.stream.close()
        self._deliver([(ticket, _Part(ticket.index, [], error)) for ticket in tickets])
