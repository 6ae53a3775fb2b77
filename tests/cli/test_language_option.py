"""`--language`: the adapter of each message's language; and adapters in and out of the store."""

import json
import shutil

import pytest
from program import check_refusal

from models import adapters

GREEDY = ["--temperature", "0", "--max-tokens", "8", "--threads", "1"]
GERMAN, ENGLISH = "Was ist ein Baum?", "What is the colour of the sky?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("adapters") / "german"
    adapters.save_random(place, 3)
    return place


@pytest.fixture
def installed(pocketlm, smollm2, folder):
    result = pocketlm("adapter", "install", folder, "--model", smollm2, "--language", "de")
    assert result.returncode == 0, result.stderr
    return folder


def test_each_message_is_answered_in_its_language(pocketlm, smollm2, installed):
    def answers(*options, said=f"{GERMAN}\nHallo\n{ENGLISH}\n"):
        result = pocketlm("chat", smollm2, *GREEDY, *options, stdin=said)
        assert result.returncode == 0, result.stderr
        return result

    auto = answers("--language", "auto")
    told = [line for line in auto.stderr.splitlines() if line.startswith("(language")]
    name = f"{smollm2.stem}-de"
    assert told == [f"(language: de, {name})", "(language: en, no adapter)"]
    # The first two turns are the adapter's own; what follows was read again without it.
    german = answers("--lora", installed).stdout.split("\n\n")
    assert auto.stdout.split("\n\n")[:2] == german[:2]
    assert (
        answers("--language", "de", said=GERMAN).stdout
        == answers("--lora", installed, said=GERMAN).stdout
    )
    assert answers("--language", "auto", said=ENGLISH).stdout == answers(said=ENGLISH).stdout
    assert answers("--language", "en", said=GERMAN).stdout == answers(said=GERMAN).stdout
    resumed = pocketlm("chat", "-c", *GREEDY, "--language", "auto", "-p", "Hm")
    assert resumed.returncode == 0
    assert "language:" not in resumed.stderr


def test_one_answer(pocketlm, smollm2, installed):
    auto = pocketlm("run", smollm2, GERMAN, *GREEDY, "--language", "auto")
    given = pocketlm("run", smollm2, GERMAN, *GREEDY, "--lora", installed)
    plain = pocketlm("run", smollm2, GERMAN, *GREEDY)
    assert auto.stdout == given.stdout != plain.stdout
    assert f"(language: de, {smollm2.stem}-de)" in auto.stderr


def test_listed_and_removed(pocketlm, smollm2, installed):
    (found,) = json.loads(pocketlm("list", "--json").stdout)["adapters"]
    assert (found["language"], found["name"]) == ("de", f"{smollm2.stem}-de")
    assert "de of" in pocketlm("list").stdout
    assert pocketlm("adapter", "rm", found["name"]).returncode == 0
    assert json.loads(pocketlm("list", "--json").stdout)["adapters"] == []
    check_refusal(pocketlm("adapter", "rm", found["name"]), "no adapter")


def test_none_installed_says_what_to_do(pocketlm, smollm2, tmp_path, folder):
    for wanted in ("auto", "cs"):
        result = pocketlm("chat", smollm2, "-p", "Ahoj", "--language", wanted)
        check_refusal(result, "adapter install", "train language", "--then install")
    wrong = tmp_path / "wrong"
    shutil.copytree(folder, wrong)
    (wrong / "adapter_model.safetensors").write_bytes(b"no tensors")
    refused = pocketlm("adapter", "install", wrong, "--model", smollm2, "--language", "de")
    check_refusal(refused, "adapter_model.safetensors")
    assert json.loads(pocketlm("list", "--json").stdout)["adapters"] == []
