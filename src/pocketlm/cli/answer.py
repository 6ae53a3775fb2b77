"""Loading a model and showing an answer while it is written.

Text goes to standard output. Notices go to standard error, and progress too, if that is a terminal.
"""

import dataclasses
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pocketlm.cli.output import Download, Status, Writer

if TYPE_CHECKING:
    from pocketlm.api import Generation, Model, Stream


@dataclass(frozen=True)
class Answer:
    """What the model said; `interrupted` when Ctrl-C ended it."""

    generation: "Generation"
    interrupted: bool

    def as_json(self) -> dict[str, Any]:
        """The object that `run --json` prints."""
        said = self.generation
        return {
            "text": said.text,
            "tokens": said.tokens,
            "prompt_tokens": said.prompt_tokens,
            "completion_tokens": said.completion_tokens,
            "finish_reason": "interrupted" if self.interrupted else said.finish_reason,
            "timings": dataclasses.asdict(said.timings),
        }


@contextmanager
def loaded(name: str | None, **options: Any) -> Iterator["Model"]:  # noqa: ANN401
    """The model `name` (None: the default one), brought if it must be, loaded, and closed after."""
    from pocketlm.store import DEFAULT_MODEL, Store

    name = name or DEFAULT_MODEL
    with Download() as progress:
        path = Store().resolve(name, progress=progress)
    with Status() as status:
        status.show(f"loading {name} …")
        from pocketlm.api import load

        model = load(path, **options)
    with model:
        yield model


def say(
    stream: "Stream", *, quiet: bool = False, each: Callable[[], None] = lambda: None
) -> Answer:
    """Show an answer as it comes, unless `quiet`; `each` is called after every piece of it.

    Ctrl-C ends the answer; what was said so far is in it.
    """
    interrupted = False
    with stream, Status() as status:
        writer = None if quiet else Writer(sys.stdout)
        try:
            for piece in stream:
                if piece.notice is not None:
                    status.note(piece.notice)
                if piece.progress is not None and piece.progress.done < piece.progress.total:
                    done, total = piece.progress.done, piece.progress.total
                    status.show(f"reading the prompt: {done:,} of {total:,} tokens")
                if piece.text:
                    status.clear()
                    if writer is not None:
                        writer.write(piece.text)
                    each()
        except KeyboardInterrupt:
            interrupted = True
        status.clear()
        if writer is not None:
            writer.finish()
    return Answer(stream.generation, interrupted)
