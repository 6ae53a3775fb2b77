"""An adapter that is trained on shards of plain text, and one that is trained further."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

import pocketlm
from pocketlm.errors import ModelFileError
from pocketlm.recipe.train import checkpoints, loop, tuning
from pocketlm.recipe.train.configuration import LoraRun, PretrainRun
from pocketlm.recipe.train.plan import plan
from recipe.train import small

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def base(material, tmp_path_factory):
    """A pretrained model."""
    out = tmp_path_factory.mktemp("base") / "base"
    return loop.pretrain(small.run(material, out, validation=None))


def run(material, base, out, **changes):
    return small.run(material, out, **({"model": str(base), "adapter": {"rank": 4}} | changes))


@pytest.fixture(scope="module")
def trained(material, base, tmp_path_factory):
    """An adapter trained on text."""
    return loop.pretrain(run(material, base, tmp_path_factory.mktemp("adapted") / "run"))


def test_the_adapter_alone_is_learned(material, base, trained):
    log = trained.parent / "log.jsonl"
    measured = [line["bits_per_byte"] for line in small.lines(log) if "validation" in line]
    assert measured[-1] < measured[0]
    state = load_file(trained / WEIGHTS)
    assert state
    assert all("lora_" in name for name in state)
    assert any(np.abs(state[name]).max() > 0 for name in state if "lora_B" in name)
    kept = load_file(checkpoints.newest(trained.parent / "checkpoints") / "model.safetensors")
    assert all("lora_" in name for name in kept)
    assert sum(each.size for each in kept.values()) == sum(each.size for each in state.values())
    assert plan(run(material, base, trained.parent)).trained == sum(
        each.size for each in state.values()
    )


def test_the_engine_finds_the_gain_that_training_measured(material, base, trained):
    """Bits a byte of the held-back text, measured by the engine with the adapter as it is saved."""
    with pocketlm.load(base, cache_type="f16") as model:
        texts = [
            [model.tokenizer.eos_id, *model.tokenize(text)][:32] for text in small.sentences(10, 4)
        ]

        def nats(ids, adapter):
            logits = model.logits(ids[:-1], adapter=adapter).astype(np.float64)
            logits -= logits.max(axis=1, keepdims=True)
            logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
            return -logits[np.arange(len(ids) - 1), ids[1:]].mean()

        adapter = model.adapter([(trained, 1.0)])
        assert np.mean([nats(ids, None) - nats(ids, adapter) for ids in texts]) > 0.01


def test_a_run_that_was_killed_goes_on(material, base, trained, tmp_path):
    values = small.values(material, tmp_path / "run", model=str(base), adapter={"rank": 4})
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(values))
    kill = (
        "import os, pathlib, sys\n"
        "from pocketlm.recipe.train import loop, configuration\n"
        "from pocketlm.recipe import yaml_file\n"
        "run = yaml_file.read(pathlib.Path(sys.argv[1]), configuration.PretrainRun)\n"
        "loop.pretrain(run, show=lambda text: os._exit(9) if text.startswith('step 5 ') else None)"
    )
    killed = subprocess.run([sys.executable, "-c", kill, str(file)], env=os.environ)
    assert killed.returncode == 9
    assert loop.pretrain(PretrainRun.model_validate(values)) == tmp_path / "run" / "adapter"
    again, whole = load_file(tmp_path / "run" / "adapter" / WEIGHTS), load_file(trained / WEIGHTS)
    assert all(np.array_equal(again[name], whole[name]) for name in whole)
    assert small.losses(tmp_path / "run" / "log.jsonl") == small.losses(
        trained.parent / "log.jsonl"
    )


def test_an_adapter_is_trained_further(base, trained, tmp_path):
    chats = tmp_path / "chats.jsonl"
    said = [
        {"role": "user", "content": "the cat reads"},
        {"role": "assistant", "content": "a dog a dog"},
    ]
    chats.write_text(f"{json.dumps({'messages': said})}\n" * 16)
    values = {
        "out": tmp_path / "tuned",
        "model": base,
        "data": [chats],
        "begin": trained,
        "context": 32,
        "batch": 4,
        "peak": 1e-2,
        "threads": 1,
    }
    place = tuning.tune(LoraRun.model_validate(values), show=print, note=print)
    before, after = load_file(trained / WEIGHTS), load_file(place / WEIGHTS)
    assert {name: each.shape for name, each in after.items()} == {
        name: each.shape for name, each in before.items()
    }
    moved = [float(np.abs(after[name] - before[name]).max()) for name in before]
    assert 0 < max(moved) < 0.5
    assert json.loads((place / "adapter_config.json").read_text())["r"] == 4


def test_what_does_not_fit_is_refused(material, base, trained, tmp_path):
    with pytest.raises(ValueError, match="folder of a model"):
        small.run(material, tmp_path / "a", adapter={})
    with pytest.raises(ValueError, match="sharding: none"):
        run(material, base, tmp_path / "a", sharding="fsdp")
    values = {"out": tmp_path / "b", "model": base, "data": [tmp_path / "x"], "peak": 1e-3}
    with pytest.raises(ValueError, match="leave adapter out"):
        LoraRun.model_validate({**values, "begin": trained, "adapter": {"rank": 2}})
    (tmp_path / "x").write_text('{"messages": [{"role": "assistant", "content": "a"}]}\n')
    for wrong in (tmp_path, material):
        with pytest.raises(ModelFileError, match="holds no adapter"):
            tuning.tune(
                LoraRun.model_validate(
                    {**values, "out": tmp_path / wrong.name / "c", "begin": wrong, "context": 32}
                ),
                show=print,
                note=print,
            )
