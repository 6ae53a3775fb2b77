"""The corpus is what is on the machine: the same bytes each time; what is no text is counted."""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path

import pytest

from pocketlm.recipe.demo import corpus, sources
from pocketlm.recipe.demo.licences import is_free
from pocketlm.recipe.demo.sources import Candidate, UnreadableError, read_text

PROSE = "A lever is a bar that turns around a fixed point, and it moves a load with little force. "


def candidates(folder: Path) -> list[Candidate]:
    """Texts and pages, and files that are none."""
    found = []
    for number in range(60):
        for kind in ("text", "page"):
            path = folder / f"{kind}-{number}"
            path.write_text(f"Number {number} of {kind}.\n" + PROSE * (3 + number % 7))
            found.append((kind, path))
    (folder / "latin").write_bytes("é".encode("latin-1") * 300)
    (folder / "binary").write_bytes(b"\0" * 300)
    (folder / "tiny").write_text("short")
    found += [("text", folder / name) for name in ("latin", "binary", "tiny", "missing")]
    whole = sources._whole
    return [
        Candidate(kind, str(path), "LICENCE", functools.partial(whole, path))
        for kind, path in found
    ]


def collected(out: Path, monkeypatch: pytest.MonkeyPatch, folder: Path, megabytes: float) -> Path:
    monkeypatch.setattr(corpus, "candidates", lambda: iter(candidates(folder)))
    return corpus.collect(out, megabytes=megabytes, seed=3, tell=lambda _: None)


def documents(folder: Path) -> list[dict[str, object]]:
    return [
        json.loads(line)
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text("utf-8").splitlines()
    ]


def test_the_same_bytes_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    one = collected(tmp_path / "one", monkeypatch, tmp_path / "in", 0.02)
    other = collected(tmp_path / "other", monkeypatch, tmp_path / "in", 0.02)
    files = sorted(path.name for path in one.iterdir())
    assert files == sorted(path.name for path in other.iterdir())
    assert all((one / name).read_bytes() == (other / name).read_bytes() for name in files)


def test_as_much_as_is_asked_for_by_shares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    found = documents(collected(tmp_path / "out", monkeypatch, tmp_path / "in", 0.03))
    sizes = {"page": 0, "text": 0}
    for doc in found:
        sizes[str(doc["kind"])] += len(str(doc["text"]))
        assert doc["html"] == (doc["kind"] == "page")
        assert doc["licence"] == "LICENCE"
    assert 30_000 <= sum(sizes.values()) < 31_000
    wanted = corpus.SHARES["page"] / corpus.SHARES["text"]
    assert sizes["page"] / sizes["text"] == pytest.approx(wanted, rel=0.15)


def test_what_runs_out_leaves_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    out = collected(tmp_path / "out", monkeypatch, tmp_path / "in", 100)
    about = json.loads((out / corpus.ABOUT).read_text())
    assert about["kinds"]["page"]["documents"] == about["kinds"]["text"]["documents"] == 60
    assert about["kinds"]["manual"] == {"candidates": 0}
    assert about["skipped"] == {"no UTF-8": 1, "no text": 1, "short": 1, "unreadable": 1}


def test_this_machine_has_some(tmp_path: Path) -> None:
    if not Path("/usr/share/doc").is_dir():
        pytest.skip("a machine without Debian's documentation")
    out = corpus.collect(tmp_path / "out", megabytes=0.5, seed=1, tell=lambda _: None)
    found = documents(out)
    assert sum(len(str(doc["text"]).encode()) for doc in found) >= 500_000
    assert {"library", "docstrings", "licence"} <= {str(doc["kind"]) for doc in found}
    assert len({str(doc["id"]) for doc in found}) == len(found)
    assert all(Path(str(doc["licence"])).exists() for doc in found)


def test_one_of_twenty_is_held_back() -> None:
    held = sum(
        corpus.held_back(f"text/usr/share/doc/{number}~{number:016x}") for number in range(20_000)
    )
    assert 900 < held < 1_100


def test_copies_stay_on_one_side() -> None:
    lines = [
        f"line {number} of a text that is there twice, with a few changes" for number in range(40)
    ]
    same = 0
    for number in range(200):
        text = [f"{line} in document {number}" for line in lines]
        changed = [*text[:20], "another line in the middle of this document", *text[21:]]
        same += corpus._lowest("\n".join(text)) == corpus._lowest("\n".join(changed))
    assert same > 170
    assert corpus.held_back("a~0123") == corpus.held_back("another/path~0123")


def test_files_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(PROSE.encode())[:-9])
    with pytest.raises(UnreadableError, match="unreadable"):
        read_text(path)
    path.write_bytes(gzip.compress(b" " * (sources.LARGEST + 1)))
    with pytest.raises(UnreadableError, match="huge"):
        read_text(path)
    path.write_bytes(gzip.compress("naïve".encode()))
    assert read_text(path) == "naïve"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/usr/share/man/man1/ls.1.gz", "manual"),
        ("/usr/share/man/de/man1/ls.1.gz", "foreign"),
        ("/usr/share/doc/bash/README.gz", "text"),
        ("/usr/share/doc/bash/copyright", "licence"),
        ("/usr/share/doc/bash/changelog.Debian.gz", "changes"),
        ("/usr/share/doc/nodejs/api/fs.html", "page"),
        ("/usr/share/info/sed.info.gz", "info"),
        ("/usr/share/doc/bash/examples/x.sh", "code"),
        ("/usr/share/cmake/Modules/CMakeLists.txt", None),
        ("/usr/bin/ls", None),
    ],
)
def test_kinds_by_path(path: str, kind: str | None) -> None:
    assert sources._kind_of_path(path) == kind


def test_docstrings(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    long = (PROSE * 8).strip()
    path.write_text(
        f'"""{long}"""\ndef f(a, b):\n    """{PROSE * 3}"""\n\nclass C:\n    """{long}"""\n'
    )
    found = dict(sources._docstrings(path))
    assert found[""] == long
    assert found["C:5"].startswith("class C\n\nA lever")
    assert found["short"].startswith("f(a, b)\n\nA lever")
    path.write_text('"""')
    with pytest.raises(UnreadableError):
        list(sources._docstrings(path))


def test_free_licences() -> None:
    assert is_free("License: GPL-2+")
    assert is_free("Permission is hereby granted, free of charge, to any person")
    assert is_free("OSI Approved :: BSD License")
    assert not is_free("All rights reserved.")
    assert not is_free("End User License Agreement. Parts under the MIT licence.")
    assert not is_free("CC-BY-NC-4.0")
