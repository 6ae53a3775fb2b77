"""The three ways in which a probe is asked, and what comes of each.

`plain` is the model alone, the most likely token each time. `constrained` forces the form of the
answer. `tools` is what our assistant does: the loop that calls tools, or, where a program is
wanted, the one that writes, runs and repairs it. So the difference is what the system adds to the
model. It knows models and the assistant; it does not know what an answer is worth.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, cast

from pocketlm.api import Generation, Model, Piece, Stream
from pocketlm.assistant import coder, turn
from pocketlm.assistant.drafting import proposing
from pocketlm.chat.prompt import Message
from pocketlm.chat.tools import Call
from pocketlm.evaluate.probes.probe import Mode, Probe, Variant
from pocketlm.evaluate.several import StoppedError

MODES: tuple[Mode, ...] = ("plain", "constrained", "tools")
#: Rounds of writing and repairing a program, and of calling tools.
ROUNDS = 3
#: Seconds after which an answer is cut short, in any mode: nothing waits for ever.
MOST_SECONDS = 600.0

#: Characters that must have come before for an answer to count as going round in circles.
_LOOKED_AT = 400
_BOUNDS = turn.Bounds(rounds=ROUNDS, calls=4, result=1500)


@dataclass
class Answer:
    """What came of asking: all that was said, what is judged of it, and the steps between.

    `asked` are the messages and `options` what went with them; `cut` says why an answer was cut
    short ("length", "time" or "repetition"), or is None.
    """

    asked: list[Message]
    options: dict[str, Any]
    said: str = ""
    judged: str = ""
    steps: list[str] = field(default_factory=list)
    tokens: int = 0
    cut: str | None = None


def ask(model: Model, probe: Probe, variant: Variant, mode: Mode, stop: threading.Event) -> Answer:
    """Ask a variant in a mode. Raises StoppedError once `stop` is set, Error of the model's."""
    watch = _Watch(stop)
    match mode:
        case "plain":
            return _chat(model, probe, list(variant.messages), {}, watch)
        case "constrained":
            form = variant.constrained
            *before, last = variant.messages
            messages: list[Message] = [
                *before,
                {**last, "content": f"{last['content']}\n\n{form.ask}".strip()},
            ]
            held: dict[str, Any] = {form.kind: form.value}
            answer = _chat(model, probe, messages, held, watch)
            answer.judged = form.judged(answer.said)
            return answer
        case "tools" if probe.check is not None:
            return _program(model, probe, variant, probe.check, watch)
        case "tools":
            return _turn(model, probe, variant, watch)


class _Watch:
    """Ends streams that take too long or go round in circles; raises StoppedError after a stop.

    The most likely token each time: a text that has said the same four times says it for ever.
    """

    def __init__(self, stop: threading.Event) -> None:
        self.cut: str | None = None
        self._stop = stop
        self._end = time.monotonic() + MOST_SECONDS

    def over(self, stream: Stream) -> Stream:
        """The same stream, watched."""
        # It does all that is done with a stream here: enter, iterate, ask for the generation.
        return cast(Stream, _Watched(stream, self))

    def asking(self, ask: Callable[..., Stream]) -> Callable[..., Stream]:
        """What begins an answer, so that it is watched."""
        return lambda *what: self.over(ask(*what))

    def goes_on(self, said: str) -> bool:
        """Whether a stream that has said this may go on."""
        if self._stop.is_set():
            raise StoppedError
        if time.monotonic() > self._end:
            self.cut = "time"
        elif _repeats(said):
            self.cut = "repetition"
        else:
            return True
        return False


class _Watched:
    def __init__(self, stream: Stream, watch: _Watch) -> None:
        self._stream, self._watch = stream, watch

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def __iter__(self) -> Iterator[Piece]:
        said = ""
        for piece in self._stream:
            said += piece.text
            yield piece
            if not self._watch.goes_on(said):
                return

    @property
    def generation(self) -> Generation:
        return self._stream.generation


def _repeats(said: str) -> bool:
    """Whether the end of a text is one thing, four times or more."""
    end = said[-2 * _LOOKED_AT :]
    if len(end) < 2 * _LOOKED_AT:
        return False
    # Where its second half stood last before tells how soon all comes again.
    before = end.rfind(end[_LOOKED_AT:], 0, len(end) - 1)
    return before >= _LOOKED_AT - _LOOKED_AT // 3


def _chat(
    model: Model, probe: Probe, messages: list[Message], form: Mapping[str, Any], watch: _Watch
) -> Answer:
    options = {"max_tokens": probe.most_tokens}
    answer = Answer(messages, {**options, **form})
    with watch.over(model.chat_stream(messages, **options, **form)) as stream:
        for _ in stream:
            pass
        generation = stream.generation
    answer.said = answer.judged = generation.text
    answer.tokens = generation.completion_tokens
    answer.cut = watch.cut or _length(generation)
    return answer


def _program(
    model: Model, probe: Probe, variant: Variant, check: coder.Check, watch: _Watch
) -> Answer:
    options = {"max_tokens": probe.most_tokens}
    answer = Answer(list(variant.messages), {**options, "rounds": ROUNDS})
    task = str(variant.messages[-1]["content"])
    ask = watch.asking(coder.asking(model, options))
    for event in coder.code(task, ask, check, rounds=ROUNDS):
        match event:
            case coder.Wrote():
                answer.said += event.piece.text
                answer.tokens += event.piece.token is not None
            case coder.Checked():
                verdict = "passed its check" if event.verdict.passed else event.verdict.said
                answer.steps.append(f"round {event.round}: {verdict}")
                if event.program is not None:
                    answer.judged = f"```python\n{event.program}\n```"
                answer.said += "\n\n"
            case _:
                pass
    answer.cut = watch.cut
    return answer


def _turn(model: Model, probe: Probe, variant: Variant, watch: _Watch) -> Answer:
    options = {"max_tokens": probe.most_tokens}
    skills = probe.skills(variant)
    names = [skill.tool.name for skill in skills]
    answer = Answer(list(variant.messages), {**options, "tools": names})
    calls: list[Call] = []
    loop = turn.Turn(
        watch.asking(turn.asking(model, options)),
        variant.messages,
        skills,
        lambda *_: True,  # programs run in the sandbox, and nothing else here has effects
        _BOUNDS,
        proposing(model, names),
        model.template.call_form,
    )
    for event in loop:
        match event:
            case turn.Wrote():
                answer.tokens += event.piece.token is not None
            case turn.Called():
                calls.append(event.call)
            case turn.Returned():
                call = event.call
                answer.steps.append(f"{call.name} {call.arguments} → {event.result}")
            case turn.Ended():
                answer.cut = watch.cut or _length(event.generation)
    said = (m["content"] for m in loop.said if m["role"] == "assistant")
    answer.said = "\n".join(str(text) for text in said if text)
    answer.judged = probe.answer(variant, answer.said, calls)
    return answer


def _length(generation: Generation) -> str | None:
    return "length" if generation.finish_reason == "length" else None
