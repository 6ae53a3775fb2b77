"""`pocketlm bench`, on the real default model with little work."""

import json
import re

import pexpect
import pytest
from program import PROGRAM, check_refusal

from pocketlm.cli.options import CacheKind

LITTLE = ("--pp", "24", "--pp", "300", "--tg", "4", "--depth", "0", "--depth", "40")


def test_as_json(pocketlm, smollm2):
    result = pocketlm("bench", smollm2, *LITTLE, "--threads", "1", "--repeat", "2", "--json")
    assert result.returncode == 0
    assert result.stderr == ""
    (line,) = result.stdout.splitlines()
    found = json.loads(line)
    assert list(found) == ["threads", "limits", "load_s", "first_token_s", "peak_rss_mib", "rows"]
    assert found["threads"] == 1
    assert list(found["limits"]) == ["read_gb_s", "int8_gmac_s"]
    assert 0.1 < found["limits"]["read_gb_s"] < 10_000
    assert 0.1 < found["limits"]["int8_gmac_s"] < 100_000
    assert 0 < found["load_s"] < 60
    assert 0 < found["first_token_s"] < 60
    # The file has 94 MiB, all of which is resident.
    assert 94 < found["peak_rss_mib"] < 500
    work = [(row["work"], row["depth"]) for row in found["rows"]]
    assert work == [("pp24", 0), ("pp300", 0), ("tg4", 0), ("tg4", 40)]
    for row in found["rows"]:
        assert list(row) == ["work", "depth", "tokens_per_s", "spread", "of_limit"]
        assert row["tokens_per_s"] > 0
        assert row["spread"] >= 0
        assert row["of_limit"] > 0


@pytest.mark.parametrize("kind", list(CacheKind))
def test_every_cache_type_for_several_numbers_of_threads(pocketlm, smollm2, kind):
    arguments = ("--pp", "24", "--tg", "4", "--depth", "40", "--repeat", "1", "--cache-type", kind)
    result = pocketlm("bench", smollm2, *arguments, "--threads", "1", "--threads", "2", "--json")
    assert result.returncode == 0
    assert result.stderr == ""
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [each["threads"] for each in found] == [1, 2]
    for each in found:
        assert [(row["work"], row["depth"]) for row in each["rows"]] == [("pp24", 0), ("tg4", 40)]


def test_for_people(pocketlm, smollm2):
    result = pocketlm("bench", smollm2, *LITTLE, "--repeat", "1")
    assert result.returncode == 0
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["work", "depth", "tokens/s", "spread", "of", "the", "limit"]
    assert [line.split()[:2] for line in lines[1:5]] == [
        ["pp24", "0"],
        ["pp300", "0"],
        ["tg4", "0"],
        ["tg4", "40"],
    ]
    for word in ("threads", "GB/s", "multiply-adds", "load", "first token", "peak memory"):
        assert word in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--depth", "8189", "--tg", "4"), ("8,189", "8,193", "8,192")),
        (("--tg", "8193"), ("8,193", "8,192")),
        (("--pp", "8193"), ("8,193", "8,192")),
        (("--pp", "0"), ("pp is 0", "at least 1")),
        (("--tg", "0"), ("tg is 0",)),
        (("--depth", "-1"), ("depth is -1", "at least 0")),
        (("--repeat", "0"), ("repeat is 0",)),
        (("--threads", "0"), ("threads is 0",)),
    ],
)
def test_misuse(pocketlm, smollm2, arguments, words):
    check_refusal(pocketlm("bench", smollm2, *arguments), *words, code=2)


def test_ctrl_c_prints_what_was_measured(environment, smollm2):
    arguments = ["bench", str(smollm2), "--pp", "24", "--tg", "8000", "--depth", "0", "--json"]
    child = pexpect.spawn(
        PROGRAM[0], [*PROGRAM[1:], *arguments], env=environment, encoding="utf-8", timeout=60
    )
    child.expect("tg8000")  # the prompt is done, the 8,000 tokens have begun
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert "Traceback" not in child.before
    found = json.loads(re.search(r"\{.*\}", child.before)[0])
    assert found["load_s"] > 0
    assert [row["work"] for row in found["rows"]] == ["pp24"]
