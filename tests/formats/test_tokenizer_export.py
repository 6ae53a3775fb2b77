"""Tokenizers in the other form: a hub folder as keys of GGUF, those keys as tokenizer.json."""

import json
from pathlib import Path

import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

import tokenizer_references as references
from pocketlm.errors import ModelFileError, UnsupportedError
from pocketlm.formats import tokenizer_pre
from pocketlm.formats.checkpoint import map_file
from pocketlm.formats.gguf import read_gguf
from pocketlm.formats.gguf_keys import losses, tokenizer_keys
from pocketlm.formats.gguf_writer import GGUFWriter
from pocketlm.formats.tokenizer import Tokenizer, from_folder, from_gguf
from pocketlm.formats.tokenizer_folder import read_folder
from pocketlm.formats.tokenizer_gguf import read_gguf as read_vocabulary
from pocketlm.formats.tokenizer_json import tokenizer_config, tokenizer_json


@pytest.fixture(scope="module")
def phi_3_path(test_data: Path) -> Path:
    return test_data / "tokenizer" / "ggml-vocab-phi-3.gguf"


def texts(test_data: Path) -> list[str]:
    flores = sorted((test_data / "flores_dev").iterdir())
    return [line for file in flores for line in file.read_text("utf-8").splitlines()[:20]]


def same(first: Tokenizer, encode, pieces: list[str], corpus: list[str]) -> None:
    """Check ids of real texts, and of control tokens between odd ones."""
    for text in corpus:
        assert encode(text) == first.encode(text)

    odd = [*pieces, " ", "\n", "\n\n ", "Hi", " there  is", "é", "🦙", "12", "\t", "<|", "▁"]

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.sampled_from(odd), max_size=12).map("".join))
    def check(text: str) -> None:
        assert encode(text) == first.encode(text, special=True)

    check()


@pytest.mark.parametrize("name", ["phi_3_path", "smollm2"])
def test_gguf_to_folder(name: str, request, tmp_path: Path, test_data: Path) -> None:
    metadata = read_gguf(map_file(request.getfixturevalue(name))).metadata
    ours = from_gguf(metadata)
    vocabulary = read_vocabulary(metadata)
    written = json.dumps(tokenizer_json(vocabulary), ensure_ascii=False)
    (tmp_path / "tokenizer.json").write_text(written, "utf-8")
    config = tokenizer_config(vocabulary, 4096, None)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    library = transformers.AutoTokenizer.from_pretrained(tmp_path)
    corpus, pieces = texts(test_data), [*ours.control]

    def without_bos(text: str) -> list[int]:
        ids = library(text)["input_ids"]
        assert not ours.add_bos or ids[0] == ours.bos_id
        return ids[ours.add_bos :]

    same(ours, without_bos, pieces, corpus)
    for text in corpus:
        assert library.decode(library(text)["input_ids"], skip_special_tokens=True) == text
    again = from_folder(tmp_path)
    same(ours, lambda text: again.encode(text, special=True), pieces, corpus)
    assert again.control == ours.control
    for field in ("add_bos", "bos_id", "eos_id", "pad_id", "unk_id"):
        assert getattr(again, field) == getattr(ours, field)


def through_gguf(folder: Path, path: Path, rows: int) -> tuple[Tokenizer, Tokenizer]:
    vocabulary = read_folder(folder)
    assert losses(vocabulary) == []
    with GGUFWriter(path, tokenizer_keys(vocabulary, rows, [vocabulary.eos_id, 5]), []):
        pass
    return from_folder(folder), from_gguf(read_gguf(map_file(path)).metadata)


@pytest.mark.parametrize("form", ["phi-3 json", "llama model", "smollm2 json"])
def test_folder_to_gguf(
    form: str, phi_3_path: Path, smollm2: Path, tmp_path: Path, test_data: Path
) -> None:
    vocab = references.Vocab(smollm2 if "smollm2" in form else phi_3_path)
    config = {"bos_token": vocab.tokens[1], "eos_token": vocab.tokens[2]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    if form == "llama model":
        (tmp_path / "tokenizer.model").write_bytes(references.model_proto(vocab))
    else:
        make = references.phi_3_json if "phi" in form else references.smollm2_json
        (tmp_path / "tokenizer.json").write_text(json.dumps(make(vocab)))
    rows = len(vocab.tokens)
    first, second = through_gguf(tmp_path, tmp_path / "x.gguf", rows)
    assert second.vocab_size == rows
    assert second.control == first.control
    assert (second.add_bos, second.bos_id, second.eos_id) == (first.add_bos, 1, 2)
    assert 5 in second.eot_ids
    encode = second.encode
    same(first, lambda text: encode(text, special=True), [*first.control], texts(test_data))
    if form != "smollm2 json":
        # What is made by merging is ordered by the scores as it was.
        made = [id for id in range(259, 32000) if len(vocab.tokens[id]) > 1]
        written = read_gguf(map_file(tmp_path / "x.gguf")).metadata["tokenizer.ggml.scores"]
        assert sorted(made, key=lambda id: -written[id]) == sorted(
            made, key=lambda id: -vocab.scores[id]
        )


def test_what_gguf_cannot_say_is_refused(phi_3_path: Path, smollm2: Path) -> None:
    smollm = read_vocabulary(read_gguf(map_file(smollm2)).metadata)
    with pytest.raises(ModelFileError, match="49152 tokens, the embedding 100 rows"):
        tokenizer_keys(smollm, 100, [])
    smollm.ignore_merges = True
    with pytest.raises(UnsupportedError, match="no name for how this tokenizer cuts text"):
        tokenizer_keys(smollm, 49152, [])
    metadata = read_gguf(map_file(phi_3_path)).metadata
    phi = read_vocabulary(metadata)
    # One way to make a token comes long after another: no score says that.
    ways = zip(phi.merges, phi.merges[1:], strict=False)
    index = next(i for i, (a, b) in enumerate(ways) if "".join(a) == "".join(b))
    phi.merges.append(phi.merges.pop(index))
    with pytest.raises(UnsupportedError, match="merges do not follow from an order"):
        tokenizer_keys(phi, 32064, [])
    phi = read_vocabulary(metadata)
    phi.normalizer = {"type": "NFKC"}
    with pytest.raises(UnsupportedError, match="it prepares text by NFKC"):
        tokenizer_keys(phi, 32064, [])
    phi = read_vocabulary(metadata)
    phi.prefix = "first"
    assert "no space before a text" in losses(phi)[0]


@pytest.mark.parametrize("name", tokenizer_pre._BY_NAME)
def test_every_pre_tokenizer_has_a_name(name: str) -> None:
    known = tokenizer_pre.pre_tokenizer(name)
    found = tokenizer_pre.name_of(known.pre_tokenizer, known.normalizer, known.ignore_merges)
    again = tokenizer_pre.pre_tokenizer(found)
    assert (again.pre_tokenizer, again.normalizer) == (known.pre_tokenizer, known.normalizer)
