"""`pocketlm run` on the real default model: what goes in, what comes out, how it ends."""

import json
import resource
import signal
import subprocess
import time

import pytest
from program import PROGRAM, check_refusal

from pocketlm import load
from pocketlm.cli.attach import compose
from pocketlm.errors import ParameterError

GREEDY = ["--temperature", "0", "--max-tokens", "12"]


def test_an_answer_is_all_that_standard_output_holds(pocketlm, smollm2):
    result = pocketlm("run", smollm2, "Name three colours.", *GREEDY)
    assert result.returncode == 0
    assert result.stdout.startswith("1. Red")
    assert result.stdout.endswith("\n")
    assert result.stderr == ""
    assert "\x1b" not in result.stdout


def test_json(pocketlm, smollm2):
    result = pocketlm("run", smollm2, "Name three colours.", *GREEDY, "--json")
    answer = json.loads(result.stdout)
    keys = ["text", "tokens", "prompt_tokens", "completion_tokens", "finish_reason", "timings"]
    assert list(answer) == keys
    assert list(answer["timings"]) == ["load_s", "prompt_s", "first_token_s", "generation_s"]
    assert all(seconds > 0 for seconds in answer["timings"].values())
    assert len(answer["tokens"]) == answer["completion_tokens"] == 12
    assert answer["finish_reason"] == "length"
    with load(smollm2) as model:
        messages = [{"role": "user", "content": "Name three colours."}]
        assert answer["prompt_tokens"] == len(model.prompt_tokens(messages))
        assert answer["text"] == model.chat(messages, max_tokens=12).text


def test_piped_text_comes_after_the_prompt_and_files_after_that(pocketlm, smollm2, tmp_path):
    (tmp_path / "notes.txt").write_text("about the sea")
    arguments = ["run", smollm2, "Summarise:", "-f", tmp_path / "notes.txt", *GREEDY, "--json"]
    found = json.loads(pocketlm(*arguments, stdin="piped words\n").stdout)
    framed = "--- notes.txt ---\nabout the sea\n--- end of notes.txt ---"
    whole = f"Summarise:\n\npiped words\n\n{framed}"
    expected = json.loads(pocketlm("run", smollm2, whole, *GREEDY, "--json").stdout)
    assert found["tokens"] == expected["tokens"]
    assert found["prompt_tokens"] == expected["prompt_tokens"]


def test_piped_text_alone_is_a_prompt(pocketlm, smollm2):
    found = pocketlm("run", smollm2, *GREEDY, stdin="Name three colours.\n")
    assert found.stdout == pocketlm("run", smollm2, "Name three colours.", *GREEDY).stdout


def test_a_seed_repeats_an_answer(pocketlm, smollm2):
    sampled = ["run", smollm2, "Tell me a story.", "--temperature", "1", "--max-tokens", "20"]
    one, same, other = (
        pocketlm(*sampled, "--seed", seed, "--threads", threads).stdout
        for seed, threads in (("7", "1"), ("7", "2"), ("8", "2"))
    )
    assert one == same != other


def test_a_system_prompt_and_a_stop_string(pocketlm, smollm2):
    arguments = ["run", smollm2, "Name three colours.", "--temperature", "0", "--stop", "Blue"]
    answer = json.loads(pocketlm(*arguments, "--system", "Be brief.", "--json").stdout)
    assert answer["finish_reason"] in ("stop", "length")
    assert "Blue" not in answer["text"]


@pytest.mark.parametrize(
    "option",
    [
        ["--temperature", "-1"], ["--temperature", "nan"], ["--top-p", "0"], ["--top-p", "1.5"],
        ["--top-k", "-1"], ["--min-p", "2"], ["--repetition-penalty", "0"], ["--max-tokens", "0"],
        ["--seed", "-1"], ["--threads", "0"], ["--context", "0"], ["--context", "99999999"],
        ["--stop", ""], ["--presence-penalty", "inf"], ["--frequency-penalty", "-9"],
    ],
)  # fmt: skip
def test_values_outside_their_range(pocketlm, smollm2, option):
    check_refusal(pocketlm("run", smollm2, "hello", *option), code=2)


def test_a_prompt_longer_than_the_context(pocketlm, smollm2):
    result = pocketlm("run", smollm2, "--context", "64", stdin="word " * 200)
    check_refusal(result, "the prompt has 2", "window 64")


def test_no_prompt(pocketlm, smollm2):
    check_refusal(pocketlm("run", smollm2), "there is no prompt", code=2)


@pytest.mark.parametrize("body", [b"\xff\xfe", b"a\0b"])
def test_what_is_no_text_is_not_attached(pocketlm, smollm2, tmp_path, body):
    path = tmp_path / "picture"
    path.write_bytes(body)
    check_refusal(pocketlm("run", smollm2, "hello", "-f", path), str(path), code=2)


def test_a_file_that_is_not_there(pocketlm, smollm2, tmp_path):
    check_refusal(pocketlm("run", smollm2, "hello", "-f", tmp_path / "no"), "cannot read", code=2)


def test_composing():
    assert compose("a", "", []) == "a"
    assert compose("a", "b\n", []) == "a\n\nb"
    assert compose("", "b", []) == "b"
    with pytest.raises(ParameterError):
        compose(" ", "\n", [])


def start(environment, smollm2, *arguments, **options):
    command = [*PROGRAM, "run", str(smollm2), "Write a very long story.", "--temperature", "0"]
    return subprocess.Popen(
        [*command, *arguments],
        env=environment | {"PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def test_a_reader_that_leaves_ends_it_quietly(environment, smollm2):
    process = start(environment, smollm2)
    assert process.stdout.read(10)
    process.stdout.close()
    assert process.wait(60) == 1
    assert process.stderr.read() == b""


def test_ctrl_c_keeps_what_was_said(environment, smollm2):
    process = start(environment, smollm2)
    begun = process.stdout.read(20)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert len(begun + rest) >= 20
    assert rest.endswith(b"\n")
    assert errors == b""


def test_ctrl_c_and_json(environment, smollm2):
    process = start(environment, smollm2, "--json")
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    answer = json.loads(output)
    assert answer["finish_reason"] == "interrupted"
    assert answer["completion_tokens"] == len(answer["tokens"]) > 0


@pytest.mark.parametrize("delay", [0.05, 0.2, 0.4, 0.8])
def test_ctrl_c_at_any_time_leaves_no_trace(environment, smollm2, delay):
    process = start(environment, smollm2)
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT)
    if delay >= 0.4:
        assert b"Traceback" not in errors


def test_out_of_memory(environment, smollm2):
    def little() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (220 << 20, 220 << 20))

    environment["OPENBLAS_NUM_THREADS"] = "1"
    process = start(environment, smollm2, "--max-tokens", "1", preexec_fn=little)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert output == b""
    (line,) = errors.decode().splitlines()
    assert line.startswith("pocketlm: error: ")
    assert "memory" in line


def test_offline_by_name_and_by_path(pocketlm, smollm2, tmp_path):
    folder = tmp_path / "pocketlm" / "models" / "smollm2"
    folder.mkdir(parents=True)
    (folder / smollm2.name).symlink_to(smollm2)
    manifest = {"name": "smollm2", "files": {smollm2.name: {"size": smollm2.stat().st_size}}}
    (folder / "model.json").write_text(json.dumps(manifest))
    by_name = pocketlm("run", "smollm2", "Name three colours.", *GREEDY)
    assert by_name.stdout == pocketlm("run", smollm2, "Name three colours.", *GREEDY).stdout
