"""`pocketlm ask`, from a folder of texts to an answer with its source."""

import json

import pytest

MILL = (
    "Orsk Mill stands on the east bank of the river Lunn. It was built in 1783 by the brothers Jan"
    " and Piet Velder and ground rye until 1921."
)


@pytest.fixture
def texts(tmp_path, pocketlm):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "mill.txt").write_text(MILL)
    (folder / "choir.md").write_text("# The Tallow Club\n\nIts conductor is Marta Sand.\n")
    assert pocketlm("index", "add", folder).returncode == 0
    return folder


def test_an_answer_with_its_source(pocketlm, texts, smollm2):
    asked = ["ask", "When was Orsk Mill built?", "--model", smollm2, "--reader", "extract"]
    done = pocketlm(*asked)
    assert (done.returncode, done.stderr) == (0, "")
    answer, blank, source, quote = done.stdout.splitlines()
    assert "1783" in answer
    assert answer.endswith(" [1]")
    assert blank == ""
    assert source.startswith("[1] ")
    assert source.endswith(str(texts / "mill.txt"))
    assert quote.strip().startswith("“It was built in 1783")
    found = json.loads(pocketlm(*asked, "--json").stdout)
    assert found["answer"] == answer
    assert found["found"] is True
    (citation,) = found["citations"]
    assert citation["source"] == str(texts / "mill.txt")
    assert citation["passage"] == MILL
    assert citation["supported"] is True


def test_what_is_not_there(pocketlm, texts, smollm2):
    asked = ["ask", "Who is the king of Denmark?", "--model", smollm2, "--reader", "extract"]
    done = pocketlm(*asked)
    assert (done.returncode, done.stdout) == (0, "I could not find this.\n")
    found = json.loads(pocketlm(*asked, "--json").stdout)
    assert found == {
        "answer": "I could not find this.",
        "found": False,
        "citations": [],
        "problems": [],
    }


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["  "], 2, "there is no question"),
        (
            ["Who?", "--sources", "attic"],
            2,
            "there is no source 'attic'; there are docs, wiki, web",
        ),
        (["Who?", "--sources", ""], 2, "name at least one source"),
        (["Who is it?"], 1, "`pocketlm index add PATH` does"),
        (["Who is it?", "--sources", "web"], 1, "POCKETLM_OFFLINE"),
        (["Who is it?", "--sources", "web", "--searxng", "file:///etc"], 2, "file:///etc"),
    ],
)
def test_what_cannot_be_asked(pocketlm, smollm2, arguments, code, word):
    done = pocketlm("ask", *arguments, "--model", smollm2, "--reader", "extract")
    assert (done.returncode, done.stdout) == (code, "")
    assert word in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_conversation_looks_questions_up(pocketlm, texts, smollm2, tmp_path):
    path = tmp_path / "talk.json"
    lines = [
        "Where is Orsk Mill?", "When was it built?", "/search", "Say hello.", "/search off",
        "When was it built?", "/search attic", f"/save {path}",
    ]  # fmt: skip
    home = tmp_path / "pocketlm" / "readers.json"
    home.write_text("{}")  # measured for this model in the first answer
    done = pocketlm(
        *("chat", smollm2, "--search", "docs", "--max-tokens", "20"), stdin="\n".join(lines)
    )
    assert done.returncode == 2  # there is no attic, and nothing is saved after it
    assert "there is no source 'attic'" in done.stderr
    assert "questions are looked up in docs" in done.stdout
    assert "nothing is looked up" in done.stdout
    assert "1783 [1]" in done.stdout
    assert f"`{texts / 'mill.txt'}`" in done.stdout
    assert "> It was built in 1783" in done.stdout
    assert len(json.loads(home.read_text())) == 1
    again = pocketlm("chat", smollm2, "-c", stdin=f"/save {path}\n")
    assert again.returncode == 0, again
    said = json.loads(path.read_text())["messages"]
    assert [m["content"] for m in said if m["role"] == "user"] == [
        "Where is Orsk Mill?", "When was it built?", "Say hello.", "When was it built?",
    ]  # fmt: skip
    assert "[1]" in said[3]["content"]
    assert "[1]" not in said[5]["content"]
