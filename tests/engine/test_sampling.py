"""Sampling: what may be drawn, how often, in which order, and what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pocketlm.engine.sampling import Sampler, SamplingParameters, _least, _place
from pocketlm.errors import ModelFileError, ParameterError

NONE = np.empty(0, dtype=np.intp)


def sampler(size=8, prompt=(), banned=NONE, **options):
    return Sampler(SamplingParameters(**options), prompt, np.asarray(banned), size)


def frequencies(logits, count=20_000, **options):
    """How often each token is drawn from these logits; penalties would add up, so none here."""
    drawing = sampler(len(logits), seed=1, **options)
    drawn = [drawing.choose(np.array(logits, np.float32)).id for _ in range(count)]
    return np.bincount(drawn, minlength=len(logits)) / count


def softmax(logits):
    weights = np.exp(np.asarray(logits, np.float64) - max(logits))
    return weights / weights.sum()


LOGITS = [1.0, 3.0, 2.5, -1.0, 0.0, 2.9, -4.0, 1.5]


def close(drawn, expected):
    assert np.abs(drawn - expected).max() < 4 * math.sqrt(0.25 / 20_000)
    assert not drawn[expected == 0].any()


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_temperature(temperature):
    expected = softmax(np.array(LOGITS) / temperature)
    close(frequencies(LOGITS, temperature=temperature), expected)


class Only:
    """A rule that allows some tokens."""

    def __init__(self, *tokens):
        self.tokens = tokens

    def allows(self, token):
        return token in self.tokens

    def allowed(self):
        return np.isin(np.arange(len(LOGITS)), self.tokens)


def test_what_a_rule_allows_keeps_its_shares():
    drawing, allowed = sampler(len(LOGITS), seed=2, temperature=1.5), (0, 2, 5, 7)
    drawn = [drawing.choose(np.array(LOGITS, np.float32), Only(*allowed)).id for _ in range(20_000)]
    expected = softmax(np.array(LOGITS) / 1.5) * np.isin(np.arange(len(LOGITS)), allowed)
    close(np.bincount(drawn, minlength=len(LOGITS)) / 20_000, expected / expected.sum())
    for least in ({}, {"temperature": 1.0, "top_p": 0.3}, {"temperature": 2.0, "top_k": 2}):
        rare = sampler(len(LOGITS), seed=3, **least)
        assert {rare.choose(np.array(LOGITS, np.float32), Only(6)).id for _ in range(99)} == {6}


def test_greedy_takes_the_greatest_and_a_tiny_temperature_does_too():
    for temperature in (0, 1e-300, 1e-3):
        assert frequencies(LOGITS, 100, temperature=temperature)[1] == 1


def test_an_endless_temperature_draws_all_alike_and_nothing_banned():
    choosing = sampler(4, banned=[1], temperature=1e300, seed=0)
    drawn = [choosing.choose(np.array([0, 9, 5, -5], np.float32)).id for _ in range(3000)]
    assert np.bincount(drawn) / 3000 == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3], abs=0.04)


def test_top_k_then_top_p_then_min_p():
    whole = softmax(LOGITS)
    order = np.argsort(-whole)
    three = np.where(np.isin(np.arange(8), order[:3]), whole, 0)
    close(frequencies(LOGITS, temperature=1, top_k=3), three / three.sum())
    # Of the three, two reach 0.65 of *their* sum; of all eight, two reach less than 0.65.
    assert whole[order[:2]].sum() < 0.65 < (three / three.sum())[order[:2]].sum()
    two = np.where(np.isin(np.arange(8), order[:2]), whole, 0)
    close(frequencies(LOGITS, temperature=1, top_k=3, top_p=0.65), two / two.sum())
    close(frequencies(LOGITS, temperature=1, top_p=0.65), three / three.sum())
    likely = np.where(whole >= 0.5 * whole.max(), whole, 0)
    close(frequencies(LOGITS, temperature=1, min_p=0.5), likely / likely.sum())


def naive_least(weights, top_k, top_p, min_p):
    """The definition, by sorting everything."""
    falling = np.sort(weights)[::-1].astype(np.float64)
    if 0 < top_k < len(falling):
        falling = falling[falling >= falling[top_k - 1]]
    if top_p < 1:
        needed = top_p * falling.sum()
        kept = next((i for i in range(len(falling)) if falling[: i + 1].sum() >= needed), -1)
        falling = falling[: kept + 1] if kept >= 0 else falling
    return falling[falling >= min_p]


@settings(max_examples=300, deadline=None)
@given(
    arrays(np.float32, st.integers(1, 60), elements=st.integers(-30, 0).map(float)),
    st.integers(0, 70),
    st.sampled_from([0.05, 0.5, 0.9, 0.999, 1.0]),
    st.sampled_from([0.0, 0.01, 0.3, 1.0]),
)
def test_the_cut_is_the_definitions(scaled, top_k, top_p, min_p):
    scaled[0] = 0
    weights = np.exp(scaled)
    least = _least(weights, top_k, top_p, min_p)
    expected = naive_least(weights, top_k, top_p, min_p)
    passed = np.sort(weights[weights >= least])[::-1]
    # Equal weights pass together; the definition may cut between them, and sums have rounding.
    assert set(passed) >= set(expected.astype(np.float32))
    assert passed[-1] >= min(expected[-1], weights.max()) * (1 - 1e-6)


@given(
    arrays(np.float32, st.integers(1, 700), elements=st.sampled_from([0, 1e-30, 1e-3, 0.5, 1])),
    st.floats(0, 1, exclude_max=True),
)
def test_a_place_has_weight_and_is_where_the_sum_passes(weights, random):
    weights[len(weights) // 2] = 1
    place = _place(weights, random)
    assert weights[place] > 0
    sums = np.cumsum(weights, dtype=np.float64)
    assert sums[place] >= random * sums[-1] * (1 - 1e-9)
    assert sums[place] - weights[place] <= random * sums[-1] * (1 + 1e-9)


def test_the_last_draw_never_falls_on_a_banned_end():
    logits = np.zeros(1000, np.float32)
    drawn = _place(np.where(np.arange(1000) < 700, 1, 0).astype(np.float32), np.nextafter(1, 0))
    assert drawn == 699
    choosing = sampler(1000, banned=np.arange(700, 1000), temperature=100.0, seed=3)
    assert all(choosing.choose(logits.copy()).id < 700 for _ in range(2000))


def test_banned_tokens_are_not_chosen_even_if_likeliest_or_favoured():
    logits = np.array([0, 9, 0, 0], np.float32)
    greedy = sampler(4, banned=[1], logit_bias={1: 100.0, 2: 1.0})
    assert greedy.choose(logits).id == 2


def test_repetition_penalty_counts_prompt_and_answer_and_both_signs():
    choosing = sampler(4, prompt=[0], repetition_penalty=2.0)
    assert choosing.choose(np.array([1.9, 1.0, -3, -3], np.float32)).id == 1  # 0.95 < 1.0
    assert choosing.choose(np.array([1.9, 1.6, 0.96, -3], np.float32)).id == 2  # 0.95, 0.8
    negative = sampler(2, prompt=[0], repetition_penalty=2.0)
    assert negative.choose(np.array([-1.0, -1.5], np.float32)).id == 1  # -2 against -1.5


def test_presence_counts_once_and_frequency_each_time_of_the_answer_alone():
    present = sampler(3, prompt=[0], presence_penalty=1.0)
    for expected in (0, 1, 0, 0):  # after both came once, the order is the logits' again
        assert present.choose(np.array([2.0, 1.5, -9], np.float32)).id == expected
    often = sampler(3, prompt=[0], frequency_penalty=1.0)
    for expected in (0, 1, 0, 1, 0):
        assert often.choose(np.array([2.0, 1.5, -9], np.float32)).id == expected


def test_logit_bias():
    assert sampler(3, logit_bias={2: 5.0}).choose(np.array([1, 2, 0], np.float32)).id == 2
    with pytest.raises(ParameterError, match="token 3; the vocabulary has 3"):
        sampler(3, logit_bias={3: 1.0})


def test_the_same_seed_gives_the_same_tokens():
    def draw(seed):
        choosing = sampler(temperature=1.5, seed=seed)
        return [choosing.choose(np.array(LOGITS, np.float32)).id for _ in range(50)]

    assert draw(7) == draw(7)
    assert draw(7) != draw(8)
    assert draw(None) != draw(None)


def test_logprobs_are_the_models_own():
    choosing = sampler(temperature=0.1, seed=0, logprobs=3, logit_bias={6: 100.0})
    token = choosing.choose(np.array(LOGITS, np.float32))
    own = np.log(softmax(LOGITS))
    assert token.id == 6
    assert token.logprob == pytest.approx(own[6], abs=1e-5)
    assert [id for id, _ in token.top] == [1, 5, 2]
    assert [value for _, value in token.top] == pytest.approx(own[[1, 5, 2]], abs=1e-5)
    assert sampler(logprobs=0).choose(np.array(LOGITS, np.float32)).top == ()
    assert sampler().choose(np.array(LOGITS, np.float32)).logprob is None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("place", [0, 5, 7])
def test_what_is_no_number_means_damaged_weights(bad, place):
    logits = np.array(LOGITS, np.float32)
    logits[place] = bad
    with pytest.raises(ModelFileError, match="weights are damaged"):
        sampler().choose(logits)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("temperature", "hot"),
        ("temperature", True),
        ("top_k", -1),
        ("top_k", 1.5),
        ("top_p", 0),
        ("top_p", 1.01),
        ("min_p", -0.1),
        ("min_p", 1.1),
        ("repetition_penalty", 0),
        ("presence_penalty", 2.1),
        ("frequency_penalty", -2.1),
        ("seed", -1),
        ("seed", 1.0),
        ("max_tokens", 0),
        ("stop", ["a", ""]),
        ("stop", [1]),
        ("stop", 5),
        ("logit_bias", {-1: 1.0}),
        ("logit_bias", {1: math.inf}),
        ("logit_bias", [1]),
        ("logprobs", -1),
    ],
)
def test_values_outside_their_range_are_refused_in_one_line(name, value):
    with pytest.raises(ParameterError, match=name) as caught:
        SamplingParameters.of({name: value})
    assert "\n" not in str(caught.value)


def test_an_unknown_name_is_refused_and_the_known_ones_told():
    with pytest.raises(ParameterError, match=r"'temprature'.*temperature, top_k"):
        SamplingParameters.of({"temprature": 1.0})


def test_one_stop_string_may_stand_alone():
    assert SamplingParameters(stop="User:").stop == ("User:",)
