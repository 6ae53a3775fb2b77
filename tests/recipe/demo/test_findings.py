"""What findings say in words: who wins, who loses, what is not told apart."""

import numpy as np
import pytest

from pocketlm.recipe.demo import configuration, wording
from pocketlm.recipe.demo.findings import findings
from pocketlm.recipe.demo.items import Choice, Pair
from pocketlm.recipe.demo.judging import Asked
from pocketlm.recipe.demo.training import Plan

ITEMS = 400


@pytest.fixture
def asked():
    texts = {name: [f"text {number}" for number in range(ITEMS)] for name in ("textbook", "raw")}
    choices = [Choice("a", ("b", "c", "d", "e"), 0, f"k{n % 2}") for n in range(ITEMS)]
    return Asked(texts, choices, [Pair(f"a b {n // 2}", "b a", "order") for n in range(ITEMS)])


def scored(asked, better, seeds=3):
    """Scores of each arm, by how much better it is than others, measure by measure."""
    generator = np.random.default_rng(1)
    base = {
        "text-textbook": generator.uniform(8, 12, ITEMS),
        "text-raw": generator.uniform(8, 12, ITEMS),
        "choices": generator.normal(-1.2, 0.2, ITEMS),
        "choices-right": np.full(ITEMS, 0.3),
        "pairs": np.full(ITEMS, 0.6),
    }
    found = {}
    for arm in ("raw", "filtered", "mixed"):
        found[arm] = [
            {
                key: values
                + better.get((arm, key), 0)
                + np.random.default_rng([seed, *map(ord, arm + key)]).normal(0, 0.02, ITEMS)
                for key, values in base.items()
            }
            for seed in range(seeds)
        ]
    return findings(found, range(seeds), asked)


def said(found):
    return " ".join(wording.headlines(found))


def test_each_arm_that_wins_is_named(asked):
    better = {("filtered", "text-textbook"): -1.0, ("mixed", "text-textbook"): -1.0}
    better |= {("filtered", "text-raw"): 1.0, ("mixed", "text-raw"): 1.0}
    better |= {("filtered", "choices"): 0.1, ("mixed", "choices"): 0.1}
    found = scored(asked, better)
    text = said(found)
    assert found.comparison("text-textbook", "raw", "filtered").verdict == "better"
    assert found.comparison("text-raw", "raw", "filtered").verdict == "worse"
    assert found.comparison("choices", "raw", "filtered").verdict == "better"
    assert found.comparison("pairs", "raw", "filtered").verdict == "not told apart"
    assert "On held-back raw text the raw arm wins" in text
    assert "'filtered' beside the arm 'raw': better on held-back filtered text (-" in text
    assert "not told apart on minimal pairs" in text
    assert "Whether synthetic text helps, this run cannot tell" in text


def test_it_says_where_synthetic_text_loses(asked):
    found = scored(asked, {("mixed", "pairs"): -0.1, ("mixed", "text-textbook"): 1.0})
    assert "Synthetic text lost: worse on held-back filtered text and minimal pairs" in said(found)
    found = scored(asked, {("mixed", "pairs"): 0.1, ("mixed", "text-textbook"): 1.0})
    assert "lost on held-back filtered text and gained on minimal pairs" in said(found)


def test_bits_are_counted_by_the_byte(asked):
    found = scored(asked, {})
    nats = 10 / np.log(2)
    mean_bytes = np.mean([len(text) for text in asked.texts["raw"]])
    assert found.levels["text-raw"]["raw"].value == pytest.approx(nats / mean_bytes, rel=0.02)
    assert set(found.kinds["choices"]) == {"k0", "k1"}
    assert found.kind_counts["choices"]["k0"] == ITEMS // 2


def test_guessing_is_said(asked):
    assert "no arm is better than guessing" not in said(scored(asked, {}))
    worse = {(arm, "choices"): -0.5 for arm in ("raw", "filtered", "mixed")}
    assert "option's log share: no arm is better than guessing (-1.3863 nats)" in said(
        scored(asked, worse)
    )


def test_one_seed_tells_nothing_apart(asked):
    found = scored(asked, {("filtered", "text-textbook"): -3.0}, seeds=1)
    assert {each.verdict for each in found.comparisons} == {"not told apart"}
    assert "There is one seed" in said(found)


def test_limits_count_what_was_done(asked):
    setting = configuration.read("demo")
    decided = Plan(rate=7000, steps=500, tokens=2_048_000, shortened_by="")
    text = " ".join(wording.limits(setting, decided, scored(asked, {})))
    # 6 · 1.5e6 parameters · 2.05e6 tokens · 9 runs
    assert "1.7e+14 operations, 0.28 % of the 6e16" in text
    assert "There are 12 such comparisons" in text
