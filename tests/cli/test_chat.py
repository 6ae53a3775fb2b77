"""`pocketlm chat` on the real default model: without a terminal, and at one."""

import json
import re
import time

import pexpect
import pytest
from program import PROGRAM, check_refusal

FEW = ["--max-tokens", "12", "--temperature", "0"]


def test_lines_of_standard_input_are_prompts(pocketlm, smollm2):
    result = pocketlm("chat", smollm2, *FEW, stdin="Name three colours.\n\n  \nSay hello.\n")
    assert result.returncode == 0
    first, second = (
        result.stdout.split("\n\n\n")
        if "\n\n\n" in result.stdout
        else (result.stdout.split("\n\n", 1))
    )
    assert first.startswith("1. Red")
    assert second.strip()
    assert result.stderr == ""


@pytest.mark.parametrize("stdin", [None, ""])
def test_with_nothing_to_read_a_sample_question_is_answered(pocketlm, smollm2, stdin):
    result = pocketlm("chat", smollm2, *FEW, stdin=stdin)
    question, answer = result.stdout.split("\n", 1)
    assert question == ">>> Why is the sky blue?"
    assert len(answer.split()) > 5


def test_with_standard_input_closed(environment, smollm2):
    command = [*PROGRAM, "chat", str(smollm2), *FEW]
    import subprocess

    result = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result
    assert ">>> Why is the sky blue?" in result.stdout


def test_a_prompt_as_an_option(pocketlm, smollm2):
    said = pocketlm("chat", smollm2, *FEW, "--prompt", "Name three colours.")
    assert said.stdout.startswith("1. Red")
    assert said.stdout == pocketlm("run", smollm2, *FEW, "Name three colours.").stdout


def test_a_conversation_is_kept_continued_listed_and_searched(pocketlm, smollm2):
    pocketlm("chat", smollm2, *FEW, "-p", "My name is Ada.")
    pocketlm("chat", smollm2, *FEW, "-p", "Tell me about lighthouses.")
    listed = pocketlm("chat", "--list").stdout.splitlines()
    assert ["Tell me about lighthouses." in listed[0], "My name is Ada." in listed[1]] == [True] * 2
    found = pocketlm("chat", "--list", "ada").stdout.splitlines()
    assert len(found) == 1
    assert "no conversation holds" in pocketlm("chat", "--list", "zebra").stdout
    continued = pocketlm("chat", "-c", *FEW, "-p", "Go on.").stdout
    assert continued.startswith(">>> Tell me about lighthouses.\n")
    assert "2 turns" in pocketlm("chat", "--list").stdout


def test_a_model_by_its_path_is_found_again_from_another_folder(
    pocketlm, smollm2, tmp_path, monkeypatch
):
    monkeypatch.chdir(smollm2.parent)
    pocketlm("chat", smollm2.name, *FEW, "-p", "Say hello.")
    monkeypatch.chdir(tmp_path)
    assert pocketlm("chat", "-c", *FEW, "-p", "Again.").returncode == 0


def test_nothing_to_continue_or_to_list(pocketlm):
    check_refusal(pocketlm("chat", "-c"), "no conversation")
    assert pocketlm("chat", "--list").stdout == "no conversations\n"


def test_commands_in_lines(pocketlm, smollm2, tmp_path):
    path = tmp_path / "talk.json"
    lines = [
        "/system Answer briefly.", "Name three colours.", "/stats", "/regenerate",
        f"/save {path}", "/save colours", "/reset", "/system", "/load colours", "/help", "/bye",
        "this is never heard",
    ]  # fmt: skip
    result = pocketlm("chat", smollm2, *FEW, stdin="\n".join(lines))
    assert result.returncode == 0, result
    for words in ("Answer briefly.", "tokens a second", "saved as colours", "/regenerate"):
        assert words in result.stdout
    assert ">>> Name three colours." in result.stdout
    kept = json.loads(path.read_text())
    assert kept["system"] == "Answer briefly."
    assert [message["role"] for message in kept["messages"]] == ["user", "assistant"]
    loaded = pocketlm("chat", smollm2, *FEW, stdin=f"/load {path}\nWhat else?\n")
    assert loaded.stdout.startswith(">>> Name three colours.\n" + kept["messages"][1]["content"])


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("/nonsense", "/help"),
        ("/load", "say which"),
        ("/load nobody", "no conversation"),
        ("/load /nowhere/x.json", "cannot read"),
        ("/save", "nothing to save"),
        ("/regenerate", "no answer"),
        ("/stats", "nothing was answered"),
    ],
)
def test_commands_that_cannot_be(pocketlm, smollm2, line, word):
    result = pocketlm("chat", smollm2, stdin=line)
    assert result.returncode in (1, 2)
    assert word in result.stderr
    assert "Traceback" not in result.stderr


def test_a_full_context_drops_the_oldest_turns_and_says_so(pocketlm, smollm2):
    lines = [f"Remember the number {n}, and then say just: yes, I do." for n in range(1, 7)]
    result = pocketlm(
        "chat", smollm2, *FEW, "--context", "160", "--system", "Be brief.", stdin="\n".join(lines)
    )
    assert result.returncode == 0, result
    assert re.search(r"the context of 160 tokens is full: the oldest .*dropped", result.stderr)
    kept = pocketlm("chat", "--list").stdout
    assert "6 turns" in kept


def test_a_message_longer_than_the_context(pocketlm, smollm2):
    result = pocketlm("chat", smollm2, "--context", "64", stdin="word " * 300)
    check_refusal(result, "the prompt has 3", "room for")


def test_a_message_without_an_answer_is_forgotten(pocketlm, smollm2):
    """Too long, it ends the program; what was said before is kept, the message itself is not."""
    lines = f"Say hello.\n{'word ' * 300}\n"
    result = pocketlm("chat", smollm2, *FEW, "--context", "128", stdin=lines)
    assert result.returncode == 1
    assert "the prompt has 3" in result.stderr
    assert "1 turn " in pocketlm("chat", "--list").stdout


class Screen:
    """The program at a terminal."""

    def __init__(self, environment, smollm2, *arguments):
        command = [*PROGRAM, "chat", str(smollm2), "--temperature", "0", *arguments]
        self.child = pexpect.spawn(
            command[0],
            command[1:],
            env=environment | {"TERM": "xterm-256color"},
            dimensions=(30, 90),
            timeout=40,
            encoding="utf-8",
        )
        self.ready()

    def ready(self) -> None:
        """Wait until a message is asked for: bracketed paste is switched on."""
        self.wait("\x1b[?2004h")

    def wait(self, text: str) -> str:
        self.child.expect_exact(text)
        return self.child.before

    def type(self, keys: str) -> None:
        self.child.send(keys)

    def leave(self, keys: str = "\x04") -> int:
        self.type(keys)
        self.child.expect(pexpect.EOF)
        self.child.close()
        return self.child.exitstatus


@pytest.fixture
def screen(environment, smollm2):
    open_screens = []

    def start(*arguments) -> Screen:
        open_screens.append(Screen(environment, smollm2, *arguments))
        return open_screens[-1]

    yield start
    for each in open_screens:
        each.child.close(force=True)


def test_a_conversation_at_a_terminal(screen):
    chat = screen("--max-tokens", "20")
    chat.type("Name three colours.\r")
    chat.wait("1. Red")
    chat.ready()
    chat.type("/stats\r")
    chat.wait("tokens a second")
    chat.ready()
    assert chat.leave() == 0


def test_bye_leaves(screen):
    assert screen().leave("/bye\r") == 0


def test_ctrl_c_stops_the_answer_and_stays(screen, pocketlm, smollm2):
    request = "Write a very long story."
    # How the story begins depends on the processor's kernels.
    words = pocketlm("run", smollm2, request, "--temperature", "0", "--max-tokens", "3").stdout
    chat = screen()
    chat.type(f"{request}\r")
    chat.wait(words.split()[0])
    time.sleep(0.5)
    chat.type("\x03")
    chat.wait("(stopped)")
    chat.ready()
    chat.type("half a line\x03")
    chat.ready()
    chat.type("/nonsense\r")
    chat.wait("there is no command /nonsense")
    chat.ready()
    chat.type("/save kept\r")
    chat.wait("saved as kept")
    assert chat.leave() == 0
    assert "kept" in pocketlm("chat", "--list").stdout
    assert "1 turn " in pocketlm("chat", "--list", "story").stdout


def test_several_lines(screen, pocketlm):
    chat = screen("--max-tokens", "4")
    chat.type('"""first line\r')
    chat.wait("...\x1b")
    chat.type('second line\r"""\r')
    chat.ready()
    chat.type("third\x1b\rfourth\r")
    chat.ready()
    assert chat.leave() == 0
    assert "first line second line" in pocketlm("chat", "--list").stdout
    assert "third fourth" in " ".join(pocketlm("chat", "--list", "fourth").stdout.split())


def test_an_earlier_message_comes_back_by_the_arrow(screen):
    chat = screen("--max-tokens", "4")
    chat.type("Name three colours.\r")
    chat.wait("1. Red")
    chat.ready()
    chat.type("\x1b[A")
    chat.wait("Name three colours.")
    assert chat.leave("\x03\x04") == 0


def test_commands_are_completed(screen):
    chat = screen()
    chat.type("/rege\t")
    chat.wait("/regenerate")
    assert chat.leave("\x03\x04") == 0


def test_progress_while_a_long_prompt_is_read(screen):
    chat = screen("--max-tokens", "4")
    chat.type("word " * 900 + "\r")
    shown = chat.wait("of 9")
    assert "reading the prompt: 256 " in shown
    chat.ready()
    assert chat.leave() == 0
