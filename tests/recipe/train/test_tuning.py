import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import transformers
import yaml

from pocketlm.errors import Error, ParameterError
from pocketlm.quantize.export import export
from pocketlm.recipe.train import conversations, loop, models, tuning
from pocketlm.recipe.train.configuration import DpoRun, LoraRun, SftRun
from pocketlm.recipe.train.conversations import IGNORED, Message
from pocketlm.recipe.train.errors import TrainingError
from recipe.train import small

TURNS = [
    ("system", "the small cat."),
    ("user", "the cat reads?"),
    ("assistant", "  a model\n\nreads."),
    ("user", "and then?"),
    ("assistant", "the dog sees the river."),
]
#: transformers' own templates of other models, as far as they differ in how turns end.
TEMPLATES = {
    "phi3, which ends with eos": (
        "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] +"
        " '<|end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}"
        "{% else %}{{ eos_token }}{% endif %}"
    ),
    "chatml": (
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' +"
        " message['content'] + '<|im_end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    ),
}


@pytest.fixture(scope="module")
def base(material, tmp_path_factory):
    """A pretrained model."""
    out = tmp_path_factory.mktemp("base") / "base"
    return loop.pretrain(small.run(material, out, validation=None, context=64))


@pytest.fixture(scope="module")
def tokenizer(base):
    return transformers.AutoTokenizer.from_pretrained(base)


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def messages(turns=TURNS):
    return [Message(role=role, content=content) for role, content in turns]


@pytest.fixture(scope="module")
def chats(tmp_path_factory):
    """Questions with the answer that a rule gives: the last word again."""
    rows = []
    for text in small.sentences(48, 21):
        words = text.split()[:6]
        question, answer = " ".join(words), f"{words[-1]} {words[-1]}"
        rows.append(
            {
                "messages": [
                    {"role": "user", "content": question},
                    {"role": "assistant", "content": answer},
                ]
            }
        )
    return write(tmp_path_factory.mktemp("chats") / "chats.jsonl", rows)


def fields(base, out, data, **changes):
    return {
        "out": str(out),
        "model": str(base),
        "data": [data],
        "epochs": 2,
        "batch": 8,
        "micro_batch": 4,
        "context": 64,
        "peak": 0.01,
        "warmup": 1,
        "checkpoints": {"every": 4},
        "threads": 1,
        **changes,
    }


def quiet(text):
    pass


def tune(run):
    return tuning.tune(run, show=quiet, note=quiet)


# What is learned of a conversation.


@pytest.mark.parametrize("template", ["own", *TEMPLATES])
def test_answers_and_their_ends_are_learned_and_nothing_else(template, base):
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    end = "<|end|>"
    if template != "own":
        tokenizer.chat_template = TEMPLATES[template]
        end = "<|im_end|>" if template == "chatml" else end
    found = conversations.tokens(tokenizer, messages())
    rendered = tokenizer.apply_chat_template([m.model_dump() for m in messages()], tokenize=False)
    whole = tokenizer(rendered.removesuffix("<|endoftext|>"), add_special_tokens=False).input_ids
    assert found["input_ids"] == whole
    learned = [
        id for id, label in zip(found["input_ids"], found["labels"], strict=True) if label >= 0
    ]
    assert tokenizer.decode(learned) == f"  a model\n\nreads.{end}the dog sees the river.{end}"
    assert all(
        label in (id, IGNORED)
        for id, label in zip(found["input_ids"], found["labels"], strict=True)
    )


def test_a_template_that_changes_earlier_turns_is_refused(base):
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = (
        "{{ messages | length }}{% for message in messages %}{{ message['content'] }}{% endfor %}"
    )
    with pytest.raises(ParameterError, match="changes earlier turns"):
        conversations.tokens(tokenizer, messages())


def test_trl_learns_these_labels(base, chats, tmp_path, monkeypatch):
    """What reaches the model's loss is what was masked here."""
    seen = []
    compute = tuning.SFTTrainer.compute_loss

    def watched(self, model, inputs, *more, **options):
        seen.append({name: inputs[name].clone() for name in ("input_ids", "labels")})
        return compute(self, model, inputs, *more, **options)

    monkeypatch.setattr(tuning.SFTTrainer, "compute_loss", watched)
    tune(SftRun(**fields(base, tmp_path / "out", chats, epochs=0.5)))
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    examples = {
        tuple(row["input_ids"]): row["labels"]
        for row in (
            conversations.tokens(tokenizer, conversation.messages)
            for conversation in conversations.read_conversations([tuning.Path(chats)])
        )
    }
    assert len(seen) == 6
    for batch in seen:
        for ids, labels in zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True):
            length = max(n for n in range(len(ids) + 1) if tuple(ids[:n]) in examples)
            assert labels[:length] == examples[tuple(ids[:length])]
            assert set(labels[length:]) <= {IGNORED}
            answer = [id for id, label in zip(ids, labels, strict=True) if label >= 0]
            assert tokenizer.decode(answer).endswith("<|end|>")
            assert 2 <= len(answer) < length / 2


# Training.


def test_sft_learns_and_keeps_a_whole_model(base, chats, tmp_path):
    out = tmp_path / "sft"
    place = tune(SftRun(**fields(base, out, chats, validation=chats)))
    losses = small.losses(out / "log.jsonl")
    assert len(losses) == 12
    assert losses[-1] < 0.7 * losses[0]
    measured = [line for line in small.lines(out / "log.jsonl") if "validation" in line]
    assert len(measured) == 2
    assert measured[1]["loss"] < measured[0]["loss"]
    assert "<polyline" in (out / "loss.svg").read_text()
    assert type(models.load(place)) is transformers.Phi3ForCausalLM
    ends = json.loads((place / "generation_config.json").read_text())["eos_token_id"]
    tokenizer = models.open_tokenizer(place)
    assert ends == [tokenizer.control["<|endoftext|>"], tokenizer.control["<|end|>"]]


def test_sft_goes_on_to_the_bit(base, chats, tmp_path, monkeypatch):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    tune(SftRun(**fields(base, whole, chats)))
    step = tuning._Keeping._step

    def dies(self, number, steps, logs):
        step(self, number, steps, logs)
        if number == 7:
            raise MemoryError("gone")

    monkeypatch.setattr(tuning._Keeping, "_step", dies)
    with pytest.raises(MemoryError):
        tune(SftRun(**fields(base, stopped, chats)))
    monkeypatch.undo()
    # A checkpoint that was being written.
    (stopped / "checkpoints" / "checkpoint-7").mkdir()
    tune(SftRun(**fields(base, stopped, chats)))
    assert small.losses(stopped / "log.jsonl") == small.losses(whole / "log.jsonl")
    one, other = (models.load(out / "model").state_dict() for out in (whole, stopped))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_loss_that_is_no_number_stops(base, chats, tmp_path):
    with pytest.raises(TrainingError, match=r"the loss is nan in step \d+; no checkpoint was kept"):
        tune(SftRun(**fields(base, tmp_path / "wild", chats, peak=1e30, warmup=0, clip=1e9)))


def test_an_adapter_merges_to_what_peft_computes(base, chats, tmp_path):
    import peft

    run = LoraRun(**fields(base, tmp_path / "lora", chats), adapter={"rank": 4, "alpha": 8})
    place = tune(run)
    losses = small.losses(tmp_path / "lora" / "log.jsonl")
    assert losses[-1] < losses[0]
    settings = json.loads((place / "adapter_config.json").read_text())
    assert settings["target_modules"]
    assert settings["r"] == 4
    adapted = peft.PeftModel.from_pretrained(models.load(base), place).train(False)
    export(base, tmp_path / "merged", "safetensors", adapter=place)
    ids = torch.tensor([[0, 30, 40, 50, 60, 70]])
    with torch.no_grad():
        expected = adapted(ids).logits
        found = models.load(tmp_path / "merged").train(False)(ids).logits
        before = models.load(base).train(False)(ids).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert (before - expected).abs().max() > 1e-2


def test_an_unknown_target_is_named(base, chats, tmp_path):
    run = LoraRun(**fields(base, tmp_path / "out", chats), adapter={"targets": ["q_proj"]})
    with pytest.raises(ParameterError, match="no q_proj; it has down_proj, gate_up_proj, o_proj"):
        tune(run)


@pytest.mark.parametrize("adapter", [None, {"rank": 4}], ids=["weights", "adapter"])
def test_dpo_moves_margins(adapter, base, tmp_path):
    rows = []
    for text in small.sentences(32, 31):
        words = text.split()[:5]
        rows.append(
            {
                "messages": [{"role": "user", "content": " ".join(words)}],
                "chosen": "the cat reads.",
                "rejected": f"{words[0]} {words[1]}.",
            }
        )
    data = write(tmp_path / "pairs.jsonl", rows)
    run = DpoRun(**fields(base, tmp_path / "dpo", data), adapter=adapter)
    place = tuning.prefer(run, show=quiet, note=quiet)
    lines = small.lines(tmp_path / "dpo" / "log.jsonl")
    margins = [line["rewards_margins"] for line in lines]
    assert lines[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert margins[0] == pytest.approx(0, abs=1e-4)
    assert np.mean(margins[-3:]) > (0.1 if adapter is None else 0.02)
    assert place.name == ("model" if adapter is None else "adapter")


@pytest.mark.slow  # two processes, each of which imports PyTorch
def test_two_processes_share_a_batch(base, chats, tmp_path):
    tune(SftRun(**fields(base, tmp_path / "one", chats, epochs=1)))
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(fields(base, tmp_path / "two", chats, epochs=1)))
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
    done = subprocess.run(
        [sys.executable, *torchrun, "-m", "pocketlm", "train", "sft", str(config)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (small.losses(tmp_path / name / "log.jsonl") for name in ("one", "two"))
    # Not to rounding: what a process is given has more answers to learn here, fewer there.
    np.testing.assert_allclose(two, one, rtol=0.05)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "this is not JSON"),
        ('{"messages": []}', "messages: List should have at least 1 item"),
        ('{"messages": [{"role": "robot", "content": ""}]}', r"messages\.0\.role: Input should be"),
        ('{"messages": [{"role": "user", "content": "a"}]}', "the assistant says nothing"),
        ("", "holds no example"),
    ],
)
def test_bad_examples_are_named(line, said, tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ParameterError, match=f"bad.jsonl.*{said}"):
        conversations.read_conversations([path])


def test_a_model_that_cannot_be_trained_says_what_to_do(base, chats, tmp_path):
    """A GGUF file, a model of the store by its name, and weights that are quantised."""
    export(base, tmp_path / "model.gguf", "gguf")
    quantised = tmp_path / "quantised"
    quantised.mkdir()
    config = json.loads((base / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (quantised / "config.json").write_text(json.dumps(config))
    for model, said in (
        (tmp_path / "model.gguf", r"model.gguf: is a file.*pocketlm export .*--format safetensors"),
        (tmp_path / "smollm2", r"no config.json.*pocketlm export smollm2 --format safetensors"),
        (quantised, "its weights are quantised"),
    ):
        run = LoraRun(**fields(model, tmp_path / "out", chats))
        with pytest.raises(Error, match=said):
            tune(run)
