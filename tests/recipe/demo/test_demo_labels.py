"""The shipped labels and filters can be used as they are, and say where their text is from."""

from __future__ import annotations

import re
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest

from pocketlm import ledger
from pocketlm.recipe.data import recipe
from pocketlm.recipe.data.classifier import fit
from pocketlm.recipe.data.label import read_labels

DEMO = Path(str(files("pocketlm.recipe.demo")))


def test_labels_say_where_they_are_from() -> None:
    values = list(ledger.values(DEMO / "labels.jsonl"))
    assert len(values) == 300
    for each in values:
        assert 150 <= len(each["text"]) <= 600
        assert each["source"]
        assert each["licence"]
        assert not re.search(r"[\w.]@(?!example\.org)[\w-]+\.\w", each["text"])
        assert "/root/" not in each["id"] + each["source"] + each["licence"]


def test_a_classifier_can_be_fitted() -> None:
    pytest.importorskip("wordllama")
    labels = read_labels(DEMO / "labels.jsonl")
    assert set(Counter(each.score for each in labels)) == {0, 1, 2, 3, 4}
    worth = fit(labels, 2, "embeddings").about.worth
    assert worth.average_precision > 1.3 * worth.positive / worth.documents
    assert worth.brier < worth.brier_of_base_rate


def test_the_filters_are_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "filtered.yaml").write_bytes((DEMO / "filtered.yaml").read_bytes())
    stages = [step.stage for step in recipe.read(tmp_path / "filtered.yaml").stages]
    assert stages[0] == "extract"
    assert stages[-2:] == ["exact-duplicates", "near-duplicates"]
    assert "quality" in stages
