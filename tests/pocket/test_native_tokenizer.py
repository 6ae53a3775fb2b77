"""The native tokenizer against its reference, `pocketlm.formats.tokenizer`: the same ids."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlm.errors import Error
from pocketlm.formats.gguf import read_gguf
from pocketlm.formats.tokenizer import from_gguf
from pocketlm.formats.tokenizer_pre import pre_tokenizer

from .native_tokenizer import NativeTokenizer, vocabulary_file

ROOT = Path(__file__).parents[2]
TABLES = ROOT / "src" / "pocketlm" / "pocket" / "unicode_tables.h"
MARK = "\n__ggml_vocab_test__\n"
NAMES = ("gpt-2", "smollm", "llama-bpe", "dbrx", "qwen2", "gpt-4o", "tekken")
CODES = [*range(0xD800), *range(0xE000, 0x110000)]

# Characters that patterns and normalization tell apart, and spellings of tokens.
ODD = st.lists(
    st.one_of(
        st.sampled_from(" \t\n\r\x00\x1c\x85\xa0\u3000\u200b▁Ġ<|>/aAéßǅ你ﷺ🦙1٣½"),
        st.sampled_from("\u0301\u0323\u0334\u212b각가\u11a8"),
        st.sampled_from(
            ["  ", "    ", "\r\n", "'s", "'LL", "'ſ", "👨‍👩‍👧", "ing", " the", "DON'T"]
        ),
        st.sampled_from(["<|user|>", "<|end|>", "</s>", "<s>", "<0x41>", "<|im_start|>", "[PAD1]"]),
    ),
    max_size=30,
).map("".join)
TEXT = st.one_of(st.text(max_size=60), ODD)

CODE = """
def main(argv: list[str]) -> int:
\tif len(argv) > 1_000:  # don't
        return {"a": [0x1F, -3.14e-10], 'b': f"{argv!r}\\n"}["a"][0]


    <div class="x">&nbsp;</div>        // I'LL say: CamelCaseHTTPServer::run();
"""


@pytest.fixture(scope="session")
def program(pytestconfig: pytest.Config) -> Path:
    """The program `tokenize`, of a build that is there, or built here (a few seconds)."""
    there = os.environ.get("POCKETLM_TEST_POCKET")
    if there:
        return Path(there) / "tests" / "pocket" / "tokenize"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    cmake = shutil.which("cmake", path=path)
    compiler = os.environ.get("CXX", "c++")
    if cmake is None or shutil.which(compiler, path=path) is None:
        pytest.skip(f"no cmake, or no C++ compiler ({compiler})")
    build = pytestconfig.cache.mkdir("pocket-tokenize")
    options = ["-D", "POCKETLM_PYTHON=OFF", "-D", "POCKETLM_TESTS=ON"]
    for command in (
        [cmake, "-S", ROOT, "-B", build, *options],
        [cmake, "--build", build, "--target", "tokenize"],
    ):
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "PATH": path}
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return build / "tests" / "pocket" / "tokenize"


class Pair:
    """A tokenizer and its reference, of one file's metadata."""

    def __init__(self, program: Path, metadata: dict[str, Any], folder: Path) -> None:
        self.reference = from_gguf(metadata)
        file = vocabulary_file(metadata, folder / "vocabulary")
        self.native = NativeTokenizer(program, "ids", file)

    def check(self, text: str) -> None:
        """Both modes give the same ids; plain text gives no control token."""
        for special in (False, True):
            ids = self.reference.encode(text, special=special)
            assert self.native.encode(text, special=special) == ids, (text, special)
            assert self.native.decode(ids) == self.reference.decode(ids)


@pytest.fixture(scope="module")
def phi_3_path(test_data: Path) -> Path:
    return test_data / "tokenizer" / "ggml-vocab-phi-3.gguf"


@pytest.fixture(scope="module")
def phi_3(program: Path, phi_3_path: Path, tmp_path_factory) -> Iterator[Pair]:
    metadata = read_gguf(phi_3_path.read_bytes()).metadata
    pair = Pair(program, metadata, tmp_path_factory.mktemp("phi-3"))
    yield pair
    assert pair.native.close() == ""


@pytest.fixture(scope="module")
def smollm2_metadata(smollm2: Path) -> dict[str, Any]:
    return dict(read_gguf(smollm2.read_bytes()).metadata)


@pytest.fixture(scope="module")
def smollm(program: Path, smollm2_metadata: dict, tmp_path_factory) -> Iterator[Pair]:
    pair = Pair(program, smollm2_metadata, tmp_path_factory.mktemp("smollm2"))
    yield pair
    assert pair.native.close() == ""


@pytest.fixture(params=["phi_3", "smollm"])
def pair(request: pytest.FixtureRequest) -> Pair:
    return request.getfixturevalue(request.param)


# -- real vocabularies -----------------------------------------------------------------------------


def test_vectors(phi_3: Pair, phi_3_path: Path) -> None:
    with open(f"{phi_3_path}.inp", newline="", encoding="utf-8") as file:
        inputs = file.read().split(MARK)[:-1]
    outputs = Path(f"{phi_3_path}.out").read_text().splitlines()
    assert len(inputs) == len(outputs) == 46
    for text, ids in zip(inputs, outputs, strict=True):
        assert phi_3.native.encode(text) == list(map(int, ids.split()))


def corpus(test_data: Path, count: int) -> list[str]:
    files = sorted((test_data / "flores_dev").iterdir())
    assert len(files) == 12
    return [line for file in files for line in file.read_text("utf-8").splitlines()[:count]]


def test_twelve_languages(pair: Pair, test_data: Path) -> None:
    for text in corpus(test_data, 100):
        assert pair.native.encode(text) == pair.reference.encode(text)


def test_code_spaces_and_emoji(pair: Pair) -> None:
    family = "👨‍👩‍👧‍👦🏳️‍🌈🇩🇪1️⃣ "
    for text in (CODE, CODE * 20, " " * 1000, "\n" * 300, " \n\t" * 100, family * 20, "x" * 5000):
        pair.check(text)
        pair.check(f"a{text}b")


def test_random_texts(pair: Pair) -> None:
    @settings(max_examples=300, deadline=None)
    @given(TEXT)
    def check(text: str) -> None:
        pair.check(text)
        ids = pair.native.encode(text)
        assert not set(ids) & pair.reference.control_ids

    check()


def test_control_tokens(pair: Pair) -> None:
    control = pair.reference.control
    pieces = [*control, " ", "\n", "\n\n ", "Hi", "Hi there", "é", "\u3000", "\x1c", "\x85", "<|"]

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.sampled_from(pieces), max_size=12).map("".join))
    def check(text: str) -> None:
        pair.check(text)
        for after in (5000, *control.values()):
            assert pair.native.encode_run(text, after=after) == pair.reference.encode_run(
                text, after=after
            )

    check()


def test_bytes_that_are_no_utf_8(pair: Pair) -> None:
    parts = st.sampled_from(
        [
            b"\xff",
            b"\xc3",
            b"\xa9",
            b"\xe2\x82",
            b"\xed\xa0\x80",
            b"\xf0\x9f\xa6",
            b"\xc0\x80",
            b"a",
        ]
    )

    @settings(max_examples=300, deadline=None)
    @given(st.one_of(st.binary(max_size=40), st.lists(parts, max_size=12).map(b"".join)))
    def check(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        assert pair.native.encode(data) == pair.reference.encode(text)

    check()


def test_streams(pair: Pair) -> None:
    """Any ids, those of parts of characters and of control tokens more often than others."""
    reference = pair.reference
    ids = st.one_of(
        st.integers(0, reference.vocab_size - 1),
        st.sampled_from([*reference.control_ids, *reference.encode("🦙é你 a")]),
    )

    @settings(max_examples=300, deadline=None)
    @given(st.lists(ids, max_size=20), st.sampled_from([None, 1, 5000]))
    def check(ids: list[int], after: int | None) -> None:
        assert pair.native.decode(ids, after=after) == reference.decode(ids, after=after)

    check()


@pytest.mark.parametrize("name", NAMES)
def test_pre_tokenizers(
    name: str, program: Path, smollm2_metadata: dict, test_data: Path, tmp_path: Path
) -> None:
    """Ids with SmolLM2's merges, by every kind of pre-tokenizer."""
    pair = Pair(program, {**smollm2_metadata, "tokenizer.ggml.pre": name}, tmp_path)
    for text in [*corpus(test_data, 10), CODE]:
        assert pair.native.encode(text) == pair.reference.encode(text)

    @settings(max_examples=150, deadline=None)
    @given(TEXT)
    def check(text: str) -> None:
        assert pair.native.encode(text) == pair.reference.encode(text)

    check()
    assert pair.native.close() == ""


# -- Unicode ---------------------------------------------------------------------------------------


def test_tables_are_the_librarys() -> None:
    """All code points: the tables are made again, from the library that is installed."""
    spec = importlib.util.spec_from_file_location("unicode_tables", TABLES.with_suffix(".py"))
    unicode_tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(unicode_tables)
    first, here = TABLES.read_text("ascii").split("\n", 1)
    made = unicode_tables.header().split("\n", 1)[1]
    if made != here and f" {tokenizers.__version__};" not in first:
        pytest.skip("this version of tokenizers has other classes: run unicode_tables.py")
    assert made == here


def reference_words(name: str) -> Callable[[str], list[str]]:
    shell = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": pre_tokenizer(name).pre_tokenizer,
        "model": {"type": "BPE", "vocab": {}, "merges": []},
    }
    library = tokenizers.Tokenizer.from_str(json.dumps(shell)).pre_tokenizer
    return lambda text: [text[slice(*at)] for _, at in library.pre_tokenize_str(text)]


def beside_others(codes: list[int]) -> str:
    """Each character where a pattern may take it for one of a word, a number, spaces or marks."""
    return "".join(f"A{c}{c}b. {c}B1{c} '{c} {c}\n{c}'l{c}" for c in map(chr, codes))


@pytest.fixture(scope="module")
def borders() -> list[int]:
    """The first and the last character of each stretch that has a class of its own."""
    begin = TABLES.read_text("ascii").split("class_runs[] = {")[1].split("}")[0]
    codes = {int(run, 16) >> 8 for run in begin.replace(",", " ").split()}
    either = codes | {code - 1 for code in codes}
    return sorted(code for code in either if code >= 0 and not 0xD800 <= code < 0xE000)


@pytest.mark.parametrize("name", NAMES)
def test_words(name: str, program: Path, borders: list[int]) -> None:
    native, reference = NativeTokenizer(program, "words", name), reference_words(name)
    assert len(borders) > 4000
    for begin in range(0, len(borders), 256):
        text = beside_others(borders[begin : begin + 256])
        assert native.words(text) == reference(text)

    @settings(max_examples=300, deadline=None)
    @given(TEXT)
    def check(text: str) -> None:
        assert native.words(text) == reference(text)

    check()
    assert native.close() == ""


def test_composition(program: Path) -> None:
    """Every character alone and between marks; and marks in any order."""
    native, reference = NativeTokenizer(program, "compose"), tokenizers.normalizers.NFC()
    for begin in range(0, len(CODES), 1024):
        block = [chr(code) for code in CODES[begin : begin + 1024]]
        text = "".join(f"x{c}x\u0345{c}\u0334x{c}\u0301\u0323" for c in block)
        assert native.compose(text) == reference.normalize_str(text), hex(CODES[begin])

    marks = st.sampled_from("\u0301\u0323\u0334\u0345\u0308\u0344\u0327\u05b0\u3099\u093c\u11a8")
    bases = st.sampled_from("aeoqksAÅᾳ\u0915\u0958がか한하\u1100\u1161\u1112각\u212b\U0001d15e")

    @settings(max_examples=500, deadline=None)
    @given(st.lists(st.one_of(marks, bases), max_size=12).map("".join))
    def check(text: str) -> None:
        assert native.compose(text) == reference.normalize_str(text)

    check()
    assert native.close() == ""


# -- odd vocabularies ------------------------------------------------------------------------------

LLAMA = {"tokenizer.ggml.model": "llama"}
GPT_2 = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "qwen2"}


def llama(tokens: dict[str, int], **fields: object) -> dict[str, Any]:
    """A vocabulary of spellings and types; later tokens have lower scores."""
    return {
        **LLAMA,
        "tokenizer.ggml.tokens": list(tokens),
        "tokenizer.ggml.token_type": list(tokens.values()),
        "tokenizer.ggml.scores": [-float(id // 2) for id in range(len(tokens))],
        **{f"tokenizer.ggml.{key}": value for key, value in fields.items()},
    }


LETTERS = {
    "<unk>": 2,
    "<s>": 3,
    "ab": 1,
    "ba": 1,
    "aba": 1,
    "▁a": 1,
    "a": 1,
    "b": 1,
    "▁": 1,
    "▁▁": 1,
}
BYTES = {"<0xC3>": 6, "<0xa9>": 6, "<0xA8>": 1, "<0xE4>": 6}
ODD_VOCABULARIES = {
    "no bytes": llama(LETTERS, unknown_token_id=0),
    "no unknown token": llama(LETTERS),
    "some bytes": llama({**LETTERS, **BYTES}, unknown_token_id=0),
    "no space prefix": llama({**LETTERS, **BYTES}, add_space_prefix=False),
    "defined": llama({**LETTERS, "  ": 4, "a b": 4, "▁▁▁": 4, "[x]": 4, "<x>": 4, "[INST]": 4}),
    "unused": llama({**LETTERS, "abab": 5, "[PAD1]": 4, "<dummy3>": 2, "": 5}),
    "byte-level": {
        **GPT_2,
        "tokenizer.ggml.tokens": [
            "a",
            "b",
            "ab",
            "é",
            "Ã",
            "©",
            "Ã©",
            "e",
            "<t>",
            "Ġ",
            "[x]",
            "ba",
        ],
        "tokenizer.ggml.token_type": [1, 1, 1, 4, 1, 1, 1, 1, 4, 1, 3, 5],
        "tokenizer.ggml.merges": ["a b", "b a", "Ã ©", "a b"],
    },
}


@pytest.mark.parametrize("name", ODD_VOCABULARIES)
def test_odd_vocabularies(name: str, program: Path, tmp_path: Path) -> None:
    metadata = ODD_VOCABULARIES[name]
    pair = Pair(program, metadata, tmp_path)
    pieces = [
        *metadata["tokenizer.ggml.tokens"],
        " ",
        "   ",
        "é",
        "e\u0301",
        "è",
        "ä",
        "x",
        "你",
        "[x",
    ]

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.sampled_from(pieces), max_size=12).map("".join))
    def check(text: str) -> None:
        pair.check(text)

    check()
    assert pair.native.close() == ""


@pytest.mark.parametrize(
    "metadata",
    [
        llama({"a": 7}),
        llama({"": 1}),
        llama({"<0xZZ>": 6}),
        llama({"a": 1}, eos_token_id=1),
        llama({"a": 1}, scores=[float("inf")]),
        {**GPT_2, "tokenizer.ggml.tokens": ["a", "a"]},
        {**GPT_2, "tokenizer.ggml.tokens": ["a"], "tokenizer.ggml.merges": ["a a"]},
        {**GPT_2, "tokenizer.ggml.tokens": ["a"], "tokenizer.ggml.merges": ["a  a"]},
        {**GPT_2, "tokenizer.ggml.tokens": ["a"], "tokenizer.ggml.pre": "none"},
    ],
)
def test_both_refuse(metadata: dict[str, Any], program: Path, tmp_path: Path) -> None:
    metadata = {"tokenizer.ggml.merges": [], **metadata}
    with pytest.raises(Error):
        from_gguf(metadata)
    native = NativeTokenizer(program, "ids", vocabulary_file(metadata, tmp_path / "vocabulary"))
    assert native.close() != ""
