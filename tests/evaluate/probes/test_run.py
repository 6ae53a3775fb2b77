"""A run of probes: what it keeps, that it goes on after it was stopped or killed, its results."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import pocketlm
from pocketlm.api import Model
from pocketlm.assistant import sandbox
from pocketlm.errors import ParameterError, SandboxError
from pocketlm.evaluate.probes.all import PROBES
from pocketlm.evaluate.probes.apple import PROBE as APPLE
from pocketlm.evaluate.probes.numbers import PROBE as NUMBERS
from pocketlm.evaluate.probes.probe import Probe
from pocketlm.evaluate.probes.run import LEDGER, measure
from pocketlm.evaluate.results import read

CHEAP: list[Probe] = [NUMBERS, APPLE]


@pytest.fixture(scope="module", autouse=True)
def available():
    try:
        sandbox.check()
    except SandboxError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def model(smollm2: Path) -> Iterator[Model]:
    with pocketlm.load(smollm2, threads=1) as model:
        yield model


@pytest.fixture(scope="module")
def whole(model: Model, tmp_path_factory: pytest.TempPathFactory):
    """A run of two variants in two modes, and what it told."""
    told: list[str] = []
    out = tmp_path_factory.mktemp("whole")
    found = measure(
        model, out, limit=2, modes=["constrained", "plain"], tell=told.append, probes=CHEAP
    )
    return out, told, *found


def without_time(samples: dict) -> dict:
    return {
        task: [{key: value for key, value in item.items() if key != "seconds"} for item in items]
        for task, items in samples.items()
    }


def test_results_have_the_harness_form(whole):
    _, told, results, samples = whole
    names = [f"probe_{name}_{mode}" for name in ("numbers", "apple") for mode in MODES]
    assert list(results["results"]) == list(samples) == names
    for key in ("configs", "versions", "n-shot", "n-samples"):
        assert list(results[key]) == names
    for task, figures in results["results"].items():
        items = samples[task]
        assert [item["doc_id"] for item in items] == [0, 1]
        for metric in ("passed", "score"):
            mean = sum(item[metric] for item in items) / 2
            assert figures[f"{metric},none"] == pytest.approx(mean)
            assert figures[f"{metric}_stderr,none"] == pytest.approx(
                abs(items[0][metric] - items[1][metric]) / 2
            )
        for item in items:
            assert item["metrics"] == ["passed", "score"]
            assert item["passed"] == (item["score"] == 1)
            assert item["why"]
    assert len(told) == 8
    assert told[-1].startswith("probes: 8 of 8")
    json.dumps([results, samples])


MODES = ("plain", "constrained")


def test_an_item_is_the_same_in_every_mode(whole):
    _, _, _, samples = whole
    for name in ("numbers", "apple"):
        plain, constrained = (samples[f"probe_{name}_{mode}"] for mode in MODES)
        for one, other in zip(plain, constrained, strict=True):
            assert (one["doc"], one["target"]) == (other["doc"], other["target"])
            assert one["arguments"] != other["arguments"]


def test_what_is_done_is_not_asked_again(model: Model, whole):
    out, _, results, samples = whole
    told: list[str] = []
    again = measure(model, out, limit=2, modes=MODES, tell=told.append, probes=CHEAP)
    assert again == (results, samples)
    assert told == ["probes: 8 of 8 are there already"]
    # Fewer items and modes of the same run are a part of it.
    part, _ = measure(model, out, limit=1, modes=["plain"], probes=CHEAP)
    assert part["n-samples"]["probe_apple_plain"] == {"original": 1, "effective": 1}


def test_after_ctrl_c_it_goes_on(model: Model, whole, tmp_path: Path):
    def interrupt(line: str) -> None:
        if line.startswith("probes: 3 "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(model, tmp_path, limit=2, modes=MODES, tell=interrupt, probes=CHEAP)
    kept = (tmp_path / LEDGER).read_bytes()
    told: list[str] = []
    _, samples = measure(model, tmp_path, limit=2, modes=MODES, tell=told.append, probes=CHEAP)
    # What was under way when it was interrupted may have been finished, and is kept then.
    done = kept.count(b"\n") - 1
    assert done >= 3
    assert told[0] == f"probes: {done} of 8 are there already"
    assert (tmp_path / LEDGER).read_bytes().startswith(kept)
    assert without_time(samples) == without_time(whole[3])


def test_after_a_kill_it_goes_on(model: Model, smollm2: Path, whole, tmp_path: Path):
    script = (
        "import sys, pathlib, pocketlm\n"
        "from pocketlm.evaluate.probes import apple, numbers, run\n"
        "with pocketlm.load(pathlib.Path(sys.argv[1]), threads=1) as model:\n"
        "    run.measure(model, pathlib.Path(sys.argv[2]), limit=2,\n"
        "        modes=['plain', 'constrained'], probes=[numbers.PROBE, apple.PROBE])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(smollm2), str(tmp_path)])
    ledger = tmp_path / LEDGER
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        if ledger.exists() and ledger.read_bytes().count(b"\n") > 2:
            break
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    lines = ledger.read_bytes().count(b"\n")
    with ledger.open("ab") as file:
        file.write(b'{"key": "cut sho')  # as a kill while it was written would leave it
    assert lines > 2
    told: list[str] = []
    _, samples = measure(model, tmp_path, limit=2, modes=MODES, tell=told.append, probes=CHEAP)
    assert told[0] == f"probes: {lines - 1} of 8 are there already"
    assert without_time(samples) == without_time(whole[3])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"modes": ["plain", "fast"]}, "no mode 'fast'; there are plain, constrained, tools"),
        ({"modes": []}, "one mode at least"),
        ({"limit": 0}, "the limit is 0"),
        ({"seed": 1}, "seed 0"),
    ],
)
def test_misuse_is_said(model: Model, whole, options: dict, said: str):
    with pytest.raises(ParameterError, match=said):
        measure(model, whole[0], probes=CHEAP, **options)


def test_the_command_measures_all_of_them(smollm2: Path, tmp_path: Path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "pocketlm", "eval", str(smollm2), "--suite", "probes"]
    command += ["--limit", "1", "--modes", "constrained", "--threads", "1", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    found = read(out)
    assert list(found.samples) == [f"probe_{probe.name}_constrained" for probe in PROBES]
    assert all(len(items) == 1 for items in found.samples.values())
    assert all(task in done.stdout for task in found.samples)
