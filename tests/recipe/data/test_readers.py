"""Sources are read whatever is in them; what is no document is counted with a reason."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from datatrove.data import Document
from pydantic import TypeAdapter
from tests.recipe.data.pages import BREAD, GERMAN, WATER, page, warc

from pocketlm.errors import ParameterError
from pocketlm.recipe.data import recipe
from pocketlm.recipe.data.readers import Sources

HTML = "text/html; charset=utf-8"


class Refused:
    def __init__(self) -> None:
        self.reasons: list[str] = []

    def write(self, doc: Document, rank: int = 0) -> None:
        self.reasons.append(doc.metadata["filter_reason"])


def read(kind: str, path: Path, **more: object) -> tuple[list[Document], list[str]]:
    """All documents of a source, and the reasons of what was refused."""
    source: recipe.Source = TypeAdapter(recipe.Source).validate_python(
        {"kind": kind, "path": path, **more}
    )
    sources = Sources([source])
    sources.exclusion_writer = refused = Refused()
    return list(sources.run()), refused.reasons


@pytest.mark.parametrize("packed", [True, False])
def test_pages_of_a_warc(tmp_path: Path, packed: bool) -> None:
    pages = [
        ("http://a.test/water", page("Water", WATER).encode(), HTML),
        ("http://a.test/logo.png", b"\x89PNG\r\n\x1a\n\0\0", "image/png"),
        ("http://a.test/bread", page("Bread", BREAD).encode(), HTML),
    ]
    warc(tmp_path / "a.warc.gz", pages, gzip=packed)
    documents, refused = read("warc", tmp_path)
    assert [doc.metadata["url"] for doc in documents] == [pages[0][0], pages[2][0]]
    assert documents[0].text == page("Water", WATER)
    assert refused == ["not a page"]


@pytest.mark.parametrize("packed", [True, False])
def test_after_a_broken_record_the_next_is_found(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "a.warc.gz"
    pages = [(f"http://a.test/{n}", page(f"{n}", WATER).encode(), HTML) for n in range(4)]
    starts = warc(path, pages, gzip=packed)
    data = bytearray(path.read_bytes())
    hurt = slice(starts[1] + 12, starts[1] + 60)  # in the second record's header
    data[hurt] = bytes(len(data[hurt]))
    path.write_bytes(data)
    documents, refused = read("warc", path)
    assert {doc.metadata["url"] for doc in documents} >= {pages[0][0], pages[2][0], pages[3][0]}
    assert "broken record" in refused


def test_a_warc_that_is_cut_gives_what_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    pages = [(f"http://a.test/{n}", page(f"{n}", WATER).encode(), HTML) for n in range(3)]
    starts = warc(path, pages)
    path.write_bytes(path.read_bytes()[: starts[2] + 40])
    documents, _ = read("warc", path)
    assert [doc.metadata["url"] for doc in documents] == [pages[0][0], pages[1][0]]


def test_no_warc_at_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.warc.gz").write_bytes(b"this is no archive\n" * 100)
    (tmp_path / "b.warc.gz").write_bytes(b"")
    documents, refused = read("warc", tmp_path)
    assert not documents
    assert set(refused) == {"broken record"}


def test_encodings(tmp_path: Path) -> None:
    german = page("Kochen", GERMAN, "iso-8859-1")
    (tmp_path / "1-meta.html").write_bytes(german.encode("latin-1"))
    (tmp_path / "2-mark.html").write_bytes(german.encode("utf-16"))
    guess = "".join(f"<p>{text}</p>" for text in GERMAN)
    (tmp_path / "3-guess.html").write_bytes(guess.encode("cp1252"))
    liar = page("Kochen", GERMAN, "ascii-7-bit-of-nowhere").replace("groß", "gro\x81\x8d\x8f")
    (tmp_path / "4-wrong.html").write_bytes(
        liar.replace("ascii-7-bit-of-nowhere", "euc-jp").encode("latin-1")
    )
    (tmp_path / "5-binary.html").write_bytes(b"\x7fELF\0\0\1")
    documents, refused = read("html", tmp_path)
    assert ["so groß ist" in doc.text for doc in documents] == [True, True, True]
    assert refused == ["wrong encoding", "not text"]


def test_lines_that_are_no_documents_are_counted(tmp_path: Path) -> None:
    rows = [
        json.dumps({"text": "sound", "url": "http://a.test"}).encode(),
        b"{no json",
        b'{"text": "\xff\xfe"}',
        json.dumps({"body": "other"}).encode(),
        json.dumps(["a list"]).encode(),
        json.dumps({"text": "  "}).encode(),
        json.dumps({"text": 3}).encode(),
        b"",
        b'{"text": "half \\ud800 pair"}',
    ]
    with gzip.open(tmp_path / "a.jsonl.gz", "wb") as file:
        file.write(b"\n".join(rows))
    documents, refused = read("jsonl", tmp_path)
    assert [doc.text for doc in documents] == ["sound", "half ? pair"]
    assert documents[0].metadata == {"url": "http://a.test"}
    assert refused == ["no JSON", "wrong encoding", "no text", "no text", "empty", "no text"]


def test_a_broken_file_does_not_end_the_others(tmp_path: Path) -> None:
    good = b"".join(json.dumps({"text": f"line {n} " * 200}).encode() + b"\n" for n in range(500))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(good)[:-2000])
    (tmp_path / "b.jsonl.gz").write_bytes(b"not packed")
    (tmp_path / "c.jsonl").write_bytes(b'{"text": "last"}\n')
    (tmp_path / "d.jsonl").write_bytes(b"")
    documents, refused = read("jsonl", tmp_path)
    assert documents[-1].text == "last"
    assert refused == ["broken compression", "broken compression"]


def test_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"content": ["one", "", None], "url": ["http://a.test", None, None]})
    pq.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 but not really")
    documents, refused = read("parquet", tmp_path, text="content")
    assert [(doc.id, doc.text) for doc in documents] == [("0/a.parquet/1", "one")]
    assert refused == ["empty", "no content", "broken Parquet"]


def test_a_set_of_the_hub(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "first"}\n{"text": "second"}\n')
    sources = Sources([recipe.Hub(kind="hub", name=str(tmp_path))])
    assert [doc.text for doc in sources.run()] == ["first", "second"]


def test_files_are_dealt_out_once(tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / f"{number}.txt").write_text(f"text {number}")
    source = recipe.Text(kind="text", path=tmp_path)
    dealt = [[doc.text for doc in Sources([source]).run(None, rank, 3)] for rank in range(3)]
    assert sorted(text for part in dealt for text in part) == [f"text {n}" for n in range(7)]
    assert all(dealt)


def test_a_source_without_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"sources\.1: .* has no file that is \.warc"):
        Sources([recipe.Warc(kind="warc", path=tmp_path)])
