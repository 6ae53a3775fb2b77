"""Levels and differences with intervals over seeds and items."""

import math

import numpy as np
import pytest

from pocketlm.recipe.demo.intervals import difference, level


def test_a_level_is_a_ratio_of_sums():
    # Two documents of 10 and 30 bytes: bits over all bytes, not the mean of the documents' rates.
    found = level(np.array([[20.0, 30.0]]), np.array([10.0, 30.0]))
    assert found.value == pytest.approx(50 / 40)
    assert all(math.isnan(end) for end in found.by_seeds)
    assert not found.told_apart


def test_the_interval_over_seeds_is_students():
    # Means 1, 2, 3: 2 ± t(0.975, 2) · 1 / √3, with t = 4.30265.
    scores = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    found = level(scores, np.ones(2))
    assert found.of_seeds == (1.0, 2.0, 3.0)
    reach = 4.30265 / math.sqrt(3)
    assert found.by_seeds == pytest.approx((2 - reach, 2 + reach), abs=1e-4)
    assert found.by_items == pytest.approx((2.0, 2.0))  # items are alike


def test_the_interval_over_items_is_about_the_normal_one():
    generator = np.random.default_rng(5)
    scores = generator.normal(0.3, 1.0, (1, 4000))
    low, high = level(scores, np.ones(4000)).by_items
    reach = 1.96 * scores.std() / math.sqrt(4000)
    assert low == pytest.approx(scores.mean() - reach, abs=0.1 * reach)
    assert high == pytest.approx(scores.mean() + reach, abs=0.1 * reach)


def test_arms_are_told_apart_only_where_both_intervals_agree():
    generator = np.random.default_rng(6)
    items = generator.normal(0, 1, 500)  # items differ much, and alike in both arms
    before = items + generator.normal(0, 0.01, (3, 500))
    clear = before + 0.1 + generator.normal(0, 0.01, (3, 500))
    assert difference(before, clear, np.ones(500)).told_apart
    assert difference(clear, before, np.ones(500)).told_apart
    # The mean gain is as large, but the seeds disagree about it.
    restless = before + np.array([[0.3], [0.1], [-0.1]])
    found = difference(before, restless, np.ones(500))
    assert found.value == pytest.approx(0.1, abs=0.01)
    assert found.by_items[0] > 0 > found.by_seeds[0]
    assert not found.told_apart
    # All seeds agree, but a few items make the gain.
    few = before.copy()
    few[:, :2] += 25
    found = difference(before, few, np.ones(500))
    assert found.by_seeds[0] > 0 >= found.by_items[0] - 0.05
    assert difference(before, before, np.ones(500)).told_apart is False


def test_items_of_a_group_are_drawn_together():
    generator = np.random.default_rng(7)
    of_group = generator.normal(0.3, 1.0, 400)
    scores, groups = np.repeat(of_group, 3)[None], [f"g{n // 3}" for n in range(1200)]
    alone, together = level(scores, np.ones(1200)), level(scores, np.ones(1200), groups)
    assert together.value == pytest.approx(alone.value)
    widths = [found.by_items[1] - found.by_items[0] for found in (alone, together)]
    assert widths[1] / widths[0] == pytest.approx(math.sqrt(3), rel=0.1)
