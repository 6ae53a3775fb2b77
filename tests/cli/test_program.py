"""The program as a whole: help, start-up, misuse, and what becomes of errors."""

import json
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from program import PROGRAM, check_refusal

COMMANDS = ["chat", "run", "pull", "list", "show", "rm", "bench"]
#: What a help text has no use for.
HEAVY = [
    "numpy",
    "rich",
    "huggingface_hub",
    "jinja2",
    "tokenizers",
    "gguf",
    "prompt_toolkit",
    "ssl",
]


def test_help_names_every_command(pocketlm):
    result = pocketlm("--help")
    assert result.returncode == 0
    for command in COMMANDS:
        assert f"\n  {command} " in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_examples(pocketlm, command):
    result = pocketlm(command, "-h")
    assert result.returncode == 0
    assert f"    pocketlm {command}" in result.stdout


def test_version(pocketlm):
    assert pocketlm("--version").stdout.split()[0] == "pocketlm"


def test_help_imports_nothing_heavy():
    program = "import sys, pocketlm.cli.main; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert set(HEAVY).isdisjoint(result.stdout.split())
    assert "typer" in result.stdout.split()


def test_start_up_takes_less_than_300_ms(environment):
    took = []
    for _ in range(7):
        start = time.perf_counter()
        subprocess.run([*PROGRAM, "--help"], env=environment, capture_output=True)
        took.append(time.perf_counter() - start)
    assert statistics.median(took) < 0.3, took


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["run"], ["run", "--nonsense"], ["rm"], ["show"], ["list", "--json", "extra"]],
)
def test_misuse_exits_with_2(pocketlm, arguments):
    result = pocketlm(*arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_a_misspelt_command_is_corrected(pocketlm):
    assert "'pull'" in pocketlm("pul").stderr


def test_completion_can_be_shown(pocketlm):
    shown = pocketlm("--show-completion", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert shown.returncode in (0, 1, 2)
    script = pocketlm(_POCKETLM_COMPLETE="source_bash").stdout
    assert "complete" in script


def test_completion_knows_commands_and_models(pocketlm):
    def complete(line: str) -> list[str]:
        words = line.split(" ")
        result = pocketlm(
            _POCKETLM_COMPLETE="complete_bash",
            COMP_WORDS=line,
            COMP_CWORD=str(len(words) - 1),
            _TYPER_COMPLETE_ARGS=line,
        )
        return result.stdout.split()

    assert "pull" in complete("pocketlm pu")
    assert "smollm2" in complete("pocketlm show smo")


def test_list_without_any_model(pocketlm):
    result = pocketlm("list")
    assert "no model on this machine yet" in result.stdout
    assert "smollm2" in result.stdout
    assert "Apache-2.0" in result.stdout


def test_list_shows_models_where_they_lie(pocketlm, tmp_path):
    path = tmp_path / "home" / ".lmstudio" / "models" / "p" / "r" / "x.gguf"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"GGUF" * 100)
    assert "lmstudio:p/r/x.gguf  400 bytes  LM Studio" in pocketlm("list").stdout
    (model,) = json.loads(pocketlm("list", "--json").stdout)["models"]
    assert model == {
        "name": "lmstudio:p/r/x.gguf",
        "path": str(path),
        "kind": "gguf",
        "bytes": 400,
        "where": "LM Studio",
    }


def test_a_name_that_steers_terminals_is_shown_harmlessly(pocketlm, tmp_path):
    path = tmp_path / "home" / ".lmstudio" / "models" / "p" / "r" / "\x1b]0;pwned\x07.gguf"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"GGUF")
    result = pocketlm("list")
    assert "\x1b" not in result.stdout
    assert "pwned" in result.stdout
    assert "\x1b" not in pocketlm("show", "./\x1b[31m.gguf").stderr


@pytest.mark.parametrize("command", [["pull"], ["show"], ["run"]])
def test_offline(pocketlm, command):
    result = pocketlm(*command, "smollm2", stdin="hello")
    check_refusal(result, "forbids the network", "pocketlm pull smollm2")


@pytest.mark.parametrize("where", ["before", "after"])
def test_the_offline_switch(environment, where):
    del environment["POCKETLM_OFFLINE"]
    arguments = {"before": ["--offline", "pull", "phi3"], "after": ["pull", "phi3", "--offline"]}
    command = [*PROGRAM, *arguments[where]]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    check_refusal(result, "forbids the network")


@pytest.mark.parametrize("command", ["pull", "show", "rm"])
@pytest.mark.parametrize(
    "name", ["nonsense", "", "../none", "ollama:x", "a\nb", "\x1b[31m", "x" * 999]
)
def test_unknown_models(pocketlm, command, name):
    result = pocketlm(command, name)
    check_refusal(result)


def test_removing_what_is_not_ours(pocketlm, tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")
    check_refusal(pocketlm("rm", path), "not pocketlm's to remove", str(path))
    assert path.exists()


def test_a_closed_output_pipe_is_no_error(environment):
    process = subprocess.Popen(
        [*PROGRAM, "list"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    _, errors = process.communicate(timeout=60)
    assert errors == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_to_a_full_disk(environment):
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [*PROGRAM, "list"], env=environment, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert result.returncode == 1
    assert result.stderr == "pocketlm: error: cannot write the output: No space left on device\n"


def test_out_of_memory_in_a_command(environment):
    program = (
        "import pocketlm.store.store as store\n"
        "def fail(*_): raise MemoryError\n"
        "store.Store.list = fail\n"
        "import sys; sys.argv = ['pocketlm', 'list']\n"
        "from pocketlm.__main__ import main; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    check_refusal(result, "not enough memory")


#: The program, which says when Ctrl-C is its own matter: before, it is that of Python's start.
BEGIN = (
    "import sys, pocketlm.__main__ as front; sys.argv[0] = 'pocketlm'\n"
    "print('begun', file=sys.stderr, flush=True); front.main()"
)


def begin(environment, *arguments: str, handler: object = signal.default_int_handler):
    """Start the program with that handler of SIGINT, and wait until it has begun."""
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, handler),
    )
    assert process.stderr.readline() == b"begun\n"
    return process


@pytest.mark.parametrize(
    ("command", "number"),
    [("--help", signal.SIGINT), ("list", signal.SIGINT), ("list", signal.SIGTERM)],
)
def test_a_signal_at_any_time_of_its_life_shows_no_traceback(environment, command, number):
    codes = []
    for delay in range(0, 1000, 20):
        process = begin(environment, command)
        time.sleep(delay / 1000)
        ended = process.poll() is not None
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode in (0, 128 + number, -number)
        assert errors.strip() == b""
        codes.append(process.returncode)
        if ended:
            break
    assert codes[0] == -number


def test_where_sigint_is_ignored_it_stays_so(environment):
    process = begin(environment, "list", handler=signal.SIG_IGN)
    for _ in range(10):
        process.send_signal(signal.SIGINT)
        time.sleep(0.01)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"smollm2" in output


@pytest.mark.parametrize(
    "where",
    [
        "def __set_name__(self, owner, name): raise KeyboardInterrupt",
        "def __del__(self): raise KeyboardInterrupt",
    ],
)
def test_ctrl_c_where_python_disguises_or_loses_it(environment, where):
    program = (
        "import pocketlm.store.store as store, sys, time; sys.argv = ['pocketlm', 'list']\n"
        f"class Attribute:\n    {where}\n"
        "def interrupt(_):\n"
        "    type('Class', (), {'attribute': Attribute()}).attribute = None\n"
        "    while True: time.sleep(0.01)\n"
        "store.Store.list = interrupt\n"
        "from pocketlm.__main__ import main; main()"
    )
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


def test_a_home_that_cannot_be_written(pocketlm, tmp_path):
    (tmp_path / "file").write_text("")
    result = pocketlm("pull", "smollm2", POCKETLM_HOME=str(tmp_path / "file"), POCKETLM_OFFLINE="")
    check_refusal(result, "cannot write")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_of_few_characters(pocketlm, encoding):
    result = pocketlm("run", "--help", PYTHONIOENCODING=encoding)
    assert result.returncode == 0


@pytest.mark.parametrize(
    ("package", "extra", "arguments"),
    [
        ("datatrove", "train", ("data", "build", "recipe.yaml")),
        ("torch", "train", ("train", "sft", "chat.yaml")),
        ("datasets", "eval", ("eval", "smollm2", "--tasks", "arc_easy")),
    ],
)
def test_a_package_that_is_not_there_is_named(tmp_path, package, extra, arguments):
    """As after an install without extras: an import of the package fails."""
    (tmp_path / "recipe.yaml").write_text(
        "sources: [{kind: text, path: .}]\nstages: []\n", encoding="utf-8"
    )
    (tmp_path / "chat.yaml").write_text("{out: o, model: m, data: [d.jsonl], peak: 1.0e-4}")
    code = f"import sys; sys.modules[{package!r}] = None; import pocketlm.__main__ as m; m.main()"
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    check_refusal(result, f"'{package}'", f"pip install 'pocketlm[{extra}]'")
