"""Questions and prompts: read from files or our own; ratings are found where judges put them."""

import json
import re

import pytest

from pocketlm.errors import ParameterError
from pocketlm.evaluate.mt_bench.prompts import FILE, OWN, rating, winner
from pocketlm.evaluate.mt_bench.prompts import read as read_prompts
from pocketlm.evaluate.mt_bench.questions import Question, chosen, digest, read

HELD = Question(101, "math", ("What is 2 + 2?", "And 3 more?"), ("4", "7"))
FREE = Question(81, "writing", ("Write {a} poem.", "Shorter."), None)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Good. Rating: [[7]]", 7),
        ("[[10]]", 10),
        ("[[ 8.5 ]]", 8.5),
        ("The answer says [[10]], which is bold.\nRating: [[2]]", 2),
        ("Rating: 6", 6),
        ("**Rating: [4]**", 4),
        ("Rating: **9**/10", 9),
        ("[[0]]", None),
        ("[[11]]", None),
        ("[[seven]]", None),
        ("I would give 7 out of 10.", None),
        ("", None),
    ],
)
def test_ratings(text, found):
    assert rating(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [("[[A]]", "a"), ("A wins, not [[A]]: [[B]]", "b"), ("[[C]]", "tie"), ("[[D]] A", None)],
)
def test_verdicts(text, found):
    assert winner(text) == found


@pytest.fixture(params=["own", "file"])
def prompts(request):
    if request.param == "own":
        return OWN
    folder = request.getfixturevalue("test_data") / "mt_bench"
    found = read_prompts(folder)
    assert re.fullmatch(rf"{FILE} [0-9a-f]{{12}}", found.source)
    return found


@pytest.mark.parametrize("question", [HELD, FREE])
@pytest.mark.parametrize("turn", [0, 1])
def test_all_that_a_judge_needs_is_there(prompts, question, turn):
    # Braces of an answer are the answer's; nothing is filled in twice.
    answers = ("first {question_2} answer", "second {answer_1} answer")
    text = "\n".join(each["content"] for each in prompts.single(question, answers, turn))
    assert question.turns[0] in text
    assert answers[0] in text
    assert (question.turns[1] in text) == (answers[1] in text) == (turn == 1)
    assert "[[rating]]" in text
    if question is HELD:
        assert "reference answer" in text.lower()
        assert re.search(r"\n7\n", text) or turn == 0
    pair = prompts.pair(question, answers, ("other one", "other two"), turn)
    text = "\n".join(each["content"] for each in pair)
    assert text.index(answers[turn]) < text.index(("other one", "other two")[turn])
    assert all(verdict in text for verdict in ("[[A]]", "[[B]]", "[[C]]"))
    filled = text.replace(answers[0], "").replace(answers[1], "").replace(FREE.turns[0], "")
    assert not re.search(r"\{\w+\}", filled)


def test_without_a_reference_none_is_spoken_of():
    lone = Question(101, "math", ("What?", "And?"), None)
    text = "\n".join(each["content"] for each in OWN.single(lone, ("x", "y"), 1))
    assert "eference" not in text


def test_the_real_questions(test_data):
    questions = read(test_data)
    assert len(questions) == 80
    assert questions == read(test_data / "mt_bench")
    assert {each.number for each in questions if each.reference} == set(range(101, 131))
    few = chosen(questions, 10)
    assert len({each.category for each in few[:8]}) == 8
    assert few == chosen(questions, 40)[:10]
    assert sorted(each.number for each in chosen(questions, None)) == list(range(81, 161))
    assert digest(questions) != digest(few)


def _lines(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    )


ROW = {"question_id": 1, "category": "math", "turns": ["a", "b"]}
REFERENCE = {"question_id": 1, "choices": [{"turns": ["x", "y"]}]}


def test_references_where_fastchat_has_them(tmp_path):
    _lines(tmp_path / "question.jsonl", ROW)
    _lines(tmp_path / "reference_answer" / "gpt-4.jsonl", REFERENCE)
    assert read(tmp_path)[0].reference == ("x", "y")


def test_no_data(tmp_path, monkeypatch):
    with pytest.raises(ParameterError, match=r"place question\.jsonl and .*FastChat.*--data"):
        read(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParameterError, match=str(tmp_path)):
        read(None)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{", "line 2: this is not JSON"),
        ("[" * 100_000, "line 2: this is not JSON"),
        ([1], "line 2: this is no JSON object"),
        ({"question_id": 2, "category": "x", "turns": ["a"]}, "no question of two turns"),
        ({"category": "x", "turns": ["a", "b"]}, "no question of two turns"),
        (ROW, "question_id comes twice"),
    ],
)
def test_questions_that_are_none(tmp_path, row, words):
    _lines(tmp_path / "question.jsonl", ROW, row)
    with pytest.raises(ParameterError, match=words):
        read(tmp_path)


def test_broken_references_and_prompts(tmp_path):
    _lines(tmp_path / "question.jsonl")
    with pytest.raises(ParameterError, match="holds no question"):
        read(tmp_path)
    _lines(tmp_path / "question.jsonl", ROW)
    _lines(tmp_path / "reference_answer_gpt-4.jsonl", {"question_id": 1, "choices": []})
    with pytest.raises(ParameterError, match="no reference answer"):
        read(tmp_path)
    assert read_prompts(tmp_path) is OWN
    _lines(tmp_path / FILE, {"name": "single-v1"})
    with pytest.raises(ParameterError, match="no prompts for a judge"):
        read_prompts(tmp_path)
    _lines(tmp_path / FILE, {"name": "single-v1", "system_prompt": "", "prompt_template": ""})
    with pytest.raises(ParameterError, match=r"there is no prompt pair-math-v1, "):
        read_prompts(tmp_path)
