"""Conversations on disk: continued, listed, searched; kills, damage and other processes."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pocketlm.chat.conversation import Conversation
from pocketlm.chat.history import History
from pocketlm.errors import HistoryError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "history.db"


def keep(history: History, conversation: Conversation, fingerprint: str = "f") -> None:
    history.save(conversation, model="m", fingerprint=fingerprint)


def said(conversation: Conversation) -> list[str]:
    return [message["content"] for message in conversation.messages]


def test_a_conversation_comes_back(path: Path) -> None:
    first = Conversation("be kind")
    first.add_user("Grüße \x00 \ud800 🦙")
    first.add_assistant("yes", [1, 2, 3])
    first.messages.append({"role": "tool", "content": "42", "tool_call_id": "a"})
    with History(path) as history:
        keep(history, first)
        assert history.last() == first.id
    with History(path) as history:
        same = history.load(first.id, fingerprint="f")
        other = history.load(first.id, fingerprint="another tokenizer")
    assert same.system == "be kind"
    assert said(same) == ["Grüße \x00 � 🦙", "yes", "42"]
    assert same.messages[1]["tokens"] == [1, 2, 3]
    assert same.messages[2]["tool_call_id"] == "a"
    assert "tokens" not in other.messages[1]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_is_saved_as_it_grows(path: Path) -> None:
    conversation = Conversation()
    with History(path) as history, History(path) as reader:
        keep(history, conversation)
        assert reader.last() is None  # nothing said, nothing kept
        conversation.add_user("Tell me")
        keep(history, conversation)
        for text in ("Once", "Once upon", "Once upon a time"):
            conversation.update_assistant(text, list(range(len(text.split()))))
            keep(history, conversation)
            found = reader.load(conversation.id, fingerprint="f")
            assert said(found) == ["Tell me", text]
            assert found.messages[1]["tokens"] == list(range(len(text.split())))
        conversation.drop_answer()
        keep(history, conversation)
        assert said(reader.load(conversation.id, fingerprint="f")) == ["Tell me"]
        conversation.reset()
        conversation.add_user("Tell me")
        keep(history, conversation)
        assert len(reader.list()) == 2
        assert [said(reader.load(e.id, fingerprint=None)) for e in reader.list()] == [
            ["Tell me"],
            ["Tell me"],
        ]


def test_continuing_appends(path: Path) -> None:
    with History(path) as history:
        conversation = Conversation()
        conversation.add_user("a")
        conversation.add_assistant("b", [1])
        keep(history, conversation)
        again = history.load(history.last(), fingerprint="other")
        again.add_user("c")
        keep(history, again, "other")
        # Ids of the first tokenizer are still there for it.
        assert history.load(again.id, fingerprint="f").messages[1]["tokens"] == [1]
        assert said(history.load(again.id, fingerprint="f")) == ["a", "b", "c"]
        assert len(history.list()) == 1


def test_two_who_continue_the_same_do_not_overwrite_each_other(path: Path) -> None:
    with History(path) as one, History(path) as two:
        start = Conversation()
        start.add_user("start")
        keep(one, start)
        mine = one.load(start.id, fingerprint="f")
        theirs = two.load(start.id, fingerprint="f")
        mine.add_assistant("mine")
        theirs.add_assistant("theirs")
        keep(one, mine)
        keep(two, theirs)
        keep(one, mine)
        assert mine.id == start.id != theirs.id
        assert said(one.load(mine.id, fingerprint="f")) == ["start", "mine"]
        assert said(one.load(theirs.id, fingerprint="f")) == ["start", "theirs"]
        one.delete(mine.id)
        keep(one, mine)  # deleted meanwhile: kept anew
        assert said(two.load(mine.id, fingerprint="f")) == ["start", "mine"]


def test_list_find_search_delete(path: Path) -> None:
    with History(path) as history:
        for title, texts in (
            (None, ["What is   the capital\nof France?", "Paris is the capital."]),
            ("work", ["Translate Weltschmerz 100%", "world-weariness"]),
            (None, ["x" * 100, "the capital idea"]),
        ):
            conversation = Conversation()
            conversation.title = title
            conversation.add_user(texts[0])
            conversation.add_assistant(texts[1])
            keep(history, conversation)
        entries = history.list()
        assert [entry.title for entry in entries] == [
            "x" * 59 + "…",
            "work",
            "What is the capital of France?",
        ]
        assert {entry.turns for entry in entries} == {1}
        assert {entry.model for entry in entries} == {"m"}
        assert [entry.id for entry in history.list(limit=1)] == [3]
        assert [entry.id for entry in history.search("capital")] == [3, 1]
        assert [entry.id for entry in history.search("CAPITAL fran")] == [1]
        assert "Weltschmerz" in history.search("weltschm")[0].excerpt
        for nothing in ("", "'\"*()- NEAR", "capital OR zebra", "zebra"):
            assert history.search(nothing) == []
        assert history.find("work") == 2
        assert history.find("3") == 3
        for missing in ("nothing", "99", "9" * 30, ""):
            with pytest.raises(HistoryError, match="no conversation"):
                history.find(missing)
        history.delete(3)
        assert [entry.id for entry in history.search("capital")] == [1]
        with pytest.raises(HistoryError, match="no conversation 3"):
            history.load(3, fingerprint=None)


def test_search_without_an_index(path: Path) -> None:
    with History(path) as history:
        conversation = Conversation()
        conversation.add_user("What is the capital of France?")
        keep(history, conversation)
        for name in ("TRIGGER messages_added", "TRIGGER messages_removed", "TABLE messages_words"):
            history._database.execute(f"DROP {name}")
        assert [entry.id for entry in history.search("CAPITAL fran")] == [1]
        assert history.search("zebra") == []


PROCESS = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from pocketlm.chat.conversation import Conversation
    from pocketlm.chat.history import History

    history = History(Path(sys.argv[1]))
    conversation = Conversation()
    for turn in range(int(sys.argv[3])):
        conversation.add_user(f"{sys.argv[2]} {turn}")
        conversation.update_assistant(f"answer {turn}", [turn])
        history.save(conversation, model="m", fingerprint="f")
        print(turn, flush=True)
    """
)


def test_several_processes_at_once(path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(path), name, "30"], stdout=subprocess.PIPE
        )
        for name in "abc"
    ]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    with History(path) as history:
        entries = history.list()
        assert len(entries) == 3
        assert {entry.turns for entry in entries} == {30}


def test_a_killed_process_loses_nothing_that_was_said(path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(path), "a", "100000"], stdout=subprocess.PIPE
    )
    last = 0
    for _ in range(20):
        last = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    last = max([last, *map(int, process.stdout.read().split())])
    process.stdout.close()
    with History(path) as history:
        kept = history.load(history.last(), fingerprint="f")
    assert said(kept)[: 2 * last + 2][-2:] == [f"a {last}", f"answer {last}"]


@pytest.mark.parametrize("size", [200, 5000, 20_000])
def test_a_file_that_is_no_history(size: int, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(os.urandom(size))
    with pytest.raises(HistoryError, match=r"history\.db.* move it away") as caught:
        History(path)
    assert "\n" not in str(caught.value)


def test_a_damaged_history(path: Path) -> None:
    with History(path) as history:
        conversation = Conversation()
        for turn in range(200):
            conversation.add_user(f"question {turn} " * 20)
        keep(history, conversation)
        history._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(path.read_bytes())
    assert len(data) > 40_000
    data[4096:-4096:7] = os.urandom(len(data[4096:-4096:7]))
    path.write_bytes(data)

    def use() -> None:
        with History(path) as history:
            history.list()
            history.search("question")
            history.load(1, fingerprint="f")

    with pytest.raises(HistoryError, match=r"history\.db") as caught:
        use()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE messages SET role = '<|end|>'",
        "UPDATE messages SET more = '{'",
        "UPDATE messages SET tokens = '{'",
        "UPDATE messages SET tokens = '[\"x\"]'",
        "UPDATE messages SET tokens = '7'",
        "UPDATE messages SET content = x'ff00'",
        "DROP TABLE messages",
    ],
)
def test_rows_that_nobody_kept(change: str, path: Path) -> None:
    with History(path) as history:
        conversation = Conversation()
        conversation.add_user("a")
        conversation.add_assistant("b", [1])
        keep(history, conversation)
        history._database.execute(change)
        with pytest.raises(HistoryError, match=r"history\.db"):
            history.load(1, fingerprint="f")


def test_a_newer_version(path: Path) -> None:
    History(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 9")
    with pytest.raises(HistoryError, match="version 9"):
        History(path)


def test_places_where_no_file_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "file" / "history.db"):
        with pytest.raises(HistoryError, match="cannot be opened"):
            History(place)


def test_held_by_another(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocketlm.database.WAIT_SECONDS", 0.1)
    with History(path) as history, History(path) as other:
        other._database.execute("BEGIN IMMEDIATE")
        conversation = Conversation()
        conversation.add_user("a")
        with pytest.raises(HistoryError, match="another process holds it"):
            keep(history, conversation)
        other._database.execute("ROLLBACK")
        keep(history, conversation)
        assert said(history.load(conversation.id, fingerprint=None)) == ["a"]


def test_a_name_stays_with_those_who_did_not_give_it(path: Path) -> None:
    with History(path) as history, History(path) as other:
        conversation = Conversation()
        conversation.add_user("What is the capital of France?")
        keep(history, conversation)
        other.rename(conversation.id, "Capitals")
        conversation.add_assistant("Paris.")
        keep(history, conversation)  # it goes on, and does not know of the name
        entry = history.entry(conversation.id)
        assert (entry.title, entry.turns) == ("Capitals", 1)
        assert said(other.load(conversation.id, fingerprint=None)) == [
            "What is the capital of France?",
            "Paris.",
        ]
        conversation.title = "Of France"
        keep(history, conversation)
        assert other.entry(conversation.id).title == "Of France"
        assert other.entry(99) is None
