"""Long texts that a run read are found by the next one, unless that is not wanted."""

import json
import stat
from pathlib import Path

import pytest
from program import check_refusal

NOTES = "\n".join(f"Day {day}: the gate was opened {day % 7} times." for day in range(40))


@pytest.fixture
def model(smollm2, environment):
    """The default model in the store of this test's home."""
    folder = Path(environment["POCKETLM_HOME"], "models", "smollm2")
    folder.mkdir(parents=True)
    folder.joinpath(smollm2.name).symlink_to(smollm2.resolve())
    files = {smollm2.name: {"size": smollm2.stat().st_size, "sha256": "0" * 64}}
    about = {"name": "smollm2", "source": "test", "files": files}
    folder.joinpath("model.json").write_text(json.dumps(about))
    return "smollm2"


def test_the_next_run_says_the_same_and_rm_leaves_nothing(pocketlm, model, environment):
    home = Path(environment["POCKETLM_HOME"], "prefixes")
    command = ["run", model, "When was it?", "--max-tokens", 4, "--seed", 1, "--json"]

    def answer(*more, **variables):
        result = pocketlm(*command, *more, stdin=NOTES, **variables)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)["tokens"]

    expected = answer("--no-prefix-cache")
    assert answer(POCKETLM_PREFIX_CACHE="0") == expected
    assert not home.exists()
    assert answer() == expected
    files = {path: path.stat().st_ino for path in home.glob("*/*.kv")}
    assert len(files) > 256 // 32
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert answer() == expected
    assert {path: path.stat().st_ino for path in home.glob("*/*.kv")} == files
    assert pocketlm("rm", model).returncode == 0
    assert list(home.iterdir()) == []


def test_a_limit_that_is_no_size_is_refused(pocketlm, model):
    result = pocketlm("run", model, "Hello", POCKETLM_PREFIX_CACHE="lots")
    check_refusal(result, "POCKETLM_PREFIX_CACHE", "'lots'", "2GB", code=2)
