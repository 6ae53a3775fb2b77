"""Files of all kinds into passages, and what files must not do to who reads them."""

import contextlib
import os
import re
import signal
import time
import zlib

import pytest
from books import epub, pdf

from pocketlm.assistant.child import Child, ChildError
from pocketlm.assistant.documents.document import Block, Document
from pocketlm.assistant.documents.reader import NotTextError, Reader, ReadingError, load
from pocketlm.assistant.documents.split import passages, sentences


@pytest.fixture(scope="module")
def reader():
    reader = Reader()
    yield reader
    reader.close()


@pytest.fixture
def read(reader, tmp_path):
    """The passages of a file with that name and those bytes, and the notes."""

    def read(name: str, data: bytes | str):
        path = tmp_path / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return reader.read(load(path), path)

    return read


def text_of(found) -> str:
    return "\n".join(piece.text for piece in found[0])


def test_markdown_headings_lead_to_a_passage(read):
    text = "A paragraph about something. " * 12
    page = f"# Tides\n\n{text}\n\n## Causes\n\nThe *Moon* pulls. {text}\n\n"
    page += "### Spring\n\n- new\n- full\n"
    pieces, notes = read("tides.md", page + text)
    assert notes == []
    assert [piece.title for piece in pieces] == [
        "Tides",
        "Tides › Causes",
        "Tides › Causes › Spring",
    ]
    assert pieces[1].text.startswith("The Moon pulls. A paragraph")
    assert pieces[2].text.startswith("• new\n• full")


def test_small_sections_are_read_together_under_the_headings_they_share(read):
    pieces, _ = read("a.md", "# Guide\n\n## Install\n\nRun it.\n\n## Remove\n\nDelete it.\n")
    assert [tuple(piece) for piece in pieces] == [("Guide", "Install\nRun it.\nRemove\nDelete it.")]


def test_front_matter_is_no_text_but_gives_the_title(read):
    ((title, text),), _ = read("a.md", "---\ntitle: 'My page'\ndraft: true\n---\nHello there.\n")
    assert (title, text) == ("My page", "Hello there.")


def test_html_is_what_its_reader_sees(read):
    page = """<!DOCTYPE html><html><head><title>Page</title><style>p{}</style></head><body>
    <nav>Home | About</nav><h1>Page</h1><!-- comment --><p>Seen <b>bold</b><script>bad()</script>.
    <p hidden>hidden1</p>after<div style="color:red; DISPLAY : none">hidden2<p>hidden3</div>
    <span aria-hidden="true">hidden4</span><span style="font-size:0">hidden5</span>
    <span style="font-size:0.5em">small</span><span style="opacity: 0.0">hidden6</span>
    <img alt="hidden7"><template>hidden8</template><noscript>hidden9</noscript>
    <textarea>hidden10</textarea><svg><text>hidden11</text></svg>
    <div title="hidden12" data-x="hidden13">body&#8203;text&#xE0041;</div>
    <table><tr><th>Height</th><td>16 m</td></tr></table><pre>a\n  b</pre></body></html>"""
    pieces, notes = read("page.html", page)
    text = pieces[0].text
    assert "hidden" not in text
    assert "comment" not in text
    assert "bad" not in text
    assert "Home" not in text
    assert "Seen bold." in text
    assert "after" in text
    assert "small" in text
    assert "bodytext" in text.split("\n")
    assert "Height | 16 m" in text
    assert "a\n  b" in text
    assert pieces[0].title == "Page"
    assert notes == []


def test_hidden_html_within_markdown(read):
    page = (
        "Seen.\n\n<!-- order -->\n\n<div hidden>\n\norder\n\n</div>\n\n![order](x.png) [link](u)\n"
    )
    assert text_of(read("a.md", page)) == "Seen.\nlink"


@pytest.mark.parametrize(
    "hidden",
    ["\u200b", "\u2060", "\ufeff", "\u202e", "\u00ad", "\U000e0041\U000e007f", "\x1b", "\0"],
)
def test_what_shows_nothing_is_taken_out_of_every_kind(read, hidden):
    files = {
        "a.txt": f"pass{hidden}word here",
        "a.py": f"pass{hidden}word here",
        "a.md": f"pass{hidden}word here",
        "a.epub": epub(f"T{hidden}itle", {"a.xhtml": f"<p>pass{hidden}word here</p>"}),
    }
    if hidden == "\0":  # text has none: such a file is another thing
        files = {"a.html": "pass\U000e0000word here"}
    for name, data in files.items():
        if hidden == "\x1b" and name == "a.epub":
            continue
        assert text_of(read(name, data)) == "password here", name


def test_letters_that_are_joined_without_width_stay(read):
    persian = "می\u200cخواهم"
    assert text_of(read("a.txt", persian)) == persian
    assert text_of(read("b.txt", "a\u200cb")) == "ab"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_that_say_what_they_are(read, encoding):
    assert text_of(read("a.txt", "Grüße aus Köln".encode(encoding))) == "Grüße aus Köln"


def test_another_encoding_is_guessed_and_told_of(read):
    pieces, notes = read("a.txt", "Grüße – aus Köln".encode("cp1252"))
    assert pieces[0].text == "Grüße – aus Köln"
    assert notes == ["not UTF-8; read as Windows-1252"]
    page = "<meta charset=iso-8859-5><p>Привет</p>".encode("iso-8859-5")
    assert text_of(read("a.html", page)) == "Привет"
    assert read("b.html", b"<meta charset=rot13><p>caf\xe9</p>")[0][0].text == "café"


def test_source_code_by_definitions(read):
    body = "".join(f"    step_{n} = compute(step_{n - 1})\n" for n in range(1, 15))
    source = f'"""About."""\n\nimport os\n\n\ndef first(a):\n{body}\n\nclass Second:\n{body}'
    pieces, _ = read("work.py", source)
    assert [piece.title for piece in pieces] == ["work.py", "work.py › class Second"]
    assert pieces[0].text.startswith('"""About."""\nimport os\ndef first(a):\n    step_1 = c')
    assert pieces[1].text.startswith("class Second:\n    step_1 = compute(step_0)\n    step_2")


def test_pdf_pages(read):
    text = "All about the moon and the sea.\n" * 12
    pieces, notes = read(
        "tides.pdf", pdf(["The tide is high-\nly regular.\n" + text, text + "End."], "Tides")
    )
    assert [piece.title for piece in pieces] == ["Tides › page 1", "Tides › page 2"]
    assert pieces[0].text.startswith("The tide is highly regular. All about the moon")
    assert pieces[1].text.endswith("End.")
    assert notes == []


def test_a_pdf_by_its_content_and_not_by_its_name(read):
    assert "hello" in text_of(read("report", pdf(["hello"])))
    with pytest.raises(ReadingError, match="no sound PDF"):
        read("a.pdf", b"no pdf at all")


def test_pdf_without_text_or_locked(read):
    with pytest.raises(ReadingError, match="no text"):
        read("scan.pdf", pdf([""]))
    from io import BytesIO

    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(BytesIO(pdf(["secret"]))))
    writer.encrypt("word", algorithm="RC4-128")
    locked = BytesIO()
    writer.write(locked)
    with pytest.raises(ReadingError, match="password"):
        read("locked.pdf", locked.getvalue())


def test_epub_chapters_in_their_order(read):
    words = "It was a dark night. " * 20
    book = epub(
        "The Book",
        {"z.xhtml": f"<h1>One</h1><p>{words}</p>", "a.xhtml": f"<h1>Two</h1><p>{words}</p>"},
    )
    assert [piece.title for piece in read("a.epub", book)[0]] == [
        "The Book › One",
        "The Book › Two",
    ]


def test_bombs_in_epub_are_refused_soon(read):
    start = time.monotonic()
    with pytest.raises(ReadingError, match="unpacks to more than 16 MiB"):
        read("bomb.epub", epub("Bomb", {"a.xhtml": b"0" * (64 << 20)}))
    with pytest.raises(ReadingError, match="unpacks to more than"):
        read("b.epub", epub("Bomb", {f"{n}.xhtml": b"<p>" + b"0" * (15 << 20) for n in range(10)}))
    with pytest.raises(ReadingError, match="sound EPUB"):
        read("c.epub", b"PK\x03\x04 and so on")
    assert time.monotonic() < start + 30


def test_entities_of_xml_lead_nowhere(read, tmp_path):
    (tmp_path / "key").write_text("SECRET")
    laughs = '<!ENTITY a "ha">' + "".join(
        f'<!ENTITY {b} "{("&" + a + ";") * 10}">'
        for a, b in zip("abcdefghi", "bcdefghij", strict=True)
    )
    for entity in (f'<!ENTITY j SYSTEM "file://{tmp_path}/key">', laughs):
        page = (
            f"<?xml version='1.0'?><!DOCTYPE html [{entity}]><html><body><p>x&j;y</p></body></html>"
        )
        assert "SECRET" not in text_of(read("a.xhtml", page))
        book = epub("T&j;</dc:title><!--", {"a.xhtml": page.encode()})
        with contextlib.suppress(ReadingError):
            assert "SECRET" not in text_of(read("a.epub", book))


def test_a_bomb_in_a_pdf_ends_no_one(read):
    bomb = zlib.compress(b"(a) Tj " * (30 << 20), 9)
    page = re.sub(
        rb"<< /Length \d+ >>\nstream\n",
        lambda _: b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\n" % (len(bomb), bomb),
        pdf(["x"]),
    )
    assert len(page) > len(bomb)
    with pytest.raises(ReadingError):
        read("bomb.pdf", page)
    assert text_of(read("a.txt", "still here")) == "still here"


def test_depth_takes_no_one_down(read):
    deep = "<div>" * 200_000 + "deep" + "</div>" * 200_000
    with contextlib.suppress(ReadingError):  # to refuse it is as well
        read("deep.html", "<p>before</p>" + deep)
    with contextlib.suppress(ReadingError):
        read("deep.md", ">" * 20_000 + " a\n" + "[" * 20_000)
    assert text_of(read("a.txt", "still here")) == "still here"


def test_what_takes_too_long_is_ended(tmp_path):
    reader = Reader(seconds=0.3)
    path = tmp_path / "long.txt"
    path.write_text("A sentence of words. " * 1_500_000)
    with pytest.raises(ReadingError, match=r"more than 0\.3 s"):
        reader.read(load(path), path)
    path.write_text("Short.")
    assert reader.read(load(path), path)[0][0].text == "Short."
    reader.close()


def test_what_takes_too_much_memory_is_refused():
    child = Child("pocketlm.assistant.documents.worker", memory=32 << 20)
    with pytest.raises(ChildError, match=r"memory|crashed"):
        child.ask({"kind": "text", "name": "a"}, b"word " * 6_000_000)
    assert child.ask({"kind": "text", "name": "a"}, b"word")["passages"] == [["a", "word"]]
    child.close()


def test_a_crash_is_told_of_and_survived(reader, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("hello")
    reader.read(load(path), path)
    os.kill(reader._child._process.pid, signal.SIGSEGV)
    with pytest.raises(ReadingError, match="crashed"):
        reader.read(load(path), path)
    assert reader.read(load(path), path)[0][0].text == "hello"


def test_only_regular_files_of_a_size_are_opened(tmp_path):
    (tmp_path / "real.txt").write_text("x")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "picture.txt").write_bytes(b"\x89PNG\r\n\0\0")
    with (tmp_path / "huge.txt").open("wb") as file:
        file.truncate(1 << 40)
    for name, error, reason in (
        ("link.txt", ReadingError, "links"),
        ("pipe.txt", NotTextError, "regular"),
        ("picture.txt", NotTextError, "no text"),
        ("huge.txt", ReadingError, "no text|at most"),
        ("none.txt", ReadingError, "No such file"),
    ):
        with pytest.raises(error, match=reason):
            load(tmp_path / name)


def test_a_file_of_many_kinds_of_damage_is_refused_or_read(reader, tmp_path):
    """Whatever the bytes, an answer or a refusal comes."""
    import random

    draw = random.Random(0)
    seeds = {
        "a.pdf": pdf(["one", "two"], "T"),
        "a.epub": epub("T", {"a.xhtml": "<h1>x</h1><p>y</p>"}),
        "a.html": b"<html><p>a<table><tr><td>b</html>",
        "a.md": b"# a\n\n- b\n  - c\n\n| a | b |\n|---|---|\n| c | d |\n",
        "a.py": b"def a():\n    pass\n\nclass B:\n    x = 1\n",
    }
    for name, data in seeds.items():
        path = tmp_path / name
        for _ in range(40):
            broken = bytearray(data)
            for _ in range(draw.randint(1, 12)):
                broken[draw.randrange(len(broken))] = draw.randrange(256)
            path.write_bytes(broken[: draw.randint(1, len(broken))])
            with contextlib.suppress(ReadingError):
                pieces, notes = reader.read(load(path), path)
                assert all(piece.text.strip() for piece in pieces)
                assert all("\n" not in note for note in notes)


def test_sentences():
    assert sentences('He left. "Why?" she asked. It was 3.5 m. 潮汐。月亮。') == [
        "He left.",
        '"Why?" she asked.',
        "It was 3.5 m.",
        "潮汐。",
        "月亮。",
    ]


def test_passages_hold_everything_and_are_neither_long_nor_tiny():
    text = " ".join(
        f"This is sentence number {n} of a long text about nothing." for n in range(400)
    )
    document = Document(
        [Block(text), Block("word" * 2000), Block("\n".join("line" for _ in range(900)), (), True)]
    )
    pieces = list(passages(document, "name"))
    joined = " ".join(piece.text for piece in pieces)
    assert all(f"number {n} of" in joined for n in range(400))
    assert "".join(joined.split()).count("line") >= 900
    assert {piece.title for piece in pieces} == {"name"}
    lengths = [len(piece.text) for piece in pieces]
    assert max(lengths) < 1600
    assert min(lengths) > 250
    # The last sentence of one begins the next.
    assert pieces[1].text.startswith(sentences(pieces[0].text)[-1])
