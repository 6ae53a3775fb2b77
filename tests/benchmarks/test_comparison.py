"""The comparison with peers: what is processed, how ratios are made, what is kept and drawn."""

import json
import re
import stat
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

import plot
from comparison.ik_llama_cpp import IkLlamaCpp, arguments
from comparison.results import Results, append, table
from comparison.worker import Setting, Worker, first_token
from comparison.works import Place, Places, Work

MACHINE = {"processor": "A <fast> one", "cores": 2, "memory_gib": 24}


class Ledger(Place):
    """A place that keeps account of what is in its cache, and of all that was processed."""

    def __init__(self, context: int) -> None:
        self.context, self.cache, self.processed = context, 0, 0

    def rewind(self, position: int) -> None:
        assert position <= self.cache, "what comes before must be there"
        self.cache = position

    def prompt(self, count: int) -> None:
        self.cache += count
        self.processed += count
        assert self.cache <= self.context

    def step(self) -> None:
        self.prompt(1)


class Ledgers(Places):
    def __init__(self, works: list[Work]) -> None:
        super().__init__(works)
        self.opened: dict[int, Ledger] = {}

    def open(self, context: int, texts: int) -> Place:
        assert texts not in self.opened
        self.opened[texts] = Ledger(context)
        return self.opened[texts]


WORKS = st.one_of(
    st.builds(Work, prompt=st.integers(1, 50)),
    st.builds(
        Work, generate=st.integers(1, 9), depth=st.integers(0, 60), texts=st.sampled_from([1, 8])
    ),
)


@given(st.lists(WORKS, max_size=12))
def test_each_work_finds_its_depth_and_ends_at_its_end(works: list[Work]) -> None:
    engine = Ledgers(works)
    for work in works:
        assert engine.seconds(work) is not None
        assert engine.opened[work.texts].cache == work.context


def test_depth_is_processed_once() -> None:
    works = [Work(generate=4), Work(generate=4, depth=100), Work(generate=4, depth=250)]
    engine = Ledgers(works)
    for work in works:
        for _ in range(5):
            engine.seconds(work)
    assert engine.opened[1].processed == 250 + 3 * 5 * 4


def two_records() -> list[dict]:
    """Records of a run that another one corrects in part."""
    prompt, one, eight = Work(prompt=100), Work(0, 10, 50), Work(0, 10, 50, 8)
    results = Results()
    for ours, theirs, fa in ((1.0, 4.0, 2.0), (1.25, 4.0, 2.5), (2.0, 8.0, 3.0)):
        for name, seconds in (("pocketlm", ours), ("llama.cpp", theirs), ("llama.cpp fa", fa)):
            results.add(2, prompt, name, seconds)
            results.add(2, one, name, seconds)
    results.add(2, eight, "pocketlm", 4.0)
    for name, seconds, peak in (
        ("pocketlm", 0.5, 60),
        ("llama.cpp fa", 2.0, 100),
        ("llama.cpp no mmap", 3.0, 70),
    ):
        results.add_load(2, name, seconds, peak)
    record = {"date": "2026-01-01", "commit": "abc", "machine": MACHINE}
    record |= {"versions": {"pocketlm": "1", "llama.cpp": "2"}, "file": "a&b.gguf", "bytes": 1000}
    record |= {"rounds": 3, "rows": results.rows(), "loads": results.load_rows()}
    later = Results()
    later.add(2, prompt, "pocketlm", 0.5)
    later.add(2, prompt, "llama.cpp", 1.0)
    return [record, record | {"date": "2026-01-02", "rows": later.rows(), "loads": []}]


def test_ratios_are_of_medians_to_the_best_setting_of_llama_cpp() -> None:
    first, _ = two_records()
    ours, theirs, fa = first["rows"][:3]
    assert [row["work"] for row in (ours, theirs, fa)] == ["pp100"] * 3
    assert (ours["tokens_per_s"], ours["ratio"]) == (80, 2)
    assert ours["spread"] == pytest.approx((100 - 50) / 80, abs=1e-3)
    assert (theirs["ratio"], fa["ratio"]) == (0.625, 1)
    eight = first["rows"][-1]
    assert (eight["texts"], eight["tokens_per_s"], eight["ratio"]) == (8, 20, None)
    assert eight["of_one"] == 20 / 8


def test_loads_are_held_against_the_soonest_llama_cpp() -> None:
    ours, _, slow = two_records()[0]["loads"]
    assert (ours["sooner"], ours["memory"]) == (4, 0.6)
    assert (slow["sooner"], slow["memory"]) == (0.667, 0.7)


def test_the_table_has_every_row() -> None:
    lines = table(two_records()[0]).splitlines()
    assert "a&b.gguf (1,000 bytes), 2026-01-01" in lines[0]
    assert any(re.fullmatch(r" +2  pp100 +pocketlm +80\.0 +62% +2\.00", line) for line in lines)
    assert any(re.search(r"8 x tg10@50 +pocketlm +20\.0 +0% +2\.50$", line) for line in lines)
    assert any(re.search(r"pocketlm +0\.50 s +0% +4\.00 +60 MiB +0\.60$", line) for line in lines)


def test_history_grows(tmp_path: Path) -> None:
    path = tmp_path / "history.json"
    first, second = two_records()
    append(path, first)
    append(path, second)
    assert json.loads(path.read_text()) == [first, second]
    assert list(tmp_path.iterdir()) == [path]


def test_the_plot_shows_the_latest_ratios() -> None:
    picture = ElementTree.fromstring(plot.svg(two_records()))
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert "a&b.gguf" in texts
    assert "pp100, 2 threads" in texts
    assert {"200", "100", "0.50 s", "2.00 s"} <= set(texts)
    # Eight texts together have no peer here, and no bar.
    lengths = [
        float(bar.get("width", 0)) for bar in picture.iter("{http://www.w3.org/2000/svg}rect")
    ]
    assert lengths == pytest.approx([lengths[0], lengths[0], 2 * lengths[0]], abs=0.2)
    assert max(lengths) <= plot.RIGHT - plot.LEFT


def test_the_page_keeps_what_is_around_its_tables(tmp_path: Path, monkeypatch) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"before\n\n{plot.BEGIN}\nold\n{plot.END}\n\nafter\n")
    histories = [tmp_path / "one.json", tmp_path / "other.json"]
    for history in histories:
        records = two_records()
        records[-1]["machine"] = MACHINE | {"processor": history.stem}
        history.write_text(json.dumps(records))
    monkeypatch.setattr(plot, "PAGE", page)
    monkeypatch.setattr("sys.argv", ["plot.py", *map(str, histories)])
    plot.main()
    text = page.read_text()
    assert text.startswith(f"before\n\n{plot.BEGIN}\n")
    assert text.endswith(f"\n{plot.END}\n\nafter\n")
    assert "old" not in text
    for history, after in zip(histories, ("### other", plot.END), strict=True):
        part = text.partition(f"### {history.stem}, 2 cores\n")[2].partition(after)[0]
        assert f"![Ratios](performance-{history.stem}.svg)" in part
        assert "| pp100 | 2 | pocketlm | 200 | 0% | 2.00 |  |" in part
        assert (tmp_path / f"performance-{history.stem}.svg").read_text().startswith("<svg")


def test_ik_llama_cpp_is_asked_for_one_work_alone(tmp_path: Path) -> None:
    program = tmp_path / "llama-bench"
    test = {"build_commit": "abc", "build_number": 7, "samples_ns": [1_500_000_000]}
    program.write_text(f"#!/bin/sh\necho '{json.dumps([test])}'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    engine = IkLlamaCpp(str(program), "model.gguf", 2)
    assert engine.seconds(Work(prompt=128)) == 1.5
    assert engine.version == "abc (7)"
    assert engine.seconds(Work(generate=8, texts=4)) is None
    assert arguments(Work(prompt=128)) == ["-p", "128", "-n", "0"]
    assert arguments(Work(generate=8)) == ["-p", "0", "-n", "8"]
    assert arguments(Work(generate=8, depth=99)) == ["-p", "0", "-n", "0", "-gp", "99,8"]


def test_our_engine_works_in_a_process_of_its_own(smollm2: Path) -> None:
    works = [Work(prompt=40), Work(generate=2, depth=30), Work(generate=2, depth=5, texts=3)]
    setting = Setting("pocketlm", "ours", str(smollm2))
    worker = Worker(setting, 1, works)
    assert worker.version
    for work in works * 2:
        seconds = worker.seconds(work)
        assert seconds is not None
        assert seconds > 0
    worker.close()
    # A model without a window is the same without it: there is nothing to report.
    worker = Worker(replace(setting, options={"window": False}), 1, works)
    assert worker.seconds(works[0]) is None
    worker.close()
    seconds, peak_mib = first_token(setting, 1)
    assert seconds > 0
    assert 94 < peak_mib < 1000


def test_an_engine_that_ends_early_says_why(tmp_path: Path) -> None:
    path = tmp_path / "no.gguf"
    path.write_bytes(b"no model at all")
    with pytest.raises(SystemExit, match=r"pocketlm ended early: .*ModelFileError"):
        Worker(Setting("pocketlm", "ours", str(path)), 1, [])
