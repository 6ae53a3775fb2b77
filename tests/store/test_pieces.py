"""Digests of a file's pieces: right, kept, and computed again when the file is another."""

import hashlib
import json
import os

import pytest

from pocketlm.errors import StoreError
from pocketlm.store.pieces import PIECE_BYTES, pieces_of


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a file.gguf"
    path.write_bytes(os.urandom(1024) * (PIECE_BYTES // 512) + b"end")  # two pieces, three bytes
    return path


def read_by(act):
    """How often a file is read while it is asked for its pieces."""
    seen = []
    return act(lambda *about: seen.append(about)), seen


def test_each_piece_and_the_whole_have_their_digest(file, tmp_path):
    found, seen = read_by(lambda note: pieces_of(file, tmp_path / "home", note))
    data = file.read_bytes()
    assert found.bytes == len(data)
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    parts = [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)]
    assert len(parts) == 3
    assert found.pieces == tuple(hashlib.sha256(part).hexdigest() for part in parts)
    assert seen[-1] == (file.name, len(data), len(data))


def test_they_are_computed_once(file, tmp_path):
    first = pieces_of(file, tmp_path)
    again, seen = read_by(lambda note: pieces_of(file, tmp_path, note))
    assert again == first
    assert seen == []


def test_another_file_in_the_same_place_is_read(file, tmp_path):
    first = pieces_of(file, tmp_path)
    file.write_bytes(file.read_bytes()[::-1])
    os.utime(file, ns=(1, 1))
    second = pieces_of(file, tmp_path)
    assert second.bytes == first.bytes
    assert second.sha256 != first.sha256
    assert second.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "damage",
    [
        lambda kept: b"",
        lambda kept: b"[" * 100_000,
        lambda kept: json.dumps({**kept, "pieces": kept["pieces"][1:]}).encode(),
        lambda kept: json.dumps({**kept, "sha256": "../../etc"}).encode(),
        lambda kept: json.dumps({**kept, "piece_bytes": 1}).encode(),
        lambda kept: json.dumps({**kept, "pieces": 7}).encode(),
    ],
)
def test_what_is_kept_and_damaged_is_computed_again(file, tmp_path, damage):
    first = pieces_of(file, tmp_path)
    (kept,) = (tmp_path / "pieces").iterdir()
    kept.write_bytes(damage(json.loads(kept.read_bytes())))
    assert pieces_of(file, tmp_path) == first
    assert read_by(lambda note: pieces_of(file, tmp_path, note))[1] == []  # and kept anew


def test_where_nothing_can_be_kept_it_works_all_the_same(file, tmp_path):
    (tmp_path / "home").write_text("not a folder")
    assert pieces_of(file, tmp_path / "home").bytes == file.stat().st_size


def test_no_file_is_an_error_in_words(tmp_path):
    with pytest.raises(StoreError, match="cannot be read"):
        pieces_of(tmp_path / "none", tmp_path)
