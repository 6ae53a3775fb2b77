"""Local data: where it is looked for, what is said where it is missing or wrong."""

import re

import datasets
import pytest
from lm_eval.tasks import TaskManager

from evaluate.harness import rows
from pocketlm.errors import ParameterError
from pocketlm.evaluate.harness import code
from pocketlm.evaluate.harness.data import local, require


def load(manager: TaskManager, folder, name="phi3_piqa"):
    with local(folder):
        (task,) = manager.load([name])["tasks"].values()
    return task


def piqa(folder, split, items):
    return rows.place_split(folder, "baber/piqa", None, split, items)


def test_the_harness_s_own_tasks_read_the_same_folder(manager, data):
    task = load(manager, data, "arc_easy")
    assert len(task.eval_docs) == 13
    task.set_fewshot_seed(1)
    task.build_all_requests(limit=1)
    assert task.instances[0].args == (
        "Question: Which of these is warm on day 100?\nAnswer:",
        " ice",
    )


@pytest.fixture
def downloaded(tmp_path, monkeypatch):
    """A data set as `hf download` leaves it, whose files have places and names of their own."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    root = tmp_path / "data" / "baber__piqa"
    (root / "plain").mkdir(parents=True)
    (root / "README.md").write_text(
        "---\nconfigs:\n- config_name: plain\n  data_files:\n"
        "  - {split: train, path: plain/train-*}\n  - {split: validation, path: plain/valid-*}\n"
        "---\n"
    )
    for split, parts in (("train", 1), ("valid", 2)):
        for part in range(parts):
            table = datasets.Dataset.from_list([rows.piqa(n + 10 * part) for n in range(3)])
            table.to_parquet(root / "plain" / f"{split}-0000{part}-of-0000{parts}.parquet")
    return tmp_path / "data"


def test_what_the_hub_s_client_brought_serves_as_it_is(manager, downloaded):
    require(manager, ["phi3_piqa"], downloaded)
    questions = [item["question"] for item in load(manager, downloaded).eval_docs]
    assert questions == [f"Open jar {n}." for n in (0, 1, 2, 10, 11, 12)]


def test_what_was_brought_and_is_something_else(manager, downloaded):
    (downloaded / "baber__piqa").rename(downloaded / "allenai__ai2_arc")
    with pytest.raises(ParameterError, match=r"ai2_arc: this is not allenai/ai2_arc \(ARC-Easy\)"):
        load(manager, downloaded, "phi3_arc_easy")


def test_a_split_that_was_not_brought(manager, downloaded):
    (downloaded / "baber__piqa").rename(downloaded / "lighteval__siqa")
    card = downloaded / "lighteval__siqa" / "README.md"
    card.write_text(card.read_text().replace("split: train", "split: dev"))
    with pytest.raises(ParameterError, match=r"phi3_siqa: there is no .*/train\.jsonl"):
        load(manager, downloaded, "phi3_siqa")


def test_parquet(manager, tmp_path):
    root = tmp_path / "allenai__ai2_arc" / "ARC-Easy"
    root.mkdir(parents=True)
    for split in ("train", "test"):
        table = datasets.Dataset.from_list([rows.arc(n) for n in range(4)])
        table.to_parquet(root / f"{split}.parquet")
    assert len(load(manager, tmp_path, "phi3_arc_easy").eval_docs) == 4


def test_a_missing_split_says_what_to_place_where(manager, tmp_path):
    piqa(tmp_path, "train", [rows.piqa(n) for n in range(6)])
    with pytest.raises(ParameterError) as caught:
        load(manager, tmp_path)
    message = str(caught.value)
    assert message.startswith(f"phi3_piqa: there is no {tmp_path}/baber__piqa/validation.jsonl")
    assert (
        f"hf download baber/piqa --repo-type dataset --local-dir {tmp_path}/baber__piqa" in message
    )
    assert "leave out --data" in message


def test_all_that_is_missing_is_said_at_once(manager, tmp_path):
    piqa(tmp_path, "train", [rows.piqa(0)])
    piqa(tmp_path, "validation", [rows.piqa(0)])
    with pytest.raises(ParameterError) as caught:
        require(manager, ["phi3-report"], tmp_path)
    message = str(caught.value)
    parts = sum(len(parts) for parts in rows.TASKS.values())
    assert message.startswith(
        f"{tmp_path} lacks data for {parts - 1} of {parts} tasks: place there"
    )
    for said in (
        " cais__mmlu/all/dev.jsonl, cais__mmlu/all/test.jsonl, ",
        " facebook__anli/train_r1.jsonl and 5 more, ",
        " SaylorTwift__bbh/boolean_expressions/test.jsonl and 26 more, ",
        " truthfulqa__truthful_qa/multiple_choice/validation.jsonl, ",
    ):
        assert said in message
    assert "piqa__" not in message
    assert "name by --tasks those that lack none: phi3_piqa;" in message


def test_a_group_is_named_where_all_its_members_have_data(manager, tmp_path):
    for round_ in (1, 2, 3):
        for split in (f"train_r{round_}", f"test_r{round_}"):
            rows.place_split(tmp_path, "facebook/anli", None, split, [rows.anli(0)])
    exam = "hails/agieval-sat-en"
    rows.place_split(tmp_path, exam, None, "test", [rows.exam(0)])
    with pytest.raises(ParameterError, match=r"8 of 12 .*that lack none: phi3_anli; or leave"):
        require(manager, ["phi3_agieval", "phi3_anli"], tmp_path)


def test_nothing_is_missing(manager, data):
    require(manager, ["phi3-report"], data)
    require(manager, ["phi3-report", "arc_easy", "unknown"], None)


def test_a_task_s_file_is_followed_too(manager, tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text("task: own\ndataset_path: me/mine\ntest_split: test\n")
    with pytest.raises(ParameterError, match=r"1 of 1 tasks: .* me__mine/test\.jsonl"):
        require(manager, [str(file)], tmp_path)
    file.write_text("task: own\nunsafe_code: true\n")
    with pytest.raises(ParameterError, match=r"^own: the harness would run"):
        code.check(manager, [str(file)])


def test_a_missing_folder(tmp_path):
    with pytest.raises(ParameterError, match="there is no such folder"), local(tmp_path / "none"):
        pass


def test_what_is_no_json_is_named_by_its_line(manager, tmp_path):
    piqa(tmp_path, "train", [rows.piqa(0)])
    path = piqa(tmp_path, "validation", [rows.piqa(0)])
    for wrong, said in (("{", "this is not JSON"), ("[1]", "no JSON object")):
        path.write_text('{"goal": "x"}\n' + wrong + "\n")
        with pytest.raises(ParameterError, match=f"{re.escape(str(path))}, line 2: .*{said}"):
            load(manager, tmp_path)


def test_rows_that_do_not_agree(manager, tmp_path):
    piqa(tmp_path, "train", [rows.piqa(0)])
    path = piqa(tmp_path, "validation", [rows.piqa(0), rows.piqa(1) | {"label": "one"}])
    with pytest.raises(ParameterError, match=f"{re.escape(str(path))}: its rows cannot be read"):
        load(manager, tmp_path)


def test_a_file_that_is_no_parquet(manager, tmp_path):
    piqa(tmp_path, "train", [rows.piqa(0)])
    path = tmp_path / "baber__piqa" / "validation.parquet"
    path.write_bytes(b"not a table")
    with pytest.raises(ParameterError, match=re.escape(str(path))):
        load(manager, tmp_path)


def test_an_empty_file(manager, tmp_path):
    path = piqa(tmp_path, "train", [])
    piqa(tmp_path, "validation", [rows.piqa(0)])
    with pytest.raises(ParameterError, match=f"{re.escape(str(path))}: it is empty"):
        load(manager, tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": 7}, "answer 7 of 2 options"),
        ({"label": -1}, "answer -1 of 2 options"),  # how the hub marks answers that are kept secret
        ({"label": None}, "TypeError"),
        ({"goal": None}, "AttributeError"),
        ({"target": 1}, None),
    ],
)
def test_wrong_fields_are_named_by_row(manager, tmp_path, change, said):
    piqa(tmp_path, "train", [rows.piqa(0)])
    piqa(tmp_path, "validation", [rows.piqa(0), rows.piqa(1) | change])
    if said is None:
        assert len(load(manager, tmp_path).eval_docs) == 2
        return
    with pytest.raises(ParameterError, match=f"row 2 .*`piqa`.*{said}.*goal, sol1, sol2, label"):
        load(manager, tmp_path)


def test_a_field_that_is_not_there(manager, tmp_path):
    piqa(tmp_path, "train", [rows.piqa(0)])
    piqa(tmp_path, "validation", [{"goal": "x", "label": 0}])
    with pytest.raises(ParameterError, match=r"row 1 .*KeyError: 'sol1'.*fields are goal, label"):
        load(manager, tmp_path)


def test_without_a_folder_and_a_network_it_says_how_to_go_on(manager, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ParameterError) as caught:
        load(manager, None, "phi3_siqa")
    message = str(caught.value)
    assert "lighteval/siqa is neither in the hub's cache nor to be reached" in message
    assert "train, validation as FOLDER/lighteval__siqa/SPLIT.jsonl" in message


def test_the_hub_is_as_before_when_the_block_ends(manager, data):
    from lm_eval.api.task import ConfigurableTask

    before = ConfigurableTask.download
    with pytest.raises(ParameterError), local(data):
        raise ParameterError("something went wrong")
    assert ConfigurableTask.download is before
