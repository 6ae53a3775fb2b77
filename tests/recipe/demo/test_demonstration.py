"""The whole demonstration at its smallest, killed on the way: every step, on real text."""

import json
import re

import numpy as np
import pytest
import torch

from pocketlm.errors import ParameterError
from pocketlm.recipe.data.runs import plain_words
from pocketlm.recipe.data.shards import Shards
from pocketlm.recipe.demo import configuration, held_back, judging, training
from pocketlm.recipe.demo.layout import ARMS, SETS, Layout
from pocketlm.recipe.demo.run import demonstrate
from pocketlm.recipe.train import models

#: Half a minute of one core; more where others are at work on it.
pytestmark = pytest.mark.timeout(900)


class KilledError(Exception):
    """As a process that is gone in the middle of a step."""


@pytest.fixture(scope="module")
def setting():
    return configuration.read("smoke")


@pytest.fixture(scope="module")
def out(setting, tmp_path_factory):
    """A finished folder; its first process died while the second arm was trained."""
    out = tmp_path_factory.mktemp("demonstration") / "out"

    def dying(text):
        if "run 2 of 3" in text and "step 9 " in text:
            raise KilledError

    with pytest.raises(KilledError):
        demonstrate(setting, out, show=dying, note=lambda text: None)
    assert (out / "runs" / "raw-1" / "model").is_dir()
    assert not (out / "runs" / "filtered-1" / "model").exists()
    demonstrate(setting, out, show=lambda text: None, note=lambda text: None)
    return out


@pytest.fixture(scope="module")
def found(out):
    return json.loads((out / "report.json").read_text())


def words_in_rows(text, count=13):
    words = plain_words(text)
    return {tuple(words[place : place + count]) for place in range(len(words) - count + 1)}


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_arms_are_equal_but_for_their_text(out, setting, found):
    layout = Layout(out)
    steps, counts = found["plan"]["steps"], set()
    for arm in ARMS:
        held = Shards(layout.shards(arm))
        held.verify()
        counts.add((held.tokens - 1) // setting.training.context)
        log = lines(layout.run(arm, 1) / "log.jsonl")
        assert [line["step"] for line in log if "phase" in line] == list(range(1, steps + 1))
    assert counts == {found["arms"]["windows"]}
    configurations = [json.loads((layout.run(arm, 1) / "run.json").read_text()) for arm in ARMS]
    for each in configurations:
        for own in ("out", "sources", "phases"):
            del each[own]
    assert configurations[0] == configurations[1] == configurations[2]
    weights = [models.load(layout.run(arm, 1) / "model").state_dict() for arm in ARMS]
    assert not torch.equal(*(each["model.embed_tokens.weight"] for each in weights[:2]))


def test_the_third_arm_is_in_part_synthetic(out, setting, found):
    arm = found["arms"]["arms"]["mixed"]
    assert arm["synthetic"] / arm["tokens"] == pytest.approx(setting.synthetic.share, abs=0.02)
    rows = lines(Layout(out).documents("mixed"))
    assert {row["synthetic"] for row in rows} == {True, False}
    others = [row for each in ("raw", "filtered") for row in lines(Layout(out).documents(each))]
    assert not any(row["synthetic"] for row in others)


def test_held_back_text_is_in_no_arm(out):
    layout = Layout(out)
    read = set()
    for arm in ARMS:
        for row in lines(layout.documents(arm)):
            read |= words_in_rows(row["text"])
    for name in SETS:
        documents = lines(layout.held_back(name))
        assert documents
        for row in documents:
            own = words_in_rows(row["text"])
            # A run that is there twice counts once here.
            assert len(own & read) <= 2 * held_back.KNOWN * len(own)
    runs = set()
    for arm in ARMS:
        for row in lines(layout.documents(arm)):
            runs |= words_in_rows(row["text"], held_back.ITEM_WORDS)
    known = [
        pair
        for pair in held_back.read_pairs(layout)
        if words_in_rows(pair.good, held_back.ITEM_WORDS) & runs
    ]
    assert not known


def test_levels_and_differences_are_those_of_the_scores(out, setting, found):
    layout = Layout(out)
    asked = judging.asked(setting, layout)
    for arm in ARMS:
        scores = judging.read_scores(layout, training.Run(arm, 1))
        assert len(scores["choices"]) == len(asked.choices) == found["items"]["choices"]
        assert found["levels"]["pairs"][arm]["value"] == pytest.approx(scores["pairs"].mean())
        size = sum(len(text.encode()) for text in asked.texts["raw"])
        bits = scores["text-raw"].sum() / np.log(2) / size
        assert found["levels"]["text-raw"][arm]["value"] == pytest.approx(bits)
        assert 1 < bits < 8
    difference = next(
        each
        for each in found["differences"]
        if (each["measure"], each["before"], each["after"]) == ("pairs", "raw", "filtered")
    )
    levels = found["levels"]["pairs"]
    assert difference["value"] == pytest.approx(
        levels["filtered"]["value"] - levels["raw"]["value"]
    )
    assert difference["by_seeds"] is None  # one seed
    assert difference["verdict"] == "not told apart"


def test_the_report_stands_alone_and_says_what_it_is(out, found):
    page = (out / "report.html").read_text("utf-8")
    assert not re.search(r"(src|href)=\"(https?:)?//", page)
    assert page.count("<svg") == 10
    assert "There is one seed, so that nothing can be told apart" in page
    assert "What this proves, and what it does not" in page
    for place in re.findall(r'href="(builds/[^"]+)"', page):
        assert (out / place).is_file()
    text = (out / "report.md").read_text("utf-8")
    assert "(<builds/filtered/report.html>)" in text
    assert "gopher-quality" in text
    assert found["said"][0] in text.replace("\\", "")


def test_what_is_done_is_not_done_again(out, setting):
    def changed():
        return {
            path: path.stat().st_mtime_ns
            for path in out.rglob("*")
            if path.is_file()
            and path.name.split(".")[0] not in ("report", "times", "")
            and path.suffix not in (".yaml",)
        }

    before = changed()
    demonstrate(setting, out, show=lambda text: None, note=lambda text: None)
    assert changed() == before


def test_another_setting_is_refused(out, setting):
    other = setting.model_copy(update={"vocabulary": 700})
    with pytest.raises(ParameterError, match="was begun with another vocabulary"):
        demonstrate(other, out, show=lambda text: None, note=lambda text: None)


def test_a_folder_with_something_else_is_refused(setting, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ParameterError, match="is not empty"):
        demonstrate(setting, tmp_path, show=lambda text: None, note=lambda text: None)
