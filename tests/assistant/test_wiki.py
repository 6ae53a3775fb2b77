"""Offline encyclopedias: archives written here by libzim, searched by their own indexes."""

import shutil

import pytest
from books import zim

from pocketlm.assistant import together
from pocketlm.assistant.embedder import Embedder
from pocketlm.assistant.index.documents import Documents
from pocketlm.assistant.index.index import Index
from pocketlm.assistant.index.ranking import Ranker
from pocketlm.assistant.wiki import Wiki
from pocketlm.assistant.zim import Archive, opener
from pocketlm.errors import NotIndexedError, ParameterError, SearchError

RANKER = Ranker(Embedder())
LONG = "Many more words stand here, about nothing at all. " * 8
ARTICLES = {
    "Tide": "<h1>Tide</h1><p>Tides are the rise and fall of sea levels, caused by the Moon.</p>"
    f"<p>{LONG}</p><h2>History</h2><p>{LONG}</p><p>Pytheas related them to the Moon in 325 BC.</p>"
    '<table class="infobox"><tr><td>infoboxword</td></tr></table>'
    '<sup class="reference">[7]</sup><div class="navbox">navboxword</div>',
    "Bay of Fundy": "<h1>Bay of Fundy</h1><p>The bay has the highest vertical range of all,"
    " 16 metres, between Nova Scotia and New Brunswick.</p>",
    "Moon": "<h1>Moon</h1><p>The Moon orbits Earth every 27 days.</p><!-- commentword -->",
    "Bread": "<h1>Bread</h1><p>Bread is baked of flour and water.</p><p hidden>hiddenword</p>",
    **{
        f"Village {n}": f"<p>A village with {n} houses by the sea and a church.</p>"
        for n in range(30)
    },
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("zim") / "little.zim"
    return zim(path, ARTICLES, {"Luna": "Moon", "Ebb and flow": "Tide"})


@pytest.fixture(scope="module")
def home(tmp_path_factory, archive):
    home = tmp_path_factory.mktemp("home")
    with Index.open(home) as index:
        index.add(archive)
    return home


@pytest.fixture(scope="module")
def wiki(home):
    wiki = Wiki(home, RANKER)
    yield wiki
    wiki.close()


@pytest.mark.parametrize(
    ("question", "entry"),
    [
        ("What causes tides?", "Tide"),
        ("Who related tides to the moon in 325 BC?", "Tide"),
        ("How high does the water rise in the Bay of Fundy?", "Bay_of_Fundy"),
        ("How long does Luna take for an orbit of the planet?", "Moon"),
        ("ingredients flour", "Bread"),
        ("bay of fundy", "Bay_of_Fundy"),
        ("purple elephants and their flour", "Bread"),
    ],
)
def test_a_question_finds_its_article(wiki, question, entry):
    best = wiki.search(question, 3)[0]
    assert best.source == f"zim:little/{entry}"


def test_passages_have_headings_and_no_tables_notes_or_hidden_words(wiki):
    passages = wiki.search("Pytheas history of the tide", 9)
    assert passages[0].title == "Tide › History"
    assert "325 BC" in passages[0].text
    text = " ".join(
        passage.text
        for word in ("infoboxword", "navboxword", "commentword", "hiddenword", "tide", "bread")
        for passage in wiki.search(word, 9)
    )
    assert "Bread is baked" in text
    assert "word " not in text
    assert "[7]" not in text


def test_what_is_not_there_is_not_found(wiki):
    assert wiki.search("zyzzyva", 5) == []
    with pytest.raises(ParameterError, match="no word"):
        wiki.search("?", 5)


def test_a_redirection_is_read_once(wiki):
    found = wiki.search("Luna, the Moon", 9)
    assert [passage.source for passage in found].count("zim:little/Moon") == 1
    assert "zim:little/Luna" not in {passage.source for passage in found}


def test_an_archive_without_a_full_text_index_by_titles(tmp_path):
    path = zim(
        tmp_path / "titles.zim", {"Moon": "<p>It orbits.</p>", "Sea": "<p>Salt.</p>"}, indexed=False
    )
    with Index.open(tmp_path) as index:
        index.add(path)
    wiki = Wiki(tmp_path, RANKER)
    assert [passage.source for passage in wiki.search("what is the moon", 3)] == ["zim:titles/Moon"]
    wiki.close()


def test_what_an_archive_says_of_itself(archive):
    child = opener()
    about = Archive(archive, child).about()
    assert about.title == "A small encyclopedia"
    assert about.full_text
    child.close()


def test_what_is_no_archive_is_not_added(tmp_path, archive):
    (tmp_path / "a.zim").write_bytes(b"no archive " * 100)
    data = bytearray(archive.read_bytes())
    (tmp_path / "b.zim").write_bytes(data[: len(data) // 2])
    with Index.open(tmp_path / "home") as index:
        for name in ("a.zim", "b.zim"):
            with pytest.raises(SearchError, match="no sound ZIM archive"):
                index.add(tmp_path / name)
        with pytest.raises(ParameterError, match="No such file"):
            index.add(tmp_path / "c.zim")
        assert index.sources() == []


def test_damage_within_an_archive_ends_no_one(tmp_path, archive):
    import random

    draw = random.Random(0)
    whole = archive.read_bytes()
    child = opener()
    for number in range(25):
        data = bytearray(whole)
        for _ in range(20):
            data[draw.randrange(80, len(data))] = draw.randrange(256)
        path = tmp_path / f"{number}.zim"
        path.write_bytes(data)
        broken = Archive(path, child)
        try:
            entries = broken.suggested("Moon", 5) + broken.searched("sea moon", 5)
            broken.passages(entries)
        except SearchError as error:
            assert str(path) in str(error)  # noqa: PT017
    assert Archive(archive, child).searched("flour", 5) == ["Bread"]
    child.close()


def test_an_archive_that_is_gone(tmp_path, archive):
    path = tmp_path / "gone.zim"
    shutil.copy(archive, path)
    with Index.open(tmp_path / "home") as index:
        index.add(path)
        path.unlink()
        (report,) = index.refresh()
        assert "not there now" in report.notes[0][1]
    wiki = Wiki(tmp_path / "home", RANKER)
    with pytest.raises(SearchError, match=r"gone\.zim cannot be opened: No such file"):
        wiki.search("moon", 1)


def test_nothing_added_is_told_apart(tmp_path):
    with pytest.raises(NotIndexedError, match="encyclopedia"):
        Wiki(tmp_path, RANKER).search("moon", 1)
    both = [Documents(tmp_path, RANKER), Wiki(tmp_path, RANKER)]
    with pytest.raises(NotIndexedError, match="document"):
        together.search(both, "moon", 1, RANKER)


def test_documents_and_encyclopedia_together(tmp_path, archive):
    (tmp_path / "notes.txt").write_text("My own notes on the tides: high at noon.")
    with Index.open(tmp_path) as index:
        index.add(archive)
        index.add(tmp_path / "notes.txt")
    both = [Documents(tmp_path, RANKER), Wiki(tmp_path, RANKER)]
    found = together.search(both, "tides high at noon, caused by the Moon", 3, RANKER)
    assert {passage.source for passage in found[:2]} == {
        str(tmp_path / "notes.txt"),
        "zim:little/Tide",
    }
