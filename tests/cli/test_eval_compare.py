"""`pocketlm eval compare`: what it prints, and how it exits."""

import json

import pytest
from program import check_refusal

from evaluate.runs import choices, keep, rights


@pytest.fixture
def folders(tmp_path):
    made = []
    for name, skill in (("full", 0.6), ("quantised", 0.58), ("broken", 0.4)):
        samples = {
            "mmlu": choices(rights(skill, 300)),
            "arc": choices(rights(skill + 0.1, 300, seed=2), seed=2),
        }
        made.append(keep(tmp_path / name, samples, model=name))
    return made


def test_worse(pocketlm, folders):
    result = pocketlm("eval", "compare", folders[0], folders[2])
    assert result.returncode == 1
    assert result.stderr == ""
    assert "B is worse than A beyond the margin of 1 in mmlu, arc." in result.stdout
    assert [line.split()[0] for line in result.stdout.splitlines() if line][2:-1] == [
        "task",
        "mmlu",
        "arc",
        "mean",
    ]


def test_no_worse_and_undecided(pocketlm, folders):
    result = pocketlm("eval", "compare", folders[0], folders[1], "--margin", 5)
    assert result.returncode == 0
    assert "B is no worse than A beyond the margin of 5: at the lowest -" in result.stdout
    close = pocketlm("eval", "compare", folders[0], folders[1], "--margin", 2)
    assert close.returncode == 0
    assert "Too few items to tell whether B is worse beyond the margin of 2; about" in close.stdout
    assert pocketlm("eval", "compare", *folders[:2], "--margin", 2, "--strict").returncode == 1


def test_json(pocketlm, folders):
    result = pocketlm("eval", "compare", folders[0], folders[2], "--json")
    assert result.returncode == 1
    found = json.loads(result.stdout)
    assert (found["a"], found["b"], found["verdict"]) == ("full", "broken", "worse")
    assert found["tasks"]["mmlu"]["items"] == 300
    assert found["tasks"]["mmlu"]["difference"] == pytest.approx(
        found["tasks"]["mmlu"]["b"] - found["tasks"]["mmlu"]["a"]
    )
    assert found["overall"]["low"] < found["overall"]["difference"] < found["overall"]["high"]


def test_refusals(pocketlm, folders, tmp_path):
    other = keep(tmp_path / "other", {"mmlu": choices(rights(0.5, 300), seed=9)})
    result = pocketlm("eval", "compare", folders[0], other)
    check_refusal(result, "only A did arc", "--common", code=2)
    result = pocketlm("eval", "compare", folders[0], other, "--common")
    check_refusal(result, "mmlu: items 0 of mmlu", "ask different things", code=2)
    check_refusal(
        pocketlm("eval", "compare", tmp_path / "none", other), "there are no results", code=2
    )
    result = pocketlm("eval", "compare", folders[0], other, "--margin", "nan")
    check_refusal(result, "margin is nan", code=2)
