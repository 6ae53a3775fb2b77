"""Tokenizers of GGUF files and hub folders: ids against SentencePiece and `tokenizers`."""

import json
import resource
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tokenizer_references as references
from pocketlm.errors import Error, ModelFileError, ParameterError, UnsupportedError
from pocketlm.formats.gguf import read_gguf
from pocketlm.formats.tokenizer import Tokenizer, from_folder, from_gguf

MARK = "\n__ggml_vocab_test__\n"

# Characters of every plane, and those that tokenizers treat apart.
ODD = st.text(st.sampled_from(" \t\n\r\x00\x1c\xa0\u3000▁Ġ<|>aé你🦙👨‍👩‍👧1٣'s"), max_size=40)
# SmolLM2 has no token for these bytes (six control characters, and the planes 4 to 11, where there
# are no characters); the original tokenizer leaves them out.
MISSING = {0x04, 0x06, 0x13, 0x14, 0x16, 0x1D, 0xF1, 0xF2}
KNOWN = st.characters(exclude_categories=["Cs"]).filter(lambda c: not MISSING & set(c.encode()))
TEXT = st.one_of(st.text(KNOWN, max_size=60), ODD)


@pytest.fixture(scope="module")
def phi_3_path(test_data: Path) -> Path:
    return test_data / "tokenizer" / "ggml-vocab-phi-3.gguf"


@pytest.fixture(scope="module")
def phi_3_vocab(phi_3_path: Path) -> references.Vocab:
    return references.Vocab(phi_3_path)


@pytest.fixture(scope="module")
def smollm2_vocab(smollm2: Path) -> references.Vocab:
    return references.Vocab(smollm2)


def metadata(path: Path) -> dict:
    return read_gguf(path.read_bytes()).metadata


@pytest.fixture(scope="module")
def phi_3(phi_3_path: Path) -> Tokenizer:
    return from_gguf(metadata(phi_3_path))


@pytest.fixture(scope="module")
def smollm(smollm2: Path) -> Tokenizer:
    return from_gguf(metadata(smollm2))


def cases(path: Path) -> list[tuple[str, list[int]]]:
    with open(f"{path}.inp", newline="", encoding="utf-8") as file:
        inputs = file.read().split(MARK)[:-1]
    outputs = Path(f"{path}.out").read_text().splitlines()
    return [(text, list(map(int, ids.split()))) for text, ids in zip(inputs, outputs, strict=True)]


def test_vectors(phi_3: Tokenizer, phi_3_path: Path) -> None:
    vectors = cases(phi_3_path)
    assert len(vectors) == 46
    for text, ids in vectors:
        assert phi_3.encode(text) == ids
        assert phi_3.decode(ids) == text


def test_what_the_files_say(phi_3: Tokenizer, smollm: Tokenizer) -> None:
    assert (phi_3.vocab_size, phi_3.bos_id, phi_3.eos_id, phi_3.pad_id) == (32064, 1, 32000, 32000)
    assert phi_3.add_bos
    assert phi_3.unused == frozenset(range(32011, 32064))
    assert phi_3.control["</s>"] == 2  # USER_DEFINED in the file, and yet it steers
    assert phi_3.eot_ids == {2, 32000, 32007}
    assert (smollm.vocab_size, smollm.bos_id, smollm.eos_id) == (49152, 1, 2)
    assert not smollm.add_bos
    assert smollm.eot_ids == {0, 2}
    assert smollm.unused == frozenset()
    assert phi_3.fingerprint != smollm.fingerprint


def corpus(test_data: Path) -> list[str]:
    flores = sorted((test_data / "flores_dev").iterdir())
    lines = [line for file in flores for line in file.read_text("utf-8").splitlines()[:40]]
    wiki = (test_data / "text" / "wikitext2_train_5k.txt").read_text("utf-8")
    return [*lines, wiki[:60_000]]


def test_phi_3_is_sentencepiece(phi_3, phi_3_vocab, test_data) -> None:
    reference = references.sentencepiece_reference(phi_3_vocab)
    for text in corpus(test_data):
        assert phi_3.encode(text) == reference.encode(text)
        assert phi_3.decode(reference.encode(text)) == text


def test_smollm2_is_the_librarys(smollm, smollm2_vocab, test_data) -> None:
    reference = references.fast(references.smollm2_json(smollm2_vocab))
    for text in corpus(test_data):
        ids = reference.encode(text).ids
        assert smollm.encode(text) == ids
        assert smollm.decode(ids) == text


@pytest.mark.parametrize("name", ["phi_3", "smollm"])
def test_round_trip(name: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(name)

    @settings(max_examples=400, deadline=None)
    @given(TEXT)
    def check(text: str) -> None:
        ids = tokenizer.encode(text)
        assert not set(ids) & set(tokenizer.control.values())
        # SentencePiece spells a space as U+2581, so it cannot tell the two apart.
        assert tokenizer.decode(ids) == (text.replace("▁", " ") if name == "phi_3" else text)
        assert b"".join(map(tokenizer.token_bytes, ids)).decode().endswith(tokenizer.decode(ids))

    check()


def test_special_tokens_are_the_librarys(phi_3, phi_3_vocab) -> None:
    """Strip flags included, which the GGUF file cannot hold."""
    reference = references.fast(references.phi_3_json(phi_3_vocab))
    pieces = [*phi_3.control, " ", "\n", "\n\n ", "Hi", "Hi there", "é", "\u3000", "\x1c", "<|"]

    @settings(max_examples=400, deadline=None)
    @given(st.lists(st.sampled_from(pieces), max_size=12).map("".join))
    def check(text: str) -> None:
        assert phi_3.encode(text, special=True) == reference.encode(text).ids

    check()
    assert phi_3.encode("<|user|>\n  Hi", special=True) == [32010, 6324]
    assert phi_3.encode("<|endoftext|>\nHi", special=True)[0:2] == [32000, 29871]


def test_runs(phi_3: Tokenizer, smollm: Tokenizer) -> None:
    assert phi_3.encode_run("\n Hi", after=phi_3.control["<|user|>"]) == phi_3.encode("Hi")
    assert phi_3.encode_run("\n ", after=phi_3.control["<|end|>"]) == []
    assert phi_3.encode_run("Hi", after=phi_3.encode("Hi")[-1]) == [phi_3.encode("\nHi")[-1]]
    assert smollm.encode_run("\n Hi", after=1) == smollm.encode("\n Hi")
    assert phi_3.encode("<|user|></s>") != phi_3.encode("<|user|></s>", special=True)


def test_decode_beside_control_tokens(phi_3: Tokenizer) -> None:
    ids = phi_3.encode("<|user|>Hi  you<|end|><|assistant|>Yes", special=True)
    assert phi_3.decode(ids, special=True) == "<|user|>Hi  you<|end|><|assistant|>Yes"
    assert phi_3.decode(ids) == "Hi  youYes"
    time_ = phi_3.encode("a time")[1:]
    assert phi_3.decode(time_) == "time"
    assert phi_3.decode(time_, after=phi_3.encode("a")[0]) == " time"


def test_tokens_that_a_model_writes_as_text() -> None:
    """They are shown when the model writes them, and no content can spell them."""
    fields = {
        **BYTES,
        "tokenizer.ggml.tokens": ["<|end|>", "a", "b", "<tool_call>", "ab"],
        "tokenizer.ggml.token_type": [3, 1, 1, 4, 4],
        "tokenizer.ggml.merges": [],
    }
    tokenizer = from_gguf(fields)
    assert tokenizer.control == {"<|end|>": 0, "<tool_call>": 3}
    assert tokenizer.decode([3, 1, 0, 4]) == "<tool_call>aab"
    assert tokenizer.decode([3, 1, 0, 4], special=True) == "<tool_call>a<|end|>ab"
    assert tokenizer.encode("<tool_call>ab") == [1, 4]  # this vocabulary has no other letters
    assert tokenizer.encode("<tool_call>ab", special=True) == [3, 4]


@pytest.mark.parametrize("name", ["phi_3", "smollm"])
def test_a_stream_never_splits_a_character(name: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(name)
    text = "🦙é👨‍👩‍👧 និ 你好 ok"
    ids = tokenizer.encode(text)
    assert len(ids) > len(text.split())
    stream = tokenizer.stream()
    pieces = [stream.push(id) for id in ids]
    assert "".join(pieces) + stream.flush() == text
    assert "\ufffd" not in "".join(pieces)
    assert pieces.count("") > 3  # bytes were held

    llama = tokenizer.encode("🦙")
    cut = next(n for n in range(1, len(llama)) if tokenizer.decode(llama[:n]).endswith("\ufffd"))
    stream = tokenizer.stream()
    assert not any("\ufffd" in stream.push(id) for id in llama[:cut])
    assert stream.flush() == "\ufffd"
    assert stream.flush() == ""


def test_half_a_surrogate_pair_is_replaced(smollm: Tokenizer) -> None:
    assert smollm.decode(smollm.encode("é\ud800b")) == "é\ufffdb"


def test_ids_outside(smollm: Tokenizer) -> None:
    for id in (-1, smollm.vocab_size, 2**63):
        with pytest.raises(ParameterError, match="not in the vocabulary"):
            smollm.token_bytes(id)
        with pytest.raises(ParameterError):
            smollm.decode([id])


def test_building_is_quick(smollm2: Path, phi_3_path: Path) -> None:
    """Three times what was measured (0.10 and 0.15 s of processor time), as machines differ.

    The best of five, as they are busy at times.
    """
    import tokenizers  # noqa: F401

    for path, seconds in ((smollm2, 0.4), (phi_3_path, 0.5)):
        fields = metadata(path)
        taken = []
        for _ in range(5):
            start = time.process_time()
            from_gguf(fields)
            taken.append(time.process_time() - start)
        assert min(taken) < seconds


def test_patterns_are_those_of_transformers() -> None:
    """As far as transformers knows the names that GGUF gives them."""
    mapping = pytest.importorskip("transformers.integrations.gguf.gguf_tokenizer_mapping")
    from pocketlm.formats.tokenizer_pre import pre_tokenizer

    compared = 0
    for name, pattern in mapping.GGUF_PRE_TOKENIZER_SPLITS.items():
        try:
            ours = pre_tokenizer(name).pre_tokenizer
        except UnsupportedError:
            continue
        assert ours["pretokenizers"][0]["pattern"]["Regex"] == pattern, name
        compared += 1
    assert compared >= 9


# -- folders ---------------------------------------------------------------------------------------


def write(folder: Path, **files: object) -> Path:
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    return folder


CONFIG = {
    "add_bos_token": False,
    "bos_token": "<s>",
    "eos_token": {"content": "<|endoftext|>"},
    "pad_token": "<|endoftext|>",
    "unk_token": "<unk>",
}


def test_tokenizer_json_of_phi_3(phi_3, phi_3_vocab, phi_3_path, tmp_path) -> None:
    file = references.phi_3_json(phi_3_vocab)
    tokenizer = from_folder(write(tmp_path, tokenizer=file, tokenizer_config=CONFIG))
    assert (tokenizer.vocab_size, tokenizer.bos_id, tokenizer.eos_id) == (32011, 1, 32000)
    assert not tokenizer.add_bos
    assert tokenizer.control == phi_3.control
    assert tokenizer.eot_ids == phi_3.eot_ids
    for text, ids in cases(phi_3_path):
        assert tokenizer.encode(text) == ids
    special = "<|user|>\n Hi </s> you<|end|>\n<unk> x"
    assert tokenizer.encode(special, special=True) == references.fast(file).encode(special).ids


def test_strip_flags_of_the_configuration_win(phi_3_vocab, tmp_path) -> None:
    file = references.phi_3_json(phi_3_vocab)
    entry = {"content": "<|user|>", "rstrip": False, "lstrip": True, "special": True}
    config = {**CONFIG, "added_tokens_decoder": {"32010": entry}}
    tokenizer = from_folder(write(tmp_path, tokenizer=file, tokenizer_config=config))
    assert tokenizer.encode("a <|user|>\n", special=True)[1:] == [32010, 29871, 13]


def test_metaspace(phi_3, phi_3_vocab, tmp_path) -> None:
    """The newer form of the hub: a space at the start of a text alone, and not before a space."""
    file = references.phi_3_json(phi_3_vocab)
    file["normalizer"] = None
    file["pre_tokenizer"] = {
        "type": "Metaspace",
        "replacement": "▁",
        "prepend_scheme": "first",
        "split": False,
    }
    for entry in file["added_tokens"]:
        entry["rstrip"] = False
    reference = references.fast(file)
    tokenizer = from_folder(write(tmp_path, tokenizer=file, tokenizer_config=CONFIG))
    for text in ("Hi", " Hi", "  Hi", "<|user|>Hi <|end|> x", "Hi<|user|>\nHi", "<s> a", ""):
        assert tokenizer.encode(text, special=True) == reference.encode(text).ids, text
    assert tokenizer.decode(tokenizer.encode("Hi you")) == "Hi you"


def test_tokenizer_json_of_smollm2(smollm, smollm2_vocab, tmp_path, test_data) -> None:
    file = references.smollm2_json(smollm2_vocab)
    file["post_processor"] = {
        "type": "Sequence",
        "processors": [
            {"type": "ByteLevel"},
            {
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}],
            },
        ],
    }
    config = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    tokenizer = from_folder(write(tmp_path, tokenizer=file, tokenizer_config=config))
    assert tokenizer.add_bos
    assert tokenizer.control == smollm.control
    for text in corpus(test_data)[::20]:
        assert tokenizer.encode(text) == smollm.encode(text)


def test_tokenizer_model(phi_3, phi_3_vocab, phi_3_path, tmp_path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(references.model_proto(phi_3_vocab))
    added = {phi_3_vocab.tokens[id]: id for id in references.PHI_3_ADDED}
    tokenizer = from_folder(write(tmp_path, added_tokens=added, tokenizer_config=CONFIG))
    assert (tokenizer.vocab_size, tokenizer.bos_id, tokenizer.eos_id) == (32011, 1, 32000)
    for text, ids in cases(phi_3_path):
        assert tokenizer.encode(text) == ids
    special = "<|user|>\n Hi<|end|>\n"
    assert tokenizer.encode(special, special=True) == phi_3.encode(special, special=True)


@pytest.mark.parametrize(
    ("change", "error", "word"),
    [
        ({"model_type": 1}, UnsupportedError, "unigram"),
        ({"extra_spaces": 1}, UnsupportedError, "extra spaces"),
    ],
)
def test_other_models_are_refused_by_name(change, error, word, phi_3_vocab, tmp_path) -> None:
    proto = references.model_proto(phi_3_vocab, 400, **change)
    (tmp_path / "tokenizer.model").write_bytes(proto)
    with pytest.raises(error, match=word):
        from_folder(tmp_path)


def test_a_damaged_tokenizer_model(phi_3_vocab, tmp_path) -> None:
    proto = references.model_proto(phi_3_vocab, 400)
    for data in (proto[:-3], b"\x0b" + proto, b"\xff" * 11, b""):
        (tmp_path / "tokenizer.model").write_bytes(data)
        with pytest.raises(Error, match=r"tokenizer\.model"):
            from_folder(tmp_path)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"no tokenizer\.json and no tokenizer\.model"):
        from_folder(tmp_path)


# -- what a hostile file may say -------------------------------------------------------------------

TINY = {
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "▁", "a", "b", "▁a", "<0x41>"],
    "tokenizer.ggml.scores": [0.0, 0.0, 0.0, -1.0, -2.0, -3.0, -4.0, 0.0],
    "tokenizer.ggml.token_type": [2, 3, 3, 1, 1, 1, 1, 6],
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.unknown_token_id": 0,
}
BYTES = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "gpt-2",
    "tokenizer.ggml.tokens": ["<|endoftext|>", "a", "b", "ab"],
    "tokenizer.ggml.token_type": [3, 1, 1, 1],
    "tokenizer.ggml.merges": ["a b"],
}


def test_the_tiny_ones_are_sound() -> None:
    assert from_gguf(TINY).encode("aAb") == [6, 7, 5]
    assert from_gguf(BYTES).encode("ab<|endoftext|>ab", special=True) == [3, 0, 3]


@pytest.mark.parametrize(
    ("base", "key", "value", "word"),
    [
        (TINY, "model", None, "no tokenizer"),
        (TINY, "model", "bert", "bert"),
        (TINY, "model", 7, "7"),
        (TINY, "tokens", [], "0 tokens"),
        (TINY, "tokens", None, "array of strings"),
        (TINY, "tokens", "<unk>", "array of strings"),
        (TINY, "tokens", [b"a"] * 8, "array of strings"),
        (TINY, "tokens", [*TINY["tokenizer.ggml.tokens"][:-1], "a"], "a"),
        (TINY, "tokens", [*TINY["tokenizer.ggml.tokens"][:-1], "<0x-1>"], "<0x-1>"),
        (TINY, "tokens", [*TINY["tokenizer.ggml.tokens"][:-1], "<0x1FF>"], "<0x1FF>"),
        (TINY, "tokens", ["<unk>", "<s>", "</s>", "▁", "a", "a", "▁a", "<0x41>"], "both spelled"),
        (TINY, "tokens", ["<unk>", "<s>", "</s>", "▁", "", "b", "▁a", "<0x41>"], "0 characters"),
        (TINY, "tokens", ["<unk>", "<s>", "</s>", "x" * 5000, *"cdef"], "5000 characters"),
        (TINY, "scores", [0.0] * 7, "7 numbers for 8"),
        (TINY, "scores", [float("nan")] * 8, "finite"),
        (TINY, "scores", [float("inf")] * 8, "finite"),
        (TINY, "scores", ["0"] * 8, "array of numbers"),
        (TINY, "scores", None, "array of numbers"),
        (TINY, "token_type", [1] * 9, "9 numbers for 8"),
        (TINY, "token_type", [1.0] * 8, "integers"),
        (TINY, "token_type", [2, 3, 3, 1, 1, 1, 1, 7], "unknown type 7"),
        (TINY, "token_type", [2, 3, 3, 1, 1, 1, 1, -1], "unknown type -1"),
        (TINY, "eos_token_id", 8, "eos token is id 8"),
        (TINY, "eos_token_id", 2**32 - 1, "eos token"),
        (TINY, "bos_token_id", -1, "bos token"),
        (TINY, "bos_token_id", "1", "integer"),
        (TINY, "bos_token_id", True, "integer"),
        (TINY, "add_bos_token", 1, "true or false"),
        (BYTES, "pre", "llama-9", "llama-9"),
        (BYTES, "merges", None, "array of strings"),
        (BYTES, "merges", ["ab"], "two pieces"),
        (BYTES, "merges", ["a b a"], "two pieces"),
        (BYTES, "merges", ["a c"], "token that is missing"),
        (BYTES, "merges", ["b a"], "token that is missing"),
    ],
)
def test_bad_metadata(base, key, value, word) -> None:
    with pytest.raises(Error, match=word) as caught:
        from_gguf({**base, "tokenizer.ggml." + key: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("pre", "ids"),
    [
        # a word that is a token is taken whole; digits stand alone, by threes, or as they come
        ("gpt-2", {"abc": [1, 2, 3], "1234": [10], "e\u0301": [4, 13, 9]}),
        ("smollm", {"abc": [1, 2, 3], "1234": [5, 5, 5, 5]}),
        ("llama-bpe", {"abc": [7], "1234": [6, 5], "e\u0301": [4, 13, 9]}),
        ("qwen2", {"abc": [1, 2, 3], "1234": [5, 5, 5, 5], "e\u0301": [8, 11]}),
    ],
)
def test_pre_tokenizers(pre: str, ids: dict[str, list[int]]) -> None:
    fields = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": [
            *("<|endoftext|>", "a", "b", "c", "e", "1", "111", "abc", "Ã", "ģ", "1111", "©"),
            *("11", "Ì"),
        ],
        "tokenizer.ggml.token_type": [3] + [1] * 13,
        "tokenizer.ggml.merges": ["1 1", "11 1", "11 11"],
    }
    tokenizer = from_gguf(fields)
    for text, expected in ids.items():
        text = text.replace("2", "1").replace("3", "1").replace("4", "1")
        assert tokenizer.encode(text) == expected, text
    assert tokenizer.add_bos == (pre == "llama-bpe")


def test_merges_cannot_make_a_control_token() -> None:
    fields = {
        **BYTES,
        "tokenizer.ggml.tokens": ["ab", "a", "b", "abb"],
        "tokenizer.ggml.merges": ["a b", "ab b"],
    }
    tokenizer = from_gguf(fields)
    assert tokenizer.encode("abb") == [1, 2, 2]
    assert tokenizer.encode("abb", special=True) == [0, 2]


def test_a_file_of_many_long_tokens_is_refused_soon() -> None:
    tokens = [f"{index:04}" * 1000 for index in range(10_000)]
    fields = {**TINY, "tokenizer.ggml.tokens": tokens}
    start = time.perf_counter()
    with pytest.raises(ModelFileError, match="characters"):
        from_gguf(fields | {"tokenizer.ggml.token_type": [1] * len(tokens)})
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        (("model", "type"), "Unigram", "Unigram"),
        (("model", "dropout"), 0.1, "dropout"),
        (("model", "vocab"), [], "vocab"),
        (("model", "vocab", "Hi"), -1, "-1"),
        (("model", "vocab", "Hi"), 2**40, str(2**40)),
        (("model", "vocab", "Hi"), 5, "two tokens"),
        (("model", "merges"), [["a"]], "two pieces"),
        (("model", "merges"), "x", "array"),
        (("model",), None, "no model"),
        (("added_tokens",), [{"id": 2**31, "content": "x"}], "id"),
        (("added_tokens",), [{"id": 1}], "content"),
        (("added_tokens",), {}, None),
        (("normalizer",), {"type": "Precompiled"}, "Precompiled"),
        (("normalizer",), {"type": "Replace", "pattern": {"Regex": "(a+)+$"}}, "pattern"),
        (("normalizer",), {"type": "Prepend", "prepend": "x"}, "prepends"),
        (("pre_tokenizer",), {"type": "Split", "pattern": {"Regex": "(a+)+$"}}, "(a+)+"),
        (("pre_tokenizer",), {"type": "Sequence"}, "parts"),
        (("pre_tokenizer",), {"type": "Split", "pattern": 3}, "pattern"),
        (("pre_tokenizer",), {"type": "Metaspace", "replacement": "_"}, "Metaspace"),
        (("pre_tokenizer",), 7, "object"),
    ],
)
def test_bad_tokenizer_json(path, value, word, phi_3_vocab, tmp_path) -> None:
    file = references.phi_3_json(phi_3_vocab)
    part = file
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    write(tmp_path, tokenizer=file)
    if word is None:
        from_folder(tmp_path)
        return
    with pytest.raises(Error) as caught:
        from_folder(tmp_path)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"a":NaN}'])
def test_tokenizer_json_that_is_none(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(data)
    with pytest.raises(ModelFileError, match=r"tokenizer\.json"):
        from_folder(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_tokenizers_that_are_gone_leave_no_memory() -> None:
    """The library would keep the words that each has seen."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "▁a"]
    metadata = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": pieces,
        "tokenizer.ggml.scores": [0.0] * len(pieces),
        "tokenizer.ggml.token_type": [2, 3, 3] + [6] * 256 + [1] * 3,
    }

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    for count in range(600):
        if count == 100:
            before = resident()
        assert from_gguf(metadata).encode(" a" * 100)
    assert resident() - before < 1 << 20


@pytest.mark.parametrize(
    ("key", "parts", "part"),
    [
        ("pre_tokenizer", "pretokenizers", {"type": "ByteLevel", "add_prefix_space": False}),
        (
            "normalizer",
            "normalizers",
            {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"},
        ),
        (
            "normalizer",
            "normalizers",
            {"type": "Replace", "pattern": {"String": ""}, "content": "a"},
        ),
    ],
)
def test_components_that_multiply_texts_are_refused(
    tmp_path: Path, key: str, parts: str, part: dict[str, object]
) -> None:
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}
    file = {"added_tokens": [], "model": model, key: {"type": "Sequence", parts: [part] * 40}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(file))
    with pytest.raises(UnsupportedError, match="more"):
        from_folder(tmp_path)
