"""A plan carried out by scripted authors: good ones, bad ones, and ones that go away."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.recipe.data.synthesis.writers import Reply, good, prose, writing

from pocketlm.errors import ParameterError
from pocketlm.recipe.data import recipe, spool
from pocketlm.recipe.data.build import build
from pocketlm.recipe.data.classifier import fit
from pocketlm.recipe.data.endpoint import Endpoint, EndpointError
from pocketlm.recipe.data.label import Label
from pocketlm.recipe.data.synthesis.counts import Counts
from pocketlm.recipe.data.synthesis.plan import Plan
from pocketlm.recipe.data.synthesis.run import synthesise
from pocketlm.recipe.data.tallies import read_tallies


def plan(**fields: Any) -> Plan:
    return Plan.model_validate(
        {
            "name": "lessons",
            "documents": 12,
            "topics": ["tides", "bread", "money"],
            "kinds": [
                {"kind": "textbook", "words": [10, 60]},
                {"kind": "exercise"},
                {"kind": "dialogue"},
                {"kind": "reasoning"},
            ],
            "sampling": {"most_tokens": 200},
            **fields,
        }
    )


def carried_out(wanted: Plan, out: Path, reply: Reply, parallel: int = 3) -> Counts:
    with writing(reply) as writer:
        return synthesise(
            wanted, out, Endpoint(writer.url, None, None, tries=1), parallel, lambda _: None
        )


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def contents(out: Path) -> dict[str, bytes]:
    """Everything but the answers, whose order is that in which they came."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*.json*")
        if path.parent.name != "answers"
    }


def test_a_plan_is_carried_out(tmp_path: Path) -> None:
    wanted = plan(endpoint={"price": {"prompt": 1.0, "completion": 10.0}})
    told: list[str] = []
    reply = good(wanted)
    with writing(reply) as writer:
        endpoint = Endpoint(writer.url, None, "secret", tries=1)
        counts = synthesise(wanted, tmp_path / "out", endpoint, 3, told.append)
    assert len(writer.asked) == 12
    assert set(writer.keys) == {"Bearer secret"}
    assert all(body["seed"] is not None and body["top_p"] == 0.95 for body in writer.asked)
    assert {name: kind.documents for name, kind in counts.kinds.items()} == {
        "textbook": 3,
        "exercise": 3,
        "dialogue": 3,
        "reasoning": 3,
    }
    assert counts.prompt_tokens == 1200
    assert counts.completion_tokens > 12 * 30
    assert counts.dollars == pytest.approx((1200 + 10 * counts.completion_tokens) / 1e6)
    assert told[-1].startswith("12 of 12 documents")
    tokens = counts.prompt_tokens + counts.completion_tokens
    assert told[-1].endswith(f"; {tokens:,} tokens, ${counts.dollars:.4f}; 0 dropped")
    documents = lines(tmp_path / "out/documents/reasoning.jsonl")
    assert [each["id"] for each in documents] == [f"reasoning/{n:06d}" for n in range(3)]
    assert documents[0]["text"].startswith("Problem: ")
    assert documents[0]["prompt"].startswith("reasoning-1 ")
    assert documents[0]["model"] == "author"
    conversations = lines(tmp_path / "out/conversations.jsonl")
    assert [each["messages"][0]["role"] for each in conversations] == ["user"] * 3
    assert lines(tmp_path / "out/dropped.jsonl") == []
    assert Counts.model_validate_json((tmp_path / "out/synthesis.json").read_text()) == counts


def test_how_long_it_will_take_is_told(tmp_path: Path) -> None:
    wanted = plan(documents=12, kinds=[{"kind": "textbook", "words": [10, 60]}])
    reply = good(wanted)
    told: list[str] = []

    def slow(body: dict[str, Any]) -> str | int:
        time.sleep(0.3)
        return reply(body)

    with writing(slow) as writer:
        synthesise(wanted, tmp_path / "out", Endpoint(writer.url, None, None), 1, told.append)
    lefts = [int(found[1]) for line in told if (found := re.search(r", (\d+) s left;", line))]
    assert max(lefts) >= 2
    assert lefts[-1] == 0


def test_requests_run_side_by_side(tmp_path: Path) -> None:
    wanted = plan()
    reply, gate = good(wanted), threading.Barrier(3)

    def together(body: dict[str, Any]) -> str | int:
        gate.wait(60)
        return reply(body)

    with writing(together) as writer:
        synthesise(wanted, tmp_path / "out", Endpoint(writer.url, None, None), 3, lambda _: None)
    assert writer.most_at_once == 3


def test_conversations_are_what_train_sft_reads(tmp_path: Path) -> None:
    from pocketlm.recipe.train.conversations import read_conversations

    wanted = plan()
    carried_out(wanted, tmp_path / "out", good(wanted))
    found = read_conversations([tmp_path / "out/conversations.jsonl"])
    assert [len(each.messages) for each in found] == [4, 4, 4]


@pytest.mark.parametrize("whole", [False, True], ids=["documents", "the whole folder"])
def test_a_build_reads_the_result(tmp_path: Path, whole: bool) -> None:
    wanted = plan()
    out = tmp_path / "out"
    reply = good(wanted)
    carried_out(wanted, out, lambda body: bad_now_and_then(reply, body))
    assert lines(out / "dropped.jsonl")
    path = out if whole else out / "documents"
    source = recipe.Jsonl(kind="jsonl", path=path)
    build(
        recipe.Recipe(name="corpus", sources=(source,), tasks=2),
        tmp_path / "corpus",
        "local",
        1,
        lambda _: None,
    )
    texts = {doc.text for doc in spool.documents(tmp_path / "corpus/documents")}
    assert texts == {line["text"] for file in (out / "documents").iterdir() for line in lines(file)}
    assert len(texts) == 12
    (read,) = (s for s in read_tallies(tmp_path / "corpus").stages if s.key == "read")
    assert bool(read.reasons) == whole


def bad_now_and_then(reply: Reply, body: dict[str, Any]) -> str | int:
    return "No." if body["seed"] % 3 == 0 else reply(body)


@pytest.mark.parametrize("parallel", [1, 5])
def test_the_result_does_not_depend_on_who_came_first(tmp_path: Path, parallel: int) -> None:
    wanted = plan(documents=40)
    reply = good(wanted)

    def slow(body: dict[str, Any]) -> str | int:
        time.sleep(body["seed"] % 7 / 200)
        return bad_now_and_then(reply, body)

    counts = carried_out(wanted, tmp_path / "one", lambda body: bad_now_and_then(reply, body), 1)
    carried_out(wanted, tmp_path / "two", slow, parallel)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert counts.done == 40
    assert counts.dropped > 3
    # Nothing is asked in vain: every answer became a document, or had to be asked for anew.
    assert all(kind.answers == kind.documents + sum(kind.dropped.values())
               for kind in counts.kinds.values())  # fmt: skip


def test_more_is_added_to_what_is_there(tmp_path: Path) -> None:
    few, many = plan(documents=8), plan(documents=20)
    reply = good(many)
    carried_out(few, tmp_path / "out", reply)
    before = lines(tmp_path / "out/documents/textbook.jsonl")
    with writing(reply) as writer:
        told: list[str] = []
        synthesise(many, tmp_path / "out", Endpoint(writer.url, None, None), 2, told.append)
    assert len(writer.asked) == 12
    assert told[0] == "8 of 20 documents are there already"
    assert lines(tmp_path / "out/documents/textbook.jsonl")[:2] == before
    carried_out(many, tmp_path / "once", reply)
    assert contents(tmp_path / "once") == contents(tmp_path / "out")
    with writing(lambda _: 500) as writer:
        synthesise(many, tmp_path / "out", Endpoint(writer.url, None, None), 2, told.append)
    assert writer.asked == []


def test_an_endpoint_that_goes_away_midway(tmp_path: Path) -> None:
    wanted = plan()
    reply, answered = good(wanted), []

    def dying(body: dict[str, Any]) -> str | int:
        answered.append(body)
        return reply(body) if len(answered) <= 7 else 500

    with pytest.raises(EndpointError, match="500"):
        carried_out(wanted, tmp_path / "out", dying)
    counts = Counts.model_validate_json((tmp_path / "out/synthesis.json").read_text())
    assert sum(kind.answers for kind in counts.kinds.values()) == 7
    with writing(reply) as writer:
        synthesise(wanted, tmp_path / "out", Endpoint(writer.url, None, None), 3, lambda _: None)
    assert len(writer.asked) == 5
    carried_out(wanted, tmp_path / "once", reply)
    assert contents(tmp_path / "once") == contents(tmp_path / "out")


def test_one_refused_request_ends_nothing_and_many_do(tmp_path: Path) -> None:
    wanted = plan(documents=4, kinds=[{"kind": "textbook", "words": [10, 60]}])
    reply = good(wanted)
    seen: list[int] = []

    def choosy(body: dict[str, Any]) -> str | int:
        seen.append(1)
        return 400 if len(seen) == 2 else reply(body)

    counts = carried_out(wanted, tmp_path / "out", choosy, 1)
    assert counts.done == 4
    assert counts.kinds["textbook"].dropped == {"refused by the endpoint": 1}
    with pytest.raises(EndpointError, match=r"5 requests one after another: .*not this one"):
        carried_out(wanted, tmp_path / "none", lambda _: 400, 1)


def test_bad_answers_have_their_reasons(tmp_path: Path) -> None:
    wanted = plan(documents=1, kinds=[{"kind": "textbook", "words": [10, 60]}], least_kept=0.01)
    bad = [
        "",
        "Tides.",
        prose(1, 300),
        f"As an AI language model I say: {prose(2)}",
        f"{prose(3)} 3 + 4 = 8.",
        "The moon pulls the water up. " * 9,
    ]

    def reply(body: dict[str, Any]) -> str | int:
        return bad.pop(0) if bad else prose(9)

    counts = carried_out(wanted, tmp_path / "out", reply, 1)
    assert counts.kinds["textbook"].dropped == {
        "empty": 1,
        "too short": 1,
        "not finished": 1,
        "speaks of itself": 1,
        "wrong arithmetic": 1,
        "repeats itself": 1,
    }
    dropped = lines(tmp_path / "out/dropped.jsonl")
    assert dropped[4]["detail"] == "3 + 4 = 8 (it is 7)"
    assert dropped[4]["answer"].endswith("3 + 4 = 8.")
    assert dropped[4]["topic"] in wanted.topics


def test_near_duplicates_of_what_was_written_are_dropped(tmp_path: Path) -> None:
    wanted = plan(documents=3, kinds=[{"kind": "textbook", "words": [10, 60]}])
    said = prose(1, 100)
    answers = [said, said.replace("garden", "GARDEN,") + " And more.", prose(2), prose(3)]
    counts = carried_out(wanted, tmp_path / "out", lambda _: answers.pop(0), 1)
    assert counts.kinds["textbook"].dropped == {"near duplicate": 1}
    (dropped,) = lines(tmp_path / "out/dropped.jsonl")
    assert dropped["detail"] == "of textbook/000000"


def test_a_kind_that_is_never_fit_is_given_up(tmp_path: Path) -> None:
    wanted = plan(documents=30, kinds=[{"kind": "exercise"}, {"kind": "reasoning"}])
    reply = good(wanted)

    def half(body: dict[str, Any]) -> str | int:
        is_exercise = "Write one exercise" in body["messages"][0]["content"]
        return prose(body["seed"]) if is_exercise else reply(body)

    counts = carried_out(wanted, tmp_path / "out", half)
    exercise = counts.kinds["exercise"]
    assert (exercise.given_up, exercise.documents) == (True, 0)
    assert exercise.dropped == {"not in the form": 20}
    assert 20 <= exercise.answers <= 23
    assert counts.kinds["reasoning"].documents == 15


def test_tokens_instead_of_documents(tmp_path: Path) -> None:
    wanted = plan(documents=None, tokens=1000, kinds=[{"kind": "textbook"}, {"kind": "dialogue"}])
    reply = good(plan(kinds=[{"kind": "textbook"}, {"kind": "dialogue"}]))
    wanted = wanted.model_copy(update={"kinds": plan().kinds[::2]})
    reply = good(wanted)
    counts = carried_out(wanted, tmp_path / "out", reply)
    for kind in counts.kinds.values():
        assert kind.wanted == kind.done == 500
        assert 500 <= kind.tokens < 600
    assert counts.completion_tokens < 1250


def test_tokens_that_nobody_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = plan(documents=None, tokens=1000)
    reply = good(wanted)
    ask = Endpoint.ask
    monkeypatch.setattr(
        Endpoint,
        "ask",
        lambda self, asked: type(got := ask(self, asked))(got.text, 0, 0, got.cut),
    )
    with pytest.raises(EndpointError, match="let the plan say `documents`"):
        carried_out(wanted, tmp_path / "out", reply)


def test_a_classifier_decides(tmp_path: Path) -> None:
    labels = [
        Label(
            f"{n}", f"{'water river stone' if n % 2 else 'needle wagon'} {prose(n, 30)}", n % 2 * 4
        )
        for n in range(120)
    ]
    fit(labels, 3, "words").save(tmp_path / "classifier")
    wanted = plan(
        documents=6,
        kinds=[{"kind": "textbook", "words": [10, 60]}],
        quality={"classifier": str(tmp_path / "classifier"), "least": 0.5},
    )

    def reply(body: dict[str, Any]) -> str:
        begins = "water river stone" if body["seed"] % 2 else "needle wagon"
        return f"{begins} {prose(body['seed'], 30)}"

    counts = carried_out(wanted, tmp_path / "out", reply)
    documents = lines(tmp_path / "out/documents/textbook.jsonl")
    assert all(each["quality"] >= 0.5 for each in documents)
    right = sum(each["text"].startswith("water") for each in documents)
    assert right >= 5
    assert counts.kinds["textbook"].dropped["teaches little"] > 0
    with pytest.raises(ParameterError, match="no classifier"):
        carried_out(plan(quality={"classifier": str(tmp_path / "none")}), tmp_path / "other", reply)


def test_other_plans_and_other_folders_are_refused(tmp_path: Path) -> None:
    wanted = plan(documents=4)
    out = tmp_path / "out"
    carried_out(wanted, out, good(wanted))
    before = contents(out)
    for field, value in (
        ("seed", 5),
        ("topics", ["tides"]),
        ("styles", ["short"]),
        ("sampling", {"temperature": 0.1}),
    ):
        other = plan(documents=4, **{field: value})
        with pytest.raises(ParameterError, match=f"results of another run .{field}"):
            carried_out(other, out, good(wanted))
    with (
        writing(good(wanted), model="another") as writer,
        pytest.raises(ParameterError, match=r"another run .model 'author'"),
    ):
        synthesise(wanted, out, Endpoint(writer.url, None, None), 1, lambda _: None)
    assert contents(out) == before
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("")
    with pytest.raises(ParameterError, match="is not empty, and not of"):
        carried_out(wanted, mine, good(wanted))


def test_ctrl_c_keeps_what_is_on_its_way(tmp_path: Path) -> None:
    wanted = plan()
    reply = good(wanted)
    seen: list[int] = []

    def interrupting(body: dict[str, Any]) -> str | int:
        with lock:
            seen.append(1)
            if len(seen) == 5:
                os.kill(os.getpid(), 2)
        time.sleep(0.3)
        return reply(body)

    lock = threading.Lock()
    with pytest.raises(KeyboardInterrupt):
        carried_out(wanted, tmp_path / "out", interrupting)
    counts = Counts.model_validate_json((tmp_path / "out/synthesis.json").read_text())
    assert 5 <= len(seen) < 12
    assert counts.done == len(seen)


def test_halves_of_pairs_and_control_characters(tmp_path: Path) -> None:
    wanted = plan(documents=1, kinds=[{"kind": "textbook", "words": [10, 60]}])
    carried_out(wanted, tmp_path / "out", lambda _: f"{prose(1)} \ud83d \x00 \u2028 end")
    (document,) = lines(tmp_path / "out/documents/textbook.jsonl")
    assert document["text"].endswith("end")
