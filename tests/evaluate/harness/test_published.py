"""The published figures: complete, sourced, and the known slips told."""

import subprocess
import sys
from pathlib import Path

import pytest

from pocketlm.evaluate.harness import published


def figure(task, key):
    return next(found for found in published.beside(task) if found.key == key)


def test_every_task_has_figures_of_known_models():
    assert len(published.tasks()) == 19
    for task in published.tasks():
        found = published.beside(task.name)
        assert len(found) >= 7
        assert {one.key for one in found} <= set(published.models())
        for one in found:
            assert 20 < one.value < 100
            assert one.source
            assert one.date.startswith("2024-")


def test_no_column_names_a_task_that_is_not_there():
    names = {task.name for task in published.tasks()}
    for column in published._file()["columns"].values():
        assert set(column["figures"]) <= names
        for said in ("slips", "shots"):
            assert set(column.get(said, {})) <= set(column["figures"])


@pytest.mark.parametrize(
    ("task", "key", "value"),
    [
        ("phi3_mmlu", "phi3_mini_4k_april", 68.8),
        ("phi3_mmlu", "phi3_mini_4k_june", 70.9),
        ("phi3_arc_challenge", "phi3_mini_4k_april", 84.9),
        ("phi3_gsm8k", "phi3_5_mini", 86.2),
        ("phi3_bbh", "llama_3_8b", 51.5),
    ],
)
def test_some_figures(task, key, value):
    assert figure(task, key).value == value


def test_shots_are_those_of_the_source():
    assert figure("phi3_agieval", "phi3_mini_4k_april").shots == 0
    assert figure("phi3_agieval", "phi3_mini_4k_june").shots == 5
    assert figure("phi3_bbh", "gpt_3_5").shots == 3


def test_slips_are_told():
    assert "copying error" in figure("phi3_truthfulqa", "gpt_3_5").slip
    assert "swap" in figure("phi3_triviaqa", "gemma_7b").slip
    assert "70.5" in figure("phi3_mmlu", "mixtral_8x7b").slip
    assert not figure("phi3_mmlu", "phi_2").slip


def test_the_harness_s_own_tasks_have_none():
    assert published.beside("arc_challenge") == ()


def test_the_page_holds_the_tables_as_they_are():
    script = Path(__file__).parents[3] / "docs" / "published.py"
    found = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
