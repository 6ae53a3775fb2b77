"""Fuzz the tokenizers: metadata of GGUF files, tokenizer.json, tokenizer.model.

An input is the metadata of a GGUF file as JSON, or a hub folder's file after its name. What is read
without an error must encode, decode and stream, and make no control token of plain text.
"""

import json
import struct
import tempfile
from pathlib import Path

import driver

from pocketlm.errors import ModelFileError
from pocketlm.formats.config import parse_object
from pocketlm.formats.tokenizer import Tokenizer, from_folder, from_gguf

TEXTS = ("", " a", "ab <|end|> </s>\n", "é🦙▁\x00", "a" * 200)
GGUF, JSON, MODEL = b"gguf\n", b"json\n", b"model\n"
FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-tokenizer-", dir="/dev/shm"))


def target(data: bytes) -> None:
    """Read a tokenizer, and use it."""
    kind, _, content = data.partition(b"\n")
    if kind == b"gguf":
        use(from_gguf(parse_object(content)))
    elif kind in (b"json", b"model"):
        for name in ("tokenizer.json", "tokenizer.model"):
            (FOLDER / name).unlink(missing_ok=True)
        (FOLDER / f"tokenizer.{kind.decode()}").write_bytes(content)
        use(from_folder(FOLDER))
    else:
        raise ModelFileError("no input")


def use(tokenizer: Tokenizer) -> None:
    """Encode and decode some texts."""
    control = tokenizer.control_ids - {tokenizer.unk_id}
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert not control.intersection(ids)
        for some in (ids, tokenizer.encode(text, special=True)):
            stream = tokenizer.stream()
            streamed = "".join(map(stream.push, some)) + stream.flush()
            assert streamed == tokenizer.decode(some)
            tokenizer.decode(some, special=True)
    for id in range(tokenizer.vocab_size):
        tokenizer.token_bytes(id)


def gguf(**fields: object) -> driver.Seed:
    """The metadata of a GGUF file."""
    named = {"tokenizer.ggml." + key: value for key, value in fields.items()}
    return driver.Seed(GGUF + json.dumps(named).encode())


PIECES = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(16)), "▁", "a", "b", "▁a"]
LETTERS = ["<|end|>", "Ġ", "a", "b", "ab", "Ġa", "<tool_call>"]


def hub(pieces: list[str], merges: list[object], **more: object) -> driver.Seed:
    """A tokenizer.json."""
    added = {"lstrip": False, "rstrip": True, "normalized": False, "special": True}
    model = {
        "type": "BPE",
        "vocab": {token: id for id, token in enumerate(pieces)},
        "merges": merges,
    }
    file = {
        "added_tokens": [{"id": 0, "content": pieces[0], **added}],
        "model": {**model, "unk_token": pieces[0], "byte_fallback": True},
        **more,
    }
    return driver.Seed(JSON + json.dumps(file).encode())


def proto() -> driver.Seed:
    """A tokenizer.model."""

    def part(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    kinds = [2, 3, 3, *[6] * 16, 1, 1, 1, 1]
    pieces = b"".join(
        part(1, part(1, token.encode()) + b"\x15" + struct.pack("<f", -id) + bytes([0x18, kind]))
        for id, (token, kind) in enumerate(zip(PIECES, kinds, strict=True))
    )
    trainer = part(2, bytes([0x18, 2, 0x98, 2, 1, 0xC0, 2, 0, 0xC8, 2, 1, 0xD0, 2, 2]))
    return driver.Seed(MODEL + pieces + trainer + part(3, bytes([0x18, 1, 0x20, 0])))


SPLIT = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ],
}
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
SPACES = {
    "type": "Sequence",
    "normalizers": [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        {"type": "NFC"},
    ],
}
SEEDS = (
    gguf(
        model="llama",
        tokens=PIECES,
        scores=[-float(id) for id in range(len(PIECES))],
        token_type=[2, 3, 3, *[6] * 16, 1, 1, 1, 1],
        bos_token_id=1,
        eos_token_id=2,
        unknown_token_id=0,
        add_bos_token=True,
        add_space_prefix=True,
    ),
    gguf(
        model="gpt2",
        pre="smollm",
        tokens=LETTERS,
        token_type=[3, 1, 1, 1, 1, 1, 4],
        merges=["a b", "Ġ a"],
        eos_token_id=0,
        padding_token_id=0,
    ),
    hub(PIECES, [["▁", "a"]], normalizer=SPACES),
    hub(PIECES, ["▁ a"], pre_tokenizer=METASPACE),
    hub(LETTERS, ["a b", "Ġ a"], pre_tokenizer=SPLIT),
    proto(),
)

if __name__ == "__main__":
    driver.main("tokenizer", target, SEEDS)
