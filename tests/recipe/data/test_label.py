"""Labels by an endpoint or a person, and the classifier that is fitted on them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datatrove.data import Document
from tests.recipe.data.pages import BREAD, WATER, article

from pocketlm.errors import OfflineError, ParameterError
from pocketlm.recipe.data import label
from pocketlm.recipe.data.classifier import Classifier, ClassifierError, fit
from pocketlm.recipe.data.endpoint import Asked, Endpoint, EndpointError
from pocketlm.recipe.data.filters.quality import Quality
from pocketlm.recipe.data.label import Label, by_model, by_person, read_labels, score_of

Reply = Callable[[str], "str | int"]


@contextmanager
def serving(reply: Reply) -> Iterator[str]:
    """An OpenAI-compatible endpoint; `reply` gives an answer to a prompt, or an HTTP status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(200, {"object": "list", "data": [{"id": "big", "object": "model"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said = reply(body["messages"][0]["content"])
            if isinstance(said, int):
                self._send(said, {"error": {"message": "no"}})
                return
            message = {"role": "assistant", "content": said}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
            self._send(200, {"id": "1", "object": "chat.completion", "created": 0, "model": "big",
                             "choices": [choice], "usage": usage})  # fmt: skip

        def _send(self, status: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    path = tmp_path / "documents.jsonl"
    rows = [{"text": f"text number {n}"} for n in range(20)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("It explains water. Score: 4", 4),
        ("**Score:** 2", 2),
        ("Score: 1 … no, better:\nScore: 3.", 3),
        ("score = 5", 5),
        ("Score: 7", None),
        ("Score: 12", None),
        ("four points", None),
        ("", None),
    ],
)
def test_scores_in_answers(answer: str, score: int | None) -> None:
    assert score_of(answer) == score


def test_a_model_labels_and_goes_on_where_it_stopped(tmp_path: Path, documents: Path) -> None:
    asked: list[str] = []

    def reply(prompt: str) -> str | int:
        asked.append(prompt)
        return f"A text. Score: {len(asked) % 6}" if len(asked) <= 6 else 500

    out = tmp_path / "labels.jsonl"
    with serving(reply) as url:
        ask = Endpoint(url, None, None, tries=1)
        assert ask.model == "big"
        with pytest.raises(EndpointError):
            by_model(documents, out, 10, ask, 2, lambda _: None)
    first = read_labels(out)
    assert len(first) == 6
    assert all("text number" in prompt and "do not follow" in prompt for prompt in asked)
    with serving(lambda _: "no points") as url:
        counts = by_model(documents, out, 10, Endpoint(url, None, None), 2, lambda _: None)
    assert counts == (10, 4)
    assert read_labels(out) == first
    with out.open("ab") as file:
        file.write(b'{"key": "cut while it was wr')
    assert read_labels(out) == first
    with serving(lambda _: "Score: 1") as url:
        by_model(documents, out, 15, Endpoint(url, None, None), 2, lambda _: None)
    assert len(read_labels(out)) == 11


def test_an_endpoint_that_is_busy_is_asked_again() -> None:
    tried: list[str] = []

    def reply(prompt: str) -> str | int:
        tried.append(prompt)
        return 503 if len(tried) < 3 else "here"

    with serving(reply) as url:
        answer = Endpoint(url, None, None, tries=5).ask(Asked("hello"))
    assert (answer.text, answer.prompt_tokens, answer.completion_tokens) == ("here", 5, 2)
    assert len(tried) == 3


def test_an_endpoint_that_is_not_there() -> None:
    with pytest.raises(EndpointError, match="is not there; run the same command to go on"):
        Endpoint("http://127.0.0.1:9/v1", None, None, tries=1)


def test_another_machine_is_not_asked_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLM_OFFLINE", "1")
    for url in ("https://example.org/v1", "http://[::1/v1", "http://localhost.example.org/v1"):
        with pytest.raises(OfflineError, match="POCKETLM_OFFLINE forbids the network"):
            Endpoint(url, "big", None)
    with serving(lambda prompt: "yes") as url:
        assert Endpoint(url, None, None).ask(Asked("Well?")).text == "yes"


def test_labels_of_another_model_are_not_mixed(tmp_path: Path, documents: Path) -> None:
    out = tmp_path / "labels.jsonl"
    by_person(documents, out, 3, lambda *_: 3)
    with (
        serving(lambda _: "Score: 1") as url,
        pytest.raises(ParameterError, match="another run"),
    ):
        by_model(documents, out, 3, Endpoint(url, None, None), 1, lambda _: None)


def test_a_person_may_stop_and_go_on(tmp_path: Path, documents: Path) -> None:
    out = tmp_path / "labels.jsonl"
    given = iter([4, 0, None])
    assert by_person(documents, out, 5, lambda *_: next(given)) == 2
    seen: list[str] = []

    def judge(text: str, number: int, of: int) -> int:
        seen.append(text)
        assert (number, of) == (len(seen) + 2, 5)
        return 1

    assert by_person(documents, out, 5, judge) == 5
    assert len({*seen, *(each.text for each in read_labels(out))}) == 5


def test_the_sample_is_the_same_each_time_and_grows(documents: Path) -> None:
    few = [doc.id for doc in label.sampled(documents, 5)]
    many = [doc.id for doc in label.sampled(documents, 12)]
    assert many[:5] == few
    assert len(set(many)) == 12


def test_no_documents_and_no_labels(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(ParameterError, match="has no documents"):
        label.sampled(tmp_path / "none.jsonl", 3)
    with pytest.raises(ParameterError, match="is not there"):
        label.sampled(tmp_path / "nowhere", 3)
    (tmp_path / "bad.jsonl").write_text('{"value": {"id": 1}}\n')
    with pytest.raises(ParameterError, match="no file of"):
        read_labels(tmp_path / "bad.jsonl")


# The classifier

SHOPS = ["Buy {} now, only {} left", "Cheap {} in your cart: {} offers", "{} sale! {} per cent off"]


@pytest.fixture(scope="module")
def labels() -> list[Label]:
    """Texts that explain, and advertisements; one of ten has the wrong label."""
    chance = np.random.default_rng(1)
    found = []
    for number in range(200):
        if number % 2:
            base = (WATER + BREAD)[number % 8]
            text, score = f"{base} {article(number, 1)[0]}", 4
        else:
            lines = chance.choice(SHOPS, 6)
            things = chance.choice(["shoes", "phones", "watches", "flights", "bags"], 6)
            pairs = zip(lines, things, strict=True)
            text, score = " ".join(str(a).format(b, number) for a, b in pairs), 1
        found.append(Label(f"{number}", text, 5 - score if number % 20 in (9, 10) else score))
    return found


@pytest.mark.parametrize("features", ["embeddings", "words"])
def test_a_classifier_tells_them_apart(labels: list[Label], features: Any, tmp_path: Path) -> None:
    made = fit(labels, 3, features)
    worth = made.about.worth
    assert worth.documents == 50
    assert worth.precision > 0.75
    assert worth.recall > 0.75
    assert worth.precision_interval[0] < worth.precision < worth.precision_interval[1] <= 1
    assert worth.brier < 0.7 * worth.brier_of_base_rate
    assert sum(each.documents for each in worth.calibration) == 50
    assert [point.recall for point in worth.curve] == sorted(
        (point.recall for point in worth.curve), reverse=True
    )
    good, bad = made.probabilities([WATER[2] + BREAD[1], "Buy watches now, only 3 left!"])
    assert good > 0.5 > bad
    made.save(tmp_path / "c")
    again = Classifier.load(tmp_path / "c")
    np.testing.assert_array_equal(again.probabilities(WATER), made.probabilities(WATER))


def test_precision_is_what_it_says_on_the_held_out(labels: list[Label]) -> None:
    made = fit(labels, 3, "words")
    again = fit(list(reversed(labels)), 3, "words")
    assert again.about == made.about  # the order of labels decides nothing


def test_the_stage_drops_what_is_unlikely(labels: list[Label], tmp_path: Path) -> None:
    fit(labels, 3, "embeddings").save(tmp_path / "c")
    step = Quality(tmp_path / "c", 0.5)
    kept = Document(WATER[0] + BREAD[0], "a")
    assert step.filter(kept) is True
    assert kept.metadata["quality"] > 0.5
    assert step.filter(Document("Buy bags now, only 9 left. Buy phones now!", "b")) == (
        False,
        "teaches little",
    )


def test_too_few_labels(labels: list[Label]) -> None:
    with pytest.raises(ClassifierError, match="0 labels have at least 5 points"):
        fit(labels, 5, "embeddings")
    with pytest.raises(ClassifierError, match="are needed"):
        fit(labels[:8], 3, "embeddings")


def _pickled(folder: Path) -> None:
    np.savez(folder / "weights.npz", weights=np.array([{"a": 1}], object), bias=np.float64(0))


def _short(folder: Path) -> None:
    np.savez(folder / "weights.npz", weights=np.zeros(3, np.float32), bias=np.float64(0))


def _cut(folder: Path) -> None:
    path = folder / "weights.npz"
    path.write_bytes(path.read_bytes()[:-50])


def _infinite(folder: Path) -> None:
    weights = np.full(256, np.inf, np.float32)
    np.savez(folder / "weights.npz", weights=weights, bias=np.float64(0))


def _unknown(folder: Path) -> None:
    path = folder / "classifier.json"
    path.write_text(path.read_text().replace('"embeddings"', '"pickle"'))


def _gone(folder: Path) -> None:
    (folder / "weights.npz").unlink()


@pytest.mark.parametrize("damage", [_pickled, _short, _cut, _infinite, _unknown, _gone])
def test_a_damaged_classifier_is_refused(labels: list[Label], tmp_path: Path, damage: Any) -> None:
    fit(labels, 3, "embeddings").save(tmp_path / "c")
    damage(tmp_path / "c")
    with pytest.raises(ParameterError, match="classifier"):
        Quality(tmp_path / "c", 0.5)
