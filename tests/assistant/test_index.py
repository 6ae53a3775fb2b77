"""The index: what is found, what is kept up to date, and what may happen to it meanwhile."""

import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from books import pdf

from pocketlm.assistant.embedder import Embedder
from pocketlm.assistant.index.index import Index
from pocketlm.assistant.index.ranking import Ranker
from pocketlm.assistant.index.text_index import TextIndex
from pocketlm.assistant.index.words import words
from pocketlm.assistant.passage import Passage
from pocketlm.errors import ParameterError, SearchError

WORDS = Ranker(None)


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def index(home):
    with Index.open(home, WORDS) as index:
        yield index


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "documents"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "tides.md").write_text("# Tides\n\nThe Moon causes the tides of the sea.\n")
    (folder / "bread.txt").write_text("Bread is made of flour, water, yeast and salt.")
    (folder / "deep" / "er" / "work.py").write_text("def bake(loaf):\n    return heat(loaf)\n")
    return folder


def sources(index, query, count=5):
    return [Path(passage.source).name for passage in index.search(query, count)]


def test_what_is_added_is_found(index, folder):
    (report,) = index.add(folder)
    assert (report.added, report.changed, report.removed, report.same) == (3, 0, 0, 0)
    assert report.problems == []
    (best,) = index.search("What causes the tides?")
    assert best.source == str(folder / "tides.md")
    assert best.title == "Tides"
    assert best.text == "The Moon causes the tides of the sea."
    assert best.score == 1
    assert sources(index, "baking bread") == ["bread.txt", "work.py"]
    assert sources(index, "unheard") == []
    (entry,) = index.sources()
    assert entry == (str(folder), "folder", 3, 3, 0, True)


def test_words_without_meaning_and_without_letters(index, folder):
    index.add(folder)
    assert words("What is the TIDE, the tide?") == ["tide"]
    assert words("who is who") == ["who", "is"]
    assert len(words(" ".join(map(str, range(999))))) == 64
    for query in ("", "?!", "\u200b", "_"):
        with pytest.raises(ParameterError, match="no word"):
            index.search(query)
    # What would be an operator in a language of queries is a word.
    assert sources(index, 'bread" AND NOT (flour* OR title:x) -salt') == ["bread.txt"]


def test_stems_case_and_accents(index, tmp_path):
    (tmp_path / "a.txt").write_text("Cafés were opening in LONDON's streets")
    index.add(tmp_path / "a.txt")
    for query in ("cafe", "Café", "opened", "street london"):
        assert sources(index, query) == ["a.txt"], query


def test_only_what_changed_is_read_again(index, folder):
    index.add(folder)
    (report,) = index.add(folder)
    assert (report.added, report.changed, report.removed, report.same) == (0, 0, 0, 3)
    (folder / "bread.txt").write_text("Now about rye alone, which is a grain.")
    (folder / "tides.md").unlink()
    (folder / "new.txt").write_text("Something about oats.")
    (report,) = index.refresh()
    assert (report.added, report.changed, report.removed, report.same) == (1, 1, 1, 1)
    assert sources(index, "flour") == []
    assert sources(index, "tides") == []
    assert sources(index, "rye grain") == ["bread.txt"]
    assert sources(index, "oats") == ["new.txt"]


def test_a_file_that_only_was_touched_is_not_parsed_again(index, folder):
    index.add(folder)
    os.utime(folder / "bread.txt", (1, 1))
    (report,) = index.refresh(folder)
    assert (report.changed, report.duplicates, report.passages) == (1, 1, 0)
    assert sources(index, "flour") == ["bread.txt"]


def test_duplicates_are_kept_once(index, folder):
    (folder / "again.txt").write_bytes((folder / "bread.txt").read_bytes())
    (report,) = index.add(folder)
    assert (report.added, report.duplicates, report.passages) == (4, 1, 3)
    assert sources(index, "flour") == ["again.txt"]
    (folder / "again.txt").unlink()
    index.refresh()
    assert sources(index, "flour") == ["bread.txt"]


def test_the_same_words_in_several_files_are_shown_once(index, folder):
    for number in range(9):
        (folder / f"{number}.txt").write_text(f"Licence: none at all.\n\n{number}")
        (folder / f"{number}.md").write_text("Licence:  none at all.")
    index.add(folder)
    texts = [passage.text for passage in index.search("licence", 20)]
    assert texts.count("Licence: none at all.") == 1
    assert len(texts) == 10


def test_what_is_passed_over_is_counted(index, folder):
    for name in (".git/config", "node_modules/x.js", "env/pyvenv.cfg", "env/lib.py", "a.min.js"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("unwanted")
    (folder / ".hidden.txt").write_text("unwanted")
    (folder / "picture.png").write_bytes(b"\x89PNG\0unwanted")
    os.mkfifo(folder / "pipe")
    (report,) = index.add(folder)
    assert report.added == 3
    assert report.skipped == {
        "hidden": 2,
        "made by programs": 3,
        "not text": 1,
        "devices and pipes": 1,
    }
    assert sources(index, "unwanted") == []


def test_links_lead_nowhere(index, folder, tmp_path):
    (tmp_path / "secret.txt").write_text("the secret")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "more.txt").write_text("another secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "loop").symlink_to(folder)
    (report,) = index.add(folder)
    assert (report.added, report.skipped["links"]) == (3, 3)
    assert sources(index, "secret") == []


def test_a_file_that_becomes_a_link_is_gone(index, folder, tmp_path):
    index.add(folder)
    (tmp_path / "secret.txt").write_text("the secret")
    (folder / "bread.txt").unlink()
    (folder / "bread.txt").symlink_to(tmp_path / "secret.txt")
    (report,) = index.refresh()
    assert report.removed == 1
    assert sources(index, "secret flour") == []


def test_bad_files_are_told_of_and_the_rest_is_read(index, folder):
    (folder / "bad.pdf").write_bytes(b"%PDF-1.4 and nothing more")
    (folder / "bad.epub").write_bytes(b"no archive")
    (folder / "good.pdf").write_bytes(pdf(["All about whales."], "Whales"))
    os.close(os.open(os.fsencode(folder) + b"/\xff.txt", os.O_CREAT))
    (report,) = index.add(folder)
    assert report.added == 4
    assert {Path(path).name for path, _ in report.problems} == {"bad.pdf", "bad.epub", "\\xff.txt"}
    assert sources(index, "whales") == ["good.pdf"]
    assert index.sources()[0].problems == 2
    assert [Path(path).name for path, _ in index.problems()] == ["bad.epub", "bad.pdf"]
    (report,) = index.refresh()  # they are not tried again
    assert report.same == 6


def test_a_missing_package_is_tried_again(index, folder, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    (folder / "good.pdf").write_bytes(pdf(["All about whales."], "Whales"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == "pypdf" else real(n))
    (report,) = index.add(folder)
    assert [reason for _, reason in report.problems] == [
        "needs pypdf: pip install 'pocketlm[search]'"
    ]
    monkeypatch.undo()
    index.refresh()
    assert sources(index, "whales") == ["good.pdf"]


def test_what_cannot_be_added(index, folder, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (folder / ".hidden.txt").write_text("x")
    for path, reason in (
        (tmp_path / "none", "No such file"),
        (tmp_path / "pipe", "neither a folder nor a file"),
        (tmp_path / os.fsdecode(b"\xff"), "No such file|UTF-8"),
    ):
        with pytest.raises(ParameterError, match=reason):
            index.add(path)
    index.add(folder)
    with pytest.raises(ParameterError, match="passed over"):
        index.add(folder / ".hidden.txt")
    with pytest.raises(ParameterError, match="was not added"):
        index.remove(tmp_path / "none")


def test_sources_take_in_those_within_them(index, folder):
    index.add(folder / "bread.txt")
    index.add(folder / "deep")
    assert len(index.sources()) == 2
    (report,) = index.add(folder)
    assert (report.added, report.same) == (1, 2)
    assert [entry.path for entry in index.sources()] == [str(folder)]
    (report,) = index.add(folder / "deep" / "er")  # is in it already
    assert report.path == str(folder)
    assert len(index.sources()) == 1


def test_forgetting_a_source(index, folder, tmp_path):
    (tmp_path / "copy.txt").write_bytes((folder / "bread.txt").read_bytes())
    index.add(folder)
    index.add(tmp_path / "copy.txt")
    index.remove(folder)
    assert sources(index, "tides") == []
    assert sources(index, "flour") == ["copy.txt"]
    index.remove(tmp_path / "copy.txt")
    assert sources(index, "flour") == []
    assert index.sources() == []
    assert (folder / "bread.txt").exists()


def test_a_source_that_is_not_there_now_is_kept(index, folder, tmp_path):
    index.add(folder)
    folder.rename(tmp_path / "unplugged")
    (report,) = index.refresh()
    assert "not there now" in report.notes[0][1]
    assert sources(index, "flour") == ["bread.txt"]
    (tmp_path / "unplugged").rename(folder)
    (report,) = index.refresh()
    assert report.same == 3


def test_the_index_is_private_and_does_not_index_itself(home, index, folder):
    index.add(folder)
    for path in (home / "index").rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o077 == 0 or path.parent.name == "words", path
    assert stat.S_IMODE((home / "index").stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "index" / "words").stat().st_mode) == 0o700
    (report,) = index.add(home)
    assert (report.added, report.skipped["made by programs"]) == (0, 1)


def test_interrupted_it_goes_on_where_it_was(home, folder):
    for number in range(30):
        (folder / f"{number:02}.txt").write_text(f"This is note number{number:02}.")

    looked = 0

    def stop(path: str) -> None:
        nonlocal looked
        looked += 1
        time.sleep(0.05)  # several transactions
        if looked == 20:
            raise KeyboardInterrupt

    with Index.open(home, WORDS) as index:
        with pytest.raises(KeyboardInterrupt):
            index.add(folder, stop)
        (entry,) = index.sources()
        assert not entry.complete
        assert 0 < entry.files < 20
        assert sources(index, "number01") == ["01.txt"]  # what was read is searched
        kept = entry.files
    with Index.open(home, WORDS) as index:
        (report,) = index.refresh()
        assert (report.same, report.added) == (kept, 33 - kept)
        assert index.sources()[0].complete
        assert sources(index, "number29") == ["29.txt"]


ADD = """
import sys
from pathlib import Path
from pocketlm.assistant.index import index
from pocketlm.assistant.index.ranking import Ranker
from pocketlm.assistant.index import update
index._COMMIT_SECONDS = update._SAVE_SECONDS = 0.01
with index.Index.open(Path(sys.argv[1]), Ranker(None)) as there:
    print("begun", flush=True)
    there.add(Path(sys.argv[2]))
"""


def check_sound(home, folder):
    """Catalogue, text index and files agree: every note is found, once."""
    with Index.open(home, WORDS) as index:
        index.refresh()
        (entry,) = index.sources()
        assert entry.complete
        assert entry.files == entry.passages == len(list(folder.iterdir()))
        with sqlite3.connect(home / "index" / "catalogue.sqlite") as database:
            numbers = {row[0] for row in database.execute("SELECT id FROM passages")}
        text = TextIndex(home / "index" / "words")
        assert sorted(hit.passage for hit in text.search("note", 10_000)) == sorted(numbers)
        for path in folder.iterdir():
            assert sources(index, f"number{path.stem}", 1) == [path.name]


def test_killed_at_any_moment_nothing_is_lost_or_doubled(home, tmp_path):
    draw = random.Random(1)
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(80):
        (folder / f"{number}.txt").write_text(f"This is note number{number}.")
    for _ in range(8):
        for _ in range(8):  # some are new, some are gone, at each start
            (folder / f"{draw.randrange(200)}.txt").unlink(missing_ok=True)
            number = draw.randrange(200)
            (folder / f"{number}.txt").write_text(f"This is note number{number}.")
        adding = subprocess.Popen(
            [sys.executable, "-c", ADD, str(home), str(folder)], stdout=subprocess.PIPE
        )
        assert adding.stdout is not None
        adding.stdout.readline()
        time.sleep(draw.uniform(0, 0.35))
        adding.send_signal(signal.SIGKILL)
        adding.wait()
        adding.stdout.close()
    check_sound(home, folder)


def test_a_lost_text_index_is_made_again(home, folder):
    import shutil

    with Index.open(home, WORDS) as index:
        index.add(folder)
    shutil.rmtree(home / "index" / "words")
    with Index.open(home, WORDS) as index:
        assert sources(index, "flour") == []
        (report,) = index.refresh()
        assert report.same == 3
        assert sources(index, "flour") == ["bread.txt"]


def test_damage_is_told_of_in_one_line(home, folder):
    with Index.open(home, WORDS) as index:
        index.add(folder)
    kept = home / "index" / "catalogue.sqlite"
    whole = kept.read_bytes()
    kept.write_bytes(b"no database at all" * 500)
    with pytest.raises(SearchError, match="damaged"):
        Index.open(home)
    kept.write_bytes(whole)
    with sqlite3.connect(kept) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(SearchError, match="newer pocketlm"):
        Index.open(home)
    kept.write_bytes(whole)
    for kept in (home / "index" / "words").glob("*.term"):
        kept.write_bytes(kept.read_bytes()[:-1])
    with pytest.raises(SearchError, match="cannot be used"), Index.open(home, WORDS) as index:
        index.search("flour")
    (home / "index" / "words" / "meta.json").write_text("{")
    with pytest.raises(SearchError, match=r"cannot be used.*remove .*words"):
        Index.open(home)


def test_one_process_changes_it_while_others_search(home, folder):
    with Index.open(home, WORDS) as index, Index.open(home, WORDS) as other:
        index.add(folder)
        (folder / "new.txt").write_text("oats")
        seen = []

        def meanwhile(path: str) -> None:
            seen.append(sources(other, "flour"))
            with pytest.raises(SearchError, match="another process"):
                other.refresh()

        index.refresh(progress=meanwhile)
        assert seen == [["bread.txt"]] * 4
        with Index.open(home, WORDS) as third:
            assert sources(third, "oats") == ["new.txt"]


def test_meaning_orders_what_words_found(index, tmp_path):
    # Both have the two words of the query; the first is shorter, which is all that words can tell.
    (tmp_path / "star.txt").write_text("Food for the Dog Star mission was lost in space.")
    (tmp_path / "puppy.txt").write_text("Feed puppies with wet food; a dog needs meat each day.")
    index.add(tmp_path / "star.txt")
    index.add(tmp_path / "puppy.txt")
    assert sources(index, "dog food") == ["star.txt", "puppy.txt"]
    index._ranker = Ranker(Embedder())
    found = index.search("dog food")
    assert [Path(passage.source).name for passage in found] == ["puppy.txt", "star.txt"]
    assert 1.5 >= found[0].score > found[1].score > 0


def test_the_best_of_any_passages():
    passages = [
        Passage("a", "Tides", "The Moon causes them."),
        Passage("b", "Bread", "Flour and water."),
        Passage("c", "Sea", "Tides come twice a day."),
    ]
    for ranker in (WORDS, Ranker(Embedder())):
        found = ranker.best("when do tides come", passages, 2)
        assert [passage.source for passage in found] == ["c", "a"]
        assert ranker.best("nothing", passages, 2) == []
        assert ranker.best("tides", [], 2) == []
