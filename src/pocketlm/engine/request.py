"""One text that is being generated: what is known of it, and what its reader gets.

It knows its token ids, how they are chosen and when to end. It does not know what else runs, how
a step is made, or what the ids spell.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence as Ids
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from pocketlm.engine.adapters import NONE, Adapter
from pocketlm.engine.sampling import Sampler, SamplingParameters, Token
from pocketlm.engine.sequence import Sequence
from pocketlm.engine.speculation import FORCED, Drafter
from pocketlm.errors import Error

if TYPE_CHECKING:
    from pocketlm.engine.blocks import BlockPool
    from pocketlm.engine.constraint import Matcher
    from pocketlm.engine.engine import Engine
    from pocketlm.models.program import Rope


@dataclass(frozen=True)
class Progress:
    """`done` of the prompt's `total` tokens are processed."""

    done: int
    total: int


@dataclass(frozen=True)
class Notice:
    """Something that the user should be told, in one line."""

    text: str


@dataclass(frozen=True)
class Finish:
    """The end, and why: "stop" or "length".

    "stop" is a stop token, or a text that its constraint lets be no longer; "length" is max_tokens,
    or a full context.
    """

    reason: str


Event = Token | Progress | Notice | Finish


@dataclass
class Timings:
    """Seconds. Time that the reader of a stream took between two tokens is not counted."""

    #: Opening the model.
    load_s: float = 0.0
    #: Processing the prompt, what the cache held excluded.
    prompt_s: float = 0.0
    #: From the call to the first token.
    first_token_s: float = 0.0
    #: From the first token to the last.
    generation_s: float = 0.0


class Request:
    """An iterator of events. Closing it, early or late, gives back what it holds.

    `tokens` are the prompt's ids and then the generated ones (without the stop token).
    """

    def __init__(
        self,
        engine: Engine,
        prompt: Ids[int],
        parameters: SamplingParameters,
        stop_ids: frozenset[int],
        sampler: Sampler,
        limit: int,
        matcher: Matcher | None = None,
        *,
        private: bool = False,
        adapter: Adapter = NONE,
    ) -> None:
        """See `Engine.generate`; `limit` is how many tokens there may be in all."""
        self.tokens = list(prompt)
        self.parameters = parameters
        self.prompt_tokens = len(prompt)
        self.cached_tokens = 0
        self.finish_reason: str | None = None
        self.timings = Timings()
        self.events: deque[Event | Error] = deque()
        self.sequence: Sequence | None = None
        self.rope_set = 0
        self.drafter = Drafter(self.tokens)
        self._engine: Engine | None = engine
        self._stop_ids = stop_ids
        self._sampler = sampler
        self._limit = limit
        self._matcher = matcher
        self._private = private
        self.adapter = adapter
        self._begun: float | None = None

    @property
    def generated(self) -> list[int]:
        """The generated ids."""
        return self.tokens[self.prompt_tokens :]

    @property
    def pending(self) -> list[int]:
        """The ids that are still to be processed."""
        return self.tokens[len(self.sequence) if self.sequence is not None else 0 :]

    def propose(self, most: int, rope: Rope) -> tuple[list[int], list[float]]:
        """Up to `most` tokens that may come next, and how probable it is that all up to each do."""
        most = min(most, self.draft_room(rope))
        forced = self._matcher.forced()[: max(most, 0)] if self._matcher is not None else []
        if forced:
            return forced, [FORCED] * len(forced)
        return self.drafter.propose(most)

    def draft_room(self, rope: Rope) -> int:
        """How many drafted tokens may be processed after the known ones.

        One place is for the token that is chosen after them. Beyond LongRoPE's border, other
        factors would be used.
        """
        end = self._limit - 1
        if rope.original_context is not None and len(self.tokens) <= rope.original_context:
            end = min(end, rope.original_context)
        return end - len(self.tokens)

    def prepare(self, blocks: BlockPool, rope: Rope) -> Sequence:
        """Return the sequence to extend: a new one at the start, and where the factor set changes.

        LongRoPE has one set of factors for texts up to a length and one for longer ones; keys
        turned by one are of no use to the other (nor are those computed from them, layers above).
        """
        rope_set = rope.set_for(len(self.tokens))
        if self.sequence is not None and rope_set != self.rope_set:
            self.release()
            self.events.append(
                Notice(
                    f"the text has passed {rope.original_context:,} tokens: it is processed again, "
                    "with the model's factors for long texts"
                )
            )
        if self.sequence is None:
            self.rope_set = rope_set
            key = self.adapter.key(rope_set)
            self.sequence = Sequence.begin(blocks, self.tokens[:-1], key=key)
            if not self.generated:
                self.cached_tokens = len(self.sequence)
        return self.sequence

    def processed(self, count: int, seconds: float) -> None:
        """Note that a step took `seconds`, after which `count` tokens are processed."""
        if len(self.tokens) > self.prompt_tokens:
            self.timings.generation_s += seconds
        else:
            self.timings.prompt_s += seconds
        if count <= self.prompt_tokens or count < len(self.tokens):
            self.events.append(Progress(count, len(self.tokens)))

    def accept(self, logits: npt.NDArray[np.float32], draft: Ids[int] = ()) -> None:
        """Choose the next tokens: one by each row, as long as the one before was drafted.

        Row 0 comes after the known tokens, each other one after a token of `draft` too.
        """
        reason = None
        kept = 0
        for row, drafted in zip(logits, (*draft, None), strict=True):
            token = self._sampler.choose(row, self._matcher)
            if len(self.tokens) == self.prompt_tokens and self._begun is not None:
                self.timings.first_token_s = time.perf_counter() - self._begun
            if token.id in self._stop_ids:
                reason = "stop"
                break
            self.tokens.append(token.id)
            self.events.append(token)
            if self._matcher is not None:
                self._matcher.advance(token.id)
            if self._matcher is not None and self._matcher.finished:
                reason = "stop"
            elif len(self.tokens) >= self._limit:
                reason = "length"
            if reason or token.id != drafted:
                break
            kept += 1
        if kept and self.sequence is not None:
            self.sequence.extend(draft[:kept])
            self.sequence.commit()
        if reason:
            self._finish(reason)

    def fail(self, error: Error) -> None:
        """End with an error, which the reader gets."""
        self.events.append(error)
        self.finish_reason = "error"
        self.release()

    def release(self) -> None:
        """Let go of the cache."""
        if self.sequence is not None:
            if self.finish_reason != "error" and not self._private:
                self.sequence.save()
            self.sequence.free()
            self.sequence = None

    def close(self) -> None:
        """Stop here. What was generated so far stays in `tokens`."""
        engine, self._engine = self._engine, None  # who keeps a request keeps no model
        if engine is not None:
            engine.leave(self)

    @property
    def ready(self) -> bool:
        """Whether the next event is there, and takes no step."""
        return bool(self.events) or self._engine is None

    def begin(self) -> None:
        """Take part in steps; reading the first event does so, too."""
        if self._begun is None and self._engine is not None:
            self._begun = time.perf_counter()
            self._engine.join(self)

    def __iter__(self) -> Self:
        """Return itself."""
        return self

    def __next__(self) -> Event:
        """The next event; computes as much as it takes. Raises pocketlm.Error where that fails."""
        engine = self._engine
        if engine is None:
            raise StopIteration
        self.begin()
        try:
            event = engine.next_event(self)
        except BaseException:
            self.close()
            raise
        if isinstance(event, Finish):
            self.close()
        return event

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

    def __del__(self) -> None:
        """Close: a reader may just let go of the iterator."""
        if hasattr(self, "_engine"):
            self.close()

    def _finish(self, reason: str) -> None:
        self.finish_reason = reason
        self.events.append(Finish(reason))
        self.release()
