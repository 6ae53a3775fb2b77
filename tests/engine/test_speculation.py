"""Drafts change how fast a text comes, and nothing else; and none are made where they do not pay.

What is drafted depends on the clock. So that it does not here, everything that can be drafted is.
"""

import itertools
import random

import numpy as np
import pytest

import pocketlm
from models import checkpoints
from pocketlm import models
from pocketlm.engine import engine as engine_module
from pocketlm.engine import speculation
from pocketlm.engine.engine import Engine
from pocketlm.engine.request import Finish, Notice
from pocketlm.engine.runtime import Runtime
from pocketlm.engine.sampling import SamplingParameters, Token
from pocketlm.engine.speculation import MOST, MOST_ROWS, Drafter, Speculation
from pocketlm.formats.open import open_checkpoint

NAMES = ["phi3 with a window", "phi3 with longrope", "llama, grouped and tied"]
PROMPT = checkpoints.tokens(20, seed=1)
#: Few different tokens: most of what follows them stood there before, and often comes otherwise.
FEW = dict.fromkeys(range(5, 9), 1000.0)
OPTIONS = {
    "greedy": {},
    "greedy, few tokens": {"logit_bias": FEW},
    "sampled": {
        "temperature": 0.8,
        "top_p": 0.95,
        "seed": 5,
        "logit_bias": FEW,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "repetition_penalty": 1.05,
        "logprobs": 3,
    },
}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(engine_module, "CHUNK", 16)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {name: tmp_path_factory.mktemp("model") for name in NAMES}
    for name, folder in made.items():
        checkpoints.save(name, folder)
    return made


@pytest.fixture
def eager(monkeypatch):
    """Draft whatever can be drafted."""
    monkeypatch.setattr(
        Speculation, "drafts", lambda self, proposals: [draft for draft, _ in proposals]
    )
    monkeypatch.setattr(speculation, "HOPELESS", -1)


def open_engine(folder, speculate):
    with open_checkpoint(folder) as checkpoint:
        program = models.build(checkpoint.config, checkpoint.tensors)
        runtime = Runtime(program, checkpoint.tensors, threads=1)
        return Engine(runtime, program.context, speculate=speculate)


@pytest.fixture(params=NAMES)
def both(request, folders, eager):
    """An engine that drafts and one that does not."""
    engines = [open_engine(folders[request.param], speculate) for speculate in (True, False)]
    yield engines
    for engine in engines:
        assert engine.blocks.in_use == 0
        engine.close()
        assert engine.runtime.cache.blocks_in_use == 0


def events(engine, prompt=PROMPT, stop_ids=frozenset(), **options):
    with engine.generate(prompt, SamplingParameters(**options), stop_ids) as request:
        return list(request)


def ids(found):
    return [event.id for event in found if isinstance(event, Token)]


def noted(engine):
    """The number of rows of each step from now on."""
    rows = []
    run = engine.runtime.run

    def run_and_note(tokens, segments, picks, adapters):
        rows.append(len(picks))
        return run(tokens, segments, picks, adapters)

    engine.runtime.run = run_and_note
    return rows


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_same_events(both, options):
    drafting, plain = both
    rows = noted(drafting)
    found, expected = events(drafting, **options), events(plain, **options)
    assert found == expected
    assert max(rows) == MOST + 1
    # Some drafts were wrong, and on a busy machine, where the clock says that none pays, hardly one
    # is tried; the prompt takes a step before the first token's.
    assert 20 < len(rows) <= len(ids(expected)) + 1
    assert ids(found) == ids(events(drafting, **options))  # from a cache that saw drafts


def test_what_the_cache_holds_after_drafts_is_what_is_computed(both):
    drafting, plain = both
    text = [*PROMPT, *ids(events(drafting, **OPTIONS["sampled"]))][:-20]
    for longer in (text, [*text, *checkpoints.tokens(5)]):
        cached = drafting.generate(longer, SamplingParameters(max_tokens=9, logprobs=5))
        assert [e for e in cached if isinstance(e, Token)] == [
            e for e in events(plain, longer, max_tokens=9, logprobs=5) if isinstance(e, Token)
        ]
        assert cached.cached_tokens >= len(text) // 32 * 32


def test_a_stop_token_or_the_limit_anywhere_in_a_draft(both):
    drafting, plain = both
    text = ids(events(plain, max_tokens=40))
    for end in {*text}:
        stopped = events(drafting, stop_ids=frozenset([end]), max_tokens=40)
        assert ids(stopped) == text[: text.index(end)]
        assert stopped[-1] == Finish("stop")
    for most in range(1, 40):
        cut = events(drafting, max_tokens=most)
        assert ids(cut) == text[:most]
        assert cut[-1] == Finish("length")


@pytest.mark.parametrize("most", [1, 2, 3, 9, None])
def test_no_draft_reaches_beyond_the_last_token(both, most):
    drafting, _ = both
    run, ends = drafting.runtime.run, []

    def checked(tokens, segments, picks, adapters):
        ends.extend(start + count for count, start, *_ in segments)
        return run(tokens, segments, picks, adapters)

    drafting.runtime.run = checked
    repeated = [5, 6] * 5
    found = events(drafting, repeated, logit_bias=FEW, max_tokens=most)
    assert max(ends) == len(repeated) + len(ids(found)) - 1


def test_several_at_once_write_what_they_write_alone(both):
    drafting, plain = both
    prompts = [checkpoints.tokens(n, seed=n) for n in (50, 3, 31, 20)]
    sampled = SamplingParameters(**OPTIONS["sampled"])
    alone = [ids(events(plain, prompt, **OPTIONS["sampled"])) for prompt in prompts]
    rows = noted(drafting)
    requests = [drafting.generate(prompt, sampled) for prompt in prompts]
    for _ in itertools.zip_longest(*requests):
        pass
    assert [request.generated for request in requests] == alone
    assert max(rows) > MOST + 1


@pytest.mark.parametrize("taken", range(0, 60, 7))
def test_cancelled_anywhere(both, taken):
    drafting, _ = both
    neighbour = drafting.generate(PROMPT, SamplingParameters(**OPTIONS["sampled"]))
    next(neighbour)
    cancelled = drafting.generate(PROMPT[:5], SamplingParameters(**OPTIONS["sampled"]))
    for _ in range(taken):
        next(cancelled)
    cancelled.close()
    assert drafting.blocks.in_use == len({n for n in neighbour.sequence.table if n >= 0})
    for _ in neighbour:
        pass
    assert neighbour.generated == ids(events(drafting, **OPTIONS["sampled"]))


@pytest.mark.parametrize("step", range(1, 12))
def test_a_step_that_fails_is_taken_back(both, step):
    drafting, plain = both
    request = drafting.generate(PROMPT, SamplingParameters(**OPTIONS["greedy"]))
    next(request)
    run, count = drafting.runtime.run, itertools.count(1)

    def failing(*arguments):
        logits = run(*arguments)
        if next(count) == step:
            raise KeyboardInterrupt
        return logits

    drafting.runtime.run = failing
    neighbour = drafting.generate(PROMPT[:5], SamplingParameters())
    with pytest.raises(KeyboardInterrupt):
        for _ in neighbour:
            pass
    assert len(request.sequence) < len(request.tokens)
    for _ in request:
        pass
    assert request.generated == ids(events(plain))


def test_no_draft_reaches_beyond_the_short_factors(folders, eager):
    drafting = open_engine(folders["phi3 with longrope"], speculate=True)
    run, crossed = drafting.runtime.run, []

    def checked(tokens, segments, picks, adapters):
        for count, start, rope_set, _ in segments:
            crossed.append(rope_set)
            assert rope_set or start + count <= checkpoints.ORIGINAL
            assert picks or count == engine_module.CHUNK  # no draft in the middle of a text
        return run(tokens, segments, picks, adapters)

    drafting.runtime.run = checked
    found = events(drafting, [5, 6] * 5, logit_bias=FEW)
    assert set(crossed) == {0, 1}
    assert sum(isinstance(event, Notice) for event in found) == 1


def test_a_prompt_leaves_no_time_for_drafts(folders, eager):
    engine = open_engine(folders["llama, grouped and tied"], speculate=True)
    writing = engine.generate([5, 6] * 5, SamplingParameters(logit_bias=FEW))
    while not isinstance(next(writing), Token):
        pass
    rows = noted(engine)
    reading = engine.generate(PROMPT[:5], SamplingParameters(max_tokens=1))
    next(reading)
    assert rows == [2]
    writing.close()
    reading.close()


def test_nothing_is_drafted_when_switched_off(folders, eager):
    engine = open_engine(folders["llama, grouped and tied"], speculate=False)
    rows = noted(engine)
    events(engine, [5, 6] * 5, logit_bias=FEW)
    assert set(rows) == {1}


@pytest.mark.parametrize("kind", ["greedy", "sampled"])
def test_the_real_model_copies_a_text(smollm2, eager, kind):
    sentence = "Every evening the keeper climbed one hundred and forty steps to light the lamp."
    messages = [{"role": "user", "content": f"Repeat this text exactly: {sentence}"}]
    options = {"max_tokens": 30}
    if kind == "sampled":
        options |= {"temperature": 0.7, "top_p": 0.9, "seed": 3, "frequency_penalty": 0.2}
    said = []
    for speculate in (True, False):
        with pocketlm.load(smollm2, threads=2, speculate=speculate) as model:
            rows = noted(model.engine)
            said.append(model.chat(messages, **options))
            assert (max(rows) > 1) == speculate
    assert said[0].tokens == said[1].tokens
    assert said[0].text == said[1].text
    assert said[0].finish_reason == said[1].finish_reason


def test_guesses_that_come_true_are_trusted_more():
    right, wrong = [1, 2, 3, 1, 2], [1, 2, 3, 1, 2]
    trusted, doubted = Drafter(right), Drafter(wrong)
    (_, before), _ = trusted.propose(), doubted.propose()
    for token in itertools.islice(itertools.cycle([3, 1, 2]), 60):
        right.append(token)
        draft, after = trusted.propose()
    assert draft == [3, 1, 2, 3, 1, 2, 3]
    assert min(after) > 0.9 > max(before)
    for i in range(40):
        wrong += [10 + i, 1, 2]  # what comes after 1, 2 is always new
        _, after = doubted.propose()
    assert max(after, default=0) < 0.1


def decided(gate, cost, probability, steps=400, seed=3):
    """What the gate drafts in the end, where n rows cost `cost(n)`, with some noise."""
    noise = random.Random(seed)
    proposal = ([7] * MOST, [probability ** (n + 1) for n in range(MOST)])
    lengths = []
    for _ in range(steps):
        lengths.append(len(gate.drafts([proposal])[0]))
        rows = lengths[-1] + 1
        gate.measured(rows, rows, cost(rows) * noise.lognormvariate(0, 0.1))
        if noise.random() < 0.1:  # a step of another kind: what is drafted comes in turns
            gate.measured(1, 1, cost(1) * noise.lognormvariate(0, 0.1))
    return lengths[-40:]


def test_the_gate_drafts_what_pays():
    assert set(decided(Speculation(), lambda rows: rows, 0.9)) == {0}
    assert np.median(decided(Speculation(), lambda rows: 1, 0.9)) == MOST
    assert set(decided(Speculation(), lambda rows: 1, 0.01)) == {0}
    steep_from_five = decided(Speculation(), lambda rows: 1 if rows < 5 else rows, 0.9)
    assert np.median(steep_from_five) == 3


def test_the_gate_recovers():
    gate = Speculation()
    assert set(decided(gate, lambda rows: rows, 0.9)) == {0}
    assert np.median(decided(gate, lambda rows: 1, 0.9, steps=20 * speculation.RETRY)) > 3


def test_the_likeliest_guesses_of_several_texts_come_first():
    gate = Speculation()
    sure, doubtful = ([1] * 3, [0.9, 0.8, 0.7]), ([2] * 3, [0.6, 0.001, 0.0001])
    taken = [len(draft) for draft in gate.drafts([doubtful, sure, ([], [])])]
    assert taken == [1, 3, 0]
    crowd = gate.drafts([sure] * MOST_ROWS)
    assert not any(crowd)
