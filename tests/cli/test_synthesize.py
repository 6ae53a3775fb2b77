"""`pocketlm data synthesize` as a person uses it: killed, gone on with, and by a real server."""

import json
import os
import signal
import subprocess
import time

import pytest
from program import PROGRAM, check_refusal
from tests.recipe.data.synthesis.writers import good, prose, writing
from tests.serve.servers import MODEL, end, start

from pocketlm.recipe.data.synthesis.plan import read

PLAN = """\
name: lessons
seed: 4
documents: 24
topics: [tides, bread, money]
kinds:
  - {kind: textbook, words: [10, 60]}
  - {kind: exercise}
  - {kind: dialogue}
  - {kind: reasoning}
sampling: {most_tokens: 200}
endpoint:
  price: {prompt: 1.0, completion: 4.0}
"""


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "lessons.yaml"
    path.write_text(PLAN)
    return path


def contents(out):
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*.json*")
        if path.parent.name != "answers"
    }


def test_killed_at_any_moment_the_same_command_goes_on(pocketlm, plan, tmp_path, environment):
    reply = good(read(plan))

    def slow(body):
        time.sleep(0.05)
        return reply(body)

    out = tmp_path / "out"
    with writing(slow) as writer:
        command = ("data", "synthesize", plan, "--out", out, "--endpoint", writer.url)
        for least in (4, 11, 17):
            process = subprocess.Popen(
                [*PROGRAM, *map(str, command)], env=environment, stderr=subprocess.DEVNULL
            )
            while len(writer.asked) < least:
                assert process.poll() is None
                time.sleep(0.005)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        # The last line may have been cut while it was written.
        with (out / "answers/textbook.jsonl").open("ab") as file:
            file.write(b'{"key": "4", "value": {"te')
        result = pocketlm(*command, "--json")
        assert result.returncode == 0, result
        counts = json.loads(result.stdout)
        assert result.stderr == ""
        once = tmp_path / "once"
        again = pocketlm("data", "synthesize", plan, "--out", once, "--endpoint", writer.url)
    assert again.returncode == 0
    assert "reasoning  6          6   6" in again.stdout
    assert contents(out) == contents(once)
    assert counts == json.loads((once / "synthesis.json").read_text())
    # Asked anew is only what was on its way when it was killed: four at a time, three times.
    assert 24 <= len(writer.asked) - 24 <= 24 + 3 * 4


def test_an_endpoint_that_dies_and_one_that_is_not_there(pocketlm, plan, tmp_path):
    reply, answered = good(read(plan)), []

    def dying(body):
        answered.append(body)
        return reply(body) if len(answered) <= 5 else 404

    out = tmp_path / "out"
    command = ("data", "synthesize", plan, "--out", out, "--endpoint")
    with writing(dying) as writer:
        check_refusal(pocketlm(*command, writer.url), "404", writer.url)
        gone = writer.url
    assert sum(kind["answers"] for kind in counted(out)["kinds"].values()) == 5
    check_refusal(pocketlm(*command, gone), "is not there; run the same command to go on")
    with writing(reply) as writer:
        result = pocketlm(*command, writer.url, POCKETLM_ENDPOINT_KEY="k")
    assert result.returncode == 0
    assert len(writer.asked) == 19
    assert writer.keys[0] == "Bearer k"
    spent = counted(out)
    assert f"${spent['dollars']:.4f}" in result.stdout


def counted(out):
    return json.loads((out / "synthesis.json").read_text())


def test_a_kind_that_is_given_up_is_an_error_with_the_rest_kept(pocketlm, plan, tmp_path):
    out = tmp_path / "out"
    with writing(lambda body: prose(body["seed"])) as writer:
        result = pocketlm("data", "synthesize", plan, "--out", out, "--endpoint", writer.url)
    assert result.returncode == 1
    assert "not in the form (20)" in result.stdout
    (line,) = result.stderr.splitlines()
    assert "exercise, dialogue, reasoning: given up, as too few answers were fit" in line
    assert len((out / "documents/textbook.jsonl").read_text().splitlines()) == 6


def test_show_asks_nothing(pocketlm, plan):
    result = pocketlm("data", "synthesize", plan, "--show")
    assert result.returncode == 0
    assert "--- textbook: 6 documents; 48 different seeds; textbook-1 " in result.stdout
    assert "Facts:\n- " in result.stdout
    assert not (plan.parent / "lessons").exists()


def test_refusals(pocketlm, plan):
    check_refusal(pocketlm("data", "synthesize", plan), "--endpoint URL", code=2)
    plan.write_text(PLAN.replace("kind: exercise", "kind: exercises"))
    check_refusal(pocketlm("data", "synthesize", plan, "--show"), "line 7", code=2)
    plan.write_text(PLAN + "quality: {classifier: none}\n")
    check_refusal(
        pocketlm("data", "synthesize", plan, "--show"), "none/classifier.json: is not there", code=2
    )


def test_by_a_real_model_and_into_a_build(pocketlm, tmp_path, smollm2):
    """A model of 135 million parameters writes paragraphs, if asked in simple words."""
    (tmp_path / "simple.txt").write_text(
        "Explain to {audience}: {topic}. Write one paragraph of {least} to {most} words. {style}."
    )
    (tmp_path / "plan.yaml").write_text("""\
name: small
documents: 2
topics: [how bread rises, why the sky is blue, tides, how plants drink]
audiences: [a child of ten]
styles: [Give an example, Say why]
kinds:
  - {kind: textbook, words: [20, 60], prompt: simple.txt}
sampling: {temperature: 0.6, most_tokens: 160}
""")
    (tmp_path / "recipe.yaml").write_text("""\
name: corpus
sources: [{kind: jsonl, path: small/documents}]
stages: [{stage: exact-duplicates}]
tasks: 1
""")
    server = start(tmp_path / "home", smollm2, "--threads", "1")
    try:
        url = f"{server.url}/v1"
        out = tmp_path / "small"
        command = ("data", "synthesize", tmp_path / "plan.yaml", "--out", out, "--endpoint", url)
        result = pocketlm(*command, "--parallel", "2", "--json")
    finally:
        end(server)
    assert result.returncode == 0, result
    counts = json.loads(result.stdout)
    (kind,) = counts["kinds"].values()
    assert kind["documents"] == 2
    assert counts["model"] == MODEL
    assert counts["prompt_tokens"] > 2 * 20
    lines = (out / "documents/textbook.jsonl").read_text().splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    assert all(len(text.split()) >= 10 for text in texts)
    built = pocketlm(
        "data", "build", tmp_path / "recipe.yaml", "--out", tmp_path / "corpus", "--json"
    )
    assert built.returncode == 0, built
    stages = {stage["key"]: stage for stage in json.loads(built.stdout)["stages"]}
    assert stages["exact-duplicates"]["documents_out"] == 2
