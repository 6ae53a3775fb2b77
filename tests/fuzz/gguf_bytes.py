"""GGUF files written byte by byte, right or wrong on purpose, that remember where each integer is.

Independent of the reader and of the package `gguf`, so that tests and fuzzer can break any field.
"""

import struct
from dataclasses import dataclass, field
from typing import Any

#: Values at which arithmetic on 32- and 64-bit integers goes wrong.
BOUNDARIES = (
    0,
    1,
    2**16,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**63 - 1,
    2**63,
    2**64 - 64,
    2**64 - 32,
    2**64 - 1,
)

U8, I8, U16, I16, U32, I32, F32, BOOL, TEXT, ARRAY, U64, I64, F64 = range(13)
_FORMATS = {
    U8: "B",
    I8: "b",
    U16: "H",
    I16: "h",
    U32: "I",
    I32: "i",
    F32: "f",
    BOOL: "B",
    U64: "Q",
    I64: "q",
    F64: "d",
}

#: Element types by name: (number, numbers in a block, bytes of a block).
TYPES = {
    "F32": (0, 1, 4),
    "F16": (1, 1, 2),
    "Q4_0": (2, 32, 18),
    "Q4_1": (3, 32, 20),
    "Q5_0": (6, 32, 22),
    "Q5_1": (7, 32, 24),
    "Q8_0": (8, 32, 34),
    "Q4_K": (12, 256, 144),
    "Q5_K": (13, 256, 176),
    "Q6_K": (14, 256, 210),
    "Q3_K": (11, 256, 110),
    "IQ4_NL": (20, 32, 18),
    "IQ3_S": (21, 256, 110),
    "IQ4_XS": (23, 256, 136),
    "BF16": (30, 1, 2),
}


@dataclass(frozen=True)
class Field:
    """An integer of the file: where it is, how many bytes it takes, what it says."""

    offset: int
    size: int
    meaning: str


@dataclass
class GGUFBytes:
    """A file in the making. `data` is what was written so far."""

    data: bytearray = field(default_factory=bytearray)
    fields: list[Field] = field(default_factory=list)

    def number(self, format: str, value: float, meaning: str) -> None:
        packed = struct.pack("<" + format, value)
        if format not in "fd":
            self.fields.append(Field(len(self.data), len(packed), meaning))
        self.data += packed

    def text(self, value: str | bytes, meaning: str) -> None:
        encoded = value.encode() if isinstance(value, str) else value
        self.number("Q", len(encoded), f"length of {meaning}")
        self.data += encoded

    def value(self, kind: int, value: Any, meaning: str) -> None:
        """Write a value of metadata; an array's is (type of the elements, list)."""
        if kind == TEXT:
            self.text(value, meaning)
        elif kind == ARRAY:
            element, values = value
            self.number("I", element, f"element type of {meaning}")
            self.number("Q", len(values), f"count of {meaning}")
            for number, item in enumerate(values):
                self.value(element, item, f"{meaning}[{number}]")
        else:
            self.number(_FORMATS[kind], value, meaning)


def gguf_bytes(
    metadata: list[tuple[str, int, Any]],
    tensors: list[tuple[str, str, tuple[int, ...]]],
    version: int = 3,
    alignment: int = 32,
) -> GGUFBytes:
    """Write a file. Tensors are (name, type, shape with rows first), their bytes 1, 2, 3 …"""
    file = GGUFBytes()
    file.data += b"GGUF"
    file.number("I", version, "version")
    file.number("Q", len(tensors), "number of tensors")
    file.number("Q", len(metadata), "number of keys")
    for key, kind, value in metadata:
        file.text(key, f"key {key}")
        file.number("I", kind, f"type of {key}")
        file.value(kind, value, key)
    offset, contents = 0, bytearray()
    for name, type_, shape in tensors:
        number, block, size = TYPES[type_]
        file.text(name, f"name {name}")
        file.number("I", len(shape), f"dimensions of {name}")
        total = 1
        for dimension in reversed(shape):
            file.number("Q", dimension, f"dimension of {name}")
            total *= dimension
        file.number("I", number, f"type of {name}")
        file.number("Q", offset, f"offset of {name}")
        length = total // block * size
        contents += bytes(i % 255 + 1 for i in range(length))
        padding = -length % alignment
        contents += bytes(padding)
        offset += length + padding
    file.data += bytes(-len(file.data) % alignment)
    file.data += contents
    return file


def vocabulary(words: int = 8) -> list[tuple[str, int, Any]]:
    """Metadata of a small vocabulary."""
    return [
        ("tokenizer.ggml.model", TEXT, "llama"),
        ("tokenizer.ggml.tokens", ARRAY, (TEXT, [f"▁w{i}" for i in range(words)])),
        ("tokenizer.ggml.scores", ARRAY, (F32, [-float(i) for i in range(words)])),
        ("tokenizer.ggml.token_type", ARRAY, (I32, [1] * words)),
        ("tokenizer.ggml.bos_token_id", U32, 1),
        ("tokenizer.ggml.eos_token_id", U32, 2),
        ("tokenizer.ggml.add_bos_token", BOOL, 1),
        ("tokenizer.chat_template", TEXT, "{{ messages }}"),
    ]


def shape_keys(architecture: str, hidden: int = 32, layers: int = 1) -> list[tuple[str, int, Any]]:
    """Metadata of a small decoder: 2 heads, 1 of keys and values, all as wide."""
    return [
        ("general.architecture", TEXT, architecture),
        (f"{architecture}.block_count", U32, layers),
        (f"{architecture}.context_length", U32, 4096),
        (f"{architecture}.embedding_length", U32, hidden),
        (f"{architecture}.feed_forward_length", U32, hidden),
        (f"{architecture}.attention.head_count", U32, 2),
        (f"{architecture}.attention.head_count_kv", U32, 1),
        (f"{architecture}.attention.layer_norm_rms_epsilon", F32, 1e-5),
        (f"{architecture}.rope.freq_base", F32, 10000.0),
        (f"{architecture}.rope.dimension_count", U32, hidden // 2),
    ]


def llama_tensors(type_: str, hidden: int = 32, words: int = 8) -> list[Any]:
    """Tensors of a small LLaMA with a tied head, for `shape_keys` and `vocabulary`."""
    half = hidden // 2
    return [
        ("token_embd.weight", type_, (words, hidden)),
        ("blk.0.attn_norm.weight", "F32", (hidden,)),
        ("blk.0.attn_q.weight", type_, (hidden, hidden)),
        ("blk.0.attn_k.weight", type_, (half, hidden)),
        ("blk.0.attn_v.weight", type_, (half, hidden)),
        ("blk.0.attn_output.weight", type_, (hidden, hidden)),
        ("blk.0.ffn_norm.weight", "F32", (hidden,)),
        ("blk.0.ffn_gate.weight", type_, (hidden, hidden)),
        ("blk.0.ffn_up.weight", type_, (hidden, hidden)),
        ("blk.0.ffn_down.weight", type_, (hidden, hidden)),
        ("output_norm.weight", "F32", (hidden,)),
    ]


def phi3_tensors(type_: str, hidden: int = 32, words: int = 8) -> list[Any]:
    """Tensors of a small Phi-3 with LongRoPE factors, for `shape_keys` and `vocabulary`."""
    return [
        ("rope_factors_long.weight", "F32", (hidden // 4,)),
        ("rope_factors_short.weight", "F32", (hidden // 4,)),
        ("token_embd.weight", type_, (words, hidden)),
        ("blk.0.attn_norm.weight", "F32", (hidden,)),
        ("blk.0.attn_qkv.weight", type_, (2 * hidden, hidden)),
        ("blk.0.attn_output.weight", type_, (hidden, hidden)),
        ("blk.0.ffn_norm.weight", "F32", (hidden,)),
        ("blk.0.ffn_up.weight", type_, (2 * hidden, hidden)),
        ("blk.0.ffn_down.weight", type_, (hidden, hidden)),
        ("output_norm.weight", "F32", (hidden,)),
        ("output.weight", type_, (words, hidden)),
    ]


def every_kind() -> list[tuple[str, int, Any]]:
    """Metadata with a value of every type."""
    return [
        ("u8", U8, 255),
        ("i8", I8, -1),
        ("u16", U16, 65535),
        ("i16", I16, -2),
        ("u32", U32, 2**32 - 1),
        ("i32", I32, -3),
        ("f32", F32, 1e-5),
        ("bool", BOOL, 1),
        ("text", TEXT, "grüß dich"),
        ("u64", U64, 2**64 - 1),
        ("i64", I64, -4),
        ("f64", F64, 1e-300),
        ("a.i8", ARRAY, (I8, [-1, 2])),
        ("a.bool", ARRAY, (BOOL, [1, 0, 1])),
        ("a.f32", ARRAY, (F32, [0.5, -2.0])),
        ("a.u64", ARRAY, (U64, [2**63, 1])),
        ("a.text", ARRAY, (TEXT, ["", "a", "ü"])),
        ("a.empty", ARRAY, (I32, [])),
    ]
