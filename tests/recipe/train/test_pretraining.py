import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import transformers
import yaml

import pocketlm
from pocketlm.errors import OutputError, ParameterError
from pocketlm.recipe.data.shards import Shards
from pocketlm.recipe.train import checkpoints, loop, models
from pocketlm.recipe.train.errors import TrainingError
from pocketlm.recipe.train.mixture import Windows
from pocketlm.recipe.train.packing import pack
from recipe.train import small


def weights(folder):
    return {
        name: value.detach().clone() for name, value in models.load(folder).state_dict().items()
    }


@pytest.fixture(scope="module")
def finished(material, tmp_path_factory):
    """The run that others are compared with: twelve steps, never stopped."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    loop.pretrain(small.run(material, out))
    return out


def test_the_loss_falls_and_is_logged(finished):
    lines = small.lines(finished / "log.jsonl")
    losses = small.losses(finished / "log.jsonl")
    assert [line["step"] for line in lines if "phase" in line] == list(range(1, 13))
    assert [line["phase"] for line in lines if "phase" in line] == ["first"] * 8 + ["second"] * 4
    assert losses[0] == pytest.approx(np.log(small.VOCABULARY), abs=0.3)
    assert losses[-1] < losses[0] - 1
    rates = [line["rate"] for line in lines if "phase" in line]
    assert rates[2] == rates[7] == 0.01  # after the warm-up, before the decay
    np.testing.assert_allclose(rates[8:], [0.01, 0.0075, 0.005, 0.0025])
    measured = [line for line in lines if line.get("validation") == "held"]
    assert [line["step"] for line in measured] == [6, 12]
    assert measured[1]["bits_per_byte"] < measured[0]["bits_per_byte"]
    picture = (finished / "loss.svg").read_text()
    assert picture.count("<polyline") == 3
    assert "second" in picture


def test_held_back_text_is_measured_as_by_hand(finished, material):
    model = models.load(finished / "model").train(False)
    windows = Windows("held", Shards(material / "held"), 32)
    batch = pack([windows[number] for number in range(25)], across_documents=False)
    with torch.no_grad():
        logits = model(
            input_ids=batch.inputs, position_ids=batch.positions, attention_mask=batch.mask
        ).logits
    chosen = torch.log_softmax(logits.double(), -1).gather(2, batch.targets[:, :, None])
    said = small.lines(finished / "log.jsonl")[-1]
    assert said["loss"] == pytest.approx(-chosen.mean().item(), abs=1e-5)
    tokenizer = models.open_tokenizer(material / "tokenizer-byte-level")
    size = len(tokenizer.decode(batch.targets.flatten().tolist()).encode())
    assert said["bits_per_byte"] == pytest.approx(-chosen.sum().item() / np.log(2) / size, abs=1e-5)


def test_the_model_opens_in_transformers_and_in_the_engine(finished):
    folder = finished / "model"
    reference = transformers.AutoModelForCausalLM.from_pretrained(folder).train(False)
    assert type(reference) is transformers.Phi3ForCausalLM
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    text = "the cat reads a model near the river."
    with pocketlm.load(folder, threads=1, cache_type="f16") as model:
        ids = model.text_tokens(text)
        ours = model.logits(ids)
    assert ids == tokenizer(text).input_ids
    with torch.no_grad():
        theirs = reference(torch.tensor([ids])).logits[0].numpy()
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_a_stopped_run_goes_on_to_the_bit(finished, material, tmp_path, monkeypatch):
    out = tmp_path / "stopped"
    step = loop._Pretraining._step
    calls = []

    def dies(self):
        if len(calls) == 8:
            raise MemoryError("gone")
        calls.append(1)
        return step(self)

    monkeypatch.setattr(loop._Pretraining, "_step", dies)
    with pytest.raises(MemoryError):
        loop.pretrain(small.run(material, out))
    monkeypatch.undo()
    # What a process leaves that is killed while it writes.
    with (out / "log.jsonl").open("a") as log:
        log.write('{"step": 9, "lo')
    part = out / "checkpoints" / ".step-00000009.abc.part"
    part.mkdir()
    (part / "model.safetensors").write_bytes(b"half")
    notes = []
    loop.pretrain(small.run(material, out), note=notes.append)
    assert any("going on from step 6" in note for note in notes)
    assert small.lines(out / "log.jsonl") == small.lines(finished / "log.jsonl")
    for name, value in weights(finished / "model").items():
        assert torch.equal(value, weights(out / "model")[name]), name


def test_ctrl_c_keeps_a_checkpoint(finished, material, tmp_path):
    out = tmp_path / "interrupted"

    def stop(text):
        if text.startswith("step 5 "):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        loop.pretrain(small.run(material, out), show=stop)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert checkpoints.newest(out / "checkpoints").name == "step-00000005"
    loop.pretrain(small.run(material, out))
    assert small.lines(out / "log.jsonl") == small.lines(finished / "log.jsonl")


def test_old_checkpoints_go(finished):
    kept = sorted(path.name for path in (finished / "checkpoints").iterdir())
    assert kept == ["step-00000009", "step-00000012"]


def test_a_checkpoint_is_a_model_too(finished):
    model = transformers.AutoModelForCausalLM.from_pretrained(
        finished / "checkpoints" / "step-00000012"
    )
    whole = weights(finished / "model")
    assert all(torch.equal(value, whole[name]) for name, value in model.state_dict().items())


def test_accumulating_changes_nothing_but_rounding(finished, material, tmp_path):
    loop.pretrain(small.run(material, tmp_path / "a", micro_batch=8, validation=None))
    np.testing.assert_allclose(
        small.losses(tmp_path / "a" / "log.jsonl"),
        small.losses(finished / "log.jsonl"),
        atol=2e-4,
    )


def test_a_branch_goes_on_from_another_runs_checkpoint(finished, material, tmp_path):
    """Of a trunk that ended after the first phase, the second is the same as in one run."""
    phases = small.values(material, tmp_path)["phases"]
    trunk = small.run(
        material,
        tmp_path / "trunk",
        phases=phases[:1],
        schedule={"peak": 0.01, "warmup": 2, "kind": "constant"},
        validation=None,
    )
    loop.pretrain(trunk)
    branch = tmp_path / "trunk" / "checkpoints" / "step-00000008"
    loop.pretrain(small.run(material, tmp_path / "branch", branch=str(branch)))
    whole = small.lines(finished / "log.jsonl")
    assert small.lines(tmp_path / "branch" / "log.jsonl") == [
        line for line in whole if line["step"] > 8
    ]


def test_nan_stops_and_says_where(material, tmp_path, monkeypatch):
    out = tmp_path / "nan"
    step = loop._Pretraining._step

    def poisoned(self):
        if self._progress.step == 7:
            with torch.no_grad():
                next(self._model.parameters()).fill_(float("nan"))
        return step(self)

    monkeypatch.setattr(loop._Pretraining, "_step", poisoned)
    with pytest.raises(
        TrainingError,
        match=r"the loss is nan in step 8 \(phase first, first in document.* of (web|fine)"
        r".*last good checkpoint is .*step-00000006",
    ):
        loop.pretrain(small.run(material, out))
    monkeypatch.undo()
    assert all(np.isfinite(small.losses(out / "log.jsonl")))
    loop.pretrain(small.run(material, out))
    assert len(small.losses(out / "log.jsonl")) == 12


def test_a_rate_that_is_too_great_is_found(material, tmp_path):
    wild = small.run(
        material, tmp_path / "wild", schedule={"peak": 1e30, "warmup": 0}, validation=None
    )
    with pytest.raises(TrainingError, match=r"in step \d+ .*no checkpoint was kept"):
        loop.pretrain(wild)


def test_a_full_disk_leaves_the_checkpoint_before(material, tmp_path, monkeypatch):
    out = tmp_path / "full"
    save = checkpoints.Accelerator.save_state
    calls = []

    def full(self, folder, **more):
        calls.append(folder)
        if len(calls) == 2:
            save(self, folder, **more)
            raise OSError(28, "No space left on device")
        return save(self, folder, **more)

    monkeypatch.setattr(checkpoints.Accelerator, "save_state", full)
    with pytest.raises(OutputError, match=r"step-00000006: the disk is full"):
        loop.pretrain(small.run(material, out))
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-00000003"]


def test_a_folder_belongs_to_one_run(finished, material):
    with pytest.raises(ParameterError, match="holds a run with another batch, seed"):
        loop.pretrain(small.run(material, finished, seed=3, batch=16))
    notes = []
    assert loop.pretrain(small.run(material, finished), note=notes.append) == finished / "model"
    assert "is finished" in notes[0]


def test_shards_of_another_tokenizer_are_refused(material, tmp_path):
    other = small.write_tokenizer(tmp_path, "byte-fallback")
    with pytest.raises(ParameterError, match="made with another tokenizer"):
        loop.pretrain(small.run(material, tmp_path / "out", tokenizer=str(other)))


def test_bfloat16_learns(material, tmp_path):
    loop.pretrain(small.run(material, tmp_path / "b", precision="bfloat16", validation=None))
    found = small.losses(tmp_path / "b" / "log.jsonl")
    assert found[-1] < found[0] - 1


def test_a_teachers_student_comes_nearer_to_it(finished, material, tmp_path):
    teaching = {"model": str(finished / "model"), "temperature": 2.0, "weight": 0.9}
    out = tmp_path / "student"
    loop.pretrain(small.run(material, out, teacher=teaching, seed=1, validation=None))
    lines = small.lines(out / "log.jsonl")
    assert lines[-1]["divergence"] < 0.5 * lines[0]["divergence"]
    for line in lines:
        expected = 0.1 * line["cross_entropy"] + 0.9 * 4 * line["divergence"]
        assert line["loss"] == pytest.approx(expected, rel=1e-5)


def test_a_model_is_trained_further(finished, material, tmp_path):
    loop.pretrain(
        small.run(material, tmp_path / "more", model=str(finished / "model"), validation=None)
    )
    assert small.losses(tmp_path / "more" / "log.jsonl")[0] < 5


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}


def command(config, *before):
    return [sys.executable, *before, "-m", "pocketlm", "train", "pretrain", str(config)]


@pytest.mark.slow  # three processes, each of which imports PyTorch
def test_killed_at_any_moment_it_goes_on_to_the_bit(finished, material, tmp_path):
    """kill -9, at moments that nobody chose: whenever the log has grown by a few lines."""
    out, config = tmp_path / "killed", tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(small.values(material, out)))
    log = out / "log.jsonl"
    for least in (4, 8):
        with subprocess.Popen(
            command(config), env=environment(), stderr=subprocess.PIPE
        ) as running:
            end = time.monotonic() + 120
            while not log.exists() or len(log.read_bytes().splitlines()) < least:
                assert running.poll() is None, running.stderr.read()
                assert time.monotonic() < end
                time.sleep(0.002)
            running.kill()
    assert not (out / "model").exists()
    loop.pretrain(small.run(material, out))
    assert small.lines(log) == small.lines(finished / "log.jsonl")
    for name, value in weights(finished / "model").items():
        assert torch.equal(value, weights(out / "model")[name]), name


@pytest.mark.slow  # as above
@pytest.mark.parametrize("sharding", ["none", "fsdp"])
def test_two_processes_do_what_one_does(sharding, finished, material, tmp_path):
    out, config = tmp_path / "two", tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(small.values(material, out, sharding=sharding)))
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
    done = subprocess.run(
        [sys.executable, *torchrun, "-m", "pocketlm", "train", "pretrain", str(config)],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == f"wrote {out}/model\n"
    if sharding == "fsdp":  # and goes on from what both kept of it
        shutil.rmtree(out / "model")
        shutil.rmtree(out / "checkpoints" / "step-00000012")
        again = subprocess.run(done.args, env=environment(), capture_output=True, text=True)
        assert again.returncode == 0, again.stderr[-3000:]
        assert "going on from step 9" in again.stderr
    found, expected = small.lines(out / "log.jsonl"), small.lines(finished / "log.jsonl")
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-3)
    for name, value in weights(finished / "model").items():
        torch.testing.assert_close(weights(out / "model")[name], value, atol=5e-3, rtol=0)
