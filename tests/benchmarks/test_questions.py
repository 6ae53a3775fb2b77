"""Sets of questions in the forms that their files have, and how answers are judged."""

import gzip
import json

import pytest

from questions import foldoc
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
    with pytest.raises(ValueError, match=r"neither|not SQuAD"):
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


FOLDOC = """\
00-database-short

   Not an entry.

Lunn
LUNN

   <language> A teaching language designed by Ada Thorne at {Velder}
   College in 1971.  It has {coroutine}s, and it is said that nobody
   ever used the second half of its manual, which was lost in a fire.

   Lunn is unrelated to the operating system of that name, which was
   released in 1983, and also lost.

   (1999-07-10)

Orsk

   <tool> A short one.
"""


def test_a_dictionary_becomes_an_encyclopedia_and_questions(tmp_path):
    path = tmp_path / "foldoc.dict.dz"
    path.write_bytes(gzip.compress(FOLDOC.encode()))
    lunn, orsk = foldoc.entries(path)
    assert lunn.title == "Lunn"
    assert lunn.text.startswith("A teaching language designed by Ada Thorne at Velder College")
    assert lunn.text.endswith("and also lost.")
    assert orsk == foldoc.Entry("Orsk", "A short one.")
    (question,) = foldoc.questions([lunn, orsk])
    assert question.text == "Who designed Lunn?"
    assert question.answers[0] == "Ada Thorne"
    assert question.passage == lunn.path == "A/Lunn"
    foldoc.write_zim([lunn, orsk], tmp_path / "foldoc.zim")
    from libzim.reader import Archive

    archive = Archive(tmp_path / "foldoc.zim")
    assert archive.has_fulltext_index
    page = bytes(archive.get_entry_by_path("A/Lunn").get_item().content).decode()
    assert "<p>A teaching language" in page
