"""Comparing two runs: the rule, what is refused, and the program that says it."""

import json
import random

import pytest

from evaluate.runs import choices, keep, rights, written
from pocketlm.errors import ParameterError
from pocketlm.evaluate.comparison import compare
from pocketlm.evaluate.results import read
from pocketlm.evaluate.scores import tasks


def _tasks(folder, **changes):
    samples = {name: choices(right, seed=1) for name, right in changes.items()}
    return tasks(read(keep(folder, samples)))


def _compare(tmp_path, before, after, **options):
    return compare(_tasks(tmp_path / "a", **before), _tasks(tmp_path / "b", **after), **options)


def test_a_run_and_itself(tmp_path):
    found = _compare(tmp_path, {"one": rights(0.5, 900)}, {"one": rights(0.5, 900)})
    assert found.verdict == "no worse"
    assert found.overall.value == 0
    assert found.pairs["one"].before == pytest.approx(found.pairs["one"].after)
    assert found.p_values == {"one": 1}


def test_few_items_tell_little(tmp_path):
    found = _compare(tmp_path, {"one": rights(0.5, 20)}, {"one": rights(0.5, 20)})
    assert found.verdict == "undecided"
    assert 200 < found.items_needed < 5_000


def test_one_that_is_worse(tmp_path):
    found = _compare(tmp_path, {"one": rights(0.6, 400)}, {"one": rights(0.45, 400)})
    pair = found.pairs["one"]
    assert pair.difference.better == 0
    assert pair.difference.value == pytest.approx(pair.after - pair.before)
    assert found.verdict == "worse"
    wide = _compare(tmp_path, {"one": rights(0.6, 400)}, {"one": rights(0.45, 400)}, margin=40)
    assert wide.verdict == "no worse"


def test_one_that_is_better_is_no_worse(tmp_path):
    found = _compare(tmp_path, {"one": rights(0.4, 300)}, {"one": rights(0.7, 300)}, margin=0)
    assert found.verdict == "no worse"


def test_a_single_task_that_fell_is_not_hidden_by_the_mean(tmp_path):
    names = [f"task_{number}" for number in range(8)]
    before = {name: rights(0.5, 200, seed=n) for n, name in enumerate(names)}
    after = {name: rights(0.55, 200, seed=n) for n, name in enumerate(names)}
    after["task_3"] = rights(0.25, 200, seed=3)
    found = _compare(tmp_path, before, after)
    assert found.overall.value > -1
    assert found.worse_tasks == ["task_3"]
    assert found.verdict == "worse"


def test_the_rule_errs_as_seldom_as_it_says(tmp_path):
    """B is right 4 points less often, and the margin is 4: it may be called worse in 5 %."""
    called = {"worse": 0, "no worse": 0, "undecided": 0}
    draw = random.Random(0)
    run = tasks(read(keep(tmp_path / "a", {"one": choices([True] * 150)})))["one"]
    keys = list(run.items)
    for _ in range(250):
        before, after = {}, {}
        for key in keys:
            item = run.items[key]
            part = draw.random()
            before[key] = type(item)(float(part < 0.6), item.content, None)
            after[key] = type(item)(float(0.1 <= part < 0.66), item.content, None)
        sides = (
            {"one": type(run)("one", "acc", "none", each, 0, None)} for each in (before, after)
        )
        called[compare(*sides, margin=4).verdict] += 1
    assert called["worse"] <= 0.08 * 250
    assert called["no worse"] <= 0.08 * 250


def test_ratings_count_ten_points_a_step(tmp_path):
    for name, add in (("a", 0), ("b", -0.5)):
        items = [written(n, {"rating": 3 + n % 5 + add}, "x") for n in range(40)]
        keep(tmp_path / name, {"mt_bench": items})
    found = compare(tasks(read(tmp_path / "a")), tasks(read(tmp_path / "b")), margin=2)
    assert found.overall.value == pytest.approx(-5)
    assert found.verdict == "worse"


def test_an_item_that_no_judge_rated_is_not_compared(tmp_path):
    for name, unrated in (("a", {1}), ("b", {1, 2})):
        items = [written(n, {"rating": None if n in unrated else 5}, "x") for n in range(9)]
        keep(tmp_path / name, {"mt_bench": items})
    pair = tasks(read(tmp_path / "a")), tasks(read(tmp_path / "b"))
    with pytest.raises(ParameterError, match="only A did item 2 of mt_bench"):
        compare(*pair)
    assert compare(*pair, common=True).overall.count == 7


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({"one": 9, "two": 9}, {"one": 9}, "only A did two; run the same tasks"),
        ({"one": 9}, {"one": 9, "two": 9}, "only B did two"),
        ({"one": 9}, {"one": 12}, "one: only B did items 9 of one, 10 of one, 11 of one; run both"),
        ({"one": 20}, {"one": 9}, "only A did items 9 of one, 10 of one, 11 of one and 8 more"),
    ],
)
def test_other_items_are_refused(tmp_path, before, after, words):
    sides = [{name: rights(0.5, n) for name, n in side.items()} for side in (before, after)]
    with pytest.raises(ParameterError, match=words):
        _compare(tmp_path, *sides)
    assert _compare(tmp_path, *sides, common=True).overall.count == 9


def test_what_cannot_be_compared(tmp_path):
    one = _tasks(tmp_path / "a", one=rights(0.5, 9))
    other = tasks(read(keep(tmp_path / "b", {"one": choices(rights(0.5, 9), seed=2)})))
    with pytest.raises(ParameterError, match="ask different things"):
        compare(one, other)
    with pytest.raises(ParameterError, match="ask different things"):
        compare(one, other, common=True)
    passed = tasks(read(keep(tmp_path / "c", {"one": [written(0, {"passed": 1}, "x")]})))
    with pytest.raises(ParameterError, match="A has acc,none, B has passed,none"):
        compare(one, passed)
    with pytest.raises(ParameterError, match="no item in common; A did one, B did two"):
        compare(one, _tasks(tmp_path / "d", two=rights(0.5, 9)), common=True)
    with pytest.raises(ParameterError, match="margin is -1"):
        compare(one, one, margin=-1)
    (tmp_path / "a" / "samples_one.jsonl").unlink()
    with pytest.raises(ParameterError, match=r"A has no samples \(samples_one\.jsonl\)"):
        compare(tasks(read(tmp_path / "a")), one)


def test_which_metric_counts(tmp_path):
    items = [written(n, {"f1": 0.25, "exact_match": 0, "acc_norm": 1}, "x") for n in range(4)]
    run = read(keep(tmp_path, {"one": items}))
    assert tasks(run)["one"].metric == "exact_match"
    assert tasks(run, "acc_norm")["one"].estimate.value == 1
    assert tasks(run, "f1,none")["one"].estimate.value == 0.25
    assert tasks(run, "nonsense")["one"].metric == "exact_match"
    other = {"perplexity": 12.5, "acc_norm": 0.5, "win": 1}
    run = read(keep(tmp_path / "other", {"one": [written(0, other, "x")]}))
    assert tasks(run)["one"].metric == "acc_norm"  # the only share
    alone = read(keep(tmp_path / "alone", {"pairs": [written(0, {"win": 1}, "x")]}))
    assert tasks(alone) == {}  # says nothing of one model alone


def test_filters_of_the_harness_are_kept_apart(tmp_path):
    items = [
        written(n, {"exact_match": filter == "flexible"}, "x") | {"filter": filter}
        for filter in ("strict", "flexible")
        for n in range(5)
    ]
    stated = {"exact_match,strict": 0.0, "exact_match,flexible": 1.0}
    run = read(keep(tmp_path, {"gsm": items}, results={"results": {"gsm": stated}}))
    found = tasks(run)["gsm"]
    assert (found.filter, found.estimate.value, len(found.items)) == ("strict", 0, 5)
    assert tasks(run, "exact_match,flexible")["gsm"].estimate.value == 1


def test_subtasks_of_a_group_are_pooled(tmp_path):
    samples = {"m_a": choices([True] * 6), "m_b": choices([False] * 2), "alone": choices([True])}
    results = {name: {"acc,none": 0.5} for name in samples} | {"m": {"acc,none": 0.75}}
    more = {"results": results, "group_subtasks": {"m": ["m_inner"], "m_inner": ["m_a", "m_b"]}}
    found = tasks(read(keep(tmp_path, samples, results=more)))
    assert list(found) == ["m", "alone"]
    assert found["m"].estimate.value == pytest.approx(0.75)
    assert found["m"].estimate.count == 8
    # A group that states no mean is a list of tasks.
    del results["m"]
    assert list(tasks(read(keep(tmp_path, samples, results=more)))) == ["m_a", "m_b", "alone"]


def test_questions_about_one_passage_belong_together(tmp_path):
    items = choices(rights(0.5, 40))
    for item in items:
        item["doc"]["passage"] = f"passage {item['doc_id'] // 10}"
    found = tasks(read(keep(tmp_path, {"boolq": items})))["boolq"]
    alone = tasks(read(keep(tmp_path, {"boolq": choices(rights(0.5, 40))})))["boolq"]
    assert found.estimate.value == alone.estimate.value
    assert (found.estimate.low, found.estimate.high) != (alone.estimate.low, alone.estimate.high)


def test_a_run_without_samples_has_what_it_states(tmp_path):
    (tmp_path / "results.json").write_text(
        json.dumps({"results": {"one": {"acc,none": 0.4, "acc_stderr,none": 0.05}}})
    )
    found = tasks(read(tmp_path))["one"].estimate
    assert (found.value, found.low) == (0.4, pytest.approx(0.302))
