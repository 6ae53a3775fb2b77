"""Probes asked in the three modes, of the real small model."""

import json
import random
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import pocketlm
from pocketlm.api import Model
from pocketlm.assistant import sandbox
from pocketlm.chat.prompt import Message
from pocketlm.errors import SandboxError
from pocketlm.evaluate.probes import modes
from pocketlm.evaluate.probes.apple import PROBE as APPLE
from pocketlm.evaluate.probes.modes import StoppedError, ask
from pocketlm.evaluate.probes.numbers import PROBE as NUMBERS
from pocketlm.evaluate.probes.people import PROBE as PEOPLE
from pocketlm.evaluate.probes.probe import Probe, Variant, Verdict


@pytest.fixture(scope="module")
def model(smollm2: Path) -> Iterator[Model]:
    with pocketlm.load(smollm2, threads=1) as model:
        yield model


def asked(model: Model, probe: Probe, mode: modes.Mode, variant: Variant | None = None):
    return ask(model, probe, variant or probe.variants(0, 1)[0], mode, threading.Event())


def test_plain_is_the_model_alone(model: Model):
    answer = asked(model, APPLE, "plain")
    messages = APPLE.variants(0, 1)[0].messages
    assert answer.asked == messages
    assert answer.said == answer.judged
    assert answer.said == model.chat(messages, max_tokens=APPLE.most_tokens).text
    assert 0 < answer.tokens <= APPLE.most_tokens


def test_constrained_has_the_form_that_was_asked_for(model: Model):
    variant = APPLE.variants(0, 1)[0]
    answer = asked(model, APPLE, "constrained")
    assert isinstance(variant.constrained.value, str)
    assert re.fullmatch(variant.constrained.value, answer.judged)
    assert variant.constrained.ask in str(answer.asked[-1]["content"])
    assert variant.constrained.ask not in str(variant.messages[-1]["content"])
    assert answer.cut is None


def test_a_program_is_written_run_and_repaired(model: Model):
    sandbox_or_skip()
    answer = asked(model, NUMBERS, "tools")
    assert answer.steps
    assert answer.steps[0].startswith("round 1: ")
    assert answer.judged.startswith("```python\n")
    assert answer.judged.removeprefix("```python\n").removesuffix("\n```") in answer.said
    assert len(answer.steps) <= modes.ROUNDS


class Asked(Probe):
    """One question as it stands."""

    name, number, about, seen = "asked", 0, "", ""
    most_tokens = 2000

    def __init__(self, question: str) -> None:
        self._question = question

    def draw(self, chance: random.Random, number: int) -> Variant:
        messages: list[Message] = [{"role": "user", "content": self._question}]
        return Variant(number, messages, {}, "", APPLE.variants(0, 1)[0].constrained)

    def judge(self, variant: Variant, answer: str) -> Verdict:
        return Verdict(1, "it is here to be asked")


def test_tools_are_called_and_their_results_are_said(model: Model):
    sandbox_or_skip()
    answer = asked(model, Asked("What is 347 * 89?"), "tools")
    assert answer.steps == ['calculate {"expression": "347 * 89"} → 30883']
    assert "30883" in answer.judged
    assert answer.options["tools"] == ["calculate", "run_python"]


def test_an_answer_that_goes_round_in_circles_is_ended(model: Model):
    probe = Asked("Say again and again: " + "the rain in Spain, " * 30)
    answer = asked(model, probe, "plain")
    assert answer.cut == "repetition"
    assert 100 < answer.tokens < 1000
    assert modes._repeats(answer.said)


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        ("", False),
        ("ab" * 399, False),
        ("ab" * 400, True),
        ("x" * 5000, True),
        ("print(1)\n" * 100, True),
        ("".join(f"print({n})\n" for n in range(200)), False),
        ("the same " * 100 + "but for the end", False),
        (("a" * 60 + "b" * 73) * 10, True),
        (("a" * 60 + "b" * 90) * 10, False),
    ],
)
def test_what_goes_round_in_circles(text: str, repeats: bool):
    assert modes._repeats(text) is repeats


def test_an_answer_ends_in_time(model: Model, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(modes, "MOST_SECONDS", 0.0)
    answer = asked(model, PEOPLE, "plain")
    assert answer.cut == "time"
    assert answer.tokens < 10


def test_a_stop_is_heard_at_once(model: Model):
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    probe = Asked("Write a very long story about a king, a ship and an island.")
    began = time.monotonic()
    with pytest.raises(StoppedError):
        ask(model, probe, probe.variants(0, 1)[0], "plain", stop)
    assert time.monotonic() - began < 10


def test_json_is_as_its_schema_says(model: Model):
    variant = next(v for v in PEOPLE.variants(0) if v.facts["shape"] == "list")
    answer = asked(model, PEOPLE, "constrained", variant)
    if answer.cut is None:
        keys = {key for key, _ in variant.facts["fields"]}
        assert all(set(person) == keys for person in json.loads(answer.judged))


def sandbox_or_skip() -> None:
    try:
        sandbox.check()
    except SandboxError as error:
        pytest.skip(str(error))
