"""The engine: requests for text run together, a step at a time.

A step is three lines: schedule, run, sample. It knows token ids only: no text, no file, no kernel.
Several threads may read their requests at once; whichever finds no step under way makes the next
one, for all of them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Ids
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from pocketlm.engine.adapters import NONE, Adapter
from pocketlm.engine.blocks import BlockPool
from pocketlm.engine.interrupts import deferred
from pocketlm.engine.prefixes import PrefixCache
from pocketlm.engine.request import Event, Request
from pocketlm.engine.runtime import Adapters, Runtime, Segment
from pocketlm.engine.sampling import Sampler, SamplingParameters
from pocketlm.engine.sequence import Sequence
from pocketlm.engine.speculation import MOST, Speculation
from pocketlm.engine.tree import Node, trees
from pocketlm.errors import ContextError, Error, ParameterError

if TYPE_CHECKING:
    from pocketlm.engine.constraint import Matcher

#: Most tokens of one step: a long prompt is processed in chunks of this size.
CHUNK = 256
#: Seconds that parts of prompts may take in a step while other texts wait for their next token, and
#: how many tokens they are at least: fewer would take hardly less time.
STALL, LEAST_CHUNK = 0.25, 16


@dataclass(frozen=True)
class Part:
    """One request's part of a step: `tokens` from position `start` of its sequence on.

    `draft` is a guess at what comes after them.
    """

    request: Request
    sequence: Sequence
    start: int
    tokens: list[int]
    draft: list[int]

    @property
    def last(self) -> bool:
        """Whether no known tokens come after these, so that the next one can be chosen."""
        return self.start + len(self.tokens) == len(self.request.tokens)

    @property
    def rows(self) -> int:
        """How many rows of logits it takes to choose what comes next."""
        return len(self.draft) + 1 if self.last else 0

    @property
    def segment(self) -> Segment:
        """As the runtime takes it."""
        table = np.array(self.sequence.table, dtype=np.int32)
        return len(self.tokens) + len(self.draft), self.start, self.request.rope_set, table


@dataclass(frozen=True)
class Rows:
    """Logits after the tokens at positions `first` on, the same in all of `texts` (their indices).

    float32 [n, vocabulary]; see `Engine.branching`.
    """

    texts: list[int]
    first: int
    logits: npt.NDArray[np.float32]


class Engine:
    """Generates token ids. `context` is the most positions of one sequence.

    `banned` ids are never generated (padding of the vocabulary). `prefixes` keeps blocks on disk.
    With `speculate`, steps try drafts where that is faster; it changes no text. `adapter` is added
    to the model for all texts that name no other.
    """

    def __init__(
        self,
        runtime: Runtime,
        context: int,
        banned: Ids[int] = (),
        *,
        prefixes: PrefixCache | None = None,
        speculate: bool = True,
        adapter: Adapter = NONE,
    ) -> None:
        """Make an engine with nothing to do."""
        self.runtime = runtime
        self.context = context
        self.adapter = adapter
        self.blocks = BlockPool(
            runtime.cache,
            budget=runtime.cache_budget(context),
            window=runtime.program.window,
            prefixes=prefixes,
        )
        self._prefixes = prefixes
        self._vocab_size = runtime.program.vocab_size
        self.speculation = Speculation() if speculate else None
        self._banned = np.array(sorted(banned), dtype=np.intp)
        self._requests: WeakKeyDictionary[Request, None] = WeakKeyDictionary()
        self._left: list[Request] = []
        self._turn = threading.Condition()
        self._running = False
        self._prompt_token_s = 0.0  # what a token of a prompt took last

    def generate(
        self,
        prompt: Ids[int],
        parameters: SamplingParameters | None = None,
        stop_ids: frozenset[int] = frozenset(),
        matcher: Matcher | None = None,
        *,
        private: bool = False,
        adapter: Adapter | None = None,
    ) -> Request:
        """Continue the token ids of `prompt` until one of `stop_ids`, max_tokens or a full context.

        With a `matcher`, only what it allows, until it is finished. Of a `private` text nothing is
        kept on disk. `adapter` is added to the model for this text; None is the engine's own.
        Nothing runs before the first event is asked for. Raises ParameterError for ids outside the
        vocabulary and ContextError for a prompt that leaves no room for an answer.
        """
        parameters = parameters or SamplingParameters()
        self._check(prompt)
        if len(prompt) >= self.context:
            raise ContextError(
                f"the prompt has {len(prompt):,} tokens and the context window {self.context:,}: "
                "there is no room for an answer; shorten the prompt or load with a larger context"
            )
        room = self.context - len(prompt)
        limit = len(prompt) + min(room, parameters.max_tokens or room)
        sampler = Sampler(parameters, prompt, self._banned, self._vocab_size)
        return Request(
            self,
            prompt,
            parameters,
            stop_ids,
            sampler,
            limit,
            matcher,
            private=private,
            adapter=adapter or self.adapter,
        )

    def logits(
        self, tokens: Ids[int], chunk: int | None = None, adapter: Adapter | None = None
    ) -> npt.NDArray[np.float32]:
        """Logits after each token: float32 [len(tokens), vocabulary].

        All positions use the LongRoPE factors of the whole length. `chunk` tokens are processed at
        a time (None: all at once). No cached prefix is used.
        """
        size = max(len(tokens), 1) if chunk is None else chunk
        if not isinstance(size, int) or size < 1:
            raise ParameterError(f"chunk is {chunk!r}; it must be a whole number of at least 1")
        return self._read(tokens, size, self.runtime.run, adapter or self.adapter)

    def hidden(self, tokens: Ids[int], adapter: Adapter | None = None) -> npt.NDArray[np.float32]:
        """What the output head reads after each token: float32 [len(tokens), hidden size]."""
        return self._read(tokens, CHUNK, self.runtime.run_hidden, adapter or self.adapter)

    def _read(
        self,
        tokens: Ids[int],
        size: int,
        run: Callable[[Ids[int], Ids[Segment], Ids[int], Adapters], npt.NDArray[np.float32]],
        adapter: Adapter,
    ) -> npt.NDArray[np.float32]:
        """What `run` gives for each token, `size` of them at a time."""
        self._check(tokens)
        if len(tokens) > self.context:
            raise ContextError(
                f"there are {len(tokens):,} tokens; the context window has {self.context:,}"
            )
        rope_set = self.runtime.program.rope.set_for(len(tokens))
        rows = []
        sequence = Sequence(self.blocks)
        try:
            for start in range(0, len(tokens), size):
                part = list(tokens[start : start + size])
                with self._alone():
                    sequence.extend(part)
                    table = np.array(sequence.table, dtype=np.int32)
                    segment = (len(part), start, rope_set, table)
                    rows.append(run(part, [segment], range(len(part)), [adapter.native]))
                    sequence.commit()
        finally:
            self._free([sequence])
        return rows[0] if len(rows) == 1 else np.concatenate(rows)

    def continued(
        self,
        prefix: Ids[int],
        continuations: Ids[Ids[int]],
        adapter: Adapter | None = None,
    ) -> list[npt.NDArray[np.float32]]:
        """Logits for every place of texts that begin alike: what scores candidates.

        For each continuation float32 [its length + 1, vocabulary]: row i says what comes after
        `prefix` and its first i tokens. See `branching`.
        """
        self._check(prefix)
        texts = [[*prefix, *tokens] for tokens in continuations]
        found: list[list[npt.NDArray[np.float32]]] = [[] for _ in texts]
        for rows in self.branching(texts, [len(prefix) - 1] * len(texts), adapter):
            for index in rows.texts:
                found[index].append(rows.logits)
        return [np.concatenate(parts) for parts in found]

    def branching(
        self, texts: Ids[Ids[int]], firsts: Ids[int], adapter: Adapter | None = None
    ) -> Iterator[Rows]:
        """Logits of texts, token ids each, of which several may begin alike.

        Of text i they are wanted at the positions from `firsts[i]` on, and come in their order.
        What texts share is processed once, or found in the cache, and texts share steps. Raises
        ParameterError and ContextError as `generate` does.
        """
        for text, first in zip(texts, firsts, strict=True):
            self._check(text)
            if not 0 <= first < len(text):
                raise ParameterError(f"there is no position {first} in {len(text)} tokens")
        length = max(map(len, texts), default=0)
        if length > self.context:
            raise ContextError(
                f"there are {length:,} tokens; the context window has {self.context:,}"
            )
        sets = [self.runtime.program.rope.set_for(len(text)) for text in texts]
        for rope_set in dict.fromkeys(sets):
            among = [index for index, its in enumerate(sets) if its == rope_set]
            yield from self._grow(trees(texts, among), firsts, rope_set, adapter or self.adapter)

    def _grow(
        self, roots: Ids[Node], firsts: Ids[int], rope_set: int, adapter: Adapter
    ) -> Iterator[Rows]:
        """See `branching`: texts of one set of rotations. Nodes of one depth share steps."""
        waiting: deque[tuple[Sequence, Node]] = deque()
        try:
            for node in roots:
                first = min(firsts[index] for index in node.texts)
                with self._alone():
                    known = node.tokens[: min(first, len(node.tokens) - 1)]
                    key = adapter.key(rope_set)
                    waiting.append((Sequence.begin(self.blocks, known, key=key), node))
            while waiting:
                parts: list[tuple[Sequence, Node, Ids[int]]] = []
                room = CHUNK
                for sequence, node in waiting:
                    if room:
                        tokens = node.tokens[len(sequence) - node.start :][:room]
                        parts.append((sequence, node, tokens))
                        room -= len(tokens)
                yield from self._branch(parts, firsts, rope_set, adapter)
                with self._alone():
                    for sequence, node, _ in parts:
                        if len(sequence) == node.start + len(node.tokens):
                            waiting += [(sequence.fork(), child) for child in node.children]
                            waiting.popleft()
                            sequence.free()
        finally:
            self._free([sequence for sequence, _ in waiting])

    def _branch(
        self,
        parts: Ids[tuple[Sequence, Node, Ids[int]]],
        firsts: Ids[int],
        rope_set: int,
        adapter: Adapter,
    ) -> Iterator[Rows]:
        """One step: tokens of nodes, each at the end of its sequence; then the rows wanted."""
        tokens: list[int] = []
        segments: list[Segment] = []
        picks: list[int] = []
        readers: list[dict[int, list[int]]] = []
        with self._alone():
            for sequence, node, its in parts:
                start = len(sequence)
                sequence.extend(its)
                table = np.array(sequence.table, dtype=np.int32)
                segments.append((len(its), start, rope_set, table))
                tokens += its
                readers.append(node.readers(firsts, start, len(sequence)))
                count = len(sequence) - min(readers[-1], default=len(sequence))
                picks += range(len(tokens) - count, len(tokens))
            logits = self.runtime.run(tokens, segments, picks, [adapter.native] * len(segments))
            for sequence, _, _ in parts:
                sequence.commit()
        row = 0
        for (sequence, _, _), of_part in zip(parts, readers, strict=True):
            least = min(of_part, default=len(sequence))
            for first, texts in of_part.items():
                yield Rows(texts, first, logits[row + first - least : row + len(sequence) - least])
            row += len(sequence) - least

    def _free(self, sequences: Ids[Sequence]) -> None:
        with self._alone():
            for sequence in sequences:
                sequence.free()

    def step(self) -> None:
        """Take every request one step further."""
        began = time.perf_counter()
        try:
            parts = self._schedule()
            logits = self._run(parts)
            self._sample(parts, logits, began)
        except BaseException:
            self._take_back()
            raise

    def advance(self) -> None:
        """Make one step, for a caller that reads what is there in between (see `Request.ready`)."""
        with self._alone() as mine:
            assert mine
            self.step()

    def close(self) -> None:
        """End all requests, give the cache back, and wait until what goes to disk is there."""
        with self._turn:
            requests = list(self._requests)
        for request in requests:
            request.close()
        with self._alone():
            self.blocks.clear()
        if self._prefixes is not None:
            self._prefixes.close()

    def next_event(self, request: Request) -> Event:
        """What comes next for `request`; makes steps, or waits for one under way, until it is."""
        while not request.events:
            with self._alone(unless=lambda: bool(request.events)) as mine:
                if mine:
                    self.step()
        event = request.events.popleft()
        if isinstance(event, Error):
            raise event
        return event

    def join(self, request: Request) -> None:
        """Let `request` take part in steps."""
        with self._turn:
            self._requests[request] = None

    def leave(self, request: Request) -> None:
        """Let go of `request`: now, or after the step under way."""
        with deferred(), self._turn:
            self._left.append(request)
            if not self._running:
                self._sweep()

    def _schedule(self) -> list[Part]:
        """Which tokens run next: one of each text that is being written, then parts of prompts.

        Prompts share what room there is alike, and what short ones leave over goes to long ones. A
        request whose reader has not taken what is there waits.
        """
        parts: list[Part] = []
        ready = [r for r in list(self._requests) if not r.events]
        ready.sort(key=lambda request: len(request.pending))
        room = self._room(ready)
        for place, (request, draft) in enumerate(zip(ready, self._drafts(ready), strict=True)):
            if room <= 0:
                break
            try:
                sequence = request.prepare(self.blocks, self.runtime.program.rope)
                share = max(room // (len(ready) - place), 1)
                start, tokens = len(sequence), request.pending[:share]
                if len(tokens) > 1:  # the text is processed again
                    draft = []
                sequence.extend(tokens, len(draft))
            except Error as error:
                request.fail(error)
                continue
            parts.append(Part(request, sequence, start, tokens, draft))
            room -= len(tokens)
        return parts

    def _room(self, ready: Ids[Request]) -> int:
        """How many tokens a step may have: fewer where texts are being written beside prompts."""
        writing = sum(len(request.pending) == 1 for request in ready)
        if writing in (0, len(ready)) or not self._prompt_token_s:
            return CHUNK
        return min(CHUNK, writing + max(LEAST_CHUNK, int(STALL / self._prompt_token_s)))

    def _drafts(self, requests: Ids[Request]) -> list[list[int]]:
        """For each request a guess at its next tokens, or none. Prompts leave no time for any."""
        if self.speculation is None or any(len(request.pending) > 1 for request in requests):
            return [[] for _ in requests]
        rope = self.runtime.program.rope
        proposals = [request.propose(MOST, rope) for request in requests]
        return self.speculation.drafts(proposals)

    def _run(self, parts: Ids[Part]) -> npt.NDArray[np.float32]:
        """One native call for all parts: float32 [m, vocabulary], the rows of each part."""
        tokens: list[int] = []
        picks: list[int] = []
        for part in parts:
            tokens += part.tokens
            tokens += part.draft
            picks += range(len(tokens) - part.rows, len(tokens))
        began = time.perf_counter()
        adapters = [part.request.adapter.native for part in parts]
        logits = self.runtime.run(tokens, [part.segment for part in parts], picks, adapters)
        seconds = time.perf_counter() - began
        if self.speculation is not None:
            self.speculation.measured(len(tokens), len(picks), seconds)
        if len(tokens) > LEAST_CHUNK > len(picks):
            self._prompt_token_s = seconds / len(tokens)
        for part in parts:
            part.sequence.commit()
        return logits

    def _sample(self, parts: Ids[Part], logits: npt.NDArray[np.float32], began: float) -> None:
        """Choose the next tokens of each request whose known tokens have all been processed."""
        seconds = time.perf_counter() - began
        row = 0
        for part in parts:
            request, rows = part.request, part.rows
            request.processed(len(part.sequence), seconds)
            if rows:
                try:
                    request.accept(logits[row : row + rows], part.draft)
                except Error as error:
                    request.fail(error)
            row += rows

    def _take_back(self) -> None:
        """Undo a step that did not come to its end: it can be made again."""
        for request in list(self._requests):
            if request.sequence is not None:
                done = min(request.sequence.committed, len(request.tokens) - 1)
                request.sequence.rewind(done)

    def _sweep(self) -> None:
        while self._left:
            request = self._left.pop()
            self._requests.pop(request, None)
            request.release()

    @contextmanager
    def _alone(self, unless: Callable[[], bool] = lambda: False) -> Iterator[bool]:
        """Wait for the step under way; then have the runtime alone, unless that holds (False)."""
        mine = False
        with deferred():
            try:
                with self._turn:
                    self._turn.wait_for(lambda: not self._running or unless())
                    if not unless():
                        self._running = mine = True
                yield mine
            finally:
                if mine:
                    with self._turn:
                        self._running = False
                        self._sweep()
                        self._turn.notify_all()

    def _check(self, tokens: Ids[int]) -> None:
        if len(tokens) == 0:
            raise ParameterError("there are no tokens: give at least one")
        if not all(isinstance(token, int | np.integer) for token in tokens):
            raise ParameterError("token ids must be whole numbers")
        for token in (min(tokens), max(tokens)):
            if not 0 <= token < self._vocab_size:
                raise ParameterError(
                    f"token id {token} is not in the vocabulary (0 to {self._vocab_size - 1})"
                )
