"""The plan's file, and the seeds that it decides."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pocketlm.errors import ParameterError
from pocketlm.recipe.data.synthesis.plan import AUDIENCES, STYLES, Plan, read
from pocketlm.recipe.data.synthesis.run import series_of
from pocketlm.recipe.data.synthesis.seeds import Seeds

PLAN = """\
name: lessons
documents: 10
topics: topics.txt
kinds:
  - kind: textbook
    share: 2
  - kind: reasoning
    topics: [a market, a farm]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "topics.txt").write_text("# what to write of\ntides\n\n  how  bread rises \n")
    made = tmp_path / "plan.yaml"
    made.write_text(PLAN)
    return made


def test_a_plan(path: Path) -> None:
    plan = read(path)
    assert plan.topics == ("tides", "how bread rises")
    assert plan.wanted() == {"textbook": 7, "reasoning": 3}
    textbook, reasoning = series_of(plan)
    assert textbook.seeds.distinct == 2 * len(AUDIENCES) * len(STYLES)
    assert {reasoning.seeds[n].topic for n in range(9)} == {"a market", "a farm"}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("documents: 10", "documents: 10\ntokens: 10", "documents are wanted, or how many tokens"),
        ("documents: 10\n", "", "documents are wanted, or how many tokens"),
        ("documents: 10", "documents: 0", "line 2: documents"),
        ("topics.txt", "none.txt", "line 3: topics: .*none.txt: cannot be read"),
        ("topics: topics.txt", "topics: []", "line 3: topics: names nothing"),
        ("topics: topics.txt", "topics: [a, a]", "line 3: topics: 'a' is there twice"),
        ("kind: textbook", "kind: book", "line 5: kinds.1"),
        ("share: 2", "share: 0", "line 6: kinds.1.share"),
        ("share: 2", "words: [9, 3]", "textbook: 9 is more than 3"),
        ("kind: reasoning", "kind: textbook", "textbook is there twice"),
        ("topics: [a", "problems: [chess]\n    topics: [a", "'chess' is none of shopping"),
        ("share: 2", "length: 3", "line 6: kinds.1.length: there is no such field"),
    ],
)
def test_mistakes_are_said_by_line(path: Path, old: str, new: str, words: str) -> None:
    assert old in PLAN
    path.write_text(PLAN.replace(old, new))
    with pytest.raises(ParameterError, match=words):
        read(path)


@pytest.mark.parametrize("shares", [(1, 1, 1), (0.5, 0.3, 0.2), (5, 1, 90)])
def test_shares_add_up(shares: tuple[float, ...]) -> None:
    names = ("textbook", "exercise", "dialogue")
    kinds = [{"kind": n, "share": s} for n, s in zip(names, shares, strict=True)]
    for documents in (1, 7, 100):
        plan = Plan.model_validate(
            {"name": "a", "documents": documents, "topics": ["t"], "kinds": kinds}
        )
        wanted = plan.wanted()
        assert sum(wanted.values()) == documents
        for name, share in zip(names, shares, strict=True):
            assert abs(wanted[name] - documents * share / sum(shares)) < 1


def test_all_combinations_come_before_one_comes_again() -> None:
    topics, audiences, styles = [f"t{n}" for n in range(7)], ["a", "b"], ["x", "y", "z"]
    seeds = Seeds(3, "textbook", topics, audiences, styles)
    assert seeds.distinct == 42
    found = [seeds[n] for n in range(84)]
    triples = [(seed.topic, seed.audience, seed.style) for seed in found]
    assert len(set(triples[:42])) == 42
    assert set(Counter(triples).values()) == {2}
    for start in range(0, 84, 7):
        assert {seed.topic for seed in found[start : start + 7]} == set(topics)
    assert len({seed.random for seed in found}) == 84
    assert all(0 <= seed.random < 2**31 for seed in found)


def test_seeds_depend_on_the_plans_seed_and_on_nothing_else() -> None:
    lists = (["t", "u", "v"], ["a", "b"], ["x"])
    row = [Seeds(1, "textbook", *lists)[n] for n in range(20)]
    again = Seeds(1, "textbook", *lists)
    assert [again[n] for n in reversed(range(20))] == row[::-1]
    assert [Seeds(2, "textbook", *lists)[n] for n in range(20)] != row
    assert [Seeds(1, "dialogue", *lists)[n].random for n in range(20)] != [s.random for s in row]
    # They are what they are: a change would ask everything anew of those who go on with a run.
    first = row[0]
    assert (first.topic, first.audience, first.random) == ("t", "a", 1450280078)
