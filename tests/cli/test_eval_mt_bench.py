"""`pocketlm eval MODEL --suite mt-bench`: the whole way, with the real small model."""

import json
import os

import pytest
from program import check_refusal

from evaluate.mt_bench.judges import fails, judge, says


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data" / "mt_bench"
    folder.mkdir(parents=True)
    turns = ["Say the word yes.", "Say the word no."]
    rows = [{"question_id": n, "category": f"c{n}", "turns": turns} for n in (1, 2)]
    (folder / "question.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder.parent


@pytest.fixture
def measure(pocketlm, smollm2, tmp_path, data):
    """Run it: with a small context, so that answers are short."""

    def run(*options, **environment):
        arguments = ["--suite", "mt-bench", "--data", data, "--out", tmp_path / "out"]
        more = ["--context", 96, "--threads", 1, *options]
        return pocketlm("eval", smollm2, *arguments, *more, **environment)

    return run


def test_a_judge_that_refuses_and_thinks_better_of_it(measure, pocketlm, tmp_path):
    kept = {"POCKETLM_JUDGE_KEY": "secret"}
    with judge(fails(403)) as server:
        refused = measure("--judge", server.url, **kept)
    check_refusal(refused, "answers 403", "2 answers are kept in", "the same command goes on")
    with judge(says("[[6]]")) as server:
        result = measure("--judge", server.url, "--json", **kept)
        assert server.keys == ["Bearer secret"] * 4
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["results"]["mt_bench"]["rating,none"] == 6
    assert found["pocketlm"]["suite"] == "mt-bench"
    assert "secret" not in "".join(
        (tmp_path / "out" / name).read_text() for name in os.listdir(tmp_path / "out")
    )
    page = tmp_path / "page.html"
    result = pocketlm("eval", "report", tmp_path / "out", "--out", page)
    assert result.returncode == 0, result.stderr
    assert f"by wise at {server.url}" in page.read_text()
    result = pocketlm("eval", "compare", tmp_path / "out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "B is no worse than A" in result.stdout


def test_refusals(measure, pocketlm, smollm2, tmp_path):
    check_refusal(measure(), "--judge URL", code=2)
    check_refusal(measure("--judge", "nonsense"), "write the URL of a server", code=2)
    elsewhere = measure("--judge", "https://judge.example/v1")
    check_refusal(elsewhere, "forbids the network")
    arguments = [
        "--suite",
        "mt-bench",
        "--data",
        tmp_path / "none",
        "--judge",
        "http://127.0.0.1:1",
    ]
    check_refusal(pocketlm("eval", smollm2, *arguments), "place question.jsonl", "FastChat", code=2)
