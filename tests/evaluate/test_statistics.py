"""Intervals and p values: as scipy has them, and as right in simulations as they say."""

import math

import numpy as np
import pytest
from scipy import stats

from pocketlm.evaluate.statistics import (
    flip_p,
    holm,
    mcnemar_p,
    mean,
    mean_of_differences,
    mean_of_means,
    paired,
    student_cdf,
    student_quantile,
    wilson,
)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 10, 31, 200, 1999, 2001, math.inf])
def test_students_distribution(freedom):
    for t in (-6, -1.3, 0, 0.2, 1, 2.5, 12):
        assert student_cdf(t, freedom) == pytest.approx(stats.t.cdf(t, freedom), abs=1e-4)
    for share in (0.9, 0.95, 0.975, 0.995):
        found = student_quantile(share, freedom)
        assert found == pytest.approx(stats.t.ppf(share, freedom), rel=2e-3)


def test_students_distribution_between_whole_degrees_of_freedom():
    for freedom in (1.5, 4.3, 17.9):
        reference = stats.t.ppf(0.975, freedom)
        assert reference < student_quantile(0.975, freedom) < 1.05 * reference  # on the safe side


@pytest.mark.parametrize(("right", "count"), [(0, 5), (5, 5), (1, 20), (11, 20), (250, 1000)])
def test_wilsons_interval(right, count):
    reference = stats.binomtest(right, count).proportion_ci(method="wilson")
    assert wilson(right, count) == pytest.approx((reference.low, reference.high), abs=1e-9)
    found = mean([1] * right + [0] * (count - right))
    assert (found.low, found.high) == wilson(right, count)
    assert found.value == right / count
    assert found.count == count


def test_the_mean_of_scores_that_are_not_0_or_1():
    scores = np.random.default_rng(1).uniform(size=30)
    found = mean(scores)
    reference = stats.t.interval(0.95, 29, scores.mean(), stats.sem(scores))
    assert (found.low, found.high) == pytest.approx(reference)


def test_one_item_tells_nothing_of_the_others():
    alone = paired([0.2], [0.1])
    assert math.isnan(alone.interval()[0])
    assert alone.p_below(-0.05) == 1
    assert math.isnan(mean_of_differences([alone, paired([1, 0], [1, 1])]).interval()[0])
    assert math.isnan(mean([0.4]).low)
    assert mean([1.0]).low == pytest.approx(
        stats.binomtest(1, 1).proportion_ci(method="wilson").low
    )
    with pytest.raises(ValueError, match="no scores"):
        mean([])
    with pytest.raises(ValueError, match="not pairs"):
        paired([1], [1, 0])


@pytest.mark.parametrize(
    ("better", "worse"), [(0, 0), (3, 3), (1, 8), (0, 6), (40, 71), (900, 801)]
)
def test_mcnemars_test(better, worse):
    reference = stats.binomtest(better, better + worse).pvalue if better + worse else 1
    assert mcnemar_p(better, worse) == pytest.approx(reference)


def test_flipping_signs_as_scipy_does():
    random = np.random.default_rng(2)
    few = random.normal(0.4, 1, 11)
    reference = stats.permutation_test((few,), np.sum, permutation_type="samples", n_resamples=1e5)
    assert flip_p(few) == pytest.approx(reference.pvalue)
    many = random.normal(0.15, 1, 200)
    close = stats.ttest_1samp(many, 0).pvalue
    assert flip_p(many) == pytest.approx(close, abs=0.01)
    assert flip_p([0, 0]) == 1


def test_a_paired_difference_of_right_and_wrong():
    before = [1, 1, 1, 0, 0, 1, 0, 1, 1, 1]
    after = [1, 0, 0, 0, 1, 1, 0, 0, 1, 1]
    found = paired(before, after)
    assert found.value == pytest.approx(-0.2)
    assert (found.better, found.worse, found.count) == (1, 3, 10)
    assert found.p == pytest.approx(stats.binomtest(1, 4).pvalue)
    low, high = found.interval()
    assert low < -0.2 < high


def test_a_paired_difference_of_other_scores():
    random = np.random.default_rng(3)
    before, noise = random.uniform(size=40), random.normal(0.05, 0.1, 40)
    found = paired(before, before + noise)
    reference = stats.ttest_rel(before + noise, before).confidence_interval()
    assert found.interval() == pytest.approx((reference.low, reference.high))
    less = stats.ttest_rel(before + noise - 0.07, before, alternative="less").pvalue
    assert found.p_below(0.07) == pytest.approx(less, abs=1e-6)


def test_nothing_changed():
    found = paired([0.5, 0.25], [0.5, 0.25])
    assert (found.value, found.p, found.interval()) == (0, 1, (0, 0))
    assert found.p_below(0.01) == 0
    assert found.p_below(0) == 1


def _coverage(draw, trials=600):
    """How often the interval that `draw` gives holds the truth that it gives."""
    held = 0
    for trial in range(trials):
        (low, high), truth = draw(np.random.default_rng(trial))
        held += low <= truth <= high
    return held / trials


@pytest.mark.parametrize("count", [20, 150])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_how_often_the_interval_of_a_share_holds(share, count):
    held = 0.0
    for right in range(count + 1):
        low, high = wilson(right, count)
        held += stats.binom.pmf(right, count, share) * (low <= share <= high)
    assert 0.92 <= held <= 0.98


@pytest.mark.parametrize(("gained", "lost"), [(0.02, 0.02), (0.1, 0.05), (0.05, 0.3)])
@pytest.mark.parametrize("count", [20, 200])
def test_how_often_the_interval_of_a_difference_holds(gained, lost, count):
    def draw(random):
        drawn = random.uniform(size=count)
        before = (drawn > gained).astype(float)  # what is gained was wrong before
        after = np.where(drawn > 1 - lost, 0.0, 1.0)
        return paired(before, after).interval(), gained - lost

    assert 0.93 <= _coverage(draw) <= 1


def test_groups_widen_the_interval_as_much_as_they_must():
    def draw(random, told):
        passages = random.normal(0.5, 0.2, 25)
        scores = np.repeat(passages, 8) + random.normal(0, 0.1, 200)
        found = mean(scores, list(np.repeat(np.arange(25), 8)) if told else None)
        return (found.low, found.high), 0.5

    assert _coverage(lambda random: draw(random, told=False)) < 0.7
    assert 0.92 <= _coverage(lambda random: draw(random, told=True)) <= 0.98


def test_groups_of_differences():
    random = np.random.default_rng(5)
    before = random.integers(2, size=60).astype(float)
    after = random.integers(2, size=60).astype(float)
    groups = list(np.repeat(np.arange(12), 5))
    found = paired(before, after, groups)
    sums = [float((after - before)[i * 5 : i * 5 + 5].sum()) for i in range(12)]
    assert found.p == pytest.approx(flip_p(sums))
    # With groups of one size the error is that of the groups' means.
    assert found.error == pytest.approx(stats.sem(np.array(sums) / 5))
    assert found.freedom == 11


@pytest.mark.parametrize("kind", ["right or wrong", "scores"])
def test_how_often_a_difference_is_seen_where_there_is_none(kind):
    seen = 0
    for trial in range(300):
        random = np.random.default_rng(trial)
        pair = random.uniform(size=(2, 60))
        before, after = (pair < 0.4).astype(float) if kind == "right or wrong" else pair
        seen += paired(before, after).p < 0.05
    assert seen / 300 <= 0.08


def test_many_tests_are_held_to_account():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx(
        {"a": 0.03, "c": 0.06, "b": 0.06}
    )
    assert holm({"a": 0.9, "b": 0.8}) == {"b": 1.0, "a": 1.0}
    assert holm({}) == {}


def test_tasks_count_alike_however_long_they_are():
    short, long = mean([1, 1, 0, 0]), mean([0] * 75 + [1] * 25)
    found = mean_of_means([short, long])
    assert found.value == pytest.approx(0.375)
    assert found.count == 104
    reach = math.hypot(short.value - short.low, long.value - long.low) / 2
    assert found.low == pytest.approx(found.value - reach)
    assert mean_of_means([mean([0] * 9), mean([0] * 9)]).high > 0.1

    def draw(random):
        tasks = []
        for count, gain in ((40, 0.1), (90, -0.05), (200, 0)):
            before = random.uniform(size=count)
            tasks.append(paired(before, before + random.normal(gain, 0.3, count)))
        return mean_of_differences(tasks).interval(), 0.05 / 3

    assert 0.92 <= _coverage(draw, 400) <= 0.98


@pytest.mark.parametrize(("gained", "lost"), [(0.05, 0.05), (0.6, 0.05), (0.0, 0.04)])
def test_many_short_tasks_of_right_and_wrong(gained, lost):
    """What is off in each task by itself must not add up in the mean over them."""

    def draw(random):
        tasks = []
        for _ in range(20):
            drawn = random.uniform(size=25)
            before = (drawn > gained).astype(float)
            tasks.append(paired(before, np.where(drawn > 1 - lost, 0.0, 1.0)))
        return mean_of_differences(tasks).interval(), gained - lost

    assert 0.93 <= _coverage(draw, 400) <= 1
