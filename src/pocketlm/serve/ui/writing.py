"""The ways in which the page's answers come about: the model alone, from sources, with tools.

Each runs to its end, and says at any time what there is. None knows the page or the history.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pocketlm.chat.prompt import Message
from pocketlm.engine.answer import Generation
from pocketlm.engine.request import Progress
from pocketlm.serve.aside import Aside
from pocketlm.serve.assistant import Found
from pocketlm.serve.task import Work
from pocketlm.serve.turns import Turned
from pocketlm.serve.ui.shown import Sources


class Writing:
    """An answer that is being written."""

    #: Its Markdown, as the page shows it.
    text = ""
    #: What is done as long as there is no text: words, or how much of the prompt is read.
    doing: str | Progress | None = None

    async def run(self) -> None:
        """Write it. Raises what makes it fail."""
        raise NotImplementedError

    def stop(self) -> None:
        """Write no more; what there is stays as it is."""
        raise NotImplementedError

    @property
    def content(self) -> str:
        """All of it as Markdown, to be copied."""
        return self.text

    @property
    def messages(self) -> Sequence[Message]:
        """What a conversation gets; nothing where there is no answer yet."""
        raise NotImplementedError

    @property
    def generation(self) -> Generation | None:
        """What the model wrote last, where that is known."""
        return None

    @property
    def finish(self) -> str | None:
        """Why it ended; None where it was ended before."""
        return None if self.generation is None else self.generation.finish_reason

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The calls that were made."""
        return []

    @property
    def sources(self) -> dict[str, Any] | None:
        """What the answer rests on."""
        return None


class Alone(Writing):
    """By the model alone."""

    def __init__(self, work: Work) -> None:
        """Read `work`."""
        self._work = work
        self._tokens: list[int] = []

    async def run(self) -> None:
        """See `Writing`."""
        async for bit in self._work:
            self.doing = bit.progress or self.doing
            if bit.token is not None:
                self._tokens.append(bit.token.id)
            self.text += bit.text

    def stop(self) -> None:
        """See `Writing`."""
        self._work.stop()

    @property
    def messages(self) -> Sequence[Message]:
        """See `Writing`."""
        if not self._tokens:
            return []
        if self.generation.stopped_by is not None:  # the ids say more than the text
            return [{"role": "assistant", "content": self.text}]
        return [{"role": "assistant", "content": self.text, "tokens": list(self._tokens)}]

    @property
    def generation(self) -> Generation:
        """See `Writing`."""
        (generation,) = self._work.generations
        return generation


class Sourced(Writing):
    """From passages that a search found."""

    def __init__(self, aside: Aside[str, Found]) -> None:
        """Wait for what `aside` finds."""
        self._aside = aside
        self._found: Found | None = None
        self._sources: Sources | None = None

    async def run(self) -> None:
        """See `Writing`."""
        async for words in self._aside:
            self.doing = words
        self._found = self._aside.result
        self._sources = Sources.of(self._found)
        self.text = self._found.text

    def stop(self) -> None:
        """See `Writing`."""
        self._aside.stop()

    @property
    def content(self) -> str:
        """See `Writing`."""
        return "" if self._found is None else self._found.whole

    @property
    def messages(self) -> Sequence[Message]:
        """See `Writing`."""
        if self._sources is None:
            return []
        message: Message = {"role": "assistant", "content": self.content}
        message["sources"] = self.sources  # type: ignore[typeddict-unknown-key]
        return [message]

    @property
    def finish(self) -> str | None:
        """See `Writing`."""
        return None if self._found is None else "stop"

    @property
    def sources(self) -> dict[str, Any] | None:
        """See `Writing`."""
        return None if self._sources is None else self._sources.model_dump()


class Called(Writing):
    """With the server's tools."""

    def __init__(self, turned: Turned) -> None:
        """Read `turned`."""
        self._turned = turned
        self._over = False

    async def run(self) -> None:
        """See `Writing`."""
        async for bit in self._turned:
            self.doing = bit.progress or self.doing
            self.text = self._turned.text
        self._over = True

    def stop(self) -> None:
        """See `Writing`."""
        self._turned.stop()

    @property
    def messages(self) -> Sequence[Message]:
        """See `Writing`."""
        return self._turned.said if self.text else []

    @property
    def generation(self) -> Generation | None:
        """See `Writing`."""
        return self._turned.generations[-1] if self._turned.generations else None

    @property
    def finish(self) -> str | None:
        """See `Writing`."""
        return self._turned.finish_reason if self._over else None

    @property
    def calls(self) -> list[dict[str, Any]]:
        """See `Writing`."""
        return [made.as_json() for made in self._turned.made]
