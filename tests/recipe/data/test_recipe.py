"""A recipe's file: what is wrong with it is said by line and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from pocketlm.errors import ParameterError
from pocketlm.recipe.data import recipe

GOOD = """\
name: mine
sources:
  - kind: text
    path: raw
stages:
  - stage: language
    keep: [en]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    return tmp_path


def test_a_sound_recipe(folder: Path) -> None:
    (folder / "r.yaml").write_text(GOOD)
    read = recipe.read(folder / "r.yaml")
    assert read.sources[0] == recipe.Text(kind="text", path=(folder / "raw").resolve())
    assert read.stages == (recipe.Language(stage="language", keep=("en",)),)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (
            "keep: [en]",
            "kept: [en]",
            r"r\.yaml, line 7: stages\.1\.kept: there is no such field \(and 1",
        ),
        ("keep: [en]", "keep: [en]\n    x: 1", r"line 8: stages\.1\.x: there is no such field"),
        ("keep: [en]", "keep: []", r"line 7: stages\.1\.keep: .* at least 1 item"),
        (
            "keep: [en]",
            "keep: [en]\n    least: 2",
            r"line 8: stages\.1\.least: .*less than",
        ),
        ("stage: language", "stage: langage", r"line 6: stages\.1: .*'langage'"),
        ("kind: text", "kind: pdf", r"line 3: sources\.1: .*'pdf'"),
        ("path: raw", "path: row", r"line 3: sources\.1: .*row is not there"),
        ("path: raw", "path: raw\n    path: raw", r"line 5: path: is there twice"),
        ("name: mine", "name: mine\nname: other", r"line 2: name: is there twice"),
        ("name: mine", "name: ../up", r"line 1: name: .*pattern"),
        ("name: mine\n", "", r"name: is missing"),
        ("\n    keep: [en]", "", r"line 6: stages\.1\.keep: is missing"),
        ("name: mine", "tasks: many\nname: mine", r"line 1: tasks: .*integer"),
        ("name: mine", "name: [mine", r"line \d+: no YAML"),
        (
            "keep: [en]",
            "keep: [en]\n  - stage: language\n    keep: [de]",
            "language is there twice",
        ),
        (
            "keep: [en]",
            "keep: [en]\n  - stage: decontaminate\n    benchmarks: raw\n    least: 20",
            r"line 8: stages\.2: least is 20, more than words, 13",
        ),
        (
            "name: mine",
            "name: mine\nshards: {tokenizer: raw, end: x}",
            r"line 2: shards: tokenizer: .* is not there",
        ),
    ],
)
def test_what_is_wrong_and_where(folder: Path, before: str, after: str, words: str) -> None:
    assert before in GOOD
    (folder / "r.yaml").write_text(GOOD.replace(before, after, 1))
    with pytest.raises(ParameterError, match=words):
        recipe.read(folder / "r.yaml")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\xff\xfe\x00", "not a text file"),
        (b"- a\n- b\n", "must be fields"),
        (b"a: !!python/object/apply:os.system [true]\n", "no YAML"),
        (b"a: &a [*a, *a]\n", "no YAML|there is no such field|is missing"),
    ],
)
def test_what_is_no_recipe_at_all(folder: Path, data: bytes, words: str) -> None:
    (folder / "r.yaml").write_bytes(data)
    with pytest.raises(ParameterError, match=words):
        recipe.read(folder / "r.yaml")


def test_a_missing_file(folder: Path) -> None:
    with pytest.raises(ParameterError, match="cannot be read"):
        recipe.read(folder / "r.yaml")
