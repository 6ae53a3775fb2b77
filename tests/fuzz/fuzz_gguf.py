"""Fuzz the GGUF reader, the translation of its configuration, and access to its tensors."""

from pathlib import Path

import driver
import gguf_bytes as make

from pocketlm.errors import UnsupportedError
from pocketlm.formats.gguf import Texts, read_gguf
from pocketlm.formats.gguf_checkpoint import GGUFCheckpoint


def target(data: bytes) -> None:
    """Read everything that a file offers, and the first and last byte of each tensor."""
    checkpoint = GGUFCheckpoint(Path("fuzz.gguf"), [read_gguf(data)])
    for value in checkpoint.metadata.values():
        if isinstance(value, Texts):
            assert len(list(value)) == len(value)
    for name in checkpoint.tensors:
        try:
            tensor = checkpoint.tensors[name]
        except UnsupportedError:
            continue
        assert 0 < len(tensor.shape) <= 4
        assert int(tensor.data[0]) + int(tensor.data[-1]) >= 0


def seeds() -> list[driver.Seed]:
    """Small sound files: each architecture, several types, a vocabulary alone, every value type."""
    made = [
        make.gguf_bytes(make.shape_keys("llama") + make.vocabulary(), make.llama_tensors("F16")),
        make.gguf_bytes(
            make.shape_keys("llama", 256) + make.vocabulary(), make.llama_tensors("Q4_K", 256)[:4]
        ),
        make.gguf_bytes(
            [
                *make.shape_keys("phi3"),
                ("phi3.rope.scaling.original_context_length", make.U32, 1024),
                ("phi3.rope.scaling.attn_factor", make.F32, 1.19),
                *make.vocabulary(),
            ],
            make.phi3_tensors("Q4_0"),
        ),
        make.gguf_bytes(make.shape_keys("qwen2"), make.llama_tensors("Q8_0"), version=2),
        make.gguf_bytes(make.shape_keys("phi3") + make.vocabulary(32), []),
        make.gguf_bytes(
            [*make.shape_keys("llama"), ("general.alignment", make.U32, 64), *make.every_kind()],
            [("odd", "IQ4_NL", (2, 32)), ("even", "BF16", (1, 2, 3, 4))],
            alignment=64,
        ),
    ]
    return [
        driver.Seed(bytes(file.data), [(field.offset, field.size) for field in file.fields])
        for file in made
    ]


if __name__ == "__main__":
    driver.main("gguf", target, seeds())
