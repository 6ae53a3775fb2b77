"""Results on disk: what is written is read again; the harness's own folders are read as well."""

import json
from dataclasses import asdict

import pytest

from pocketlm.errors import ParameterError
from pocketlm.evaluate.results import RESULTS, About, read, write

ABOUT = About(
    suite="probes",
    model="smollm2",
    parameters=134_515_008,
    file_bytes=98_000_000,
    bits_per_weight=5.8,
    pocketlm="0.1.0",
    machine="two cores",
    threads=1,
    date="2026-11-29",
    seconds=12.5,
    command=["pocketlm", "eval", "smollm2"],
    settings={"limit": 2},
)
SAMPLES = [
    {"doc_id": 10, "doc": {"question": "Why?"}, "resps": [["line\u2028 and \x85\ud800"]], "acc": 1},
    {"doc_id": 9, "doc": {"question": "How?"}, "resps": [["🙂"]], "acc": 0},
]


def test_what_is_written_is_read_again(tmp_path):
    folder = tmp_path / "new" / "run"
    write(folder, {"results": {"tiny": {"acc,none": 0.5}}}, {"tiny": SAMPLES}, ABOUT)
    run = read(folder)
    assert run.about == ABOUT
    assert run.results["results"]["tiny"]["acc,none"] == 0.5
    assert run.samples["tiny"] == [SAMPLES[1], SAMPLES[0]]  # in the order of doc_id


def test_writing_again_replaces(tmp_path):
    for value in (0.5, 0.75):
        write(tmp_path, {"results": {"tiny": {"acc,none": value}}}, {"tiny": SAMPLES}, ABOUT)
    assert read(tmp_path).results["results"]["tiny"]["acc,none"] == 0.75
    assert sorted(path.name for path in tmp_path.iterdir()) == [RESULTS, "samples_tiny.jsonl"]


def test_a_folder_of_the_harness(tmp_path):
    inner = tmp_path / "model__name"
    inner.mkdir()
    for date, value in (("2026-01-01T10-00-00.1", 0.2), ("2026-02-01T10-00-00.1", 0.3)):
        results = {"results": {"arc_easy": {"alias": "arc_easy", "acc,none": value}}}
        (inner / f"results_{date}.json").write_text(json.dumps(results))
        line = json.dumps({"doc_id": 0, "acc": value, "metrics": ["acc"]})
        (inner / f"samples_arc_easy_{date}.jsonl").write_text(line + "\n")
    run = read(tmp_path)
    assert run.about is None
    assert run.results["results"]["arc_easy"]["acc,none"] == 0.3
    assert [sample["acc"] for sample in run.samples["arc_easy"]] == [0.3]


def test_results_without_samples(tmp_path):
    (tmp_path / RESULTS).write_text(json.dumps({"results": {"tiny": {"acc,none": 1}}}))
    assert read(tmp_path).samples == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "there are no results"),
        ("{", "this is not JSON"),
        ("[" * 100_000, "this is not JSON"),
        ("\xff", "not the results of an evaluation"),
        ("[1]", "not the results of an evaluation"),
        ('{"result": 3}', "not the results of an evaluation"),
        ('{"results": 3}', "'results' is not as in the results"),
        ('{"results": {"one": 3}}', "'results' is not as in the results"),
        ('{"results": {}, "configs": {"one": []}}', "'configs' is not as in the results"),
        ('{"results": {}, "group_subtasks": {"one": {}}}', "'group_subtasks' is not as in"),
    ],
)
def test_what_are_no_results(tmp_path, text, words):
    if text is not None:
        (tmp_path / RESULTS).write_bytes(b'"\xff"' if text == "\xff" else text.encode())
        words = "not JSON" if text == "\xff" else words
    with pytest.raises(ParameterError, match=words) as error:
        read(tmp_path)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("line", ['{"acc": 1}', "{", '{"doc_id": "x"}', "7", "\x00", "[" * 100_000])
def test_samples_that_are_none(tmp_path, line):
    (tmp_path / RESULTS).write_text('{"results": {"tiny": {}}}')
    (tmp_path / "samples_tiny.jsonl").write_text(f'{{"doc_id": 1}}\n\n{line}\n')
    with pytest.raises(ParameterError, match=r"samples_tiny\.jsonl, line 3: this is no sample"):
        read(tmp_path)


def test_results_of_another_version(tmp_path):
    other = {"results": {}, "pocketlm": asdict(ABOUT) | {"colour": "blue"}}
    (tmp_path / RESULTS).write_text(json.dumps(other))
    run = read(tmp_path)
    with pytest.raises(ParameterError, match=r"of another version.*colour"):
        _ = run.about
    other = {"results": {}, "pocketlm": asdict(ABOUT) | {"seconds": "long"}}
    (tmp_path / RESULTS).write_text(json.dumps(other))
    with pytest.raises(ParameterError, match="seconds is no number"):
        _ = read(tmp_path).about
