import re
from pathlib import Path

import pytest
import yaml

from pocketlm.errors import ParameterError
from pocketlm.recipe.train import configuration
from pocketlm.recipe.train.configuration import DistilRun, PretrainRun, SftRun
from pocketlm.recipe.yaml_file import read
from recipe.train import small


def written(tmp_path, **changes):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(small.values(tmp_path, tmp_path / "out") | changes))
    return path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batsh": 3}, "batsh: there is no such field"),
        ({"batch": 0}, "batch: Input should be greater than or equal to 1"),
        ({"schedule": {"peak": -1}}, "schedule.peak: Input should be greater than 0"),
        ({"schedule": {"peak": 1, "warmup": 12}}, "schedule.warmup is not less than the run's 12"),
        ({"schedule": {"peak": 1, "decay": 13}}, "schedule.warmup and decay together are longer"),
        (
            {"schedule": {"peak": 1, "kind": "cosine", "decay": 2}},
            "schedule: decay is for kind: wsd",
        ),
        (
            {"phases": [{"name": "a", "mix": {"web": 1}}]},
            "phases.1: say how long: one of steps and tokens",
        ),
        (
            {"phases": [{"name": "a", "steps": 9, "mix": {"book": 1}}]},
            "phase 'a' mixes 'book', which is no source",
        ),
        (
            {
                "model": {
                    "hidden_size": 30,
                    "intermediate_size": 8,
                    "num_hidden_layers": 1,
                    "num_attention_heads": 4,
                }
            },
            "model: hidden_size must be a multiple of num_attention_heads",
        ),
        ({"model": {"hidden_size": 32}}, "model.intermediate_size: is missing"),
        ({"precision": "float16"}, "precision: Input should be 'float32' or 'bfloat16'"),
    ],
)
def test_a_wrong_field_is_named(changes, said, tmp_path):
    with pytest.raises(ParameterError) as raised:
        read(written(tmp_path, **changes), PretrainRun)
    assert said in str(raised.value)
    assert str(tmp_path / "run.yaml") in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2


def test_the_guide_tells_of_every_field_and_its_files_are_right(tmp_path):
    guide = (Path(__file__).parents[3] / "docs" / "training.md").read_text()
    for kind in vars(configuration).values():
        if isinstance(kind, type) and issubclass(kind, configuration.Strict):
            for field in kind.model_fields:
                assert re.search(rf"[`.]{field}\b", guide), (kind, field)
    files = re.findall(r"```yaml\n(# (\w+)\.yaml.*?)```", guide, re.DOTALL)
    kinds = {"tokenizer": configuration.TokenizerRun, "base": PretrainRun, "chat": SftRun}
    assert [name for _, name in files] == list(kinds)
    for text, name in files:
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        read(path, kinds[name])


def test_paths_are_taken_from_the_files_folder(tmp_path):
    changes = {"out": "runs/a", "tokenizer": "../tok", "sources": {"web": "s", "fine": "/abs"}}
    run = read(written(tmp_path, **changes), PretrainRun)
    assert run.out == tmp_path / "runs" / "a"
    assert run.tokenizer == tmp_path / ".." / "tok"
    assert [str(place) for place in run.sources.values()] == ["/abs", str(tmp_path / "s")]
    assert read(written(tmp_path, model="base"), PretrainRun).model == tmp_path / "base"


def test_tokens_become_whole_steps(tmp_path):
    phases = [
        {"name": "a", "tokens": 8 * 32 * 3 + 1, "mix": {"web": 1}},
        {"name": "b", "steps": 5, "mix": {"web": 1}},
    ]
    run = read(written(tmp_path, phases=phases), PretrainRun)
    assert run.steps == 9
    assert [run.phase_at(step).name for step in (0, 3, 4, 8)] == ["a", "a", "b", "b"]


def test_distillation_needs_a_teacher(tmp_path):
    with pytest.raises(ParameterError, match="teacher: is missing"):
        read(written(tmp_path), DistilRun)
