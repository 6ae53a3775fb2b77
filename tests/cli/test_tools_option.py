"""Tools at the command line: switched on, permitted, shown, kept."""

import json
import shutil
import sys

import pexpect
import pytest
from program import check_refusal

from pocketlm.assistant import sandbox
from pocketlm.assistant.tools.skill import Skill
from pocketlm.chat.tools import Tool
from pocketlm.cli.tools import Tools
from pocketlm.errors import SandboxError

GREEDY = ["--temperature", "0", "--max-tokens", "60"]
SUM = "What is 17% of 2,340?"


def test_run_with_a_calculator(pocketlm, smollm2):
    result = pocketlm("run", smollm2, SUM, "--tools", "calculator", *GREEDY)
    assert "397.8" in result.stdout
    assert result.stderr == '(calculate {"expression": "17% of 2,340"} → 397.8)\n'


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--tools", "nonsense"], ("no tools 'nonsense'", "calculator")),
        (["--tools", "files"], ("--folder",)),
        (["--tools", "files", "--folder", "/proc"], ("/proc", "granted")),
        (["--tools", "calculator", "--allow", "rm"], ("--allow", "'rm'", "calculate")),
        (["--folder", "/tmp"], ("--tools",)),
        (["--tools", "calculator", "--regex", "a"], ("--regex",)),
    ],
)
def test_misuse(pocketlm, smollm2, options, words):
    check_refusal(pocketlm("run", smollm2, SUM, *options), *words, code=2)


def test_all_is_what_there_is(pocketlm, smollm2):
    result = pocketlm("chat", smollm2, "--tools", "all", stdin="/tools\n")
    assert result.returncode == 0, result
    assert "calculate" in result.stdout
    assert "date_time" in result.stdout
    assert "files is left out" in result.stderr


def test_a_chat_keeps_calls_and_answers_again(pocketlm, smollm2, tmp_path):
    path = tmp_path / "talk.json"
    lines = [SUM, "/regenerate", f"/save {path}", "/tools", "Say hello."]
    result = pocketlm("chat", smollm2, "--tools", "calculator", *GREEDY, stdin="\n".join(lines))
    assert result.returncode == 0, result
    assert result.stderr.count("→ 397.8") == 2
    assert "calculate" in result.stdout
    kept = json.loads(path.read_text())["messages"]
    assert [m["role"] for m in kept] == ["user", "assistant", "tool", "assistant"]
    assert kept[1]["tool_calls"][0]["function"]["name"] == "calculate"
    # Without tools the conversation goes on, and what was called is told as text.
    on = pocketlm("chat", smollm2, *GREEDY, stdin=f"/load {path}\nWhat else?\n")
    assert on.returncode == 0, on
    assert on.stdout.startswith(f">>> {SUM}\n")
    assert "tool_call" not in on.stdout


def test_a_file_of_a_granted_folder(pocketlm, smollm2, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "code.txt").write_text("The code of the door is 4711.")
    result = pocketlm(
        "run", smollm2, "What is the code in code.txt?", "--tools", "files", "--folder",
        tmp_path / "docs", *GREEDY,
    )  # fmt: skip
    assert "4711" in result.stdout
    assert "read_file" in result.stderr


@pytest.fixture
def python_tool():
    try:
        sandbox.check()
    except SandboxError as error:
        pytest.skip(str(error))


def test_nothing_with_effects_runs_without_a_word(capsys):
    skill = Skill(Tool("run_python"), lambda _: "", effects=True)
    assert not Tools([skill], []).permit(skill, {"code": "1"})
    assert "--allow run_python" in capsys.readouterr().err
    assert Tools([skill], ["run_python"]).permit(skill, {"code": "1"})


ASKING = """
from pocketlm.assistant.tools.skill import Skill
from pocketlm.chat.tools import Tool
from pocketlm.cli.tools import Tools
skill = Skill(Tool("run_python"), lambda _: "", effects=True)
tools = Tools([skill], [])
print([tools.permit(skill, {"code": "print(\\x1b[2J)"}) for _ in range(5)])
"""


def test_a_person_is_asked(environment):
    child = pexpect.spawn(
        sys.executable, ["-c", ASKING], env=environment, encoding="utf-8", timeout=20
    )
    for answer in ("n", "", "y", "a"):
        child.expect_exact("run it?")
        assert "\x1b[2J" not in child.before
        assert "code: print(" in child.before
        child.sendline(answer)
    child.expect_exact("[False, False, True, True, True]")
    child.close()


def test_code_that_passes_and_code_that_does_not(pocketlm, smollm2, tmp_path, python_tool):
    out = tmp_path / "program.py"
    asked = ["code", "Print hello.", "--model", smollm2, "--rounds", "1", "--max-tokens", "40"]
    result = pocketlm(*asked, "--seed", "1", "--out", out)
    passed = "(passed: " in result.stderr
    assert result.returncode == (0 if passed else 1)
    assert out.exists() is passed
    assert "(round 1 of 1)" in result.stderr
    (tmp_path / "never.txt").write_text("a line that no model writes: 8f2e\n")
    failing = pocketlm(*asked, "--expect", tmp_path / "never.txt", "--out", tmp_path / "no.py")
    assert failing.returncode == 1
    assert "no program passed in 1 round;" in failing.stderr
    assert not (tmp_path / "no.py").exists()


@pytest.mark.parametrize(
    ("options", "word", "code"),
    [
        (["--game", "--expect", "x"], "one of", 2),
        (["--expect", "/nowhere"], "cannot read", 2),
        (["--out", "/nowhere/x.py"], "folder", 1),
        (["--out", "/etc/hostname"], "there already", 1),
    ],
)
def test_code_that_cannot_be(pocketlm, smollm2, options, word, code):
    check_refusal(pocketlm("code", "x", "--model", smollm2, *options), word, code=code)


def test_code_without_a_sandbox(pocketlm, smollm2):
    if shutil.which("bwrap"):
        pytest.skip("there is a sandbox here; see tests/assistant/test_sandbox.py")
    check_refusal(pocketlm("code", "x", "--model", smollm2), "apt install bubblewrap")
