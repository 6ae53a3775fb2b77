"""`pocketlm data`: a build from raw files to a page, and what is said on the way."""

import json

import pytest
from program import check_refusal

RECIPE = """\
name: corpus
sources:
  - {kind: text, path: texts}
stages:
  - stage: exact-duplicates
  - stage: mask
"""
TEXT = "The ferry leaves at six, and whoever wants to cross must be at the pier before that."


@pytest.fixture
def folder(tmp_path):
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "one.txt").write_text(f"{TEXT} Write to anna@ferry.net.")
    (texts / "two.md").write_text(f"{TEXT} Write to anna@ferry.net.")
    (texts / "three.txt").write_text(f"{TEXT} Dogs travel free.")
    (texts / "notes").write_text("This one has no ending.")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def test_a_build_says_what_it_kept_and_what_it_did_not_read(pocketlm, folder):
    build = ("data", "build", folder / "recipe.yaml", "--out", folder / "corpus")
    result = pocketlm(*build, "--json")
    assert result.returncode == 0, result
    assert result.stderr.startswith("(source 1: 1 files are not read")
    stages = {stage["key"]: stage for stage in json.loads(result.stdout)["stages"]}
    assert stages["read"]["documents_out"] == 3
    assert stages["exact-duplicates"]["documents_out"] == 2
    again = pocketlm(*build)
    assert again.returncode == 0
    assert "exact duplicate (1)" in again.stdout
    page = folder / "page.html"
    assert pocketlm("data", "report", folder / "corpus", "--out", page).stdout == f"{page}\n"
    assert "Dogs travel free." in page.read_text()


def test_refusals(pocketlm, folder):
    bad = folder / "bad.yaml"
    bad.write_text(RECIPE.replace("stage: mask", "stage: mask\n    kind: [mail]"))
    check_refusal(pocketlm("data", "build", bad), "line 7", "kind", code=2)
    check_refusal(pocketlm("data", "report", folder / "nowhere"), "nowhere", code=2)
    other = folder / "other"
    other.mkdir()
    (other / "mine.txt").write_text("")
    result = pocketlm("data", "build", folder / "recipe.yaml", "--out", other)
    assert result.returncode == 2
    assert "is not empty" in result.stderr.splitlines()[-1]
    assert [path.name for path in other.iterdir() if path.name != ".lock"] == ["mine.txt"]
