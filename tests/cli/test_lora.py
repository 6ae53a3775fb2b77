"""`--lora`: adapters added to a model, summed and scaled; and what is said of others."""

import json

import pytest
from program import check_refusal

from models import adapters
from pocketlm import load
from pocketlm.cli.options import loras
from pocketlm.errors import ParameterError

GREEDY = ["--temperature", "0", "--max-tokens", "12"]
QUESTION = "Write a short story about a dog."


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    home = tmp_path_factory.mktemp("adapters")
    for seed, name in enumerate(["one", "two:3"]):
        adapters.save_random(home / name, seed)
    return home


def test_an_answer_with_adapters(pocketlm, smollm2, folders):
    one, two = folders / "one", folders / "two:3"
    messages = [{"role": "user", "content": QUESTION}]
    with load(smollm2) as model:
        ways = {
            (): [],
            (f"{one}",): [(one, 1.0)],
            (f"{one}", f"{two}:0.5"): [(one, 1.0), (two, 0.5)],
            (f"{one}:0",): [],
        }
        for given, its in ways.items():
            expected = model.chat(
                messages, adapter=model.adapter(its), temperature=0, max_tokens=12
            )
            options = [part for path in given for part in ("--lora", path)]
            result = pocketlm("run", smollm2, QUESTION, *GREEDY, *options, "--json")
            assert json.loads(result.stdout)["text"] == expected.text
    told = pocketlm("chat", smollm2, "--prompt", QUESTION, *GREEDY, "--lora", one)
    plain = pocketlm("chat", smollm2, "--prompt", QUESTION, *GREEDY)
    assert told.returncode == plain.returncode == 0
    assert told.stdout != plain.stdout


def test_adapters_are_measured(pocketlm, smollm2, folders):
    options = ["--pp", "8", "--tg", "2", "--depth", "0", "--repeat", "1", "--json"]
    result = pocketlm("bench", smollm2, *options, "--lora", folders / "one")
    assert {row["work"] for row in json.loads(result.stdout)["rows"]} == {"pp8", "tg2"}


def test_how_adapters_are_written(folders):
    one, two = folders / "one", folders / "two:3"
    assert loras(None) == []
    assert loras([f"{one}", f"{one}:2", f"{one}:-0.5", f"{two}", f"{two}:3"]) == [
        (one, 1.0),
        (one, 2.0),
        (one, -0.5),
        (two, 1.0),
        (two, 3.0),
    ]


def test_what_cannot_be_added_is_one_line(pocketlm, smollm2, folders, tmp_path):
    def refused(path, *words, code=1):
        result = pocketlm("run", smollm2, "hello", "--lora", path)
        check_refusal(result, *words, code=code)

    refused(tmp_path / "nowhere", "nowhere: no such file or folder")
    refused(f"{folders / 'one'}:big", "one:big: no such file or folder")
    refused(f"{folders / 'one'}:inf", "scale", code=2)
    refused(tmp_path, "holds no adapter")
    refused(smollm2, "holds no LoRA adapter")
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "use_dora": true}')
    (tmp_path / "adapter_model.safetensors").write_bytes(b"x" * 20)
    refused(tmp_path, "adapter_config.json: 'use_dora' = 'True' is not supported")


def test_names_that_cannot_be_served(pocketlm, smollm2, folders, tmp_path):
    one = folders / "one"
    for wrong, message in (
        (f"{one}", "write it as NAME=PATH"),
        (f"={one}", "write it as NAME=PATH"),
        (f"{smollm2.stem}={one}", "is a model's own name"),
        (f"it={tmp_path / 'nowhere'}:0.5", "there is no"),
    ):
        check_refusal(pocketlm("serve", smollm2, "--lora", wrong), message, code=2)
    with pytest.raises(ParameterError, match="finite"), load(smollm2) as model:
        model.adapter([(one, float("nan"))])
