"""Fuzz the export of GGUF files: damaged ones give an error, or an output that is theirs alone.

Each input is exported twice, after memory was filled with other bytes each time: the outputs must
be equal, so that nothing but the input decides what is written. Half of the inputs are exported to
a GGUF file, which must be one that we read, the others to a folder.
"""

import shutil
import tempfile
import zlib
from pathlib import Path

import driver
import gguf_bytes as make
import numpy as np

from pocketlm.errors import Error
from pocketlm.formats.gguf import read_gguf
from pocketlm.formats.gguf_checkpoint import GGUFCheckpoint
from pocketlm.formats.open import open_checkpoint
from pocketlm.quantize.export import write_checkpoint

DIRT = (0xA5, 0x5A)
#: Sizes of memory that are filled: what small and large arrays, and the allocator's lists, get.
DIRTY_SIZES = (64, 256, 1024, 4096, 1 << 14, 1 << 16)


def target(data: bytes) -> None:
    """Export to one form, twice, and compare."""
    form = "gguf" if zlib.crc32(data) % 2 else "safetensors"
    first, second = (exported(data, form, dirt) for dirt in DIRT)
    if isinstance(first, Error) or isinstance(second, Error):
        assert str(first) == str(second), (first, second)
        assert isinstance(first, Error)
        raise first
    assert first == second


def exported(data: bytes, form: str, dirt: int) -> dict[str, bytes] | Error:
    """The files that an export writes, or its error; nothing must be left behind by one."""
    make_dirty(dirt)
    path = FOLDER / "out"
    try:
        checkpoint = GGUFCheckpoint(Path("fuzz.gguf"), [read_gguf(data)])
        write_checkpoint(checkpoint, path, form)
    except Error as error:
        assert not any(FOLDER.iterdir())
        return error
    if form == "gguf":
        files = {"": path.read_bytes()}
        open_checkpoint(path).close()
        path.unlink()
    else:
        files = {file.name: file.read_bytes() for file in path.iterdir()}
        shutil.rmtree(path)
    return files


def make_dirty(value: int) -> None:
    """Fill memory that is then free for whoever asks next."""
    kept = [np.full(size, value, np.uint8) for size in DIRTY_SIZES for _ in range(4)]
    del kept


def seeds() -> list[driver.Seed]:
    """Small sound files of several types, with vocabularies of both kinds."""
    pieces = [
        ("<unk>", 2),
        ("<s>", 3),
        ("</s>", 3),
        ("▁", 1),
        ("a", 1),
        ("▁a", 1),
        ("b", 1),
        ("", 5),
    ]
    sentencepiece = [
        ("tokenizer.ggml.model", make.TEXT, "llama"),
        ("tokenizer.ggml.tokens", make.ARRAY, (make.TEXT, [piece for piece, _ in pieces])),
        ("tokenizer.ggml.scores", make.ARRAY, (make.F32, [-float(i) for i in range(8)])),
        ("tokenizer.ggml.token_type", make.ARRAY, (make.I32, [kind for _, kind in pieces])),
        ("tokenizer.ggml.bos_token_id", make.U32, 1),
        ("tokenizer.ggml.eos_token_id", make.U32, 2),
        ("tokenizer.ggml.unknown_token_id", make.U32, 0),
        ("tokenizer.chat_template", make.TEXT, "{{ messages }}"),
    ]
    letters = ["<|end|>", "Ġ", "a", "b", "ab", "Ġa", "<tool>", "c"]
    byte_level = [
        ("tokenizer.ggml.model", make.TEXT, "gpt2"),
        ("tokenizer.ggml.pre", make.TEXT, "smollm"),
        ("tokenizer.ggml.tokens", make.ARRAY, (make.TEXT, letters)),
        ("tokenizer.ggml.token_type", make.ARRAY, (make.I32, [3, 1, 1, 1, 1, 1, 4, 1])),
        ("tokenizer.ggml.merges", make.ARRAY, (make.TEXT, ["a b", "Ġ a"])),
        ("tokenizer.ggml.eos_token_id", make.U32, 0),
    ]
    longrope = [
        ("phi3.rope.scaling.original_context_length", make.U32, 1024),
        ("phi3.rope.scaling.attn_factor", make.F32, 1.19),
        ("phi3.attention.sliding_window", make.U32, 2047),
    ]
    made = [
        make.gguf_bytes([*make.shape_keys("llama"), *sentencepiece], make.llama_tensors("F16")),
        make.gguf_bytes([*make.shape_keys("llama"), *byte_level], make.llama_tensors("Q4_0")),
        make.gguf_bytes([*make.shape_keys("llama"), *byte_level], make.llama_tensors("Q5_1")),
        make.gguf_bytes(
            [*make.shape_keys("llama", 256), *sentencepiece], make.llama_tensors("Q4_K", 256)
        ),
        make.gguf_bytes(
            [*make.shape_keys("phi3"), *longrope, *sentencepiece], make.phi3_tensors("Q8_0")
        ),
        make.gguf_bytes(
            [*make.shape_keys("qwen2"), *byte_level],
            [
                *make.llama_tensors("BF16"),
                ("blk.0.attn_q.bias", "F32", (32,)),
                ("blk.0.attn_k.bias", "F32", (16,)),
                ("blk.0.attn_v.bias", "F32", (16,)),
            ],
        ),
    ]
    return [
        driver.Seed(sound(bytes(file.data)), [(f.offset, f.size) for f in file.fields])
        for file in made
    ]


def sound(data: bytes) -> bytes:
    """The file with small numbers in its tensors: the bytes 1, 2, 3 … are no scales."""
    result = bytearray(data)
    base = np.frombuffer(data, np.uint8).ctypes.data
    for tensor in read_gguf(data).tensors.values():
        start = tensor.data.ctypes.data - base
        result[start : start + tensor.nbytes] = bytes(i % 59 for i in range(tensor.nbytes))
    return bytes(result)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        FOLDER = Path(name)
        driver.main("export", target, seeds())
