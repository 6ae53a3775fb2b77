"""`pocketlm index`, as a person uses it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from program import PROGRAM, check_refusal

sys.path.insert(0, str(Path(__file__).parents[1] / "assistant"))
from books import zim


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "tides.md").write_text("# Tides\n\nThe Moon causes the tides of the sea.\n")
    (folder / "bread.txt").write_text("Bread is made of flour, water, yeast and salt.")
    return folder


def test_adding_listing_searching_forgetting(pocketlm, folder):
    (folder / ".hidden").write_text("x")
    (folder / "bad.pdf").write_bytes(b"%PDF-1.4")
    added = pocketlm("index", "add", folder)
    assert added.returncode == 0, added
    assert added.stdout == f"{folder}: 2 added, 1 not readable, passed over 1 (hidden)\n"
    assert f"({folder / 'bad.pdf'}: is no sound PDF file" in added.stderr
    found = json.loads(pocketlm("index", "search", "what causes tides", "--json").stdout)
    assert found[0] == {
        "source": str(folder / "tides.md"),
        "title": "Tides",
        "text": "The Moon causes the tides of the sea.",
        "score": found[0]["score"],
    }
    assert 1 < found[0]["score"] <= 1.5
    told = pocketlm("index", "search", "flour", "--count", "1")
    assert told.stdout.startswith(f"[1] bread.txt  ({folder / 'bread.txt'})\nBread is made of")
    listed = json.loads(pocketlm("index", "list", "--json").stdout)
    assert listed["sources"] == [
        {
            "path": str(folder),
            "kind": "folder",
            "files": 2,
            "passages": 2,
            "problems": 1,
            "complete": True,
        }
    ]
    assert listed["problems"][0]["path"] == str(folder / "bad.pdf")
    (folder / "bread.txt").unlink()
    refreshed = pocketlm("index", "refresh")
    assert refreshed.stdout == f"{folder}: 1 gone, 2 as before, passed over 1 (hidden)\n"
    assert pocketlm("index", "rm", folder).stdout == f"forgot {folder}\n"
    assert "nothing is indexed yet" in pocketlm("index", "list").stdout


def test_an_encyclopedia(pocketlm, tmp_path, folder):
    path = zim(tmp_path / "little.zim", {"Moon": "<p>The Moon orbits Earth.</p>"})
    assert pocketlm("index", "add", path, folder).returncode == 0
    assert "an encyclopedia" in pocketlm("index", "list").stdout
    (found,) = json.loads(
        pocketlm("index", "search", "moon orbit", "--sources", "wiki", "--json").stdout
    )
    assert found["source"] == "zim:little/Moon"
    both = json.loads(pocketlm("index", "search", "the Moon", "--json").stdout)
    assert {each["source"] for each in both} == {"zim:little/Moon", str(folder / "tides.md")}


def test_refusals(pocketlm, tmp_path, folder):
    check_refusal(pocketlm("index", "add", tmp_path / "none"), "none", "No such file", code=2)
    (tmp_path / "a.zim").write_text("x")
    check_refusal(pocketlm("index", "add", tmp_path / "a.zim"), "no sound ZIM archive")
    check_refusal(pocketlm("index", "rm", folder), "was not added", code=2)
    check_refusal(pocketlm("index", "search", "tides"), "no document was added")
    check_refusal(pocketlm("index", "search", "x", "--sources", "tv"), "docs, wiki", code=2)
    pocketlm("index", "add", folder)
    check_refusal(pocketlm("index", "search", "?!"), "no word", code=2)
    check_refusal(pocketlm("index", "search", "x", "--sources", "wiki"), "no encyclopedia")
    nothing = pocketlm("index", "search", "zyzzyva")
    assert (nothing.returncode, nothing.stdout) == (0, "nothing was found\n")
    assert pocketlm("index", "search", "zyzzyva", "--json").stdout == "[]\n"


def test_what_a_document_says_does_not_steer_a_terminal(pocketlm, folder):
    (folder / "evil\x1b[2J.txt").write_text("evil \x1b]0;title\x07 words \x9b31m here")
    assert "\x1b" not in pocketlm("index", "add", folder).stdout
    told = pocketlm("index", "search", "evil words").stdout
    assert "words 31m here" in told
    assert "\x1b" not in told
    assert "\x9b" not in told


def test_ctrl_c_leaves_what_was_read(environment, pocketlm, folder):
    for number in range(3000):
        (folder / f"{number}.txt").write_text(f"This is note number{number}.\n" * 40)
    adding = subprocess.Popen(
        [*PROGRAM, "index", "add", str(folder)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = Path(environment["POCKETLM_HOME"], "index", "catalogue.sqlite-wal")
    deadline = time.monotonic() + 60
    while not log.exists() or log.stat().st_size < 1_000_000:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(adding.pid, signal.SIGINT)
    _, told = adding.communicate(timeout=60)
    assert adding.returncode == 130
    assert "Traceback" not in told
    (source,) = json.loads(pocketlm("index", "list", "--json").stdout)["sources"]
    assert not source["complete"]
    assert 0 < source["files"] < 3002
    assert "interrupted" in pocketlm("index", "list").stdout
    refreshed = pocketlm("index", "refresh").stdout
    assert f"{3002 - source['files']:,} added" in refreshed
    assert f"{source['files']:,} as before" in refreshed
