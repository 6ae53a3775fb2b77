"""A recipe carried out: from raw pages to shards, with any number of workers, after any end."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.recipe.data.pages import BREAD, GERMAN, WATER, article, page, warc

from pocketlm.errors import Error, OutputError, ParameterError
from pocketlm.recipe.data import recipe, spool
from pocketlm.recipe.data.build import build
from pocketlm.recipe.data.report import costs, write
from pocketlm.recipe.data.shards import Shards, texts
from pocketlm.recipe.data.tallies import read_tallies

QUESTION = "How many minutes does the red kettle of the old miller need until it boils at last?"
RECIPE = """\
name: small
sources:
  - kind: warc
    path: raw
  - kind: jsonl
    path: raw
stages:
  - stage: extract
  - stage: language
    keep: [en]
  - stage: gopher-quality
  - stage: exact-duplicates
  - stage: near-duplicates
  - stage: decontaminate
    benchmarks: benchmarks
  - stage: mask
shards:
  tokenizer: tokenizer.json
  end: <end>
tasks: 3
"""


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with raw pages, a benchmark, a tokenizer and a recipe."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    raw = tmp_path / "raw"
    raw.mkdir()
    articles = [article(seed) for seed in range(30)]
    for number in range(3):
        mine = articles[10 * number : 10 * number + 8]
        pages = [(f"http://a.test/{n}", page(f"{n}", told)) for n, told in enumerate(mine)]
        pages.append(("http://a.test/de", page("Kochen", GERMAN)))
        pages.append(("http://a.test/same", page("0", articles[0])))
        near = [*articles[3][:3], articles[3][3].replace("because", "since", 1)]
        pages.append(("http://a.test/near", page("near", near)))
        body = [(url, html.encode(), "text/html") for url, html in pages]
        warc(raw / f"{number}.warc.gz", body)
    rows = [
        {"text": "\n".join([*WATER, QUESTION])},
        {"text": "\n".join([*BREAD, "Write to baker@bread.de or call +49 30 1234567."])},
        {"text": "short"},
    ]
    (raw / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks/kettle.jsonl").write_text(json.dumps({"question": QUESTION}))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.train_from_iterator(
        WATER + BREAD,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=["<end>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def carry_out(folder: Path, out: str = "out", workers: int = 1, kind: str = "local") -> Path:
    wanted = recipe.read(folder / "recipe.yaml")
    build(wanted, folder / out, kind, workers, lambda _: None)  # type: ignore[arg-type]
    return folder / out


def digest(folder: Path) -> dict[str, str]:
    """What every file of the result is, by its hash."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for part in ("documents", "shards")
        for path in sorted((folder / part).rglob("*"))
    }


def test_from_raw_pages_to_shards(made: Path) -> None:
    out = carry_out(made)
    shards = Shards(out / "shards")
    shards.verify()
    kept = list(texts(shards))
    assert [text.strip() for text in kept] == [
        doc.text for doc in spool.documents(out / "documents")
    ]
    assert len(kept) == 24 + 1  # every article once, and bread; water holds a benchmark's question
    assert not any("Kochen" in text or QUESTION in text for text in kept)
    bread = next(text for text in kept if "yeast" in text)
    assert "name@example.com or call 555-0100." in bread


def test_every_drop_is_counted_with_its_reason(made: Path) -> None:
    tallies = read_tallies(carry_out(made))
    found = {
        stage.key: {reason.name: reason.documents for reason in stage.reasons}
        for stage in tallies.deciding
    }
    assert found["read"] == {"no JSON": 1}
    assert found["language"]["language de"] == 3
    assert found["gopher-quality"] == {"gopher_short_doc": 1}
    assert found["exact-duplicates"] == {"exact duplicate": 3 + 2}
    assert found["near-duplicates"] == {"near duplicate": 1}
    assert found["decontaminate"] == {"holds kettle": 1}
    for stage in tallies.deciding[1:]:
        dropped = sum(reason.documents for reason in stage.reasons)
        assert stage.documents_in == stage.documents_out + dropped
        assert stage.seconds > 0
    for before, after in zip(tallies.deciding, tallies.deciding[1:], strict=False):
        assert before.documents_out == after.documents_in
        assert before.bytes_out == after.bytes_in
    assert tallies.deciding[-1].noted == {"masked email": 1, "masked phone": 1}
    assert tallies.tokens == Shards(made / "out/shards").tokens
    assert tallies.tasks_done == tallies.tasks
    [reason] = tallies.deciding[-2].reasons
    assert QUESTION in reason.samples[0].text
    assert "red kettle" in reason.samples[0].metadata["overlap"]


def test_workers_do_not_change_the_result(made: Path) -> None:
    one = digest(carry_out(made, "one", workers=1))
    assert "shards/shards.json" in one
    assert digest(carry_out(made, "three", workers=3)) == one


def test_a_finished_build_is_left_alone(made: Path) -> None:
    out = carry_out(made)
    times = {path: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}
    carry_out(made)
    assert {path: path.stat().st_mtime_ns for path in (out / "shards").iterdir()} == times


@pytest.mark.parametrize("after", ["00-", "05-"])
def test_killed_and_begun_again_it_is_the_same(made: Path, after: str) -> None:
    whole = digest(carry_out(made, "whole"))
    command = [sys.executable, "-m", "pocketlm", "data", "build", "recipe.yaml", "--out", "out"]
    running = subprocess.Popen(
        [*command, "--workers", "2"],
        cwd=made,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    jobs = made / "out/jobs"
    while not list(jobs.glob(f"{after}*/completions/*")):
        assert running.poll() is None
        time.sleep(0.002)
    os.kill(running.pid, signal.SIGKILL)  # its workers are to notice
    running.wait()
    deadline = time.monotonic() + 10
    while _alive(running.pid):
        assert time.monotonic() < deadline, "workers live on"
        time.sleep(0.1)
    assert not (made / "out/shards/shards.json").exists()
    done = subprocess.run(command, cwd=made, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert digest(made / "out") == whole
    assert not list((made / "out").rglob("*.part"))


def _alive(session: int) -> list[str]:
    """Processes of a session."""
    found = subprocess.run(
        ["ps", "-o", "pid=,stat=", "-s", str(session)], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    return [line for line in found if " Z" not in line]


def test_another_recipe_is_not_mixed_in(made: Path) -> None:
    carry_out(made)
    path = made / "recipe.yaml"
    path.write_text(path.read_text().replace("keep: [en]", "keep: [en, de]"))
    with pytest.raises(ParameterError, match="was begun with other stages"):
        carry_out(made)
    path.write_text(RECIPE)
    (made / "raw/new.jsonl").write_text('{"text": "new"}\n')
    with pytest.raises(ParameterError, match="was begun with other source 2"):
        carry_out(made)
    (made / "raw/new.jsonl").unlink()
    tokenizer = made / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    with pytest.raises(ParameterError, match="was begun with other tokenizer"):
        carry_out(made)
    (made / "other").mkdir()
    (made / "other/thesis.txt").write_text("mine")
    with pytest.raises(ParameterError, match="is not empty, and no build"):
        carry_out(made, "other")


def test_a_failing_task_says_what_and_where(made: Path) -> None:
    out = made / "out"
    wanted = recipe.read(made / "recipe.yaml")
    (made / "benchmarks/kettle.jsonl").write_text("{")
    with pytest.raises(Error, match=r"kettle\.jsonl: cannot be read"):
        build(wanted, out, "local", 2, lambda _: None)
    (made / "benchmarks/kettle.jsonl").write_text(json.dumps({"question": QUESTION}))
    build(wanted, out, "local", 2, lambda _: None)
    assert Shards(out / "shards").documents == 25


def test_a_full_disk_is_said_and_the_rest_goes_on_after(made: Path) -> None:
    small = made / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        with pytest.raises(OutputError, match="disk is full"):
            carry_out(made, "small/out", workers=2)
        subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
        assert Shards(carry_out(made, "small/out", workers=2) / "shards").documents == 25
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_without_documents_there_are_no_shards(made: Path) -> None:
    path = made / "recipe.yaml"
    path.write_text(path.read_text().replace("keep: [en]", "keep: [fi]"))
    with pytest.raises(Error, match="no document was left"):
        carry_out(made)


def test_the_report_is_one_page_without_scripts(made: Path) -> None:
    evil = "<script>alert(1)</script> and the with of to " * 20
    (made / "raw/evil.jsonl").write_text(json.dumps({"text": evil}) + "\n")
    out = carry_out(made)
    write(read_tallies(out), out / "report.html", price=0.04)
    text = (out / "report.html").read_text("utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    for link in ("http-equiv", "exact duplicate", "near duplicate", "holds kettle", "1 TB"):
        assert link in text
    assert "src=" not in text
    assert "@import" not in text


def test_costs_add_up(made: Path) -> None:
    tallies = read_tallies(carry_out(made))
    found = costs(tallies, price=0.5)
    read = tallies.deciding[0].bytes_out
    seconds = sum(stage.seconds for stage in tallies.stages)
    assert sum(cost.core_hours for cost in found) == pytest.approx(seconds * 1e12 / read / 3600)
    assert all(cost.dollars == pytest.approx(cost.core_hours / 2) for cost in found)


def test_a_folder_of_something_else_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="no folder of"):
        read_tallies(tmp_path)
