"""The three ways in which a probe is asked, and what comes of each.

`plain` is the model alone, the most likely token each time. `constrained` forces the form of the
answer. `tools` is what our assistant does: the loop that calls tools, or, where a program is
wanted, the one that writes, runs and repairs it. So the difference is what the system adds to the
model. It knows models and the assistant; it does not know what an answer is worth.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pocketlm.api import Generation, Model
from pocketlm.assistant import coder, turn
from pocketlm.assistant.drafting import proposing
from pocketlm.chat.prompt import Message
from pocketlm.chat.tools import Call
from pocketlm.evaluate.probes.probe import Mode, Probe, Variant

MODES: tuple[Mode, ...] = ("plain", "constrained", "tools")
#: Rounds of writing and repairing a program, and of calling tools.
ROUNDS = 3
#: Seconds after which an answer is cut short, in any mode: nothing waits for ever.
MOST_SECONDS = 600.0

_BOUNDS = turn.Bounds(rounds=ROUNDS, calls=4, result=1500)


class StoppedError(Exception):
    """The run was stopped; what was under way is no answer."""


@dataclass
class Answer:
    """What came of asking: all that was said, what is judged of it, and the steps between.

    `asked` are the messages and `options` what went with them; `cut` says why an answer was cut
    short ("length" or "time"), or is None.
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
    clock = _Clock(stop)
    match mode:
        case "plain":
            return _chat(model, probe, list(variant.messages), {}, clock)
        case "constrained":
            form = variant.constrained
            *before, last = variant.messages
            messages = [*before, {**last, "content": f"{last['content']}\n\n{form.ask}".strip()}]
            answer = _chat(model, probe, messages, {form.kind: form.value}, clock)  # type: ignore[arg-type]
            answer.judged = form.judged(answer.said)
            return answer
        case "tools" if probe.check is not None:
            return _program(model, probe, variant, probe.check, clock)
        case "tools":
            return _turn(model, probe, variant, clock)


class _Clock:
    """Whether there is time left; raises StoppedError when asked after a stop."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._end = time.monotonic() + MOST_SECONDS

    @property
    def over(self) -> bool:
        if self._stop.is_set():
            raise StoppedError
        return time.monotonic() > self._end


def _chat(
    model: Model, probe: Probe, messages: list[Message], form: Mapping[str, Any], clock: _Clock
) -> Answer:
    options = {"max_tokens": probe.most_tokens}
    answer = Answer(messages, {**options, **form})
    with model.chat_stream(messages, **options, **form) as stream:
        for _ in stream:
            if clock.over:
                answer.cut = "time"
                break
        generation = stream.generation
    answer.said = answer.judged = generation.text
    _count(answer, generation)
    return answer


def _program(
    model: Model, probe: Probe, variant: Variant, check: coder.Check, clock: _Clock
) -> Answer:
    options = {"max_tokens": probe.most_tokens}
    answer = Answer(list(variant.messages), {**options, "rounds": ROUNDS})
    task = str(variant.messages[-1]["content"])
    for event in coder.code(task, coder.asking(model, options), check, rounds=ROUNDS):
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
        if clock.over:
            answer.cut = "time"
            break
    return answer


def _turn(model: Model, probe: Probe, variant: Variant, clock: _Clock) -> Answer:
    options = {"max_tokens": probe.most_tokens}
    skills = probe.skills(variant)
    names = [skill.tool.name for skill in skills]
    answer = Answer(list(variant.messages), {**options, "tools": names})
    calls: list[Call] = []
    loop = turn.Turn(
        turn.asking(model, options),
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
                if event.generation.finish_reason == "length":
                    answer.cut = "length"
        if clock.over:
            answer.cut = "time"
            break
    said = (m["content"] for m in loop.said if m["role"] == "assistant")
    answer.said = "\n".join(str(text) for text in said if text)
    answer.judged = probe.answer(variant, answer.said, calls)
    return answer


def _count(answer: Answer, generation: Generation) -> None:
    answer.tokens = generation.completion_tokens
    if answer.cut is None and generation.finish_reason == "length":
        answer.cut = "length"
