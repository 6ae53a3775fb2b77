"""Searching and calling tools in a server: for the page, and for requests."""

import subprocess
import sys
import time

import httpx
import pytest
from asking import Asked, asking, kept
from library import SUM, WHEN, asked, library
from servers import MODEL, end

from pocketlm.serve.ui.shown import groups, shown, told

STORY = "Write a long story about a sailor."


@pytest.fixture(scope="module")
def shelf(smollm2, tmp_path_factory):
    """A server that searches two documents, and has two tools."""
    server = library(
        tmp_path_factory.mktemp("shelf") / "home",
        smollm2,
        *("--search", "docs", "--tools", "calculator,dates,python"),
    )
    yield server
    end(server)


# Searching


def test_a_question_is_looked_up_and_kept_with_its_source(shelf):
    answer = Asked(shelf, WHEN, search=True)
    assert answer.names[0] == "begin"
    assert answer.blocks == ["<p>1742 [1]</p>\n"]
    sources = answer.done["sources"]
    assert sources["found"]
    (cited,) = sources["citations"]
    assert cited["title"] == "The mill at Ashford"
    assert cited["source"].endswith("texts/mill.md")
    assert "built in 1742 by the miller" in cited["quote"]
    assert "a fire destroyed the roof" in cited["passage"]
    assert cited["supported"]
    # The history has it as Markdown that reads well everywhere.
    text = kept(shelf)[0][1][1]
    assert text.startswith(f"1742 [1]\n\n[1] The mill at Ashford, `{cited['source']}`\n\n> ")
    assert answer.done["content"] == text
    # It comes back to the page as it was, and the model is told the answer alone.
    page = shelf.http.get(f"/ui/chats/{answer.done['chat']}").json()
    assert page["messages"][1]["blocks"] == answer.blocks
    assert page["messages"][1]["sources"] == sources
    assert page["context"] == answer.done["context"]
    assert page["context"]["used"] < 80
    export = shelf.http.get(f"/ui/chats/{answer.done['chat']}/export.md").text
    assert "> " in export
    assert "[1] The mill at Ashford" in export


def test_what_the_documents_do_not_say_is_not_found(shelf):
    answer = Asked(shelf, "Who painted the Mona Lisa?", search=True)
    assert answer.done["content"] == "I could not find this."
    assert not answer.done["sources"]["found"]
    again = Asked(shelf, at=0, search=False, **answer.place)
    assert again.done["sources"] is None
    assert again.done["content"] != "I could not find this."


def test_a_question_that_leans_on_the_last_one(shelf):
    first = Asked(shelf, WHEN, search=True)
    second = Asked(shelf, "And until when did it work?", search=True, **first.place)
    (cited,) = second.done["sources"]["citations"]
    assert "worked until 1934" in cited["passage"]


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("Write a poem about the sea.", {}),
        ("What does it say?", {"files": [{"name": "a.txt", "text": "The mill is red."}]}),
    ],
)
def test_what_is_no_question_for_a_search_is_answered_as_ever(shelf, text, more):
    answer = Asked(shelf, text, search=True, **more)
    assert answer.done["sources"] is None
    assert answer.done["tokens"] > 0


def test_with_the_switch_off_nothing_is_looked_up(shelf):
    assert Asked(shelf, WHEN).done["sources"] is None


def test_nothing_of_an_incognito_search_is_kept(shelf):
    before = {path: path.stat().st_mtime_ns for path in shelf.home.rglob("*") if path.is_file()}
    answer = Asked(shelf, WHEN, search=True, keep=False)
    assert answer.done["sources"]["found"]
    more = [
        {"role": "user", "content": WHEN},
        {
            "role": "assistant",
            "content": answer.done["content"],
            "sources": answer.done["sources"],
        },
    ]
    second = Asked(shelf, "Thank you.", keep=False, messages=more)
    assert second.done["context"]["used"] < 100  # the sources are not told again
    after = {path: path.stat().st_mtime_ns for path in shelf.home.rglob("*") if path.is_file()}
    assert {path for path in after if after[path] != before.get(path)} <= {
        path for path in after if path.suffix in ("", ".lock") or "-shm" in path.name
    }


@pytest.mark.slow
def test_several_search_at_a_time_while_others_are_answered(shelf):
    answers = []

    def ask() -> None:
        answers.append(Asked(shelf, WHEN, search=True).done["content"][:4])

    import threading

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    plain = Asked(shelf, "Tell me of the sea.")
    for thread in threads:
        thread.join()
    assert answers == ["1742"] * 3
    assert plain.done["answered"]


@pytest.mark.slow
def test_a_search_can_be_stopped(smollm2, tmp_path):
    """While the reader is measured: that takes long, and tells of each step."""
    server = library(tmp_path / "home", smollm2, "--search", "docs")
    try:
        (server.home / "readers.json").unlink()
        with asking(server, WHEN, search=True) as (answer, events):
            for name, content in events:
                if name == "progress" and "1 of" in content.get("words", ""):
                    assert server.http.post("/ui/stop", json={"answer": answer}).json()["stopped"]
                last = name, content
        name, done = last
        assert (name, done["answered"], done["finish"]) == ("done", False, "stopped")
        assert kept(server) == [[("user", WHEN)]]
        # One whose page goes away ends, too: the server can end in a moment.
        with asking(server, WHEN, search=True) as (_, events):
            assert next(events)[0] == "begin"
    finally:
        began = time.monotonic()
        end(server)
    assert time.monotonic() - began < 8


@pytest.mark.slow
def test_sources_that_cannot_be_asked_and_a_model_that_reads_freely(smollm2, tmp_path):
    server = library(tmp_path / "home", smollm2, "--search", "docs,web", freely=True)
    try:
        answer = Asked(server, WHEN, search=True)
        sources = answer.done["sources"]
        assert not sources["found"] or "1742" in sources["citations"][0]["passage"]
        (problem,) = sources["problems"]
        assert problem.startswith("web: ")
        assert "offline" in problem
        assert f"Without {problem}" in answer.done["content"].replace("\\", "")
    finally:
        end(server)


# Tools


def test_a_call_on_the_page(shelf):
    long = {"temperature": 0, "max_tokens": 60}
    answer = Asked(shelf, SUM, tools=True, search=True, sampling=long)  # a sum is not looked up
    assert "calls" in answer.names
    (call,) = answer.done["calls"]
    assert call == {
        "name": "calculate",
        "arguments": '{"expression": "17 * 23"}',
        "result": "391",
        "ran": True,
    }
    assert "391" in answer.done["content"]
    page = shelf.http.get(f"/ui/chats/{answer.done['chat']}").json()
    assert [m["role"] for m in page["messages"]] == ["user", "assistant"]
    assert page["messages"][1]["calls"] == [call]
    assert page["messages"][1]["content"] == answer.done["content"]
    # The history has calls and results as messages, as the terminal has them.
    assert [role for role, _ in kept(shelf)[0]] == ["user", "assistant", "tool", "assistant"]
    # Positions are those on the page.
    second = Asked(shelf, "Tell me of the sea.", **answer.place)
    assert second.begin["message"]["position"] == 2
    third = Asked(shelf, "What is 2 + 2?", tools=True, at=2, **second.place)
    assert [role for role, _ in kept(shelf)[0]].count("user") == 2
    assert third.done["calls"][0]["result"] == "4"


def test_a_request_with_the_servers_tools(shelf):
    answer = asked(shelf, SUM).json()
    message = answer["choices"][0]["message"]
    assert "391" in message["content"]
    assert message["server_tool_calls"][0]["result"] == "391"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] > 0
    assert asked(shelf, SUM, server_tools=["calculate"]).json()["choices"][0]["message"][
        "server_tool_calls"
    ]
    assert "server_tool_calls" not in asked(shelf, SUM, server_tools=False).text


def test_openais_client_reads_it(shelf):
    messages = [{"role": "user", "content": SUM}]
    client = shelf.openai.chat.completions
    extra = {"server_tools": True}
    whole = client.create(model=MODEL, messages=messages, extra_body=extra, temperature=0)
    assert whole.choices[0].message.server_tool_calls[0]["name"] == "calculate"
    text, calls = "", []
    for chunk in client.create(
        model=MODEL, messages=messages, extra_body=extra, temperature=0, stream=True
    ):
        delta = chunk.choices[0].delta
        text += delta.content or ""
        calls += getattr(delta, "server_tool_calls", [])
    assert text == whole.choices[0].message.content
    assert [call["result"] for call in calls] == ["391"]
    assert chunk.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"server_tools": ["run_python"]}, None),
        ({"server_tools": ["none"]}, None),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"regex": "a+"}, "response_format"),
    ],
)
def test_what_does_not_go_with_them(shelf, more, param):
    response = asked(shelf, SUM, **more)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == param
    assert "tool" in error["message"]


def test_a_prompt_that_is_too_long_for_them(shelf):
    response = asked(shelf, "word " * 9000, stream=True)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"


def test_a_client_that_goes_away(shelf):
    body = {"messages": [{"role": "user", "content": STORY}], "server_tools": True, "stream": True}
    with (
        httpx.Client(base_url=shelf.url, timeout=60, trust_env=False) as client,
        client.stream("POST", "/v1/chat/completions", json=body) as response,
    ):
        next(response.iter_lines())
    # The thread is free again: as many as there are can be used at once.
    answers = [asked(shelf, SUM).status_code for _ in range(5)]
    assert answers == [200] * 5


def test_tools_with_effects_are_left_out(shelf, server):
    assert shelf.http.get("/ui/models").json()["tools"] == ["calculate", "date_time"]
    assert "run_python is left out: it has effects" in shelf.log.read_text()
    found = server.http.get("/ui/models").json()
    assert (found["search"], found["tools"]) == ([], [])
    response = asked(server, SUM)
    assert response.status_code == 400
    assert "--tools" in response.json()["error"]["message"]
    # A page that asks for what is not there gets an answer as ever.
    assert Asked(server, WHEN, search=True, tools=True, keep=False).done["calls"] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--search", "docs,moon"], "no source 'moon'"),
        (["--tools", "hammer"], "no tools 'hammer'"),
        (["--tools", "calculator", "--allow", "run_python"], "--allow names 'run_python'"),
        (["--allow", "run_python"], "go with --tools"),
        (["--tools", "files"], "--folder"),
    ],
)
def test_misuse_is_told(smollm2, tmp_path, arguments, words):
    done = subprocess.run(
        [sys.executable, "-m", "pocketlm", "serve", str(smollm2), "--port", "0", *arguments],
        env={"HOME": str(tmp_path), "POCKETLM_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


# Messages on the page


CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}}


def test_calls_and_what_follows_are_one_answer():
    messages = [
        {"role": "user", "content": "Go."},
        {"role": "assistant", "content": "So.", "tool_calls": [CALL]},
        {"role": "tool", "content": "error: no", "tool_call_id": "a", "name": "f"},
        {"role": "assistant", "content": "Done."},
        {"role": "user", "content": "And?"},
        {"role": "assistant", "content": "No."},
        {"role": "assistant", "content": "Never."},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "user", "content": "Well."},
    ]
    assert [len(group) for group in groups(messages)] == [1, 3, 1, 1, 1, 1, 1]
    found = shown(messages)
    assert [item["position"] for item in found] == list(range(7))
    assert found[1]["content"] == "So.\n\nDone."
    assert found[1]["calls"] == [
        {"name": "f", "arguments": '{"x": 1}', "result": "error: no", "ran": False}
    ]
    assert found[5]["calls"][0]["result"] is None
    assert found[2]["text"] == "And?"


@pytest.mark.parametrize("sources", [None, 7, {}, {"text": 1, "found": True}, {"citations": "x"}])
def test_sources_that_are_none_are_left_aside(sources):
    message = {"role": "assistant", "content": "Yes. [1]", "sources": sources}
    assert shown([message])[0]["blocks"] == ["<p>Yes. [1]</p>\n"]
    assert told([message])[0]["content"] == "Yes. [1]"


def test_the_model_is_told_the_answer_alone():
    sources = {"text": "Yes. [1] Perhaps. [unsupported]", "found": True, "citations": []}
    message = {"role": "assistant", "content": "…", "sources": sources}
    assert told([message]) == [{"role": "assistant", "content": "Yes. Perhaps."}]
