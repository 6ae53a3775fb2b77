"""Sets of questions in the forms that their files have, and how answers are judged."""

import json

import pytest
from questions.judging import exact, f1
from questions.reading import Question, read


def test_squads_form(test_data):
    asked = read(test_data / "xquad" / "xquad.en.json")
    assert len(asked) == 1190
    assert len({question.passage for question in asked}) == 240
    assert len({question.group for question in asked}) == 48
    assert all(answer in question.passage for question in asked for answer in question.answers)


def test_triviaqa(test_data, tmp_path):
    asked = read(test_data / "triviaqa" / "sample_150.jsonl")
    assert len(asked) == 150
    assert all(question.answers and question.passage is None for question in asked)
    item = {
        "Question": "Which river?",
        "QuestionId": "tc_1",
        "Answer": {"Value": "Lunn", "Aliases": ["The Lunn", "Lunn"]},
    }
    path = tmp_path / "verified-web-dev.json"
    path.write_text(json.dumps({"Data": [item]}))
    assert read(path) == [Question("Which river?", ("Lunn", "The Lunn"), "tc_1")]


def test_natural_questions(tmp_path):
    path = tmp_path / "NQ-open.dev.jsonl"
    path.write_text('{"question": "which river", "answer": ["Lunn", "the Lunn"]}\n\n')
    assert read(path) == [Question("which river", ("Lunn", "the Lunn"), "which river")]


@pytest.mark.parametrize(
    ("name", "text"), [("a.jsonl", '{"question": "?"}'), ("a.json", '{"rows": []}')]
)
def test_other_forms_are_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match="neither|not SQuAD"):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("answer", "known", "right", "overlap"),
    [
        ("The Lunn.", ["lunn"], 1, 1),
        ("river Lunn", ["Lunn", "the river"], 0, 2 / 3),
        ("4,000", ["4000"], 1, 1),
        ("rye", ["wheat"], 0, 0),
        ("", ["rye"], 0, 0),
        ("rye", [], 0, 0),
    ],
)
def test_judging(answer, known, right, overlap):
    assert exact(answer, known) == right
    assert f1(answer, known) == pytest.approx(overlap)
