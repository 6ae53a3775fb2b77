"""The ledger: work that is done stays done, whatever happened while it was written down."""

import os
import signal
import subprocess
import sys

import pytest

from pocketlm.errors import OutputError, ParameterError
from pocketlm.ledger import Ledger

WORK = {"suite": "tiny", "seed": 3}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "ledger.jsonl"


def test_what_is_done_is_found_again(path):
    keys = ["a", ["task", 3], {"long": "x" * 500}, ["task", "\ud800\u2028"]]
    with Ledger(path, WORK) as ledger:
        assert len(ledger) == 0
        for number, key in enumerate(keys):
            assert key not in ledger
            ledger[key] = {"number": number, "text": "é \ud800 \u2028"}
            assert key in ledger
    with Ledger(path, dict(reversed(WORK.items()))) as ledger:
        assert len(ledger) == 4
        assert [ledger[key]["number"] for key in keys] == [0, 1, 2, 3]
        assert ledger["a"]["text"] == "é \ud800 \u2028"
        assert "b" not in ledger
        with pytest.raises(KeyError):
            ledger["b"]


@pytest.mark.parametrize("cut", range(1, 70, 7))
def test_a_torn_line_is_forgotten_and_written_over(path, cut):
    with Ledger(path, WORK) as ledger:
        ledger["a"] = {"value": 1}
        ledger["b"] = {"value": "some words that are cut in the middle, wherever that is"}
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with Ledger(path, WORK) as ledger:
        assert "a" in ledger
        assert "b" not in ledger
        ledger["b"] = {"value": 2}
    with Ledger(path, WORK) as ledger:
        assert (ledger["a"], ledger["b"]) == ({"value": 1}, {"value": 2})


def test_the_first_line_is_torn(path):
    with Ledger(path, WORK):
        pass
    path.write_bytes(path.read_bytes()[:-3])
    with Ledger(path, WORK) as ledger:
        ledger["a"] = {"value": 1}
    with Ledger(path, WORK) as ledger:
        assert ledger["a"] == {"value": 1}


def test_other_work_is_not_mixed_in(path):
    with Ledger(path, WORK) as ledger:
        ledger["a"] = {}
    before = path.read_bytes()
    with pytest.raises(ParameterError, match=r"another run \(seed 3\).*--out"):
        Ledger(path, WORK | {"seed": 4})
    with pytest.raises(ParameterError, match=r"another run \(model None\)"):
        Ledger(path, WORK | {"model": "smollm2"})
    assert path.read_bytes() == before


def test_a_later_value_counts(path):
    with Ledger(path, WORK) as ledger:
        ledger["a"] = {"value": 1}
        ledger["a"] = {"value": 2}
        assert ledger["a"] == {"value": 2}
    with Ledger(path, WORK) as ledger:
        assert ledger["a"] == {"value": 2}
        assert len(ledger) == 1


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        Ledger(tmp_path / "file" / "ledger.jsonl", WORK)


def test_a_process_that_is_killed_loses_nothing(path):
    program = (
        "import sys, time; from pathlib import Path; from pocketlm.ledger import Ledger\n"
        f"ledger = Ledger(Path({str(path)!r}), {WORK!r})\n"
        "for number in range(50): ledger[number] = {'value': number}\n"
        "print('done', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "done\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with Ledger(path, WORK) as ledger:
        assert [ledger[number]["value"] for number in range(50)] == list(range(50))
