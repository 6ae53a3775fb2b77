"""Questions answered from passages by the real small model: with a citation, or not at all."""

import json
from pathlib import Path

import pytest

import pocketlm
from pocketlm.assistant.asking import MOST_CHARACTERS, NOT_FOUND, Asker, parts
from pocketlm.assistant.index.ranking import Ranker
from pocketlm.assistant.passage import Passage
from pocketlm.assistant.reading import choice
from pocketlm.errors import Error, NotIndexedError, ParameterError

PROBES = json.loads((Path(choice.__file__).parent / "probes.json").read_text())
PASSAGES = [
    Passage(f"/texts/{number}.txt", f"Text {number}", probe["passage"])
    for number, probe in enumerate(PROBES)
]


class Texts:
    """Passages, ranked as an index does."""

    def __init__(self, passages=PASSAGES, name="docs"):
        self.name = name
        self.passages = passages

    def search(self, query, count):
        return Ranker(None).best(query, self.passages, count)


class Broken:
    def __init__(self, name, error):
        self.name = name
        self.error = error

    def search(self, query, count):
        raise self.error


@pytest.fixture(scope="module")
def model(smollm2):
    with pocketlm.load(smollm2, threads=2, context=2048) as loaded:
        yield loaded


def ask(model, question, *sources, freely=False):
    told = []
    asker = Asker(model, sources or [Texts()], Ranker(None), freely=freely)
    return asker.ask(question, told.append), told


def test_an_answer_with_its_source(model):
    answer, told = ask(model, "Who conducts the Tallow Club?")
    assert answer.found
    assert answer.text == "Marta Sand [1]"
    (citation,) = answer.citations
    assert citation.passage.source == "/texts/1.txt"
    assert citation.quote.startswith("Its conductor, Marta Sand, took over")
    assert citation.supported
    assert told[0] == "searching docs"
    assert told[1].startswith("reading ")
    assert answer.as_json()["citations"][0]["passage"] == PASSAGES[1].text


def test_most_of_what_the_passages_say_is_found(model):
    right = asked = 0
    for probe in PROBES[:3]:
        for question, known in probe["asked"]:
            if known is not None:
                answer, _ = ask(model, question)
                asked += 1
                right += known in answer.text
                assert answer.found or answer.text == NOT_FOUND
                assert answer.found == bool(answer.citations)
    assert right >= asked / 2


@pytest.mark.parametrize("question", ["Who is the king of Denmark?", "zyzzyva?"])
def test_what_no_passage_says_is_not_found(model, question):
    answer, _ = ask(model, question)
    assert not answer.found
    assert answer.text == NOT_FOUND
    assert answer.citations == ()


def test_several_sources_and_what_went_wrong_with_some(model):
    docs, wiki = Texts(PASSAGES[:2]), Texts(PASSAGES[2:], "wiki")
    broken, empty = Broken("web", Error("no route")), Broken("attic", NotIndexedError("empty"))
    answer, told = ask(model, "What eats the young fronds?", docs, wiki, broken, empty)
    assert "moth" in answer.text
    assert answer.problems == ["web: no route"]  # nothing to search is no problem
    assert told[:3] == ["searching docs", "searching wiki", "searching web"]
    with pytest.raises(NotIndexedError):
        ask(model, "What?", empty)
    with pytest.raises(Error, match="no route"):
        ask(model, "What?", broken, empty)
    with pytest.raises(ParameterError, match="no word"):
        ask(model, "?!")


def test_a_free_answer_has_each_sentence_held_against_the_passages(model, monkeypatch):
    from pocketlm.assistant import asking

    written = "Marta Sand conducts the choir [3]. It was founded by Karl Marx in 1848."
    monkeypatch.setattr(asking, "answer_freely", lambda *_: written)
    answer, _ = ask(model, "Who conducts the choir?", freely=True)
    assert answer.text == (
        "Marta Sand conducts the choir. [1] It was founded by Karl Marx in 1848. [unsupported]"
    )
    (citation,) = answer.citations
    assert citation.passage == PASSAGES[1] or citation.passage.text == PASSAGES[1].text
    monkeypatch.setattr(asking, "answer_freely", lambda *_: None)
    answer, _ = ask(model, "Who conducts the choir?", freely=True)
    assert (answer.found, answer.text) == (False, NOT_FOUND)


def test_a_free_answer_is_the_models(model):
    answer, _ = ask(model, "Who conducts the Tallow Club?", freely=True)
    assert answer.text
    assert answer.found == bool(answer.citations)


def test_long_passages_are_read_in_parts(model):
    padding = "Nothing is said of it in this sentence at all. " * 60
    long = padding + "The lighthouse of Skarn is 48 metres tall. " + padding
    cut = parts(long)
    assert len(cut) > 3
    assert all(len(part) <= MOST_CHARACTERS for part in cut)
    assert " ".join(cut).split() == long.split()  # nothing is lost
    assert parts("x" * 4000) == ["x" * MOST_CHARACTERS, "x" * MOST_CHARACTERS, "x" * 1000]
    answer, _ = ask(model, "How tall is the lighthouse of Skarn?", Texts([Passage("/a", "", long)]))
    assert "48 metres" in answer.text
