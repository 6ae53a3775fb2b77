"""MT-bench from questions to results, with the real small model: kept, resumed, judged fairly."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from xml.etree import ElementTree

import pytest

import pocketlm
from evaluate.mt_bench.judges import fails, in_turn, judge, says
from evaluate.runs import about
from pocketlm.errors import JudgeError, ParameterError
from pocketlm.evaluate.mt_bench import answers, run
from pocketlm.evaluate.mt_bench.judge import Judge
from pocketlm.evaluate.mt_bench.questions import Question
from pocketlm.evaluate.mt_bench.run import measure
from pocketlm.evaluate.results import read, write
from pocketlm.evaluate.scores import tasks

TOKENS = 12


@pytest.fixture(scope="module")
def model(smollm2):
    with pocketlm.load(smollm2, context=1024, threads=1) as loaded:
        yield loaded


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(answers, "MOST_TOKENS", TOKENS)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [
        {"question_id": number, "category": category, "turns": [f"Tell me of {what}.", "Shorter."]}
        for number, (category, what) in enumerate(
            [("writing", "cats"), ("writing", "dogs"), ("math", "2 + 2"), ("stem", "rain")], 1
        )
    ]
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    (folder / "question.jsonl").write_text(text)
    reference = {"question_id": 3, "choices": [{"turns": ["four", "4"]}]}
    (folder / "reference_answer_gpt-4.jsonl").write_text(json.dumps(reference))
    return folder


def _judge(server, **options):
    return Judge(server.url, "wise", **{"pauses": (0.01,), "seconds": 20.0} | options)


def _never(*_):
    raise AssertionError("it is answered already")


def _by_turn(body):
    """7 for first answers, 4 for second ones."""
    return "Fine. [[4]]" if "Question 2" in body["messages"][-1]["content"] else "Fine. [[7]]"


def test_answers_ratings_and_a_picture(model, data, tmp_path):
    said = []
    with judge(says(_by_turn)) as server:
        results, samples = measure(
            model, tmp_path / "out", judge=_judge(server), data=data, tell=said.append
        )
        assert len(server.asked) == 8
    found = results["results"]["mt_bench"]
    assert [found[f"{name},none"] for name in ("rating", "rating_1", "rating_2")] == [5.5, 7, 4]
    items = samples["mt_bench"]
    assert [item["doc_id"] for item in items] == [1, 3, 4, 2]  # the categories in turn
    assert all(0 < count <= TOKENS for item in items for count in item["tokens"])
    assert all(item["filtered_resps"][0] for item in items)
    of_math = [asked for asked in server.asked if "four" in str(asked["messages"])]
    assert len(of_math) == 2
    metadata = results["configs"]["mt_bench"]["metadata"]
    assert metadata["judge"] == f"wise at {server.url}"
    assert metadata["prompts"].startswith("pocketlm's own")
    assert (metadata["references"], metadata["unrated"]) == (1, 0)
    assert said[0].startswith("questions: 1 of 4")
    assert said[-1].startswith("ratings: 8 of 8")
    labels = [e.text for e in ElementTree.parse(tmp_path / "out" / run.RADAR).iter() if e.text]
    assert {"writing", "math", "stem"} <= set(labels)
    # What is written is what compare and report read.
    write(tmp_path / "out", results, samples, about(suite="mt-bench"))
    task = tasks(read(tmp_path / "out"))["mt_bench"]
    assert (task.estimate.value, task.points, len(task.items)) == (5.5, 10, 4)


def test_a_judge_that_is_away_costs_nothing(model, data, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with judge(says(_by_turn)) as server:
        pass  # it has gone
    with pytest.raises(JudgeError, match=r"4 answers are kept in .*out: the same command goes on"):
        measure(model, out, judge=_judge(server), data=data)
    monkeypatch.setattr(run, "answer", _never)
    # Two ratings come through before it breaks.
    with judge(in_turn(says("[[5]]"), says("[[5]]"), fails(400))) as server:
        with pytest.raises(JudgeError, match="answers 400"):
            measure(model, out, judge=_judge(server), data=data)
        server.manner = says("[[5]]")
        server.asked.clear()
        results, _ = measure(model, out, judge=_judge(server), data=data)
        assert len(server.asked) == 6
        assert results["results"]["mt_bench"]["rating,none"] == 5
        measure(model, out, judge=_judge(server), data=data)
        assert len(server.asked) == 6


def test_another_judge_rates_the_same_answers(model, data, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with judge(says("[[5]]")) as server:
        measure(model, out, judge=_judge(server), data=data)
        monkeypatch.setattr(run, "answer", _never)
        server.manner = says("[[9]]")
        other = Judge(server.url, "stern", pauses=())
        results, _ = measure(model, out, judge=other, data=data)
    assert results["results"]["mt_bench"]["rating,none"] == 9


def test_a_larger_limit_goes_on(model, data, tmp_path):
    with judge(says("[[5]]")) as server:
        _, first = measure(model, tmp_path, judge=_judge(server), data=data, limit=2)
        _, more = measure(model, tmp_path, judge=_judge(server), data=data, limit=3)
        assert len(server.asked) == 6
    assert more["mt_bench"][:2] == first["mt_bench"]


def test_other_questions_are_not_mixed_in(model, data, tmp_path):
    out = tmp_path / "out"
    with judge(says("[[5]]")) as server:
        measure(model, out, judge=_judge(server), data=data, limit=1)
        path = data / "question.jsonl"
        path.write_text(path.read_text().replace("cats", "bats"))
        with pytest.raises(ParameterError, match=r"another run \(questions "):
            measure(model, out, judge=_judge(server), data=data, limit=1)


def test_a_judge_that_forgets_the_rating_is_reminded_once(model, data, tmp_path):
    def manner(body):
        if body["messages"][-1]["content"].startswith("Give the rating alone"):
            assert [each["role"] for each in body["messages"][-2:]] == ["assistant", "user"]
            return "[[3]]" if "cats" in str(body) else "I would rather not."
        return "It is a fine answer."

    with judge(says(manner)) as server:
        results, samples = measure(model, tmp_path, judge=_judge(server), data=data)
        assert len(server.asked) == 16
    rated = {item["doc_id"]: item["rating"] for item in samples["mt_bench"]}
    assert rated == {1: 3, 2: None, 3: None, 4: None}
    assert results["configs"]["mt_bench"]["metadata"]["unrated"] == 3
    assert results["results"]["mt_bench"]["rating,none"] == 3
    why = samples["mt_bench"][0]["why"]
    assert "turn 1: It is a fine answer.\n\n[[3]]" in why


@pytest.fixture
def rival(model, data, tmp_path):
    """Another run, whose answers all say "rival"."""
    with judge(says("[[5]]")) as server:
        results, samples = measure(model, tmp_path / "base", judge=_judge(server), data=data)
    for item in samples["mt_bench"]:
        item["filtered_resps"] = ["the rival's", "the rival's again"]
    write(tmp_path / "rival", results, samples, about(suite="mt-bench"))
    return tmp_path / "rival"


def _first_wins(body):
    return "[[A]]" if "[[A]]" in str(body["messages"]) else "[[5]]"


def _ours_wins(body):
    text = str(body["messages"])
    if "[[A]]" not in text:
        return "[[5]]"
    # Who stands first: the part of A holds the rival's words or not.
    first = text.index("Answer of A")
    return "[[B]]" if "rival" in text[first : text.index("Answer of B")] else "[[A]]"


@pytest.mark.parametrize(
    ("manner", "win", "agreed"), [(_first_wins, 0.5, 0.0), (_ours_wins, 1.0, 1.0)]
)
def test_a_win_counts_only_in_both_orders(model, data, rival, tmp_path, manner, win, agreed):
    with judge(says(manner)) as server:
        results, samples = measure(
            model, tmp_path / "out", judge=_judge(server), data=data, against=rival
        )
        assert len(server.asked) == 8 + 16
    assert results["results"]["mt_bench_pairs"]["win,none"] == win
    assert results["results"]["mt_bench_pairs"]["agreed,none"] == agreed
    assert results["configs"]["mt_bench_pairs"]["metadata"]["against"] == str(rival)
    assert samples["mt_bench_pairs"][0]["target"] == ["the rival's", "the rival's again"]
    assert results["results"]["mt_bench"]["rating,none"] == 5


def test_against_what_did_not_answer_these(model, data, rival, tmp_path):
    path = data / "question.jsonl"
    path.write_text(path.read_text().replace("rain", "snow"))
    nobody = Judge("http://127.0.0.1:1/v1", "wise", pauses=())
    with pytest.raises(ParameterError, match="question 4 was not answered there, or is another"):
        measure(model, tmp_path / "out", judge=nobody, data=data, against=rival)
    assert not (tmp_path / "out").exists()


def test_answers_are_the_same_each_time_and_follow_the_conversation(model):
    question = Question(7, "math", ("My name is Ada.", "What is my name?"), None)
    first = answers.answer(model, question, threading.Event())
    warm = replace(question, category="writing")
    again = [answers.answer(model, warm, threading.Event()) for _ in range(2)]
    assert again[0]["turns"] == again[1]["turns"] != first["turns"]
    conversation = [
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": first["turns"][0]},
        {"role": "user", "content": "What is my name?"},
    ]
    expected = model.chat(conversation, temperature=0, max_tokens=TOKENS).text.strip()
    assert first["turns"][1] == expected
    stop = threading.Event()
    stop.set()
    with pytest.raises(answers.StoppedError):
        answers.answer(model, question, stop)


def test_a_turn_that_does_not_fit_is_answered_by_nothing(model):
    question = Question(7, "math", ("Say yes.", "word " * 1500), None)
    found = answers.answer(model, question, threading.Event())
    assert found["turns"][0]
    assert (found["turns"][1], found["tokens"][1], found["cut"][1]) == ("", 0, True)


def test_interruption_loses_nothing(model, data, tmp_path, monkeypatch):
    out = tmp_path / "out"
    count = []
    over = threading.Event()

    def tell(line):
        count.append(line)
        if len(count) == 6:  # four answers, two ratings
            os.kill(os.getpid(), signal.SIGINT)

    def never(*_):
        over.wait(60)

    five = says("[[5]]")
    with judge(in_turn(five, five, never)) as server:
        with pytest.raises(KeyboardInterrupt):
            measure(model, out, judge=_judge(server), data=data, tell=tell)
        over.set()
        ledger = (out / run.LEDGER).read_text()
        assert ledger.count('"rating"') == 2
        monkeypatch.setattr(run, "answer", _never)
        server.manner = five
        server.asked.clear()
        measure(model, out, judge=_judge(server), data=data)
        assert len(server.asked) == 6


def test_the_real_server_as_a_judge(model, smollm2, data, tmp_path):
    """Its ratings mean nothing; but what it says is asked for, read and kept."""
    home, log = tmp_path / "home", tmp_path / "log"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("POCKETLM_", "HF_"))}
    environment = kept | {"POCKETLM_HOME": str(home), "POCKETLM_OFFLINE": "1"}
    command = [sys.executable, "-m", "pocketlm", "serve", str(smollm2), "--port", "0"]
    with log.open("w") as stderr:
        process = subprocess.Popen(command, env=environment, stderr=stderr)
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"listening on (http://\S+);", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        # The only model of the server is found by itself.
        server = Judge(f"{found[1]}/v1", seconds=120, tokens=40)
        results, samples = measure(model, tmp_path / "out", judge=server, data=data, limit=1)
    finally:
        process.terminate()
        process.wait(20)
    assert smollm2.stem in results["configs"]["mt_bench"]["metadata"]["judge"]
    (item,) = samples["mt_bench"]
    assert len(item["why"]) > 40
    assert item["rating_1"] is None or 1 <= item["rating_1"] <= 10
