"""`pocketlm serve`, `ps`, `stop` and `preset`, and structured answers of `run`."""

import json
import re
import signal
import subprocess
import time

import pytest
from program import PROGRAM, check_refusal


def test_run_answers_by_a_schema_a_regex_and_a_grammar(pocketlm, smollm2, tmp_path):
    schema, grammar = tmp_path / "dog.json", tmp_path / "dog.lark"
    schema.write_text(
        json.dumps(
            {
                "type": "object",
                "properties": {"name": {"type": "string", "maxLength": 9}, "legs": {"const": 4}},
                "required": ["name", "legs"],
            }
        )
    )
    grammar.write_text('start: "wet" | "dry"')
    result = pocketlm("run", smollm2, "Describe a dog", "--schema", schema)
    assert set(json.loads(result.stdout)) == {"name", "legs"}
    result = pocketlm("run", smollm2, "Is water wet?", "--regex", "yes|no")
    assert result.stdout in ("yes\n", "no\n")
    result = pocketlm("run", smollm2, "Is water wet?", "--grammar", grammar, "--json")
    assert json.loads(result.stdout)["text"] in ("wet", "dry")


def test_run_refuses_what_cannot_be_enforced(pocketlm, smollm2, tmp_path):
    schema = tmp_path / "x.json"
    schema.write_text('{"uniqueItems": true}')
    check_refusal(pocketlm("run", smollm2, "x", "--schema", schema), "uniqueItems", code=2)
    check_refusal(pocketlm("run", smollm2, "x", "--regex", "(?=a)"), "look-around", code=2)
    check_refusal(pocketlm("run", smollm2, "x", "--schema", tmp_path / "y"), "y", code=2)
    both = pocketlm("run", smollm2, "x", "--schema", schema, "--regex", "a")
    check_refusal(both, "one of", code=2)


def test_serve_wants_a_key_before_others_can_reach_it(pocketlm, smollm2):
    for host in ("0.0.0.0", "192.168.0.1", "::", "example.org"):
        check_refusal(pocketlm("serve", smollm2, "--host", host), "--api-key", code=2)
    check_refusal(pocketlm("serve", "none"), "none")
    check_refusal(pocketlm("serve", smollm2, "--memory", "much"), "much", code=2)


def test_a_server_is_listed_unloads_and_ends(pocketlm, environment, smollm2):
    assert "no server runs" in pocketlm("ps").stdout
    check_refusal(pocketlm("stop"), "no server")
    process = subprocess.Popen(
        [*PROGRAM, "serve", str(smollm2), "--port", "0", "--api-key", "secret"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert re.search(r"listening on http://127\.0\.0\.1:\d+;", process.stderr.readline())
        check_refusal(pocketlm("ps"), "POCKETLM_API_KEY")
        key = {"POCKETLM_API_KEY": "secret"}
        deadline = time.monotonic() + 20
        while not (found := json.loads(pocketlm("ps", "--json", **key).stdout))[0]["models"]:
            assert time.monotonic() < deadline
        assert found[0]["pid"] == process.pid
        name = found[0]["models"][0]["name"]
        assert name in pocketlm("ps", **key).stdout
        check_refusal(pocketlm("stop", "other", **key), "other")
        assert "unloaded" in pocketlm("stop", name, **key).stdout
        assert json.loads(pocketlm("ps", "--json", **key).stdout)[0]["models"] == []
        assert "told" in pocketlm("stop").stdout
        assert process.wait(20) == 0
    finally:
        process.kill()
    assert "no server runs" in pocketlm("ps").stdout


def test_a_server_that_was_killed_is_not_listed(pocketlm, environment, smollm2):
    process = subprocess.Popen(
        [*PROGRAM, "serve", str(smollm2), "--port", "0"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stderr.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert "no server runs" in pocketlm("ps").stdout


def test_a_preset_is_made_printed_shared_used_and_removed(pocketlm, smollm2, tmp_path):
    assert "no preset" in pocketlm("preset").stdout
    said = ["--system", "You are a pirate.", "--temperature", "0", "--max-tokens", "4"]
    assert "pirate.toml" in pocketlm("preset", "pirate", smollm2, *said).stdout
    text = pocketlm("preset", "pirate").stdout
    assert 'system = "You are a pirate."' in text
    file = tmp_path / "shared.toml"
    file.write_text(text)
    pocketlm("preset", "captain", "--from", file)
    listed = pocketlm("preset").stdout
    assert "pirate" in listed
    assert "captain" in listed
    found = json.loads(pocketlm("run", "captain", "Who are you?", "--json").stdout)
    assert found["completion_tokens"] <= 4
    plain = pocketlm(
        "run", smollm2, "Who are you?", "--system", "You are a pirate.", *said[2:], "--json"
    )
    assert json.loads(plain.stdout)["text"] == found["text"]
    result = pocketlm("chat", "captain", "--prompt", "Who are you?", "--no-prefix-cache")
    assert result.stdout.strip() == found["text"].strip()
    pocketlm("preset", "pirate", "--remove")
    check_refusal(pocketlm("preset", "pirate"), "pirate")


@pytest.mark.parametrize(
    ("arguments", "word", "code"),
    [
        (("smollm2", "smollm2"), "model's name", 2),
        (("a b", "smollm2"), "a b", 2),
        (("x", "smollm2", "--remove"), "one of", 2),
        (("x", "smollm2", "--temperature", "-1"), "temperature", 2),
        (("x", "--from", "nowhere.toml"), "nowhere.toml", 1),
        (("x", "--from", "nowhere.toml", "--system", "y"), "of a MODEL", 2),
        (("x", "--top-k", "3"), "of a MODEL", 2),
        (("x", "--remove", "--stop", "y"), "of a MODEL", 2),
        (("--remove",), "NAME", 2),
    ],
)
def test_what_is_no_preset_is_refused(pocketlm, arguments, word, code):
    check_refusal(pocketlm("preset", *arguments), word, code=code)
