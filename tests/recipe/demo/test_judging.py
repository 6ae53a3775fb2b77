"""Scores of items by the engine, against transformers and by hand."""

import math

import numpy as np
import pytest
import torch

import pocketlm
from pocketlm.recipe.demo import judging
from pocketlm.recipe.demo.items import Choice, Pair
from pocketlm.recipe.train import loop, models
from recipe.train import small


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small model's folder."""
    folder = tmp_path_factory.mktemp("trained")
    material = small.write_material(folder)
    return loop.pretrain(small.run(material, folder / "run", validation=None))


@pytest.fixture(scope="module")
def engine(trained):
    with pocketlm.load(trained, threads=1, cache_type="f32") as model:
        yield model


@pytest.fixture(scope="module")
def by_hand(trained):
    """The log-probability of token ids after others, by transformers."""
    reference = models.load(trained).train(False)

    def logprob(context, continuation):
        ids = [*context, *continuation]
        with torch.no_grad():
            logits = reference(torch.tensor([ids])).logits[0].double()
        chosen = torch.log_softmax(logits, -1)[len(context) - 1 : -1]
        return sum(chosen[place, id].item() for place, id in enumerate(continuation))

    return logprob


def test_pairs_are_told_by_whole_texts(engine, by_hand):
    pairs = [
        Pair("the small cat sees a dog.", "cat the small sees a dog.", "order"),
        Pair("slowly never always", "the table", "other"),
        Pair("a dog", "a dog", "alike"),
    ]
    begin = engine.text_tokens("")
    assert begin == [engine.tokenizer.eos_id]
    expected = []
    for good, bad, _ in pairs:
        a, b = (by_hand(begin, [*engine.tokenizer.encode(each), *begin]) for each in (good, bad))
        expected.append(1.0 if a > b else 0.0 if a < b else 0.5)
    assert judging.pairs(engine, pairs).tolist() == expected
    assert expected[2] == 0.5


def test_the_right_options_share_is_by_byte(engine, by_hand):
    item = Choice("the small cat", ("reads slowly", "sees", "table table", "on"), 2, "k")
    begin = engine.text_tokens("")
    context = engine.tokenizer.encode(item.context)
    rates = []
    for option in item.options:
        whole = engine.tokenizer.encode(f"{item.context} {option}")
        assert whole[: len(context)] == context
        found = by_hand([*begin, *context], whole[len(context) :])
        rates.append(found / len(option.encode()))
    share = math.exp(rates[2]) / sum(map(math.exp, rates))
    shares, right = judging.choices(engine, [item])
    assert shares[0] == pytest.approx(math.log(share), abs=1e-4)
    assert right[0] == (np.argmax(rates) == 2)


def test_texts_beyond_the_window_go_in_pieces(engine, by_hand):
    text = small.sentences(1, 77)[0] * 4
    ids = engine.tokenizer.encode(text)
    most = engine.context
    assert len(ids) > 2 * most
    context, expected = engine.text_tokens(""), 0.0
    for start in range(0, len(ids), most):
        piece = ids[start : start + most]
        expected += by_hand(context, piece)
        context = piece[-1:]
    found = judging.logprobs(engine, [(engine.text_tokens(""), ids)])
    assert found[0] == pytest.approx(expected, abs=1e-2)


def test_a_long_context_loses_its_beginning(engine, by_hand):
    ids = engine.tokenizer.encode(small.sentences(1, 78)[0] * 4)
    context, continuation = ids[:60], ids[60:70]
    most = engine.context
    expected = by_hand(context[-(most - 9) :], continuation)
    found = judging.logprobs(engine, [(context, continuation)])
    assert found[0] == pytest.approx(expected, abs=1e-3)
