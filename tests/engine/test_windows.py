"""Conversations beyond a sliding window: what is said does not depend on what memory still holds.

Blocks that left the window go when memory is wanted. An answer that is generated again, a message
that is edited and a beginning that is used again need some of them: found or processed again, they
must give the very logits that an engine without any past gives.
"""

import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from models import checkpoints
from pocketlm import models
from pocketlm.engine.engine import CHUNK, Engine
from pocketlm.engine.prefixes import PrefixCache, PrefixFolder
from pocketlm.engine.runtime import REWIND, Runtime
from pocketlm.engine.sampling import SamplingParameters, Token
from pocketlm.formats.open import open_checkpoint

SIZE = 32
WINDOW, CONTEXT = 100, 2048
REAL_WINDOW, REAL_CONTEXT = 2047, 4096
SAMPLED = {"temperature": 1.0, "seed": 5, "logprobs": 9}


def make(folder, window, context):
    """A tiny Phi-3 with one head of 96."""
    config = transformers.Phi3Config(
        vocab_size=checkpoints.VOCABULARY,
        hidden_size=96,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=1,
        max_position_embeddings=context,
        sliding_window=window,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=None,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "CONFIGURATIONS", {"window": lambda: config})
        checkpoints.save("window", folder)
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return make(tmp_path_factory.mktemp("small"), WINDOW, CONTEXT)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    return make(tmp_path_factory.mktemp("real"), REAL_WINDOW, REAL_CONTEXT)


class Talk:
    """A conversation with an engine that remembers, held against one that has no past.

    `budget` is the blocks of cache worth keeping; None: as many as the engine thinks.
    """

    def __init__(self, model, budget=None, home=None, cache_type="q8"):
        self.model, self.budget, self.home, self.cache_type = model, budget, home, cache_type
        self.fresh, _ = self.open(budget=0)
        self.engine, self.kept = self.open(budget, home)

    def open(self, budget=None, home=None):
        """An engine, and what it keeps on disk where there is a `home`."""
        with open_checkpoint(self.model) as checkpoint:
            program = models.build(checkpoint.config, checkpoint.tensors)
            runtime = Runtime(program, checkpoint.tensors, threads=1, cache_type=self.cache_type)
        if budget is not None:
            runtime.cache_budget = lambda context: budget * runtime.cache.block_bytes
        kept = None
        if home is not None:
            folder = PrefixFolder(home / ("0" * 32), "files", 10**9)
            kept = PrefixCache(folder, runtime.cache, runtime.identity)
        return Engine(runtime, program.context, prefixes=kept), kept

    def restart(self):
        """End the run and begin another, which finds what is on disk and nothing else."""
        self.engine.close()
        self.engine, self.kept = self.open(self.budget, self.home)

    def ask(self, prompt, count=20):
        """Answer; returns the prompt with its answer, and how much of it was held."""
        tokens, cached = answer(self.engine, prompt, count)
        if self.kept is not None:
            self.kept.close()  # until all is saved a block's memory stays
        assert self.engine.runtime.cache.blocks_in_use == self.engine.blocks.idle
        expected, none = answer(self.fresh, prompt, count)
        assert none == 0
        assert tokens == expected  # log-probabilities too, to the last bit
        return [*prompt, *(token.id for token in tokens)], cached


def answer(engine, prompt, count):
    """Tokens, and how many of the prompt were held; memory is bounded all the while."""
    runtime, blocks = engine.runtime, engine.blocks
    limit = runtime.cache_budget(engine.context) // runtime.cache.block_bytes
    live = -(-(runtime.program.window + CHUNK) // SIZE) + 1  # of the window and a step
    tokens = []
    with engine.generate(prompt, SamplingParameters(**SAMPLED, max_tokens=count)) as request:
        for event in request:
            assert blocks.in_use <= live
            assert blocks.in_use + blocks.idle <= max(limit, live)
            if isinstance(event, Token):
                tokens.append(event)
    assert blocks.in_use == 0
    assert blocks.idle <= limit
    return tokens, request.cached_tokens


def message(count, seed):
    return checkpoints.tokens(count, seed=seed)


#: No block, a few, just the window's, and what an engine keeps.
BUDGETS = [0, 3, 5, None]


@pytest.mark.parametrize("cache_type", ["f32", "f16", "q8", "q4"])
@pytest.mark.parametrize("budget", BUDGETS)
def test_regenerated_edited_and_begun_again(small, budget, cache_type):
    talk = Talk(small, budget, cache_type=cache_type)
    prompts, text = [], []
    for turn in range(6):
        prompts.append([*text, *message(120, turn)])
        text, _ = talk.ask(prompts[-1], 40)
    assert len(text) == 960
    again, _ = talk.ask(prompts[-1], 40)  # regenerated
    assert again == text
    talk.ask([*prompts[-1][:-20], *message(20, 50)])  # the last message edited
    talk.ask([*prompts[-2][:-20], *message(20, 51)])  # the one before
    talk.ask([*text[:10], *message(300, 52)])  # the first one
    talk.ask([*prompts[3], *message(50, 53)])  # a beginning used again
    talk.ask([*text, *message(10, 54)])  # and on with the conversation


@pytest.mark.parametrize("turns_back", [1, 2, 3])
def test_a_short_rewind_is_found(small, turns_back):
    """An engine keeps REWIND positions beside the window, those just before it."""
    talk = Talk(small)
    prompts, text = [], []
    for turn in range(8):
        prompts.append([*text, *message(100, turn)])
        text, _ = talk.ask(prompts[-1], 30)
    edited = [*prompts[-turns_back][:-10], *message(30, 50)]
    same = len(edited) - 30
    assert len(text) - same < REWIND - 100
    _, cached = talk.ask(edited)
    assert cached == same // SIZE * SIZE


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_whatever_is_asked_in_whatever_order(small, tmp_path_factory, data):
    """Texts that go on, fork and come back, in memory and from disk, with any budget."""
    budget = data.draw(st.sampled_from([0, 2, 4, 6, 12, None]))
    on_disk = data.draw(st.booleans())
    home = tmp_path_factory.mktemp("home") / "prefixes" if on_disk else None
    talk = Talk(small, budget, home)
    texts = [[]]
    for turn in range(8):
        before = data.draw(st.sampled_from(texts))
        kept = before[: data.draw(st.integers(0, len(before)))]
        prompt = [*kept, *message(data.draw(st.integers(1, 300)), turn)]
        text, _ = talk.ask(prompt, 10)
        texts.append(text)
        if on_disk and data.draw(st.booleans()):
            talk.restart()
    talk.engine.close()


def test_a_beginning_on_disk_beyond_the_window(small, tmp_path):
    talk = Talk(small, home=tmp_path / "prefixes")
    text, cached = talk.ask(message(900, 1), 60)
    assert cached == 0
    talk.restart()
    grown, cached = talk.ask([*text, *message(40, 2)], 60)
    assert cached == 928  # 959 were written, the last one chosen was not: 29 whole blocks
    talk.restart()
    regenerated, cached = talk.ask([*text, *message(40, 2)], 60)
    assert regenerated == grown
    talk.restart()
    _, cached = talk.ask([*text[:20], *message(400, 3)])  # edited where nothing is seen any more
    assert cached == 0


@pytest.mark.slow
@pytest.mark.parametrize("budget", [0, 40, None])
def test_the_real_window_of_2047(real, budget, tmp_path):
    talk = Talk(real, budget, tmp_path / "prefixes")
    prompts, text = [], []
    for turn in range(6):
        prompts.append([*text, *message(500, turn)])
        text, _ = talk.ask(prompts[-1], 60)
    assert len(text) == 3360
    again, _ = talk.ask(prompts[-1], 60)
    assert again == text
    _, cached = talk.ask([*prompts[-1][:-200], *message(150, 50)])
    assert budget is not None or cached == (len(prompts[-1]) - 200) // SIZE * SIZE
    talk.restart()
    talk.ask([*text[:2500], *message(300, 51)])
    talk.ask([*text[:100], *message(2600, 52)])
    talk.restart()
    talk.ask([*text, *message(100, 53)])
    talk.engine.close()
