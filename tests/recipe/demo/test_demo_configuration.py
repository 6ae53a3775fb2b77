"""Settings of the demonstration: those that are shipped, one's own, and mistakes."""

import pytest

from pocketlm.errors import ParameterError
from pocketlm.recipe.demo import configuration, training


@pytest.mark.parametrize("name", configuration.SHIPPED)
def test_shipped_settings_are_sound(name):
    setting = configuration.read(name)
    assert setting.training.batch * setting.training.context < setting.training.tokens


def test_the_default_is_what_the_claim_needs():
    setting = configuration.read("demo")
    assert 1e6 < training.parameters(setting) < 2e6
    assert setting.vocabulary == 4096
    assert len(setting.training.seeds) >= 3
    assert setting.training.minutes < 50
    assert setting.judging.choices >= 2000
    assert setting.judging.pairs >= 3000
    assert training.parameters(configuration.read("larger")) > 5e6


def test_one_line_makes_it_larger(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("like: larger\n")
    assert configuration.read(str(file)) == configuration.read("larger")


def test_what_a_file_says_counts(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("like: demo\ntraining: {seeds: [7]}\nvocabulary: 512\n")
    setting, base = configuration.read(str(file)), configuration.read("demo")
    assert (setting.training.seeds, setting.vocabulary) == ((7,), 512)
    assert setting.training.schedule == base.training.schedule
    assert setting.model == base.model


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("like: huge\n", "like: must be one of demo, larger, smoke"),
        ("like: demo\ntraining: {sedes: [1]}\n", "line 2: training.sedes: there is no such field"),
        ("like: demo\ntraining: {seeds: [1, 1]}\n", "one is there twice"),
        ("like: demo\nsynthetic: {share: 1.0}\n", "synthetic.share"),
        ("vocabulary: 512\n", "is missing"),
    ],
)
def test_mistakes_are_said_by_line_and_field(text, said, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ParameterError, match=said):
        configuration.read(str(file))


def test_an_unknown_setting_is_refused():
    with pytest.raises(ParameterError, match="neither a file nor one of the shipped settings"):
        configuration.read("medium")
