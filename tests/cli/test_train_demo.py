"""`pocketlm train demo`, from the command line: what it would do, and what is refused."""

import subprocess

from typer.testing import CliRunner

from cli.program import PROGRAM, check_refusal
from pocketlm.cli.main import app


def program(*arguments):
    return subprocess.run(
        [*PROGRAM, "train", "demo", *map(str, arguments)], capture_output=True, text=True
    )


def test_it_says_what_it_would_do_and_does_nothing(tmp_path):
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["train", "demo", "--show", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "1,529,216 parameters" in result.stdout
    assert "9: 3 arms, 3 seeds" in result.stdout
    assert "40 min at most" in result.stdout
    assert not out.exists()


def test_mistakes_are_refused_in_a_line(tmp_path):
    check_refusal(program("huge"), "huge", "neither a file nor one of", "larger", code=2)
    file = tmp_path / "mine.yaml"
    file.write_text("like: demo\ncorpus: {gigabytes: 1}\n")
    check_refusal(program(file), "line 2", "corpus.gigabytes: there is no such field", code=2)
