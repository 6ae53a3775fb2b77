import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketlm.assistant.reading.words import Text, is_of, kind_of, stem_of, topic

MILL = (
    "Orsk Mill (built 1783) stands on the Lunn. It cost $4,000.50, or 36.9% of the town's income. "
    'J. R. Velder called it "a wonder." Nobody else did!'
)


def test_sentences():
    assert Text(MILL).sentences == [
        "Orsk Mill (built 1783) stands on the Lunn.",
        "It cost $4,000.50, or 36.9% of the town's income.",
        'J. R. Velder called it "a wonder."',
        "Nobody else did!",
    ]
    assert Text("one line\n\nanother").sentences == ["one line", "another"]


def test_words_keep_together_what_belongs_together():
    words = [MILL[word.start : word.end] for word in Text(MILL).words]
    assert {"4,000.50", "36.9%", "town's", "1783", "("} <= {*words}
    marks = [MILL[word.start : word.end] for word in Text(MILL).words if not word.stem]
    assert {*marks} == {*'().$,"!'}


@given(st.text(max_size=300))
def test_words_lie_in_their_order_and_in_their_sentences(text):
    cut = Text(text)
    end = sentence = 0
    for word in cut.words:
        assert end <= word.start < word.end <= len(text)
        assert sentence <= word.sentence < len(cut.sentences)
        assert text[word.start : word.end] in cut.sentences[word.sentence]
        end, sentence = word.end, word.sentence


@pytest.mark.parametrize(
    ("one", "other"),
    [("painted", "paints"), ("Mills", "mill"), ("Velder's", "Velder"), ("quickly", "quick")],
)
def test_stems(one, other):
    assert stem_of(one) == stem_of(other)


def test_what_a_question_is_about():
    assert topic("When was the mill built by them?") == {"mill", "built"}
    assert topic("What is it?") == frozenset()


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("How many people came?", "number"),
        ("What percentage of them?", "number"),
        ("When did it fall?", "date"),
        ("In which year did it fall?", "date"),
        ("Who signed it?", "name"),
        ("Where is it?", "name"),
        ("Why did it fall?", None),
        ("Show me the whole thing", None),
    ],
)
def test_what_a_question_asks_for(question, kind):
    assert kind_of(question) == kind


@pytest.mark.parametrize(
    ("kind", "yes", "no"),
    [
        ("number", ["36.9%", "eleven weeks", "4,000"], ["the mill"]),
        ("date", ["in 1783", "early March", "the 1990s", "the 4th century"], ["4,000", "eleven"]),
        ("name", ["Jan Velder", "Lunn"], ["the Lunn", "in 1783", "Mill 4", ""]),
    ],
)
def test_what_a_phrase_is(kind, yes, no):
    assert all(is_of(kind, phrase) for phrase in yes)
    assert not any(is_of(kind, phrase) for phrase in no)
