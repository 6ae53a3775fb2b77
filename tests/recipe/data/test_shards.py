"""Token shards: what is written is read back; what is not whole is refused with words."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlm.errors import ParameterError
from pocketlm.recipe.data.shards import Shards, ShardsError, dtype_of, seal, texts, write_part

END = 0


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    words = {"<end>": END, "water": 1, "falls": 2, "slowly": 3}
    made = Tokenizer(WordLevel(words, unk_token="<end>"))
    made.pre_tokenizer = Whitespace()
    path = tmp_path / "made.json"
    made.save(str(path))
    return path


def _write(folder: Path, tokenizer: Path, parts: list[list[list[int]]], vocabulary: int) -> Shards:
    folder.mkdir(exist_ok=True)
    written = [
        write_part(folder, f"{number:05d}", documents, vocabulary=vocabulary, end=END)
        for number, documents in enumerate(parts)
    ]
    seal(folder, written, tokenizer=tokenizer, vocabulary=vocabulary, end=END, source="test")
    return Shards(folder)


@settings(max_examples=30, deadline=None)
@given(
    parts=st.lists(
        st.lists(st.lists(st.integers(0, 69_999), max_size=9), max_size=4), min_size=1, max_size=3
    )
)
def test_documents_come_back(
    parts: list[list[list[int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    (folder / "made.json").write_text("{}")
    documents = [ids for part in parts for ids in part if ids]
    if not documents:
        with pytest.raises(ShardsError, match="no document was left"):
            _write(folder, folder / "made.json", parts, 70_000)
        return
    shards = _write(folder, folder / "made.json", parts, 70_000)
    assert [shards.document(i).tolist() for i in range(shards.documents)] == [
        [*ids, END] for ids in documents
    ]
    flat = [token for ids in documents for token in (*ids, END)]
    assert shards.tokens == len(flat)
    assert shards.read(0, len(flat)).tolist() == flat
    middle = len(flat) // 2
    assert shards.read(middle // 2, middle).tolist() == flat[middle // 2 : middle]
    shards.verify()


def test_small_vocabularies_take_two_bytes(tmp_path: Path, tokenizer: Path) -> None:
    shards = _write(tmp_path / "s", tokenizer, [[[1, 2], [3]]], 4)
    assert shards.read(0, 5).dtype == np.uint16
    assert (tmp_path / "s/00000.bin").stat().st_size == 10
    assert (dtype_of(65_536), dtype_of(65_537)) == ("uint16", "uint32")
    assert list(texts(shards)) == ["water falls", "slowly"]


@pytest.mark.parametrize("ids", [[4], [-1]])
def test_an_id_outside_the_vocabulary_is_refused(tmp_path: Path, ids: list[int]) -> None:
    with pytest.raises(ParameterError, match="outside the vocabulary"):
        write_part(tmp_path, "00000", [ids], vocabulary=4, end=END)
    assert not list(tmp_path.iterdir())


def _cut(folder: Path) -> None:
    path = folder / "00000.bin"
    path.write_bytes(path.read_bytes()[:-1])


def _lose_offsets(folder: Path) -> None:
    (folder / "00000.offsets").unlink()


def _mix_offsets(folder: Path) -> None:
    np.array([0, 5, 5], "<i8").tofile(folder / "00000.offsets")


def _miscount(folder: Path) -> None:
    path = folder / "shards.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, "tokens": 6}))


def _mistype(folder: Path) -> None:
    path = folder / "shards.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, "dtype": "object"}))


def _climb(folder: Path) -> None:
    path = folder / "shards.json"
    found = json.loads(path.read_text())
    found["parts"][0]["name"] = "../00000"
    path.write_text(json.dumps(found))


def _lose_description(folder: Path) -> None:
    (folder / "shards.json").unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_cut, r"00000\.bin: damaged: 9 bytes instead of 10"),
        (_lose_offsets, r"00000\.offsets: cannot be read"),
        (_mix_offsets, r"00000\.offsets: damaged: documents overlap"),
        (_miscount, "6 tokens, its parts have"),
        (_mistype, "damaged: dtype"),
        (_climb, "damaged: parts.0.name"),
        (_lose_description, "no token shards here"),
    ],
)
def test_damage_is_said_on_opening(tmp_path: Path, tokenizer: Path, damage, words: str) -> None:
    _write(tmp_path / "s", tokenizer, [[[1, 2], [3]]], 4)
    damage(tmp_path / "s")
    with pytest.raises(ShardsError, match=words):
        Shards(tmp_path / "s")


def test_damage_within_is_found_by_verifying(tmp_path: Path, tokenizer: Path) -> None:
    shards = _write(tmp_path / "s", tokenizer, [[[1, 2], [3]]], 4)
    path = tmp_path / "s/00000.bin"
    path.write_bytes(b"\x02" + path.read_bytes()[1:])
    with pytest.raises(ShardsError, match="SHA-256"):
        shards.verify()
    (tmp_path / "s/tokenizer.json").write_text("{}")
    with pytest.raises(ShardsError, match="not the tokenizer"):
        shards.verify()
