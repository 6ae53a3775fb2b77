"""What is kept of the web: for a while, within bounds, for its owner alone."""

import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

import pocketlm.assistant.web.cache as module
from pocketlm.assistant.web.cache import Cache


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "below" / "web.db"


def test_what_is_kept_is_found_by_another(path: Path) -> None:
    Cache(path).put("page a", "the tide – ü" * 100)
    assert Cache(path).get("page a", 60) == "the tide – ü" * 100
    assert Cache(path).get("page b", 60) is None
    Cache(path).put("page a", "ebb")
    assert Cache(path).get("page a", 60) == "ebb"


def test_it_is_of_its_owner_alone(path: Path) -> None:
    usual = os.umask(0)
    try:
        Cache(path).put("page a", "secret tide")
    finally:
        os.umask(usual)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"secret tide" not in path.read_bytes()


def test_age(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(path)
    now = 1_800_000_000.0
    monkeypatch.setattr(module.time, "time", lambda: now)
    cache.put("page", "tide")
    now += 99
    assert cache.get("page", 100) == "tide"
    now += 2
    assert cache.get("page", 100) is None
    now -= 1000  # the clock was set back: nothing is of the future
    assert cache.get("page", 100) is None


def test_bytes_are_bounded(path: Path) -> None:
    cache = Cache(path, most=20_000)
    for n in range(100):
        cache.put(f"page {n}", os.urandom(500).hex())
    kept = [n for n in range(100) if cache.get(f"page {n}", 60) is not None]
    assert kept == list(range(100 - len(kept), 100))  # the latest
    assert 20 < len(kept) < 40
    assert path.stat().st_size < 60_000
    cache.put("too much", os.urandom(30_000).hex())
    assert cache.get("too much", 60) is None
    assert cache.get("page 99", 60) is not None


def test_a_damaged_one_begins_anew(path: Path) -> None:
    cache = Cache(path)
    for damage in (b"no database at all" * 100, b"SQLite format 3\0" + bytes(4000), b""):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(damage)
        assert cache.get("page", 60) is None
        cache.put("page", "tide")
        assert cache.get("page", 60) == "tide"


def test_damaged_values_are_not_found(path: Path) -> None:
    cache = Cache(path)
    cache.put("page", "tide")
    with sqlite3.connect(path) as database:
        database.execute("UPDATE kept SET value = x'00ff'")
    assert cache.get("page", 60) is None
    with sqlite3.connect(path) as database:
        database.execute("UPDATE kept SET value = 5")
    assert cache.get("page", 60) is None


def test_one_of_another_version_begins_anew(path: Path) -> None:
    Cache(path).put("page", "tide")
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    assert Cache(path).get("page", 60) is None
    Cache(path).put("page", "tide")
    assert Cache(path).get("page", 60) == "tide"


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    cache = Cache(tmp_path / "file" / "web.db")
    cache.put("page", "tide")
    assert cache.get("page", 60) is None


def test_one_that_another_holds_is_not_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WAIT_SECONDS", 0.05)
    cache = Cache(path)
    cache.put("page", "tide")
    with sqlite3.connect(path) as database:
        database.execute("BEGIN EXCLUSIVE")
        assert cache.get("page", 60) is None
        cache.put("page", "ebb")
    assert cache.get("page", 60) == "tide"


def test_several_threads_and_files(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WAIT_SECONDS", 60.0)  # a busy disk loses nothing here

    def work(number: int) -> None:
        cache = Cache(path)
        for n in range(20):
            cache.put(f"{number} {n}", f"tide {number} {n}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cache = Cache(path)
    found = [cache.get(f"{a} {b}", 60) for a in range(4) for b in range(20)]
    assert found == [f"tide {a} {b}" for a in range(4) for b in range(20)]
