"""The needle test itself: prompts as long as said, facts where said, answers scored rightly."""

import re
from itertools import islice
from xml.etree import ElementTree

import pytest

import pocketlm
from pocketlm.errors import ContextError, ParameterError
from pocketlm.evaluate.filler import invented, sentences
from pocketlm.evaluate.heatmap import heat_map
from pocketlm.evaluate.needle import ANSWER, Haystack, Needle

NEEDLE = Needle("lighthouse", 48213)


@pytest.fixture(scope="module")
def model(smollm2):
    with pocketlm.load(smollm2, context=1024) as loaded:
        yield loaded


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("48213", True),
        ("The secret number of the lighthouse is 48213.", True),
        ("It is 48,213!", True),
        ("1. 48213", True),
        ("4821", False),
        ("482130", False),
        ("148213", False),
        ("48 213", False),
        ("forty-eight thousand", False),
        ("", False),
    ],
)
def test_an_answer_is_right_if_it_holds_the_number(answer, found):
    assert NEEDLE.found_in(answer) is found


def test_facts_differ_and_the_same_seed_gives_the_same():
    drawn = [Needle.draw(0, length, 50, trial) for length in (512, 1024) for trial in range(20)]
    assert len({needle.number for needle in drawn}) > 35
    assert len({needle.place for needle in drawn}) > 5
    assert drawn[0] == Needle.draw(0, 512, 50, 0)
    assert drawn[0] != Needle.draw(1, 512, 50, 0)
    assert all(str(needle.number) in needle.sentence for needle in drawn)
    assert not any(str(needle.number) in needle.question for needle in drawn)


def test_invented_sentences_hide_nothing_themselves():
    found = list(islice(invented(0), 2000))
    assert found == list(islice(invented(0), 2000))
    assert found != list(islice(invented(1), 2000))
    assert len(set(found)) > 1900
    places = {Needle.draw(seed).place for seed in range(500)}
    for sentence in found:
        assert re.fullmatch(r"[A-Z][^.]*\.", sentence)
        assert not re.search(r"\d|secret|number", sentence)
        assert not any(place in sentence for place in places)


def test_sentences_of_a_text():
    text = "One  two.\nIs it?  Yes!\n\nNo end"
    assert list(sentences(text)) == ["One two.", "Is it?", "Yes!", "No end"]


def test_prompts_are_as_long_as_said_and_hide_the_fact_where_said(model, monkeypatch):
    asked = []
    chat = model.chat

    def listening(messages, **options):
        asked.append(messages[0]["content"])
        return chat(messages, **options)

    monkeypatch.setattr(model, "chat", listening)
    haystack = Haystack(model, invented(0), lengths=[600, 300], depths=[0, 40, 100], trials=2)
    haystack.run()
    cells = [(cell.length, cell.depth) for cell in haystack.cells]
    assert cells == [(300, 100), (300, 40), (300, 0), (600, 100), (600, 40), (600, 0)]
    trials = [(cell, trial) for cell in haystack.cells for trial in cell.trials]
    assert len(asked) == len(trials) == 12
    for content, (cell, trial) in zip(asked, trials, strict=True):
        assert cell.length - 30 < trial.prompt_tokens <= cell.length  # a sentence less
        text, _, question = content.rpartition("\n\n")
        assert question == trial.needle.question
        said = list(sentences(text))
        at = said.index(trial.needle.sentence)
        assert at == round((len(said) - 1) * cell.depth / 100)
        rest = said[:at] + said[at + 1 :]
        assert rest == list(islice(invented(0), len(rest)))
    # Even this model finds most of them; and what it says is what is scored.
    assert sum(trial.found for _, trial in trials) >= 10


def test_little_but_what_follows_the_fact_is_processed(model, monkeypatch):
    cached = {}
    chat = model.chat

    def watching(messages, **options):
        answer = chat(messages, **options)
        cached[answer.prompt_tokens, messages[0]["content"]] = answer.cached_tokens
        return answer

    monkeypatch.setattr(model, "chat", watching)
    model.engine.blocks.clear()
    Haystack(model, invented(3), lengths=[400, 900], depths=[0, 50, 100]).run()
    held = list(cached.values())
    assert held[0] == 0
    assert held[1] > 130  # half of 400, but for the frame and a last block
    assert held[3] > 300  # a longer prompt begins as the shorter ones
    assert held[4] > 380


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"lengths": [1000]}, ContextError, ["1,000", str(ANSWER), "1,024"]),
        ({"lengths": [10]}, ParameterError, ["10 tokens", "too short"]),
        ({"lengths": [0]}, ParameterError, ["lengths"]),
        ({"lengths": []}, ParameterError, ["lengths"]),
        ({"depths": [101]}, ParameterError, ["depths", "100"]),
        ({"depths": []}, ParameterError, ["depths"]),
        ({"trials": 0}, ParameterError, ["trials is 0"]),
        ({"filler": ["Too little."]}, ParameterError, ["the text has", "512"]),
    ],
)
def test_what_cannot_be_measured(model, options, error, words):
    with pytest.raises(error) as caught:
        Haystack(model, options.pop("filler", invented(0)), **{"lengths": [512], **options}).run()
    for word in words:
        assert word in str(caught.value)


def test_lengths_as_the_context_allows(model):
    haystack = Haystack(model, invented(0), depths=[100])
    haystack.run()
    assert [cell.length for cell in haystack.cells] == [512]  # 1,024 leave no room for an answer


def test_the_picture_has_every_number():
    shares = {("512", "0 %"): 1.0, ("512", "50 %"): 0.25, ("1,024", "0 %"): 0.0}
    about = {"title": "a <b> & c", "subtitle": "s", "across": "tokens", "down": "depth"}
    picture = heat_map(shares, ["512", "1,024"], ["0 %", "50 %"], **about)
    root = ElementTree.fromstring(picture)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    for text in ("a <b> & c", "s", "tokens", "depth", "512", "1,024", "0 %", "50 %", "25 %"):
        assert text in texts
    assert texts.count("100 %") == 2  # a cell and the scale
    assert texts.count("0 %") == 3  # a row too
    cells = [e for e in root.iter("{http://www.w3.org/2000/svg}rect") if e.get("rx")]
    assert len({cell.get("fill") for cell in cells}) == 4  # of them one without a share
