"""A language version from texts to what the engine opens: an adapter, and a whole model."""

import json
import os
import subprocess
import sys

import pytest
import yaml

import pocketlm
from pocketlm.errors import ParameterError
from pocketlm.recipe.data.shards import Shards, texts
from pocketlm.recipe.languages.language import language
from pocketlm.recipe.languages.version import Version, Wanted
from pocketlm.recipe.train import loop
from pocketlm.store.adapters import Adapters
from recipe.languages import german
from recipe.train import small


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A model that was pretrained a little, on no German."""
    material = small.write_material(tmp_path_factory.mktemp("material"))
    out = tmp_path_factory.mktemp("base") / "base"
    return loop.pretrain(small.run(material, out, validation=None, context=64))


@pytest.fixture(scope="module")
def wanted(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("german")
    return {
        "language": language("de"),
        "base": base,
        "data": german.write(folder / "texts"),
        "chats": german.write_chats(folder / "chats.jsonl"),
        "tokens": 4000,
        "threads": 1,
    }


def bits(model, adapter=None):
    """Nats a byte of a German text that nothing was trained on."""
    import numpy as np

    text = german.document(1000)[:60]
    ids = model.tokenize(text)[:60]
    logits = model.logits(ids[:-1], adapter=adapter).astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -logits[np.arange(len(ids) - 1), ids[1:]].sum() / len(text.encode())


def test_an_adapter(wanted, base, tmp_path):
    told = []
    version = Version(Wanted(out=tmp_path / "out", **wanted))
    assert [name for name, _ in version.rows()] == [
        "1 documents de",
        "2 shards de",
        "3 pretrain",
        "4 tune",
    ]
    assert not (tmp_path / "out").exists()
    place = version.make(lambda text: None, told.append)
    assert place == tmp_path / "out" / "tuned" / "adapter"
    shards = tmp_path / "out" / "shards" / "de"
    learned, held = (set(texts(Shards(shards / name))) for name in ("training", "held-back"))
    assert held
    assert not learned & held
    assert learned | held <= {german.document(number) for number in range(24)}
    assert len(learned | held) >= 12
    with pocketlm.load(base, cache_type="f16") as model:
        pretrained = model.adapter([(tmp_path / "out" / "pretrained" / "adapter", 1.0)])
        assert bits(model, pretrained) < bits(model) - 0.1
        assert bits(model, model.adapter([(place, 1.0)])) < bits(model)
    again = Version(Wanted(out=tmp_path / "out", **wanted))
    assert all(row[1].endswith("(done)") for row in again.rows() if not row[0].startswith(" "))
    assert any(name == "  tokens" for name, _ in again.rows())
    told.clear()
    assert again.make(told.append, told.append) == place
    assert told == []
    with pytest.raises(ParameterError, match="another whole, vocabulary"):
        Version(Wanted(out=tmp_path / "out", whole=True, **wanted)).make(print, print)
    # What was done can be done again by hand, from the files.
    run = yaml.safe_load((tmp_path / "out" / "pretrain.yaml").read_text())
    assert run["adapter"] == {"rank": 32, "alpha": 64}
    command = [sys.executable, "-m", "pocketlm", "train", "lora", tmp_path / "out" / "tune.yaml"]
    by_hand = subprocess.run([*map(str, command), "--json"], capture_output=True, text=True)
    assert json.loads(by_hand.stdout) == {"model": str(place)}
    # And the whole command finds it done, and installs it.
    (home := tmp_path / "home").mkdir()
    command = [sys.executable, "-m", "pocketlm", "train", "language", "de", "--model", base]
    command += ["--data", wanted["data"], "--chats", wanted["chats"], "--out", tmp_path / "out"]
    command += ["--tokens", "4000", "--threads", "1", "--then", "install", "--json"]
    environment = os.environ | {"POCKETLM_HOME": str(home)}
    told = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, env=environment, check=True
    )
    assert json.loads(told.stdout) == {"adapter": str(place), "installed": "model-de"}
    (installed,) = Adapters(home).list()
    assert (installed.language, installed.base) == ("de", str(base))
    refused = subprocess.run([*map(str, command), "--whole"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert "--then install is for adapters" in refused.stderr


def test_a_whole_model_with_more_tokens(wanted, base, tmp_path):
    version = Version(Wanted(out=tmp_path / "out", whole=True, vocabulary=40, **wanted))
    place = version.make(lambda text: None, lambda text: None)
    assert place == tmp_path / "out" / "tuned" / "model"
    with (
        pocketlm.load(base, cache_type="f16") as before,
        pocketlm.load(place, cache_type="f16") as after,
    ):
        assert bits(after) < bits(before) - 0.1
        assert len(after.tokenize("die Großmutter")) < len(before.tokenize("die Großmutter"))


def test_what_does_not_go_together(wanted, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ParameterError, match="--vocabulary goes with --whole"):
        Version(Wanted(out=out, vocabulary=40, **wanted))
    with pytest.raises(ParameterError, match="no such file of conversations"):
        Version(Wanted(out=out, **{**wanted, "chats": tmp_path / "none"}))
    (tmp_path / "empty").mkdir()
    for data, said in ((tmp_path / "none", "is no folder"), (tmp_path / "empty", "no text")):
        with pytest.raises(ParameterError, match=said):
            Version(Wanted(out=out, **{**wanted, "data": data})).make(print, print)
        (out / "language.json").unlink()
