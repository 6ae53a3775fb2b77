"""The model's answers to both turns of a question, through its own chat template.

It knows questions and a model; it knows no judge.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from pocketlm.api import Model
from pocketlm.chat.prompt import Message
from pocketlm.errors import ContextError
from pocketlm.evaluate.mt_bench.questions import Question
from pocketlm.evaluate.several import StoppedError

#: Temperatures by category, as MT-bench has them; FURTHER for a category that it has not.
TEMPERATURES = {
    "writing": 0.7,
    "roleplay": 0.7,
    "extraction": 0.0,
    "math": 0.0,
    "coding": 0.0,
    "reasoning": 0.0,
    "stem": 0.1,
    "humanities": 0.1,
}
FURTHER = 0.7
#: Most tokens of an answer, as in MT-bench.
MOST_TOKENS = 1024


def answer(model: Model, question: Question, stop: threading.Event) -> dict[str, Any]:
    """Both answers, as JSON: `turns`, `tokens`, `cut` (by a limit), each of two, and `seconds`.

    A turn that does not fit into the context is answered by nothing, and counts as cut. The same
    question is answered in the same way each time. Raises StoppedError once `stop` is set.
    """
    started = time.monotonic()
    messages: list[Message] = []
    turns, tokens, cut = [], [], []
    for said in question.turns:
        messages.append({"role": "user", "content": said})
        try:
            text, count, was_cut = _turn(model, messages, question, stop)
        except ContextError:
            text, count, was_cut = "", 0, True
        messages.append({"role": "assistant", "content": text})
        turns.append(text)
        tokens.append(count)
        cut.append(was_cut)
    seconds = round(time.monotonic() - started, 2)
    return {"turns": turns, "tokens": tokens, "cut": cut, "seconds": seconds}


def _turn(
    model: Model, messages: list[Message], question: Question, stop: threading.Event
) -> tuple[str, int, bool]:
    options = {
        "temperature": TEMPERATURES.get(question.category, FURTHER),
        "max_tokens": MOST_TOKENS,
        "seed": question.number,
    }
    with model.chat_stream(messages, **options) as stream:
        for _ in stream:
            if stop.is_set():
                raise StoppedError
        found = stream.generation
    return found.text.strip(), found.completion_tokens, found.finish_reason == "length"
