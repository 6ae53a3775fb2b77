"""Chats and answers of the page: kept in the history that the terminal has, whatever happens."""

import json
import resource
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from asking import Asked, asking, body_of, kept
from servers import MODEL, end, start

from pocketlm.chat.history import History

SEA = "Tell me of the sea."
#: A sentence to make long prompts of.
NIGHT = "It was a dark and stormy night. "
#: Something to write for longer than any test needs.
STORY = "Write a long story about a sailor."
ENDLESS = {"temperature": 0, "frequency_penalty": 0, "max_tokens": 7500}


@pytest.fixture
def own(serve, smollm2):
    """A server with a history of its own."""
    server = serve(smollm2)
    Asked(server, "Hi", keep=False)  # the model is loaded
    return server


def chat_of(server, id):
    response = server.http.get(f"/ui/chats/{id}")
    assert response.status_code == 200, response.text
    return response.json()


def until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_answer_is_written_and_kept(own):
    first = Asked(own, SEA)
    assert first.names[0] == "begin"
    assert first.names[-1] == "done"
    assert first.begin["message"]["text"] == SEA
    assert "sea" in first.done["content"]
    assert "sea" in "".join(first.blocks)
    assert first.done["answered"]
    assert first.done["context"]["used"] > first.done["tokens"] > 1
    assert first.done["context"]["of"] == 8192
    assert kept(own) == [[("user", SEA), ("assistant", first.done["content"])]]
    second = Asked(own, "And of the moon?", **first.place)
    assert second.done["chat"] == first.done["chat"]
    assert second.begin["message"]["position"] == 2
    shown = chat_of(own, first.done["chat"])
    assert [m["role"] for m in shown["messages"]] == ["user", "assistant"] * 2
    assert shown["messages"][3]["blocks"] == second.blocks
    assert shown["title"] == SEA
    assert shown["model"] == MODEL
    assert shown["context"]["used"] >= second.done["context"]["used"] - 2
    assert shown["revision"] == second.done["revision"]


def test_the_terminal_and_the_page_have_one_history(own, smollm2):
    run = [sys.executable, "-m", "pocketlm", "chat"]
    environment = {"POCKETLM_HOME": str(own.home), "POCKETLM_OFFLINE": "1", "PATH": "/usr/bin:/bin"}

    def terminal(*arguments, said=""):
        done = subprocess.run(
            [*run, *map(str, arguments)],
            input=said,
            capture_output=True,
            text=True,
            env=environment,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    terminal(smollm2, "--temperature", "0", "--max-tokens", "12", said=SEA + "\n")
    (entry,) = own.http.get("/ui/chats").json()["chats"]
    shown = chat_of(own, entry["id"])
    assert shown["model"] == MODEL  # the terminal knows it by its path
    assert shown["messages"][0]["text"] == SEA
    place = {"chat": shown["id"], "revision": shown["revision"]}
    more = Asked(own, "And of the moon?", **place)
    assert more.done["chat"] == shown["id"]
    assert "And of the moon?" in terminal("-c", "--temperature", "0", said="Thanks\n")
    (same,) = kept(own)
    assert [text for role, text in same if role == "user"] == [SEA, "And of the moon?", "Thanks"]
    assert "And of the moon?" not in terminal("--list", "nowhere said")
    assert SEA in terminal("--list", "moon")


def test_ids_that_were_generated_are_kept_and_used(own):
    first = Asked(own, SEA)
    with sqlite3.connect(own.home / "history.db") as database:
        tokens, fingerprint = database.execute(
            "SELECT tokens, fingerprint FROM messages WHERE role = 'assistant'"
        ).fetchone()
    assert len(json.loads(tokens)) == first.done["tokens"]
    assert fingerprint

    def cached():
        text = own.http.get("/metrics").text
        lines = [line for line in text.splitlines() if line.startswith("pocketlm_cached_tokens_to")]
        return sum(float(line.split()[-1]) for line in lines)

    long = Asked(own, "Tell me a story. " * 20, **first.place, sampling={"max_tokens": 40})
    before = cached()
    Asked(own, "Go on.", **long.place)
    # Whole blocks of all that was said and answered before come from the cache.
    assert cached() - before > long.done["context"]["used"] - 70


def test_answering_again_and_editing(own):
    first = Asked(own, SEA)
    second = Asked(own, "And of the moon?", **first.place)
    again = Asked(own, at=2, **second.place)
    assert again.done["content"] == second.done["content"]
    edited = Asked(own, "Tell me of the moon.", at=0, **again.place)
    assert "moon" in edited.done["content"]
    assert edited.done["chat"] == first.done["chat"]
    assert kept(own) == [[("user", "Tell me of the moon."), ("assistant", edited.done["content"])]]
    for at in (1, 2, 99):
        response = own.http.post("/ui/answer", json=body_of("x", at=at, **edited.place))
        assert response.status_code == 400
        assert response.json()["error"]["param"] == "at"
    assert len(kept(own)[0]) == 2


def test_listing_searching_renaming_exporting_and_deleting(own):
    sea = Asked(own, SEA)
    Asked(own, "Write a poem about tea.")
    titles = [chat["title"] for chat in own.http.get("/ui/chats").json()["chats"]]
    assert titles == ["Write a poem about tea.", SEA]
    assert len(own.http.get("/ui/chats", params={"limit": 1}).json()["chats"]) == 1
    (found,) = own.http.get("/ui/chats", params={"query": "tell SEA"}).json()["chats"]
    assert found["id"] == sea.done["chat"]
    assert found["excerpt"] == SEA
    path = f"/ui/chats/{found['id']}"
    assert own.http.post(path, json={"title": "  The \n deep "}).json() == {"title": "The deep"}
    assert own.http.post(path, json={"title": " "}).status_code == 400
    assert chat_of(own, found["id"])["title"] == "The deep"
    markdown = own.http.get(f"{path}/export.md")
    assert markdown.headers["content-type"].startswith("text/markdown")
    assert markdown.text.startswith(f"# The deep\n\n## You\n\n{SEA}\n\n## Answer\n\n")
    exported = own.http.get(f"{path}/export.json").json()
    assert exported["format"] == "pocketlm-conversation"
    assert exported["messages"][1] == {"role": "assistant", "content": sea.done["content"]}
    assert own.http.get(f"{path}/export.exe").status_code == 404
    headers = {"Content-Type": "application/json"}
    assert own.http.delete(path).status_code == 415
    assert own.http.delete(path, headers=headers).json() == {"deleted": found["id"]}
    for method, where in (("GET", path), ("DELETE", path), ("GET", f"{path}/export.md")):
        gone = own.http.request(method, where, headers=headers)
        assert gone.status_code == 404
        assert gone.json()["error"]["code"] == "chat_not_found"
    assert own.http.get(f"/ui/chats/{2**70}").status_code == 404
    assert len(kept(own)) == 1


def test_a_renamed_chat_keeps_its_name_and_goes_on(own):
    first = Asked(own, SEA)
    own.http.post(f"/ui/chats/{first.done['chat']}", json={"title": "The deep"})
    second = Asked(own, "And of the moon?", **first.place)
    assert second.done["chat"] == first.done["chat"]
    assert chat_of(own, first.done["chat"])["title"] == "The deep"


def test_incognito_leaves_nothing_behind(own):
    text = "A secret: " + "the treasure lies under the old oak. " * 40
    first = Asked(own, text, keep=False)
    assert first.done["chat"] is None
    said = [
        {"role": "user", "content": text},
        {"role": "assistant", "content": first.done["content"]},
    ]
    second = Asked(own, "What lies under the oak?", keep=False, messages=said)
    assert second.begin["message"]["position"] == 2
    own.settled()
    time.sleep(0.5)
    files = [path for path in own.home.rglob("*") if path.is_file()]
    assert not any(b"treasure" in path.read_bytes() for path in files)
    assert not [path for path in files if path.suffix == ".kv"]
    assert own.http.get("/ui/chats").json() == {"chats": []}
    # The same, kept, does leave its traces: it was not the length.
    Asked(own, text)
    own.settled()
    until(lambda: list(own.home.rglob("*.kv")))


def test_a_chat_that_went_on_elsewhere_is_not_written_over(own):
    first = Asked(own, SEA)
    Asked(own, "And of the moon?", **first.place)
    refused = own.http.post("/ui/answer", json=body_of("And of the sun?", **first.place))
    assert refused.status_code == 409
    assert refused.json()["error"]["code"] == "chat_changed"
    assert len(kept(own)[0]) == 4


def test_two_who_write_in_one_chat_lose_no_word(own):
    first = Asked(own, SEA)
    with asking(own, STORY, **first.place, sampling=ENDLESS) as (answer, found):
        _, began = next(found)
        assert began["chat"] == first.done["chat"]
        with History(own.home / "history.db") as history:  # the terminal goes on with it
            theirs = history.load(first.done["chat"], fingerprint=None)
            theirs.add_assistant("from elsewhere")
            history.save(theirs, model="m", fingerprint="f")
        next(event for event in found if event[0] == "blocks")
        own.http.post("/ui/stop", json={"answer": answer})
        *_, (name, done) = found
    assert name == "done"
    assert done["chat"] != first.done["chat"]
    texts = [[text for _, text in chat] for chat in kept(own)]
    assert sorted(texts, key=len)[0][:3] == [SEA, first.done["content"], STORY]
    assert [SEA, first.done["content"], STORY, "from elsewhere"] in texts
    assert [SEA, first.done["content"], STORY, done["content"]] in texts


def test_stopping_keeps_what_there_is(own):
    with asking(own, STORY, sampling=ENDLESS) as (answer, found):
        for name, content in found:
            if name == "blocks" and len("".join(content["blocks"])) > 200:
                assert own.http.post("/ui/stop", json={"answer": answer}).json() == {
                    "stopped": True
                }
                break
        *_, (name, done) = found
    assert name == "done"
    assert done["finish"] == "stopped"
    own.settled()
    assert kept(own) == [[("user", STORY), ("assistant", done["content"])]]
    assert own.http.post("/ui/stop", json={"answer": answer}).json() == {"stopped": False}
    more = Asked(own, "Thanks", chat=done["chat"], revision=done["revision"])
    assert more.done["chat"] == done["chat"]


def test_who_goes_away_finds_what_was_written(own):
    with asking(own, STORY, sampling=ENDLESS) as (_, found):
        for name, content in found:
            if name == "blocks" and len("".join(content["blocks"])) > 200:
                break
    own.settled()
    until(lambda: len(kept(own)[0]) == 2)
    (_, (role, text)) = kept(own)[0]
    assert role == "assistant"
    assert len(text) > 150


def test_who_goes_away_before_the_first_word_loses_no_question(own):
    story = "Here is a long story. " + NIGHT * 250
    with asking(own, story) as (_, found):
        assert next(found)[0] == "begin"
    own.settled()
    (chat,) = kept(own)
    assert chat == [("user", story.strip())] or chat == [("user", story)]
    id = own.http.get("/ui/chats").json()["chats"][0]["id"]
    revision = chat_of(own, id)["revision"]
    # What is said next goes with it, so that turns alternate.
    more = Asked(own, "Never mind.", chat=id, revision=revision)
    assert more.begin["message"]["position"] == 0
    (chat,) = kept(own)
    assert [role for role, _ in chat] == ["user", "assistant"]
    assert chat[0][1].endswith("Never mind.")
    assert "stormy" in chat[0][1]


def test_stopping_a_second_answer_before_it_begins_keeps_the_first(own):
    story = "Here is a long story. " + NIGHT * 250
    first = Asked(own, "Hello")
    second = Asked(own, story, **first.place, sampling={"max_tokens": 3})
    before = kept(own)
    with asking(own, f"Another one. {story}", at=2, **second.place) as (answer, found):
        assert next(found)[0] == "begin"
        own.http.post("/ui/stop", json={"answer": answer})
        *_, (name, done) = found
    assert name == "done"
    assert not done["answered"]
    assert kept(own) == before


@pytest.mark.parametrize("seconds", [0.3, 2.5])
def test_a_killed_server_loses_no_finished_message(own, seconds):
    first = Asked(own, SEA)
    with asking(own, STORY, **first.place, sampling=ENDLESS) as (_, found):
        assert next(found)[0] == "begin"
        time.sleep(seconds)
        own.process.send_signal(signal.SIGKILL)
        own.process.wait()
    own.process.returncode = 0  # for the fixture: it ended as it was told to
    (chat,) = kept(own)
    assert chat[:3] == [("user", SEA), ("assistant", first.done["content"]), ("user", STORY)]
    if seconds > 2:  # it is saved every second
        assert chat[3][0] == "assistant"
        assert len(chat[3][1]) > 150
    else:
        assert len(chat) <= 4


def test_a_server_that_ends_keeps_what_was_written(own):
    with asking(own, STORY, sampling=ENDLESS) as (_, found):
        for name, content in found:
            if name == "blocks" and len("".join(content["blocks"])) > 200:
                own.process.send_signal(signal.SIGTERM)
                break
        names = [name for name, _ in found]
    assert own.process.wait(20) == 0
    assert names[-1] in ("error", "blocks")
    (chat,) = kept(own)
    assert len(chat[1][1]) > 150


def test_a_full_disk_is_told_and_the_answer_still_shown(tmp_path, smollm2):
    home = tmp_path / "home"
    # What may be written to one file is a size at which disks are full, for this process.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with History(home / "history.db"):
        pass
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, before[1]))
    try:
        server = start(home, smollm2, "--no-prefix-cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    try:
        found = Asked(server, SEA)
        assert found.done["warning"] is None
        long = "word " * 120_000
        said = [{"role": "user", "content": "x"}, {"role": "assistant", "content": long}]
        full = Asked(server, SEA, messages=said)
        assert "sea" in full.done["content"]
        assert full.done["chat"] is None
        assert "history.db cannot be used" in full.done["warning"]
        assert full.begin["dropped"] == 1
        # The page holds it, and says it again; what was kept before is still there.
        assert [chat[0] for chat in kept(server)] == [("user", SEA)]
        assert server.http.get("/ui/chats").status_code == 200
    finally:
        end(server)


@pytest.mark.slow
def test_a_locked_history_is_told_and_the_answer_still_shown(own):
    first = Asked(own, SEA)
    other = sqlite3.connect(own.home / "history.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        found = Asked(own, "And of the moon?", **first.place)
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert found.done["answered"]
    assert "another process holds it" in found.done["warning"]
    assert found.done["chat"] is None
    said = [
        *[{"role": role, "content": text} for role, text in kept(own)[0]],
        {"role": "user", "content": "And of the moon?"},
        {"role": "assistant", "content": found.done["content"]},
    ]
    later = Asked(own, "And of the sun?", messages=said)
    assert later.done["warning"] is None
    assert len(kept(own)[0]) == 6


def test_a_damaged_history_is_told_and_a_new_one_begun(serve, smollm2, tmp_path):
    server = serve(smollm2)
    path = server.home / "history.db"
    path.write_bytes(b"no database " * 1000)
    refused = server.http.get("/ui/chats")
    assert refused.status_code == 503
    assert "move it away" in refused.json()["error"]["message"]
    found = Asked(server, SEA)
    assert "sea" in found.done["content"]
    assert "move it away" in found.done["warning"]
    path.rename(tmp_path / "damaged.db")
    assert server.http.get("/ui/chats").json() == {"chats": []}
    assert Asked(server, SEA).done["chat"] == 1


def test_models_and_presets(own):
    folder = own.home / "presets"
    folder.mkdir()
    (folder / "pirate.toml").write_text(
        f'model = "{MODEL}"\nsystem = "You are a pirate."\n[sampling]\nmax_tokens = 5\n'
    )
    (folder / "broken.toml").write_text("model = 3")
    found = own.http.get("/ui/models").json()
    names = {model["name"]: model for model in found["models"]}
    assert names[MODEL]["context"] == 8192
    assert names["pirate"]["system"] == "You are a pirate."
    assert "broken" not in names
    assert found["default"] == MODEL
    assert found["sampling"]["temperature"] == 0.3
    said = Asked(own, SEA, model="pirate", sampling={"temperature": 0})
    assert said.done["tokens"] == 5
    shown = chat_of(own, said.done["chat"])
    assert (shown["model"], shown["system"]) == (MODEL, "You are a pirate.")
    other = Asked(own, SEA, model="pirate", system="Be brief.", sampling={"max_tokens": 7})
    assert other.done["tokens"] <= 7
    assert chat_of(own, other.done["chat"])["system"] == "Be brief."
    for name, status in (("broken", 503), ("nothing", 404)):
        response = own.http.post("/ui/answer", json=body_of("x", model=name))
        assert response.status_code == status


def test_files_go_into_the_prompt_as_the_terminal_puts_them(own):
    files = [{"name": "a.txt", "text": "The password is swordfish.\n"}, {"name": "b", "text": "x"}]
    found = Asked(own, "What is the password?", files=files)
    content = kept(own)[0][0][1]
    assert content == (
        "What is the password?\n\n--- a.txt ---\nThe password is swordfish.\n--- end of a.txt ---"
        "\n\n--- b ---\nx\n--- end of b ---"
    )
    assert found.begin["message"]["text"] == "What is the password?"
    assert found.begin["message"]["files"] == [
        {"name": "a.txt", "characters": 26},
        {"name": "b", "characters": 1},
    ]
    edited = Asked(own, "Which word is the password?", at=0, **found.place)
    assert edited.begin["message"]["text"] == "Which word is the password?"
    assert [file["name"] for file in edited.begin["message"]["files"]] == ["a.txt", "b"]
    alone = Asked(own, files=files[:1])
    assert alone.begin["message"]["text"] == ""


def test_a_prompt_that_does_not_fit_changes_nothing(own):
    first = Asked(own, SEA)
    before = kept(own)
    refused = own.http.post("/ui/answer", json=body_of("word " * 9000, **first.place))
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "context_length_exceeded"
    assert kept(own) == before
    refused = own.http.post("/ui/answer", json=body_of("word " * 9000))
    assert refused.status_code == 400
    assert kept(own) == before


def test_oldest_turns_go_and_that_is_said(own):
    said = [
        {"role": "user", "content": "My name is Ann. " + NIGHT * 900},
        {"role": "assistant", "content": "Hello Ann."},
        {"role": "user", "content": NIGHT * 150},
        {"role": "assistant", "content": "Yes."},
    ]
    found = Asked(own, SEA, messages=said, sampling={"max_tokens": 4, "temperature": 0})
    assert found.begin["dropped"] == 1
    assert found.done["context"]["used"] < 8192
    assert len(kept(own)[0]) == 6


def test_progress_is_told(own):
    found = Asked(own, NIGHT * 200, sampling={"max_tokens": 2})
    assert found.names.count("progress") >= 2
    assert found.names.index("progress") < found.names.index("blocks")


@pytest.mark.parametrize(
    "body",
    [
        *({}, {"answer": "x"}, {"answer": "0" * 32}, {"answer": "0" * 32, "text": " \n"}),
        *({"answer": "0" * 32, "text": "x", "sampling": {"temperature": -1}},),
        *({"answer": "0" * 32, "text": "x", "sampling": {"top_p": 0}},),
        *({"answer": "0" * 32, "text": "x", "at": -1}, {"answer": "0" * 32, "text": "x", "at": 0}),
        *({"answer": "0" * 32, "text": "x", "messages": [{"role": "system", "content": "x"}]},),
        *({"answer": "0" * 32, "text": "x", "messages": {"a": 1}},),
        *({"answer": "0" * 32, "text": "x", "files": [{"name": "", "text": "x"}]},),
        *({"answer": "0" * 32, "text": "\ud800x", "sampling": {"seed": -1}},),
    ],
)
def test_what_is_no_question_is_refused(server, body):
    data = json.dumps(body)
    headers = {"Content-Type": "application/json"}
    response = server.http.post("/ui/answer", content=data, headers=headers)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["message"]


def test_a_chat_that_is_not_there(server):
    for chat in (99_999, 0, -1, 2**70):
        response = server.http.post("/ui/answer", json=body_of("x", chat=chat, revision=1))
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "chat_not_found"


def test_the_key_is_asked_for(serve, smollm2):
    own = serve(smollm2, POCKETLM_API_KEY="secret")
    for path in ("/", "/page/app.js", "/page/manifest.webmanifest"):
        assert own.http.get(path).status_code == 200
    for method, path in (("GET", "/ui/chats"), ("GET", "/ui/models"), ("POST", "/ui/answer")):
        body = body_of("x") if method == "POST" else None
        assert own.http.request(method, path, json=body).status_code == 401
    headers = {"Authorization": "Bearer secret"}
    assert own.http.get("/ui/chats", headers=headers).status_code == 200
