"""Probes during a run: their scores are what a model says by hand, and change nothing else."""

import json
import math
import os
import shutil
import subprocess
import sys

import pytest
import torch
import yaml
from accelerate import Accelerator

from pocketlm.errors import ParameterError
from pocketlm.recipe.train import loop, models, probes, tuning
from pocketlm.recipe.train.configuration import LoraRun, PretrainRun
from pocketlm.recipe.train.log import Log
from recipe.train import small


def items():
    """What follows in the made-up language, beside words in another order."""
    choices, pairs = [], []
    for number, text in enumerate(small.sentences(40, 9)):
        words = text.rstrip(".\n").split()
        right = number % 3
        options = [" " + " ".join(words[5 + i :: -1][:3]) for i in range(3)]
        options[right] = " " + " ".join(words[5:8])
        choices.append(
            {"context": " ".join(words[:5]), "options": options, "right": right, "kind": "order"}
        )
        pairs.append({"good": " ".join(words[:7]), "bad": " ".join(words[6::-1])})
    return choices, pairs


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "\n")
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probes")
    choices, pairs = items()
    return {
        "choices": write(folder / "choices.jsonl", choices),
        "pairs": write(folder / "pairs.jsonl", pairs),
    }


def validation(material, files):
    return {"sets": {"held": str(material / "held")}, "every": 6, "tokens": 800, **files}


@pytest.fixture(scope="module")
def finished(material, files, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "probed"
    loop.pretrain(small.run(material, out, validation=validation(material, files)))
    return out


def scored(log, name):
    return [line for line in small.lines(log) if line.get("probe") == name]


def by_hand(model, tokenizer, text, first):
    """The log-probability of a text's tokens from `first` on, alone in a batch."""
    ids = [tokenizer.bos_id, *tokenizer.encode(text)]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return sum(float(logits[place - 1, ids[place]]) for place in range(first, len(ids)))


def test_scores_are_those_by_hand(finished):
    model = models.load(finished / "model").train(False)
    tokenizer = models.open_tokenizer(finished / "model")
    choices, pairs = items()
    sums, rights = 0.0, 0
    for item in choices:
        first = 1 + len(tokenizer.encode(item["context"]))
        each = [
            by_hand(model, tokenizer, item["context"] + option, first) / len(option.strip())
            for option in item["options"]
        ]
        sums += each[item["right"]] - math.log(sum(map(math.exp, each)))
        rights += max(range(3), key=each.__getitem__) == item["right"]
    said = scored(finished / "log.jsonl", "choices")
    assert [line["step"] for line in said] == [6, 12]
    assert said[-1]["log_probability"] == pytest.approx(sums / len(choices), abs=1e-5)
    assert said[-1]["accuracy"] == pytest.approx(rights / len(choices))
    goods = [
        by_hand(model, tokenizer, pair["good"], 1) > by_hand(model, tokenizer, pair["bad"], 1)
        for pair in pairs
    ]
    said = scored(finished / "log.jsonl", "pairs")
    assert said[-1]["share"] == pytest.approx(sum(goods) / len(goods))


def test_a_run_is_what_it_is_without_probes(finished, material, tmp_path):
    loop.pretrain(small.run(material, tmp_path / "plain"))
    lines = [line for line in small.lines(finished / "log.jsonl") if "probe" not in line]
    assert lines == small.lines(tmp_path / "plain" / "log.jsonl")


def test_a_stopped_run_says_the_same(finished, material, files, tmp_path, monkeypatch):
    out = tmp_path / "stopped"
    run = small.run(material, out, validation=validation(material, files))
    step = loop._Pretraining._step

    def dies(self):
        if self._progress.step == 8:
            raise MemoryError("gone")
        return step(self)

    monkeypatch.setattr(loop._Pretraining, "_step", dies)
    with pytest.raises(MemoryError):
        loop.pretrain(run)
    monkeypatch.undo()
    loop.pretrain(run)
    assert small.lines(out / "log.jsonl") == small.lines(finished / "log.jsonl")


def test_scores_are_drawn(finished, material, files, tmp_path):
    picture = (finished / "loss.svg").read_text()
    for words in ("right option", "likeliest", "good one likelier", "probes, part of 1"):
        assert words in picture
    assert picture.count("<polyline") == 3 + 3
    only = {"pairs": files["pairs"], "every": 6}
    loop.pretrain(small.run(material, tmp_path / "only", validation=only))
    assert (tmp_path / "only" / "loss.svg").read_text().count("<polyline") == 2 + 1


def test_how_texts_are_put_together_changes_no_score(finished, files, monkeypatch):
    model = models.load(finished / "model")
    tokenizer = models.open_tokenizer(finished / "model")
    opened = probes.open_probes(
        probes.Path(files["choices"]), probes.Path(files["pairs"]), tokenizer, 32
    )
    accelerator = Accelerator(cpu=True)
    whole = [probe.measure(accelerator, model) for probe in opened]
    assert len(probes._passes(opened[0].texts)) == 1
    monkeypatch.setattr(probes, "_PASS", 40)
    assert len(probes._passes(opened[0].texts)) > 10
    for one, other in zip(
        whole, (probe.measure(accelerator, model) for probe in opened), strict=True
    ):
        assert one == pytest.approx(other, abs=1e-5)
    assert model.training


@pytest.mark.parametrize("kind", ["byte-level", "byte-fallback"])
def test_what_is_predicted_is_the_option(kind, tmp_path):
    """In both kinds of tokenizer, whichever side of the border the blank stands on."""
    tokenizer = models.open_tokenizer(small.write_tokenizer(tmp_path, kind))
    for context, option in (
        ("the cat", " reads a model"),
        ("the cat ", "reads a model"),
        ("", "a cat"),
    ):
        text = probes._sequenced(tokenizer, context, option, 99, "here")
        assert text.ids == [tokenizer.bos_id, *tokenizer.encode(context + option)]
        predicted = tokenizer.decode(text.ids[text.first :], after=text.ids[text.first - 1])
        assert predicted.strip() == option.strip()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "this is not JSON"),
        ('{"context": "a", "options": ["b"], "right": 0}', "options: Tuple should have at least 2"),
        ('{"context": "a", "options": ["b", ""], "right": 0}', r"options\.1: String should have"),
        ('{"context": "a", "options": ["b", "c"], "right": 2}', "right is 2, and there are 2"),
        ('{"context": "a", "options": ["b", "c"]}', "right: Field required"),
        ('{"context": "' + "a " * 99 + '", "options": ["b", "c"], "right": 1}', "tokens, and the"),
        ("", "holds no item"),
    ],
)
def test_bad_items_are_named(line, said, material, tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text(f"{line}\n")
    tokenizer = models.open_tokenizer(material / "tokenizer-byte-level")
    with pytest.raises(ParameterError, match=f"bad.jsonl.*{said}"):
        probes.open_probes(path, None, tokenizer, 32)


def test_nothing_to_measure_is_refused(material, tmp_path):
    with pytest.raises(ValueError, match="names nothing to measure"):
        PretrainRun.model_validate(small.values(material, tmp_path, validation={"every": 3}))


def test_an_adapter_is_scored_after_each_epoch(finished, files, tmp_path):
    chats = [
        {
            "messages": [
                {"role": "user", "content": text[:20]},
                {"role": "assistant", "content": "a"},
            ]
        }
        for text in small.sentences(16, 3)
    ]
    data = write(tmp_path / "chats.jsonl", chats)
    fields = {
        "out": str(tmp_path / "lora"),
        "model": str(finished / "model"),
        "data": [data],
        "validation": data,
        "epochs": 2,
        "batch": 8,
        "context": 32,
        "peak": 0.01,
        "threads": 1,
        "adapter": {"rank": 2},
        **files,
    }
    notes = []
    place = tuning.tune(LoraRun.model_validate(fields), show=lambda text: None, note=notes.append)
    log = tmp_path / "lora" / "log.jsonl"
    assert [line["step"] for line in scored(log, "pairs")] == [2, 4]
    assert any(note.startswith("step 4: choices: log-probability -") for note in notes)
    # The last scores are those of the adapter that was written.
    import peft

    adapted = peft.PeftModel.from_pretrained(models.load(finished / "model"), place)
    tokenizer = models.open_tokenizer(finished / "model")
    (probe,) = probes.open_probes(probes.Path(files["choices"]), None, tokenizer, 32)
    found = probe.measure(Accelerator(cpu=True), adapted)
    said = scored(log, "choices")[-1]
    assert said["log_probability"] == pytest.approx(found["log_probability"], abs=1e-5)
    assert "good one likelier" in (tmp_path / "lora" / "loss.svg").read_text()


def test_a_log_goes_on_with_probes(tmp_path):
    path = tmp_path / "log.jsonl"
    for step in (3, 6):
        log = Log(path, step - 3)
        log.write({"step": step, "probe": "pairs", "share": 0.5})
        log.write({"step": step + 1, "phase": "a", "loss": 1.0})
        log.close()
    assert [line["step"] for line in small.lines(path)] == [3, 6, 7]


@pytest.mark.slow  # two processes, each of which imports PyTorch
@pytest.mark.parametrize("sharding", ["none", "fsdp"])
def test_two_processes_score_what_one_does(sharding, finished, material, files, tmp_path):
    out, config = tmp_path / "two", tmp_path / "run.yaml"
    values = small.values(material, out, sharding=sharding, validation=validation(material, files))
    config.write_text(yaml.safe_dump(values))
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
    done = subprocess.run(
        [sys.executable, *torchrun, "-m", "pocketlm", "train", "pretrain", str(config)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for name, score in (("choices", "log_probability"), ("pairs", "share")):
        two, one = (scored(folder / "log.jsonl", name) for folder in (out, finished))
        assert [line["step"] for line in two] == [line["step"] for line in one]
        for left, right in zip(two, one, strict=True):
            assert left[score] == pytest.approx(right[score], abs=0.03)
    shutil.rmtree(out)
